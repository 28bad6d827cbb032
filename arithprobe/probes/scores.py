"""The result of probing one target everywhere."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

_PER_CELL = ("r2", "r2_in_sample", "null_mean", "null_high", "n_train", "n_test", "edf")


@dataclass(frozen=True)
class CellScores:
    """Scores of one target at S sites x P positions; every tensor is (S, P) float64 on the CPU."""

    analysis: str
    """The kind of probe, first word of its tags."""
    target: str
    """What was probed for."""
    sites: tuple[str, ...]
    """The S sites, from the embedding up."""
    positions: tuple[str, ...]
    """The P positions."""
    r2: Tensor
    """R2 on held-out groups; NaN where too few rows have the position."""
    r2_in_sample: Tensor
    """R2 on the rows the probe was fitted on; never a result by itself."""
    null_mean: Tensor
    """Mean held-out R2 of the same fit on permuted labels."""
    null_high: Tensor
    """95 % quantile of the same."""
    n_train: Tensor
    """Rows a probe was fitted on."""
    n_test: Tensor
    """Rows it was scored on."""
    edf: Tensor
    """Effective degrees of freedom of the fit."""

    def cells(self) -> Iterator[dict[str, str | float]]:
        """One flat record a cell."""
        for row, site in enumerate(self.sites):
            for column, position in enumerate(self.positions):
                names: dict[str, str | float] = {"target": self.target, "site": site, "position": position}
                yield names | {name: getattr(self, name)[row, column].item() for name in _PER_CELL}
