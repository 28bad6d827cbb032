"""What a section of a page consists of."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from arithprobe.files import read_text
from arithprobe.plotting.render import Figure, to_svg

_PAPER = re.compile(r'(<path [^>]*?style="[^"]*?fill: )#ffffff')
_ID = re.compile(r' id="([^"]+)"')
_USE = re.compile(r'(href="#|url\(#)')
_USES = re.compile(r'(?:href="#|url\(#)([^")]+)')
_THEMED = {"#000000": "currentColor", "#b22222": "var(--bad)", "#cccccc": "var(--band)", "#dddddd": "var(--band)"}


@dataclass(frozen=True)
class Picture:
    """A figure."""

    kind: ClassVar[str] = "picture"
    markup: str
    """SVG, or an HTML image."""
    finding: str
    """What it says, for those who do not see it."""
    caption: str
    """What it is."""


@dataclass(frozen=True)
class Table:
    """Rows of text."""

    kind: ClassVar[str] = "table"
    caption: str
    """What it is."""
    header: Sequence[str]
    """Names of the columns."""
    rows: Sequence[Sequence[str]]
    """The cells; the first of a row is its heading."""


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
    """(T, S, C) 1 where the score is above its null."""


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    kind: ClassVar[str] = "words"
    text: str
    """What it says."""
    bad: bool = False
    """Whether it warns."""


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


Block = Picture | Table | Cube | Words | Source | Missing


def picture(figure: Figure, finding: str, caption: str) -> Picture:
    """A figure as a block."""
    return Picture(_themed(to_svg(figure)), finding, caption)


def stored_picture(folder: Path, name: str, finding: str, caption: str) -> Picture | None:
    """A picture that a run or a command left, as SVG, or else as PNG; None where there is none."""
    drawn, pixels = folder / f"{name}.svg", folder / f"{name}.png"
    if drawn.is_file():
        return Picture(_themed(read_text(drawn)), finding, caption)
    if pixels.is_file():
        content = base64.b64encode(pixels.read_bytes()).decode()
        return Picture(f'<img alt="" src="data:image/png;base64,{content}">', finding, caption)
    return None


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
