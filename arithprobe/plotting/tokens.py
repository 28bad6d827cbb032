"""An axis of tokens: the same names, characters and row counts wherever a figure has one."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from arithprobe.problems.grammar import LAST_ROLE, character_of

_LONGEST = 6  # letters of a name that is read from left to right


def token_axis(panel: Axes, names: Sequence[str], counts: Sequence[float], counted: str, what: str) -> None:
    """Name the columns of a map after their tokens: the name, the character it stands for, and how many rows have it.

    Args:
        panel: The map, a column a token.
        names: ``last``, roles such as ``x100``, or indices of characters; empty where there is a gap.
        counts: Rows behind each column.
        counted: What is counted, such as ``held-out rows``.
        what: What the axis is, such as ``token``.
    """
    numbers = [round(count) if name else None for name, count in zip(names, counts, strict=True)]
    same = len({number for number in numbers if number is not None}) == 1
    lines = [
        (name, token_character(name), "" if same or number is None else str(number))
        for name, number in zip(names, numbers, strict=True)
    ]
    upright = any(len(name) > _LONGEST for name in names)
    with_character = any(character for _, character, _ in lines)
    parts = [(name, *([character] * with_character), *([number] * (not same))) for name, character, number in lines]
    panel.set_xticks(range(len(names)), [_joined(one, upright) for one in parts], rotation=90 if upright else 0)
    said = [*(["its character"] * with_character), f"{numbers[0]} {counted} each" if same else counted]
    panel.set_xlabel(f"{what} ({', '.join(said)})")


def _joined(parts: Sequence[str], upright: bool) -> str:
    """The parts of a label: in lines, or, where it is read upwards, in one."""
    return "  ".join(part for part in parts if part) if upright else "\n".join(parts)


def token_character(name: str) -> str:
    """What character a token is, for a label; empty where the name does not tell, or tells already.

    >>> [token_character(name) for name in ("x100", "sp1", "plus", "last", "5")]
    ['digit', '␣', '+', '?', '']

    Args:
        name: Name of a position.
    """
    character = character_of(LAST_ROLE if name == "last" else name)
    return "␣" if character == " " else character
