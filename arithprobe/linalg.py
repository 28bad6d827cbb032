"""Subspaces: bases, projections, angles, and random ones to compare with. Float64 inside, randomness is an argument."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from arithprobe.errors import ArithprobeError

Array = npt.NDArray[np.float64]
Size = Callable[[Array], Array]
"""(n,) what (n, D, R) bases remove."""
TOLERANCE = 0.1
"""A random subspace is matched if what it removes is within this share of what the other removes."""
_EXPONENTS = (-4.0, 8.0)
_PILOTS, _BISECTIONS, _PROPOSALS = 200, 24, 40  # draws to find the exponent by; steps; rounds of proposals
_RELATIVE = 1e-10  # singular values below this share of the largest are none


def orthonormal_basis(directions: Array) -> Array:
    """(D, R) orthonormal basis of the span of (D, K) directions; what depends on others up to rounding is left out."""
    left, singular, _ = np.linalg.svd(directions, full_matrices=False)
    basis: Array = left[:, singular > _RELATIVE * max(float(singular.max(initial=0.0)), 1e-300)]
    return basis


def orthonormal_bases(directions: Array) -> Array:
    """(M, D, K) orthonormal bases of the spans of (M, D, K) directions; zeros for what depends on others."""
    left, singular, _ = np.linalg.svd(directions, full_matrices=False)
    kept = singular > _RELATIVE * np.maximum(singular.max(axis=-1, keepdims=True, initial=0.0), 1e-300)
    basis: Array = np.zeros_like(directions)
    basis[..., : left.shape[-1]] = left * kept[..., None, :]
    return basis


def project_out(states: Array, basis: Array) -> Array:
    """(..., D) states without their component in the span of an orthonormal (D, R) basis."""
    projected: Array = states - states @ basis @ basis.T
    return projected


def principal_angles(one: Array, other: Array) -> Array:
    """(min(R1, R2),) angles between two subspaces with orthonormal bases, in radians, smallest first."""
    cosines = np.linalg.svd(one.T @ other, compute_uv=False)
    angles: Array = np.arccos(np.clip(cosines, -1.0, 1.0))
    return angles


def removed_by(left: Array, right: Array, moment: Array) -> Array:
    """(...) mean squared change of ``h - left right^T h`` where ``moment`` is the mean of ``h h^T``.

    Args:
        left: (..., D, R).
        right: (..., D, R).
        moment: (D, D); of centred states it is their covariance, and this the variance removed.
    """
    within = np.swapaxes(right, -1, -2) @ moment @ right  # (..., R, R)
    change: Array = (within * (np.swapaxes(left, -1, -2) @ left)).sum(axis=(-1, -2))
    return change


def random_subspaces(d: int, rank: int, count: int, generator: np.random.Generator) -> Array:
    """(count, D, rank) orthonormal bases of subspaces drawn without preference for any direction.

    Raises:
        ArithprobeError: If the rank is not 1 to D.
    """
    require_rank(rank, d)
    basis: Array = np.linalg.qr(generator.standard_normal((count, d, rank)))[0]
    return basis


class Matched(NamedTuple):
    """Random subspaces that remove about as much as another."""

    basis: Array
    """(count, D, R) orthonormal bases; fewer where not enough were found."""
    removed: Array
    """(count,) what each removes."""
    exponent: float
    """a of the draws ``M^(a/2) g``: 0 has no preference, 1 draws like the states, more like their main directions."""
    nearest: float
    """What the nearest of all proposals removes."""


def matched_subspaces(
    moment: Array,
    rank: int,
    target: float,
    count: int,
    generator: np.random.Generator,
    *,
    exponent: float = 1.0,
    size: Size | None = None,
) -> Matched:
    """Subspaces drawn by the second moment of the states that remove what another one removes, within 10 %.

    Bases span the columns of ``M^(a/2) G``, G standard normal, and draws that are off by more than 10 % are thrown
    away. First ``a`` is 1: such draws are like the states, and where the subspace itself is one of them, p-values
    against them are exact. Where too few of them remove so much or so little, ``a`` is set so that the median does. In
    whitened coordinates draws are like the states where ``a`` is 0.

    Args:
        moment: (D, D) covariance M of the states, or mean of ``h h^T``.
        rank: The rank R.
        target: What is to be removed, as :func:`removed_by` says.
        count: Draws wanted.
        generator: Source of randomness.
        exponent: ``a`` to begin with.
        size: What (n, D, R) bases remove; what orthogonal projections of states with this moment do, by default.

    Raises:
        ArithprobeError: If the rank is not 1 to D.
    """
    require_rank(rank, len(moment))
    values, vectors = np.linalg.eigh(moment)
    values = np.clip(values, values.max(initial=0.0) * 1e-12, None)

    def draw(gaussian: Array, exponent: float) -> tuple[Array, Array]:
        """(n, D, R) bases in eigenvector coordinates, and what each removes."""
        weight = (values / values.max()) ** (exponent / 2)
        basis = np.linalg.qr(weight[:, None] * gaussian)[0]
        return basis, (basis**2 * values[:, None]).sum(axis=(1, 2)) if size is None else size(vectors @ basis)

    found = _accepted(draw, (len(moment), rank), target, count, exponent, generator)
    if len(found.basis) < count:
        pilots = generator.standard_normal((_PILOTS, len(moment), rank))
        low, high = _EXPONENTS
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            median = float(np.median(draw(pilots, middle)[1]))
            low, high = (middle, high) if median < target else (low, middle)
        found = _accepted(draw, (len(moment), rank), target, count, (low + high) / 2, generator)
    return found._replace(basis=vectors @ found.basis)


def _accepted(
    draw: Callable[[Array, float], tuple[Array, Array]],
    shape: tuple[int, int],
    target: float,
    count: int,
    exponent: float,
    generator: np.random.Generator,
) -> Matched:
    """The draws of one exponent that remove what is wanted, in eigenvector coordinates; gives up where few do."""
    size = max(_PILOTS, count)  # few draws wanted are no reason to miss them
    kept, removed, nearest, have = [np.zeros((0, *shape))], [np.zeros(0)], math.inf, 0
    for tried in range(1, _PROPOSALS + 1):
        basis, found = draw(generator.standard_normal((size, *shape)), exponent)
        good = np.abs(found - target) <= TOLERANCE * target
        kept.append(basis[good])
        removed.append(found[good])
        have += int(good.sum())
        best = float(found[np.argmin(np.abs(found - target))])
        nearest = best if abs(best - target) < abs(nearest - target) else nearest
        if have >= count or (tried > 1 and 2 * have * _PROPOSALS < tried * count):
            break
    return Matched(np.concatenate(kept)[:count], np.concatenate(removed)[:count], exponent, nearest)


def require_rank(rank: int, d: int) -> None:
    """Check a rank.

    Raises:
        ArithprobeError: If it is not 1 to D.
    """
    if not 1 <= rank <= d:
        raise ArithprobeError(f"the rank of a subspace is {rank}; the states have {d} dimensions, expected 1 to {d}")
