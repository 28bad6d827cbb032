"""The interval of skill, of errors whose true mean square is known: light tails and heavy, rows and whole groups."""

import numpy as np
import pytest
import torch

from arithprobe.behaviour import judge_rows, ratio_interval

SIDE = 97  # answers are 0 to 96
VARIANCE = (SIDE**2 - 1) / 12
ERRORS = {
    "normal": (lambda rng, shape: rng.normal(size=shape), 1.0),
    "laplace": (lambda rng, shape: rng.laplace(size=shape), 2.0),
    "t5": (lambda rng, shape: rng.standard_t(5, size=shape), 5 / 3),
    "t3": (lambda rng, shape: rng.standard_t(3, size=shape), 3.0),
}


def coverage(kind, rows, groups, shared=0.0, runs=1000, scale=8.0, seed=0):
    """Share of runs whose interval holds the true skill, and whose lower end is above it.

    Args:
        kind: Of the errors.
        rows: N.
        groups: Groups of one answer each.
        shared: Share of the groups that have one error for all rows.
        runs: How many.
        scale: Of the errors.
        seed: Of the draw.
    """
    rng = np.random.default_rng(seed)
    draw, variance = ERRORS[kind]
    size = rows // groups
    whole = rng.random((runs, groups, 1)) < shared
    errors = scale * np.where(whole, draw(rng, (runs, groups, 1)), draw(rng, (runs, groups, size)))
    from_constant = rng.integers(0, SIDE, (runs, groups)) - (SIDE - 1) / 2
    squares = (errors**2).sum(axis=2), size * from_constant**2
    low, high = ratio_interval(*(torch.from_numpy(one) for one in squares))
    truth = variance * scale**2 / VARIANCE  # of one minus skill
    return ((low <= truth) & (truth <= high)).double().mean().item(), (high < truth).double().mean().item()


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("rows", [100, 300, 1000])
def test_it_covers_light_tails_and_heavy_ones(kind, rows):
    """The control: the normal interval, with which t3 has 0.71 to 0.77."""
    covers, _ = coverage(kind, rows, rows)
    assert 0.91 <= covers <= 0.985  # 0.92 to 0.98, and the error of 1000 runs


def test_the_normal_interval_does_not():
    errors = torch.from_numpy(np.random.default_rng(0).standard_t(3, (1000, 300))) ** 2
    margin = 1.96 * errors.std(dim=1) / 300**0.5
    assert ((errors.mean(dim=1) - 3).abs() <= margin).double().mean() < 0.8


@pytest.mark.parametrize(("kind", "least"), [("normal", 0.92), ("laplace", 0.92), ("t3", 0.9)])
def test_it_covers_where_half_of_the_groups_err_as_one(kind, least):
    """The control: the same rows, each a group of its own."""
    covers, _ = coverage(kind, 2000, 100, shared=0.5, runs=400)
    assert least <= covers <= 0.99


def test_rows_of_a_group_are_no_observations_of_their_own():
    """Of 2000 rows of 100 groups that err as one, the interval is as wide as of 100 rows."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(100), 20)
    answers = torch.from_numpy(group)
    predictions = answers + torch.from_numpy(rng.normal(0, 10, 100))[group]
    one = judge_rows(predictions, answers, 49.5, group=answers)
    first = judge_rows(predictions[::20], answers[::20], 49.5, group=answers[::20])
    as_rows = judge_rows(predictions, answers, 49.5, group=torch.arange(2000))
    assert (one.skill_low, one.skill_high) == pytest.approx((first.skill_low, first.skill_high))
    assert one.skill - one.skill_low > 3 * (as_rows.skill - as_rows.skill_low)


def test_of_residues_all_right_skill_is_as_sure_as_exact_match():
    """No row errs, so nothing but the number of groups says how many might."""
    answers = torch.arange(2000) % SIDE
    found = judge_rows(answers.double(), answers, 48.0, SIDE, residues=True, group=torch.arange(2000) % 50)
    assert found.skill == 1.0 and found.skill_low == found.exact_match_low == pytest.approx(0.025 ** (1 / 50), abs=1e-4)


@pytest.mark.parametrize("groups", [1, 2, 9])
def test_a_few_groups_are_too_few(groups):
    """Of however many rows. The control: ten of them."""
    answers = torch.arange(2000) % groups * 7
    found = judge_rows(answers + 0.1, answers, 30.0)
    assert found.verdict == "NOT LEARNED" and found.reason.startswith("cannot be told")
    answers = torch.arange(2000) % 10 * 7
    assert judge_rows(answers + 0.1, answers, 30.0).verdict == "PARTLY LEARNED"


@pytest.mark.long
@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("scale", [2.0, 20.0])
@pytest.mark.parametrize(("rows", "groups"), [(100, 100), (300, 300), (1000, 1000), (2000, 2000), (2000, 200)])
@pytest.mark.parametrize("seed", [1, 2])
def test_it_covers_in_0_92_to_0_98_of_2000_runs(kind, scale, rows, groups, seed):
    """At t3 and 100 rows it is 0.93: what is not in the rows cannot be read from them."""
    covers, too_high = coverage(kind, rows, groups, runs=2000, scale=scale, seed=seed)
    assert 0.915 <= covers <= 0.983
    assert too_high <= 0.085  # the end that decides NOT LEARNED
