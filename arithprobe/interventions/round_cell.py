"""A cell whose answers are judged round a claimed circle."""

from functools import cached_property

from arithprobe.interventions.cell import Cell
from arithprobe.interventions.interchange import RowSpace
from arithprobe.problems.circles import Circle


class RoundCell(Cell):
    """A cell with answers, errors and shifts counted round a circle, see :mod:`arithprobe.interventions.naming`.

    Args:
        plain: The same cell; both share all that does not depend on how answers are counted.
        circle: A circle of the answers.
    """

    def __init__(self, plain: Cell, circle: Circle) -> None:
        self.__dict__.update(plain.__dict__)
        self.__dict__.pop("row_space", None)
        self._plain, self.part = plain, plain.part.round(circle)

    @cached_property
    def row_space(self) -> RowSpace:
        """The row space of the rest of the network at this cell, computed once for both."""
        return self._plain.row_space


def round_cell(cell: Cell, circle: Circle | None) -> Cell:
    """Return a cell judged round a claimed circle; the cell itself without one, or if the answers are not on it."""
    return RoundCell(cell, circle) if circle is not None and circle.period == cell.part.circle else cell
