"""Figures to pixels, once for TensorBoard and files alike, and to SVG."""

import io
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Figure
from PIL import Image


def to_rgb(figure: Figure) -> npt.NDArray[np.uint8]:
    """(height, width, 3) pixels of a figure."""
    canvas: Any = FigureCanvasAgg(figure)
    _lay_out(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def to_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """The pixels as the content of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()


def to_svg(figure: Figure) -> str:
    """The figure as SVG: letters as outlines, no background of its own, and the same text each time."""
    _lay_out(figure)
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": "arithprobe", "savefig.bbox": None}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _lay_out(figure: Figure) -> None:
    """Place all parts, once and for good: a layout is slow, and one that starts from another differs a little."""
    engine = figure.get_layout_engine()
    if engine is not None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "constrained_layout not applied")  # no room: the figure is still one
            engine.execute(figure)
    with rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)
    for axes in figure.axes:  # the solver of the layout is not exact to the last bit, which would be in the SVG
        left, low, width, height = (round(part, 6) for part in axes.get_position(original=True).bounds)
        axes.set_position((left, low, width, height))
        axes.set_in_layout(True)  # for who crops the figure
