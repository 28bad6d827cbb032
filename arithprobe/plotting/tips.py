"""Tips of figures: words, carried in the SVG, that a reader sees when pointing at a cell, a point or a bar.

They come from the figure itself, from its values and the names of its axes. A figure that knows more than it draws,
such as the null behind a score, adds it with :func:`set_tips`.
"""

import math
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
from matplotlib.transforms import Bbox

from arithprobe.plotting.axis_names import in_words, label_of, name_on, one_line

_MOST = 300  # points of one curve or cloud; nobody points at one of more
_KEPT = "arithprobe_tips"
_MARGIN = 2.0  # pixels beyond the frame at which a point still counts
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
    """Set the tips that a reader sees when pointing at a part of an artist.

    Args:
        artist: An image or a mesh, a curve, or a cloud of points.
        words: (rows, columns) for a map, (N,) for points: words or numbers; an empty word gives no tip.
        name: The name of the words, such as ``held-out R2``; by default the label of the colour bar or curve.
        rows: Names of the rows of a map; by default those of its ticks.
        columns: Names of its columns.
    """
    setattr(artist, _KEPT, _Tips(np.asarray(words), name, rows, columns))


def tips_of(figure: Figure) -> list[dict[str, Any]]:
    """The tips of a figure, in points from its upper left corner.

    Args:
        figure: The figure, laid out.

    Returns:
        Maps ``{x, y, rows, columns, name, words}`` with the edges of their columns and rows, clouds of points
        ``{at, name, words}`` and bars ``{boxes, name, words}``.
    """
    panels = [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]
    panels = [axes for axes in panels if axes.has_data()]
    scales = [axes.get_ylabel() for axes in figure.axes if axes.get_label() == "<colorbar>"]
    scale = scales[0] if len(scales) == 1 else ""
    found: list[dict[str, Any]] = []
    for axes in panels:
        place = _Place(axes, figure, len(panels) > 1)
        maps = [one for one in axes.get_children() if isinstance(one, (AxesImage, QuadMesh)) and one.get_visible()]
        if maps:
            found += [_map(one, place, scale) for one in maps if np.ma.asarray(one.get_array()).ndim == 2]
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

    def named(self, words: str) -> str:
        """The name of a part, with that of its panel."""
        return ", ".join(one for one in (self.title, words) if one)

    def at(self, x: float, y: float) -> str:
        """A place in words: what is to the right, and what is upwards."""
        across, up = name_on(self.axes.xaxis, x), name_on(self.axes.yaxis, y)
        return ", ".join(one for one in (across, up) if one)


def _map(image: Any, place: _Place, scale: str) -> dict[str, Any]:
    """A map: the edges of its cells, their names and words; the scale is that of the figure's only colour bar."""
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
    names: list[Sequence[str]] = [_cells(place.axes.yaxis, middle_y, "from"), _cells(place.axes.xaxis, middle_x, "to")]
    if given is not None:
        names = [own if own is not None else found for own, found in zip(given[2:], names, strict=True)]
    label = one_line(scale if image.colorbar is None else image.colorbar.ax.get_ylabel())
    return {
        "x": place.points(np.column_stack([across, np.full(len(across), up[0])]))[:, 0].tolist(),
        "y": place.points(np.column_stack([np.full(len(up), across[0]), up]))[:, 1].tolist(),
        "rows": names[0],
        "columns": names[1],
        "panel": place.title,
        "name": label if given is None or given.name is None else given.name,
        "words": [[in_words(one) for one in row] for row in values.tolist()],
    }


def _cells(axis: Axis, at: _Array, way: str) -> list[str]:
    """The names of rows or columns; of attention with the way it goes, ``from plus`` and ``to x10``."""
    names = [name_on(axis, one) for one in at.tolist()]
    return [f"{way} {name}" for name in names] if label_of(axis).startswith(f"{way} ") else names


def _points(place: _Place) -> Iterator[dict[str, Any]]:
    """Curves and clouds of points, with their intervals where they have any."""
    bars = {one.lines[0]: one for one in place.axes.containers if isinstance(one, ErrorbarContainer)}
    curves = sorted(place.axes.lines, key=lambda one: not hasattr(one, _KEPT))  # what says more comes first
    for line in curves:
        is_ruled = len(np.asarray(line.get_xydata())) == 2 and str(line.get_marker()) in ("None", "none", "", " ")
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
    label = one_line(label if label and not label.startswith("_") else gid)
    name = label if given is None or given.name is None else given.name
    few = len(at) <= _MOST and (given is None or len(given.words) == len(at))
    shown = [index for index, point in enumerate(at) if place.is_new(point)] if few else []
    ends = _ends(interval, len(at))
    words = [place.at(*at[index]) + ends[index] if given is None else in_words(given.words[index]) for index in shown]
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
            yield {
                "boxes": boxes,
                "name": place.named("" if label.startswith("_") else one_line(label)),
                "words": words,
            }
