"""Do two orders agree: Spearman's rank correlation, with a p-value by permutation that holds for a few points too."""

import itertools
import math
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

_EXACT, _DRAWS = 8, 9999  # points up to which all orders are tried; orders drawn beyond
_SAME = 1e-12


class RankCorrelation(NamedTuple):
    """Agreement of two orders of n things."""

    rho: float
    """Spearman's rank correlation, -1 to 1; NaN with fewer than three things, or where one order is all ties."""
    p: float
    """Two-sided: how often a random order agrees or disagrees as much."""
    n: int
    """Things."""


def rank_correlation(one: npt.ArrayLike, other: npt.ArrayLike, seed: int = 0) -> RankCorrelation:
    """Spearman's rank correlation of two lists, ties at their mean rank.

    >>> rank_correlation([1, 2, 3, 4], [10, 20, 40, 30])
    RankCorrelation(rho=0.8, p=0.3333333333333333, n=4)

    Args:
        one: n numbers.
        other: n numbers; a pair with NaN is left out.
        seed: Seed of the orders drawn; up to eight things all orders are tried.
    """
    pairs = np.stack([np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)])
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    n = pairs.shape[1]
    ranks = rankdata(pairs, axis=1) - (n + 1) / 2
    size = math.sqrt(float(np.square(ranks[0]).sum() * np.square(ranks[1]).sum()))
    if n < 3 or size < _SAME:
        return RankCorrelation(math.nan, math.nan, n)
    rho = float(ranks[0] @ ranks[1]) / size
    if n <= _EXACT:
        orders = ranks[1][_all_orders(n)]
    else:
        orders = np.random.default_rng(seed).permuted(np.tile(ranks[1], (_DRAWS, 1)), axis=1)
    as_much = int((np.abs(orders @ ranks[0]) >= (abs(rho) - _SAME) * size).sum())
    p = as_much / len(orders) if n <= _EXACT else (1 + as_much) / (1 + _DRAWS)
    return RankCorrelation(rho, p, n)


@cache
def _all_orders(n: int) -> npt.NDArray[np.int64]:
    """(n!, n) every order of n things."""
    return np.array(list(itertools.permutations(range(n))))
