"""Emergence: the first validation of a fit from which on a variable is readable.

At one validation, a variable is *cleared* at a site if its probe score is neither chance nor present without training:
the permutation test rejects, R2 is positive, and the lower end of its interval is above the R2 of untrained networks; a
frequency must also be a key frequency (:mod:`arithprobe.probes.neighbours`). One such validation can be luck, and three
can be drift. So a variable has *emerged* at the first of three in a row at one site, all of them above the R2 that the
probes would read if the weights had only drifted (:mod:`arithprobe.probes.drift`). If drift was not compared, or not
yet, three cleared validations in a row cannot be told from drift.

The untrained network that counts is the run's own, before its first step: R2 differs between initialisations by more
than its interval, so compared with another initialisation, many variables would be cleared before any training.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from arithprobe.logic import CANNOT_BE_TOLD, FAILS, HOLDS, LEVEL, State
from arithprobe.probes.drift import DriftReadings, drift_bars
from arithprobe.probes.steps import after_steps
from arithprobe.problems.circles import planes_name, planes_of

IN_A_ROW = 3
"""Validations in a row, at one site, that make a variable emerge."""


@dataclass(frozen=True)
class Readings:
    """The probe scores of one validation: V variables at S sites; tensors are (V, S) float64."""

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
    of_period: Tensor | None = None
    """(V, S) bool, whether a frequency is told from neighbouring periods; True for what is no frequency. None: all."""

    @property
    def cleared(self) -> Tensor:
        """Whether each variable is cleared at each site, (V, S) bool, before drift is compared; see :func:`clears`."""
        cleared = clears(self.r2, self.low, self.p, self.untrained)
        return cleared if self.of_period is None else cleared & self.of_period

    def by_variable(self, drift: Tensor | None = None) -> dict[str, dict[str, list[float]]]:
        """All scores of each variable, site by site.

        Args:
            drift: (V, S) the largest R2 of networks that only drifted, if they were read.
        """
        columns = {name: getattr(self, name) for name in ("r2", "low", "p", "untrained", "of_period", "cleared")}
        columns = {name: part for name, part in (columns | {"drift": drift}).items() if part is not None}
        return {
            name: {key: part[row].tolist() for key, part in columns.items()} for row, name in enumerate(self.variables)
        }

    @property
    def best(self) -> Tensor:
        """The (V,) largest R2 over the sites; NaN if there is none."""
        return _highest(self.r2)

    @property
    def before(self) -> Tensor:
        """The (V,) largest R2 over the sites without training."""
        return _highest(self.untrained)


@dataclass(frozen=True)
class Emergence:
    """When one variable became readable."""

    variable: str
    """Its name, as a probe's target or as the plane of a circle, ``residuemod97f3``."""
    step: int | None
    """Training step of the first of three cleared validations in a row, above drift where that was compared; None if
    there is no such run of three."""
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
    compared: bool = False
    """Whether that run of three was compared with drift; False without one, and in files of earlier versions."""

    @property
    def state(self) -> State:
        """Whether it emerged; cannot be told if three validations in a row were not compared with drift."""
        return FAILS if self.site is None else HOLDS if self.compared else CANNOT_BE_TOLD

    @property
    def emerged(self) -> bool:
        """Whether the variable has emerged for sure."""
        return self.state == HOLDS


def clears(r2: Tensor, low: Tensor, p: Tensor, untrained: Tensor) -> Tensor:
    """Whether a score counts: above chance, and above the R2 of a network before any training.

    >>> nan = float("nan")
    >>> r2, low, p = torch.tensor([[0.6, 0.6, 0.6, nan], [0.5, 0.5, 0.5, nan], [0.04, 0.04, 0.2, nan]])
    >>> clears(r2, low, p, untrained=torch.tensor([0.1, 0.55, 0.1, 0.1])).tolist()
    [True, False, False, False]

    Args:
        r2: Held-out R2, of any shape; all arguments have the same.
        low: Lower end of its interval.
        p: p-value.
        untrained: R2 of an untrained network; minus infinity if there is none.

    Returns:
        bool; False where one of them is NaN.
    """
    return (p <= LEVEL) & (r2 > 0) & (low > untrained)


