"""Targets of probes: quantities of rows by name, as columns of numbers that vary."""

from collections.abc import Sequence

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError, several, shown
from arithprobe.problems.quantities import periodic_values, values_of
from arithprobe.problems.rows import Variables

_CONSTANT = 1e-8  # variance below which a column is constant


def chosen_targets(wanted: Sequence[str], rows: Variables) -> list[str]:
    """Return targets by name; ``all`` stands for all those of the data that vary.

    >>> from arithprobe.problems.quantities import Sums
    >>> chosen_targets(["all"], Sums(torch.tensor([1, 2]), torch.tensor([5, 5])))
    ['x', 'sum', 'x1', 'sum1']

    Args:
        wanted: Names, or ``all``.
        rows: N rows.

    Raises:
        ArithprobeError: If a named target does not exist in this data, or does not vary.
    """
    found: dict[str, None] = {}
    for name in several("targets", wanted):
        if name != "all":
            target_values(name, rows)
            found[name] = None
            continue
        for one in rows.names:
            try:
                target_values(one, rows)
            except ArithprobeError:
                continue
            found[one] = None
    return list(found)


def target_values(name: str, rows: Variables) -> Tensor:
    """The (N,) float64 values of a target.

    >>> from arithprobe.problems.quantities import Sums
    >>> target_values("carry1", Sums(torch.tensor([57, 50]), torch.tensor([65, 41]))).tolist()
    [1.0, 0.0]

    Raises:
        ArithprobeError: If there is no such target in this data, or it has the same value in every row: no probe can be
            scored on a constant.
    """
    values = values_of(name, rows).to(torch.float64)
    if len(values) and float(values.var(correction=0)) < _CONSTANT:
        raise ArithprobeError(
            f"target {shown(name)!r} is {values[0].item():g} in every row; a constant cannot be probed"
        )
    return values


def angle_columns(
    quantity: str, period: int, frequencies: Sequence[int], values: Tensor
) -> tuple[dict[int, dict[str, Tensor]], list[str]]:
    """Return cosine and sine columns of a quantity on a circle, by frequency, and the degenerate ones left out.

    A constant column (the sine at half the period, both at the period) has no information, and a frequency above half
    the period is the mirror image of one below it; neither is probed.

    >>> columns, refused = angle_columns("sum", 4, [1, 2, 3], torch.arange(8))
    >>> {n: list(found) for n, found in columns.items()}, refused[0]
    ({1: ['summod4cos1', 'summod4sin1'], 2: ['summod4cos2']}, 'summod4sin2 (constant)')

    Args:
        quantity: The quantity that goes round the circle.
        period: Its period.
        frequencies: Turns per period.
        values: (N,) int64 values of the quantity.

    Returns:
        The named (N,) float64 columns of each frequency that has any, and the refused names with the reason.
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
            column = periodic_values(name, values, period, wave, frequency)
            if float(column.var(correction=0)) < _CONSTANT:
                refused.append(f"{name} (constant)")
            else:
                found.setdefault(frequency, {})[name] = column
    return found, refused


def distinct_angle_columns(
    quantity: str, period: int, frequencies: Sequence[int], values: Tensor
) -> tuple[dict[int, dict[str, Tensor]], list[str], Tensor]:
    """As :func:`angle_columns`, for the U distinct places on the circle; also returns the (N,) place of each row."""
    places, place = torch.unique(periodic_values(f"{quantity}mod{period}", values, period), return_inverse=True)
    columns, refused = angle_columns(quantity, period, frequencies, places)
    return columns, refused, place
