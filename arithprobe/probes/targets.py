"""What a probe looks for: quantities of a problem, by name.

=============================  =============================================================
``x``, ``y``, ``sum``          the operands and their sum
``residue``                    the sum modulo the problems' k
``x100``, ``y10``, ...         a digit of x or y, by place value
``sum1``, ``sum1000`` ...      a digit of the sum
``carry1``, ``carry10``        the carry out of the units column, the tens column, ...
``summod4``, ``xmod10``, ...   any of x, y, sum, residue modulo any period
``summod97cos3``, ``...sin3``  cosine and sine of ``2 pi 3 sum / 97``
=============================  =============================================================

Every target has a *group*, the quantity whose equal values a split keeps together: x for what is a function of x, y for
y, and the sum for all else. So a probe is always scored on values that it was not fitted on.
"""

import re
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError, did_you_mean, several, shown
from arithprobe.problems import MAX_DIGITS, carry, digit

Quantity = Literal["x", "y", "sum", "residue"]
Group = Literal["x", "y", "sum"]
_PLACED = re.compile(r"(x|y|sum|carry)(10*)")
_PERIODIC = re.compile(r"(x|y|sum|residue)mod([1-9][0-9]*)(?:(cos|sin)([1-9][0-9]*))?")
LARGEST_PERIOD = 10**4
"""Of a circle."""
_LONGEST_NUMBER = MAX_DIGITS + 1  # digits: those of the largest sum
_CONSTANT = 1e-8  # variance below which a column is constant
_ROUNDING = 1e-12  # the sine of pi is 1e-16, not 0


def target_names(largest: int, modulus: int | None) -> tuple[str, ...]:
    """The targets of a data set, those of other periods aside.

    >>> target_names(99, None)
    ('x', 'y', 'sum', 'x1', 'x10', 'y1', 'y10', 'sum1', 'sum10', 'sum100', 'carry1', 'carry10')

    Args:
        largest: Largest operand.
        modulus: The modulus, or None for plain sums.
    """
    places = [10**power for power in range(len(str(largest)))]
    names = ["x", "y", "sum"] + (["residue"] if modulus is not None else [])
    names += [f"{operand}{place}" for operand in ("x", "y") for place in places]
    names += [f"sum{place}" for place in (*places, 10 * places[-1])]
    return (*names, *(f"carry{place}" for place in places))


def chosen_targets(wanted: Sequence[str], x: Tensor, y: Tensor, modulus: int | None) -> list[str]:
    """Targets by name; of ``all``, those of the data that vary.

    >>> chosen_targets(["all"], torch.tensor([1, 2]), torch.tensor([5, 5]), None)
    ['x', 'sum', 'x1', 'sum1']

    Args:
        wanted: Names, or ``all``.
        x: (N,) int64 first operands.
        y: (N,) int64 second operands.
        modulus: The modulus, or None for plain sums.

    Raises:
        ArithprobeError: If one that is named does not exist in this data, or does not vary.
    """
    found: dict[str, None] = {}
    for name in several("targets", wanted):
        if name != "all":
            target_values(name, x, y, modulus)
            found[name] = None
            continue
        for one in target_names(int(torch.maximum(x, y).max()), modulus):
            try:
                target_values(one, x, y, modulus)
            except ArithprobeError:
                continue
            found[one] = None
    return list(found)


def target_group(name: str) -> Group:
    """The quantity whose equal values a split keeps together.

    >>> target_group("x100"), target_group("ymod5cos1"), target_group("carry10"), target_group("residue")
    ('x', 'y', 'sum', 'sum')
    """
    return "x" if name.startswith("x") else "y" if name.startswith("y") else "sum"


def pair_of(x: Tensor, y: Tensor) -> Tensor:
    """(N,) int64 labels, equal where both operands are."""
    return x * (int(y.max()) + 1) + y


def number_in(name: str, digits: str) -> int:
    """A number in the name of a target: a period, a frequency, a place.

    Raises:
        ArithprobeError: If it is longer than any of a problem.
    """
    if len(digits) > _LONGEST_NUMBER:
        raise ArithprobeError(
            f"target {shown(name)!r}: a number has {len(digits)} digits; expected at most {_LONGEST_NUMBER}"
        )
    return int(digits)


def group_values(group: Group, x: Tensor, y: Tensor) -> Tensor:
    """(N,) int64 labels of a group."""
    return {"x": x, "y": y, "sum": x + y}[group]


