"""Rows that are sums, in any notation: their batches, and the protocol that analyses use."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from arithprobe.problems.counterfactual import answer_per_unit, counterfactual
from arithprobe.problems.grammar import task_title
from arithprobe.problems.positions import PositionTable, position_table
from arithprobe.problems.quantities import Sums
from arithprobe.problems.rows import Changed, Inputs

STEPS = (1, 2, 5, 10, 50)
"""By how much operands are changed, to both sides."""


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

    @property
    def inputs(self) -> Inputs:
        """The inputs of a network for these problems."""
        return Inputs(self.ids, self.lengths)


class ProblemRows(Dataset[Batch]):
    """A set of N sums of T tokens; implements :class:`~arithprobe.problems.rows.Rows`.

    Args:
        path: The file or other source of the rows.
        ids: (N, T) token ids, padded right.
        lengths: (N,) int64 real tokens.
        sums: The numbers.
        layout: (N,) int64 kind of each row.
        roles: The role of each token, for each kind of row.

    Attributes:
        operands: All numbers that an operand can be, if known: 0 to k - 1 with a modulus k. For plain sums only the
            caller knows them, and may set them.
    """

    groups = Sums.groups

    def __init__(
        self, path: str, ids: Tensor, lengths: Tensor, sums: Sums, layout: Tensor, roles: Sequence[Sequence[str]]
    ) -> None:
        self.path, self.ids, self.lengths, self.sums = path, ids, lengths, sums
        self.layout, self.roles = layout, tuple(map(tuple, roles))
        self.x, self.y, self.modulus, self.answers = sums.x, sums.y, sums.modulus, sums.answers
        self.circle, self.answer, self.quantities = sums.modulus, sums.answer, sums.quantities
        self.task = task_title(sums.modulus)
        self.operands: range | None = None if sums.modulus is None else range(sums.modulus)

    def __len__(self) -> int:
        """N."""
        return len(self.ids)

    def __getitem__(self, row: int) -> Batch:
        """One row, as a batch of one."""
        return self.__getitems__([row])

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """The rows asked for, as one batch."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        return Batch(*self.inputs(index), self.answers[index], index)

    @property
    def population(self) -> str:
        """The population, if the rows are all pairs of ``operands``, each once; empty for a sample."""
        operands = self.operands
        if operands is None or len(self) != len(operands) ** 2:
            return ""
        known = torch.tensor(operands)
        inside = torch.isin(self.x, known).all() and torch.isin(self.y, known).all()
        if not inside or len(torch.unique(self.group("pair"))) < len(self):
            return ""
        return f"all {len(self)} problems of operands {operands[0]} to {operands[-1]}"

    @property
    def max_length(self) -> int:
        """T, the number of tokens of the longest problem."""
        return self.ids.shape[1]

    def inputs(self, rows: Tensor) -> Inputs:
        """The inputs of a network for some rows, padded to T."""
        return Inputs(self.ids[rows].long(), self.lengths[rows])

    @property
    def names(self) -> tuple[str, ...]:
        """The quantities, see :class:`~arithprobe.problems.quantities.Sums`."""
        return self.sums.names

    def values(self, name: str) -> Tensor:
        """The (N,) values of a quantity."""
        return self.sums.values(name)

    def group_of(self, name: str) -> str:
        """The group by which the rows of a quantity are held out."""
        return self.sums.group_of(name)

    def group(self, name: str) -> Tensor:
        """The (N,) int64 labels by which rows are held out."""
        return self.sums.group(name)

    def at(self, rows: Tensor | slice) -> Sums:
        """The numbers of some rows."""
        return self.sums.at(rows)

    def positions(self, names: Sequence[str]) -> PositionTable:
        """Tokens by name, see :func:`~arithprobe.problems.positions.position_table`."""
        return position_table(names, self.lengths, self.layout, self.roles)

    def counterfactual(self, name: str, rows: Tensor, donors: Tensor) -> Tensor | None:
        """The (n,) int64 answers if a quantity took its value in n other rows; None if arithmetic does not say."""
        return counterfactual(name, self.sums.at(rows), self.sums.at(donors))

    def per_unit(self, name: str) -> float | None:
        """The rise of the answer when a quantity rises by 1."""
        return answer_per_unit(name)

    def constant(self, train_mean: float | None) -> float:
        """The constant predictor of skill: the mean training answer, or else the mean answer of these rows."""
        return float(self.answers.double().mean()) if train_mean is None else train_mean

    @abstractmethod
    def texts(self, rows: Tensor | None = None) -> list[str]:
        """The N problems, or those of some row numbers, as a person reads them."""

    @abstractmethod
    def surface(self) -> dict[str, Tensor]:
        """The (N, F) bool features by kind, which can be read from the rows without any network."""

    @abstractmethod
    def fits(self, rows: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Whether each of n rows keeps its layout with other operands, (n,)."""

    @abstractmethod
    def rewritten(self, rows: Tensor, x: Tensor, y: Tensor, change: str) -> "ProblemRows":
        """Return N rows with other operands, in their present layout."""

    @property
    def changes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """The changes that keep the answer or move it by a known amount; with a modulus also once round."""
        signed = tuple(sorted({sign * step for step in STEPS for sign in (-1, 1)}))
        whole = () if self.modulus is None else (("x + k, y", (-self.modulus, self.modulus)),)
        return (("x + d, y - d", signed), ("x + d, y", signed), *whole)

    def changed(self, change: str, amount: int, rows: Tensor) -> Changed | None:
        """Return rows with changed operands, those that stay in the data's range and in their layout."""
        x, y = self.x[rows] + amount, self.y[rows] - amount if change == "x + d, y - d" else self.y[rows]
        kept = self.comparable(rows, x, y).nonzero()[:, 0]
        if len(kept) < 2:
            return None
        other = self.rewritten(rows[kept], x[kept], y[kept], change)
        return Changed(kept, other, amount if change == "x + d, y" else 0, change == "x + k, y")

    def comparable(self, rows: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Whether rows with changed operands stay in the data's range and in their layout, (n,).

        Args:
            rows: (n,) row numbers.
            x: (n,) their new first operands.
            y: (n,) their new second operands.
        """
        return self.in_range(x, y) & self.fits(rows, x, y)

    def in_range(self, x: Tensor, y: Tensor) -> Tensor:
        """Whether both of the (n,) operands lie between the data's smallest and largest operand, (n,)."""
        every = torch.cat([self.x, self.y])
        return torch.stack([(one >= every.min()) & (one <= every.max()) for one in (x, y)]).all(dim=0)


def one_hot(values: Tensor) -> Tensor:
    """One-hot encoding of values: (N, number of distinct values) bool."""
    hot: Tensor = values[:, None] == torch.unique(values)
    return hot


def one_hot_tokens(ids: Tensor) -> Tensor:
    """Return bool features of (N, T) tokens, one-hot at each place."""
    return torch.cat([one_hot(column) for column in ids.T], dim=1)
