"""Interchange: patching only a subspace of one problem's state into the run of another.

The question is whether the answer becomes the one that arithmetic demands if only that quantity were the other
problem's. The comparisons are the whole state, random subspaces, and the part of the subspace that the rest of the
model cannot see.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.behaviour import difference
from arithprobe.interventions.erasure import Eraser
from arithprobe.interventions.part import Part
from arithprobe.interventions.patching import FEWEST, Recovered, paired_rows, recovered_fraction, whole_state_answers
from arithprobe.probes.metrics import permutation_p
from arithprobe.problems.positions import PositionTable

_ROUNDING = 1e-6  # of the intended shift: swaps that differ less make as much of it
_NULL = 1e-10  # eigenvalue, relative to the largest, below which the rest of the model does not see a direction
_SHARED = 1e-6  # squared cosine below which a subspace has no part in another


class RowSpace(NamedTuple):
    """Directions that the outputs depend on."""

    projector: Tensor
    """(P, D, D) float64 orthogonal projector on them."""
    null_dimensions: int
    """Dimensions of the states that the outputs do not depend on, the fewest of the positions."""


@dataclass(frozen=True)
class Interchange:
    """The effect on the answer of swapping a subspace between two problems."""

    n: int
    """Pairs in which the quantity differs."""
    shift: float
    """Root mean square of the intended shift of the answer, in answer units."""
    recovered: Recovered
    """Share of the intended shift that the answer makes. Its interval is that of the subspace that would be fitted on
    all problems like these, and includes the fit."""
    fit_blocks: int
    """Blocks of the sums fitted on that the interval leaves out in turn; 0: it leaves the fit out of account."""
    exact_match: float
    """Share of answers that are exactly what arithmetic demands; of use where the model is exact."""
    whole_state: float
    """Recovered share when the whole state is swapped, and all else in it too: for the sum and the residue the most
    that a subspace here can be expected to do; for a part of the sum, such as a carry, the rest moves along."""
    whole_state_exact_match: float
    """Share of answers that are exactly as demanded when the whole state is swapped."""
    random: Tensor
    """(M,) recovered share of random subspaces of the same rank."""
    p: float
    """One-sided, against the random subspaces."""
    row_space: float
    """Recovered share of the part of the subspace that the rest of the model sees: about the same as ``recovered``, or
    the swap read from directions that do nothing and wrote to directions that say nothing (Makelov et al. 2024,
    https://arxiv.org/abs/2311.17030)."""
    null_space: float
    """Recovered share of the other part; must be about 0."""
    null_dimensions: int
    """Dimensions of the states that the rest of the model does not see, the fewest of the positions."""


def interchange(
    part: Part,
    eraser: Eraser,
    table: PositionTable,
    donors: Tensor,
    swapped: Tensor,
    swapped_random: Tensor,
    row_space: RowSpace | None = None,
    refitted: Tensor | None = None,
) -> Interchange | None:
    """Score the swap of a subspace between each row and its donor against symbolic answers.

    Args:
        part: Model and rows.
        eraser: The subspace, its site and positions.
        table: (N, P) positions of the rows.
        donors: (N,) row that the subspace comes from, of the same layout.
        swapped: (N, K) outputs under the swap, as resample ablation gives them.
        swapped_random: (M, N, K) the same for random subspaces.
        row_space: The row space of the rest of the model at the site and positions; computed if None.
        refitted: (G, N, K) outputs under the swap of the subspace fitted without each block of the rows to fit on; with
            them, the interval includes the fit.

    Returns:
        The scores, or None if the target does not determine the answer, or the answer would be the same.

    Raises:
        ArithprobeError: If fewer than two rows have a donor.
    """
    demanded = part.dataset.counterfactual(eraser.target, part.rows, part.rows[donors])
    if demanded is None:
        return None
    demanded = part.named(demanded)
    intended = difference(demanded.double(), part.answers.double(), part.circle)
    chosen = paired_rows(donors) & (intended != 0)
    if int(chosen.sum()) < FEWEST:
        return None
    before, group = part.predictions, part.group[chosen]

    def score(answers: Tensor, refits: Tensor | None = None) -> Recovered:
        again = None if refits is None else difference(refits, before, part.circle)[:, chosen]
        return recovered_fraction(difference(answers, before, part.circle)[chosen], intended[chosen], group, again)

    def exact(answers: Tensor) -> float:
        return float((answers.round() == demanded)[chosen].double().mean())

    own, whole = part.answers_of(swapped[None])[0], whole_state_answers(part, eraser.site, table, donors)
    random = torch.tensor([score(one).fraction for one in part.answers_of(swapped_random)], dtype=torch.float64)
    seen = row_space or row_space_of(part, eraser.site, table)
    both = [
        score(_swapped(part, eraser.site, table, donors, *_within(eraser, projector))).fraction
        for projector in (seen.projector, torch.eye(seen.projector.shape[-1]).double() - seen.projector)
    ]
    recovered = score(own, None if refitted is None else part.answers_of(refitted))
    return Interchange(
        n=int(chosen.sum()),
        shift=float(intended[chosen].square().mean().sqrt()),
        recovered=recovered,
        fit_blocks=0 if refitted is None else len(refitted),
        exact_match=exact(own),
        whole_state=score(whole).fraction,
        whole_state_exact_match=exact(whole),
        random=random,
        p=float(permutation_p(torch.tensor(recovered.fraction - _ROUNDING, dtype=torch.float64), random)),
        row_space=both[0],
        null_space=both[1],
        null_dimensions=seen.null_dimensions,
    )


def _swapped(part: Part, site: str, table: PositionTable, donors: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """(N,) answers with a subspace's part of the donor's states."""
    cells = part.cells(site, table)
    left, right = left.to(cells), right.to(cells)
    edited = cells + torch.einsum("npd,pdr,per->npe", cells[donors] - cells, right, left)
    return part.answers_of(part.run(site, table, 1, lambda _, rows: edited[None, rows]))[0]


def _within(eraser: Eraser, projector: Tensor) -> tuple[Tensor, Tensor]:
    """(P, D, R) ``left`` and ``right`` of the part of a projection that lies in a subspace; a projection again."""
    left, right = projector @ eraser.left, projector @ eraser.right
    shared = left.transpose(1, 2) @ right  # the identity where all of it is within, rounding noise where nothing is
    return left, right @ torch.linalg.pinv(shared, atol=_SHARED, rtol=_SHARED)


def row_space_of(part: Part, site: str, table: PositionTable) -> RowSpace:
    """Return the row space of the rest of the model at a site and positions.

    It is computed from the second moment of the gradients of the outputs with respect to the states, over all rows.
    """
    cells = part.cells(site, table)
    total = torch.zeros(cells.shape[1], cells.shape[2], cells.shape[2], dtype=torch.float64)
    for rows in torch.split(torch.arange(len(part)), 128):
        some = slice(int(rows[0]), int(rows[-1]) + 1)
        with torch.inference_mode(False), torch.enable_grad():
            own = cells[some].clone().requires_grad_()
            outputs = part.network.run_from(site, own[None], *part.unedited(table, some))
            for output in outputs.unbind(dim=-1):
                (slope,) = torch.autograd.grad(output.sum(), own, retain_graph=True, materialize_grads=True)
                slope = slope.cpu().double() * table.valid[some, :, None]
                total += torch.einsum("npd,npe->pde", slope, slope)
    values, vectors = torch.linalg.eigh(total)
    kept = values > _NULL * values.amax().clamp(min=1e-300)
    seen = torch.einsum("pdr,pr,per->pde", vectors, kept.double(), vectors)
    return RowSpace(seen, int((~kept).sum(dim=1).min()))
