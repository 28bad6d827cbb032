"""What can still be read after an erasure: by linear probes, and by ones that are not."""

import numpy as np
import pytest
import torch
from micro import one_thread  # noqa: F401
from scikit_ridge import ridge
from sklearn.metrics import r2_score

from arithprobe.errors import ArithprobeError
from arithprobe.interventions.certificate import erased_moments, linear_r2, mlp_r2
from arithprobe.interventions.erasure import fit_erasers
from arithprobe.probes.mlp import MLPSettings
from arithprobe.probes.moments import Moments, alpha_choice
from arithprobe.probes.ridge import RidgeFitter

N, P, D, K = 300, 3, 6, 2
QUICK = MLPSettings(hidden=32, lr=0.01, max_epochs=60, patience=10)


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng([seed, *shape]).standard_normal(shape))


def data():
    """States that carry the targets, more of them at each position."""
    targets = normal(N, K) * 3 + 20
    carried = torch.einsum("nk,pkd->npd", targets, normal(P, K, D)) * torch.arange(P)[:, None]
    return carried + normal(N, P, D) * torch.logspace(0, 1, D, dtype=torch.float64) + 5, targets


def moments_of(states, targets):
    fitter = RidgeFitter(states.shape[1], states.shape[2], targets.shape[1], 2)
    return Moments.total(fitter.update(states, targets, torch.arange(len(states)) % 2).moments())


def fit(kind, states, targets):
    positions = [f"p{p}" for p in range(states.shape[1])]
    return fit_erasers(kind, moments_of(states, targets), target="sum", site="block0", positions=positions)


def halves(states, targets):
    half = len(states) // 2
    return moments_of(states[:half], targets[:half]), moments_of(states[half:], targets[half:])


# Linear


@pytest.mark.parametrize("kind", ["probe", "mean_difference", "leace", "inlp"])
@pytest.mark.parametrize("mean", [0.0, 1e3])
def test_moments_of_erased_states_need_no_states(kind, mean):
    states, targets = data()
    states = states + mean
    eraser = fit(kind, states[:200], targets[:200])
    found = erased_moments(eraser, moments_of(states[200:], targets[200:]))
    expected = moments_of(eraser(states[200:]), targets[200:])
    for name in ("gram", "cross", "squares"):
        own, other = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(own, other, rtol=1e-9, atol=1e-12 * np.abs(other).max())
    intact = moments_of(states[200:], targets[200:]).centred_gram
    np.testing.assert_allclose(found.centred_gram, expected.centred_gram, atol=1e-9 * (1 + mean**2))
    assert np.abs(found.centred_gram - intact).max() > 1


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
def test_linear_r2_is_scikit_learns_of_standardised_states(alpha):
    states, targets = data()
    found = linear_r2(*halves(states, targets), alpha_choice(alpha))
    for p in range(P):
        (train, test), (y_train, y_test) = states[:, p].numpy().reshape(2, -1, D), targets.numpy().reshape(2, -1, K)
        model = ridge(alpha).fit(train, y_train)
        expected = r2_score(y_test, model.predict(test), multioutput="variance_weighted")
        assert found[p] == pytest.approx(expected, abs=1e-9)
    assert found[0] < 0.05 and found[2] > 0.5


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_linear_r2_does_not_depend_on_the_scale_of_states_or_targets(scale):
    states, targets = data()
    plain = linear_r2(*halves(states, targets))
    np.testing.assert_allclose(linear_r2(*halves(scale * states, targets)), plain, atol=1e-9)
    np.testing.assert_allclose(linear_r2(*halves(states, scale * targets)), plain, atol=1e-9)


def test_linear_r2_is_of_rows_that_the_probe_has_not_seen():
    states, targets = data()
    train, test = halves(states, targets)
    other = halves(states, targets.flip(0))[1]
    assert linear_r2(train, test)[2] > 0.5
    assert linear_r2(train, other)[2] < 0


