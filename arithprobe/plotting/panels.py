"""Matrices in panels that share their axes: colours, numbers in cells, names of axes."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from arithprobe.plotting.style import GREY, INK, LIGHT, SMALL
from arithprobe.plotting.tips import set_tips

_BRIGHT = 0.45  # of a colour: above, letters on it are dark
_DECADES = 2.0  # beyond, only whole decades of a logarithmic axis have numbers


def heat(
    panel: Axes,
    values: object,
    limits: tuple[float, float] = (0.0, 1.0),
    colours: str = "viridis",
    gamma: float = 1.0,
    lowest_first: bool = False,
    norm: Normalize | None = None,
) -> AxesImage:
    """Draw a matrix in a fixed colour scale; values beyond it have the colour of its ends, and NaN has none.

    Args:
        panel: Where.
        values: (rows, columns).
        limits: Ends of the scale.
        colours: Its name.
        gamma: Power of the scale: 0.5 is by square roots.
        lowest_first: Row 0 below.
        norm: Another scale with the same limits.
    """
    image = panel.imshow(
        np.clip(np.asarray(values, dtype=np.float64), *limits),
        cmap=colormaps[colours].with_extremes(bad="none"),
        norm=PowerNorm(gamma, *limits) if norm is None else norm,
        aspect="auto",
        origin="lower" if lowest_first else "upper",
    )
    set_tips(image, np.asarray(values, dtype=np.float64))  # also what is beyond the scale
    return image


def frame_bare(panel: Axes, values: npt.ArrayLike) -> None:
    """Draw a thin frame round every cell without a colour, so that a map without colours still looks like one.

    Args:
        panel: The map.
        values: (rows, columns), NaN where there is no colour.
    """
    bare = np.isnan(np.asarray(values, dtype=np.float64)).nonzero()
    frames = [Rectangle((column - 0.5, row - 0.5), 1, 1) for row, column in zip(*bare, strict=True)]
    panel.add_collection(PatchCollection(frames, facecolor="none", edgecolor=LIGHT, linewidth=0.6), autolim=False)


def ink(image: ScalarMappable, value: float) -> str:
    """Return a letter colour that is readable on the colour of a value; for NaN, one readable on any page.

    Args:
        image: The picture of the values.
        value: The value.
    """
    if math.isnan(value):
        return GREY
    colour = image.to_rgba(np.clip(value, *image.get_clim()))
    return INK if float(np.dot(colour[:3], (0.299, 0.587, 0.114))) > _BRIGHT else "white"


def annotate(panel: Axes, image: AxesImage, values: npt.ArrayLike, form: Callable[[float], str] | None = None) -> None:
    """Write each value into its cell, in dark or white, whichever is readable.

    Args:
        panel: Where.
        image: The picture of the values.
        values: (rows, columns).
        form: Formats a value; by default two decimals, fewer if it is large, and nothing for NaN.
    """
    at = np.asarray(image.get_array(), dtype=np.float64)
    for (row, column), value in np.ndenumerate(np.asarray(values, dtype=np.float64)):
        text = (form or shown)(value)
        if text:
            panel.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=SMALL,
                color=ink(image, float(at[row, column])),
                in_layout=False,  # it is within its cell, and to measure each is slow
            )


def shown(value: float) -> str:
    """Format a value with two decimals, fewer if it is large; empty for NaN."""
    if math.isnan(value):
        return ""
    if abs(value) < 0.005:
        return "0"
    return f"{value:.2f}" if abs(value) < 9.95 else f"{value:.0f}" if abs(value) < 99999.5 else f"{value:.0e}"


def logarithmic(panel: Axes) -> None:
    """Make the vertical axis logarithmic, with plain numbers at 1, 2 and 5."""
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())


def logarithmic_over(panel: Axes, values: npt.NDArray[np.float64]) -> None:
    """Make the vertical axis logarithmic, with numbers at 1, 2 and 5 or, over many decades, at some of these.

    Args:
        panel: The panel.
        values: The values drawn in it, all above 0, at least one.
    """
    if math.log10(values.max() / values.min()) <= _DECADES:
        logarithmic(panel)
    else:
        panel.set_yscale("log")


def mark_uniform(bar: Colorbar, value: float) -> None:
    """Draw an arrow beside a colour bar, at the value of uniform attention."""
    across = bar.ax.get_yaxis_transform()
    bar.ax.plot([-0.35], [value], ">", color="black", markersize=4.5, clip_on=False, transform=across, gid="uniform")


def lowest(grid: Sequence[Sequence[Axes]], shown: Sequence[Axes]) -> list[Axes]:
    """The panels to label below: those of the last line, and of the line before if the last is not full.

    Args:
        grid: Panels, line by line.
        shown: Those that are used.
    """
    full = all(panel in shown for panel in grid[-1])
    return [panel for line in grid[-1 if full else -2 :] for panel in line if panel in shown]


def name_axes(grid: Sequence[Sequence[Axes]], shown: Sequence[Axes], across: str, down: str) -> None:
    """Name the axes of panels that share them, and hide the panels that are not used.

    Args:
        grid: Panels, line by line.
        shown: Those that are used.
        across: Name of the horizontal axis.
        down: Name of the vertical axis.
    """
    for panel in lowest(grid, shown):
        panel.set_xlabel(across)
    for line in grid:
        line[0].set_ylabel(down)
    for panel in (panel for line in grid for panel in line if panel not in shown):
        panel.set_axis_off()
