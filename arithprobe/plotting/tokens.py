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
    with_character = any(character for _, character, _ in lines)
    labels = ["\n".join((name, *([character] * with_character), *([n] if n else []))) for name, character, n in lines]
    upright = any(len(name) > _LONGEST for name in names)
    panel.set_xticks(range(len(names)), labels, rotation=90 if upright else 0)
    below = [*(["its character"] * with_character), *([] if same else [counted])]
    said = [f"below it: {', '.join(below)}"] * bool(below) + [f"{numbers[0]} {counted} each"] * same
    panel.set_xlabel(f"{what} ({'; '.join(said)})")


def token_character(name: str) -> str:
    """What character a token is, for a label; empty where the name does not tell, or tells already.

    >>> [token_character(name) for name in ("x100", "sp1", "plus", "last", "5")]
    ['digit', '␣', '+', '?', '']

    Args:
        name: Name of a position.
    """
    character = character_of(LAST_ROLE if name == "last" else name)
    return "␣" if character == " " else character
