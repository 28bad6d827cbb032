"""What a section of a page consists of."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from arithprobe.errors import ArithprobeError
from arithprobe.files import read_text
from arithprobe.plotting.render import Figure, to_svg
from arithprobe.reports.vector import NotAPictureError, NotWholeError, inline
from arithprobe.said.content import Column, Picture, Table, Words


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
    width: int = 0
    """Its natural width, pixels; 0 where it is not known."""


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
    nulls: Any
    """(T, S, C) what each is compared with, or None where nobody said it."""
    counts: Any
    """(T, S, C) the rows behind each, or None where nobody counted them."""
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
    markup, width = inline(to_svg(figure))
    return Drawing(markup, finding, caption, width=width or 0)


def stored_drawing(path: Path, picture: Picture) -> Drawing | Missing:
    """A picture that lies in files, as SVG, or else as PNG.

    Args:
        path: Its path without the ending.
        picture: What its page file says of it.

    Raises:
        ArithprobeError: If the file is no whole picture, or would do something on the page.
    """
    drawn, pixels = (path.with_name(path.name + ending) for ending in (".svg", ".png"))
    width: int | None = None
    if drawn.is_file():
        try:
            markup, width = inline(read_text(drawn))
        except NotWholeError as error:
            again = "delete it, or let what wrote it write it again"
            raise ArithprobeError(f"{drawn}: is no whole picture ({error}); {again}") from error
        except NotAPictureError as error:
            raise ArithprobeError(f"{drawn}: is more than a picture, it has {error}; delete it") from error
    elif pixels.is_file():
        content = base64.b64encode(pixels.read_bytes()).decode()
        markup = f'<img alt="" src="data:image/png;base64,{content}">'
    else:
        return Missing(f"{picture.caption}: its file {drawn.name} is gone.", "")
    return Drawing(markup, picture.finding, picture.caption, picture.does_not_show, width or 0)
