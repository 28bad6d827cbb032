"""The ridge engine at the corners, against scikit-learn, and its laws of cost."""

import numpy as np
import pytest
import torch
from scikit_ridge import by_gcv, chosen, ridge
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold, PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from arithprobe.errors import ArithprobeError
from arithprobe.probes.metrics import held_out_r2
from arithprobe.probes.moments import ALPHAS
from arithprobe.probes.ridge import RidgeFitter

pytestmark = pytest.mark.slow(seconds=0.1)

FOLDS = 4


def data(n=400, d=12, k=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(n + d)
    states = torch.randn(n, d, generator=generator, dtype=torch.float64) * torch.linspace(0.1, 3, d) + 2
    targets = states[:, :k] * 5 + torch.randn(n, k, generator=generator, dtype=torch.float64) * 4 + 100
    return states.to(dtype), targets


def fitter_of(states, targets, fold, folds=FOLDS):
    return RidgeFitter(1, states.shape[1], targets.shape[1], folds).update(states[:, None], targets, fold)


def expected_r2(states, targets, fold, alpha):
    predicted = cross_val_predict(ridge(alpha), states.numpy(), targets.numpy(), cv=PredefinedSplit(fold.numpy()))
    return r2_score(targets.numpy(), predicted, multioutput="raw_values")


def test_folds_of_groups_are_scikit_learns_group_k_fold():
    states, targets = data()
    group = np.random.default_rng(0).integers(60, size=len(states))
    predicted = cross_val_predict(ridge(1.0), states.numpy(), targets.numpy(), groups=group, cv=GroupKFold(FOLDS))
    fold = torch.empty(len(states), dtype=torch.int64)
    for index, (_, test) in enumerate(GroupKFold(FOLDS).split(states, groups=group)):
        fold[test] = index
    found = held_out_r2(fitter_of(states, targets, fold).score(1.0)).r2[0]
    np.testing.assert_allclose(found, r2_score(targets, predicted, multioutput="raw_values"), atol=1e-9)


@pytest.mark.parametrize(("n", "d", "alpha"), [(24, 60, 1.0), (24, 60, 1e-6), (400, 12, 1e-10), (400, 12, 1e10)])
def test_few_rows_and_penalties_near_nothing(n, d, alpha):
    states, targets = data(n, d)
    fold = torch.arange(n) % FOLDS
    found = held_out_r2(fitter_of(states, targets, fold).score(alpha)).r2[0]
    np.testing.assert_allclose(found, expected_r2(states, targets, fold, alpha), atol=1e-6)


@pytest.mark.parametrize("alpha", [1e-9, 1.0])
def test_a_constant_feature_and_a_repeated_one(alpha):
    states, targets = data()
    states[:, 3] = 7.1
    states[:, 5] = states[:, 4]
    fold = torch.arange(len(states)) % FOLDS
    found = held_out_r2(fitter_of(states, targets, fold).score(alpha)).r2[0]
    np.testing.assert_allclose(found, expected_r2(states, targets, fold, alpha), atol=1e-6)


def test_a_constant_target_has_no_score_and_spoils_no_other():
    states, targets = data()
    fold = torch.arange(len(states)) % FOLDS
    alone = held_out_r2(fitter_of(states, targets, fold).score()).r2[0]
    constant = torch.full((len(states), 1), 3.3, dtype=torch.float64)
    found = held_out_r2(fitter_of(states, torch.cat([targets, constant], 1), fold).score()).r2[0]
    assert torch.isnan(found[-1])
    torch.testing.assert_close(found[:-1], alone)


def test_float32_states_are_computed_in_float64():
    states, targets = data(dtype=torch.float32)
    fold = torch.arange(len(states)) % FOLDS
    found = held_out_r2(fitter_of(states, targets, fold).score(1.0)).r2[0]
    np.testing.assert_allclose(found, expected_r2(states.double(), targets, fold, 1.0), atol=1e-9)


def test_one_group_leaves_nothing_to_fit_on():
    states, targets = data()
    found = held_out_r2(fitter_of(states, targets, torch.zeros(len(states), dtype=torch.int64)).score(1.0))
    assert torch.isnan(found.r2).all()


def test_the_penalty_chosen_by_folds_is_ridge_cvs():
    states, targets = data(n=480, d=40)
    targets[:, 2] = torch.randn(480, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    fold = torch.arange(480) % FOLDS
    scores = fitter_of(states, targets, fold).score(ALPHAS, choose="folds", unit="none")
    for index in range(FOLDS):
        train = (fold != index).numpy()
        for column in range(3):
            inner = PredefinedSplit(fold[fold != index].numpy())
            model = RidgeCV(ALPHAS, cv=inner, scoring="neg_mean_squared_error")
            model.fit(states.numpy()[train], targets.numpy()[train, column])
            assert scores.alpha[index, 0, column].item() == pytest.approx(model.alpha_)
            error = np.square(targets.numpy()[~train, column] - model.predict(states.numpy()[~train])).sum()
            assert scores.errors[index, 0, column].item() == pytest.approx(error, rel=1e-6)


def test_generalised_cross_validation_is_its_definition():
    states, targets = data(n=200, d=30)
    targets[:, 1] = states[:, 20] + 0.1 * targets[:, 1]
    fold = torch.arange(200) % FOLDS
    scores = fitter_of(states, targets, fold).score()
    for index in range(FOLDS):
        train = (fold != index).numpy()
        h, y = states.numpy()[train], targets.numpy()[train]
        np.testing.assert_allclose(scores.alpha[index, 0], chosen(h, y))
        errors = np.square(targets.numpy()[~train] - by_gcv(h, y, states.numpy()[~train])).sum(0)
        np.testing.assert_allclose(scores.errors[index, 0], errors, rtol=1e-6)


@pytest.mark.parametrize("n", [1600, 4000])
def test_of_many_rows_it_scores_as_ridge_cvs_leave_one_out_does(n):
    states, targets = data(n=n, d=30)
    fold = torch.arange(n) % FOLDS
    model = make_pipeline(StandardScaler(), RidgeCV(ALPHAS, alpha_per_target=True))
    predicted = cross_val_predict(model, states.numpy(), targets.numpy(), cv=PredefinedSplit(fold.numpy()))
    expected = r2_score(targets.numpy(), predicted, multioutput="raw_values")
    np.testing.assert_allclose(held_out_r2(fitter_of(states, targets, fold).score()).r2[0], expected, atol=0.003)


def test_states_may_be_taken_as_they_are():
    states, targets = data()
    fold = torch.arange(len(states)) % FOLDS
    predicted = cross_val_predict(Ridge(100.0), states.numpy(), targets.numpy(), cv=PredefinedSplit(fold.numpy()))
    expected = r2_score(targets.numpy(), predicted, multioutput="raw_values")
    scores = [fitter_of(states, targets, fold).score(100.0, unit=unit) for unit in ("none", "dimension")]
    found = [held_out_r2(one).r2[0].numpy() for one in scores]
    np.testing.assert_allclose(found[0], expected, atol=1e-9)
    assert np.abs(found[1] - expected).max() > 1e-3


def test_a_fit_predicts_as_scikit_learns():
    states, targets = data()
    fold = torch.arange(len(states)) % FOLDS
    probe = fitter_of(states, targets, fold).fit(2.0, without=1)
    model = ridge(2.0).fit(states.numpy()[fold != 1], targets.numpy()[fold != 1])
    np.testing.assert_allclose(probe.predict(states[:, None])[:, 0], model.predict(states.numpy()), atol=1e-8)
    np.testing.assert_allclose(probe.slope[0].T, model[-1].coef_ / model[0].scale_, atol=1e-9)


def test_a_million_rows_in_chunks_equal_one_block_and_the_state_does_not_grow():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(1_000_000, 1, 4, generator=generator) + 10
    targets = states[:, 0, :1].double() + torch.randn(1_000_000, 1, generator=generator)
    fold = torch.arange(1_000_000) % FOLDS
    whole = RidgeFitter(1, 4, 1, FOLDS).update(states, targets, fold)
    chunks = RidgeFitter(1, 4, 1, FOLDS)
    sizes = []
    for start in range(0, 1_000_000, 10_000):
        part = slice(start, start + 10_000)
        chunks.update(states[part], targets[part], fold[part])
        sizes.append(chunks.nbytes)
    for own, other in zip(whole.state, chunks.state, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-12, atol=0)
    model = Ridge().fit(states[fold != 0, 0].double().numpy(), targets[fold != 0].numpy())
    expected = model.score(states[fold == 0, 0].double().numpy(), targets[fold == 0].numpy())
    assert held_out_r2(chunks.score(1.0, [0])).r2.item() == pytest.approx(expected, abs=1e-6)
    assert len(set(sizes)) == 1  # 10^4 rows or 10^6
    assert sizes[0] == sum(part.untyped_storage().nbytes() for part in chunks.state)


def test_cost_is_said():
    states, targets = data()
    scores = fitter_of(states, targets, torch.arange(len(states)) % FOLDS).score()
    assert scores.cost.startswith("1 cells x 3 targets x 21 alphas x 4 folds, ")


def test_impossible_penalties_are_refused():
    states, targets = data()
    fitter = fitter_of(states, targets, torch.arange(len(states)) % 2, folds=2)
    with pytest.raises(ArithprobeError, match="expected a positive penalty"):
        fitter.score([1.0, -1.0])
    with pytest.raises(ArithprobeError, match="alpha is chosen by 'luck'; expected one of gcv, folds"):
        fitter.score(choose="luck")
    with pytest.raises(ArithprobeError, match="only 1 remains to fit on"):
        fitter.score(choose="folds")