def target_values(name: str, x: Tensor, y: Tensor, modulus: int | None) -> Tensor:
    """The values of a target.

    >>> target_values("carry1", torch.tensor([57, 50]), torch.tensor([65, 41]), None).tolist()
    [1.0, 0.0]

    Args:
        name: Its name.
        x: (N,) int64 first operands.
        y: (N,) int64 second operands.
        modulus: The modulus, or None for plain sums.

    Returns:
        (N,) float64.

    Raises:
        ArithprobeError: If there is no such target in this data, or it has the same value in every row: no probe can be
            scored on a constant.
    """
    values = _values(name, x, y, modulus).to(torch.float64)
    if len(values) and float(values.var(correction=0)) < _CONSTANT:
        raise ArithprobeError(
            f"target {shown(name)!r} is {values[0].item():g} in every row; a constant cannot be probed"
        )
    return values


def angle_columns(
    quantity: Quantity, period: int, frequencies: Sequence[int], x: Tensor, y: Tensor, modulus: int | None
) -> tuple[dict[int, dict[str, Tensor]], list[str]]:
    """Cosine and sine columns of a quantity on a circle, by frequency, and the degenerate ones left out.

    A column that is constant (the sine at half the period, everything at the period) holds nothing to be found, and a
    frequency above half the period is the mirror image of one below it; neither is probed.

    >>> columns, refused = angle_columns("sum", 4, [1, 2, 3], torch.arange(8), torch.zeros(8).long(), None)
    >>> {n: list(found) for n, found in columns.items()}, refused[0]
    ({1: ['summod4cos1', 'summod4sin1'], 2: ['summod4cos2']}, 'summod4sin2 (constant)')

    Args:
        quantity: What goes around.
        period: Its period.
        frequencies: Turns per period.
        x: (N,) int64 first operands.
        y: (N,) int64 second operands.
        modulus: The modulus, or None for plain sums.

    Returns:
        The named (N,) float64 columns of each frequency that has any, and the names refused, with the reason.
    """
    found: dict[int, dict[str, Tensor]] = {}
    refused = []
    for frequency in frequencies:
        for wave in ("cos", "sin"):
            name = f"{quantity}mod{period}{wave}{frequency}"
            if 2 * frequency > period:
                alias = min(frequency % period, -frequency % period)
                refused.append(f"{name} (repeats frequency {alias})")
                continue
            values = _values(name, x, y, modulus)
            if float(values.var(correction=0)) < _CONSTANT:
                refused.append(f"{name} (constant)")
            else:
                found.setdefault(frequency, {})[name] = values
    return found, refused


def distinct_angle_columns(
    quantity: Quantity, period: int, frequencies: Sequence[int], x: Tensor, y: Tensor, modulus: int | None
) -> tuple[dict[int, dict[str, Tensor]], list[str], Tensor]:
    """As :func:`angle_columns`, of each place on the circle once: its U columns, and the (N,) place of each row."""
    values, place = torch.unique(_values(f"{quantity}mod{period}", x, y, modulus), return_inverse=True)
    nothing = torch.zeros_like(values)
    first, second = (nothing, values) if quantity == "y" else (values, nothing)
    columns, refused = angle_columns(quantity, period, frequencies, first, second, modulus)
    return columns, refused, place


def _values(name: str, x: Tensor, y: Tensor, modulus: int | None) -> Tensor:
    whole = {"x": x, "y": y, "sum": x + y}
    if modulus is not None:
        whole["residue"] = whole["sum"] % modulus
    if name in whole:
        return whole[name]
    periodic, placed = _PERIODIC.fullmatch(name), _PLACED.fullmatch(name)
    if name == "residue" or (periodic is not None and periodic[1] not in whole):
        raise ArithprobeError(f"target {shown(name)!r}: k is unknown, the problems are 'x + y = ?' without '(mod k)'")
    if periodic is not None:
        return _periodic(
            name, whole[periodic[1]], number_in(name, periodic[2]), periodic[3], number_in(name, periodic[4] or "1")
        )
    names = target_names(max(int(x.max()), int(y.max())), modulus)
    if placed is None or name not in names:
        meant = did_you_mean(name, names)
        raise ArithprobeError(
            f"no target {shown(name)!r} in this data{meant} (targets: {', '.join(names)}, or a period as in 'summod4')"
        )
    place = int(placed[2])
    return carry(x, y, place) if placed[1] == "carry" else digit(whole[placed[1]], place)


def _periodic(name: str, values: Tensor, period: int, wave: str | None, frequency: int) -> Tensor:
    if not 2 <= period <= LARGEST_PERIOD:
        raise ArithprobeError(f"target {shown(name)!r}: the period is {period}; expected 2 to {LARGEST_PERIOD}")
    if wave is None:
        return values % period
    turns = (frequency % period * (values % period) % period).to(torch.float64) / period
    angle = 2 * torch.pi * turns
    values = angle.cos() if wave == "cos" else angle.sin()
    return torch.where(values.abs() > _ROUNDING, values, 0.0)
