"""Random subspaces that stand beside one: those outside of it, and those of labels that say nothing."""

import numpy as np
import pytest
import torch
from micro import one_thread  # noqa: F401
from scipy.stats import ks_2samp

from arithprobe.interventions import directions
from arithprobe.interventions.directions import leace, spread_of
from arithprobe.interventions.random_family import draw_beside, overlap_of
from arithprobe.linalg import TOLERANCE, random_subspaces, removed_by
from arithprobe.probes.moments import Moments
from arithprobe.probes.ridge import RidgeFitter

D, REAL, N, DRAWS = 24, 6, 1500, 200
SPREAD = np.logspace(0.5, -1, REAL)  # standard deviations of states, in the few directions in which they vary
ALPHA = 0.001


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def orthonormal(d, k, seed=0):
    return np.linalg.qr(normal(d, k, seed=seed))[0]


def states(n=N, constant=0.0):
    """(N, D) states in a few dimensions, far from zero by a constant."""
    far = constant * orthonormal(D, 1, seed=9)[:, 0]
    return (normal(n, REAL, seed=1) * SPREAD) @ orthonormal(D, REAL).T + far


def cell(own, targets):
    fitter = RidgeFitter(1, own.shape[1], targets.shape[1], 2)
    fitter.update(torch.from_numpy(own)[:, None], torch.from_numpy(targets), torch.arange(len(own)) % 2)
    return Moments.total(fitter.moments())


def moments_of(own):
    """(1, D, D) covariance, of states from which their mean was taken first."""
    centred = own - own.mean(axis=0)
    return (centred.T @ centred / len(own))[None]


def oblique(rank, d=D, seed=0):
    """(1, D, R) left and right with right^T left = I, not orthogonal."""
    right = normal(d, rank, seed=seed + 2)
    left = np.linalg.pinv(right).T + 0.2 * normal(d, rank, seed=seed + 3)
    left = left @ np.linalg.inv(right.T @ left)
    return left[None], right[None]


def drawn(name, left, right, moments, draws=DRAWS, seed=0):
    positions = [f"p{number}" for number in range(len(left))]
    return draw_beside(name, left, right, moments, draws, seed, positions)


def sized(rank, moments):
    """An oblique pair, no projection, that changes states as much as random directions do."""
    left, right = oblique(rank)
    size = rank * moments[0].trace() / len(moments[0])
    return left * np.sqrt(size / removed_by(left[0], right[0], moments[0])), right


def full():
    """(1, D, D) covariance of all dimensions, of many scales."""
    axes = orthonormal(D, D, seed=4)
    return (axes * np.logspace(1, -1, D) @ axes.T)[None]


# outside


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_what_is_outside_shares_nothing_with_what_is_read_and_subtracted_and_changes_states_as_much(rank):
    moments = full()
    left, right = sized(rank, moments)
    found = drawn("outside", left, right, moments)
    assert (found.note, found.left.shape) == ("", (DRAWS, 1, D, rank))
    own = float(removed_by(left[0], right[0], moments[0]))
    assert np.abs(np.swapaxes(found.left, -1, -2) @ left).max() < 1e-9
    assert np.abs(np.swapaxes(found.left, -1, -2) @ right).max() < 1e-9
    inner = np.swapaxes(found.right, -1, -2) @ found.left
    np.testing.assert_allclose(inner, np.broadcast_to(np.eye(rank), inner.shape), atol=1e-9)
    size = removed_by(found.left[:, 0], found.right[:, 0], moments[0])
    assert np.abs(size / own - 1).max() <= TOLERANCE + 1e-9
    assert overlap_of(found.left, left) < 1e-12
    matched = drawn("matched", left, right, moments)  # the control: as large, and not apart
    assert overlap_of(matched.left, left) > 0.5 * rank / D


@pytest.mark.parametrize(("rank", "d", "outside"), [(2, 4, 0), (2, 5, 1), (3, 8, 2)])
def test_where_too_few_dimensions_are_outside_there_is_a_note(rank, d, outside):
    left, right = oblique(rank, d)
    found = drawn("outside", left, right, np.eye(d)[None])
    assert len(found.left) == len(found.right) == 0
    assert found.note == f"{outside} dimensions of p0 are outside of it"
    assert drawn("isotropic", left, right, np.eye(d)[None]).note == ""  # the control


