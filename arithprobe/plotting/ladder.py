"""The ladder of evidence as a picture: claims and sites down, rungs to the right."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from arithprobe.behaviour import Behaviour
from arithprobe.plotting.style import GREY, INK, SMALL, TITLE, new_figure, tidy
from arithprobe.plotting.titles import set_title

_PASSED, _FAILED, _UNTRIED = "#9fd8c3", "#f2b8a0", "#eeeeee"  # light, for letters on them


def ladder_chart(
    lines: Sequence[tuple[str, Sequence[tuple[str, bool, str]]]], rungs: Sequence[str], behaviour: Behaviour | None
) -> Figure:
    """A line for every claim and site, a cell for every rung: green where it holds, orange where it does not.

    A rung counts only if all before it hold: from the first orange cell on, frames are dashed.

    Args:
        lines: Name of each line, and of every rung tried its name, whether it holds, and its figure.
        rungs: All rungs, from the lowest.
        behaviour: The model's behaviour, for the title; None where the lines are of several models.
    """
    longest = max((len(name) for name, _ in lines), default=0)
    figure = new_figure(1.3 * len(rungs) + 0.085 * longest + 0.6, 0.46 * len(lines) + 1.7)
    axes = figure.add_subplot()
    for row, (_, tried) in enumerate(lines):
        cells = {rung: (passed, text) for rung, passed, text in tried}
        counts = True
        for column, rung in enumerate(rungs):
            passed, text = cells.get(rung, (False, ""))
            colour = _UNTRIED if rung not in cells else _PASSED if passed else _FAILED
            counts = counts and passed
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
    axes.set_xlabel("rung (green: holds; orange: does not; dashed: does not count; grey: not tried)")
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
