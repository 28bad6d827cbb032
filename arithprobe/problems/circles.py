"""Circles: a quantity, its period and some frequencies; each frequency is a plane of a cosine and a sine."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from arithprobe.errors import ArithprobeError, shown
from arithprobe.problems.quantities import number_in

MOST_FREQUENCIES = 48
"""Frequencies looked for where none are named; all there are of 97."""
_PLANES = re.compile(r"([A-Za-z_][A-Za-z_0-9]*?)mod([1-9][0-9]*)f([0-9to+]+)")
_RANGE = re.compile(r"([1-9][0-9]*)(?:to([1-9][0-9]*))?")


class Circle(NamedTuple):
    """A quantity, its period, and the frequencies to look for.

    >>> Circle("residue", 97, (1, 2, 3)).name
    'residuemod97'
    """

    quantity: str
    """Name of the whole number that goes around, such as ``residue``."""
    period: int
    """Period k: after so many steps it is round once."""
    frequencies: tuple[int, ...]
    """Turns per period, n."""

    @property
    def name(self) -> str:
        """As in tags and files."""
        return f"{self.quantity}mod{self.period}"


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
    return Circle(found[1], number_in(name, found[2]), tuple(frequencies))


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
