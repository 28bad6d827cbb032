"""Spearman's rank correlation is scipy's, and its p-value is by permutation: exact for few points, and fair."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, rankdata, spearmanr

from arithprobe.probes.rank import rank_correlation

TIED = [
    ([1, 2, 2, 4, 5], [3, 3, 1, 5, 4]),
    ([0, 0, 1, 1, 2, 2, 3], [1, 2, 2, 2, 3, 3, 3]),
    ([1, 1, 1, 2], [5, 4, 4, 6]),
]


def drawn(n, seed, slope=0.0):
    generator = np.random.default_rng(seed)
    one = generator.standard_normal(n)
    return one, slope * one + generator.standard_normal(n)


def exact_p(one, other):
    """How often |rho| is as large, over all orders."""
    one, orders = rankdata(one), np.array(list(itertools.permutations(rankdata(other))))
    one, orders = one - one.mean(), orders - orders.mean(axis=1, keepdims=True)
    rho = orders @ one / (np.linalg.norm(orders, axis=1) * np.linalg.norm(one))
    return np.mean(np.abs(rho) >= abs(rho[0]) - 1e-9)


@pytest.mark.parametrize("slope", [0.0, 0.7, -2.0])
@pytest.mark.parametrize("n", [3, 5, 8, 9, 30])
def test_rho_is_scipys(n, slope):
    one, other = drawn(n, n, slope)
    found = rank_correlation(one, other)
    assert found.rho == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)
    assert found.n == n
    assert rank_correlation(one, np.exp(other)).rho == found.rho  # orders only


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=12))
@settings(deadline=None, max_examples=60)
def test_rho_of_ties_is_scipys(pairs):
    one, other = zip(*pairs, strict=True)
    found = rank_correlation(one, other)
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert math.isnan(found.rho) and math.isnan(found.p)
    else:
        assert found.rho == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)
        assert 0 < found.p <= 1


@pytest.mark.parametrize("pair", [*(drawn(n, seed, 0.5) for n in (3, 4, 6, 7) for seed in (0, 1)), *TIED], ids=str)
def test_p_of_a_few_points_is_exact(pair):
    assert rank_correlation(*pair).p == pytest.approx(exact_p(*pair), abs=1e-12)


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_p_of_eight_points_is_exact_and_not_that_of_the_normal_theory(slope):
    one, other = drawn(8, 3, slope)
    found = rank_correlation(one, other)
    assert found.p == pytest.approx(exact_p(one, other), abs=1e-12)
    assert found.p != spearmanr(one, other).pvalue
    assert found == rank_correlation(one, other, seed=1)  # nothing is drawn


def test_p_by_hand():
    """Of the 24 orders of four, the two straight ones agree or disagree fully; of six of three, two."""
    assert rank_correlation([1, 2, 3, 4], [1, 2, 3, 4]) == (pytest.approx(1), 2 / 24, 4)
    assert rank_correlation([1, 2, 3, 4], [8, 6, 4, 2]) == (pytest.approx(-1), 2 / 24, 4)
    assert rank_correlation([1, 2, 3], [5, 6, 7]) == (pytest.approx(1), 2 / 6, 3)
    assert rank_correlation([1, 2, 3, 4], [2, 4, 1, 3]) == (pytest.approx(0), 1.0, 4)


@pytest.mark.parametrize("n", [9, 12, 30])
@pytest.mark.parametrize("slope", [0.0, 0.3, -0.6])
def test_p_of_more_points_is_near_scipys(n, slope):
    one, other = drawn(n, 100 + n, slope)
    assert rank_correlation(one, other).p == pytest.approx(spearmanr(one, other).pvalue, abs=0.03)


def test_p_is_never_zero_and_as_small_as_draws_allow():
    assert rank_correlation(range(30), range(30)).p == pytest.approx(1 / 10000)


def test_draws_depend_on_the_seed_alone():
    one, other = drawn(20, 0, 0.3)
    assert rank_correlation(one, other, seed=1) == rank_correlation(one, other, seed=1)
    assert len({rank_correlation(one, other, seed=seed).p for seed in range(4)}) > 1
    before = np.random.get_state()[1].copy()
    rank_correlation(one, other)
    assert np.array_equal(np.random.get_state()[1], before)


def test_pairs_with_nan_are_left_out():
    nan = math.nan
    one, other = [1, nan, 3, 2, 5, 4, nan], [2, 9, nan, 4, 8, 6, nan]
    kept = rank_correlation([1, 2, 5, 4], [2, 4, 8, 6])
    assert rank_correlation(one, other) == kept and kept.n == 4
    assert rank_correlation([1, 2, 3, nan, 4], [1, 2, 3, 4, nan]) == rank_correlation([1, 2, 3], [1, 2, 3])


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    "pair",
    [
        ([], []),
        ([1], [2]),
        ([1, 2], [2, 1]),
        ([1, 1, 1, 1], [1, 2, 3, 4]),
        ([0.1] * 12, range(12)),
        ([7] * 5, [7] * 5),
        ([1, 2, math.nan, 4], [1, math.nan, 3, 4]),
    ],
    ids=str,
)
def test_of_fewer_than_three_things_or_of_all_ties_nothing_is_said(pair, order):
    found = rank_correlation(*pair[::order])
    assert math.isnan(found.rho) and math.isnan(found.p)
    assert found.n == sum(not math.isnan(a + b) for a, b in zip(*pair, strict=True))


@pytest.mark.parametrize("runs", [60, pytest.param(2000, marks=pytest.mark.long)])
@pytest.mark.parametrize("n", [7, 20])
def test_what_has_nothing_to_do_with_each_other_is_seldom_called_so(n, runs):
    found = [rank_correlation(*drawn(n, seed), seed=seed).p for seed in range(1000, 1000 + runs)]
    for level in (0.05, 0.5):
        low, high = binom.ppf([0.001, 0.999], runs, level)
        count = sum(p <= level for p in found)
        print(f"p <= {level} of {n} things: {count} of {runs}, expected {low:.0f} to {high:.0f}")
        assert low <= count <= high
    related = [rank_correlation(*drawn(n, seed, 4.0)).p for seed in range(20)]  # the control
    assert sum(p <= 0.05 for p in related) >= 18
