"""Token axes: the same names, characters and row counts in all figures."""

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
    named = [(place, name, round(count)) for place, (name, count) in enumerate(zip(names, counts, strict=True)) if name]
    same = len({count for _, _, count in named}) == 1
    upright = any(len(word) > _LONGEST for name in names for word in name.split())
    with_character = any(token_character(name) for name in names)
    labels = []
    for _, name, count in named:
        character = token_character(name)
        words = [name, character] if character or not with_character else [*name.split(" ", 1), ""][:2]
        parts = [*words[: 1 + with_character], *([] if same else [str(count)])]
        labels.append("  ".join(part for part in parts if part) if upright else "\n".join(parts))
    panel.set_xticks([place for place, _, _ in named], labels, rotation=90 if upright else 0)
    said = [*(["its character"] * with_character), f"{named[0][2]} {counted} each" if same else counted]
    panel.set_xlabel(f"{what} ({', '.join(said)})")


def token_character(name: str) -> str:
    """The character of a token, for a label; empty if the name does not tell, or already is the character.

    >>> [token_character(name) for name in ("x100", "sp1", "plus", "last", "5")]
    ['digit', '␣', '+', '?', '']

    Args:
        name: Name of a position.
    """
    character = character_of(LAST_ROLE if name == "last" else name)
    return "␣" if character == " " else character
