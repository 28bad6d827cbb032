r"""Ablation: take a subspace out of a state inside the forward pass, and see what the model's own answers lose.

An ablation replaces the part of a state that an eraser takes out: by nothing (``zero``), by its mean over the rows the
eraser was fitted on (``mean``), or by that of another row of the same layout (``resample``). The rest of the model runs
on. Removing any direction costs something, so the effect stands beside that of random subspaces of the same rank, in
three families: ``isotropic``, drawn without preference, ``matched``, drawn by the spread of the states and changing
them as much as the subspace does, within 10 % (:func:`~arithprobe.linalg.matched_subspaces`), and ``outside``, the same
among directions orthogonal to all that the eraser reads and writes. Where nothing random changes them as much, or only
the subspace itself does, there is nothing to compare with, and no p-value.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError
from arithprobe.interventions.erasure import Eraser
from arithprobe.interventions.kinds import AblationKind, FamilyName, require_kind
from arithprobe.interventions.random_family import RandomFamily, draw_beside, overlap_of, size_of
from arithprobe.interventions.workbench import Scores, Workbench
from arithprobe.linalg import Array
from arithprobe.probes.metrics import permutation_p
from arithprobe.probes.moments import Moments
from arithprobe.probes.positions import PositionTable

ROUNDING = 1e-6
"""Share of the intact RMSE: costs that differ less are equal."""
_ITSELF = 0.5  # overlap beyond chance, of all there can be, from which draws are mostly what they stand beside


@dataclass(frozen=True)
class AblationEffect:
    """What one ablation does to the model's own answers."""

    kind: AblationKind
    """What the erased part was replaced by."""
    n: int
    """Rows."""
    rmse: float
    """RMSE under it, in answer units."""
    delta_rmse: float
    """Increase of it."""
    delta_loss: float
    """Increase of the model's own loss."""
    skill: float
    """Skill over the constant under it."""
    skill_lost: float
    """``(intact skill - skill) / intact skill``: 1 is all of it, above 1 worse than the constant. NaN where the model
    had no skill to lose."""
    exact_match: float
    """Share of exact answers under it."""
    delta_exact_match: float
    """Change of it."""
    removed: float
    """Mean squared change of the states: the variance removed, for ``mean``."""
    families: tuple[RandomFamily, ...]
    """Random subspaces beside it."""


class AblationRun(NamedTuple):
    """An ablation, its effect, and the outputs it was read from."""

    effect: AblationEffect
    """What the answers lost."""
    outputs: Tensor
    """(N, K) outputs under it."""
    random: dict[FamilyName, Tensor]
    """(M, N, K) outputs under the random subspaces, by family."""


