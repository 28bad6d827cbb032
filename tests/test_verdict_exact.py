"""LEARNED is a claim with a bound over sums: planted answers whose share of right ones is known."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import beta

from arithprobe.behaviour import judge_rows, share_interval, to_settle


def planted(rng, n, groups, right, even=False):
    """(N,) answers, each its own group, that one of so many sums has, and whether they are right."""
    sums = rng.choice(1999, groups, replace=False)
    weights = np.minimum(sums, 1998 - sums) + 1.0  # as many pairs of operands have this sum
    answers = np.repeat(sums, n // groups) if even else rng.choice(sums, n, p=weights / weights.sum())
    _, group = np.unique(answers, return_inverse=True)
    return answers, right(rng, group)


def by_row(share):
    return lambda rng, group: rng.random(len(group)) < share


def by_sum(share, also=1.0):
    """Whole sums, and of those that are right a share of the rows too."""
    return lambda rng, group: (rng.random(group.max() + 1) < share)[group] & (rng.random(len(group)) < also)


def in_part(share, correlation):
    """Each sum has its own share, of a beta distribution."""
    size = 1 / correlation - 1
    return lambda rng, group: (
        rng.random(len(group)) < rng.beta(share * size, (1 - share) * size, group.max() + 1)[group]
    )


def judged(answers, right, group=None, **options):
    answers = torch.from_numpy(answers)
    predictions = torch.where(torch.from_numpy(right), answers, answers + 3).double()
    return judge_rows(predictions, answers, float(answers.double().mean()), group=group, **options)


def repeated(runs, *case, seed=0, **options):
    rng = np.random.default_rng(seed)
    return [judged(*planted(rng, *case, **options)) for _ in range(runs)]


@pytest.mark.parametrize(("groups", "right"), [(10, 9), (20, 18), (100, 98), (100, 100), (225, 224), (1000, 990)])
def test_of_whole_groups_of_one_size_the_bound_is_that_of_clopper_and_pearson(groups, right):
    n = np.full(groups, 7.0)
    low, high = share_interval(np.where(np.arange(groups) < right, n, 0), n)
    expected = beta.ppf([0.025, 0.975], [right, right + 1], [groups - right + 1, max(groups - right, 1e-9)])
    assert (low, high) == pytest.approx(tuple(expected), abs=5e-5)


def test_of_uneven_groups_right_in_part_it_is_the_quantile_of_the_bootstrap_with_a_wrong_group():
    """The reference draws the weights."""
    rng = np.random.default_rng(0)
    n = rng.integers(1, 30, 150).astype(float)
    right = n - rng.binomial(1, 0.1, 150) * rng.integers(0, n.astype(int) + 1)
    weights = rng.exponential(size=(100_000, 150))
    shares = (weights @ right) / (weights @ n + rng.exponential(size=100_000) * n.mean())
    assert share_interval(right, n)[0] == pytest.approx(np.quantile(shares, 0.025), abs=4e-4)


def test_an_answer_put_right_never_lowers_the_bound():
    """Its control: a design effect, which is unknown where all is right, and jumps where one row is not."""
    n = np.full(100, 20.0)
    bounds = []
    for wrong in range(30, -1, -1):
        right = n.copy()
        right[: wrong // 3] -= 3
        right[wrong // 3] -= wrong % 3
        bounds.append(share_interval(right, n)[0])
    assert bounds == sorted(bounds)


@pytest.mark.parametrize("groups", [1, 2])
def test_of_next_to_no_groups_next_to_nothing_is_known(groups):
    n = np.full(groups, 1000.0)
    assert share_interval(n, n) == (pytest.approx(0.025 ** (1 / groups), abs=1e-4), 1.0)
    assert share_interval(0 * n, n)[0] == 0.0


def test_what_settles_it_does():
    n = np.full(200, 20.0)
    right = n - (np.arange(200) < 12)
    more = math.ceil(200 * to_settle(right, n, 0.98))
    assert share_interval(right, n)[0] < 0.98
    alike = np.full(more, 20.0)
    assert share_interval(alike - (np.arange(more) < math.ceil(more * 0.06)), alike)[0] == pytest.approx(0.98, abs=5e-4)
    assert to_settle(n, n, 0.98) * 200 == pytest.approx(math.log(0.025) / math.log(0.98), rel=1e-3)
    assert to_settle(0.97 * n, n, 0.98) == math.inf  # no number of them would


def test_twenty_rows_of_a_model_that_is_right_in_nine_of_ten_are_never_learned():
    """Of such rows 12 in 100 are all right. The control: 400 rows, all right, are."""
    found = repeated(40, 20, 20, by_row(0.9))
    assert any(one.exact_match == 1 for one in found)
    assert all(one.verdict == "PARTLY LEARNED" for one in found)
    (many,) = repeated(1, 400, 400, by_row(1.0))
    assert many.verdict == "LEARNED"


@pytest.mark.parametrize("also", [1.0, 0.999], ids=["whole sums", "and some rows"])
def test_of_whole_sums_right_or_wrong_the_interval_holds(also):
    """Where the interval over rows holds in 26 to 60 %. Its lower end may be wrong in 2.5 %."""
    found = repeated(40, 2000, 100, by_sum(0.985, also))
    assert sum(one.exact_match_low > 0.985 * also for one in found) <= 3
    assert all(one.verdict != "LEARNED" for one in found)
    assert np.mean([one.exact_match for one in found]) == pytest.approx(0.985 * also, abs=0.01)


def test_of_rows_that_err_alone_2000_settle_what_200_sums_do_not():
    """The same rate; 200 sums without a wrong one leave room for 1.8 % of sums none of which was drawn."""
    (many,), (few,) = (repeated(1, 2000, groups, by_row(0.996)) for groups in (1300, 200))
    assert many.verdict == "LEARNED" and "of answers exact, at least 98." in many.reason
    assert few.verdict == "PARTLY LEARNED" and few.exact_match > 0.99
    assert few.reason.startswith("at the edge: R2 ") and few.groups == 187
    assert "but the lower 95 % bound over 187 groups of rows is 97." in few.reason and "would settle it" in few.reason


def test_below_99_percent_nothing_is_at_the_edge():
    (found,) = repeated(1, 2000, 1300, by_row(0.97))
    assert found.verdict == "PARTLY LEARNED" and found.reason.startswith("coarse: R2")


@pytest.mark.parametrize("size", [3, 5, 31])
def test_of_a_population_the_count_decides(size):
    """The control: the same rows as a sample."""
    x, y = np.divmod(np.arange(size**2), size)
    answers, group = (x + y) % size, torch.from_numpy(x + y)
    right = np.arange(size**2) > 0.0099 * size**2 - 1
    every = judged(answers, right, group, population="all of them")
    assert every.verdict == "LEARNED"
    assert every.exact_match_low == every.exact_match_high == every.exact_match
    assert every.skill_low == every.skill_high == every.skill
    assert "(counted, not estimated: all of them)" in every.reason
    assert judged(answers, right, group).verdict != "LEARNED"
    right[: round(0.02 * size**2) + 1] = False
    assert judged(answers, right, group, population="all of them").verdict != "LEARNED"


@pytest.mark.parametrize("constant", [5.0, 47.93, 1e6 / 3])
@pytest.mark.parametrize("answer", [0, 96])
def test_answers_that_are_all_equal_are_not_even_partly_learned(constant, answer):
    """Right or wrong, against any train mean. The control: one other answer."""
    answers = torch.full((2000,), answer)
    group = torch.arange(2000)
    for off in (0.0, 0.4, 3.0):
        found = judge_rows(answers + torch.tensor(off).double(), answers, constant, group=group)
        assert (found.verdict, found.reason.partition(";")[0]) == (
            "NOT LEARNED",
            "cannot be told: the answers are all equal",
        )
        assert math.isnan(found.r2)
    answers = torch.where(group < 2, answer + 40, answers)
    assert judge_rows(answers.double(), answers, constant, group=group).verdict == "LEARNED"


@pytest.mark.long
@pytest.mark.parametrize(
    ("case", "share"),
    [
        ((20, 20, by_row(0.9)), 0.9),
        ((2000, 100, by_sum(0.985)), 0.985),
        ((2000, 300, by_sum(0.985)), 0.985),
        ((2000, 1000, by_sum(0.985)), 0.985),
        ((2000, 200, by_sum(0.985, 0.99)), 0.985 * 0.99),
        ((500, 50, by_sum(0.9)), 0.9),
        ((2000, 200, in_part(0.985, 0.3)), 0.985),
        ((2000, 100, in_part(0.9, 0.7)), 0.9),
        ((2000, 100, in_part(0.97, 0.05)), 0.97),
        ((2000, 1200, by_row(0.995)), 0.995),
    ],
)
def test_the_interval_covers_however_rows_of_a_sum_go_together(case, share):
    found = repeated(500, *case)
    above = sum(one.exact_match_low > share for one in found)
    below = sum(one.exact_match_high < share for one in found)
    assert above <= 23 and below <= 23  # 99 % of 500 draws at 2.5 %, and what holds for each of ten
