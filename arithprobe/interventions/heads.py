"""Causal effects of heads: ablating one head, and patching one head's output from another problem.

A head is D / H of the dimensions of the site ``z.l``: what it has read, before it is written to the stream. It is
ablated at every token, or patched at every token or at one, and the rest of the model runs on. In the last layer only
the last token's head output can reach the readout, so only that is edited there.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from arithprobe.behaviour import difference
from arithprobe.interventions.ablation import ROUNDING, replacement, skill_lost
from arithprobe.interventions.kinds import AblationKind, require_kind
from arithprobe.interventions.part import Part, Scores
from arithprobe.interventions.patching import FEWEST, answer_gap, has_partner, paired_rows, recovered_fraction
from arithprobe.linalg import random_subspaces, removed_by
from arithprobe.models.network import HeadedNetwork, require_heads
from arithprobe.probes.metrics import permutation_p
from arithprobe.problems.grammar import LAST_ROLE
from arithprobe.problems.positions import PositionTable

_NOTHING = 1e-12  # of the largest change of a head in the model: no change


@dataclass(frozen=True)
class HeadAblation:
    """The loss of the answers without one head, for L layers of H heads; (L, H) float64 unless said otherwise."""

    kind: AblationKind
    """What takes the place of the head's output: nothing, its mean at that role, or another row's."""
    n: int
    """Number of rows scored."""
    rmse: Tensor
    """RMSE without the head, in answer units."""
    delta_rmse: Tensor
    """Increase of it, 0 where that is rounding; NaN of ``resample`` where no two rows have one layout."""
    delta_loss: Tensor
    """Increase of the model's own loss."""
    skill: Tensor
    """Skill over the constant without it."""
    skill_lost: Tensor
    """Share of the intact skill lost; NaN where the model had none."""
    delta_exact_match: Tensor
    """Change of the share of exact answers."""
    removed: Tensor
    """Squared change of ``z``, summed over the tokens edited, the mean over rows; in the last layer one token is."""
    random: Tensor
    """(L, M) increase of the RMSE when as many random dimensions of ``z.l`` are ablated instead, across heads."""
    random_removed: Tensor
    """(L, M) what these remove: they are matched in rank, not in how much they change."""
    p: Tensor
    """One-sided, against these, head by head; NaN without any, and for a head whose ablation changes nothing."""


@dataclass(frozen=True)
class HeadPatching:
    """The effect of patching one head's output from another problem; (L, H) float64 unless said otherwise."""

    n: int
    """Number of pairs of problems."""
    gap: float
    """Root mean square of the gap between the model's answers to the two, in answer units."""
    recovered: Tensor
    """Share of the gap that comes with the head's output at all tokens."""
    low: Tensor
    """Lower end of its 95 % interval."""
    high: Tensor
    """Upper end."""
    loss_recovered: Tensor
    """Share of the model's own loss against the other problem's answer that is made up for: 1 as in the other
    problem's own run; NaN where the model has not learned, and has no loss to make up for."""
    positions: tuple[str, ...]
    """P roles."""
    n_by_position: tuple[int, ...]
    """Pairs that have each."""
    by_position: Tensor
    """(L, H, P) share of the gap that comes with the head's output at one token; NaN with fewer than two pairs, and 0
    for the tokens of the last layer that the readout cannot see."""


class _Layer(NamedTuple):
    """The ablation of the H heads of one layer."""

    scores: Scores
    removed: Tensor  # (H,)
    random: Tensor  # (M,) increase of the RMSE
    random_removed: Tensor  # (M,)


