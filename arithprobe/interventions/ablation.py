r"""Ablation: remove a subspace from a state inside the forward pass, and measure the loss of the model's answers.

An ablation replaces the part of a state that an eraser removes: by nothing (``zero``), by its mean over the rows the
eraser was fitted on (``mean``), or by that of another row of the same layout (``resample``). The rest of the model runs
on. Removing any direction costs something, so the effect is shown beside that of other subspaces of the same rank;
:mod:`~arithprobe.interventions.controls` says which, and which of these comparisons is a test.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.interventions.intervals import margin_of
from arithprobe.interventions.kinds import AblationKind, FamilyName
from arithprobe.interventions.part import Cells, Part, Scores
from arithprobe.interventions.random_family import RandomFamily
from arithprobe.linalg import Array
from arithprobe.probes.splits import blocks_of

ROUNDING = 1e-6
"""Share of the intact RMSE: costs that differ less are equal."""


@dataclass(frozen=True)
class AblationEffect:
    """The effect of one ablation on the model's own answers."""

    kind: AblationKind
    """What the erased part was replaced by."""
    n: int
    """Number of rows scored."""
    rmse: float
    """RMSE under it, in answer units."""
    delta_rmse: float
    """Increase of the RMSE, in answer units."""
    interval: tuple[float, float]
    """95 % interval of the increase, for the subspace that would be fitted on all problems like these."""
    fit_blocks: int
    """Blocks of the sums fitted on that the intervals leave out in turn; 0: they leave the fit out of account."""
    delta_loss: float
    """Increase of the model's own loss."""
    skill: float
    """Skill over the constant under it."""
    skill_lost: float
    """``(intact skill - skill) / intact skill``: 1 is all of it, above 1 worse than the constant. NaN where the model
    had no skill to lose."""
    lost_interval: tuple[float, float]
    """95 % interval of ``skill_lost``."""
    exact_match: float
    """Share of exact answers under it."""
    delta_exact_match: float
    """Change of the share of exact answers."""
    removed: float
    """Mean squared change of the states: the variance removed, for ``mean``."""
    displaced: float
    """The same as a share of what replacing the states altogether changes: for ``mean``, the share of their variance.
    Above 1 where an oblique eraser moves them further than that."""
    families: tuple[RandomFamily, ...]
    """Random subspaces in its place, one entry a way of drawing them."""

    def beside(self, name: FamilyName) -> RandomFamily:
        """Return one of the families that the ablation was compared with."""
        return next(one for one in self.families if one.name == name)

    @property
    def nulls(self) -> tuple[RandomFamily, ...]:
        """The families that serve as its null, fits on permuted labels first."""
        return tuple(sorted((one for one in self.families if one.is_null), key=lambda one: one.name != "permuted"))

    @property
    def null(self) -> RandomFamily | None:
        """Its first null: draws that displace the states as much, or permuted labels; None without a p-value."""
        return next((one for one in reversed(self.nulls) if one.p == one.p), None)


class AblationRun(NamedTuple):
    """An ablation, its effect, and the outputs that show it."""

    effect: AblationEffect
    """What the answers lost."""
    outputs: Tensor
    """(N, K) outputs under it."""
    random: dict[FamilyName, Tensor]
    """(M, N, K) outputs under the draws, by family."""
    refitted: Tensor | None
    """(G, N, K) outputs without the subspace fitted without each block of the rows to fit on; None where it was not."""


def replacement(kind: AblationKind, cells: Tensor, mean: Tensor, donors: Tensor) -> Tensor:
    """Return the (N, P, D) states that replace fully ablated cells.

    Args:
        kind: The kind of ablation.
        cells: (N, P, D) intact states.
        mean: (P, D) their mean, for ``mean``.
        donors: (N,) rows of the cells, for ``resample``.
    """
    if kind == "resample":
        return cells[donors]
    return (mean if kind == "mean" else torch.zeros_like(mean)).expand_as(cells)


