"""Emergence against drift: weights that wander make nothing emerge, weights that learn do; and what drift is."""

import dataclasses
import functools
import math

import pytest
import torch
from random_problems import RandomProblems
from torch import nn

from arithprobe.errors import ArithprobeError
from arithprobe.logic import CANNOT_BE_TOLD, FAILS, HOLDS
from arithprobe.models.drift import drifted
from arithprobe.probes.drift import DriftReadings, drift_bars, is_due
from arithprobe.probes.emergence import Emergence, Readings, emergences, in_order, in_words
from arithprobe.probes.emergence_runs import over_runs
from arithprobe.probes.emergence_survey import EmergenceSurvey, watched
from arithprobe.probes.survey import Split
from arithprobe.problems.positions import PositionTable

N, D, T, K = 1000, 8, 6, 7
LAST = PositionTable(("last",), torch.zeros(N, 1, dtype=torch.int64), torch.ones(N, 1, dtype=torch.bool))
SITES = ("a", "b", "c", "d")
SIZES = (0.1, 0.3, 1.0)
MORE = pytest.mark.long


class Wanderer:
    """States tanh(features W) of random problems at four sites, each W a random walk; ``learn`` adds a plane at one.

    Features are x, y and their digits, one-hot: true labels can be read from the states at any step.
    """

    def __init__(self, seed, size, learn=0.0):
        self.rows = RandomProblems(N, K, seed)
        self.rows.positions = lambda names: LAST
        digits = [self.rows.x // 10, self.rows.x % 10, self.rows.y // 10, self.rows.y % 10]
        sizes = torch.stack([self.rows.x, self.rows.y], dim=1) / 25 - 2
        self.features = torch.cat([sizes, *(nn.functional.one_hot(one, 10) for one in digits)], dim=1).double()
        generator = torch.Generator().manual_seed(seed)
        draw = functools.partial(
            torch.randn, len(SITES), self.features.shape[1], D, generator=generator, dtype=torch.float64
        )
        self.path = torch.stack([size * draw() for _ in range(T)]).cumsum(dim=0)
        self.start, self.learn = draw(), learn
        what = watched(self.rows, ["x", "y", "x10", "y10", "carry1"], None, Split("sum"))
        self.surveys = [
            EmergenceSurvey(self.rows, SITES, what, Split("sum", permutations=count, seed=seed), D) for count in (19, 0)
        ]

    def read(self, step, signs, controlled):
        """Readings of the states at a step, its displacement with some signs."""
        states = torch.tanh(self.features @ (self.start + signs * self.path[step]))
        if controlled and self.learn:
            angle = 2 * torch.pi * (self.rows.x + self.rows.y).double() * 2 / K
            states[0, :, :2] += self.learn * (step / T) * torch.stack([angle.cos(), angle.sin()], dim=1)
        survey = self.surveys[not controlled]
        survey.start()
        survey.update({site: one[:, None] for site, one in zip(SITES, states, strict=True)}, torch.arange(N))
        return survey.readings(10 * step)

    def fit(self):
        """The validations of its fit, and the drifts."""
        own = [self.read(step, 1.0, controlled=True) for step in range(T)]
        history = [dataclasses.replace(one, untrained=own[0].r2) for one in own]
        drifts = []
        for step in range(T):
            if is_due(step + 1) or step == T - 1:
                found = []
                for seed in range(19):
                    signs = torch.randint(0, 2, self.start.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
                    found.append(self.read(step, signs, controlled=False).r2)
                drifts.append(DriftReadings(step, torch.stack(found)))
        return history, drifts


def counted(seeds, size, **options):
    """In how many fits anything is said to emerge, without and with a look at drift."""
    fits = [Wanderer(seed, size, **options).fit() for seed in seeds]
    without = sum(any(one.site is not None for one in emergences(history)) for history, _ in fits)
    return without, sum(any(one.emerged for one in emergences(*fit)) for fit in fits)


@pytest.mark.parametrize("size", SIZES[1:2])
def test_of_a_network_that_only_drifts_nothing_emerges(size):
    """And it would, by permuted labels, its own beginning and three in a row alone."""
    without, found = counted(range(2), size)
    assert without > 0 == found


@MORE
@pytest.mark.parametrize("size", SIZES)
def test_in_one_fit_in_twenty_at_most_something_emerges_by_drift(size):
    """60 fits: 9 would be above the 99 % limit of 5 %."""
    _, found = counted(range(60), size)
    assert found <= 8


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=MORE) for seed in range(1, 10))])
def test_a_plane_that_is_learned_emerges_from_drift(seed):
    """The weights wander as far as above, and a circle of the residue grows."""
    found = {one.variable: one for one in emergences(*Wanderer(seed, 0.3, learn=3.0).fit())}
    assert found[f"residuemod{K}f2"].state == HOLDS and found[f"residuemod{K}f2"].cleared
    assert not any(found[f"residuemod{K}f{n}"].emerged for n in (1, 3))


