"""Heads as causes: what the model's own answers lose without one head, and what one head brings from another problem.

A head is D / H of the dimensions of the site ``z.l``, what it read before it is written to the stream. It is ablated
at every token, or patched at every token or at one, and the rest of the model runs on. In the last layer only the last
token's head output can reach the readout, so only it is edited there.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from arithprobe.interventions.ablation import replacement, skill_lost
from arithprobe.interventions.kinds import AblationKind, require_kind
from arithprobe.interventions.patching import FEWEST, answer_gap, paired_rows, recovered_fraction
from arithprobe.interventions.workbench import Workbench
from arithprobe.linalg import random_subspaces
from arithprobe.probes.metrics import permutation_p
from arithprobe.probes.positions import PositionTable, position_table

_ROUNDING = 1e-6  # of the intact RMSE: costs that differ less are equal; squared, of the largest change: none


@dataclass(frozen=True)
class HeadAblation:
    """What the answers lose without one head, for L layers of H heads; (L, H) float64 where not said otherwise."""

    kind: AblationKind
    """What takes the place of the head's output: nothing, its mean at that role, or another row's."""
    n: int
    """Rows."""
    rmse: Tensor
    """RMSE without the head, in answer units."""
    delta_rmse: Tensor
    """Increase of it."""
    delta_loss: Tensor
    """Increase of the model's own loss."""
    skill: Tensor
    """Skill over the constant without it."""
    skill_lost: Tensor
    """Share of the intact skill lost; NaN where the model had none."""
    delta_exact_match: Tensor
    """Change of the share of exact answers."""
    removed: Tensor
    """Mean squared change of ``z``, over all tokens edited of a row."""
    random: Tensor
    """(L, M) increase of the RMSE when as many random dimensions of ``z.l`` are ablated instead, across heads."""
    p: Tensor
    """One-sided, against these; NaN without any, and for a head whose ablation changes nothing."""


@dataclass(frozen=True)
class HeadPatching:
    """What one head's output brings from another problem; (L, H) float64 where not said otherwise."""

    n: int
    """Pairs of problems."""
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


def ablate_heads(bench: Workbench, kind: AblationKind, donors: Tensor, draws: int = 0, seed: int = 0) -> HeadAblation:
    """Ablate every head of every layer at every token, one head at a time.

    Args:
        bench: Model and rows; means are over these rows, role by role.
        kind: What takes the place of the head's output.
        donors: (N,) row whose head outputs replace each row's, of the same layout.
        draws: Random subspaces beside the heads of each layer, the same at all tokens; none beside a single head.
        seed: Seed of these.

    Raises:
        ArithprobeError: If the kind is unknown.
    """
    require_kind(kind, AblationKind, "ablation")
    draws = draws if bench.model.sizes["n_heads"] > 1 else 0  # as many dimensions as one head has are then all of z
    layers = [_ablate_layer(bench, layer, kind, donors, draws, seed) for layer in range(len(bench.model.enc.blocks))]
    rmse, loss, skill, exact, removed, random = (torch.stack(part) for part in zip(*layers, strict=True))
    intact = bench.intact
    least = _ROUNDING * float(intact.rmse)
    delta = rmse - intact.rmse
    p = torch.full_like(delta, torch.nan)
    if draws:
        beside = random[:, None].expand(-1, delta.shape[1], -1)
        changed = removed > _ROUNDING**2 * removed.max()
        p = torch.where(changed, permutation_p(delta - least, beside), p)
    return HeadAblation(
        kind=kind, n=len(bench), rmse=rmse, delta_rmse=delta, delta_loss=loss - intact.loss, skill=skill,
        skill_lost=skill_lost(bench, skill), delta_exact_match=exact - intact.exact_match, removed=removed,
        random=random, p=p,
    )  # fmt: skip


def patch_heads(bench: Workbench, donors: Tensor) -> HeadPatching:
    """Put the output of one head in the donor's run into each row's, at all tokens and at one.

    Args:
        bench: Model and rows; the rows are the corrupted problems.
        donors: (N,) the clean problem of each row, of the same layout.

    Raises:
        ArithprobeError: If fewer than two rows have a donor.
    """
    paired = paired_rows(donors)
    model, before = bench.model, bench.predictions
    gap, group = answer_gap(bench, donors), bench.x + bench.y
    every = _every_token(bench)
    shape = len(model.enc.blocks), model.sizes["n_heads"]
    figures = torch.full((3, *shape), torch.nan, dtype=torch.float64)
    own_loss = torch.full(shape, torch.nan, dtype=torch.float64)
    by_position = torch.zeros(*shape, len(every.names), dtype=torch.float64)
    counts = (every.valid & paired[:, None]).sum(dim=0)
    by_position[..., counts < FEWEST] = torch.nan

    def shares(answers: Tensor, chosen: Tensor) -> Tensor:
        """(H, 3) recovered shares of (H, N) answers, with their intervals."""
        found = [recovered_fraction((one - before)[chosen], gap[chosen], group[chosen]) for one in answers]
        return torch.tensor(found, dtype=torch.float64)

    for layer in range(shape[0]):
        outputs = _patched(bench, layer, _seen_tokens(bench, layer), donors)
        figures[:, layer] = shares(bench.answers_of(outputs), paired).T
        own_loss[layer] = _loss_recovered(bench, outputs, donors, paired)
        seen = range(len(every.names)) if layer < shape[0] - 1 else [every.names.index("query")]
        for column in seen:
            chosen = paired & every.valid[:, column]
            if int(chosen.sum()) >= FEWEST:
                answers = bench.answers_of(_patched(bench, layer, _column(every, column), donors))
                by_position[layer, :, column] = shares(answers, chosen)[:, 0]
    return HeadPatching(
        n=int(paired.sum()), gap=float(gap[paired].square().mean().sqrt()), recovered=figures[0], low=figures[1],
        high=figures[2], loss_recovered=own_loss, positions=every.names, n_by_position=tuple(counts.tolist()),
        by_position=by_position,
    )  # fmt: skip


