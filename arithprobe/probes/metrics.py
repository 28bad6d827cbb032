"""Statistics of scores: pooled held-out R2 with its interval, permutation p-values, false-discovery control."""

import math
import statistics
from collections.abc import Iterable
from typing import NamedTuple

import torch
from scipy.special import stdtrit
from torch import Tensor

from arithprobe.logic import LEVEL
from arithprobe.probes.interval import fold_covariance, r2_interval
from arithprobe.probes.ridge_scores import RidgeScores

_ROUNDING = 1e-10  # relative to the sum of squares: targets whose mean is 1e5 times their spread are not scored
_TIE = 1e-10  # of a score, or of 1: less is rounding


class HeldOutR2(NamedTuple):
    """Held-out R2 of C cells for T targets, over all folds; (C, T) each."""

    r2: Tensor
    """``1 - SSE / SST``, both summed over the folds (and over the columns of a target) before the division, as in
    ``r2_score(y, cross_val_predict(...))``. NaN where a cell has no spread, too few rows, or states that overflow."""
    low: Tensor
    """Lower end of the 95 % interval of what these probes read of fresh groups, see :mod:`arithprobe.probes.interval`;
    NaN with too few groups or fewer than two folds, and for targets whose columns are not paired."""
    high: Tensor
    """Upper end, at most 1."""
    in_sample: Tensor
    """R2 on the rows the probes were fitted on; never a result by itself."""
    skill: Tensor
    """``1 - SSE / SSE of the training rows' mean``: what p-values compare. A probe that finds nothing answers that
    mean, so its R2 tells only how evenly the labels fall into the folds, and its skill is 0."""


def held_out_r2(scores: RidgeScores, target: Tensor | None = None, groups: Tensor | None = None) -> HeldOutR2:
    """Return held-out R2, its interval and its in-sample counterpart.

    Args:
        scores: Errors by fold.
        target: (K,) int64 which target each column belongs to, 0 to T - 1: cos and sin of an angle are one target.
            Each column by itself, by default.
        groups: (C,) groups of rows that are alike, see :func:`arithprobe.probes.interval.groups_of`; every row by
            itself, by default.
    """
    if target is None:
        target = torch.arange(scores.errors.shape[-1])
    errors = _joined(scores.errors, target)
    whole = r2_of_sums(errors.sum(dim=0), *_spread(scores, target))
    enough = (scores.n_train.amin(dim=0) >= 2)[:, None]
    r2 = torch.where(enough, whole, torch.nan)
    low, high = _interval(scores, errors, target, scores.n_test.sum(dim=0) if groups is None else groups)
    spread_in_sample = _joined(scores.spread_in_sample, target).sum(dim=0)
    in_sample = 1 - _joined(scores.errors_in_sample, target).sum(dim=0) / spread_in_sample
    constant = scores.squares - 2 * scores.mean_train * scores.sums + scores.n_test[..., None] * scores.mean_train**2
    skill = 1 - errors.sum(dim=0) / _joined(constant, target).sum(dim=0)
    kept = ~torch.isnan(r2)
    return HeldOutR2(r2, *(torch.where(kept, one, torch.nan) for one in (low, high, in_sample, skill)))


def permutation_p(observed: Tensor, null: Tensor) -> Tensor:
    """One-sided p-values, ``(1 + #{null >= observed}) / (1 + P)`` (Phipson and Smyth 2010): never 0.

    Scores that differ by rounding count as equal: for states without variance, every score is 0 up to the last bit.

    >>> permutation_p(torch.tensor([0.9, 0.1]), torch.tensor([[0.2, 0.3, 0.0], [0.2, 0.3, 0.0]])).tolist()
    [0.25, 0.75]

    Args:
        observed: (...) scores.
        null: (..., P) scores under the null; NaN counts as reached.

    Returns:
        (...) p-values; NaN where the score is NaN.
    """
    rounding = _TIE * observed.abs().clamp(min=1)
    reached = (~(null < (observed - rounding)[..., None])).sum(dim=-1).to(observed)
    return torch.where(torch.isnan(observed), torch.nan, (1 + reached) / (1 + null.shape[-1]))


def false_discovery(p: Tensor, level: float = LEVEL) -> Tensor:
    """Choose the hypotheses to reject so that at most a share ``level`` of the rejected is expected to be true.

    Benjamini and Hochberg 1995, https://doi.org/10.1111/j.2517-6161.1995.tb02031.x.

    >>> false_discovery(torch.tensor([0.001, 0.9, 0.02, 0.04])).tolist()
    [True, False, True, False]

    Args:
        p: (..., M) p-values, where the last axis is one family; NaN is never rejected.
        level: The false discovery rate.

    Returns:
        (..., M) bool.
    """
    m = (~torch.isnan(p)).sum(dim=-1, keepdim=True).clamp(min=1)
    ordered, order = torch.sort(p.nan_to_num(nan=2.0), dim=-1)
    passed = ordered <= level * torch.arange(1, p.shape[-1] + 1).to(p) / m
    up_to_last = passed.flip(-1).cumsum(dim=-1).flip(-1) > 0
    return torch.zeros_like(passed).scatter(-1, order, up_to_last)


