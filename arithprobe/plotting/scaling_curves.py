"""Curves of measures against the size of the models: every trial by its verdict, means over seeds, and controls."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation, Transform

from arithprobe.plotting.style import LIGHT, SMALL
from arithprobe.probes.metrics import MeanOverSeeds, mean_over_seeds

ScalingRow = Mapping[str, Any]
"""One trial: parameters by configuration key (with a dot in them), and what was measured."""

Line = Literal["-", "--", ":"]
UNKNOWN = "verdict unknown"
"""Of a trial without a verdict."""
_MARKERS = {"LEARNED": ("o", True), "PARTLY LEARNED": ("o", False), "NOT LEARNED": ("x", True), UNKNOWN: ("D", False)}
_APART = 5.0  # points between curves at the same place


class Place(NamedTuple):
    """What is to the right."""

    x: str
    """Column of the trials' table that says how far to the right a trial is."""
    names: tuple[str, ...]
    """What its values are called, at 0, 1, 2, ..., where they are no numbers; empty where all are."""

    def of(self, row: ScalingRow) -> float:
        """Where a trial is."""
        return float(self.names.index(str(row[self.x]))) if self.names else float(row[self.x])


class Curve(NamedTuple):
    """One measure."""

    column: str
    """Column of the trials' table that is drawn upwards."""
    label: str
    """What the legend calls it; empty where another entry of the legend tells."""
    colour: str
    """Matplotlib colour of line and points."""
    line: Line = "-"
    """Dashes of the line."""
    points: bool = True
    """Whether every trial is drawn, by its verdict; else it is a line only, a little longer than its places."""
    low: str | None = None
    """Column of the lower end of a range that is drawn as a bar, the widest over the seeds."""
    high: str | None = None
    """Column of its upper end."""


class Panels(NamedTuple):
    """One line of panels."""

    name: str
    """Label of the axis upwards."""
    curves: Sequence[Curve]
    """Curves drawn in each panel."""
    null: Sequence[str] = ()
    """Columns of the null: all up to the largest of them over the seeds is shaded."""
    of_r2: bool = False
    """Whether it is an R2: where one is above 0.5, the axis is that of every R2."""

    @property
    def columns(self) -> list[str]:
        """All columns that are drawn."""
        ends = [end for one in self.curves for end in (one.low, one.high) if end is not None]
        return [*(one.column for one in self.curves), *ends, *self.null]


def number(row: ScalingRow, column: str) -> float:
    """What was measured; NaN where it is missing."""
    value = row.get(column)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan


def verdict_of(row: ScalingRow) -> str:
    """A trial's verdict, in words also where there is none."""
    verdict = str(row.get("verdict"))
    return verdict if verdict in _MARKERS else UNKNOWN


def marker_of(verdict: str, colour: str) -> dict[str, Any]:
    """How a trial with this verdict is marked, as options of a line."""
    shape, filled = _MARKERS[verdict]
    face = colour if filled else "white"
    return {"marker": shape, "color": colour, "markerfacecolor": face, "markersize": 4.5, "markeredgewidth": 1.1}


def legend_line(label: str, colour: str, line: Line) -> Line2D:
    """An entry of a legend for a line."""
    return Line2D([], [], color=colour, linestyle=line, label=label, linewidth=1.4)


def draw(panel: Axes, rows: Sequence[ScalingRow], place: Place, line: Panels) -> None:
    """Draw all of one panel, whose limits are settled.

    Args:
        panel: Where.
        rows: Its trials.
        place: Where they are to the right.
        line: What to draw.
    """
    if line.null:
        _band(panel, rows, place, line.null)
    pointed = [one for one in line.curves if one.points]
    for one in line.curves:
        if one.low is not None and one.high is not None:
            _range(panel, rows, place, one.low, one.high)
        if not one.points:
            _control(panel, rows, place, one)
    for index, one in enumerate(pointed):
        known = [row for row in rows if math.isfinite(number(row, one.column))]
        shifted = _shifted(panel, _APART * (index - (len(pointed) - 1) / 2))
        _means(panel, known, place, one, shifted)
        _trials(panel, known, place, one, shifted)


def _shifted(panel: Axes, points: float) -> Transform:
    """Data to pixels, some points to the right, so that curves at the same place do not hide each other."""
    figure = panel.get_figure(root=True)
    if figure is None:
        return panel.transData
    return panel.transData + ScaledTranslation(points / 72, 0, figure.dpi_scale_trans)