def test_where_nothing_outside_changes_states_as_much_there_is_a_note():
    """The subspace has the direction in which states vary most: all others change them less."""
    axes = np.eye(D)
    moments = np.diag([100.0, *np.ones(D - 1)])[None]
    main, other = axes[None, :, :1], axes[None, :, 1:2]
    found = drawn("outside", main, main, moments)
    assert len(found.left) == 0
    assert found.note.startswith(f"0 of the {DRAWS} subspaces wanted outside of it change p0 as much as this one")
    assert float(found.note.split("the nearest changes it ")[1].split(" ")[0]) == pytest.approx(0.01, rel=0.05)
    assert drawn("outside", other, other, np.eye(D)[None]).note == ""  # the control


@pytest.mark.parametrize("name", ["outside", "shuffled", "isotropic"])
def test_positions_are_drawn_each_by_itself_and_where_nothing_is_taken_out_nothing_is_drawn(name):
    left, right = sized(2, full())
    both = np.concatenate([left, 0 * left, left]), np.concatenate([right, 0 * right, right])
    found = drawn(name, *both, np.concatenate([full()] * 3))
    assert (found.note, len(found.left)) == ("", DRAWS)
    assert not found.left[:, 1].any() and not found.right[:, 1].any()
    assert found.left[:, 0].any() and not np.isclose(found.left[:, 0], found.left[:, 2]).all(axis=(1, 2)).any()


@pytest.mark.parametrize("name", ["outside", "shuffled"])
def test_draws_depend_on_the_seed_alone(name):
    one, again, other = (drawn(name, *sized(2, full()), full(), seed=seed).left for seed in (1, 1, 2))
    assert len(one) == DRAWS and np.array_equal(one, again)
    assert not np.isclose(one, other).all(axis=(1, 2, 3)).any()


# shuffled


@pytest.mark.parametrize("rank", [1, 2, 6])
@pytest.mark.parametrize("moments", [full(), moments_of(states())], ids=["all dimensions", "few dimensions"])
def test_what_labels_that_say_nothing_take_out_is_a_projection_within_what_varies(rank, moments):
    found = drawn("shuffled", *oblique(rank), moments)
    assert (found.note, found.left.shape) == ("", (DRAWS, 1, D, rank))
    inner = np.swapaxes(found.right, -1, -2) @ found.left
    np.testing.assert_allclose(inner, np.broadcast_to(np.eye(rank), inner.shape), atol=1e-9)
    values, vectors = np.linalg.eigh(moments[0])
    empty = vectors[:, values < 1e-10]
    assert np.abs(empty.T @ found.left[:, 0]).max(initial=0) < 1e-6
    isotropic = drawn("isotropic", *oblique(rank), moments).left[:, 0]  # the control
    assert not empty.size or np.abs(empty.T @ isotropic).max() > 0.1


def test_where_states_vary_in_fewer_dimensions_there_is_a_note():
    found = drawn("shuffled", *oblique(REAL + 1), moments_of(states()))
    assert (len(found.left), found.note) == (0, f"the states at p0 vary in {REAL} dimensions")
    assert drawn("shuffled", *oblique(REAL), moments_of(states())).note == ""


def figures(left, right, moment):
    """What tells draws apart: the variance they take out, how much of it along the main direction, their length."""
    main = np.linalg.eigh(moment)[1][:, -1]
    along = np.square(np.einsum("d,mdr->mr", main, left)).sum(axis=1) / np.square(left).sum(axis=(1, 2))
    return {
        "removed": removed_by(left, right, moment),
        "along": along,
        "length": np.square(right).sum(axis=(1, 2)) * np.square(left).sum(axis=(1, 2)),
    }


def erased(own, rank, count=DRAWS, seed=50):
    """What LEACE takes out for labels drawn independently of the states, fit by fit."""
    pairs = [leace(cell(own, normal(len(own), rank, seed=seed + number))) for number in range(count)]
    return (np.stack(part) for part in zip(*pairs, strict=True))


