"""Figures to pixels, once for TensorBoard and files alike."""

import io
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Figure
from PIL import Image


def to_rgb(figure: Figure) -> npt.NDArray[np.uint8]:
    """(height, width, 3) pixels of a figure."""
    canvas: Any = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "constrained_layout not applied")  # no room: the figure is still one
        canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def to_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """The pixels as the content of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()