def ablate_heads(part: Part, kind: AblationKind, donors: Tensor, draws: int = 0, seed: int = 0) -> HeadAblation:
    """Ablate every head of every layer at every token, one head at a time.

    Args:
        part: Model and rows; means are over these same rows, role by role.
        kind: The replacement of the head's output.
        donors: (N,) row whose head outputs replace each row's, of the same layout.
        draws: Random control subspaces for the heads of each layer, the same at all tokens; none for a single head.
        seed: Seed of the random subspaces.

    Raises:
        ArithprobeError: If the kind is unknown.
    """
    require_kind(kind, AblationKind, "ablation")
    draws = draws if _heads_of(part).n_heads > 1 else 0  # as many dimensions as one head has are then all of z
    every = _every_token(part)
    layers = [_ablate_layer(part, layer, every, kind, donors, draws, seed) for layer in range(part.network.n_layers)]
    scores = Scores(*(torch.stack(part) for part in zip(*(one.scores for one in layers), strict=True)))
    removed, random, random_removed = (
        torch.stack([getattr(one, name) for one in layers]) for name in ("removed", "random", "random_removed")
    )
    intact, delta = part.intact, scores.rmse - part.intact.rmse
    delta = torch.where(delta.abs() > ROUNDING * intact.rmse, delta, 0.0)
    if kind == "resample" and int(has_partner(donors).sum()) < FEWEST:
        delta = torch.full_like(delta, torch.nan)  # nothing was put in its place
    p = torch.full_like(delta, torch.nan)
    if draws:
        beside = random[:, None].expand(-1, delta.shape[1], -1)
        against = permutation_p(delta - ROUNDING * float(intact.rmse), beside)  # rounding is no cost
        p = torch.where(removed > _NOTHING * removed.max(), against, p)
    return HeadAblation(
        kind=kind,
        n=len(part),
        rmse=scores.rmse,
        delta_rmse=delta,
        delta_loss=scores.loss - intact.loss,
        skill=scores.skill,
        skill_lost=skill_lost(part, scores.skill),
        delta_exact_match=scores.exact_match - intact.exact_match,
        removed=removed,
        random=random,
        random_removed=random_removed,
        p=p,
    )


def patch_heads(part: Part, donors: Tensor) -> HeadPatching:
    """Patch the output of one head from the donor's run into each row's, at all tokens and at one.

    Args:
        part: Model and rows; the rows are the corrupted problems.
        donors: (N,) the clean problem of each row, of the same layout.

    Raises:
        ArithprobeError: If fewer than two rows have a donor.
    """
    paired, gap = paired_rows(donors), answer_gap(part, donors)
    every, n_layers = _every_token(part), part.network.n_layers
    shape = (n_layers, _heads_of(part).n_heads)
    counts = (every.valid & paired[:, None]).sum(dim=0)
    whole = torch.full((*shape, 4), torch.nan, dtype=torch.float64)
    by_position = torch.zeros(*shape, len(every.names), dtype=torch.float64)
    by_position[..., counts < FEWEST] = torch.nan

    def shares(outputs: Tensor, chosen: Tensor) -> Tensor:
        """(H, 3) recovered shares of (H, N, K) outputs, with their intervals."""
        change = difference(part.answers_of(outputs), part.predictions, part.circle)[:, chosen]
        found = [recovered_fraction(one, gap[chosen], part.group[chosen]) for one in change]
        return torch.tensor(found, dtype=torch.float64)

    for layer in range(n_layers):
        seen = _seen_tokens(part, layer, every)
        outputs = _patched(part, layer, seen, donors)
        whole[layer, :, :3] = shares(outputs, paired)
        whole[layer, :, 3] = _loss_recovered(part, outputs, donors, paired)
        for column in map(every.names.index, seen.names):
            if counts[column] >= FEWEST:
                alone = _patched(part, layer, every.column(column), donors)
                by_position[layer, :, column] = shares(alone, paired & every.valid[:, column])[:, 0]
    return HeadPatching(
        n=int(paired.sum()),
        gap=float(gap[paired].square().mean().sqrt()),
        recovered=whole[..., 0],
        low=whole[..., 1],
        high=whole[..., 2],
        loss_recovered=whole[..., 3],
        positions=every.names,
        n_by_position=tuple(counts.tolist()),
        by_position=by_position,
    )


