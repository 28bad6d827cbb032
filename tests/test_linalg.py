"""Subspaces: bases, projections, angles, and random ones that remove as much as another."""

import time

import numpy as np
import pytest
from scipy.linalg import subspace_angles

from arithprobe.errors import ArithprobeError
from arithprobe.linalg import (
    TOLERANCE,
    matched_subspaces,
    orthonormal_basis,
    principal_angles,
    project_out,
    random_subspaces,
    removed_by,
)


def gaussian(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def rotated(values):
    """A matrix with these eigenvalues, along no axis."""
    axes = np.linalg.qr(gaussian(len(values), len(values)))[0]
    return axes * values @ axes.T


SPECTRA = {
    "flat": rotated(np.ones(16)),
    "nearly flat": rotated(np.linspace(1.0, 1.5, 16)),
    "one direction dominates": rotated(np.array([1000.0, *np.ones(15)])),
    "one of many dominates": rotated(np.array([1000.0, *np.ones(47)])),
    "half of the dimensions are empty": rotated(np.array([*np.arange(1.0, 9.0), *np.zeros(8)])),
    "power law": rotated(np.arange(1.0, 129.0) ** -1.5),
}


def reach(moment, rank):
    """What the smallest and the largest subspace remove."""
    values = np.linalg.eigvalsh(moment)
    return values[:rank].sum(), values[-rank:].sum()


def matched(moment, rank, target, count=200, seed=0):
    return matched_subspaces(moment, rank, target, count, np.random.default_rng(seed))


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
def test_a_basis_is_orthonormal_spans_the_same_and_has_no_scale(scale):
    directions = gaussian(9, 4)
    basis = orthonormal_basis(scale * directions)
    np.testing.assert_allclose(basis.T @ basis, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(project_out(directions.T, basis), 0.0, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
def test_a_basis_leaves_out_what_depends_on_other_columns(scale):
    one, other = gaussian(9, 2).T
    directions = scale * np.stack([one, other, one - 3 * other, np.zeros(9), 2 * one], axis=1)
    assert orthonormal_basis(directions).shape == (9, 2)
    directions[0, 3] = scale * 1e-6
    assert orthonormal_basis(directions).shape == (9, 3)


def test_a_basis_of_nothing_has_no_column():
    assert orthonormal_basis(np.zeros((5, 3))).shape == (5, 0)
    assert orthonormal_basis(np.zeros((5, 0))).shape == (5, 0)
    assert orthonormal_basis(gaussian(5, 8)).shape == (5, 5)


def test_projecting_out_twice_is_once_and_leaves_the_complement_alone():
    states, basis = gaussian(3, 20, 7), orthonormal_basis(gaussian(7, 2))
    once = project_out(states, basis)
    np.testing.assert_allclose(project_out(once, basis), once, atol=1e-12)
    np.testing.assert_allclose(once @ basis, 0.0, atol=1e-12)
    complement = np.linalg.qr(np.concatenate([basis, gaussian(7, 5)], axis=1))[0][:, 2:]
    np.testing.assert_allclose(once @ complement, states @ complement, atol=1e-12)
    assert np.abs(once - states).max() > 0.1


@pytest.mark.parametrize(("one", "other"), [(1, 1), (2, 5), (4, 4), (6, 3)])
def test_principal_angles_are_scipys(one, other):
    a, b = orthonormal_basis(gaussian(8, one)), orthonormal_basis(gaussian(8, other, seed=1))
    found = principal_angles(a, b)
    assert (np.diff(found) >= 0).all()
    np.testing.assert_allclose(found, np.sort(subspace_angles(a, b)), atol=1e-6)


def test_a_subspace_has_no_angle_with_itself_and_right_angles_with_its_complement():
    axes = np.linalg.qr(gaussian(6, 6))[0]
    turned = axes[:, :2] @ np.linalg.qr(gaussian(2, 2))[0]
    np.testing.assert_allclose(principal_angles(axes[:, :2], turned), 0.0, atol=1e-6)
    np.testing.assert_allclose(principal_angles(axes[:, :2], axes[:, 2:]), np.pi / 2, atol=1e-6)


def test_what_is_removed_is_the_mean_squared_change_over_samples():
    states = gaussian(50, 6) @ gaussian(6, 6) + 3
    moment = states.T @ states / 50
    orthogonal = random_subspaces(6, 2, 4, np.random.default_rng(0))
    oblique = gaussian(4, 6, 2, seed=1), gaussian(4, 6, 2, seed=2)
    for left, right in ((orthogonal, orthogonal), oblique):
        changes = [np.square(states @ b @ a.T).sum(axis=1).mean() for a, b in zip(left, right, strict=True)]
        np.testing.assert_allclose(removed_by(left, right, moment), changes, rtol=1e-12)
        assert removed_by(left[0], right[0], moment) == pytest.approx(changes[0])
    basis = orthogonal[0]
    rest = np.square(project_out(states, basis)).sum(axis=1).mean()
    assert removed_by(basis, basis, moment) == pytest.approx(moment.trace() - rest)


def test_random_subspaces_are_orthonormal_and_prefer_no_direction():
    basis = random_subspaces(6, 2, 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(basis.swapaxes(1, 2) @ basis, np.broadcast_to(np.eye(2), (20_000, 2, 2)), atol=1e-12)
    projector = np.einsum("ndr,ner->de", basis, basis) / len(basis)
    np.testing.assert_allclose(projector, np.eye(6) * 2 / 6, atol=0.01)


def test_random_subspaces_are_a_function_of_their_generator_alone():
    np.random.seed(5)
    expected = np.random.standard_normal()
    np.random.seed(5)
    one, other, third = (random_subspaces(6, 2, 3, np.random.default_rng(seed)) for seed in (0, 0, 1))
    first, second, last = (matched(SPECTRA["power law"], 2, 1.0, seed=seed).basis for seed in (0, 0, 1))
    assert np.random.standard_normal() == expected
    assert (one == other).all() and (first == second).all()
    assert not (one == third).any() and not (first == last).any()


@pytest.mark.parametrize("rank", [0, -1, 7])
def test_a_rank_that_no_subspace_has_is_refused(rank):
    expected = rf"^the rank of a subspace is {rank}; the states have 6 dimensions, expected 1 to 6$"
    with pytest.raises(ArithprobeError, match=expected):
        random_subspaces(6, rank, 1, np.random.default_rng(0))
    with pytest.raises(ArithprobeError, match=expected):
        matched(np.eye(6), rank, 1.0)
    assert random_subspaces(6, 6, 1, np.random.default_rng(0)).shape == (1, 6, 6)


@pytest.mark.parametrize(("count", "shares"), [(200, (0.02, 0.1, 0.6, 0.99)), (5, (0.1, 0.6))])
@pytest.mark.parametrize("rank", [1, 2, 5])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_matched_subspaces_remove_the_target_within_a_tenth(spectrum, rank, count, shares):
    moment = SPECTRA[spectrum]
    low, high = reach(moment, rank)
    for share in shares:
        target = low + share * (high - low)
        found = matched(moment, rank, target, count)
        assert found.basis.shape == (count, len(moment), rank)
        np.testing.assert_allclose(found.basis.swapaxes(1, 2) @ found.basis, [np.eye(rank)] * count, atol=1e-9)
        np.testing.assert_allclose(removed_by(found.basis, found.basis, moment), found.removed, rtol=1e-9)
        assert (np.abs(found.removed - target) <= TOLERANCE * target).all()
        assert abs(found.nearest - target) <= np.abs(found.removed - target).min()
        assert len({basis.tobytes() for basis in found.basis}) == count


def test_subspaces_drawn_without_a_target_miss_it():
    moment = SPECTRA["power law"]
    target = 0.9 * reach(moment, 1)[1]
    basis = random_subspaces(128, 1, 200, np.random.default_rng(0))
    assert removed_by(basis, basis, moment).max() < (1 - TOLERANCE) * target


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_a_target_out_of_reach_has_no_draws_and_says_what_the_nearest_removes(spectrum):
    low, high = reach(SPECTRA[spectrum], 2)
    above = matched(SPECTRA[spectrum], 2, 2 * high)
    assert above.basis.shape == (0, len(SPECTRA[spectrum]), 2) and above.removed.shape == (0,)
    assert 0.9 * high < above.nearest < 1.000001 * high
    below = matched(SPECTRA[spectrum], 2, 0.5 * low - 1e-3 * high)
    assert len(below.basis) == 0
    assert low <= below.nearest < above.nearest or high - low < 1e-9


@pytest.mark.parametrize("spectrum", [name for name in SPECTRA if name != "flat"])
@pytest.mark.parametrize("rank", [1, 5])
def test_the_more_is_to_be_removed_the_more_the_draws_prefer_the_main_directions(spectrum, rank):
    low, high = reach(SPECTRA[spectrum], rank)
    found = [matched(SPECTRA[spectrum], rank, low + share * (high - low), 20) for share in (0.05, 0.3, 0.6, 0.95)]
    exponents = [one.exponent for one in found]
    tuned = [exponent for exponent in exponents if exponent != 1]
    assert exponents[0] <= 1 <= exponents[-1]
    assert tuned == sorted(tuned)


def test_what_states_like_these_often_lose_is_lost_by_draws_that_are_like_them():
    moment = SPECTRA["power law"]
    assert matched(moment, 1, (moment @ moment).trace() / moment.trace()).exponent == 1
    assert matched(moment, 1, moment.trace() / len(moment)).exponent < 1  # the control: that of a blind direction


@pytest.mark.parametrize("rank", [1, 5])
def test_two_hundred_draws_at_128_dimensions_take_well_under_a_second(rank):
    seconds = []
    for _ in range(3):  # other work may hold the cores
        start = time.perf_counter()
        assert len(matched(SPECTRA["power law"], rank, 0.5).removed) == 200
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.6