class Ablator:
    """Ablates one site and set of positions of a workbench, by erasers and random subspaces.

    Args:
        bench: Model and rows.
        site: The site.
        table: (N, P) positions of these rows.
        moments: Of the P cells, over the rows that means and covariances come from; other rows than the bench's, best.
        donors: (N,) row of the bench whose states replace each row's, see
            :func:`~arithprobe.interventions.patching.same_layout_donors`.

    Raises:
        ArithprobeError: If there are fewer than two examples on either side.
    """

    def __init__(self, bench: Workbench, site: str, table: PositionTable, moments: Moments, donors: Tensor) -> None:
        self.bench, self.site, self.table, self.moments, self.donors = bench, site, table, moments, donors
        where = f"{site}@{'+'.join(table.names) if len(table.names) < 4 else f'{len(table.names)} positions'}"
        self._filled = torch.from_numpy(moments.n >= 2) & (table.valid.sum(dim=0) >= 2)
        if not bool(self._filled.any()):
            raise ArithprobeError(
                f"{where}: {int(moments.n.max())} rows to fit on and {int(table.valid.sum(dim=0).max())} to ablate; "
                "mean and resample ablation need two or more of each"
            )
        self.cells = bench.cells(site, table)
        self._mean = torch.from_numpy(moments.mean_states).to(self.cells)
        self._isotropic: dict[str, Tensor] = {}

    def outputs(self, kind: AblationKind, left: Tensor, right: Tensor, mean: Tensor | None = None) -> Tensor:
        """(M, N, K) outputs with the subspaces ``left``, ``right`` (M, P, D, R) ablated.

        The (P, D) mean is that of the moments, if not given.
        """
        cells, left, right = self.cells, left.to(self.cells), right.to(self.cells)
        coordinates = torch.einsum("npd,mpdr->mnpr", self._toward(kind, mean), right)

        def ablated(edits: slice, rows: slice) -> Tensor:
            return cells[rows] + torch.einsum("mnpr,mpdr->mnpd", coordinates[edits, rows], left[edits])

        return self.bench.run(self.site, self.table, len(left), ablated)

    def without(self, erasers: Sequence[Eraser]) -> Tensor:
        """(M, N, K) outputs without each of M subspaces, their part replaced by its mean."""
        width = max(one.rank for one in erasers)
        left, right = (
            torch.stack([torch.nn.functional.pad(getattr(one, side), (0, width - one.rank)) for one in erasers])
            for side in ("left", "right")
        )
        return self.outputs("mean", left, right)

    def effect(
        self, eraser: Eraser, kind: AblationKind, families: Sequence[FamilyName], draws: int, seed: int
    ) -> AblationRun:
        """One ablation, beside random subspaces.

        Raises:
            ArithprobeError: If the kind or a family is unknown, or the eraser is for other states.
        """
        require_kind(kind, AblationKind, "ablation")
        eraser.require_width(self.cells)
        left, right = eraser.left.numpy() * self._kept(), eraser.right.numpy() * self._kept()
        spread = self._changes(kind, eraser.mean)
        own = self.outputs(kind, torch.from_numpy(left)[None], torch.from_numpy(right)[None], eraser.mean)
        scores, size = self.bench.scores(own), float(size_of(left, right, *spread))
        outputs, found = {}, []
        for name in families:
            basis, note = draw_beside(name, left, right, spread[0], draws, seed, self.table.names)
            outputs[name] = self._random_outputs(name, kind, basis, eraser.mean)
            removed = size_of(basis, basis, *spread) / size if size else np.full(len(basis), np.nan)
            rmse, overlap = float(scores.rmse[0]), overlap_of(basis, left)
            found.append(self._family(name, outputs[name], rmse, removed, overlap, left.shape[-1], note))
        return AblationRun(self._effect(kind, scores, size, tuple(found)), own[0], outputs)

    def _random_outputs(self, name: FamilyName, kind: AblationKind, basis: Array, mean: Tensor) -> Tensor:
        """(M, N, K) outputs; those of isotropic subspaces are kept, they do not depend on what they stand beside."""
        bases = torch.from_numpy(basis)
        if name != "isotropic":
            return self.outputs(kind, bases, bases, mean)
        content = kind.encode() + basis.tobytes() + (mean.numpy().tobytes() if kind == "mean" else b"")
        key = hashlib.sha256(content).hexdigest()
        if key not in self._isotropic:
            self._isotropic[key] = self.outputs(kind, bases, bases, mean)
        return self._isotropic[key]

    def _kept(self) -> Array:
        """(P, 1, 1) 1 at the positions that have enough rows; nothing is ablated at the others."""
        return self._filled.double().numpy()[:, None, None]

    def _toward(self, kind: AblationKind, mean: Tensor | None) -> Tensor:
        """(N, P, D) from each state to what replaces it."""
        mean = self._mean if mean is None else mean.to(self._mean)
        return replacement(kind, self.cells, mean, self.donors) - self.cells

    def _changes(self, kind: AblationKind, mean: Tensor) -> tuple[Array, Array]:
        """(P, D, D) mean of ``c c^T``, c the change of a state that is replaced altogether, and (P,) rows of each."""
        toward = torch.where(self.table.valid.to(self.cells.device)[..., None], self._toward(kind, mean), 0).double()
        n = self.table.valid.sum(dim=0).double()
        total = torch.einsum("npd,npe->pde", toward, toward).cpu() / n.clamp(min=1)[:, None, None]
        return total.numpy(), n.numpy()

    def _family(
        self, name: FamilyName, outputs: Tensor, own: float, removed: Array, overlap: float, rank: int, note: str
    ) -> RandomFamily:
        scores = self.bench.scores(outputs)
        comparable = len(outputs) > 0 and bool(np.isfinite(removed).all())
        chance = rank / self.cells.shape[-1]
        if comparable and overlap - chance >= _ITSELF * (1 - chance):
            comparable, note = False, f"the subspaces drawn are mostly this one itself: they overlap by {overlap:.2g}"
        least = own - ROUNDING * float(self.bench.intact.rmse)  # what costs nothing is not above what costs nothing
        p = permutation_p(torch.tensor(least, dtype=torch.float64), scores.rmse)
        return RandomFamily(
            name=name, delta_rmse=scores.rmse - self.bench.intact.rmse, skill_lost=skill_lost(self.bench, scores.skill),
            removed=torch.from_numpy(removed), overlap=overlap, p=float(p) if comparable else float("nan"),
            percentile=100 * float((scores.rmse < least).double().mean()) if comparable else float("nan"),
            note=note or ("" if comparable else "there is nothing to take out"),
        )  # fmt: skip

    def _effect(
        self, kind: AblationKind, scores: Scores, removed: float, families: tuple[RandomFamily, ...]
    ) -> AblationEffect:
        intact = self.bench.intact
        return AblationEffect(
            kind=kind, n=len(self.bench), rmse=float(scores.rmse[0]),
            delta_rmse=float(scores.rmse[0] - intact.rmse), delta_loss=float(scores.loss[0] - intact.loss),
            skill=float(scores.skill[0]), skill_lost=float(skill_lost(self.bench, scores.skill[:1])),
            exact_match=float(scores.exact_match[0]),
            delta_exact_match=float(scores.exact_match[0] - intact.exact_match), removed=removed,
            families=families,
        )  # fmt: skip


def replacement(kind: AblationKind, cells: Tensor, mean: Tensor, donors: Tensor) -> Tensor:
    """(N, P, D) states that take the place of cells that are ablated altogether.

    Args:
        kind: How.
        cells: (N, P, D) intact states.
        mean: (P, D) their mean, for ``mean``.
        donors: (N,) rows of the cells, for ``resample``.
    """
    if kind == "resample":
        return cells[donors]
    return (mean if kind == "mean" else torch.zeros_like(mean)).expand_as(cells)


def skill_lost(bench: Workbench, skill: Tensor) -> Tensor:
    """``(intact skill - skill) / intact skill``; NaN where the model had no skill to lose."""
    if bench.behaviour.verdict == "NOT LEARNED":
        return torch.full_like(skill, torch.nan)
    return (bench.intact.skill - skill) / bench.intact.skill
