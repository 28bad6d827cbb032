"""The ladder of evidence as a picture: claims and sites down, rungs to the right."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from arithprobe.behaviour import Behaviour
from arithprobe.logic import CANNOT_BE_TOLD, FAILS, HOLDS, State
from arithprobe.plotting.style import GREY, INK, SMALL, TITLE, new_figure, tidy
from arithprobe.plotting.titles import set_title

_COLOURS: dict[State, str] = {
    HOLDS: "#9fd8c3",
    FAILS: "#f2b8a0",
    CANNOT_BE_TOLD: "#c9d3f2",
}  # light, for letters on them
_UNTRIED = "#eeeeee"
_MEANING = f"green: {HOLDS}; orange: {FAILS}; blue: {CANNOT_BE_TOLD}; grey: not tried; dashed: does not count"


def ladder_chart(
    lines: Sequence[tuple[str, Sequence[tuple[str, State, str]]]], rungs: Sequence[str], behaviour: Behaviour | None
) -> Figure:
    """A line for every claim and site, a cell for every rung: green where it holds, orange where it does not.

    Where it cannot be told, the cell is blue, and says so. A rung counts only if all before it hold: from the first
    cell on that is not green, frames are dashed.

    Args:
        lines: Name of each line, and of every rung tried its name, state and value.
        rungs: All rungs, from the lowest.
        behaviour: The model's behaviour, for the title; None where the lines are of several models.
    """
    longest = max((len(name) for name, _ in lines), default=0)
    figure = new_figure(1.3 * len(rungs) + 0.085 * longest + 0.6, 0.46 * len(lines) + 1.7)
    axes = figure.add_subplot()
    for row, (_, tried) in enumerate(lines):
        cells = {rung: (state, text) for rung, state, text in tried}
        counts = True
        for column, rung in enumerate(rungs):
            state, text = cells.get(rung, (None, ""))
            colour = _UNTRIED if state is None else _COLOURS[state]
            text = f"{text}\n{state}".strip() if state == CANNOT_BE_TOLD else text
            counts = counts and state == HOLDS
            style = "solid" if counts else "dashed"
            place = (column - 0.47, row - 0.42)
            axes.add_patch(
                Rectangle(place, 0.94, 0.84, facecolor=colour, edgecolor=GREY, linewidth=0.8, linestyle=style)
            )
            axes.text(column, row, text, ha="center", va="center", fontsize=SMALL, color=INK)
    axes.set_xlim(-0.6, len(rungs) - 0.4)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xticks(range(len(rungs)), rungs)
    axes.set_yticks(range(len(lines)), [name for name, _ in lines])
    axes.set_xlabel(f"rung ({_MEANING})")
    axes.set_ylabel("claim and site")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if behaviour is None:
        axes.set_title("Ladder of evidence", fontsize=TITLE, loc="left")
        tidy(figure)
    else:
        set_title(axes, "Ladder of evidence", behaviour)
    return figure
