"""What an intervention acts on: the target of a probe, or the plane of a circle, with all its columns."""

import re
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError
from arithprobe.probes.targets import Quantity, angle_columns, target_values

_PLANES = re.compile(r"(x|y|sum|residue)mod([1-9][0-9]*)f([1-9][0-9]*)(?:to([1-9][0-9]*))?")
_MOST_FREQUENCIES = 48


class Variable(NamedTuple):
    """Something to take out."""

    name: str
    """As asked for."""
    columns: Tensor
    """(N, K) float64 values: one column, or cosines and sines."""
    circle: tuple[int, int] | None
    """Period and frequency, where it is one plane; else None."""


def variable_of(name: str, x: Tensor, y: Tensor, modulus: int | None) -> Variable:
    """A variable by name: any target, or ``residuemod97f3`` (a plane), or ``residuemod97f1to3`` (three planes).

    >>> variable_of("summod4f1", torch.arange(8), torch.zeros(8).long(), None).columns.shape
    torch.Size([8, 2])

    Args:
        name: Its name.
        x: (N,) int64 first operands.
        y: (N,) int64 second operands.
        modulus: The modulus, or None for plain sums.

    Raises:
        ArithprobeError: If there is none of that name, or it does not vary.
    """
    planes = _PLANES.fullmatch(name)
    if planes is None:
        return Variable(name, target_values(name, x, y, modulus)[:, None], None)
    first, last, period = int(planes[3]), int(planes[4] or planes[3]), int(planes[2])
    if not first <= last < first + _MOST_FREQUENCIES:
        raise ArithprobeError(f"target {name!r}: expected frequencies like f1to3, at most {_MOST_FREQUENCIES}")
    quantity: Quantity = planes[1]  # type: ignore[assignment]
    columns, refused = angle_columns(quantity, period, range(first, last + 1), x, y, modulus)
    if not columns:
        raise ArithprobeError(f"target {name!r}: nothing to probe for: {', '.join(refused)}")
    waves = [wave for found in columns.values() for wave in found.values()]
    circle = (period, first) if first == last and len(waves) == 2 else None
    return Variable(name, torch.stack(waves, dim=1), circle)
