"""What a section of a page consists of."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from arithprobe.errors import ArithprobeError
from arithprobe.files import read_text
from arithprobe.plotting.render import Figure, to_svg
from arithprobe.said.content import Column, Picture, Table, Words

_PAPER = re.compile(r'(<path [^>]*?style="[^"]*?fill: )#ffffff')
_ID = re.compile(r' id="([^"]+)"')
_USE = re.compile(r'(href="#|url\(#)')
_RUNS = re.compile(r"<script|<foreignObject|<iframe|\son\w+\s*=|javascript:", re.IGNORECASE)
_USES = re.compile(r'(?:href="#|url\(#)([^")]+)')
_THEMED = {"#000000": "currentColor", "#b22222": "var(--bad)", "#cccccc": "var(--band)", "#dddddd": "var(--band)"}


@dataclass(frozen=True)
class Drawing:
    """A picture as it stands on the page."""

    kind: ClassVar[str] = "drawing"
    markup: str
    """SVG, or an HTML image."""
    finding: str
    """What it says, for those who do not see it."""
    caption: str
    """What it is."""
    does_not_show: str = ""
    """What nobody should conclude from it."""


@dataclass(frozen=True)
class Cube:
    """A map of sites with a slider over the validations."""

    kind: ClassVar[str] = "cube"
    caption: str
    """What it is."""
    finding: str
    """What its last step says."""
    across: str
    """What the columns are."""
    steps: Sequence[int]
    """T training steps made."""
    sites: Sequence[str]
    """S rows, the last layer first."""
    columns: Sequence[str]
    """C columns."""
    notes: Sequence[str]
    """C words below the columns; may be empty."""
    values: Any
    """(T, S, C) scores, None where there is none."""
    beaten: Any
    """(T, S, C) 1 where the score stands out."""
    score_name: str
    """What the score is."""
    marked: str
    """What it means that it stands out."""


@dataclass(frozen=True)
class Source:
    """Text as it stands in a file, or a command."""

    kind: ClassVar[str] = "source"
    title: str
    """What it is."""
    text: str
    """The text."""
    folded: bool = False
    """Whether it is shown only when asked for."""


@dataclass(frozen=True)
class Missing:
    """What was not measured, and the command that measures it."""

    kind: ClassVar[str] = "missing"
    text: str
    """What is missing."""
    command: str
    """What to type; may be empty."""


Block = Words | Table | Drawing | Cube | Source | Missing


def table(title: str, names: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Table:
    """A table that the page makes itself; the first column names the rows."""
    return Table(title, tuple(Column(name, is_text=at == 0) for at, name in enumerate(names)), tuple(rows))


def drawing(figure: Figure, finding: str, caption: str) -> Drawing:
    """A figure as a block."""
    return Drawing(_themed(to_svg(figure)), finding, caption)


def stored_drawing(path: Path, picture: Picture) -> Drawing | Missing:
    """A picture that lies in files, as SVG, or else as PNG.

    Args:
        path: Its path without the ending.
        picture: What its page file says of it.

    Raises:
        ArithprobeError: If the file is no whole picture, or would do something on the page.
    """
    drawn, pixels = (path.with_name(path.name + ending) for ending in (".svg", ".png"))
    if drawn.is_file():
        text = read_text(drawn).strip()
        if "<svg " not in text or not text.endswith("</svg>"):
            raise ArithprobeError(f"{drawn}: is no whole picture; delete it, or let what wrote it write it again")
        if _RUNS.search(text):
            raise ArithprobeError(f"{drawn}: is more than a picture, it has a script; delete it")
        markup = _themed(text)
    elif pixels.is_file():
        content = base64.b64encode(pixels.read_bytes()).decode()
        markup = f'<img alt="" src="data:image/png;base64,{content}">'
    else:
        return Missing(f"{picture.caption}: its file {drawn.name} is gone.", "")
    return Drawing(markup, picture.finding, picture.caption, picture.does_not_show)


def with_own_ids(markup: str, prefix: str) -> str:
    """The SVG with ids of its own, so that many stand on one page, and without those that nothing refers to."""
    used = set(_USES.findall(markup))
    own = _ID.sub(lambda found: f' id="{prefix}-{found[1]}"' if found[1] in used else "", markup)
    return _USE.sub(lambda found: f"{found[1]}{prefix}-", own)


def _themed(svg: str) -> str:
    """The SVG without its heading, in the colours of the page: black is the page's ink, boxes are its paper."""
    svg = svg[svg.index("<svg") :]
    for colour, name in _THEMED.items():
        svg = svg.replace(colour, name)
    svg = _PAPER.sub(r"\1var(--paper)", svg)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
