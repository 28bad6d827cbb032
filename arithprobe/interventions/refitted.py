"""Refits for intervals: the same eraser or pattern, fitted without one block of sums at a time.

They serve intervals that include the fit (:mod:`~arithprobe.interventions.intervals`): at most ten blocks, with one
refit each.
"""

from collections.abc import Sequence
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from arithprobe.interventions.directions import filter_and_pattern
from arithprobe.interventions.erasure import Eraser, fit_erasers
from arithprobe.interventions.kinds import ErasureKind
from arithprobe.probes.moments import AlphaChoice, Moments
from arithprobe.probes.ridge import RidgeFitter
from arithprobe.probes.splits import blocks_of

Weights = tuple[Tensor, Tensor, Tensor]
"""(P, D, K) what a probe reads, (P, K) its intercepts, and (P, D, K) patterns."""


def moments_without_blocks(cells: Tensor, valid: Tensor, labels: Tensor, group: Tensor) -> list[Moments]:
    """Return the moments of P cells over all rows except one block of groups, for each block.

    Args:
        cells: (n, P, D) states to fit on.
        valid: (n, P) False where a row has no such position.
        labels: (n, K) targets.
        group: (n,) labels of the rows, by which they are held out.

    Returns:
        At most ten; none if all rows are in one block.
    """
    block = blocks_of(group)
    count = int(block.max()) + 1
    if count < 2:
        return []
    fitter = RidgeFitter(cells.shape[1], cells.shape[2], labels.shape[1], folds=count)
    parts = fitter.update(cells, labels, block, valid).moments()
    whole = Moments.total(parts)
    return [whole - part for part in parts]


def refit_erasers(eraser: Eraser, parts: Sequence[Moments], choice: AlphaChoice) -> tuple[Eraser, ...]:
    """Fit the same eraser on other moments.

    Args:
        eraser: The eraser to fit again.
        parts: Moments with its target's columns, one for each refit.
        choice: Penalties that it was fitted with.
    """
    again = partial(
        fit_erasers,
        cast("ErasureKind", eraser.kind),
        target=eraser.target,
        site=eraser.site,
        positions=eraser.positions,
        rank=eraser.rank if eraser.kind == "inlp" else None,
        choice=choice,
        checkpoint=eraser.checkpoint,
    )
    return tuple(again(moments) for moments in parts)


def stacked(erasers: Sequence[Eraser]) -> tuple[Tensor, Tensor]:
    """Stack ``left`` and ``right`` of M erasers, (M, P, D, R); those below the largest rank R get columns of zeros."""
    width = max(one.rank for one in erasers)
    left, right = (
        torch.stack([F.pad(getattr(one, side), (0, width - one.rank)) for one in erasers]) for side in ("left", "right")
    )
    return left, right


def patterns_of(moments: Moments, positions: Sequence[int], choice: AlphaChoice) -> Weights:
    """Return a probe's filter and pattern, at some of the cells of some moments."""
    parts = [filter_and_pattern(moments.cell(position), choice) for position in positions]
    slope, intercept, pattern = (torch.from_numpy(np.stack(one)) for one in zip(*parts, strict=True))
    return slope, intercept, pattern
