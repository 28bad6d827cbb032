r"""The controls of an ablation, and which of these comparisons is a test.

The algebra of the eraser decides. A subspace is removed by :math:`h - L R^T (h - \mu)`; the eraser is *orthogonal* if
``L R^T`` is symmetric, and *oblique* otherwise (LEACE). An oblique eraser moves states along directions other than
those that it reads, mostly along those in which states vary.

============= =========================================== ==============================================================
family        draws                                       p
============= =========================================== ==============================================================
``permuted``  the same fit, on labels that were permuted  always: what the fit costs when there is nothing to find
              between groups
``matched``   of an oblique eraser: LEACE of random       yes: what LEACE costs of something else that is as decodable
              linear functions of the states that change  and as large
              them as much
\             of an orthogonal one: random subspaces      none, see below
              that change them as much
``outside``   as matched, of what shares nothing with it  none: they have on average more of what is used than a
                                                          useless direction has
``isotropic`` drawn blindly                               none: they hardly change the states
============= =========================================== ==============================================================

Orthogonal draws of equal variance are no null of a direction that was fitted. Probes with other penalties prefer other
directions of that variance; and where the reader stands behind a LayerNorm, a subspace that mixes many directions
rescales the rest less than a decoy's own direction does (``tests/test_controls_of_erasers.py``).

A p needs draws that change the states as much: where the subspace changes them more than every draw, by more than the
10 % within which draws are matched, a loss may come from the size of the change alone (behind a LayerNorm it rescales
the rest), and it cannot be told. Draws that change them more than it does make p large rather than small.
"""

from functools import partial
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from arithprobe.interventions.ablation import ROUNDING, skill_lost
from arithprobe.interventions.directions import spread_of, unwhitened
from arithprobe.interventions.erasure import Eraser
from arithprobe.interventions.kinds import ErasureKind, FamilyName, require_kind
from arithprobe.interventions.part import Part
from arithprobe.interventions.permuted import PermutedFits
from arithprobe.interventions.random_family import RandomFamily, draw_beside, none_match, overlap_of, rank_of, size_of
from arithprobe.linalg import TOLERANCE, Array, matched_subspaces, orthonormal_basis
from arithprobe.probes.metrics import permutation_p
from arithprobe.probes.moments import AlphaChoice, Moments

DESCRIBED = 20
"""Draws of a family that is a description."""
_ITSELF = 0.5  # overlap beyond chance, of all there can be, from which draws are mostly what they stand beside
_SYMMETRIC = 1e-6  # by which a projection may differ from its transpose
_WHY_NOT = {
    "isotropic": "a description: blind draws hardly change the states",
    "matched": "a description: orthogonal draws are no null of a fitted direction, labels permuted are",
    "outside": "a description: draws that share nothing with it are no null of it",
}


class Draws(NamedTuple):
    """A set of M control subspaces for one subspace."""

    left: Array
    """(M, P, D, R) what is subtracted."""
    right: Array
    """(M, P, D, R) how much of it is read."""
    overlap: float
    """Mean share of a draw that lies in the subspace, of oblique ones in whitened states; NaN where there are none."""
    note: str
    """Why there are no draws, in words; empty where there are."""


class Taken(NamedTuple):
    """The erased subspace, and the change of the states."""

    eraser: Eraser
    """The eraser."""
    left: Array
    """(P, D, R) of it; zeros where nothing is taken out."""
    right: Array
    """(P, D, R) of it."""
    moments: Array
    """(P, D, D) second moments of the change that replaces a state altogether."""
    n: Array
    """(P,) rows that have the positions."""

    @property
    def oblique(self) -> bool:
        """Whether the eraser is not an orthogonal projection."""
        return is_oblique(self.left, self.right)

    def size(self, left: Array, right: Array) -> Array:
        """The (...) mean squared change of the states when (..., P, D, R) subspaces are removed this way."""
        return size_of(left, right, self.moments, self.n)

    @property
    def share(self) -> float:
        """The change as a share of that by replacing the whole states; 0 if nothing changes."""
        whole = np.trace(self.moments, axis1=1, axis2=2) @ self.n / self.n.max(initial=1.0)
        return float(self.size(self.left, self.right) / whole) if whole else 0.0


