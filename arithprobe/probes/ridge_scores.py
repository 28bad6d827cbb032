"""The errors of ridge probes, from which every score is computed."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from arithprobe.probes.fold_pairs import fold_pairs
from arithprobe.probes.moments import AlphaChoice, Array, Moments


@dataclass(frozen=True)
class RidgeScores:
    """Held-out and training errors of C cells for K targets, over the folds held out."""

    errors: Tensor
    """(F, C, K) squared errors on each held-out fold; NaN where a cell's states overflow."""
    n_test: Tensor
    """(F, C) rows of each."""
    sums: Tensor
    """(F, C, K) sums of their targets."""
    squares: Tensor
    """(F, C, K) sums of their squared targets."""
    errors_in_sample: Tensor
    """(F, C, K) squared errors on the rows that each fit saw."""
    spread_in_sample: Tensor
    """(F, C, K) sums of squared deviations of their targets from the mean."""
    n_train: Tensor
    """(F, C) rows that each fit saw."""
    mean_train: Tensor
    """(F, C, K) mean of their targets: what a probe that finds nothing answers."""
    alpha: Tensor
    """(F, C, K) the penalty chosen."""
    edf: Tensor
    """(F, C, K) effective degrees of freedom of each fit, the intercept not counted."""
    pairs: Tensor
    """(F, C, F, K') how far each fold's errors move with each other fold, see :mod:`arithprobe.probes.fold_pairs`; of
    the columns, the first of all, that get an interval. (F, C, 1, K') where folds were scored apart."""
    cost: str
    """What it took, in words."""


def joined(parts: Sequence[RidgeScores]) -> RidgeScores:
    """Scores of some folds held out, from those of each."""
    names = [field.name for field in fields(RidgeScores) if field.name != "cost"]
    found = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    return RidgeScores(**found, cost="; ".join(part.cost for part in parts))


def scored_cells(
    folds: list[Moments], choice: AlphaChoice, held_out: Sequence[int], paired: int | None = None
) -> dict[str, Array]:
    """The fields of :class:`RidgeScores`, but for the cost, of some cells.

    Args:
        folds: The moments of each fold.
        choice: The penalties, and how one is chosen.
        held_out: Numbers of the folds to hold out in turn.
        paired: Columns, the first of all, that get an interval; all of them by default.
    """
    total = Moments.total(folds)
    rows: list[dict[str, Array]] = []
    for index in held_out:
        test = folds[index]
        path, alpha = choice.fit(total - test, folds[:index] + folds[index + 1 :])
        train, (slope, intercept) = path.train, path.weights(alpha)
        read = slope[..., :paired], intercept[:, :paired]
        rows.append(
            {
                "errors": test.errors(slope, intercept),
                "n_test": test.n,
                "sums": test.cross[:, 0],
                "squares": test.squares,
                "errors_in_sample": path.errors(alpha),
                "spread_in_sample": train.spread,
                "n_train": train.n,
                "mean_train": train.mean_targets,
                "alpha": alpha,
                "edf": path.edf(alpha),
                "pairs": fold_pairs(path, alpha[:, :paired], read, folds, index, held_out),
            }
        )
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