def _means(panel: Axes, rows: Sequence[ScalingRow], place: Place, curve: Curve, shifted: Transform) -> None:
    """The mean of each cell with its interval over seeds, and a line through.

    The trials of a cell are equal in all parameters; no line where cells that differ are at the same place.
    """
    cells = _cells(rows, place, curve.column)
    at, means, colour = [where for where, _ in cells], [one.mean for _, one in cells], curve.colour
    if len(set(at)) == len(at):
        panel.plot(at, means, curve.line, color=colour, linewidth=1.2, transform=shifted, gid=f"{curve.column} mean")
    for where, one in cells:
        if one.n > 1:
            panel.plot(
                [where] * 2,
                [one.low, one.high],
                "_-",
                color=colour,
                linewidth=1,
                markersize=5,
                transform=shifted,
                gid=f"{curve.column} interval",
            )


def _cells(rows: Sequence[ScalingRow], place: Place, column: str) -> list[tuple[float, MeanOverSeeds]]:
    """Place and mean of the trials that are equal in all parameters but the seed, from left to right."""
    cells: dict[tuple[float, str], list[float]] = {}
    for row in rows:
        same = str(sorted((name, str(value)) for name, value in row.items() if "." in name))
        cells.setdefault((place.of(row), same), []).append(number(row, column))
    return sorted(((where, mean_over_seeds(values)) for (where, _), values in cells.items()), key=lambda one: one[0])


def _trials(panel: Axes, rows: Sequence[ScalingRow], place: Place, curve: Curve, shifted: Transform) -> None:
    """Every trial by its verdict; one beyond the axis stands at its end, with the value beside."""
    low, high = panel.get_ylim()
    for verdict in dict.fromkeys(verdict_of(row) for row in rows):
        own = [row for row in rows if verdict_of(row) == verdict]
        panel.plot(
            [place.of(row) for row in own],
            np.clip([number(row, curve.column) for row in own], low, high),
            linestyle="none",
            clip_on=False,
            zorder=3,
            transform=shifted,
            gid=f"{curve.column} {verdict}",
            **marker_of(verdict, curve.colour),
        )
    for row in rows:
        value = number(row, curve.column)
        if not low <= value <= high:
            below = value < low
            panel.annotate(
                f"{value:.2g}",
                (place.of(row), low if below else high),
                (5, 3 if below else -3),
                xycoords=shifted,
                textcoords="offset points",
                fontsize=SMALL,
                color=curve.colour,
                va="bottom" if below else "top",
            )


def _control(panel: Axes, rows: Sequence[ScalingRow], place: Place, curve: Curve) -> None:
    """A line through the means of what the points are compared with."""
    found = _at_places(rows, place, [curve.column])
    at, means = _longer(list(found), panel, place), [mean_over_seeds(values).mean for values in found.values()]
    panel.plot(at, _ends_twice(means), curve.line, color=curve.colour, linewidth=1.1, gid=curve.column)


def _band(panel: Axes, rows: Sequence[ScalingRow], place: Place, columns: Sequence[str]) -> None:
    """Shade all up to the largest of the columns."""
    found = _at_places(rows, place, columns)
    if found:
        top = _ends_twice([max(values) for values in found.values()])
        at, low = _longer(list(found), panel, place), panel.get_ylim()[0]
        panel.fill_between(at, top, low, color=LIGHT, linewidth=0, zorder=0, gid="null")


def _range(panel: Axes, rows: Sequence[ScalingRow], place: Place, low: str, high: str) -> None:
    """A bar from the lowest of one column to the highest of another, at each place."""
    lows, highs = _at_places(rows, place, [low]), _at_places(rows, place, [high])
    for at in lows.keys() & highs.keys():
        panel.plot(
            [at] * 2,
            [min(lows[at]), max(highs[at])],
            color=LIGHT,
            linewidth=7,
            solid_capstyle="butt",
            zorder=0.5,
            gid=f"{low} range",
        )


def _at_places(rows: Sequence[ScalingRow], place: Place, columns: Sequence[str]) -> dict[float, list[float]]:
    """All values of the columns at each place, from left to right."""
    found: dict[float, list[float]] = {}
    for row in sorted(rows, key=place.of):
        known = [value for value in (number(row, column) for column in columns) if math.isfinite(value)]
        if known:
            found.setdefault(place.of(row), []).extend(known)
    return found


def _ends_twice(values: Sequence[float]) -> list[float]:
    return [*values[:1], *values, *values[-1:]]


def _longer(at: Sequence[float], panel: Axes, place: Place) -> list[float]:
    """The places, with one more on either side: also a single one has some width."""
    if not at:
        return []
    if panel.get_xscale() == "log":
        return [at[0] / 1.25, *at, at[-1] * 1.25]
    margin = 0.2 if place.names else 0.04 * float(np.ptp(panel.get_xlim()))
    return [at[0] - margin, *at, at[-1] + margin]