def is_oblique(left: Array, right: Array) -> bool:
    """Whether ``left right^T``, (P, D, R) each, is not an orthogonal projection at some position."""
    taken = left @ np.swapaxes(right, -1, -2)
    return bool(np.abs(taken - np.swapaxes(taken, -1, -2)).max(initial=0.0) > _SYMMETRIC * np.abs(taken).max(initial=0))


def is_null(name: FamilyName, oblique: bool) -> bool:
    """Whether a family is a null of an eraser, so that there is a p-value."""
    return name == "permuted" or (name == "matched" and oblique)


def drawn_beside(
    name: FamilyName,
    gone: Taken,
    fit: Moments,
    permuted: PermutedFits,
    draws: int,
    seed: int,
    choice: AlphaChoice | None = None,
) -> Draws:
    """Draw the subspaces of a family.

    Args:
        name: The name of the family.
        gone: The erased subspace that they are controls of.
        fit: Moments of the P cells that the eraser was fitted on.
        permuted: Fits on permuted labels of the same cells.
        draws: The number M; at most 20 for a description.
        seed: Seed of the draws.
        choice: Ridge penalties of the fits on permuted labels; those of the bench by default.

    Raises:
        ArithprobeError: If there is no such family.
    """
    require_kind(name, FamilyName, "random family")
    eraser, none = gone.eraser, np.zeros((0, *gone.left.shape))
    count = draws if is_null(name, gone.oblique) else min(draws, DESCRIBED)
    if name != "permuted" and gone.oblique and name != "isotropic":
        return oblique_draws(name, gone, fit, count, seed)
    if name != "permuted":
        basis, note = draw_beside(name, gone.left, gone.right, gone.moments, count, seed, eraser.positions)
        return Draws(basis, basis, overlap_of(basis, gone.left), note)
    if why := permuted.why_not(eraser.target):
        return Draws(none, none, float("nan"), why)
    kind = cast(ErasureKind, eraser.kind)
    pairs = permuted.pairs(eraser.target, kind, count, seed, rank=eraser.rank, choice=choice)
    there = (np.abs(gone.left).sum(axis=(1, 2)) > 0)[:, None, None]
    left, right = pairs.left * there, pairs.right * there
    return Draws(left, right, overlap_of(left, gone.left), "")


