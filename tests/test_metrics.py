"""What a score is worth: intervals that cover, p-values that hold their level, discoveries under control."""

import numpy as np
import pytest
import torch
from scipy.stats import false_discovery_control
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from arithprobe.probes.metrics import false_discovery, held_out_r2, permutation_p
from arithprobe.probes.ridge import RidgeFitter

pytestmark = pytest.mark.slow(seconds=0.1)

FOLDS = 5


def scores_of(states, targets, fold, alpha=1.0):
    fitter = RidgeFitter(1, states.shape[1], targets.shape[1], FOLDS).update(states[:, None], targets, fold)
    return fitter.score(alpha, unit="none")


def test_columns_of_one_target_are_scored_by_their_joint_errors():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(300, 6, generator=generator, dtype=torch.float64)
    targets = torch.stack([states[:, 0] * 5, torch.randn(300, generator=generator, dtype=torch.float64)], dim=1)
    fold = torch.arange(300) % FOLDS
    found = held_out_r2(scores_of(states, targets, fold), torch.tensor([0, 0]))
    predicted = cross_val_predict(Ridge(), states.numpy(), targets.numpy(), cv=PredefinedSplit(fold.numpy()))
    expected = r2_score(targets, predicted, multioutput="variance_weighted")  # 1 - sum of SSE / sum of SST
    assert found.r2.shape == (1, 1)
    assert found.r2.item() == pytest.approx(expected, abs=1e-9)
    separate = r2_score(targets, predicted, multioutput="uniform_average")
    assert found.r2.item() != pytest.approx(separate, abs=0.1)


def test_the_interval_covers_the_r2_of_the_population():
    """400 data sets from one population: the interval misses the population's R2 about as often as it says."""
    runs, n, d, noise = 400, 400, 3, 1.0
    generator = torch.Generator().manual_seed(1)
    truth = 1 - noise**2 / (1 + noise**2)  # one direction of unit variance; D / n is too small to cost anything
    covered = 0
    for _ in range(runs):
        states = torch.randn(n, d, generator=generator, dtype=torch.float64)
        targets = states[:, :1] + noise * torch.randn(n, 1, generator=generator, dtype=torch.float64)
        found = held_out_r2(scores_of(states, targets, torch.arange(n) % FOLDS))
        covered += bool(found.low <= truth <= found.high)
    assert 0.90 <= covered / runs <= 0.99


def test_one_held_out_fold_has_no_interval():
    states = torch.randn(100, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    fitter = RidgeFitter(1, 3, 1, 2).update(states[:, None], states[:, :1], torch.arange(100) % 2)
    found = held_out_r2(fitter.score(1.0, [0]))
    assert torch.isfinite(found.r2).all()
    assert torch.isnan(found.low).all() and torch.isnan(found.high).all()


def test_p_values_count_the_null_and_are_never_zero():
    null = torch.tensor([0.1, 0.2, 0.3, 0.2])
    assert permutation_p(torch.tensor(0.2), null).item() == pytest.approx(4 / 5)
    assert permutation_p(torch.tensor(9.0), null).item() == pytest.approx(1 / 5)
    assert torch.isnan(permutation_p(torch.tensor(float("nan")), null))
    for rounding in (-2e-16, 0.0, 2e-16):  # states without variance: all scores are 0 but for the last bits
        assert permutation_p(torch.tensor(rounding, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)) == 1
    assert permutation_p(torch.tensor(1e-6, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)) == 1 / 5


def test_discoveries_are_scipys():
    generator = np.random.default_rng(0)
    for _ in range(50):
        p = generator.uniform(size=20) ** generator.choice([1, 4])
        expected = false_discovery_control(p) <= 0.05
        assert false_discovery(torch.tensor(p)).tolist() == expected.tolist()
    families = torch.tensor([[0.001, 0.9], [0.9, 0.04]], dtype=torch.float64)
    assert false_discovery(families).tolist() == [[True, False], [False, False]]  # each row by itself
