"""What the penalties of ridge probes may not hide: small directions beside large ones, and rows unlike all others."""

import numpy as np
import pytest
import torch
from random_problems import RandomProblems
from scikit_ridge import ridge
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from arithprobe.errors import ArithprobeError
from arithprobe.probes.metrics import held_out_r2
from arithprobe.probes.moments import ALPHAS, Moments, alpha_choice
from arithprobe.probes.rare_layouts import FEWEST, MOST, rare_rows, said_of
from arithprobe.probes.ridge import RidgeFitter
from arithprobe.probes.selectivity import SelectivitySurvey
from arithprobe.probes.survey import RidgeSurvey, Split, Target
from arithprobe.problems.positions import PositionTable

N, D, FOLDS = 600, 40, 5
FOLD = torch.arange(N) % FOLDS


def planted(seed, noise=0.1):
    """States of unit variance, and a target that is read from all of them."""
    generator = np.random.default_rng(seed)
    states = generator.normal(size=(N, D))
    signal = states @ generator.normal(size=D)
    return states, signal / signal.std() + noise * generator.normal(size=N)


def found(states, labels, alphas=ALPHAS, unit="dimension"):
    fitter = RidgeFitter(1, states.shape[1], 1, FOLDS)
    fitter.update(torch.from_numpy(states)[:, None], torch.from_numpy(labels)[:, None], FOLD)
    return held_out_r2(fitter.score(alphas, unit=unit)).r2.item()


def ridge_cv(states, labels):
    predicted = cross_val_predict(RidgeCV(ALPHAS), states, labels, cv=PredefinedSplit(FOLD.numpy()))
    return r2_score(labels, predicted)


def one_large(states, seed, size=1000.0):
    return states * np.where(np.arange(D) == seed % D, size, 1.0)


def outliers(states, seed, share=0.02):
    values = states.copy()
    values[np.random.default_rng([seed, 1]).random(N) < share, seed % D] = 3000.0
    return values


def small_directions(states, seed):
    """Directions of sd 1 to 1e-3, turned: no dimension is small."""
    return states * np.logspace(0, -3, D) @ np.linalg.qr(np.random.default_rng([seed, 2]).normal(size=(D, D)))[0]


