"""Spearman's rank correlation of two orders, with a permutation p-value that also holds for few points."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import permutation_test, rankdata
from torch import Tensor

_EXACT, _DRAWS = 8, 9999  # things up to which all orders are tried; orders drawn beyond
_SAME = 1e-12


class RankCorrelation(NamedTuple):
    """The agreement of two orders of n items."""

    rho: float
    """Spearman's rank correlation, -1 to 1; NaN with fewer than three things, or where one order is all ties."""
    p: float
    """Two-sided: how often a random order agrees or disagrees as much."""
    n: int
    """Number of things that both lists order."""


def rank_correlation(one: npt.ArrayLike, other: npt.ArrayLike, seed: int = 0) -> RankCorrelation:
    """Spearman's rank correlation of two lists, ties at their mean rank.

    >>> rank_correlation([1, 2, 3, 4], [10, 20, 40, 30])
    RankCorrelation(rho=0.8, p=0.3333333333333333, n=4)

    Args:
        one: n numbers.
        other: n numbers; a pair with NaN is left out.
        seed: Seed of the drawn orders; for up to eight items all orders are tried.
    """
    pairs = np.stack([np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)])
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    n = pairs.shape[1]
    ranks = rankdata(pairs, axis=1) - (n + 1) / 2
    size = math.sqrt(float(np.square(ranks[0]).sum() * np.square(ranks[1]).sum()))
    if n < 3 or size < _SAME:
        return RankCorrelation(math.nan, math.nan, n)
    found = permutation_test(
        (ranks[0],),
        lambda order, axis: np.abs((order * ranks[1]).sum(axis=axis)) / size,
        vectorized=True,
        permutation_type="pairings",
        alternative="greater",
        random_state=seed,
        n_resamples=math.factorial(_EXACT) if n <= _EXACT else _DRAWS,
    )
    return RankCorrelation(float(ranks[0] @ ranks[1]) / size, float(found.pvalue), n)


class Agreement(NamedTuple):
    """The agreement of a measure with an effect: whether items with a large measure have a large effect."""

    measure: str
    """What is compared with the effect."""
    values: Tensor
    """(...) the measure of each."""
    uniform: float | None
    """What it would be of one without preference, where all share one; or None."""
    correlation: RankCorrelation
    """Rank correlation with the effect, all together."""