def jackknife_variance(left: Tensor) -> Tensor:
    """Delete-a-group jackknife variance of a score, from the scores with each of G blocks of groups left out.

    Args:
        left: (G, ...) scores, at least two.
    """
    count = len(left)
    return (count - 1) / count * (left - left.mean(dim=0)).square().sum(dim=0)


def jackknife_margin(left: Tensor) -> Tensor:
    """Half the width of a 95 % interval, from the scores with each of G blocks of groups left out.

    Args:
        left: (G, ...) scores, at least two.
    """
    return float(stdtrit(len(left) - 1, 0.975)) * jackknife_variance(left).sqrt()


class MeanOverSeeds(NamedTuple):
    """The mean of one number over runs that differ only in the seed, and its interval."""

    n: int
    """Number of runs that have the number."""
    missing: int
    """Number of runs without it, which are left out."""
    mean: float
    """The mean; NaN of none."""
    sd: float
    """Standard deviation between runs, with n - 1; NaN with fewer than two."""
    low: float
    """Lower end of the 95 % interval of the mean, by Student's t with n - 1 degrees of freedom; NaN with fewer than
    two."""
    high: float
    """Upper end."""


def mean_over_seeds(values: Iterable[float | None]) -> MeanOverSeeds:
    """Return the mean over runs, with the interval in which the mean over all seeds is expected.

    >>> mean_over_seeds([0.5, None, 0.5])
    MeanOverSeeds(n=2, missing=1, mean=0.5, sd=0.0, low=0.5, high=0.5)

    Args:
        values: One value per run; None and values that are not finite are left out and counted.
    """
    given = list(values)
    known = [float(value) for value in given if value is not None and math.isfinite(value)]
    n, missing = len(known), len(given) - len(known)
    mean = math.fsum(known) / n if n else math.nan
    if n < 2:
        return MeanOverSeeds(n, missing, mean, math.nan, math.nan, math.nan)
    sd = statistics.stdev(known)
    margin = float(stdtrit(n - 1, 0.975)) * sd / math.sqrt(n)
    return MeanOverSeeds(n, missing, mean, sd, mean - margin, mean + margin)


def r2_of_sums(errors: Tensor, spread: Tensor, squares: Tensor) -> Tensor:
    """Return ``1 - SSE / SST``; NaN where the spread is rounding noise beside the sum of squares."""
    return torch.where(spread > _ROUNDING * squares, 1 - errors / spread, torch.nan)


def _joined(columns: Tensor, target: Tensor) -> Tensor:
    """(..., T) sums over the columns of each target, of (..., K) columns."""
    if bool((target == torch.arange(len(target))).all()):
        return columns
    shape = (*columns.shape[:-1], int(target.max()) + 1)
    return columns.new_zeros(shape).index_add_(-1, target, columns)


def _spread(scores: RidgeScores, target: Tensor) -> tuple[Tensor, Tensor]:
    """(C, T) sums of squared deviations from the mean, and of squares."""
    n = scores.n_test.sum(dim=0)
    sums, squares = scores.sums.sum(dim=0), scores.squares.sum(dim=0)
    spread = (squares - sums.square() / n.clamp(min=1)[:, None]).clamp(min=0)
    spread = torch.where(spread > _ROUNDING * squares, spread, torch.nan)  # a constant column spoils its target
    return _joined(spread, target), _joined(squares, target)


def _interval(scores: RidgeScores, errors: Tensor, target: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    low, high = (torch.full_like(errors[0], torch.nan) for _ in range(2))
    own = target[: scores.pairs.shape[-1]]  # the columns that are paired, the first of all
    if scores.pairs.shape[2] > 1 and len(own):
        n = scores.n_test.sum(dim=0).clamp(min=1)
        mean = scores.sums.sum(dim=0) / n[:, None]
        about = scores.squares - 2 * mean * scores.sums + scores.n_test[..., None] * mean.square()
        spread = _joined(about[..., : len(own)], own)
        count = spread.shape[-1]
        together = fold_covariance(_joined(scores.pairs, own), spread.sum(dim=0))
        ends = r2_interval(errors[..., :count], spread, scores.n_test / n, groups, together)
        low[:, :count], high[:, :count] = ends
    return low, high
