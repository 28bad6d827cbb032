"""The protocols that analyses use to read rows, and their return types; arithmetic is one implementation.

Rows leave out what they cannot tell: an unknown counterfactual is None, and a change that does not exist is not in
``changes``. An analysis that needs it says so, and goes on with the rest.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError
from arithprobe.problems.positions import PositionTable


class Inputs(NamedTuple):
    """The inputs of a network for B rows."""

    ids: Tensor
    """(B, T) int64 token ids, padded right."""
    lengths: Tensor
    """(B,) int64 real tokens, at least 1; the readout is at the last of them."""


class Grouped(Protocol):
    """A set of N rows that can be held out by group."""

    @property
    def path(self) -> str:
        """Where they come from, for texts."""

    @property
    def layout(self) -> Tensor:
        """The (N,) kind of each row."""

    def group(self, name: str) -> Tensor:
        """The (N,) int64 labels of a group, by its name; rows with one label are held out together."""


class Variables(Protocol):
    """Named quantities of N rows."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the quantities; of periods, angles and the like, only those worth listing."""

    def values(self, name: str) -> Tensor:
        """The (N,) values of one quantity, whole numbers as int64.

        Raises:
            ArithprobeError: If there is no such quantity; the text lists those there are.
        """

    def group_of(self, name: str) -> str:
        """The group by which the rows of a quantity are held out, one of ``groups``."""

    def group(self, name: str) -> Tensor:
        """The (N,) int64 labels by which rows are held out, for a quantity or a group.

        The group ``pair`` labels whole problems: two rows with one label are the same problem.
        """


@runtime_checkable
class Rows(Variables, Protocol):
    """A set of N rows that a network answers, and what is known about them."""

    @property
    def path(self) -> str:
        """Where they come from, for texts."""

    @property
    def task(self) -> str:
        """The task in a few words; a model that knows its own task refuses rows of another."""

    @property
    def lengths(self) -> Tensor:
        """The (N,) int64 number of real tokens in each row."""

    @property
    def answers(self) -> Tensor:
        """The (N,) int64 correct answers."""

    @property
    def circle(self) -> int | None:
        """The modulus k if answers wrap around at k, else None."""

    @property
    def answer(self) -> str:
        """The name of the quantity that is the answer."""

    @property
    def quantities(self) -> tuple[str, ...]:
        """The whole-number quantities in which a probe may look for any period."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups by which rows can be held out."""

    @property
    def layout(self) -> Tensor:
        """The (N,) kind of each row; rows of one kind have the same role at the same token."""

    @property
    def roles(self) -> Sequence[Sequence[str]]:
        """The role of each token, for each kind of row."""

    def __len__(self) -> int:
        """N."""

    def inputs(self, rows: Tensor) -> Inputs:
        """The inputs of a network for some rows, padded to the longest of all N."""

    def at(self, rows: Tensor | slice) -> Variables:
        """The quantities of some of the rows."""

    def positions(self, names: Sequence[str]) -> PositionTable:
        """The tokens that a name stands for: ``last``, ``all`` (every role), ``index`` (every token), or a single one.

        Raises:
            ArithprobeError: If no row has such a token; the text lists those there are.
        """

    def texts(self, rows: Tensor | None = None) -> list[str]:
        """The texts of all rows, or of some, as a person reads them."""

    def surface(self) -> dict[str, Tensor]:
        """The (N, F) bool features by kind, which can be read from the rows without any network."""

    def counterfactual(self, name: str, rows: Tensor, donors: Tensor) -> Tensor | None:
        """The (n,) int64 answers if a quantity took the value that it has in n other rows; None if unknown."""

    def per_unit(self, name: str) -> float | None:
        """The rise of the answer when a quantity rises by 1; None if that is not one number, or is unknown."""

    @property
    def changes(self) -> "tuple[tuple[str, tuple[int, ...]], ...]":
        """The changes of a problem that :meth:`changed` can make, and the amounts worth trying."""

    def changed(self, change: str, amount: int, rows: Tensor) -> "Changed | None":
        """Some rows after a change, those that stay in the data's range and layout; None if fewer than 2 do."""

    def constant(self, train_mean: float | None) -> float:
        """The constant answer that skill is measured against."""


