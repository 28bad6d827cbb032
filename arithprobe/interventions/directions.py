"""The directions that an eraser removes from one cell, computed from its moments."""

import numpy as np
import numpy.typing as npt

from arithprobe.linalg import Array, orthonormal_basis
from arithprobe.probes.moments import AlphaChoice, Moments, alpha_choice

_NOTHING = 1e-9  # correlation of states and target below which there is nothing to erase
_ROUNDING = 1e-12  # of a mean of products, relative to the root mean squares of its factors
_CONSTANT = 1e-10  # variance of a constant, relative to its mean square
_NONE = 1e-6  # mean variances: a penalty that stands for none


def projection(directions: Array, scale: Array | None = None) -> Array:
    """Return a (D, R) orthonormal basis of probe directions, in raw coordinates.

    Args:
        directions: (D, K) weights of probes.
        scale: (D,) divisor of each dimension before the probes were fitted. A weight on a standardised dimension is a
            weight ``1 / scale`` on the raw one; projecting the standardised weights out of raw states, as the original
            notebook does, removes other directions than the probes read.
    """
    return orthonormal_basis(directions if scale is None else directions / scale[:, None])


def mean_difference(cell: Moments) -> Array:
    """Return a (D, R) orthonormal basis of the covariance of one cell's states with the targets."""
    return orthonormal_basis(standardised_cross(cell))


def leace(cell: Moments) -> tuple[Array, Array]:
    """Return the (D, R) ``L`` and ``R`` of the least-squares concept eraser of one cell."""
    n = max(float(cell.n[0]), 1.0)
    roots, vectors = spread_of(cell.centred_gram[0] / n, cell.gram[0, 1:, 1:].trace() / n)
    return unwhitened(roots, vectors, orthonormal_basis((vectors.T @ mean_difference(cell)) / roots[:, None]))


def unwhitened(roots: Array, vectors: Array, basis: Array) -> tuple[Array, Array]:
    """Return the (..., D, R) ``L`` and ``R`` of the oblique eraser that removes a subspace of whitened states.

    Args:
        roots: (r,) standard deviations along the principal directions.
        vectors: (D, r) principal directions.
        basis: (..., r, R) orthonormal basis of the subspace, in their coordinates.
    """
    left: Array = vectors @ (roots[:, None] * basis)
    right: Array = vectors @ (basis / roots[:, None])
    return left, right


def spread_of(covariance: Array, size: float) -> tuple[Array, Array]:
    """The (R,) standard deviations of states along their (D, R) principal directions, without rounding noise.

    Args:
        covariance: (D, D) covariance of the states.
        size: Mean squared length of the states themselves, which sets the rounding error of the covariance.
    """
    values, vectors = np.linalg.eigh(covariance)
    kept = values > len(values) * np.finfo(np.float64).eps * max(float(values.max(initial=0.0)), size, 1e-300)
    return np.sqrt(values[kept]), vectors[:, kept]


def inlp(cell: Moments, rank: int) -> Array:
    """Return a (D, R) orthonormal basis of least-squares directions, fitted one after another; R up to ``rank``.

    Each direction is fitted to the states that the previous ones leave. The penalty, on raw states, is far below that
    of any probe and serves as none: it excludes directions whose variance is rounding, such as the one that a
    LayerNorm makes constant, and changes no other.
    """
    d = cell.centred_gram.shape[1]
    basis, choice = np.zeros((d, 0)), alpha_choice(_NONE, unit="state")
    while basis.shape[1] < rank:
        keep = np.eye(1 + d)
        keep[1:, 1:] -= basis @ basis.T
        found = orthonormal_basis(keep[1:, 1:] @ ridge_slope(cell.mapped(keep), choice, noise=_noise(cell)))
        if not found.shape[1]:
            break
        basis = orthonormal_basis(np.concatenate([basis, found[:, : rank - basis.shape[1]]], axis=1))
    return basis


def ridge_slope(cell: Moments, choice: AlphaChoice, noise: Array | None = None) -> Array:
    """Return the (D, K) ridge weights of one cell, for targets of unit variance; zeros if nothing covaries.

    Args:
        cell: Moments of the cell.
        choice: Penalties.
        noise: (K,) covariance below which there is none, for projected states; by default the rounding error of the
            cell's own states.
    """
    varies = standardised_cross(cell, noise).any(axis=0)
    if not varies.any():
        return np.zeros(cell.centred_cross.shape[1:])
    path, alpha = choice.fit(cell, [])
    slope = path.weights(alpha)[0][0]
    scaled: Array = np.where(varies, slope / np.sqrt(np.where(varies, cell.spread[0], 1.0)), 0.0)
    return scaled


def filter_and_pattern(cell: Moments, choice: AlphaChoice) -> tuple[Array, Array, Array]:
    r"""Return a probe's filter and pattern: (D, K) weights W, (K,) intercepts, and (D, K) patterns.

    Adding the pattern :math:`S W (W^T S W)^{-1}` times delta moves the probe's K readings by delta, as states move when
    the quantity does (Haufe et al. 2014, https://doi.org/10.1016/j.neuroimage.2013.10.067).
    """
    path, alpha = choice.fit(cell, [])
    slope, intercept = (part[0] for part in path.weights(alpha))
    constant = ~standardised_cross(cell).any(axis=0)
    slope, intercept = np.where(constant, 0.0, slope), np.where(constant, cell.mean_targets[0], intercept)
    spread = cell.centred_gram[0] @ slope
    within = slope.T @ spread
    unit = np.sqrt(np.where(within.diagonal() > 0, within.diagonal(), 1.0))  # columns of any units
    pattern: Array = spread / unit @ np.linalg.pinv(within / np.outer(unit, unit), _ROUNDING, hermitian=True) / unit
    return slope, intercept, pattern


def standardised_cross(cell: Moments, noise: Array | None = None) -> Array:
    """The (D, K) covariance of one cell's states with targets of unit variance; zeros where it is rounding noise."""
    n, varies = max(float(cell.n[0]), 1.0), _varies(cell)
    cross: Array = cell.centred_cross[0] / n / np.sqrt(np.where(varies, cell.spread[0] / n, 1.0))
    size = np.sqrt(np.maximum(cell.centred_gram[0].trace() / n, 0.0))
    nothing = np.maximum(_NOTHING * size, _noise(cell) if noise is None else noise)
    return np.where(varies & (np.linalg.norm(cross, axis=0) > nothing), cross, 0.0)


def _noise(cell: Moments) -> Array:
    """(K,) what rounding may make of no covariance with targets of unit variance."""
    n = max(float(cell.n[0]), 1.0)
    relative = np.sqrt(cell.squares[0] / np.where(_varies(cell), cell.spread[0], 1.0))
    noise: Array = _ROUNDING * np.sqrt(cell.gram[0, 1:, 1:].trace() / n) * relative
    return noise


def _varies(cell: Moments) -> npt.NDArray[np.bool_]:
    """(K,) whether a target varies."""
    varies: npt.NDArray[np.bool_] = cell.spread[0] > _CONSTANT * cell.squares[0]
    return varies
