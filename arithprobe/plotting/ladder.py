"""The figure of the ladder of evidence: claims and sites downwards, rungs to the right."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from arithprobe.behaviour import Behaviour
from arithprobe.logic import CANNOT_BE_TOLD, FAILS, HOLDS, State
from arithprobe.plotting.style import BLUE, GREY, INK, LIGHT, SMALL, TITLE, VERMILION, new_figure, tidy
from arithprobe.plotting.titles import set_title

_TITLE = "How far does the evidence reach?"
_CELL = (0.94, 0.84)  # of the distance between two
_ROOM = 1.42  # width of a rung, inches
_NUMBERS = {
    "behaviour": "skill of the answers",
    "decodable": "held-out R2",
    "selective": "highest R2 of\nuntrained networks",
    "geometric": "R2, values renamed\nor another period",
    "necessary": "skill and exact\nanswers left without it",
    "sufficient": "slope of the answer\n(1: it follows)",
}
"""What the numbers of each rung are."""


class _Look(NamedTuple):
    """How a state is drawn: told apart by its mark, its frame and its hatching too, without colours."""

    mark: str
    face: str
    edge: str
    width: float = 1.0
    hatch: str = ""
    letters: str = INK


_LOOKS: dict[State | None, _Look] = {
    HOLDS: _Look("✓", BLUE, BLUE, letters="white"),
    FAILS: _Look("✗", "white", VERMILION, 2.0),
    CANNOT_BE_TOLD: _Look("?", "#f4f4f4", GREY, hatch="////"),
    None: _Look("", "none", LIGHT),
}
_UNCOUNTED = _Look("✓", "white", BLUE)


def ladder_chart(
    lines: Sequence[tuple[str, Sequence[tuple[str, State, str]]]], rungs: Sequence[str], behaviour: Behaviour | None
) -> Figure:
    """A line for every claim and site, and a cell for every rung, filled if the rung holds and counts.

    A rung counts only if all before it hold: up to the bar of a line. One that holds beyond it is an empty frame. One
    that fails has a thick frame and a cross; one that cannot be told is hatched, and says so; one that was not tried
    is bare.

    Args:
        lines: Name of each line, and of every rung tried its name, state and value.
        rungs: All rungs, from the lowest.
        behaviour: The model's behaviour, for the title; None if the lines are of several models.
    """
    longest = max((len(name) for name, _ in lines), default=0)
    figure = new_figure(_ROOM * len(rungs) + 0.085 * longest + 0.6, 0.46 * len(lines) + 2.4)
    axes = figure.add_subplot()
    for row, (_, tried) in enumerate(lines):
        _line(axes, row, {rung: (state, text) for rung, state, text in tried}, rungs)
    axes.set_xlim(-0.6, len(rungs) - 0.4)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xticks(range(len(rungs)), [f"{rung}\n{_NUMBERS.get(rung, '')}".strip() for rung in rungs])
    axes.set_yticks(range(len(lines)), [name for name, _ in lines])
    axes.set_xlabel("rung, and what its number is")
    axes.set_ylabel("claim and site")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3, fontsize=SMALL, handleheight=1.3)
    if behaviour is None:
        axes.set_title(_TITLE, fontsize=TITLE, loc="left")
        tidy(figure)
    else:
        set_title(axes, _TITLE, behaviour)
    return figure


def _line(axes: Axes, row: int, cells: dict[str, tuple[State, str]], rungs: Sequence[str]) -> None:
    """The cells of a claim at a site, and the bar up to which they count."""
    counted = 0
    for column, rung in enumerate(rungs):
        state, text = cells.get(rung, (None, "not tried"))
        counted += counted == column and state == HOLDS
        look = _UNCOUNTED if state == HOLDS and counted <= column else _LOOKS[state]
        text = f"{look.mark} {text}\n{state}" if state == CANNOT_BE_TOLD else f"{look.mark} {text}".strip()
        axes.add_patch(_frame(look, (column - _CELL[0] / 2, row - _CELL[1] / 2)))
        behind = {"facecolor": look.face, "edgecolor": "none", "pad": 1.5} if look.hatch else None
        colour = look.letters if state is not None else GREY
        axes.text(column, row, text, ha="center", va="center", fontsize=SMALL, color=colour, bbox=behind)
    if counted:
        axes.plot([counted - 0.5] * 2, [row - 0.5, row + 0.5], color="black", linewidth=3, gid="reached")


def _frame(look: _Look, place: tuple[float, float]) -> Rectangle:
    return Rectangle(
        place, *_CELL, facecolor=look.face, edgecolor=look.edge, linewidth=look.width, hatch=look.hatch or None
    )


def _legend() -> list[Artist]:
    """What the looks are."""
    looks = [
        (_LOOKS[HOLDS], "✓ holds, and counts"),
        (_UNCOUNTED, "✓ holds, does not count: one before does not"),
        (_LOOKS[FAILS], f"✗ {FAILS}"),
        (_LOOKS[CANNOT_BE_TOLD], f"? {CANNOT_BE_TOLD}"),
        (_LOOKS[None], "not tried"),
    ]
    found: list[Artist] = [
        Patch(facecolor=one.face, edgecolor=one.edge, linewidth=one.width, hatch=one.hatch or None, label=label)
        for one, label in looks
    ]
    return [*found, Line2D([], [], color="black", linewidth=3, label="up to here the evidence reaches")]
