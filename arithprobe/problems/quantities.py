"""Quantities of a column of problems, by name.

=============================  =============================================================
``x``, ``y``, ``sum``          the operands and their sum
``residue``                    the sum modulo the problems' k
``x100``, ``y10``, ...         a digit of x or y, by place value
``sum1``, ``sum1000`` ...      a digit of the sum
``carry1``, ``carry10``        the carry out of the units column, the tens column, ...
``summod4``, ``xmod10``, ...   any of x, y, sum, residue modulo any period
``summod97cos3``, ``...sin3``  cosine and sine of ``2 pi 3 sum / 97``
=============================  =============================================================

Every quantity has a *group*, the quantity whose equal values a split keeps together: x for what is a function of x, y
for y, and the sum for all else. So a probe is always scored on values that it was not fitted on.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError, did_you_mean, shown
from arithprobe.limits import LARGEST_PERIOD
from arithprobe.problems.grammar import MAX_DIGITS, carry, digit
from arithprobe.problems.rows import Variables

PLACED = re.compile(r"(x|y|sum|carry)(10*)")
PERIODIC = re.compile(r"([A-Za-z_][A-Za-z_0-9]*?)mod([1-9][0-9]*)(?:(cos|sin)([1-9][0-9]*))?")
_LONGEST_NUMBER = MAX_DIGITS + 1  # digits: those of the largest sum
_ROUNDING = 1e-12  # the sine of pi is 1e-16, not 0


@dataclass(frozen=True)
class Sums:
    """N problems as numbers, ``x + y`` or ``(x + y) mod k``.

    >>> Sums(torch.tensor([57, 50]), torch.tensor([65, 41])).values("carry1").tolist()
    [1, 0]
    """

    x: Tensor
    """(N,) int64 first operands."""
    y: Tensor
    """(N,) int64 second operands."""
    modulus: int | None = None
    """k, or None for plain sums."""

    groups: ClassVar[tuple[str, ...]] = ("x", "y", "sum")
    """What rows are held out by."""

    def at(self, rows: Tensor | slice) -> "Sums":
        """Some of the problems."""
        return Sums(self.x[rows], self.y[rows], self.modulus)

    @property
    def total(self) -> Tensor:
        """(N,) int64 ``x + y``."""
        return self.x + self.y

    @property
    def answers(self) -> Tensor:
        """(N,) int64 right answers."""
        return self.total if self.modulus is None else self.total % self.modulus

    @property
    def answer(self) -> str:
        """The name of the quantity that is the answer."""
        return "sum" if self.modulus is None else "residue"

    @property
    def quantities(self) -> tuple[str, ...]:
        """The whole numbers that any period may be looked for in."""
        return ("sum", "x", "y") if self.modulus is None else ("sum", "x", "y", "residue")

    @property
    def names(self) -> tuple[str, ...]:
        """The quantities of these problems, those of other periods aside.

        >>> Sums(torch.tensor([99]), torch.tensor([5])).names
        ('x', 'y', 'sum', 'x1', 'x10', 'y1', 'y10', 'sum1', 'sum10', 'sum100', 'carry1', 'carry10')
        """
        places = [10**power for power in range(len(str(int(torch.maximum(self.x, self.y).max()))))]
        names = ["x", "y", "sum"] + (["residue"] if self.modulus is not None else [])
        names += [f"{operand}{place}" for operand in ("x", "y") for place in places]
        names += [f"sum{place}" for place in (*places, 10 * places[-1])]
        return (*names, *(f"carry{place}" for place in places))

    @staticmethod
    def group_of(name: str) -> str:
        """The quantity whose equal values a split keeps together.

        >>> [Sums.group_of(name) for name in ("x100", "ymod5cos1", "carry10", "residue")]
        ['x', 'y', 'sum', 'sum']
        """
        return "x" if name.startswith("x") else "y" if name.startswith("y") else "sum"

    def group(self, name: str) -> Tensor:
        """(N,) int64 labels by which rows are held out, of a quantity; ``pair``: equal where both operands are."""
        if name == "pair":
            return self.x * (int(self.y.max()) + 1) + self.y
        return {"x": self.x, "y": self.y, "sum": self.total}[self.group_of(name)]

    def values(self, name: str) -> Tensor:
        """The (N,) int64 values of a quantity; of periods and waves see :func:`values_of`.

        Raises:
            ArithprobeError: If these problems have no such quantity.
        """
        whole = {"x": self.x, "y": self.y, "sum": self.total}
        if self.modulus is not None:
            whole["residue"] = self.answers
        if name in whole:
            return whole[name]
        placed = PLACED.fullmatch(name)
        if name.startswith("residue"):
            raise ArithprobeError(
                f"target {shown(name)!r}: k is unknown, the problems are 'x + y = ?' without '(mod k)'"
            )
        if placed is None or name not in self.names:
            meant = did_you_mean(name, self.names)
            raise ArithprobeError(
                f"no target {shown(name)!r} in this data{meant} (targets: {', '.join(self.names)}, or a period as in "
                "'summod4')"
            )
        place = int(placed[2])
        return carry(self.x, self.y, place) if placed[1] == "carry" else digit(whole[placed[1]], place)


def values_of(name: str, rows: Variables) -> Tensor:
    """The (N,) values of any quantity of some rows, of it modulo a period, or of the waves of its angle.

    >>> rows = Sums(torch.arange(8), torch.zeros(8).long())
    >>> values_of("summod4", rows).tolist(), values_of("summod4cos1", rows)[:3].tolist()
    ([0, 1, 2, 3, 0, 1, 2, 3], [1.0, 0.0, -1.0])

    Raises:
        ArithprobeError: If the rows have no such quantity, or the period is out of range.
    """
    periodic = PERIODIC.fullmatch(name)
    if periodic is None or periodic[1] not in rows.names:
        return rows.values(name)
    period, frequency = number_in(name, periodic[2]), number_in(name, periodic[4] or "1")
    return periodic_values(name, rows.values(periodic[1]), period, periodic[3], frequency)


def number_in(name: str, digits: str) -> int:
    """A number in the name of a quantity: a period, a frequency, a place.

    Raises:
        ArithprobeError: If it is longer than any of a problem.
    """
    if len(digits) > _LONGEST_NUMBER:
        raise ArithprobeError(
            f"target {shown(name)!r}: a number has {len(digits)} digits; expected at most {_LONGEST_NUMBER}"
        )
    return int(digits)


def periodic_values(name: str, values: Tensor, period: int, wave: str | None = None, frequency: int = 1) -> Tensor:
    """(N,) int64 whole numbers modulo a period; or float64, the cosine or sine of their angle, exact where it is 0.

    Args:
        name: What they are called, for the text of an error.
        values: (N,) int64.
        period: The period k.
        wave: ``cos``, ``sin``, or None for the remainder itself.
        frequency: Turns per period.

    Raises:
        ArithprobeError: If the period is out of range.
    """
    if not 2 <= period <= LARGEST_PERIOD:
        raise ArithprobeError(f"target {shown(name)!r}: the period is {period}; expected 2 to {LARGEST_PERIOD}")
    if wave is None:
        return values % period
    turns = (frequency % period * (values % period) % period).to(torch.float64) / period
    angle = 2 * torch.pi * turns
    values = angle.cos() if wave == "cos" else angle.sin()
    return torch.where(values.abs() > _ROUNDING, values, 0.0)
