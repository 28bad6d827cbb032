"""Fourier probes: what is probed, what is refused, and two directions of reading a circle."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from test_calibration import LAST, D, N, noise, problems

from arithprobe.errors import ArithprobeError
from arithprobe.probes.circles import best_periods
from arithprobe.probes.decode import decode_values
from arithprobe.probes.fourier import FourierSurvey
from arithprobe.probes.survey import Split
from arithprobe.probes.targets import angle_columns
from arithprobe.problems.circles import Circle


def test_degenerate_columns_are_refused_by_name_and_never_scored():
    rows = problems(0)
    columns, refused = angle_columns("sum", 4, [1, 2, 3, 4], rows.x + rows.y)
    assert {n: list(found) for n, found in columns.items()} == {1: ["summod4cos1", "summod4sin1"], 2: ["summod4cos2"]}
    assert refused == [
        "summod4sin2 (constant)",
        "summod4cos3 (repeats frequency 1)",
        "summod4sin3 (repeats frequency 1)",
        "summod4cos4 (repeats frequency 0)",
        "summod4sin4 (repeats frequency 0)",
    ]


def test_a_circle_of_which_nothing_is_left_is_refused():
    rows = problems(0)
    rows.x = torch.full((N,), 4)
    rows.y = torch.arange(N) % 50 * 2
    with pytest.raises(ArithprobeError, match=r"summod2: no frequency can be probed: summod2cos1 \(constant\)"):
        FourierSurvey(rows, ["s"], LAST, [Circle("sum", 2, (1,))], Split(), D)


def test_k_is_unknown_for_plain_sums():
    rows = problems(0)
    rows.modulus = None
    with pytest.raises(ArithprobeError, match=r"k is unknown, the problems are 'x \+ y = \?' without '\(mod k\)'"):
        FourierSurvey(rows, ["s"], LAST, [Circle("residue", 97, (1,))], Split(), D)


@pytest.mark.parametrize("held_out", [None, (0,)])
def test_encode_fve_is_the_held_out_share_of_variance_of_a_regression_of_the_states(held_out):
    """By group folds, against scikit-learn; the control: at another period than the planted one it is not above 0."""
    rows = problems(1)
    states = noise(1)
    states[:, 0] += 6 * ((rows.x + rows.y) % 5 == 1)
    circles, split = [Circle("sum", 3, (1,)), Circle("sum", 5, (1, 2))], Split(held_out=held_out)
    survey = FourierSurvey(rows, ["s"], LAST, circles, split, D)
    for part in torch.split(torch.arange(N), 70):
        survey.update({"s": states[part, None]}, part)
    found = [one.encode_fve for one in survey.scores()[0]]
    for scores, period, frequencies in zip(found, (3, 5), ((1,), (1, 2)), strict=True):
        for index, n in enumerate(frequencies):
            angle = 2 * np.pi * n * (rows.x + rows.y).numpy() / period
            waves = np.stack([np.cos(angle), np.sin(angle)], axis=1)
            h, left, spread = states.double().numpy(), 0.0, 0.0
            for fold in survey.ridge.held_out:
                test = (survey.ridge.fold == fold).numpy()
                fitted = LinearRegression().fit(waves[~test], h[~test])
                left += np.square(h[test] - fitted.predict(waves[test])).sum()
                spread += np.square(h[test] - h[~test].mean(axis=0)).sum()
            assert scores[index].item() == pytest.approx(1 - left / spread, abs=1e-9)
            assert (scores[index].item() > 0.01) == (period == 5)


def test_states_that_do_not_vary_have_no_variance_to_explain():
    rows = problems(1)
    survey = FourierSurvey(rows, ["s"], LAST, [Circle("sum", 5, (1,))], Split(), D)
    survey.update({"s": torch.full((N, 1, D), 0.1)}, torch.arange(N))
    assert torch.isnan(survey.scores()[0][0].encode_fve).all()


def test_decode_can_be_high_where_encode_is_a_thousandth():
    rows, states = problems(2), 30 * noise(2)
    angle = 2 * torch.pi * ((rows.x + rows.y) % 23) / 23
    states[:, 0], states[:, 1] = angle.cos(), angle.sin()
    survey = FourierSurvey(rows, ["s"], LAST, [Circle("residue", 23, (1,))], Split(), D)
    survey.update({"s": states[:, None]}, torch.arange(N))
    scores = survey.scores()[0][0]
    assert scores.r2.item() > 0.99
    assert scores.encode_fve.item() < 0.005


@pytest.mark.parametrize(("period", "frequencies"), [(97, (1,)), (97, (3, 40)), (10, (1, 5)), (2, (1,))])
def test_true_waves_decode_to_their_values(period, frequencies):
    rows = torch.arange(period)
    columns, _ = angle_columns("x", period, frequencies, rows)
    waves = torch.stack([wave for found in columns.values() for wave in found.values()], dim=1)
    offsets = np.cumsum([0, *(len(found) for found in columns.values())]).tolist()
    assert decode_values(waves, Circle("x", period, frequencies), offsets).tolist() == rows.tolist()


def test_batches_and_ranks_add_up():
    rows, states = problems(4), noise(4)
    circles = [Circle("residue", 23, (1, 2)), Circle("sum", 7, (1,))]

    def survey(parts):
        made = FourierSurvey(rows, ["s"], LAST, circles, Split(), D)
        for part in parts:
            made.update({"s": states[part, None]}, part)
        return made

    whole, first, second = (survey(p) for p in ([torch.arange(N)], [torch.arange(0, N, 2)], [torch.arange(1, N, 2)]))
    for own, other in zip(first.state, second.state, strict=True):
        own += other
    for one, other in zip(whole.scores()[0], first.scores()[0], strict=True):
        torch.testing.assert_close(one.r2, other.r2)
        torch.testing.assert_close(one.max_null, other.max_null)
        torch.testing.assert_close(one.encode_fve, other.encode_fve)


def test_relabellings_that_lose_their_wave_are_left_out_of_the_mean():
    """Residues 0 and 1 of period 10: renamed to labels of one parity they have no fifth wave."""
    rows = problems(5)
    rows.x, rows.y = torch.arange(N) % 2, torch.zeros(N, dtype=torch.int64)
    split = Split(folds=2)
    rows.x = rows.x + 10 * (torch.arange(N) // 2)
    survey = FourierSurvey(rows, ["s"], LAST, [Circle("x", 10, (1, 5)), Circle("x", 3, (1,))], split, D)
    survey.update({"s": noise(5)[:, None]}, torch.arange(N))
    first, second = survey.scores()[0]
    assert first.relabelled.shape == (2, 1, 1)
    assert torch.isnan(second.relabelled).all()  # of three values every relabelling is a rotation or a reflection


def test_a_period_counts_only_frequencies_that_have_no_shorter_one():
    """Parity alone: period 4 and 8 see it at half their length, and claim nothing."""
    rows = problems(6)
    states = noise(6)
    states[:, 0] += 5 * (rows.x % 2)
    circles = [Circle("x", k, tuple(range(1, k // 2 + 1))) for k in (2, 4, 8)]
    survey = FourierSurvey(rows, ["s"], LAST, circles, Split(), D)
    survey.update({"s": states[:, None]}, torch.arange(N))
    found = {one.circle.period: one.found for one in best_periods(survey.scores()[0], "s")}
    assert found == {2: True, 4: False, 8: False}
