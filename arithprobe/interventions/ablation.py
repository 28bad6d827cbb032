r"""Ablation: take a subspace out of a state inside the forward pass, and see what the model's own answers lose.

An ablation replaces the part of a state that an eraser takes out: by nothing (``zero``), by its mean over the rows the
eraser was fitted on (``mean``), or by that of another row of the same layout (``resample``). The rest of the model runs
on. Removing any direction costs something, so the effect stands beside that of others of the same rank: which, and
which of these comparisons is a test, :mod:`~arithprobe.interventions.controls` says.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.interventions.kinds import AblationKind, FamilyName
from arithprobe.interventions.part import Cells, Part, Scores
from arithprobe.interventions.random_family import RandomFamily
from arithprobe.linalg import Array

ROUNDING = 1e-6
"""Share of the intact RMSE: costs that differ less are equal."""


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
    displaced: float
    """The same as a share of what replacing the states altogether changes: for ``mean``, the share of their variance.
    Above 1 where an oblique eraser moves them further than that."""
    families: tuple[RandomFamily, ...]
    """What it stands beside."""


class AblationRun(NamedTuple):
    """An ablation, its effect, and the outputs it was read from."""

    effect: AblationEffect
    """What the answers lost."""
    outputs: Tensor
    """(N, K) outputs under it."""
    random: dict[FamilyName, Tensor]
    """(M, N, K) outputs under the draws, by family."""


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


def moved_within(states: Tensor, toward: Tensor, left: Tensor, right: Tensor) -> Cells:
    """Makes states that are moved within M subspaces only.

    Args:
        states: (N, P, D) intact states.
        toward: (N, P, D) from each to what replaces it.
        left: (M, P, D, R) what is added.
        right: (M, P, D, R) how much of the way is read.
    """
    left = left.to(states)
    coordinates = torch.einsum("npd,mpdr->mnpr", toward, right.to(states))

    def moved(edits: slice, rows: slice) -> Tensor:
        return states[rows] + torch.einsum("mnpr,mpdr->mnpd", coordinates[edits, rows], left[edits])

    return moved


def changes_of(toward: Tensor, valid: Tensor) -> tuple[Array, Array]:
    """(P, D, D) mean of ``c c^T``, c a change of a state that is replaced altogether, and (P,) rows of each.

    Args:
        toward: (N, P, D) from each state to what replaces it.
        valid: (N, P) False where a row has no such position.
    """
    toward = torch.where(valid.to(toward.device)[..., None], toward, 0).double()
    n = valid.sum(dim=0).double()
    total = torch.einsum("npd,npe->pde", toward, toward).cpu() / n.clamp(min=1)[:, None, None]
    return total.numpy(), n.numpy()


def skill_lost(part: Part, skill: Tensor) -> Tensor:
    """``(intact skill - skill) / intact skill``; NaN where the model had no skill to lose."""
    if part.behaviour.verdict == "NOT LEARNED":
        return torch.full_like(skill, torch.nan)
    return (part.intact.skill - skill) / part.intact.skill


def effect_of(
    part: Part, kind: AblationKind, scores: Scores, removed: float, displaced: float, families: tuple[RandomFamily, ...]
) -> AblationEffect:
    """What one ablation does, from the (1,) scores under it."""
    intact = part.intact
    return AblationEffect(
        kind=kind, n=len(part), rmse=float(scores.rmse[0]),
        delta_rmse=float(scores.rmse[0] - intact.rmse), delta_loss=float(scores.loss[0] - intact.loss),
        skill=float(scores.skill[0]), skill_lost=float(skill_lost(part, scores.skill[:1])),
        exact_match=float(scores.exact_match[0]),
        delta_exact_match=float(scores.exact_match[0] - intact.exact_match), removed=removed,
        displaced=displaced, families=families,
    )  # fmt: skip


def displaced_by(effect: AblationEffect, family: RandomFamily) -> str:
    """What the draws of a family displace, as :attr:`AblationEffect.displaced`: the least and the most.

    >>> from types import SimpleNamespace as Any
    >>> displaced_by(Any(displaced=0.5), Any(removed=torch.tensor([0.02, 0.5])))
    '0.01 to 0.25'
    """
    if not len(family.removed):
        return "-"
    least, most = (effect.displaced * float(one) for one in (family.removed.min(), family.removed.max()))
    return f"{least:.2g} to {most:.2g}"
