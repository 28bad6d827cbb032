"""Problems with other operands, written as the data writes them.

A file may write its operands with leading zeros, ``007 + 042 = ?``. The text of a row with new operands therefore
follows its old text, not only its numbers: an operand that the data pads keeps its number of digits, ``012 + 037``.
The data pads an operand if some row of the same layout writes it with a leading zero.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from arithprobe.problems.grammar import MAX_DIGITS, Layout, Problem


class WrittenRows(Protocol):
    """Problems as a file writes them."""

    x: Tensor
    y: Tensor
    modulus: int | None
    lengths: Tensor
    layout: Tensor
    layouts: tuple[Layout, ...]

    def texts(self, rows: Tensor) -> Sequence[str]:
        """Some of the problems, as written."""


def fits(dataset: WrittenRows, rows: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Whether the layout of each row has room for other operands, written as the data writes them.

    Args:
        dataset: The data.
        rows: (N,) row numbers.
        x: (N,) first operands; a negative one never fits.
        y: (N,) second operands.

    Returns:
        (N,) bool. An unpadded operand must have as many digits as before, a padded one at most as many.
    """
    layout = dataset.layout[rows]
    widths, padded = _widths(dataset)[layout], _padded(dataset)[layout]
    numbers = torch.stack([x, y], dim=1)
    digits = _digits(numbers)
    fit = (digits == widths) | padded & (digits < widths)
    return ((numbers >= 0) & fit).all(dim=1)


def rewritten(dataset: WrittenRows, rows: Tensor, x: Tensor, y: Tensor) -> list[str]:
    """Return the texts of rows with other operands, even if these do not fit the layout; all else is copied.

    A padded operand has at least as many digits as before, after the sign of a negative number.

    Args:
        dataset: The data.
        rows: (N,) row numbers.
        x: (N,) first operands.
        y: (N,) second operands.
    """
    layout = dataset.layout[rows]
    fewest = torch.where(_padded(dataset), _widths(dataset), 1)[layout]
    ends = torch.tensor([layout.y[1] for layout in dataset.layouts])[layout]
    columns = (dataset.texts(rows), x.tolist(), y.tolist(), fewest.tolist(), ends.tolist())
    return [
        f"{_written(one, of_one)} + {_written(other, of_other)}{text[end:]}"
        for text, one, other, (of_one, of_other), end in zip(*columns, strict=True)
    ]


def has_leading_zeros(dataset: WrittenRows) -> bool:
    """Whether some number of the data, including the modulus, is written with a leading zero."""
    digits = _digits(torch.stack([dataset.x, dataset.y], dim=1)).sum(dim=1)
    rest = len(str(Problem(0, 0, dataset.modulus)).removeprefix("0 + 0")) + len(" + ")
    return bool((dataset.lengths > digits + rest).any())


def _widths(dataset: WrittenRows) -> Tensor:
    """(G, 2) characters of x and y in each layout."""
    return torch.tensor([[end - start for start, end in (one.x, one.y)] for one in dataset.layouts])


def _padded(dataset: WrittenRows) -> Tensor:
    """(G, 2) whether some row of each layout writes x, and y, with a leading zero."""
    short = _digits(torch.stack([dataset.x, dataset.y], dim=1)) < _widths(dataset)[dataset.layout]
    padded = torch.zeros(len(dataset.layouts), 2, dtype=torch.int64)
    return padded.index_add_(0, dataset.layout, short.long()) > 0


def _digits(numbers: Tensor) -> Tensor:
    """How many digits numbers have, without leading zeros and sign."""
    powers = 10 ** torch.arange(1, MAX_DIGITS + 1)
    return 1 + torch.bucketize(numbers.abs(), powers, right=True)


def _written(number: int, digits: int) -> str:
    """A number with at least so many digits."""
    return f"{'-' if number < 0 else ''}{abs(number):0{digits}d}"
