"""What analyses ask of rows: two protocols, and what they hand over. Arithmetic is one implementation of them.

What rows cannot say is absent: a counterfactual that nobody knows is None, a change that does not exist is not among
``changes``. An analysis that needs it says so, and goes on with the rest.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from arithprobe.problems.positions import PositionTable


class Inputs(NamedTuple):
    """What a network reads of B rows."""

    ids: Tensor
    """(B, T) int64 token ids, padded right."""
    lengths: Tensor
    """(B,) int64 real tokens, at least 1; the readout is at the last of them."""


class Variables(Protocol):
    """Named quantities of N rows."""

    @property
    def names(self) -> tuple[str, ...]:
        """Those there are; of periods, angles and the like only what is worth listing."""

    def values(self, name: str) -> Tensor:
        """The (N,) values of one, whole numbers as int64.

        Raises:
            ArithprobeError: If there is none of that name, listing those there are.
        """

    def group_of(self, name: str) -> str:
        """What the rows of a quantity are held out by, one of ``groups``."""

    def group(self, name: str) -> Tensor:
        """(N,) int64 labels by which rows are held out, of a quantity or a group.

        ``pair``: of what is asked, whole: two rows with one label are one problem.
        """


@runtime_checkable
class Rows(Variables, Protocol):
    """N rows that a network answers, and what is known of them."""

    @property
    def path(self) -> str:
        """Where they come from, for texts."""

    @property
    def task(self) -> str:
        """What is asked, in a few words; a model that knows its own task refuses rows of another."""

    @property
    def lengths(self) -> Tensor:
        """(N,) int64 real tokens."""

    @property
    def answers(self) -> Tensor:
        """(N,) int64 right answers."""

    @property
    def circle(self) -> int | None:
        """K where answers wrap around at k, else None."""

    @property
    def answer(self) -> str:
        """The quantity that is the answer."""

    @property
    def quantities(self) -> tuple[str, ...]:
        """The whole numbers that any period may be looked for in."""

    @property
    def groups(self) -> tuple[str, ...]:
        """What rows are held out by."""

    @property
    def layout(self) -> Tensor:
        """(N,) kind of each row; rows of one kind have the same role at the same token."""

    @property
    def roles(self) -> Sequence[Sequence[str]]:
        """The role of each token, for each kind of row."""

    def __len__(self) -> int:
        """N."""

    def inputs(self, rows: Tensor) -> Inputs:
        """What a network reads of some rows, padded to the longest of all N."""

    def at(self, rows: Tensor | slice) -> Variables:
        """The quantities of some rows alone."""

    def positions(self, names: Sequence[str]) -> PositionTable:
        """Tokens by name: ``last``, ``all`` (every role), ``index`` (every token), or single ones.

        Raises:
            ArithprobeError: If no row has such a token, listing those there are.
        """

    def texts(self, rows: Tensor | None = None) -> list[str]:
        """All rows, or some, as a person reads them."""

    def surface(self) -> dict[str, Tensor]:
        """(N, F) bool features by kind: what the rows give away without any network."""

    def counterfactual(self, name: str, rows: Tensor, donors: Tensor) -> Tensor | None:
        """(n,) int64 answers to rows in which a quantity has the value that it has in n others; None if unknown."""

    def per_unit(self, name: str) -> float | None:
        """How much the answer rises when a quantity rises by 1; None where that is not one number, or unknown."""

    @property
    def changes(self) -> "tuple[tuple[str, tuple[int, ...]], ...]":
        """The changes of a problem that :meth:`changed` makes, and the amounts worth trying."""

    def changed(self, change: str, amount: int, rows: Tensor) -> "Changed | None":
        """Some rows after a change, those that stay in the range and the layout of the data; None if fewer than 2."""

    def constant(self, train_mean: float | None) -> float:
        """The constant answer that skill is measured against."""


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
