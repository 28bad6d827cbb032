"""What an intervention acts on: the target of a probe, or the planes of a circle, with all its columns."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError, shown
from arithprobe.probes.circles import MOST_FREQUENCIES, Circle
from arithprobe.probes.targets import angle_columns, number_in, target_values

_PLANES = re.compile(r"(x|y|sum|residue)mod([1-9][0-9]*)f([0-9to+]+)")
_RANGE = re.compile(r"([1-9][0-9]*)(?:to([1-9][0-9]*))?")


class Variable(NamedTuple):
    """Something to take out."""

    name: str
    """As asked for."""
    columns: Tensor
    """(N, K) float64 values: one column, or cosines and sines."""
    circle: Circle | None
    """The circle, where these are its planes, each a cosine and a sine; else None."""


def variable_of(name: str, x: Tensor, y: Tensor, modulus: int | None) -> Variable:
    """A variable by name: any target, or ``residuemod97f3`` (a plane), or ``residuemod97f1to3+7`` (four planes).

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
    circle = planes_of(name)
    if circle is None:
        return Variable(name, target_values(name, x, y, modulus)[:, None], None)
    columns, refused = angle_columns(*circle, x, y, modulus)
    if not columns:
        raise ArithprobeError(f"target {shown(name)!r}: nothing to probe for: {', '.join(refused)}")
    waves = [wave for found in columns.values() for wave in found.values()]
    whole = len(waves) == 2 * len(circle.frequencies)
    return Variable(name, torch.stack(waves, dim=1), circle if whole else None)


def planes_of(name: str) -> Circle | None:
    """The circle whose planes a name means, or None where it means something else.

    >>> planes_of("residuemod97f1to3+7")
    Circle(quantity='residue', period=97, frequencies=(1, 2, 3, 7))

    Raises:
        ArithprobeError: If its frequencies make no sense.
    """
    found = _PLANES.fullmatch(name)
    if found is None:
        return None
    frequencies: list[int] = []
    for part in found[3].split("+"):
        ends = _RANGE.fullmatch(part)
        first, last = (number_in(name, ends[1]), number_in(name, ends[2] or ends[1])) if ends else (1, 0)
        if not first <= last < first + MOST_FREQUENCIES:
            raise ArithprobeError(
                f"target {shown(name)!r}: expected frequencies like f1to3 or f1to3+7, at most {MOST_FREQUENCIES}"
            )
        frequencies += range(first, last + 1)
    if len(set(frequencies)) < len(frequencies):
        raise ArithprobeError(f"target {shown(name)!r}: a frequency is named twice")
    return Circle(found[1], number_in(name, found[2]), tuple(frequencies))  # type: ignore[arg-type]


def planes_name(quantity: str, period: int, frequencies: Sequence[int]) -> str:
    """The name of some planes of a circle, which :func:`planes_of` reads.

    >>> planes_name("residue", 97, [7, 1, 3, 2])
    'residuemod97f1to3+7'
    """
    ordered = sorted(frequencies)
    breaks = [0, *(at for at, (one, next_one) in enumerate(pairwise(ordered), 1) if next_one != one + 1), len(ordered)]
    runs = [ordered[first:last] for first, last in pairwise(breaks)]
    named = [f"{run[0]}to{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return f"{quantity}mod{period}f{'+'.join(named)}"
