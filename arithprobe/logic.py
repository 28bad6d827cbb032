"""Whether something holds, in three states: a control that cannot be made is no evidence against."""

from collections.abc import Iterable
from typing import Final, Literal

State = Literal["holds", "does not hold", "cannot be told"]
HOLDS: Final = "holds"
FAILS: Final = "does not hold"
CANNOT_BE_TOLD: Final = "cannot be told"
LEVEL: Final = 0.05
"""Of every test against random labels, subspaces or patterns, and of the false discovery rate."""
FEWEST_DRAWS: Final = 19
"""Random draws, without which no p-value reaches the level."""


def state_of(parts: Iterable[bool | None]) -> State:
    """Whether all parts hold: not if any does not; if one is not known (None), it cannot be told.

    >>> state_of([True, True]), state_of([True, None]), state_of([False, None])
    ('holds', 'cannot be told', 'does not hold')
    """
    known = list(parts)
    if False in known:
        return FAILS
    return CANNOT_BE_TOLD if None in known else HOLDS


def above(value: float, *others: float) -> bool | None:
    """Whether a value is above each of others; None where that depends on one that is no number.

    >>> above(0.5, 0.4), above(0.5, 0.6, float("nan")), above(0.5, 0.4, float("nan"))
    (True, False, None)
    """
    parts = [value > other if value == value and other == other else None for other in others]
    return part_of(state_of(parts))


def part_of(state: State) -> bool | None:
    """A state as one of the parts that :func:`state_of` asks for.

    >>> part_of("holds"), part_of("does not hold"), part_of("cannot be told")
    (True, False, None)
    """
    return {HOLDS: True, FAILS: False, CANNOT_BE_TOLD: None}[state]