def require_rows(rows: object) -> Rows:
    """Return the rows if they keep the protocol: its members, and what can be checked of their columns at once.

    Raises:
        ArithprobeError: If they do not; it names the missing member, or the column that is not one.
    """
    missing = [name for name in ASKED if not hasattr(rows, name)]
    if missing or not isinstance(rows, Rows):
        lacks = f"{', '.join(missing[:3])}{f' and {len(missing) - 3} more' if missing[3:] else ''}"
        raise ArithprobeError(
            f"expected rows, such as an ArithmeticDataset; a {type(rows).__name__} has no {lacks or 'such members'}"
        )
    n, path = len(rows), rows.path
    columns: dict[str, object] = {
        "lengths": rows.lengths,
        "answers": rows.answers,
        "layout": rows.layout,
        f"group({rows.answer!r})": rows.group(rows.answer),
    }
    for name, column in columns.items():
        if not isinstance(column, Tensor) or column.dtype != torch.int64 or column.shape != (n,):
            got = f"{column.dtype} {tuple(column.shape)}" if isinstance(column, Tensor) else type(column).__name__
            raise ArithprobeError(f"{path}: {name} is {got}; expected int64 ({n},)")
    if not n:
        raise ArithprobeError(f"{path}: has no rows")
    ids, lengths = rows.inputs(torch.arange(min(n, 2)))
    shortest, longest = int(rows.lengths.min()), int(rows.lengths.max())
    if ids.ndim != 2 or len(lengths) != len(ids) or shortest < 1 or longest > ids.shape[1]:
        raise ArithprobeError(f"{path}: inputs have ids {tuple(ids.shape)}; lengths are {shortest} to {longest}")
    kinds = torch.tensor([len(of_tokens) for of_tokens in rows.roles])
    if int(rows.layout.min()) < 0 or int(rows.layout.max()) >= len(kinds):
        raise ArithprobeError(f"{path}: a layout is not one of the {len(kinds)} kinds of rows that have roles")
    if not torch.equal(kinds[rows.layout], rows.lengths):
        raise ArithprobeError(f"{path}: roles name other numbers of tokens than lengths")
    last = rows.positions(["last"])
    if last.token.shape != (n, 1) or not torch.equal(last.token[:, 0], rows.lengths - 1):
        raise ArithprobeError(f"{path}: positions(['last']) are not the {n} last tokens, lengths - 1")
    if rows.circle is not None and not 0 <= int(rows.answers.min()) <= int(rows.answers.max()) < rows.circle:
        raise ArithprobeError(f"{path}: answers wrap around at {rows.circle}; expected 0 to {rows.circle - 1}")
    return rows


def population_of(rows: Rows, judged: int) -> str:
    """The population, in words, that some rows are all problems of; empty if they are a sample, or do not say.

    Rows may name it in a member ``population``; they then hold every problem of it once.

    Args:
        rows: The data set.
        judged: The number of rows that are judged; fewer than all are a sample.
    """
    said: str = getattr(rows, "population", "")
    return said if judged == len(rows) else ""


ASKED = tuple(
    name for kind in (Rows, Variables) for name in vars(kind) if not name.startswith("_") or name == "__len__"
)
"""What rows are asked for."""


class Changed(NamedTuple):
    """Rows after a change of the problems."""

    kept: Tensor
    """(n,) which of the rows asked for, as indices into them."""
    rows: Rows
    """The n changed ones."""
    demanded: int
    """Shift of the answer that the change demands, where the answer does not wrap around."""
    whole_turn: bool
    """Whether the change goes once round the circle, so that a shift of the answer must not be taken round it."""
