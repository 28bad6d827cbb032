"""Ridge probes from moments, against scikit-learn, and what may not fool them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scikit_ridge import ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.preprocessing import StandardScaler

from arithprobe.errors import ArithprobeError
from arithprobe.probes.metrics import held_out_r2
from arithprobe.probes.ridge import RidgeFitter
from arithprobe.probes.splits import fold_of, permute_between_groups

N, C, D, K, FOLDS = 600, 3, 20, 2, 4


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(N, C, D, generator=generator, dtype=torch.float64) + 3
    targets = 300 * states[:, 0, :K] + torch.randn(N, K, generator=generator, dtype=torch.float64) * 100 + 1000
    group = torch.arange(N) // 3
    valid = torch.rand(N, C, generator=generator) > torch.tensor([0.0, 0.3, 0.9])
    return states, targets, fold_of(group, FOLDS), valid


def scored(fitter, alpha, held_out=None):
    scores = fitter.score(alpha, held_out)
    found = held_out_r2(scores)
    return SimpleNamespace(
        r2=found.r2,
        r2_in_sample=found.in_sample,
        low=found.low,
        high=found.high,
        edf=scores.edf[:, :, 0].mean(dim=0),
        n_train=scores.n_train.mean(dim=0),
        n_test=scores.n_test.sum(dim=0),
        alpha=scores.alpha,
    )


def fitted(states, targets, fold, valid, size=100):
    fitter = RidgeFitter(states.shape[1], states.shape[2], targets.shape[1], FOLDS)
    for start in range(0, len(states), size):
        part = slice(start, start + size)
        fitter.update(states[part], targets[part], fold[part], valid[part])
    return fitter


@pytest.mark.parametrize("alpha", [1e-6, 1.0, 1e4])
def test_scores_are_scikit_learns(rows, alpha):
    states, targets, fold, valid = rows
    scores = scored(fitted(*rows), alpha)
    for cell in range(C):
        kept = valid[:, cell].numpy()
        h, y, f = states[kept, cell].numpy(), targets[kept].numpy(), fold[kept].numpy()
        predicted = cross_val_predict(ridge(alpha), h, y, cv=PredefinedSplit(f))
        expected = r2_score(y, predicted, multioutput="raw_values")
        np.testing.assert_allclose(scores.r2[cell], expected, atol=1e-9)
        assert scores.n_test[cell] == kept.sum()


def test_one_split_is_scikit_learns_fit_on_the_rest(rows):
    states, targets, fold, valid = rows
    scores = scored(fitted(*rows), 1.0, [2])
    kept, test = valid[:, 1].numpy(), (fold == 2).numpy()
    h, y = states[:, 1].numpy(), targets.numpy()
    model = ridge(1.0).fit(h[kept & ~test], y[kept & ~test])
    held_out = r2_score(y[kept & test], model.predict(h[kept & test]), multioutput="raw_values")
    inside = r2_score(y[kept & ~test], model.predict(h[kept & ~test]), multioutput="raw_values")
    np.testing.assert_allclose(scores.r2[1], held_out, atol=1e-9)
    np.testing.assert_allclose(scores.r2_in_sample[1], inside, atol=1e-9)
    centred = StandardScaler().fit_transform(h[kept & ~test])
    hat = centred @ np.linalg.solve(centred.T @ centred + np.eye(D), centred.T)
    assert scores.edf[1].item() == pytest.approx(np.trace(hat), rel=1e-9)
    assert (scores.n_train[1], scores.n_test[1]) == ((kept & ~test).sum(), (kept & test).sum())


def test_fewer_rows_than_dimensions_is_scikit_learns_too(rows):
    states, targets, fold, valid = (part[:16] for part in rows)
    fold = torch.arange(16) % FOLDS
    scores = scored(fitted(states, targets, fold, torch.ones_like(valid)), 1.0)
    predicted = cross_val_predict(ridge(1.0), states[:, 0].numpy(), targets.numpy(), cv=PredefinedSplit(fold.numpy()))
    np.testing.assert_allclose(scores.r2[0], r2_score(targets, predicted, multioutput="raw_values"), atol=1e-9)


def test_batches_order_and_merging_do_not_matter(rows):
    _states, _targets, _fold, _valid = rows
    whole = scored(fitted(*rows), 1.0)
    shuffled = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    by_seven = scored(fitted(*(part[shuffled] for part in rows), size=7), 1.0)
    merged = scored(fitted(*(part[:250] for part in rows)).merge(fitted(*(part[250:] for part in rows))), 1.0)
    for other in (by_seven, merged):
        torch.testing.assert_close(other.r2, whole.r2, atol=1e-10, rtol=0)


def test_a_constant_target_and_an_empty_cell_are_not_scored(rows):
    states, targets, fold, valid = rows
    targets = torch.cat([targets, torch.full((N, 1), 1000.1, dtype=torch.float64)], dim=1)
    valid = valid & torch.tensor([True, True, False])
    scores = scored(fitted(states, targets, fold, valid), 1.0)
    assert torch.isnan(scores.r2[:, K]).all()
    assert torch.isnan(scores.r2[2]).all()
    assert torch.isfinite(scores.r2[:2, :K]).all()


def test_noise_scores_nothing_held_out_though_it_does_in_sample(rows):
    states, _, fold, valid = rows
    noise = torch.randn(N, 1, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    scores = scored(fitted(states, noise, fold, torch.ones_like(valid)), 1.0)
    assert scores.r2.max() < 0.02
    assert scores.r2_in_sample.min() > 0.02


def test_impossible_options_are_refused(rows):
    with pytest.raises(ArithprobeError, match="folds is 1"):
        RidgeFitter(1, 2, 1, 1)
    with pytest.raises(ArithprobeError, match="alpha is 0"):
        scored(fitted(*rows), 0)


def test_a_group_is_in_one_fold_wherever_it_comes_from():
    group = torch.tensor([5, -3, 5, 10**15, -3])
    fold = fold_of(group, 7)
    assert fold[0] == fold[2]
    assert fold[1] == fold[4]
    assert torch.equal(fold_of(group.flip(0), 7), fold.flip(0))
    sizes = torch.bincount(fold_of(torch.arange(10000), 5), minlength=5)
    assert sizes.min() > 1800


def test_permuted_labels_are_shared_by_a_group_and_belong_to_another():
    group = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    values = group.double() * 10
    permuted = permute_between_groups(values, group, 50, seed=0)
    assert permuted.shape == (8, 50)
    assert torch.equal(permuted[0::2], permuted[1::2])
    assert all(sorted(column.tolist()) == values.tolist() for column in permuted.T)  # a permutation of the groups
    assert not torch.equal(permuted[:, 0], values) or not torch.equal(permuted[:, 1], values)
    assert torch.equal(permuted, permute_between_groups(values, group, 50, seed=0))
    assert not torch.equal(permuted, permute_between_groups(values, group, 50, seed=1))


def test_groups_of_unequal_size_share_whole_groups_labels():
    group = torch.tensor([0, 1, 1, 1, 2, 2])
    values = torch.tensor([0.0, 10, 11, 12, 20, 21])
    for column in permute_between_groups(values, group, 30, seed=0).T:
        donors = [{int(value) // 10 for value in column[group == g]} for g in range(3)]
        assert sorted(next(iter(donor)) for donor in donors) == [0, 1, 2]  # each group is the donor of one
        big = column[group == 1].tolist()
        assert big in ([0, 0, 0], [10, 11, 12], [20, 21, 20])


def test_the_null_is_passed_as_often_as_it_says():
    """Labels drawn per group pass the 95 % quantile of their own permutations in about one case of twenty."""
    generator = torch.Generator().manual_seed(0)
    n, groups, cases, permutations = 300, 60, 200, 40
    states = torch.randn(n, 1, 5, generator=generator, dtype=torch.float64)
    group = torch.arange(n) % groups
    labels = torch.randn(groups, cases, generator=generator, dtype=torch.float64)[group]
    null = [permute_between_groups(labels[:, case], group, permutations, seed=case) for case in range(cases)]
    targets = torch.cat([labels, *null], dim=1)
    fitter = RidgeFitter(1, 5, targets.shape[1], 4)
    fitter.update(states, targets, fold_of(group, 4), torch.ones(n, 1, dtype=torch.bool))
    r2 = scored(fitter, 1.0).r2[0]
    high = r2[cases:].reshape(cases, permutations).quantile(0.95, dim=1)
    assert 0.02 <= (r2[:cases] > high).double().mean() <= 0.12


def test_states_that_overflow_are_not_scored(rows):
    states, targets, fold, valid = rows
    broken = states.clone()
    broken[5, 1] = torch.nan
    scores = scored(fitted(broken, targets, fold, torch.ones_like(valid)), 1.0)
    assert torch.isnan(scores.r2[1]).all()
    assert torch.isfinite(scores.r2[[0, 2]]).all()


def test_targets_far_from_zero_are_right_or_not_scored(rows):
    states, targets, fold, valid = rows
    right = scored(fitted(*rows), 1.0).r2
    near = scored(fitted(states, targets + 1e5, fold, valid), 1.0).r2
    torch.testing.assert_close(near, right, atol=1e-6, rtol=0)
    assert torch.isnan(scored(fitted(states, targets + 1e9, fold, valid), 1.0).r2).all()


def test_permuting_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()
    permute_between_groups(torch.arange(10.0), torch.arange(10), 5, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