def _ablate_layer(
    part: Part, layer: int, every: PositionTable, kind: AblationKind, donors: Tensor, draws: int, seed: int
) -> _Layer:
    site, table = f"z.{layer}", _seen_tokens(part, layer, every)
    cells = part.cells(site, table)
    valid = table.valid.to(cells.device)[..., None]
    mean = (cells * valid).sum(dim=0, dtype=torch.float64) / valid.sum(dim=0).clamp(min=1)
    new = replacement(kind, cells, mean.to(cells), donors)
    heads = _head_dimensions(part, site).to(cells.device)
    scores = part.scores(_replaced(part, site, table, cells, new, heads))
    changes = ((new - cells) * valid).flatten(0, 1)  # (N P, D)
    removed = heads.double() @ changes.square().sum(dim=0, dtype=torch.float64) / len(part)
    random = random_removed = torch.zeros(0, dtype=torch.float64)
    if draws:
        basis = random_subspaces(cells.shape[-1], int(heads[0].sum()), draws, np.random.default_rng([seed, layer]))
        random = _random_scores(part, site, table, new - cells, torch.from_numpy(basis)).rmse - part.intact.rmse
        moment = (changes.T @ changes).double().cpu().numpy() / len(part)
        random_removed = torch.from_numpy(removed_by(basis, basis, moment))
    return _Layer(scores, removed.cpu(), random, random_removed)


def _random_scores(part: Part, site: str, table: PositionTable, change: Tensor, basis: Tensor) -> Scores:
    """(M,) scores when the (N, P, D) change is made in (M, D, R) subspaces only."""
    cells, basis = part.cells(site, table), basis.to(change)

    def ablated(edits: slice, rows: slice) -> Tensor:
        read = torch.einsum("npd,mdr->mnpr", change[rows], basis[edits])
        return cells[rows] + torch.einsum("mnpr,mdr->mnpd", read, basis[edits])

    return part.scores(part.run(site, table, len(basis), ablated))


def _patched(part: Part, layer: int, table: PositionTable, donors: Tensor) -> Tensor:
    """(H, N, K) outputs with the donor's output of one head each."""
    site = f"z.{layer}"
    cells = part.cells(site, table)
    return _replaced(part, site, table, cells, cells[donors], _head_dimensions(part, site))


def _replaced(part: Part, site: str, table: PositionTable, cells: Tensor, new: Tensor, dimensions: Tensor) -> Tensor:
    """(M, N, K) outputs with (N, P, D) new states in the (M, D) dimensions of each edit."""
    own = dimensions.to(new.device)[:, None, None]
    return part.run(site, table, len(own), lambda edits, rows: torch.where(own[edits], new[rows], cells[rows]))


def _head_dimensions(part: Part, site: str) -> Tensor:
    """(H, D) which dimensions of ``z`` are whose."""
    heads = _heads_of(part).n_heads
    return torch.eye(heads, dtype=torch.bool).repeat_interleave(part.network.width(site) // heads, dim=1)


def _heads_of(part: Part) -> HeadedNetwork:
    return require_heads(part.network, "ablation and patching of heads")


def _loss_recovered(part: Part, outputs: Tensor, donors: Tensor, chosen: Tensor) -> Tensor:
    """(H,) share of the loss against the donor's answer that (H, N, K) outputs make up for; NaN of no skill."""
    wanted, runs = part.answers[donors][chosen].to(outputs.device), (part.outputs, part.outputs[donors], *outputs)
    before, clean, *patched = (float(part.objective.loss(one[chosen.to(one.device)], wanted)) for one in runs)
    if part.behaviour.verdict == "NOT LEARNED" or before <= clean:
        return torch.full((len(outputs),), torch.nan, dtype=torch.float64)
    return torch.tensor([(before - one) / (before - clean) for one in patched], dtype=torch.float64)


def _every_token(part: Part) -> PositionTable:
    """(N, P) every role of the rows."""
    return part.at(part.dataset.positions(["all"]))


def _seen_tokens(part: Part, layer: int, every: PositionTable) -> PositionTable:
    """The tokens whose head outputs the readout can see: all, and in the last layer the last."""
    last_layer = layer == part.network.n_layers - 1
    return every.column(every.names.index(LAST_ROLE)) if last_layer else every