def test_a_drift_moves_every_weight_as_far_and_only_the_sign_is_by_chance():
    beginning, now = nn.Linear(30, 40), nn.Linear(30, 40)
    one, same, other = (drifted(beginning, now, seed) for seed in (0, 0, 1))
    moved = now.weight - beginning.weight
    torch.testing.assert_close((one.weight - beginning.weight).abs(), moved.abs(), atol=1e-6, rtol=0)
    assert 0.4 < float(((one.weight - beginning.weight) * moved > 0).double().mean()) < 0.6
    assert torch.equal(one.weight, same.weight) and not torch.equal(one.weight, other.weight)
    assert torch.equal(drifted(beginning, beginning, 0).weight, beginning.weight)  # what has not moved does not drift
    with pytest.raises(ArithprobeError, match="this Linear has other weights than at its beginning"):
        drifted(beginning, nn.Linear(3, 4), 0)


def test_the_bar_is_the_mean_and_the_largest_excess_of_any_drift_over_the_others():
    generator = torch.Generator().manual_seed(0)
    r2 = torch.rand(19, 2, 3, 4, generator=generator, dtype=torch.float64) * torch.tensor([0.0, 0.1, 0.5])[:, None]
    excess = 0.0
    for number in range(19):  # again, by a loop
        others = torch.cat([r2[:number], r2[number + 1 :]])
        excess = max(excess, float(((r2[number] - others.mean(0)) / others.std(0).clamp(min=0.01)).max()))
    bars = r2.mean(dim=0) + excess * r2.std(dim=0).clamp(min=0.01)
    found = drift_bars([DriftReadings(1, r2[:, 0]), DriftReadings(3, r2[:, 1])], 6)
    expected = [bars[0], bars[0], bars.amax(dim=0), bars.amax(dim=0)]
    torch.testing.assert_close(found[:4], torch.stack(expected))
    assert found[4:].isnan().all()  # not compared yet
    assert (r2 <= bars).all()
    assert drift_bars([DriftReadings(0, r2[:18, 0])], 6) is None  # too few for a level of 5 %


def read(step, value):
    """One variable at one site that is cleared."""
    r2 = torch.tensor([[value]], dtype=torch.float64)
    return Readings(step, ("sum",), ("s",), r2, r2 - 0.1, torch.full_like(r2, 0.05), torch.zeros_like(r2))


@pytest.mark.parametrize(
    ("compared_at", "level", "state", "step"),
    [
        ((), 0.0, CANNOT_BE_TOLD, 0),  # by an earlier version, or after a checkpoint
        ((0, 3), 0.1, HOLDS, 0),
        ((0, 2), 0.1, HOLDS, 0),  # three are enough
        ((0, 1), 0.1, CANNOT_BE_TOLD, 0),  # two are compared so far
        ((0, 3), 0.9, FAILS, None),
        ((0, 1), 0.9, FAILS, None),  # what is later cannot be told, and is not three
    ],
)
def test_three_in_a_row_count_where_all_are_above_drift(compared_at, level, state, step):
    drifts = [DriftReadings(at, torch.full((19, 1, 1), level, dtype=torch.float64)) for at in compared_at]
    (found,) = emergences([read(10 * number, 0.5) for number in range(4)], drifts)
    assert (found.state, found.step, found.emerged) == (state, step, state == HOLDS)
    assert ("cannot be told from drift: sum" in in_words([found])) == (state == CANNOT_BE_TOLD)


def test_a_frequency_that_is_not_told_from_neighbouring_periods_is_not_cleared():
    one = read(0, 0.5)
    assert bool(one.cleared) and not bool(dataclasses.replace(one, of_period=torch.tensor([[False]])).cleared)


def test_over_runs_what_cannot_be_told_is_no_step_and_not_never():
    def one(step, compared):
        return Emergence("sum", step, None if step is None else "s", 0.5, 0.5, "s", True, compared=compared)

    runs = [one(10, compared=True), one(5, compared=False), one(None, compared=False)]
    assert [some.state for some in in_order(runs)] == [HOLDS, CANNOT_BE_TOLD, FAILS]
    (found,) = over_runs([[some] for some in runs])
    assert found.known == [10, math.inf] and math.isnan(found.steps[1]) and found.count == 1
    assert found.states == (HOLDS, CANNOT_BE_TOLD, FAILS) and found.sites == ("s", None, None)
    (found,) = over_runs([[runs[1]]])
    assert found.known == [] and math.isnan(found.median)