def test_fewer_than_two_rows_have_no_r2_nor_have_targets_that_do_not_vary():
    states, targets = data()
    whole, one = moments_of(states, targets), moments_of(states[:1], targets[:1])
    constant = moments_of(states, torch.full((N, K), 3.3, dtype=torch.float64))
    assert np.isnan(linear_r2(whole, one)).all()
    assert np.isnan(linear_r2(one, whole)).all()
    assert np.isnan(linear_r2(whole, constant)).all()
    assert not np.isnan(linear_r2(whole, moments_of(states[:2], targets[:2]))).any()


def test_on_held_out_rows_little_is_left_after_leace_and_more_after_a_probes_own_directions():
    states, targets = data()
    train, test = halves(states, targets)
    left = {"nothing": linear_r2(train, test)}
    for kind in ("leace", "probe"):
        eraser = fit(kind, states[: N // 2], targets[: N // 2])
        left[kind] = linear_r2(erased_moments(eraser, train), erased_moments(eraser, test))
    assert left["nothing"][2] > 0.5
    assert left["leace"].max() < 0.01
    assert left["probe"][2] > 0.05


# Not linear


def bent(n=900):
    """Sizes, and states that hold the size in one dimension and, in another, what it is the size of."""
    value = normal(n)
    states = torch.stack([value.abs() + 0.1 * normal(n, seed=1), value, normal(n, seed=2), normal(n, seed=3)], dim=1)
    train = torch.arange(n) % 3 > 0
    return states[:, None], value.abs()[:, None], train


def both_r2(states, labels, train):
    """Of a linear probe and of an MLP."""
    linear = linear_r2(moments_of(states[train], labels[train]), moments_of(states[~train], labels[~train]))
    site, group = torch.zeros(1, dtype=torch.int64), torch.arange(len(states))
    return float(linear[0]), float(mlp_r2(states.transpose(0, 1), labels.T, site, group, train, QUICK))


def test_an_mlp_finds_a_trace_that_is_not_linear():
    states, size, train = bent()
    linear, mlp = both_r2(states, size, train)
    assert linear > 0.9 and mlp > 0.9
    erased = fit("leace", states[train], size[train])(states)
    linear, mlp = both_r2(erased, size, train)
    assert linear < 0.02 and mlp > 0.8
    states[:, :, 1] = normal(*states.shape[:2], seed=4)
    assert both_r2(states, size, train)[1] > 0.9
    linear, mlp = both_r2(fit("leace", states[train], size[train])(states), size, train)
    assert linear < 0.02 and mlp < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_in_noise_nothing_is_found(seed):
    linear, mlp = both_r2(normal(900, 1, D, seed=seed), normal(900, 1, seed=seed + 10), torch.arange(900) % 3 > 0)
    assert linear < 0.02 and mlp < 0.02


def test_mlp_probes_read_each_its_own_place_and_labels_and_are_scored_on_rows_they_have_not_seen():
    states, size, train = bent()
    places = torch.stack([normal(*states[:, 0].shape, seed=5), states[:, 0]])
    shuffled = size.clone()
    shuffled[~train] = shuffled[~train].flip(0)
    labels, site = torch.stack([size[:, 0], size[:, 0], shuffled[:, 0]]), torch.tensor([0, 1, 1])
    found = mlp_r2(places, labels, site, torch.arange(len(states)), train, QUICK)
    assert found.shape == (3,)
    assert found[0] < 0.02 and found[1] > 0.9 and found[2] < 0
    alone = mlp_r2(places[1:], labels[1:2], torch.zeros(1, dtype=torch.int64), torch.arange(len(states)), train, QUICK)
    assert float(alone) == pytest.approx(float(found[1]), abs=1e-3)


def test_without_training_groups_to_stop_by_there_is_no_mlp():
    states, size, train = bent(30)
    with pytest.raises(ArithprobeError, match="expected training rows and stop rows"):
        mlp_r2(states.transpose(0, 1), size.T, torch.zeros(1, dtype=torch.int64), torch.zeros(30, dtype=int), train)