SPOILT = {
    "one dimension of sd 1000": one_large,
    "one dimension of sd 0.001": lambda states, seed: one_large(states, seed, 1e-3),
    "dimensions of sd 1e-3 to 1e3": lambda states, seed: states * np.logspace(-3, 3, D),
    "3000 in 2 % of the rows": outliers,
    "3000 in 5 % of the rows": lambda states, seed: outliers(states, seed, 0.05),
    "directions of sd 1 to 1e-3": small_directions,
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("spoilt", SPOILT)
def test_what_is_readable_stays_so_whatever_the_scale_of_other_dimensions(spoilt, seed):
    states, labels = planted(seed)
    spoilt_states = SPOILT[spoilt](states, seed)
    intact, read, expected = found(states, labels), found(spoilt_states, labels), ridge_cv(spoilt_states, labels)
    assert intact > 0.98
    assert read > expected - 0.005
    assert read > 0.8 * intact
    if "1000" in spoilt or "3000" in spoilt:  # the control: penalties of at least 10 mean variances
        assert found(spoilt_states, labels, [alpha for alpha in ALPHAS if alpha >= 10], "state") < 0.6


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_scores_do_not_depend_on_the_scale_of_any_dimension(scale):
    states, labels = planted(0, noise=1.0)
    scales = scale ** np.random.default_rng(0).uniform(-1, 1, D)
    assert found(states * scales, labels) == pytest.approx(found(states, labels), abs=1e-9)


@pytest.mark.parametrize("n", [60, 120])
def test_of_hardly_more_rows_than_dimensions_noise_is_not_interpolated(n):
    generator = np.random.default_rng(n)
    states, labels = generator.normal(size=(n, 1, D)) * np.logspace(0, -3, D), generator.normal(size=(n, 200))
    fitter = RidgeFitter(1, D, 200, FOLDS).update(torch.from_numpy(states), torch.from_numpy(labels), FOLD[:n])
    assert held_out_r2(fitter.score()).skill.min() > -0.6


# Rows of rare layouts


def layouts(*counts):
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


@pytest.mark.parametrize(
    ("counts", "gone"),
    [
        ((500, 300, 1, 1), 2),  # two prompts like no other
        ((500, 300, FEWEST, 1), 1),  # as many as two a fold stay
        ((500, 300, FEWEST - 1), FEWEST - 1),
        ((60, 30, 5, 5), 0),  # more than one in twenty: they are the data
        ((60, 30, 5, 5, 1), 1),  # the rarest first
        ((1,) * 50, 0),
        ((1000,), 0),
    ],
)
def test_only_rows_of_layouts_that_hardly_any_row_has_are_left_out(counts, gone):
    layout = layouts(*counts)
    rare = rare_rows(layout)
    assert int(rare.sum()) == gone <= MOST * len(layout)
    order = torch.randperm(len(layout), generator=torch.Generator().manual_seed(0))
    assert torch.equal(rare_rows(layout[order]), rare[order])
    assert bool(said_of(layout)) == (gone > 0)


def test_one_prompt_unlike_all_others_does_not_cost_the_score_of_the_rest():
    rows = RandomProblems(N, 97)
    n, total = N, (rows.x + rows.y).double()
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(n, 1, 12, generator=generator)
    states[:, 0, 0] = ((total - total.mean()) / total.std()).float() + 0.5 * states[:, 0, 1]
    rows.layout = torch.zeros(n, dtype=torch.int64)
    rows.layout[7] = 1
    states[7] = 3000.0 * torch.randn(1, 12, generator=generator)
    last = PositionTable(("last",), torch.zeros(n, 1).long(), torch.ones(n, 1).bool())

    def r2():
        survey = RidgeSurvey(rows, ["s"], last, [Target("sum", total[:, None])], Split(permutations=0), 12)
        survey.update({"s": states}, torch.arange(n))
        (scores,), _ = survey.scores("ridge")
        return scores.r2.item(), scores.n_test.item()

    score, counted = r2()
    assert score > 0.9 and counted == n - 1
    rows.layout[7] = 0
    score, counted = r2()
    assert score < 0 and counted == n


def test_a_layout_that_is_rare_among_the_rows_of_the_control_task_is_in_none():
    """Twelve rows of one kind, sums of which four occur elsewhere; the control: with all twelve it is not rare."""
    rows = RandomProblems(0, None)
    rows.x = torch.cat([torch.arange(200).repeat(3), torch.arange(12)])
    rows.y = torch.arange(612) % 7
    rows.y[604:] = 10_000 + torch.arange(8)
    rows.layout, rows.lengths = (torch.arange(612) >= 600).long(), torch.ones(612, dtype=torch.int64)
    total, last = rows.x + rows.y, PositionTable(("last",), torch.zeros(612, 1).long(), torch.ones(612, 1).bool())
    survey = SelectivitySurvey(rows, ["s"], last, [Target("sum", total[:, None].double())], "sum", 3)
    assert int(survey.known[:600].sum()) > 400 and not bool(survey.known[600:].any())
    assert not bool(rare_rows(rows.layout).any())


# The ends of the grid, and the directions that are taken out


def test_where_the_end_of_the_grid_is_chosen_it_is_said():
    rows = RandomProblems(N, 97)
    n, total = N, (rows.x + rows.y).double()
    states = torch.randn(n, 1, 12, generator=torch.Generator().manual_seed(0))
    states[:, 0, 0] = ((total - total.mean()) / total.std()).float()
    last = PositionTable(("last",), torch.zeros(n, 1).long(), torch.ones(n, 1).bool())

    def ends(alphas):
        survey = RidgeSurvey(
            rows, ["s"], last, [Target("sum", total[:, None])], Split(permutations=0, alphas=alphas), 12
        )
        survey.update({"s": states}, torch.arange(n))
        cell = survey.scores("ridge")[0][0].at("s")
        return cell["alpha_at_smallest"], cell["alpha_at_largest"]

    assert ends([1e2, 1e4]) == (1.0, 0.0)
    assert ends([1e-9, 1e-8]) == pytest.approx((0.0, 1.0), abs=1) and sum(ends([1e-9, 1e-8])) == 1.0
    assert ends([1e-6, 1e-2, 1e3])[1] == 0.0
    assert ends([1.0]) == (0.0, 0.0)  # there was no choice


def test_directions_to_be_taken_out_have_penalties_of_at_least_ten_mean_variances_where_there_are_any():
    steady = alpha_choice(ALPHAS).steady
    assert steady.unit == "state" and steady.alphas.min() >= 10 and steady.alphas.max() == max(ALPHAS)
    assert alpha_choice([0.1, 1.0]).steady.alphas.tolist() == [0.1, 1.0]
    assert alpha_choice(1.0, unit="none").steady.unit == "none"


# Far from 0


@pytest.mark.parametrize("mean", [0.0, 1e3, 1e5])
def test_states_with_a_mean_are_scored_as_without(mean):
    states, labels = planted(1, noise=1.0)
    assert found(states + mean, labels) == pytest.approx(found(states, labels), abs=1e-4)


@pytest.mark.parametrize("mean", [1e7, -1e8, 1e10])
def test_states_whose_spread_is_lost_beside_their_mean_are_refused(mean):
    states, labels = planted(1)
    with pytest.raises(ArithprobeError, match=r"dimension 0 has mean .* subtract a constant first"):
        found(states + mean, labels)


def test_a_constant_dimension_is_none_however_far():
    states, labels = planted(1)
    states[:, 3] = 1e8
    assert found(states, labels) > 0.9
    states[:, 3] = 0.0
    expected = found(states, labels)
    states[:, 3] = 1e8 + 1e-6
    assert found(states, labels) == pytest.approx(expected, abs=1e-9)


def test_a_fit_is_scikit_learns_of_standardised_states_in_raw_coordinates():
    states, labels = planted(2, noise=1.0)
    states = one_large(states, 2)
    fitter = RidgeFitter(1, D, 1, 2).update(
        torch.from_numpy(states)[:, None], torch.from_numpy(labels)[:, None], torch.arange(N) % 2
    )
    path, alpha = alpha_choice(3.0).fit(Moments.total(fitter.moments()), [])
    scaler, model = ridge(3.0).fit(states, labels)
    np.testing.assert_allclose(path.weights(alpha)[0][0, :, 0], model.coef_ / scaler.scale_, rtol=1e-6)
