"""The common scale of all axes and colours of R2: linear up to 0.9, then logarithmic in the unexplained share.

Near 1 a linear axis shows nothing: 0.982 and 0.999 are at one place on it, although one of them leaves eighteen times
as much variance unexplained. From 0.9 on, the axis is logarithmic in ``1 - R2``, joined without a kink; below, it is
linear down through 0, so that nulls and scores below 0 keep their places.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import FuncNorm
from matplotlib.image import AxesImage
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from arithprobe.plotting.panels import annotate, frame_bare, heat
from arithprobe.plotting.tips import set_tips

KNEE = 0.9
"""Where the straight part ends."""
LOWEST, HIGHEST = -0.5, 0.9999
"""Ends of the longest axis: what is beyond stands at its end."""
SCALE = "linear to 0.9, then log of 1 - R2"
"""The scale in words; every axis and colour bar of an R2 says so."""
_TICKS = (-0.3, 0.0, 0.3, 0.6, 0.9, 0.99, 0.999, HIGHEST)
_SLOPE = 1 / ((1 - KNEE) * math.log(10))  # decades per unit of R2 at the knee
_MARGIN = 0.15  # decades, beyond the highest
_Array = npt.NDArray[np.float64]


def place(r2: npt.ArrayLike) -> _Array:
    """The place of an R2 on the axis, in decades.

    >>> place([0.0, 0.9, 0.99, 0.999]).round(2).tolist()
    [0.0, 3.91, 4.91, 5.91]

    Args:
        r2: Scores; any value above 0.9999 is placed just beyond it.
    """
    values = np.asarray(r2, dtype=np.float64)
    near = np.log10((1 - KNEE) / np.maximum(1 - values, 10 ** -(_MARGIN - math.log10(1 - HIGHEST))))
    found: _Array = np.where(values > KNEE, KNEE * _SLOPE + near, values * _SLOPE)
    return found


def r2_at(places: npt.ArrayLike) -> _Array:
    """The inverse of :func:`place`.

    >>> r2_at(place([-0.2, 0.5, 0.99])).round(6).tolist()
    [-0.2, 0.5, 0.99]
    """
    at = np.asarray(places, dtype=np.float64)
    beyond = np.maximum(at - KNEE * _SLOPE, 0.0)
    found: _Array = np.where(beyond > 0, 1 - (1 - KNEE) * 10**-beyond, at / _SLOPE)
    return found


def within(r2: npt.ArrayLike, lowest: float = LOWEST) -> _Array:
    """Clip scores to the ends of the axis; NaN stays.

    Args:
        r2: Scores.
        lowest: The lower end.
    """
    found: _Array = np.clip(np.asarray(r2, dtype=np.float64), lowest, HIGHEST)
    return found


def ticks(low: float, high: float = HIGHEST) -> tuple[list[float], list[str]]:
    """The places and texts of the numbers on an axis from one R2 to another.

    >>> ticks(-0.05)
    ([0.0, 0.3, 0.6, 0.9, 0.99, 0.999, 0.9999], ['0', '0.3', '0.6', '0.9', '0.99', '0.999', '≥0.9999'])

    Args:
        low: Its lower end.
        high: Its upper end.
    """
    at = [tick for tick in _TICKS if low <= tick <= high]
    return at, [f"{'≥' * (tick == HIGHEST)}{tick:g}" for tick in at]


def r2_axis(panel: Axes, name: str, low: float, which: Literal["x", "y"] = "y") -> None:
    """Give a panel the axis of an R2, which always ends at 0.9999, so that figures compare.

    Args:
        panel: The panel, or one of those that share the axis.
        name: Name of the score; the scale is added to it.
        low: Lower end.
        which: The axis.
    """
    axis = panel.yaxis if which == "y" else panel.xaxis
    (panel.set_yscale if which == "y" else panel.set_xscale)("function", functions=(place, r2_at))
    (panel.set_ylim if which == "y" else panel.set_xlim)(low, 1 - 10 ** -(_MARGIN - math.log10(1 - HIGHEST)))
    at, names = ticks(low)
    axis.set_major_locator(FixedLocator(at))
    axis.set_major_formatter(FixedFormatter(names))
    axis.set_minor_locator(NullLocator())
    axis.set_label_text(name_of_axis(name, upright=which == "y"))


def name_of_axis(name: str, upright: bool = True) -> str:
    """The name of a score with its scale.

    Args:
        name: Name of the score.
        upright: Whether to write three short lines instead of two.
    """
    return f"{name}\n({SCALE.replace(', ', ',' + chr(10)) if upright else SCALE})"


def r2_heat(panel: Axes, values: npt.ArrayLike, lowest_first: bool = True) -> AxesImage:
    """Draw a map of R2 in the colours of the scale, always from 0 to 0.9999; NaN has only a frame.

    Args:
        panel: The panel.
        values: (rows, columns).
        lowest_first: Whether row 0 is at the bottom.
    """
    image = heat(panel, values, (0.0, HIGHEST), norm=r2_norm(), lowest_first=lowest_first)
    frame_bare(panel, values)
    return image


def r2_norm() -> FuncNorm:
    """The colour norm of the scale, from 0 to 0.9999."""
    return FuncNorm((place, r2_at), vmin=0.0, vmax=HIGHEST)


def r2_numbers(panel: Axes, image: AxesImage, values: npt.ArrayLike) -> None:
    """Write each R2 into its cell.

    Args:
        panel: Where.
        image: The map.
        values: (rows, columns), including cells without a colour.
    """
    annotate(panel, image, values, form=r2_text)
    set_tips(image, np.asarray(values, dtype=np.float64))


def r2_bar(panels: Axes | Sequence[Axes], image: ScalarMappable, name: str, fraction: float = 0.05) -> Colorbar:
    """Draw the colour bar of a map of R2.

    Args:
        panels: The panels that it stands beside.
        image: The map, or another picture in these colours.
        name: Name of the score.
        fraction: Its share of the panels' width.
    """
    first = panels if isinstance(panels, Axes) else panels[0]
    figure = first.get_figure(root=True)
    if figure is None:
        raise ValueError("the panels are in no figure")
    bar = figure.colorbar(image, ax=panels, label=f"{name}\n({SCALE})", fraction=fraction)
    at, names = ticks(0.0)
    bar.set_ticks(at, labels=names)
    bar.minorticks_off()
    return bar


def r2_text(value: float) -> str:
    """Format an R2 in few characters that still tell 0.982 from 0.999.

    >>> [r2_text(value) for value in (0.982, 0.9991, 0.99999, 0.5, 0.0004, -0.02, -3.14, -70, float("nan"))]
    ['.982', '.9991', '1', '.500', '0', '-.020', '-3.1', '<-10', '-']

    Args:
        value: The R2.
    """
    if math.isnan(value):
        return "-"
    if value < -9.95:
        return "<-10"
    if value <= -0.9995:
        return f"{value:.1f}"
    digits = 4 if value >= 0.99 else 3
    rounded = f"{value:.{digits}f}"
    if float(rounded) == 0:
        return "0"
    return "1" if float(rounded) == 1 else rounded.replace("0.", ".", 1)
