"""The result of probing one target everywhere."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from arithprobe.probes.interval import FEWEST_GROUPS, ONE_FOLD, TOO_FEW_GROUPS
from arithprobe.probes.metrics import permutation_p

_PER_CELL = (
    "r2",
    "low",
    "high",
    "r2_in_sample",
    "null_mean",
    "null_high",
    "p",
    "n_train",
    "n_test",
    "n_groups",
    "edf",
    "alpha",
    "alpha_at_smallest",
    "alpha_at_largest",
)


@dataclass(frozen=True)
class CellScores:
    """Scores of one target at S sites x P positions; tensors are (S, P) float64 on the CPU unless said otherwise."""

    analysis: str
    """The kind of probe, first word of its tags."""
    target: str
    """Name of the target, such as ``sum``."""
    group: str
    """What the folds keep together: rows with the same value of it."""
    sites: tuple[str, ...]
    """The S sites, from the embedding up."""
    positions: tuple[str, ...]
    """The P positions."""
    r2: Tensor
    """R2 on held-out groups; NaN where too few rows have the position."""
    low: Tensor
    """Lower end of the 95 % interval of what these probes read of fresh groups, see :mod:`arithprobe.probes.interval`;
    NaN where :meth:`no_interval` says why."""
    high: Tensor
    """Upper end."""
    r2_in_sample: Tensor
    """R2 on the rows the probe was fitted on; never a result by itself."""
    skill: Tensor
    """``1 - SSE / SSE of the training rows' mean`` on held-out groups, near R2; what the p-value is about."""
    null: Tensor
    """(S, P, permutations) skill of the same fit on permuted labels; a control has none."""
    n_train: Tensor
    """Rows a probe was fitted on."""
    n_test: Tensor
    """Rows it was scored on."""
    n_groups: Tensor
    """How many groups of equal size the rows are worth, ``N^2 / sum n_g^2``."""
    edf: Tensor
    """Effective degrees of freedom of the fit, mean over splits and columns: near the width of the states where the
    penalty does little, near 0 where it leaves nothing; the intercept not counted."""
    alpha: Tensor
    """The ridge penalty, geometric mean over splits and columns: of ``Ridge`` after ``StandardScaler``, so beside a sum
    of squared errors, for dimensions of unit variance; it weighs half as much among twice as many rows."""
    alpha_at_smallest: Tensor
    """Share of splits and columns in which the smallest of several penalties was chosen: a smaller one might read
    more."""
    alpha_at_largest: Tensor
    """Share in which the largest was: the probe does best to answer the mean."""

    @property
    def null_mean(self) -> Tensor:
        """Mean of the null; NaN without permutations, like the next three."""
        return self.null.mean(dim=-1)

    @property
    def null_low(self) -> Tensor:
        """5 % quantile of the null."""
        return self.null.quantile(0.05, dim=-1) if self.null.shape[-1] else self.null_mean

    @property
    def null_high(self) -> Tensor:
        """95 % quantile of the null."""
        return self.null.quantile(0.95, dim=-1) if self.null.shape[-1] else self.null_mean

    @property
    def p(self) -> Tensor:
        """One-sided permutation p-value."""
        return permutation_p(self.skill, self.null) if self.null.shape[-1] else self.null_mean

    def no_interval(self, row: int, column: int) -> str:
        """The reason why a cell's R2 has no interval; empty if it has one, or has no R2 either."""
        if not math.isnan(self.low[row, column]) or math.isnan(self.r2[row, column]):
            return ""
        return TOO_FEW_GROUPS if self.n_groups[row, column].round() < FEWEST_GROUPS else ONE_FOLD

    def at(self, site: str, position: str = "last") -> dict[str, float]:
        """The scores of one cell, by name."""
        row, column = self.sites.index(site), self.positions.index(position)
        return {name: float(getattr(self, name)[row, column]) for name in _PER_CELL}

    def cells(self) -> Iterator[dict[str, str | float]]:
        """One flat record per cell."""
        by_name = {name: getattr(self, name).tolist() for name in _PER_CELL}
        for row, site in enumerate(self.sites):
            for column, position in enumerate(self.positions):
                names: dict[str, str | float] = {"target": self.target, "site": site, "position": position}
                reason = self.no_interval(row, column)
                why: dict[str, str | float] = {"no_interval": reason} if reason else {}
                yield names | {name: values[row][column] for name, values in by_name.items()} | why
