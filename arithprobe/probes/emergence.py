"""Emergence: the first validation of a fit from which on a variable is readable.

At one validation a variable is *cleared* at a site if what a probe reads there is neither chance nor there without any
training: the permutation test rejects, R2 is positive, and the lower end of its interval is above the R2 of untrained
networks. One such validation can be luck, so a variable has *emerged* at the first of three in a row at one site.

The untrained network that counts is the run's own, before its first step: R2 differs between initialisations by more
than its interval, so of variables read from another initialisation many would be cleared before any training.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor

from arithprobe.logic import LEVEL
from arithprobe.problems.circles import planes_name, planes_of

_FIRST = " (first)"

IN_A_ROW = 3
"""Validations in a row, at one site, that make a variable emerge."""


@dataclass(frozen=True)
class Readings:
    """What the probes of one validation read: V variables at S sites; tensors are (V, S) float64."""

    step: int | None
    """Training step of the validation; None outside a fit."""
    variables: tuple[str, ...]
    """The V variables."""
    sites: tuple[str, ...]
    """The S sites, from the embedding up."""
    r2: Tensor
    """R2 on held-out groups; NaN where it cannot be scored."""
    low: Tensor
    """Lower end of its 95 % interval."""
    p: Tensor
    """Permutation p-value; of a frequency, family-wise over all frequencies of its circle."""
    untrained: Tensor
    """Largest R2 of the untrained networks at the same site; minus infinity where there are none."""

    @property
    def cleared(self) -> Tensor:
        """(V, S) bool, see :func:`clears`."""
        return clears(self.r2, self.low, self.p, self.untrained)

    @property
    def best(self) -> Tensor:
        """(V,) largest R2 over the sites; NaN where there is none."""
        return _highest(self.r2)

    @property
    def before(self) -> Tensor:
        """(V,) the same without training."""
        return _highest(self.untrained)


@dataclass(frozen=True)
class Emergence:
    """When one variable became readable."""

    variable: str
    """Its name, as a probe's target or as the plane of a circle, ``residuemod97f3``."""
    step: int | None
    """Training step of the first of three cleared validations in a row; None if there is no such run of three."""
    site: str | None
    """Where that run is; of several sites with the same step, the first in the stream."""
    r2: float
    """R2 at that step and site; NaN if it never emerged."""
    last_r2: float
    """Largest R2 over the sites at the last validation; NaN where it cannot be scored."""
    last_site: str | None
    """The site of that R2."""
    cleared: bool
    """Whether it is cleared at the last validation, at any site: what has emerged can be lost again."""
    before: float = math.nan
    """Largest R2 over the sites without any training: what never emerged may have been readable all along. NaN where no
    untrained network was read."""

    @property
    def emerged(self) -> bool:
        """Whether it ever did."""
        return self.site is not None


def clears(r2: Tensor, low: Tensor, p: Tensor, untrained: Tensor) -> Tensor:
    """Whether a score counts: above chance, and above what a network gives away before any training.

    >>> nan = float("nan")
    >>> r2, low, p = torch.tensor([[0.6, 0.6, 0.6, nan], [0.5, 0.5, 0.5, nan], [0.04, 0.04, 0.2, nan]])
    >>> clears(r2, low, p, untrained=torch.tensor([0.1, 0.55, 0.1, 0.1])).tolist()
    [True, False, False, False]

    Args:
        r2: Held-out R2, of any shape; all arguments have the same.
        low: Lower end of its interval.
        p: p-value.
        untrained: R2 of an untrained network; minus infinity where there is none.

    Returns:
        bool; False wherever one of them is NaN.
    """
    return (p <= LEVEL) & (r2 > 0) & (low > untrained)


def emergences(history: Sequence[Readings], in_a_row: int = IN_A_ROW) -> list[Emergence]:
    """When each variable emerged.

    Args:
        history: The validations of one fit, in order; all of the same variables and sites.
        in_a_row: Validations in a row that it takes.

    Returns:
        One a variable, in the order of the variables; none without a validation.
    """
    if not history:
        return []
    last, cleared = history[-1], torch.stack([one.cleared for one in history])  # (T, V, S)
    runs = torch.zeros(0, *cleared.shape[1:], dtype=torch.bool)
    if len(history) >= in_a_row:
        runs = cleared.unfold(0, in_a_row, 1).all(dim=-1)  # (T - in_a_row + 1, V, S), by their first validation
    return [_emergence(history, runs[:, row], row, name) for row, name in enumerate(last.variables)]


