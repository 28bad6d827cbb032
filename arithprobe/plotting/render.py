"""Rendering of figures to pixels, once for TensorBoard and files alike, and to SVG."""

import io
import json
import re
import warnings
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Figure
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont

from arithprobe.plotting.tips import tips_of

_LINES = 4  # of a finding above a thumbnail
FONTS = "'DejaVu Sans', 'Bitstream Vera Sans', Verdana, Geneva, sans-serif"
"""Fonts of the letters in an SVG. All were drawn on one set of widths, by which the figure is laid out: Linux has the
first or the second, Windows and macOS have the third."""
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "arithprobe",
    "savefig.bbox": None,
    "font.sans-serif": ["DejaVu Sans"],
}
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_FAMILY = re.compile(r"(; )?font-family: 'DejaVu Sans'(, sans-serif)?(?=[;\"])")
_UNTURNED = re.compile(r' transform="rotate\(-?0 [^)]*\)"')
_PLACES = re.compile(r' (?:d|x|y)="[^"]*"')
_FINE = re.compile(r"(\.\d\d)\d+")


def to_rgb(figure: Figure) -> npt.NDArray[np.uint8]:
    """Return the (height, width, 3) pixels of a figure."""
    canvas: Any = FigureCanvasAgg(figure)
    _lay_out(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def thumbnail(pixels: npt.NDArray[np.uint8], finding: str) -> npt.NDArray[np.uint8]:
    """Return the pixels with their finding above them, in letters that stay readable at a third of the width.

    TensorBoard shows every image some 350 pixels wide, where the letters of a figure are unreadable.

    Args:
        pixels: (height, width, 3) pixels of a figure.
        finding: The finding in a sentence or two.
    """
    width = pixels.shape[1]
    size = max(12, width // 26)
    font = ImageFont.truetype(findfont(FontProperties(family="DejaVu Sans", weight="bold")), size)
    lines, line = [], ""
    for word in finding.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > 0.97 * width:
            lines.append(line)
            longer = word
        line = longer
    lines = [*lines, line][:_LINES]
    head = Image.new("RGB", (width, int(size * 1.35 * len(lines)) + size // 2), "white")
    ImageDraw.Draw(head).multiline_text((0.015 * width, size // 4), "\n".join(lines), "black", font, spacing=size // 4)
    return np.concatenate([np.asarray(head), pixels])


def to_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return the pixels as the content of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()


def to_svg(figure: Figure) -> str:
    """Return the figure as SVG, with letters as text, without a background, and the same each time.

    It carries its values, see :mod:`arithprobe.plotting.tips`, as JSON in an element ``metadata`` of class ``tips``.
    """
    _lay_out(figure)
    buffer = io.StringIO()
    with rc_context(_SETTINGS):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = _short(buffer.getvalue())
    if tips := tips_of(figure):
        carried = escape(json.dumps(tips, ensure_ascii=False, separators=(",", ":")), quote=False)
        head, end, tail = text.rpartition("</svg>")
        text = f'{head}<metadata class="tips">{carried}</metadata>\n{end}{tail}'
    return text


def _short(svg: str) -> str:
    """The SVG without what a page does not need, its fonts named once, and its places to a hundredth of a point."""
    svg = _METADATA.sub("", svg, count=1)
    svg = _FAMILY.sub(lambda found: "" if found[1] else "font-family: inherit", svg)
    svg = _UNTURNED.sub("", svg)
    svg = _PLACES.sub(lambda found: _FINE.sub(r"\1", found[0].replace("\n", "")), svg)
    return svg.replace("<svg ", f'<svg font-family="{FONTS}" ', 1)


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