def oblique_draws(name: FamilyName, gone: Taken, fit: Moments, draws: int, seed: int) -> Draws:
    """Draw LEACE erasers of random linear functions of the states that change them as much as an oblique eraser.

    LEACE always removes a subspace of the whitened states, so the draw is a subspace there. It is drawn without
    preference, or with a preference for the main or minor directions that is as strong as needed to change the states
    as much or, if all draws change them more, little more.

    Args:
        name: ``matched``, or ``outside``: orthogonal, in whitened states, to the directions read and subtracted.
        gone: The eraser.
        fit: Moments of the P cells that whiten the states.
        draws: The number M.
        seed: Seed of the draws.
    """
    left, right, positions = gone.left, gone.right, gone.eraser.positions
    count, d, width = left.shape
    none = np.zeros((0, count, d, width))
    found, overlaps = (np.zeros((draws, count, d, width)), np.zeros((draws, count, d, width))), list[float]()
    for p, moment in enumerate(gone.moments):
        rank = rank_of(left[p])
        target = float(size_of(left[p : p + 1], right[p : p + 1], moment[None], np.ones(1)))
        if not rank or not target:
            continue
        cell = fit.cell(p)
        n = max(float(cell.n[0]), 1.0)
        roots, vectors = spread_of(cell.centred_gram[0] / n, cell.gram[0, 1:, 1:].trace() / n)
        read, written = roots[:, None] * (vectors.T @ right[p]), (vectors.T @ left[p]) / roots[:, None]
        own, within = orthonormal_basis(written[:, :rank]), np.eye(len(roots))
        if name == "outside":
            taken = orthonormal_basis(np.concatenate([read[:, :rank], written[:, :rank]], axis=1))
            within = np.linalg.svd(taken)[0][:, taken.shape[1] :]
        if within.shape[1] < rank:
            return Draws(none, none, float("nan"), f"{within.shape[1]} dimensions of {positions[p]} are outside of it")
        generator, size = np.random.default_rng([seed, p, rank]), partial(_sizes, roots, vectors, within, moment)
        spread = (within.T * roots**2) @ within
        drawn = matched_subspaces(spread, rank, target, draws, generator, exponent=0.0, size=size)
        if len(drawn.basis) < draws and drawn.nearest > target:  # all change them more: those that do so least
            drawn = matched_subspaces(spread, rank, drawn.nearest, draws, generator, exponent=0.0, size=size)
        if len(drawn.basis) < draws:
            return Draws(none, none, float("nan"), none_match(name, draws, positions[p], drawn, target))
        for side, one in zip(found, unwhitened(roots, vectors, within @ drawn.basis), strict=True):
            side[:, p, :, :rank] = one
        cosines = np.swapaxes(within @ drawn.basis, -1, -2) @ own
        overlaps.append(float(np.square(cosines).sum(axis=(1, 2)).mean()) / own.shape[1])
    return Draws(*found, float(np.mean(overlaps)) if overlaps else float("nan"), "")


def _sizes(roots: Array, vectors: Array, within: Array, moment: Array, basis: Array) -> Array:
    """(n,) what LEACE of (n, d', R) subspaces of whitened states changes."""
    left, right = unwhitened(roots, vectors, within @ basis)
    return size_of(left[:, None], right[:, None], moment[None], np.ones(1))


def family_of(part: Part, name: FamilyName, outputs: Tensor, rmse: float, gone: Taken, draws: Draws) -> RandomFamily:
    """Compare the (M, N, K) outputs under draws with those under the erased subspace.

    Args:
        part: The rows.
        name: The name of the family.
        outputs: (M, N, K) outputs.
        rmse: RMSE under the erased subspace.
        gone: The erased subspace.
        draws: The draws.
    """
    scores, null = part.scores(outputs), is_null(name, gone.oblique)
    least = rmse - ROUNDING * float(part.intact.rmse)  # what costs nothing is not above what costs nothing
    own = float(gone.size(gone.left, gone.right))
    removed = gone.size(draws.left, draws.right) / own if own else np.full(len(outputs), np.nan)
    note = draws.note or _untold(name, draws, removed, gone.share)
    p = permutation_p(torch.tensor(least, dtype=torch.float64), scores.rmse)
    below = 100 * float((scores.rmse < least).double().mean()) if not note else float("nan")
    return RandomFamily(
        name=name,
        delta_rmse=scores.rmse - part.intact.rmse,
        skill_lost=skill_lost(part, scores.skill),
        removed=torch.from_numpy(removed),
        overlap=draws.overlap,
        is_null=null,
        p=float(p) if null and not note else float("nan"),
        percentile=below,
        note=note or ("" if null else _WHY_NOT[name]),
    )


def _untold(name: FamilyName, draws: Draws, removed: Array, share: float) -> str:
    """Why draws cannot be compared with what they stand beside, or empty."""
    if not len(removed) or not np.isfinite(removed).all():
        return "there is nothing to take out"
    chance = draws.left.shape[-1] / draws.left.shape[-2]
    if name != "permuted" and draws.overlap - chance >= _ITSELF * (1 - chance):
        return f"the subspaces drawn are mostly this one itself: they overlap by {draws.overlap:.2g}"
    if name == "permuted" and float(removed.max()) < 1 - TOLERANCE:
        most = share * float(removed.max())
        return f"it displaces {share:.2g} of the variance, more than every fit on permuted labels ({most:.2g} at most)"
    return ""