def _ablate_layer(
    bench: Workbench, layer: int, kind: AblationKind, donors: Tensor, draws: int, seed: int
) -> tuple[Tensor, ...]:
    """(H,) RMSE, loss, skill, exact matches and what is removed; (M,) increase of the RMSE under random subspaces."""
    site, table = f"z.{layer}", _seen_tokens(bench, layer)
    cells, valid = bench.cells(site, table), table.valid.to(bench.states[site].device)[..., None]
    mean = (cells * valid).sum(dim=0, dtype=torch.float64) / valid.sum(dim=0).clamp(min=1)
    new = replacement(kind, cells, mean.to(cells), donors)
    heads = _head_dimensions(bench).to(cells.device)
    scores = bench.scores(_replaced(bench, site, table, new, heads))
    changes = ((new - cells) * valid).square().sum(dim=1, dtype=torch.float64).mean(dim=0)  # (D,)
    removed = (heads.double() @ changes).cpu()
    random = torch.zeros(0, dtype=torch.float64)
    if draws:
        width = int(heads[0].sum())
        basis = random_subspaces(bench.model.d_model, width, draws, np.random.default_rng([seed, layer]))
        spans = torch.from_numpy(basis).to(cells)  # (M, D, D / H)

        def ablated(edits: slice, rows: slice) -> Tensor:
            read = torch.einsum("npd,mdr->mnpr", new[rows] - cells[rows], spans[edits])
            return cells[rows] + torch.einsum("mnpr,mdr->mnpd", read, spans[edits])

        random = bench.scores(bench.run(site, table, draws, ablated)).rmse - bench.intact.rmse
    return scores.rmse, scores.loss, scores.skill, scores.exact_match, removed, random


def _patched(bench: Workbench, layer: int, table: PositionTable, donors: Tensor) -> Tensor:
    """(H, N, K) outputs with the donor's output of one head each."""
    new = bench.cells(f"z.{layer}", table)[donors]
    return _replaced(bench, f"z.{layer}", table, new, _head_dimensions(bench))


def _replaced(bench: Workbench, site: str, table: PositionTable, new: Tensor, dimensions: Tensor) -> Tensor:
    """(M, N, K) outputs with (N, P, D) new states in the (M, D) dimensions of each edit."""
    cells, own = bench.cells(site, table), dimensions.to(new.device)[:, None, None]
    return bench.run(site, table, len(own), lambda edits, rows: torch.where(own[edits], new[rows], cells[rows]))


def _head_dimensions(bench: Workbench) -> Tensor:
    """(H, D) which dimensions of ``z`` are whose."""
    heads = bench.model.sizes["n_heads"]
    return torch.eye(heads, dtype=torch.bool).repeat_interleave(bench.model.d_model // heads, dim=1)


def _loss_recovered(bench: Workbench, outputs: Tensor, donors: Tensor, chosen: Tensor) -> Tensor:
    """(H,) share of the loss against the donor's answer that (H, N, K) outputs make up for; NaN of no skill."""
    wanted = bench.answers[donors][chosen].to(outputs.device)

    def loss(found: Tensor) -> float:
        return float(bench.objective.loss(found[chosen.to(found.device)], wanted))

    before, clean = loss(bench.outputs), loss(bench.outputs[donors])
    if bench.behaviour.verdict == "NOT LEARNED" or before <= clean:
        return torch.full((len(outputs),), torch.nan, dtype=torch.float64)
    return torch.tensor([(before - loss(one)) / (before - clean) for one in outputs], dtype=torch.float64)


def _every_token(bench: Workbench) -> PositionTable:
    """(N, P) every role of the rows."""
    rows = bench.dataset
    return bench.at(position_table(["all"], rows.lengths, rows.layout, rows.layouts))


def _seen_tokens(bench: Workbench, layer: int) -> PositionTable:
    """The tokens whose head outputs the readout can see: all, and in the last layer the last."""
    every = _every_token(bench)
    last_layer = layer == len(bench.model.enc.blocks) - 1
    return _column(every, every.names.index("query")) if last_layer else every


def _column(table: PositionTable, column: int) -> PositionTable:
    """One position of a table."""
    return PositionTable((table.names[column],), table.token[:, [column]], table.valid[:, [column]])
