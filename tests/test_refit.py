"""Refitted readouts from moments, against projecting the states themselves."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from test_calibration import LAST, N, problems

from arithprobe.probes.moments import ALPHAS
from arithprobe.probes.refit import refit_curve
from arithprobe.probes.survey import RidgeSurvey, Split, Target

D = 10


@pytest.fixture
def survey():
    rows = problems(0)
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(N, D, generator=generator, dtype=torch.float64) + 2
    total = (rows.x + rows.y).double()
    states[:, 3] += total / 20
    targets = [Target("sum", total[:, None]), Target("x", rows.x.double()[:, None]), Target("answer", total[:, None])]
    made = RidgeSurvey(rows, ["s"], LAST, targets, Split(permutations=0), D)
    made.update({"s": states[:, None]}, torch.arange(N))
    return made, states.numpy(), total.numpy(), np.stack([total.numpy(), rows.x.numpy()], axis=1)


def test_projected_moments_are_the_moments_of_projected_states(survey):
    made, states, total, probed = survey
    curve = refit_curve(made, "s", [1, 2], draws=3)
    fold = made.fold.numpy()
    raw = made.fitter.score([alpha for alpha in ALPHAS if alpha >= 10], unit="state")  # the penalties of directions
    expected = np.zeros(3)
    for index in range(5):
        train, test = fold != index, fold == index
        alphas = raw.alpha[index, 0] * states[train].var(axis=0).mean()
        directions = np.stack(
            [Ridge(alphas[k].item()).fit(states[train], probed[train, k]).coef_ for k in range(2)], axis=1
        )
        for point, k in enumerate([0, 1, 2]):
            basis = np.linalg.qr(directions[:, :k])[0]
            cut = states - states @ basis @ basis.T
            predicted = _predicted(cut[train], total[train], cut[test])
            expected[point] += np.square(total[test] - predicted).sum()
    expected /= N
    assert curve.base_mse == pytest.approx(expected[0], rel=1e-6)
    np.testing.assert_allclose(curve.delta_mse, expected[1:] - expected[0], rtol=1e-6)
    assert curve.dimension == (1, 2)
    assert curve.answer_variance == pytest.approx(total.var(ddof=1))


def _predicted(states, labels, others):
    """Of a readout whose penalty is at least 10 mean variances."""
    unit, alphas = np.sqrt(states.var(axis=0).mean()), [alpha for alpha in ALPHAS if alpha >= 10]
    h, n, y = (states - states.mean(axis=0)) / unit, len(states), labels - labels.mean()
    spread, scores = np.linalg.svd(h, compute_uv=False) ** 2, []
    for alpha in alphas:
        error = np.square(y - Ridge(alpha).fit(h, y).predict(h)).sum()
        scores.append(error / (n - 1 - 1.1 * (spread / (spread + alpha)).sum()) ** 2)
    return Ridge(alphas[np.argmin(scores)] * unit**2).fit(states, labels).predict(others)


def test_removing_the_direction_costs_what_random_ones_do_not(survey):
    curve = refit_curve(survey[0], "s", [1], draws=20)
    assert curve.delta_mse[0] > 3 * curve.base_mse
    assert np.median(curve.random_delta_mse[0]) < 0.5 * curve.delta_mse[0]
    assert curve.base_mse + curve.delta_mse[0] < 1.1 * curve.answer_variance  # no worse than a constant
