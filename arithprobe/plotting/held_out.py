"""The figure of held-out R2 of probes, site by site, with interval and null."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from arithprobe.plotting.panels import name_axes
from arithprobe.plotting.sheets import panels_below_a_title
from arithprobe.plotting.style import BLUE, GREY, LIGHT, SMALL, new_figure
from arithprobe.plotting.titles import set_title
from arithprobe.probes.scores import CellScores

_LEFT, _RIGHT = -0.3, 1.02  # ends of the axis; a score below its left end stands at it
_COLUMNS = 3


def held_out_by_site(scores: Sequence[CellScores]) -> Figure:
    """Held-out R2 to the right, with a line for each site and a panel for each target; values are at the right.

    The bar through a dot is its 95 % interval. The grey bar ends at the 95 % quantile of permuted labels; a dot that is
    not above it is hollow and grey.

    Args:
        scores: One or more targets at the same S sites, one position.
    """
    sites, columns = scores[0].sites, min(_COLUMNS, len(scores))
    lines = -(-len(scores) // columns)
    longest = max(len(site) for site in sites)
    figure = new_figure(max(3.1 * columns + 0.07 * longest, 5.0), lines * (0.26 * len(sites) + 0.75) + 1.2)
    strip, grid = panels_below_a_title(figure, lines, columns)
    shown = [panel for line in grid for panel in line][: len(scores)]
    for panel, one in zip(shown, scores, strict=True):
        _draw(panel, one)
        panel.set_title(one.target, fontsize=SMALL + 1, loc="left", pad=3)
    shown[0].set_xlim(_LEFT, _RIGHT)
    shown[0].set_ylim(-0.6, len(sites) - 0.4)
    shown[0].set_yticks(range(len(sites)), sites)
    name_axes(grid, shown, "held-out R2", "site")
    figure.legend(handles=_legend(), loc="outside lower center", ncols=2, fontsize=SMALL)
    set_title(strip, "Ridge probes: held-out R2, beside permuted labels", None)
    return figure


def _draw(panel: Axes, one: CellScores) -> None:
    r2, low, high, null = (getattr(one, name)[:, 0].numpy() for name in ("r2", "low", "high", "null_high"))
    above = (one.skill[:, 0] > one.null_high[:, 0]).numpy()
    at = np.arange(len(r2))
    panel.barh(at, null.clip(_LEFT) - _LEFT, left=_LEFT, height=0.7, color=LIGHT, gid="null")
    panel.axvline(0, color="black", linewidth=0.6)
    ends = np.stack([low, high]).clip(_LEFT)
    panel.hlines(at, *ends, color=np.where(above, BLUE, GREY).tolist(), linewidth=2, gid="interval")
    for row, (value, is_above) in enumerate(zip(r2, above, strict=True)):
        marker, colour = "o" if value >= _LEFT else "<", BLUE if is_above else GREY
        panel.plot([max(value, _LEFT)], [row], marker, color=colour, markerfacecolor=colour if is_above else "white")
        panel.annotate(
            f"{value:.3f}" if value > -10 else f"{value:.2g}",
            (1, row),
            (3, 0),
            xycoords=panel.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
        )


def _legend() -> list[Line2D | Patch]:
    def mark(label: str, colour: str, face: str) -> Line2D:
        return Line2D([], [], marker="o", linewidth=2, color=colour, markerfacecolor=face, label=label)

    return [
        mark("above permuted labels, 95 % interval", BLUE, BLUE),
        mark("not above them", GREY, "white"),
        Patch(color=LIGHT, label="below the 95 % quantile of permuted labels"),
    ]
