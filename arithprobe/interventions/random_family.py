"""Random orthogonal subspaces as controls of an erased subspace."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from arithprobe.interventions.kinds import FamilyName, require_kind
from arithprobe.linalg import (
    TOLERANCE,
    Array,
    Matched,
    matched_subspaces,
    orthonormal_basis,
    random_subspaces,
    removed_by,
)

_NO_SIZE = 1e-12  # share of the states' size that is no removal


@dataclass(frozen=True)
class RandomFamily:
    """A family of M random subspaces in the place of an erased one, and their effects."""

    name: FamilyName
    """Name of the way in which they were drawn, such as ``isotropic`` or ``permuted``."""
    delta_rmse: Tensor
    """(M,) increase of the RMSE under each, in answer units."""
    skill_lost: Tensor
    """(M,) share of the intact skill lost under each."""
    removed: Tensor
    """(M,) mean squared change of the states under each, as a multiple of the subspace's own."""
    overlap: float
    """Mean share of a draw that lies in the subspace: 1 is the subspace itself, R / D what chance gives."""
    is_null: bool
    """Whether the draws stand for a null of what they stand beside; else they are a description."""
    p: float
    """One-sided: ``(1 + #{random increase >= own}) / (1 + M)``; NaN of a description, and where it cannot be told."""
    percentile: float
    """Percent of the draws with a smaller increase; NaN where there is nothing to compare with."""
    note: str
    """Why there is no p, in words; empty where there is one."""

    @property
    def high(self) -> float:
        """95 % quantile of its increases of the RMSE, in answer units; NaN if there is nothing to compare with."""
        return math.nan if math.isnan(self.percentile) else float(self.delta_rmse.quantile(0.95))

    @property
    def untold(self) -> str:
        """The reason why an expected p-value is missing, or empty."""
        return self.note if self.is_null else ""


def size_of(left: Array, right: Array, moments: Array, n: Array) -> Array:
    """The (...) mean squared change of the states over all positions, weighted by the (P,) rows that have them."""
    weight = n / n.max(initial=1.0)
    by_position = [
        removed_by(left[..., p, :, :], right[..., p, :, :], moment) * weight[p] for p, moment in enumerate(moments)
    ]
    total: Array = np.sum(by_position, axis=0)
    return total


def draw_beside(
    name: FamilyName, left: Array, right: Array, moments: Array, draws: int, seed: int, positions: Sequence[str]
) -> tuple[Array, str]:
    """Draw random subspaces as controls of one; they are zero at positions where nothing is removed.

    Args:
        name: How they are drawn.
        left: (P, D, R) ``L`` of the erased subspace.
        right: (P, D, R) ``R`` of the erased subspace.
        moments: (P, D, D) second moments of the change that replaces a whole state.
        draws: The number M.
        seed: Seed of the draws.
        positions: The P positions, for the note.

    Returns:
        (M, P, D, R) orthonormal bases, and a note that says why there are none, or is empty.
    """
    require_kind(name, FamilyName, "random family")
    count, d, rank = left.shape
    basis, note = np.zeros((draws, count, d, rank)), ""
    for p, moment in enumerate(moments):
        target, own_rank = float(removed_by(left[p], right[p], moment)), rank_of(left[p])
        if not own_rank or target <= _NO_SIZE * moment.trace():
            continue
        generator = np.random.default_rng([seed, p, rank])
        if name == "isotropic":
            basis[:, p, :, :own_rank] = random_subspaces(d, own_rank, draws, generator)
            continue
        within = _apart(left[p], right[p]) if name == "outside" else np.eye(d)  # (D, d')
        if within.shape[1] < own_rank:
            return np.zeros((0, count, d, rank)), f"{within.shape[1]} dimensions of {positions[p]} are outside of it"
        found = matched_subspaces(within.T @ moment @ within, own_rank, target, draws, generator)
        if len(found.basis) < draws:
            return np.zeros((0, count, d, rank)), none_match(name, draws, positions[p], found, target)
        basis[:, p, :, :own_rank] = within @ found.basis
    return basis, note


def none_match(name: FamilyName, draws: int, position: str, found: Matched, target: float) -> str:
    """Return the message that too few draws change the states as much."""
    where, times = " outside of it" * (name == "outside"), found.nearest / target
    return (
        f"{len(found.basis)} of the {draws} subspaces wanted{where} change {position} as much as this one, within "
        f"{TOLERANCE:.0%}; the nearest changes it {times:.3g} times as much"
    )


def overlap_of(basis: Array, left: Array) -> float:
    """Mean squared cosine between random subspaces and the erased one, over positions that have one."""
    own = [np.linalg.qr(one[:, : rank_of(one)])[0] for one in left]
    parts = [
        np.square(np.swapaxes(basis[:, p], -1, -2) @ one).sum(axis=(1, 2)).mean() / one.shape[1]
        for p, one in enumerate(own)
        if one.shape[1] and len(basis)
    ]
    return float(np.mean(parts)) if parts else float("nan")


def _apart(left: Array, right: Array) -> Array:
    """(D, d') basis of what is orthogonal to what is read and to what is subtracted: taking it out changes neither."""
    taken = orthonormal_basis(np.concatenate([left, right], axis=1))
    basis: Array = np.linalg.svd(taken)[0][:, taken.shape[1] :]
    return basis


def rank_of(left: Array) -> int:
    """The number of nonzero columns, which come first."""
    return int((np.abs(left).sum(axis=0) > 0).sum())
