"""Variables that an intervention acts on: the target of a probe, or the planes of a circle, with all columns."""

from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError, shown
from arithprobe.probes.targets import angle_columns, target_values
from arithprobe.problems.circles import Circle, planes_of
from arithprobe.problems.rows import Variables


class Variable(NamedTuple):
    """A variable that can be erased from a state."""

    name: str
    """Name under which it was asked for, a probe's target such as ``sum``."""
    columns: Tensor
    """(N, K) float64 values: one column, or cosines and sines."""
    circle: Circle | None
    """The circle, where these are its planes, each a cosine and a sine; else None."""


def variable_of(name: str, rows: Variables) -> Variable:
    """Return a variable by name: any target, ``residuemod97f3`` (a plane) or ``residuemod97f1to3+7`` (four planes).

    >>> from arithprobe.problems.quantities import Sums
    >>> variable_of("summod4f1", Sums(torch.arange(8), torch.zeros(8).long())).columns.shape
    torch.Size([8, 2])

    Raises:
        ArithprobeError: If there is no such variable, or it does not vary.
    """
    circle = planes_of(name)
    if circle is None:
        return Variable(name, target_values(name, rows)[:, None], None)
    columns, refused = angle_columns(*circle, rows.values(circle.quantity))
    if not columns:
        raise ArithprobeError(f"target {shown(name)!r}: nothing to probe for: {', '.join(refused)}")
    waves = [wave for found in columns.values() for wave in found.values()]
    whole = len(waves) == 2 * len(circle.frequencies)
    return Variable(name, torch.stack(waves, dim=1), circle if whole else None)
