"""The emergence of each variable over several runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from arithprobe.logic import CANNOT_BE_TOLD, State
from arithprobe.probes.emergence import Emergence, circle_of, in_order

_FIRST = " (first)"


@dataclass(frozen=True)
class EmergenceOverRuns:
    """The emergence of one variable in each of R runs."""

    variable: str
    """Its name; ``residuemod97 (first)`` is whichever frequency of the circle emerged first."""
    steps: tuple[float, ...]
    """(R) training steps; infinite where it never emerged, NaN where the run did not look for it, or it cannot be
    told."""
    sites: tuple[str | None, ...]
    """(R) sites; None where it did not emerge."""
    states: tuple[State | None, ...]
    """(R) whether it emerged; None where the run did not look for it."""

    @property
    def of_any_frequency(self) -> bool:
        """Whether it stands for the first frequency of a circle, and is not a variable of its own."""
        return self.variable.endswith(_FIRST)

    @property
    def known(self) -> list[float]:
        """The steps of the runs that can tell, in order; runs in which it never emerged come last."""
        return sorted(step for step in self.steps if not math.isnan(step))

    @property
    def median(self) -> float:
        """Median step, where "never" is later than any step: infinite unless it emerged in over half of the runs.

        It is NaN if no run can tell.
        """
        return median(self.known) if self.known else math.nan

    @property
    def count(self) -> int:
        """The number of runs in which it emerged."""
        return sum(math.isfinite(step) for step in self.steps)


def over_runs(runs: Sequence[Sequence[Emergence]]) -> list[EmergenceOverRuns]:
    """Compare runs side by side.

    Args:
        runs: The emergences of each run. They may have looked for different variables.

    Returns:
        One for each variable, sorted by median, then by earliest step, then in the order of the runs' variables.
    """
    tables = [{one.variable: one for one in (*_first_of_circles(run), *run)} for run in runs]
    found = []
    for name in dict.fromkeys(name for table in tables for name in table):
        cells = [table.get(name) for table in tables]
        sites = tuple(one.site if one is not None and one.emerged else None for one in cells)
        states = tuple(None if one is None else one.state for one in cells)
        found.append(EmergenceOverRuns(name, tuple(map(_step, cells)), sites, states))
    return sorted(found, key=lambda one: (not one.known, one.median if one.known else 0, *one.known[:1]))


def _step(one: Emergence | None) -> float:
    """Its training step; infinite if it never emerged, NaN where that is not known."""
    if one is None or one.state == CANNOT_BE_TOLD:
        return math.nan
    return math.inf if one.step is None else float(one.step)


def _first_of_circles(run: Sequence[Emergence]) -> list[Emergence]:
    """Of each circle with several frequencies, the one that emerged first, under a name of its own."""
    circles: dict[str, list[Emergence]] = {}
    for one in run:
        circle = circle_of(one.variable)
        if circle is not None:
            circles.setdefault(circle, []).append(one)
    return [replace(in_order(some)[0], variable=f"{name}{_FIRST}") for name, some in circles.items() if len(some) > 1]
