"""Names of points in a scatter plot, placed in free space."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from arithprobe.plotting.style import GREY, SMALL

MARKER = 3.5
"""Radius of a point, points."""
_LABEL = (24.0, 9.5)  # width and height of a name of four letters, points
_RINGS = (1.0, 1.5, 2.1, 2.8, 3.6, 4.5, 5.5, 6.6, 8.0)  # how far names are tried from their points
_Box = tuple[float, float, float, float]


def name_points(panel: Axes, names: Sequence[str], x: Tensor, y: Tensor, upright: float | None) -> None:
    """Write each point's name in free space, with a line to the point if it is far; or not at all.

    Args:
        panel: The panel; its limits must be settled, and the figure laid out.
        names: N names.
        x: (N,) horizontal places; a point with NaN is left out.
        y: (N,) vertical places.
        upright: Place of a vertical line to keep clear of, if there is one.
    """
    places = torch.stack([x, y], dim=1)
    known = places.isfinite().all(dim=1)
    names = [name for name, shown in zip(names, known.tolist(), strict=True) if shown]
    figure = panel.get_figure(root=True)
    to_points = 72 / (figure.dpi if figure is not None else 72)
    at = (panel.transData.transform(places[known].numpy()) * to_points).tolist()
    frame = left, low, right, high = tuple((panel.get_window_extent().get_points().ravel() * to_points).tolist())
    x0, y0 = (panel.transData.transform((upright or 0.0, 0.0)) * to_points).tolist()
    taken = [(across - MARKER, up - MARKER, across + MARKER, up + MARKER) for across, up in at]
    lines = [(left, y0, right, y0), *([] if upright is None else [(x0, low, x0, high)])]
    for name, point, place in zip(names, at, places[known].tolist(), strict=True):
        found = _free(point, [*taken, *lines], frame) or _free(point, taken, frame)
        if found is None:
            continue
        dx, dy, ring = found
        taken.append(_box(point[0] + dx, point[1] + dy))
        line = {"arrowstyle": "-", "linewidth": 0.5, "color": GREY, "shrinkA": 0, "shrinkB": 2}
        panel.annotate(
            name,
            place,
            (dx, dy),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=SMALL,
            arrowprops=line if ring > 1 else None,
        ).set_in_layout(False)


def _free(at: tuple[float, float], taken: Sequence[_Box], frame: _Box) -> tuple[float, float, float] | None:
    """The nearest offset at which a name covers nothing, and its ring; None where there is none."""
    reach = (_LABEL[0] / 2 + MARKER + 1, _LABEL[1] / 2 + MARKER)
    for ring, turn in itertools.product(_RINGS, np.linspace(0, 2 * math.pi, 16, endpoint=False).tolist()):
        dx, dy = ring * reach[0] * math.cos(turn), ring * reach[1] * math.sin(turn)
        low_x, low_y, high_x, high_y = box = _box(at[0] + dx, at[1] + dy)
        inside = frame[0] < low_x and frame[1] < low_y and high_x < frame[2] and high_y < frame[3]
        if inside and not any(_overlap(box, other) for other in taken):
            return dx, dy, ring
    return None


def _box(x: float, y: float) -> _Box:
    return (x - _LABEL[0] / 2, y - _LABEL[1] / 2, x + _LABEL[0] / 2, y + _LABEL[1] / 2)


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