def _emergence(history: Sequence[Readings], runs: Tensor, row: int, name: str) -> Emergence:
    """That of one variable, from (T, S) where a run starts."""
    last = history[-1]
    best, starts = float(last.best[row]), runs.nonzero().tolist()  # by validation, then by site
    last_site = None if best != best else last.sites[int(last.r2[row].nan_to_num(nan=-torch.inf).argmax())]
    step, site, r2 = None, None, float("nan")
    if starts:
        first, column = starts[0]
        step, site, r2 = history[first].step, last.sites[column], float(history[first].r2[row, column])
    return Emergence(name, step, site, r2, best, last_site, bool(last.cleared[row].any()), float(last.before[row]))


def _highest(values: Tensor) -> Tensor:
    """(V,) largest of (V, S) values; NaN where there is none."""
    highest = values.nan_to_num(nan=-torch.inf).amax(dim=1)
    return torch.where(highest > -torch.inf, highest, torch.nan)


def in_order(found: Sequence[Emergence]) -> list[Emergence]:
    """Those that emerged by step, then the others, both in their order otherwise."""
    return sorted(found, key=lambda one: (not one.emerged, one.step or 0))


def circle_of(variable: str) -> str | None:
    """The circle that a variable is a frequency of; None where it is none.

    >>> circle_of("residuemod97f3"), circle_of("summod4")
    ('residuemod97', None)
    """
    circle = planes_of(variable)
    return None if circle is None else circle.name


def listed(variables: Sequence[str]) -> list[str]:
    """The variables by name, the frequencies of a circle under one.

    >>> listed(["residuemod97f1", "x", "residuemod97f2", "residuemod97f7"])
    ['x', 'residuemod97f1to2+7']
    """
    circles = [circle for circle in map(planes_of, variables) if circle is not None]
    frequencies = {
        key: [one.frequencies[0] for one in circles if one[:2] == key] for key in dict.fromkeys(c[:2] for c in circles)
    }
    others = [name for name in variables if planes_of(name) is None]
    return [*others, *(planes_name(*key, some) for key, some in frequencies.items())]


@dataclass(frozen=True)
class EmergenceOverRuns:
    """When one variable emerged in each of R runs."""

    variable: str
    """Its name; ``residuemod97 (first)`` is whichever frequency of the circle emerged first."""
    steps: tuple[float, ...]
    """(R) training steps; infinite where it never emerged, NaN where the run did not look for it."""
    sites: tuple[str | None, ...]
    """(R) sites; None where it did not emerge."""

    @property
    def of_any_frequency(self) -> bool:
        """Whether it stands for the first frequency of a circle, and is no variable of its own."""
        return self.variable.endswith(_FIRST)

    @property
    def known(self) -> list[float]:
        """The steps of the runs that looked for it, in order; those where it never emerged last."""
        return sorted(step for step in self.steps if not math.isnan(step))

    @property
    def median(self) -> float:
        """Median step, never being later than any step: infinite unless it emerged in more than half of the runs."""
        return median(self.known)

    @property
    def count(self) -> int:
        """Runs in which it emerged."""
        return sum(math.isfinite(step) for step in self.steps)


def over_runs(runs: Sequence[Sequence[Emergence]]) -> list[EmergenceOverRuns]:
    """Runs side by side.

    Args:
        runs: The emergences of each run. They may have looked for different variables.

    Returns:
        One a variable, by median, then by their earliest step, then in the order of the runs' variables.
    """
    tables = [{one.variable: one for one in (*_first_of_circles(run), *run)} for run in runs]
    found = []
    for name in dict.fromkeys(name for table in tables for name in table):
        cells = [table.get(name) for table in tables]
        steps = tuple(math.nan if one is None else math.inf if one.step is None else float(one.step) for one in cells)
        found.append(EmergenceOverRuns(name, steps, tuple(None if one is None else one.site for one in cells)))
    return sorted(found, key=lambda one: (one.median, one.known[0]))


def _first_of_circles(run: Sequence[Emergence]) -> list[Emergence]:
    """Of each circle with several frequencies, the one that emerged first, under a name of its own."""
    circles: dict[str, list[Emergence]] = {}
    for one in run:
        circle = circle_of(one.variable)
        if circle is not None:
            circles.setdefault(circle, []).append(one)
    return [replace(in_order(some)[0], variable=f"{name}{_FIRST}") for name, some in circles.items() if len(some) > 1]
