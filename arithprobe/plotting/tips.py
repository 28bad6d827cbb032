"""What a reader is told who points at a cell, a point or a bar of a figure: words that its SVG carries.

They come from the figure itself, from its values and the names of its axes. A figure that knows more than it draws,
such as the null behind a score, says so with :func:`set_tips`.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FixedLocator
from matplotlib.transforms import Bbox

_MOST = 300  # points of one curve or cloud; nobody points at one of more
_KEPT = "arithprobe_tips"
_MARGIN = 2.0  # pixels beyond the frame at which a point still counts
_BESIDE = re.compile(r"\s*[(;].*", re.DOTALL)
_Array = npt.NDArray[Any]


class _Tips(NamedTuple):
    """What is said of an artist instead of what it draws; None for what it draws."""

    words: _Array
    name: str | None
    rows: Sequence[str] | None
    columns: Sequence[str] | None


def set_tips(
    artist: Artist,
    words: object,
    *,
    name: str | None = None,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> None:
    """Say what a reader is told who points at a part of an artist.

    Args:
        artist: An image or a mesh, a curve, or a cloud of points.
        words: (rows, columns) of a map, (N,) of points: words, or numbers; an empty word says nothing.
        name: What the words are, ``held-out R2``; by default the label of the colour bar or of the curve.
        rows: Names of the rows of a map; by default those of its ticks.
        columns: Names of its columns.
    """
    setattr(artist, _KEPT, _Tips(np.asarray(words), name, rows, columns))


def tips_of(figure: Figure) -> list[dict[str, Any]]:
    """The tips of a figure, in points from its upper left corner.

    Args:
        figure: Laid out.

    Returns:
        Maps ``{x, y, rows, columns, name, words}`` with the edges of their columns and rows, clouds of points
        ``{at, name, words}`` and bars ``{boxes, name, words}``.
    """
    panels = [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]
    panels = [axes for axes in panels if axes.has_data()]
    found: list[dict[str, Any]] = []
    for axes in panels:
        place = _Place(axes, figure, len(panels) > 1)
        maps = [one for one in axes.get_children() if isinstance(one, (AxesImage, QuadMesh)) and one.get_visible()]
        if maps:
            found += [_map(one, place) for one in maps if np.ma.asarray(one.get_array()).ndim == 2]
        else:
            found += [one for one in (*_bars(place), *_points(place)) if one["words"]]
    return found


class _Place:
    """A panel: where things in it are, and what its axes are called."""

    def __init__(self, axes: Axes, figure: Figure, is_one_of_many: bool) -> None:
        self.axes = axes
        self._height = float(figure.bbox.height)
        self._scale = 72 / figure.dpi
        titles = (axes.get_title(loc=loc) for loc in ("center", "left"))
        title = next((one for one in titles if one and "Model " not in one), "")
        self.title = title.partition("\n")[0] if is_one_of_many else ""
        self._seen: set[tuple[int, int]] = set()

    def points(self, places: npt.ArrayLike) -> _Array:
        """(N, 2) places in the panel's data as points from the figure's upper left corner."""
        pixels = np.asarray(self.axes.transData.transform(np.asarray(places, dtype=np.float64)))
        return self.down(pixels)

    def down(self, pixels: _Array) -> _Array:
        """(N, 2) pixels from below as points from above."""
        return (np.column_stack([pixels[:, 0], self._height - pixels[:, 1]]) * self._scale).round(1)

    def is_new(self, place: Sequence[float]) -> bool:
        """Whether a point is in the frame, and the first at its place."""
        x, y = self.axes.transData.transform(place)
        frame: Bbox = self.axes.bbox.padded(_MARGIN)
        if not (math.isfinite(x) and math.isfinite(y) and frame.contains(x, y)) or (round(x), round(y)) in self._seen:
            return False
        self._seen.add((round(x), round(y)))
        return True

    def named(self, words: str | None) -> str:
        """The name of a part, with that of its panel."""
        return ", ".join(one for one in (self.title, words) if one)

    def at(self, x: float, y: float) -> str:
        """A place in words: what is to the right, and what is upwards."""
        across, up = _named(self.axes.xaxis, x), _named(self.axes.yaxis, y)
        return ", ".join(one for one in (across, up) if one)


def _map(image: Any, place: _Place) -> dict[str, Any]:
    """A map: the edges of its cells, their names and words."""
    given: _Tips | None = getattr(image, _KEPT, None)
    values = np.ma.filled(np.ma.asarray(image.get_array(), dtype=np.float64), np.nan) if given is None else given.words
    if isinstance(image, QuadMesh):
        corners = np.asarray(image.get_coordinates())
        across, up = corners[0, :, 0], corners[:, 0, 1]
    else:
        left, right, low, high = image.get_extent()
        across, up = np.linspace(left, right, values.shape[1] + 1), np.linspace(low, high, values.shape[0] + 1)
        up = up if image.origin == "lower" else up[::-1]
    middle_x, middle_y = (0.5 * (one[1:] + one[:-1]) for one in (across, up))
    rows, columns = (None, None) if given is None else (given.rows, given.columns)
    label = None if image.colorbar is None else _clean(image.colorbar.ax.get_ylabel())
    return {
        "x": place.points(np.column_stack([across, np.full(len(across), up[0])]))[:, 0].tolist(),
        "y": place.points(np.column_stack([np.full(len(up), across[0]), up]))[:, 1].tolist(),
        "rows": [_named(place.axes.yaxis, one) for one in middle_y] if rows is None else list(rows),
        "columns": [_named(place.axes.xaxis, one) for one in middle_x] if columns is None else list(columns),
        "panel": place.title,
        "name": label or "" if given is None or given.name is None else given.name,
        "words": [[_word(one) for one in row] for row in values.tolist()],
    }


def _points(place: _Place) -> Iterator[dict[str, Any]]:
    """Curves and clouds of points, with their intervals where they have any."""
    bars = {one.lines[0]: one for one in place.axes.containers if isinstance(one, ErrorbarContainer)}
    curves = sorted(place.axes.lines, key=lambda one: not hasattr(one, _KEPT))  # what says more comes first
    for line in curves:
        is_ruled = len(line.get_xydata()) == 2 and str(line.get_marker()) in ("None", "none", "", " ")
        if line.get_visible() and line.get_transform() == place.axes.transData and not is_ruled:
            at = np.ma.filled(np.ma.asarray(line.get_xydata(), dtype=np.float64), np.nan)
            yield _cloud(line, at, place, bars.get(line))
    for cloud in place.axes.collections:
        if isinstance(cloud, PathCollection) and cloud.get_visible():
            yield _cloud(cloud, np.ma.filled(np.ma.asarray(cloud.get_offsets(), dtype=np.float64), np.nan), place)


def _cloud(artist: Artist, at: _Array, place: _Place, interval: ErrorbarContainer | None = None) -> dict[str, Any]:
    given: _Tips | None = getattr(artist, _KEPT, None)
    label = str((artist if interval is None else interval).get_label())
    gid = artist.get_gid() or ""
    label = _clean(label if label and not label.startswith("_") else gid)
    name = label if given is None or given.name is None else given.name
    few = len(at) <= _MOST and (given is None or len(given.words) == len(at))
    shown = [index for index, point in enumerate(at) if place.is_new(point)] if few else []
    ends = _ends(interval, len(at))
    words = [place.at(*at[index]) + ends[index] if given is None else _word(given.words[index]) for index in shown]
    return {"at": place.points(at[shown]).tolist() if shown else [], "name": place.named(name), "words": words}


def _ends(interval: ErrorbarContainer | None, n: int) -> list[str]:
    """The ends of the upright error bars of a curve, in words."""
    if interval is None or not interval.has_yerr or not interval.lines[2]:
        return [""] * n
    segments = interval.lines[2][-1].get_segments()
    if len(segments) != n:
        return [""] * n
    return [f" [{one[0][1]:.3g}, {one[-1][1]:.3g}]" if len(one) else "" for one in segments]


def _bars(place: _Place) -> Iterator[dict[str, Any]]:
    for container in place.axes.containers:
        if isinstance(container, BarContainer) and len(container.patches) <= _MOST:
            label = str(container.get_label())
            upright = container.orientation != "horizontal"
            boxes, words = [], []
            for bar in container.patches:
                low, high = place.down(np.asarray(bar.get_window_extent().get_points()))
                box = [*np.minimum(low, high).tolist(), *np.maximum(low, high).tolist()]
                middle = bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height() / 2
                ends = (
                    (middle[0], bar.get_y() + bar.get_height())
                    if upright
                    else (bar.get_x() + bar.get_width(), middle[1])
                )
                if all(map(math.isfinite, (*box, *ends))):
                    boxes.append(box)
                    words.append(place.at(*ends))
            yield {"boxes": boxes, "name": place.named("" if label.startswith("_") else _clean(label)), "words": words}


def _named(axis: Axis, value: float) -> str:
    """A place on an axis: the name that its ticks give it, or the axis and the number."""
    label, locator = _label(axis), axis.get_major_locator()
    if not isinstance(locator, FixedLocator):
        return f"{label} {_word(value)}".strip()
    at = [float(one) for one in axis.get_majorticklocs()]
    names = [str(one).partition("\n")[0] for one in axis.get_major_formatter().format_ticks(at)]
    if any(_number(name) is None for name in names if name):  # words, each at the middle of what it names
        nearest = min(range(len(at)), key=lambda index: abs(at[index] - value))
        return names[nearest] if abs(at[nearest] - value) < 0.5 else ""
    if axis.get_scale() == "linear" and any(_number(name) != one for name, one in zip(names, at, strict=True) if name):
        exact = next((name for name, one in zip(names, at, strict=True) if math.isclose(one, value, abs_tol=1e-9)), "")
        return f"{label} {exact}".strip() if exact else ""  # between two of them nobody knows the number
    return f"{label} {_word(value)}".strip()


def _label(axis: Axis) -> str:
    """What an axis is called, there or where another panel shares it."""
    axes = axis.axes
    is_across = axis is axes.xaxis
    shared = (axes.get_shared_x_axes() if is_across else axes.get_shared_y_axes()).get_siblings(axes)
    every = [axes, *(one for one in shared if one is not axes)]
    labels = (one.get_xlabel() if is_across else one.get_ylabel() for one in every)
    return next((cleaned for label in labels if (cleaned := _clean(label))), "")


def _clean(label: str) -> str:
    """A label in one line, without what is in brackets or after a semicolon."""
    return _BESIDE.sub("", " ".join(label.split()))


def _number(name: str) -> float | None:
    """The number that a tick says; None of one that says a word."""
    try:
        return float(name.lstrip("<>=≤≥ ").replace("\N{MINUS SIGN}", "-"))
    except ValueError:
        return None


def _word(value: object) -> str:
    """A word as it is; a number in four digits, and a dash for none."""
    if isinstance(value, str):
        return str(value)
    number = float(value) + 0.0  # type: ignore[arg-type]  # no -0
    return f"{number:.4g}" if math.isfinite(number) else "-"