def moved_within(states: Tensor, toward: Tensor, left: Tensor, right: Tensor, further: Tensor | None = None) -> Cells:
    """Return a function that makes states moved only within M subspaces.

    Args:
        states: (N, P, D) intact states.
        toward: (N, P, D) from each state to its replacement.
        left: (M, P, D, R) directions along which states are moved.
        right: (M, P, D, R) directions that read how far they are moved.
        further: (M, P, D) further displacement for each subspace.
    """
    left, right = left.to(states), right.to(states)
    coordinates = torch.einsum("npd,mpdr->mnpr", toward, right)
    if further is not None:
        coordinates = coordinates + torch.einsum("mpd,mpdr->mpr", further.to(states), right)[:, None]

    def moved(edits: slice, rows: slice) -> Tensor:
        return states[rows] + torch.einsum("mnpr,mpdr->mnpd", coordinates[edits, rows], left[edits])

    return moved


def changes_of(toward: Tensor, valid: Tensor) -> tuple[Array, Array]:
    """Return the (P, D, D) mean of ``c c^T``, for the change c of a fully replaced state, and the (P,) row counts.

    Args:
        toward: (N, P, D) from each state to its replacement.
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
    part: Part,
    kind: AblationKind,
    outputs: Tensor,
    scores: Scores,
    removed: float,
    displaced: float,
    families: tuple[RandomFamily, ...],
    refitted: Tensor | None,
) -> AblationEffect:
    """Return the effect of an ablation, from its (1, N, K) outputs, their scores, and (G, N, K) outputs of refits."""
    intact = part.intact
    increase, lost = float(scores.rmse[0] - intact.rmse), float(skill_lost(part, scores.skill[:1]))
    margins = _margins(part, outputs, refitted)
    return AblationEffect(
        kind=kind,
        n=len(part),
        rmse=float(scores.rmse[0]),
        delta_rmse=increase,
        interval=(increase - margins[0], increase + margins[0]),
        fit_blocks=0 if refitted is None else len(refitted),
        delta_loss=float(scores.loss[0] - intact.loss),
        skill=float(scores.skill[0]),
        skill_lost=lost,
        lost_interval=(lost - margins[1], lost + margins[1]),
        exact_match=float(scores.exact_match[0]),
        delta_exact_match=float(scores.exact_match[0] - intact.exact_match),
        removed=removed,
        displaced=displaced,
        families=families,
    )


def _margins(part: Part, outputs: Tensor, refitted: Tensor | None) -> tuple[float, float]:
    """Half the widths of the 95 % intervals of the increase of the RMSE and of the share of the skill lost."""
    truth, block = part.answers.double(), blocks_of(part.group)
    every = outputs if refitted is None else torch.cat([outputs, refitted])
    errors = part.squared_errors(torch.cat([part.answers_of(every), part.predictions[None]]))  # (1 + G + 1, N)
    guess = torch.full_like(truth, float(part.guess_error()))
    if not part.turns:
        guess = part.squared_errors(torch.full_like(truth, part.constant)[None])[0]
    errors = torch.cat([errors, guess[None]])
    sums = torch.zeros(len(errors), int(block.max()) + 1, dtype=torch.float64).index_add_(1, block, errors)
    rows = torch.bincount(block)
    left = (sums.sum(dim=1, keepdim=True) - sums) / (len(truth) - rows)  # mean squared errors without each block
    whole = errors.mean(dim=1)

    def effects(own: Tensor, intact: Tensor, constant: Tensor) -> Tensor:
        return torch.stack([own.sqrt() - intact.sqrt(), (own - intact) / (constant - intact)], dim=1)

    again = None if refitted is None else effects(whole[1:-2], whole[-2], whole[-1])
    rise, lost = margin_of(effects(left[0], left[-2], left[-1]), again).tolist()
    return rise, lost


def displaced_by(effect: AblationEffect, family: RandomFamily) -> tuple[float, ...]:
    """The least and most that draws of a family displace, as :attr:`AblationEffect.displaced`; empty without draws.

    >>> from types import SimpleNamespace as Any
    >>> displaced_by(Any(displaced=0.5), Any(removed=torch.tensor([0.25, 0.5])))
    (0.125, 0.25)
    """
    ends = family.removed.double().aminmax() if len(family.removed) else ()
    return tuple(effect.displaced * float(one) for one in ends)
