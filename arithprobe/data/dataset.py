"""Pre-encoded problems as tensors; a batch is one tensor index, never a Python loop over rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from arithprobe.data.tsv import TsvTable, read_tsv
from arithprobe.problems import Layout
from arithprobe.tokenizer import VOCABULARY


class Batch(NamedTuple):
    """B problems."""

    ids: Tensor
    """(B, T) int64 token ids, padded right with 0 to the data set's longest problem."""
    lengths: Tensor
    """(B,) int64 number of tokens; ``lengths - 1`` is the readout position."""
    answers: Tensor
    """(B,) int64 answers."""
    rows: Tensor
    """(B,) int64 row numbers in the data set, from 0."""


class ArithmeticDataset(Dataset[Batch]):
    """The problems of one file: N rows of T tokens.

    Attributes:
        path: The file.
        ids: (N, T) uint8 token ids.
        lengths: (N,) int64.
        x: (N,) int64 first operands.
        y: (N,) int64 second operands.
        answers: (N,) int64.
        modulus: The one modulus, or None for plain sums.
        layout: (N,) int64 index into ``layouts``.
        layouts: Which character is which, for each kind of row.
    """

    def __init__(self, table: TsvTable) -> None:
        self.path = table.path
        self.ids = torch.from_numpy(table.ids)
        self.lengths = torch.from_numpy(table.lengths)
        self.x = torch.from_numpy(table.x)
        self.y = torch.from_numpy(table.y)
        self.answers = torch.from_numpy(table.answers)
        self.modulus = table.modulus
        self.layout = torch.from_numpy(table.layout)
        self.layouts: tuple[Layout, ...] = tuple(layout for layout in table.layouts if layout is not None)

    @classmethod
    def from_tsv(cls, path: str | Path) -> "ArithmeticDataset":
        """The problems of a file, see :func:`arithprobe.data.tsv.read_tsv`."""
        return cls(read_tsv(path))

    def __len__(self) -> int:
        """N."""
        return len(self.ids)

    @property
    def max_length(self) -> int:
        """T, the number of tokens of the longest problem."""
        return self.ids.shape[1]

    def __getitem__(self, row: int) -> Batch:
        """One row, as a batch of one."""
        return self.__getitems__([row])

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """The rows asked for, as one batch."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        return Batch(self.ids[index].long(), self.lengths[index], self.answers[index], index)

    def constant(self, train_mean: float | None) -> float:
        """The constant predictor that skill is measured against: the mean training answer, or the mean of these."""
        return float(self.answers.double().mean()) if train_mean is None else train_mean

    def texts(self, rows: Tensor | None = None) -> list[str]:
        """The N problems, or those of some row numbers, as written in the file."""
        characters = _CHARACTERS[(self.ids if rows is None else self.ids[rows]).numpy()]
        return [text.decode() for text in characters.view(f"S{self.max_length}").reshape(-1).tolist()]


def batches(
    dataset: ArithmeticDataset, batch_size: int, *, shuffle: bool = False, sampler: Sampler[int] | None = None
) -> DataLoader[Batch]:
    """A loader of whole batches.

    Args:
        dataset: The rows.
        batch_size: Rows a batch; the last may have fewer.
        shuffle: Draw a new order every epoch, from the global random state.
        sampler: The rows to visit, in order; all of them by default.
    """
    return DataLoader(dataset, batch_size=batch_size, shuffle=shuffle, sampler=sampler, collate_fn=_as_is)


def _as_is(batch: Any) -> Batch:
    """The batch that ``__getitems__`` has already made."""
    made: Batch = batch
    return made


_CHARACTERS = np.frombuffer(("\0" + VOCABULARY).encode(), dtype=np.uint8)
