"""Figures of measures against the size of the models: lines of panels, one a value of some key, behind the verdicts."""

import math
from collections.abc import Iterable, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from arithprobe.plotting.r2 import LOWEST, r2_axis
from arithprobe.plotting.scaling_curves import (
    Panels,
    Place,
    ScalingRow,
    draw,
    legend_line,
    marker_of,
    number,
    verdict_of,
)
from arithprobe.plotting.sheets import panels_below_a_title
from arithprobe.plotting.style import GREY, SMALL, TITLE, new_figure, row_lines, zero_line
from arithprobe.plotting.titles import set_trials_title

_FACETS = {"n_layers": "{} layer", "n_heads": "{} head"}
_ENTRY = 2.3  # width of an entry of the legend, inches
_FLOOR, _CEILING = -1.0, 2.0  # axes go no further
_NOTE = "Each mark is a trial"
_BARS = "; lines join means over seeds, bars are 95 % intervals of the mean over seeds, cut where the axis ends"


def scaling_figure(
    rows: Sequence[ScalingRow],
    facet: str | None,
    x: str,
    lines: Sequence[Panels],
    title: str,
    handles: Sequence[Artist],
    *,
    shared: bool = False,
) -> Figure | None:
    """Lines of panels, one a value of the facet, that share their axis to the right.

    Args:
        rows: The trials; those without a place, a panel or any of the points are left out.
        facet: The column of the panels; None for one panel a line.
        x: The column to the right.
        lines: What to draw, from above; a line of which there are no points is left out.
        title: What the figure shows.
        handles: What else the legend has.
        shared: Whether all lines share their axis upwards, and not only the panels of a line.

    Returns:
        The figure; None where there is no point.
    """
    lines = [line for line in lines if _with_any(rows, _pointed(line), x, facet)]
    rows = _with_any(rows, [column for line in lines for column in _pointed(line)], x, facet)
    if not rows:
        return None
    place, groups = _place_of(rows, x), _groups(rows, facet)
    size = (max(2.6 * len(groups) + 1.4, 8.0), 2.7 * len(lines) + 2.3)
    figure = new_figure(*size)
    strip, grid = panels_below_a_title(figure, len(lines), len(groups), shared=False)
    _share(grid, [place.of(row) for row in rows], place)
    everything = _values(rows, lines)
    for line, panels in zip(lines, grid, strict=True):
        _set_limits(panels[0], line, everything if shared else _values(rows, [line]))
        for panel, (heading, own) in zip(panels, groups, strict=True):
            if panels is grid[0]:
                panel.set_title(heading, fontsize=TITLE)
            draw(panel, own, place, line)
    figure.legend(
        handles=[*_entries(lines), *handles, *_verdicts(rows)],
        loc="outside lower center",
        fontsize=SMALL,
        ncols=max(2, int(size[0] / _ENTRY)),
    )
    artists = [line for panel in figure.axes for line in panel.lines]
    several = any(str(line.get_gid()).endswith(" interval") for line in artists)
    set_trials_title(strip, title, [verdict_of(row) for row in rows], f"{_NOTE}{_BARS if several else ''}.")
    return figure


def _set_limits(panel: Axes, line: Panels, values: Iterable[float]) -> None:
    """Name and limits upwards that hold all values; noise stays small, and what is very far off does not count."""
    panel.set_ylabel(line.name)
    known = [value for value in values if math.isfinite(value)]
    most, least = max([0.0, *known]), min([0.0, *known])
    high = 1.05 if 0.5 < most <= 1 else min(max(1.2 * most, 0.1), _CEILING)
    low = max(1.15 * least, _FLOOR) - 0.06 * high
    if line.of_r2 and most > 0.5:
        r2_axis(panel, line.name, max(low, LOWEST))
    else:
        panel.set_ylim(low, high)


def _pointed(line: Panels) -> list[str]:
    return [one.column for one in line.curves if one.points]


