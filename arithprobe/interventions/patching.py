"""Activation patching: putting the state of one problem into the run of another, clean into corrupted.

It measures how much of the gap between the two answers the whole state of one cell carries. The two problems always
have the same layout, so that every position means the same in both. Recovered fractions are slopes through the origin,
``sum(d g) / sum(g^2)``, with d the change of an answer and g the gap, so that pairs with a small gap do not blow them
up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from arithprobe.behaviour import difference
from arithprobe.errors import ArithprobeError
from arithprobe.interventions.intervals import margin_of
from arithprobe.interventions.part import Part
from arithprobe.probes.splits import blocks_of
from arithprobe.problems.positions import PositionTable

Labels = npt.NDArray[np.int64]
FEWEST = 2
"""Pairs without which nothing can be said."""
_ROUNDING = 1e-6  # of the largest answer: answers that differ less are equal


class Recovered(NamedTuple):
    """A slope through the origin with its 95 % interval, see :mod:`~arithprobe.interventions.intervals`.

    The interval is over blocks of base sums and, if something was fitted, of the sums fitted on.
    """

    fraction: float
    """The slope: 1 where all of what was asked for comes."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""


@dataclass(frozen=True)
class PatchingMap:
    """The share of the answer gap that the state of one cell carries, for every site and position."""

    sites: tuple[str, ...]
    """S sites."""
    positions: tuple[str, ...]
    """P positions."""
    recovered: Tensor
    """(S, P) recovered fraction of the gap between the model's answers to the two problems."""
    low: Tensor
    """(S, P) lower end of its interval."""
    high: Tensor
    """(S, P) upper end."""
    n: tuple[int, ...]
    """Pairs that have each position."""
    gap: float
    """Root mean square of the gap, in answer units."""


def same_layout_donors(part: Part, seed: int) -> Tensor:
    """Draw for each row another row of the same layout, (N,); a row that is alone has itself.

    Every row is the donor of one row. If possible, the two have different sums in one block of sums: an interval that
    leaves blocks out then leaves out whole pairs, since a donor varies between samples as much as the row does.
    """
    layout, group = part.dataset.layout[part.rows].numpy(), part.group.numpy()
    kind, generator = _among(layout, blocks_of(part.group).numpy(), group), np.random.default_rng(seed)
    order = generator.permutation(len(layout))
    order = order[np.argsort(kind[order], kind="stable")]
    donors = np.empty_like(order)
    for rows in np.split(order, np.flatnonzero(np.diff(kind[order])) + 1):
        _, number, counts = np.unique(group[rows], return_inverse=True, return_counts=True)
        by_sum = rows[np.argsort(generator.permutation(len(counts))[number], kind="stable")]
        donors[by_sum] = np.roll(by_sum, counts.max() if len(counts) > 1 else 1)
    return torch.from_numpy(donors)


def _among(layout: Labels, block: Labels, group: Labels) -> Labels:
    """(N,) what rows are paired within: a layout and block; or the rest of a layout, of blocks of one sum or row."""
    sums = np.bincount(np.unique(np.stack([group, block]), axis=1)[1], minlength=int(block.max()) + 1)
    every = int(block.max()) + 2
    kind = layout * every + np.where(sums[block] > 1, block, every - 1)
    kind = np.where(_alone(kind), layout * every + every - 1, kind)
    for row in np.flatnonzero(_alone(kind)):  # one a layout at most: with any others of it
        others = np.flatnonzero((layout == layout[row]) & (kind != kind[row]))
        kind[row] = kind[others[0]] if len(others) else kind[row]
    return kind


def _alone(labels: Labels) -> npt.NDArray[np.bool_]:
    """(N,) whether no other row has the label."""
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    alone: npt.NDArray[np.bool_] = counts[inverse] == 1
    return alone


def patching_map(part: Part, sites: Sequence[str], table: PositionTable, donors: Tensor) -> PatchingMap:
    """Patch the donor's whole state into every row, one cell at a time.

    Args:
        part: Model and rows; the rows are the corrupted problems.
        sites: The S sites.
        table: (N, P) positions of the rows.
        donors: (N,) the clean problem of each row, of the same layout.

    Raises:
        ArithprobeError: If fewer than two rows have a donor.
    """
    paired = paired_rows(donors)
    before, gap = part.predictions, answer_gap(part, donors)
    found = torch.full((3, len(sites), len(table.names)), torch.nan, dtype=torch.float64)
    for row, site in enumerate(sites):
        for column in range(len(table.names)):
            one = table.column(column)
            chosen = paired & one.valid[:, 0]
            if int(chosen.sum()) < FEWEST:
                continue
            after = whole_state_answers(part, site, one, donors)
            change = difference(after, before, part.circle)
            fractions = recovered_fraction(change[chosen], gap[chosen], part.group[chosen])
            found[:, row, column] = torch.tensor(fractions, dtype=torch.float64)
    counts = tuple((table.valid & paired[:, None]).sum(dim=0).tolist())
    recovered, low, high = found
    return PatchingMap(
        tuple(sites), table.names, recovered, low, high, counts, float(gap[paired].square().mean().sqrt())
    )


def answer_gap(part: Part, donors: Tensor) -> Tensor:
    """The (N,) answers of each row's donor minus its own; 0 for rounding noise, as in a constant model."""
    before = part.predictions
    gap = difference(before[donors], before, part.circle)
    return torch.where(gap.abs() > _ROUNDING * before.abs().max(), gap, 0.0)


def whole_state_answers(part: Part, site: str, table: PositionTable, donors: Tensor) -> Tensor:
    """Return the (N,) answers with the donor's states at all positions of the table."""
    source = part.cells(site, table)[donors]
    return part.answers_of(part.run(site, table, 1, lambda _, rows: source[None, rows]))[0]


def has_partner(donors: Tensor) -> Tensor:
    """Whether each row has a donor other than itself, (N,)."""
    return donors != torch.arange(len(donors))


def paired_rows(donors: Tensor) -> Tensor:
    """Whether each row has a donor other than itself, (N,); at least two must have one.

    Raises:
        ArithprobeError: If fewer than two have one.
    """
    paired = has_partner(donors)
    if int(paired.sum()) < FEWEST:
        raise ArithprobeError(
            f"{len(donors)} rows, and {int(paired.sum())} of them have another of the same layout; patching needs two "
            "or more"
        )
    return paired


def recovered_fraction(change: Tensor, gap: Tensor, group: Tensor, refitted: Tensor | None = None) -> Recovered:
    """Return the slope through the origin of a change on a gap, with its interval.

    Args:
        change: (N,) changes of the answers.
        gap: (N,) gaps that the changes are compared with.
        group: (N,) labels of the rows, for the interval.
        refitted: (G, N) changes by fits without each block of the rows to fit on; None if nothing was fitted.
    """
    block = blocks_of(group)
    products = torch.zeros(2, int(block.max()) + 1, dtype=torch.float64)
    for row, values in enumerate((change * gap, gap * gap)):
        products[row].index_add_(0, block, values)
    total = products.sum(dim=1)
    slope = float(total[0] / total[1]) if total[1] > 0 else float("nan")
    left = total[:, None] - products
    known = left.shape[1] > 1 and bool((left[1] > 0).all())
    others = None if refitted is None else (refitted * gap).sum(dim=1) / total[1]
    margin = float(margin_of(left[0] / left[1], others)) if known else float("nan")
    return Recovered(slope, slope - margin, slope + margin)