def emergences(
    history: Sequence[Readings], drifts: Sequence[DriftReadings] = (), in_a_row: int = IN_A_ROW
) -> list[Emergence]:
    """Find when each variable emerged.

    Args:
        history: The validations of one fit, in order; all have the same variables and sites.
        drifts: The scores of networks that only drifted.
        in_a_row: The required number of validations in a row.

    Returns:
        One for each variable, in their order; none without a validation.
    """
    if not history:
        return []
    cleared, r2 = torch.stack([one.cleared for one in history]), torch.stack([one.r2 for one in history])  # (T, V, S)
    bars = drift_bars(drifts, len(history))
    above = torch.zeros_like(cleared) if bars is None else cleared & (r2 > bars)
    perhaps = cleared if bars is None else cleared & ~(r2 <= bars)
    kinds = _runs(above, in_a_row), _runs(perhaps, in_a_row)
    return [
        _emergence(history, [one[:, row] for one in kinds], bool(perhaps[-1, row].any()), row)
        for row in range(len(history[-1].variables))
    ]


def _runs(cleared: Tensor, in_a_row: int) -> Tensor:
    """(T - in_a_row + 1, V, S) bool, where a run starts."""
    none = torch.zeros(0, *cleared.shape[1:], dtype=torch.bool)
    return cleared.unfold(0, in_a_row, 1).all(dim=-1) if len(cleared) >= in_a_row else none


def _emergence(history: Sequence[Readings], kinds: Sequence[Tensor], cleared: bool, row: int) -> Emergence:
    """That of one variable, from (T, S) where a run that is above drift starts, and where one that may be does."""
    last = history[-1]
    compared = bool(kinds[0].any())
    best, starts = float(last.best[row]), kinds[0 if compared else 1].nonzero().tolist()  # by validation, then by site
    last_site = None if best != best else last.sites[int(last.r2[row].nan_to_num(nan=-torch.inf).argmax())]
    step, site, r2 = None, None, float("nan")
    if starts:
        first, column = starts[0]
        step, site, r2 = history[first].step, last.sites[column], float(history[first].r2[row, column])
    before, name = float(last.before[row]), last.variables[row]
    return Emergence(name, step, site, r2, best, last_site, cleared, before, compared)


def _highest(values: Tensor) -> Tensor:
    """(V,) largest of (V, S) values; NaN where there is none."""
    highest = values.nan_to_num(nan=-torch.inf).amax(dim=1)
    return torch.where(highest > -torch.inf, highest, torch.nan)


def in_order(found: Sequence[Emergence]) -> list[Emergence]:
    """Sort by emergence: those that emerged by step, then those that may have, then the others in their order."""
    order = (HOLDS, CANNOT_BE_TOLD, FAILS)
    return sorted(found, key=lambda one: (order.index(one.state), one.step or 0))


def in_words(found: Sequence[Emergence]) -> str:
    """Say which variables emerged and when, which did not, and for which it cannot be told."""
    seen = [
        f"{one.variable} {after_steps(one.step)} ({one.site}{'' if one.cleared else '; not at the end'})"
        for one in in_order(found)
        if one.emerged
    ]
    perhaps, never = (
        listed([one.variable for one in found if one.state == state]) for state in (CANNOT_BE_TOLD, FAILS)
    )
    more = f"; {CANNOT_BE_TOLD} from drift: {', '.join(perhaps)}" if perhaps else ""
    return f"emerged: {', '.join(seen) or 'nothing'}; never: {', '.join(never) or 'nothing'}{more}"


def circle_of(variable: str) -> str | None:
    """The circle that a variable is a frequency of; None if it is not a frequency.

    >>> circle_of("residuemod97f3"), circle_of("summod4")
    ('residuemod97', None)
    """
    circle = planes_of(variable)
    return None if circle is None else circle.name


def listed(variables: Sequence[str]) -> list[str]:
    """The names of the variables, with the frequencies of a circle under one name.

    >>> listed(["residuemod97f1", "x", "residuemod97f2", "residuemod97f7"])
    ['x', 'residuemod97f1to2+7']
    """
    circles = [circle for circle in map(planes_of, variables) if circle is not None]
    frequencies = {
        key: [one.frequencies[0] for one in circles if one[:2] == key] for key in dict.fromkeys(c[:2] for c in circles)
    }
    others = [name for name in variables if planes_of(name) is None]
    return [*others, *(planes_name(*key, some) for key, some in frequencies.items())]
