"""Instruments that cannot fool: on noise each is fooled as often as it says, planted signals each finds."""

import math

import pytest
import torch
from random_problems import RandomProblems
from scipy.stats import binom

from arithprobe.probes.decode import decode_angles
from arithprobe.probes.fourier import FourierSurvey
from arithprobe.probes.sample import StateSample
from arithprobe.probes.survey import RidgeSurvey, Split, Target
from arithprobe.probes.targets import target_values
from arithprobe.problems.circles import Circle
from arithprobe.problems.positions import PositionTable

FEW, MANY, LEVEL = 60, 1000, 0.05
N, D, K = 300, 6, 23
LAST = PositionTable(("last",), torch.zeros(N, 1, dtype=torch.int64), torch.ones(N, 1, dtype=torch.bool))

runs = pytest.mark.parametrize("runs", [FEW, pytest.param(MANY, marks=pytest.mark.long)])


def problems(seed):
    return RandomProblems(N, K, seed)


def noise(seed):
    return torch.randn(N, D, generator=torch.Generator().manual_seed(10_000 + seed))


def ridge_p(states, rows, labels, seed):
    survey = RidgeSurvey(rows, ["s"], LAST, [Target("label", labels[:, None])], Split(seed=seed), D)
    survey.update({"s": states[:, None]}, torch.arange(N))
    return survey.scores("ridge")[0][0].p.item()


def fourier_scores(states, rows, seed, frequencies=tuple(range(1, 12))):
    circle = Circle("residue", K, frequencies)
    survey = FourierSurvey(rows, ["s"], LAST, [circle], Split(seed=seed), D, relabellings=1)
    survey.update({"s": states[:, None]}, torch.arange(N))
    return survey, survey.scores()[0][0]


def assert_fooled_as_often_as_it_says(p, what="p", draws=19):
    """At 5 % and at 50 %, within the bounds that 99.9 % of honest instruments keep.

    Of few runs the first finds an instrument that sees too much, the second one that sees nothing as well. A p against
    so many draws is a multiple of ``1 / (1 + draws)``: the largest up to a level is what it says.
    """
    for level in (math.floor(most * (1 + draws) + 1e-9) / (1 + draws) for most in (LEVEL, 0.5)):
        low, high = binom.ppf([0.0005, 0.9995], len(p), level)
        count = sum(one <= level + 1e-9 for one in p)
        print(f"{what} <= {level:.3g}: {count} of {len(p)}, expected {low:.0f} to {high:.0f}")
        assert low <= count <= high


@pytest.mark.slow
@runs
def test_ridge_on_noise_states_is_fooled_one_time_in_twenty(runs):
    p = [ridge_p(noise(seed), (rows := problems(seed)), (rows.x + rows.y).double(), seed) for seed in range(runs)]
    assert_fooled_as_often_as_it_says(p)


@pytest.mark.slow
@runs
def test_ridge_on_shuffled_labels_is_fooled_one_time_in_twenty(runs):
    """States that hold the sum exactly; labels of other sums."""
    p = []
    for seed in range(runs):
        rows = problems(seed)
        total = (rows.x + rows.y).double()
        states = torch.cat([total[:, None].float() / 50, noise(seed)[:, 1:]], dim=1)
        other = torch.randperm(200, generator=torch.Generator().manual_seed(seed)).double()  # a label for every sum
        p.append(ridge_p(states, rows, other[total.long()], seed))
    assert_fooled_as_often_as_it_says(p)


@pytest.mark.slow
@runs
@pytest.mark.parametrize("name", ["sum", "residue", "sum1", "carry1"])
def test_for_one_file_noise_is_significant_one_time_in_twenty_whatever_its_labels(name, runs):
    """One file with small operands, many noise states: how the labels happen to fall into the folds decides nothing."""
    rows = problems(0)
    rows.x, rows.y = rows.x % 30, rows.y % 30
    labels = target_values(name, rows)
    assert_fooled_as_often_as_it_says([ridge_p(noise(seed), rows, labels, seed) for seed in range(runs)])


