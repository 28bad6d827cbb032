"""Random subspaces that stand beside one, those outside of it above all; LEACE of states far from zero."""

from typing import get_args

import numpy as np
import pytest
import torch
from micro import one_thread  # noqa: F401
from scipy.linalg import subspace_angles

from arithprobe.errors import ArithprobeError
from arithprobe.interventions import directions
from arithprobe.interventions.directions import leace, spread_of
from arithprobe.interventions.kinds import FamilyName
from arithprobe.interventions.random_family import draw_beside, overlap_of
from arithprobe.linalg import TOLERANCE, removed_by
from arithprobe.probes.moments import Moments
from arithprobe.probes.ridge import RidgeFitter

D, REAL, N, DRAWS = 24, 6, 1500, 200
NAMES = [name for name in get_args(FamilyName) if name != "permuted"]  # which is fitted, not drawn
SPREAD = np.logspace(0.5, -1, REAL)  # standard deviations of states, in the few directions in which they vary


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


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_what_is_outside_shares_nothing_with_what_is_read_and_subtracted_and_changes_states_as_much(rank):
    moments = full()
    left, right = sized(rank, moments)
    basis, note = drawn("outside", left, right, moments)
    assert (note, basis.shape) == ("", (DRAWS, 1, D, rank))
    own = float(removed_by(left[0], right[0], moments[0]))
    assert np.abs(np.swapaxes(basis, -1, -2) @ left).max() < 1e-9
    assert np.abs(np.swapaxes(basis, -1, -2) @ right).max() < 1e-9
    size = removed_by(basis[:, 0], basis[:, 0], moments[0])
    assert np.abs(size / own - 1).max() <= TOLERANCE + 1e-9
    assert overlap_of(basis, left) < 1e-12
    matched, _ = drawn("matched", left, right, moments)  # the control: as large, and not apart
    assert overlap_of(matched, left) > 0.5 * rank / D


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rank", [1, 2, 5])
def test_every_basis_is_orthonormal(name, rank):
    basis, note = drawn(name, *sized(rank, full()), full())
    inner = np.swapaxes(basis, -1, -2) @ basis
    assert (note, inner.shape) == ("", (DRAWS, 1, rank, rank))
    np.testing.assert_allclose(inner, np.broadcast_to(np.eye(rank), inner.shape), atol=1e-9)


def test_an_overlap_is_the_mean_squared_cosine_of_principal_angles():
    left, right = sized(3, full())
    basis, _ = drawn("matched", left, right, full())
    angles = [subspace_angles(one[0], left[0]) for one in basis]
    assert overlap_of(basis, left) == pytest.approx(np.mean(np.square(np.cos(angles))))
    own = np.linalg.qr(left[0])[0][None, None]
    assert overlap_of(own, left) == pytest.approx(1)
    assert np.isnan(overlap_of(basis[:0], left))


@pytest.mark.parametrize(("rank", "d", "outside"), [(2, 4, 0), (2, 5, 1), (3, 8, 2)])
def test_where_too_few_dimensions_are_outside_there_is_a_note(rank, d, outside):
    left, right = oblique(rank, d)
    basis, note = drawn("outside", left, right, np.eye(d)[None])
    assert basis.shape == (0, 1, d, rank)
    assert note == f"{outside} dimensions of p0 are outside of it"
    assert drawn("isotropic", left, right, np.eye(d)[None])[1] == ""  # the control


@pytest.mark.parametrize(("name", "where"), [("outside", " outside of it"), ("matched", "")])
def test_where_nothing_random_changes_states_as_much_there_is_a_note(name, where):
    """The subspace has the direction in which states vary most, a millionfold: all others change them less."""
    axes = np.eye(D)
    moments = np.diag([1e6, *np.ones(D - 1)])[None]
    left = 2 * axes[None, :, :1]  # not even that direction itself changes them as much
    basis, note = drawn(name, left, left / 2, moments)
    assert basis.shape == (0, 1, D, 1)
    assert note.startswith(f"0 of the {DRAWS} subspaces wanted{where} change p0 as much as this one, within 10%; ")
    nearest = float(note.split("the nearest changes it ")[1].split(" ")[0])
    assert nearest == pytest.approx(0.25e-6 if where else 0.25, rel=0.05)
    other = axes[None, :, 1:2]
    assert drawn(name, other, other, np.eye(D)[None])[1] == ""  # the control


def test_a_family_that_there_is_not_is_refused():
    with pytest.raises(ArithprobeError, match="shuffled"):
        drawn("shuffled", *oblique(1), full())


@pytest.mark.parametrize("name", NAMES)
def test_positions_are_drawn_each_by_itself_and_where_nothing_is_taken_out_nothing_is_drawn(name):
    left, right = sized(2, full())
    both = np.concatenate([left, 0 * left, left]), np.concatenate([right, 0 * right, right])
    basis, note = drawn(name, *both, np.concatenate([full()] * 3))
    assert (note, len(basis)) == ("", DRAWS)
    assert not basis[:, 1].any()
    assert basis[:, 0].any() and not np.isclose(basis[:, 0], basis[:, 2]).all(axis=(1, 2)).any()


@pytest.mark.parametrize("name", NAMES)
def test_draws_depend_on_the_seed_alone(name):
    one, again, other = (drawn(name, *sized(2, full()), full(), seed=seed)[0] for seed in (1, 1, 2))
    assert len(one) == DRAWS and np.array_equal(one, again)
    assert not np.isclose(one, other).all(axis=(1, 2, 3)).any()


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