def _with_any(rows: Sequence[ScalingRow], columns: Iterable[str], x: str, facet: str | None) -> list[ScalingRow]:
    """The trials that have a place, a panel and one of the columns at least."""
    wanted = list(columns)
    placed = [row for row in rows if row.get(x) is not None and (facet is None or row.get(facet) is not None)]
    return [row for row in placed if any(math.isfinite(number(row, column)) for column in wanted)]


def _values(rows: Sequence[ScalingRow], lines: Sequence[Panels]) -> list[float]:
    return [number(row, column) for line in lines for column in line.columns for row in rows]


def _place_of(rows: Sequence[ScalingRow], x: str) -> Place:
    values = [row[x] for row in rows]
    plain = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return Place(x, () if plain else tuple(dict.fromkeys(str(value) for value in values)))


def _groups(rows: Sequence[ScalingRow], facet: str | None) -> list[tuple[str, list[ScalingRow]]]:
    """Title and trials of each panel; numbers in their order, all else as it comes."""
    if facet is None:
        return [("", list(rows))]
    groups: dict[str, list[ScalingRow]] = {}
    for row in rows:
        groups.setdefault(str(row[facet]), []).append(row)
    if all(isinstance(row[facet], int | float) for row in rows):
        groups = dict(sorted(groups.items(), key=lambda one: float(one[1][0][facet])))
    key = facet.rsplit(".", 1)[-1]
    form = _FACETS.get(key, f"{key} {{}}")
    plural = key in _FACETS
    return [(form.format(name) + "s" * (plural and name != "1"), own) for name, own in groups.items()]


def _share(grid: Sequence[Sequence[Axes]], at: Sequence[float], place: Place) -> None:
    """Shared axes, with their ticks and the name of the one to the right."""
    first = grid[0][0]
    for panels in grid:
        for panel in panels:
            if panel is not first:
                panel.sharex(first)
            if panel is not panels[0]:
                panel.sharey(panels[0])
            panel.tick_params(labelleft=panel is panels[0], labelbottom=panels is grid[-1], labelsize=SMALL)
            zero_line(panel)
            row_lines(panel)
            if panels is grid[-1]:
                panel.set_xlabel("parameters of the model" if place.x == "parameters" else place.x)
    low, high = min(at), max(at)
    if place.names:
        first.set_xlim(-0.6, len(place.names) - 0.4)
        first.set_xticks(range(len(place.names)), place.names)
        return
    if low > 0 and (place.x == "parameters" or high >= 5 * low):
        subs = (1.0, 2.0, 5.0) if high < 12 * low else (1.0, 3.0) if high < 300 * low else (1.0,)
        for panel in (panel for panels in grid for panel in panels):
            panel.set_xscale("log")
        first.set_xlim(low / 1.6, high * 1.6)
        first.xaxis.set_major_locator(LogLocator(subs=subs))
        first.xaxis.set_minor_formatter(NullFormatter())
    else:
        margin = 0.12 * (high - low) or max(0.1 * abs(high), 0.5)
        first.set_xlim(low - margin, high + margin)
        first.xaxis.set_major_locator(MaxNLocator(5))
    first.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def short(value: float) -> str:
    """A number for an axis.

    >>> [short(value) for value in (3e5, 2e7, 0.001, 64)]
    ['300k', '20M', '0.001', '64']
    """
    scale, unit = next(((one, name) for one, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= one), (1.0, ""))
    return f"{value / scale:.4g}{unit}"


def _entries(lines: Sequence[Panels]) -> list[Line2D]:
    """Entries of the legend for the curves that have a name."""
    named = {one.label: one for line in lines for one in line.curves if one.label}
    return [legend_line(label, one.colour, one.line) for label, one in named.items()]


def _verdicts(rows: Sequence[ScalingRow]) -> list[Line2D]:
    """Entries of the legend for the verdicts that there are."""
    found = dict.fromkeys(verdict_of(row) for row in rows)
    return [Line2D([], [], linestyle="none", label=verdict, **marker_of(verdict, GREY)) for verdict in found]