@pytest.mark.parametrize("rank", [1, 2])
def test_draws_are_distributed_as_leace_of_labels_that_say_nothing(rank):
    own = states()
    moments = moments_of(own)
    fits = figures(*erased(own, rank), moments[0])
    found = drawn("shuffled", *oblique(rank), moments)
    draws = figures(found.left[:, 0], found.right[:, 0], moments[0])
    blind = drawn("isotropic", *oblique(rank), moments)
    isotropic = figures(blind.left[:, 0], blind.right[:, 0], moments[0])
    error = np.sqrt(fits["removed"].var() / DRAWS + draws["removed"].var() / DRAWS)
    assert abs(fits["removed"].mean() - draws["removed"].mean()) < 4 * error
    assert fits["removed"].mean() == pytest.approx(rank * moments[0].trace() / REAL, abs=4 * error)
    assert isotropic["removed"].mean() < 0.5 * draws["removed"].mean()  # the control
    for name in fits:
        assert ks_2samp(fits[name], draws[name]).pvalue > ALPHA
        assert ks_2samp(fits[name], isotropic[name]).pvalue < 1e-6  # the control


def test_draws_do_not_see_a_constant_that_states_have_besides():
    """As LEACE does not: of states far from zero a covariance is known up to rounding, and that is no dimension."""
    near, far = (cell(states(constant=constant), normal(N, 1)) for constant in (0.0, 512.0))
    for own in (near, far):
        fitted = own.centred_gram / own.n[:, None, None]
        found = drawn("shuffled", *oblique(1), fitted)
        span = np.linalg.svd(found.left[:, 0, :, 0].T / np.linalg.norm(found.left[:, 0, :, 0], axis=1))[1]
        assert found.note == "" and (span > 1e-3).sum() == REAL
        size = removed_by(found.left[:, 0], found.right[:, 0], fitted[0])
        assert size.mean() == pytest.approx(fitted[0].trace() / REAL, rel=0.3)


# rounding noise


@pytest.mark.parametrize("constant", [0.0, 512.0])
def test_the_dimensions_of_states_are_those_in_which_they_vary_however_far_from_zero(constant):
    own = cell(states(constant=constant), normal(N, 1))
    covariance, size = own.centred_gram[0] / N, own.gram[0, 1:, 1:].trace() / N
    roots, vectors = spread_of(covariance, size)
    assert len(roots) == REAL
    expected = np.linalg.svd(states() - states().mean(axis=0), compute_uv=False)[:REAL] / np.sqrt(N)
    np.testing.assert_allclose(roots[::-1], expected, rtol=1e-6)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(REAL), atol=1e-12)
    blind = spread_of(covariance, 0.0)[0]  # the control: a threshold that does not know how far from zero they are
    assert (len(blind) > REAL) == (constant > 0)


@pytest.mark.parametrize("kind", ["a quantity of the states", "labels that say nothing"])
def test_leace_does_the_same_to_states_however_far_from_zero(kind, monkeypatch):
    """States of single precision, as models have them."""
    near, far = (states(300, constant).astype(np.float32).astype(np.float64) for constant in (0.0, 512.0))
    targets = normal(300, 2) + (near @ normal(D, 2, seed=7) if kind.startswith("a") else 0)

    def parted():
        """By how much the two erasers differ in what they take out."""
        without, within = (
            (near - near.mean(axis=0)) @ right @ left.T
            for left, right in (leace(cell(own, targets)) for own in (near, far))
        )
        assert np.abs(without).max() > 0.1
        return np.abs(without - within).max()

    assert parted() < 1e-3
    monkeypatch.setattr(directions, "spread_of", lambda covariance, size: spread_of(covariance, 0.0))
    assert parted() > 0.02  # the control: with noise for dimensions


def test_where_states_vary_alike_in_all_directions_shuffled_draws_are_isotropic_ones():
    left, right = oblique(2)
    found = drawn("shuffled", left, right, np.eye(D)[None])
    np.testing.assert_allclose(found.left, found.right, atol=1e-12)
    blind = random_subspaces(D, 2, DRAWS, np.random.default_rng(77))
    fixed = orthonormal(D, 1, seed=3)[:, 0]
    one, other = (np.square(np.einsum("d,mdr->mr", fixed, part)).sum(axis=1) for part in (found.left[:, 0], blind))
    assert ks_2samp(one, other).pvalue > ALPHA
    stretched = drawn("shuffled", left, right, full())  # the control
    assert np.abs(stretched.left - stretched.right).max() > 1
