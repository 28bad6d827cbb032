"""The drift control: the R2 of networks that only drift, which a variable must exceed to count as learned.

Hidden states of any network hold much of its input. When weights wander without an aim, the R2 of a true variable rises
at some sites and falls at others, by far more than its interval over rows, and stays so for many validations: a probe
that is well calibrated on permuted labels finds that digits "emerge". So the run is compared with *drifts*: the network
before its first step, each weight moved as far as in the run, with random signs (:mod:`arithprobe.models.drift`). The
same probes read them, at validation 1, 2, 4, 8, ... and at the last.

At each such validation, site and variable, the R2 of J drifts has a mean and a standard deviation (R2 below 0 counts as
0, a deviation below 0.01 as 0.01). The *excess* of a drift is its height above the mean of the others, in their
standard deviations: the largest over variables, sites and validations. The bar is the mean plus the largest excess of
any drift, in deviations. If the run only drifts, it is one of J + 1 exchangeable draws, and the probability that any of
its scores is above the bar at those validations is about ``1 / (J + 1)``: with 19 drifts 5 %, for all variables
together. Between two comparisons the higher of the bars before and after counts; later than the last comparison,
emergence cannot be told yet.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from arithprobe.logic import FEWEST_DRAWS

_LEAST_DEVIATION: Final = 0.01  # R2


class DriftReadings(NamedTuple):
    """The scores of the drifts at one validation."""

    at: int
    """Number of the validation, from 0."""
    r2: Tensor
    """(J, V, S) R2 of V variables at S sites."""


def is_due(count: int) -> bool:
    """Whether the drifts are read at a validation, given its number from 1.

    >>> [count for count in range(1, 20) if is_due(count)]
    [1, 2, 4, 8, 16]
    """
    return count & (count - 1) == 0


def drift_bars(drifts: Sequence[DriftReadings], count: int) -> Tensor | None:
    """The (T, V, S) R2 that drift alone may reach at the first T validations; NaN where it was not compared.

    Args:
        drifts: The scores of the drifts, in order of the validations.
        count: Validations T.

    Returns:
        None with fewer than 19 drifts, which are too few for a level of 5 %.
    """
    if not drifts or len(drifts[0].r2) < FEWEST_DRAWS:
        return None
    r2 = torch.stack([one.r2.clamp(min=0) for one in drifts], dim=1)  # (J, E, V, S)
    excess = _largest_excess(r2)
    bars = r2.mean(dim=0) + excess * r2.std(dim=0).clamp(min=_LEAST_DEVIATION)  # (E, V, S)
    found = torch.full((count, *bars.shape[1:]), torch.nan, dtype=bars.dtype)
    first = 0
    for number, one in enumerate(drifts):
        found[first : one.at + 1] = bars[max(number - 1, 0) : number + 1].amax(dim=0)
        first = one.at + 1
    return found


def _largest_excess(r2: Tensor) -> float:
    """How many deviations of the others any of (J, ...) drifts is above their mean."""
    count, total, squares = len(r2), r2.sum(dim=0), r2.square().sum(dim=0)
    mean = (total - r2) / (count - 1)  # of the others
    variance = (squares - r2.square() - (count - 1) * mean.square()).clamp(min=0) / (count - 2)
    excess = (r2 - mean) / variance.sqrt().clamp(min=_LEAST_DEVIATION)
    return float(excess.nan_to_num(nan=-torch.inf).max())
