"""The common style of all figures: colours that the colour-blind tell apart, font sizes, spines and lines."""

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY, GREY = "#cc79a7", "#56b4e9", "#777777"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY, GREY)
"""Colours of curves, in this order; the palette of Okabe and Ito, and a grey."""
LIGHT = "#cccccc"
"""Colour of bands and bars that hold what is compared with."""
INK = "#101010"
"""Colour of letters on bright cells, and of edges of white marks. All else that is dark is pure black, which a page in
dark mode turns to the colour of its own letters."""
WARNING = "firebrick"
"""Colour of the title where a model has not learned."""
DPI = 110
"""Pixels an inch of a picture."""
TITLE, LABEL, SMALL = 10, 9, 8
"""Sizes of letters, points: titles; names of axes; all else. Nothing is smaller."""


class _ShownFigure(Figure):
    """A figure that a notebook shows as it is, whether or not it was told to draw inline."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        FigureCanvasAgg(self).print_png(buffer)  # type: ignore[no-untyped-call]
        return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Return a new empty figure, independent of windows and other figures.

    Args:
        width: Inches.
        height: Inches.
    """
    return _ShownFigure(figsize=(width, height), layout="constrained", dpi=DPI)


def tidy(figure: Figure) -> None:
    """Apply the common style to the figure so far: letters of one size, and no lines or boxes without meaning.

    Sizes of ticks that were set with ``tick_params`` stay.

    Args:
        figure: The figure, fully drawn.
    """
    for axes in figure.axes:
        if axes.get_label() == "<colorbar>" or axes.images:
            axes.spines[:].set_visible(False)
        axes.spines[["top", "right"]].set_visible(False)
        for axis in (axes.xaxis, axes.yaxis):
            axis.label.set_fontsize(LABEL)
            if "labelsize" not in axis.get_tick_params():
                axis.set_tick_params(labelsize=SMALL)
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    for legend in legends:
        if legend is not None:
            legend.set_frame_on(False)


def zero_line(axes: Axes) -> None:
    """Draw a thin horizontal line where a measure is 0."""
    axes.axhline(0, color="black", linewidth=0.6)


def row_lines(axes: Axes) -> None:
    """Draw faint horizontal lines that guide the eye."""
    axes.grid(axis="y", linewidth=0.4, alpha=0.5)