@pytest.mark.slow
@runs
def test_for_one_file_each_frequency_is_significant_one_time_in_twenty(runs):
    """Of period 4: its second frequency has one wave, the first has two."""
    rows = problems(0)
    rows.x, rows.y = rows.x % 30, rows.y % 30
    circle, found = Circle("sum", 4, (1, 2)), []
    for seed in range(runs):
        survey = FourierSurvey(rows, ["s"], LAST, [circle], Split(seed=seed), D)
        survey.update({"s": noise(seed)[:, None]}, torch.arange(N))
        found.append(survey.scores()[0][0])
    for frequency in (0, 1):
        assert_fooled_as_often_as_it_says(
            [float(scores.p[frequency]) for scores in found], f"p of {frequency + 1}", 2 * 19
        )  # both
    assert_fooled_as_often_as_it_says([float(scores.p_max.min()) for scores in found], "p of any")


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_scores_do_not_depend_on_the_scale_of_the_states(scale):
    rows, states = problems(1), noise(1).double()
    states[:, 2] += (rows.x + rows.y) / 50
    found = []
    for factor in (1.0, scale):
        survey = RidgeSurvey(rows, ["s"], LAST, [Target("sum", (rows.x + rows.y).double()[:, None])], Split(), D)
        survey.update({"s": factor * states[:, None]}, torch.arange(N))
        found.append(survey.scores("ridge")[0][0].r2.item())
    assert found[1] == pytest.approx(found[0], abs=1e-6)
    assert found[0] > 0.3


def test_a_planted_direction_is_found_every_time():
    for seed in range(10):
        rows = problems(seed)
        states = noise(seed)
        states[:, 2] += (rows.x + rows.y) / 50
        assert ridge_p(states, rows, (rows.x + rows.y).double(), seed) == pytest.approx(1 / 20)


@pytest.mark.slow
@runs
def test_fourier_on_noise_names_a_key_frequency_one_time_in_twenty_at_most(runs):
    found = [fourier_scores(noise(seed), problems(seed), seed)[1] for seed in range(runs)]
    family = [float(scores.p_max.min()) for scores in found]
    assert_fooled_as_often_as_it_says(family, "p of any")
    assert sum(bool(scores.key_frequencies("s")) for scores in found) <= sum(p <= LEVEL for p in family)
    single = [float(scores.p[4]) for scores in found]  # any one frequency, named beforehand
    assert_fooled_as_often_as_it_says(single, "p of 5")


@pytest.mark.slow
@runs
def test_fourier_on_shuffled_labels_names_a_key_frequency_one_time_in_twenty(runs):
    """States that hold a circle of another quantity."""
    family = []
    for seed in range(runs):
        rows, states = problems(seed), noise(seed)
        angle = torch.rand(200, generator=torch.Generator().manual_seed(seed))[rows.x + rows.y] * 2 * torch.pi
        states[:, 0] += 3 * angle.cos()
        states[:, 1] += 3 * angle.sin()
        family.append(float(fourier_scores(states, rows, seed)[1].p_max.min()))
    assert_fooled_as_often_as_it_says(family, "p of any")


@pytest.mark.parametrize("frequency", [1, 5, 11])
def test_a_planted_circle_is_found_at_its_frequency_and_no_other(frequency):
    rows, states = problems(frequency), noise(frequency) * 0.1
    angle = 2 * torch.pi * frequency * ((rows.x + rows.y) % K) / K
    states[:, 1] += angle.cos()
    states[:, 4] += angle.sin()
    survey, scores = fourier_scores(states, rows, 0)
    assert scores.key_frequencies("s") == [frequency]
    index = frequency - 1
    assert scores.r2[index].item() > 0.95
    assert scores.relabelled[index].item() < 0.4  # telling values apart is not enough
    others = [n for n in range(11) if n != index]
    assert scores.r2[others].max() < 0.1
    sample = StateSample(rows.lengths, ["s"], D)
    sample.update({"s": states[:, None]}, torch.arange(N))
    decoded = decode_angles(survey, sample)
    assert decoded.accuracy.item() > 0.6
    assert decoded.error.item() < K / 8
    assert decoded.error_by_frequency[others[0]].item() > K / 4 - 2  # a guess from the wrong frequency


def test_values_told_apart_without_a_circle_are_not_called_one():
    """One-hot residues: every frequency can be read, and so can every relabelled circle."""
    rows = problems(3)
    one_hot = torch.nn.functional.one_hot((rows.x + rows.y) % K, K).float()
    circle = Circle("residue", K, (1, 2, 3))
    survey = FourierSurvey(rows, ["s"], LAST, [circle], Split(), K)
    survey.update({"s": one_hot[:, None]}, torch.arange(N))
    scores = survey.scores()[0][0]
    assert scores.r2.min() > 0.9
    assert (scores.r2 - scores.relabelled).abs().max() < 0.05
