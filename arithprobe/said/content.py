"""The blocks that an analysis speaks in, and all that it says."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from arithprobe.behaviour import Behaviour
from arithprobe.errors import ArithprobeError
from arithprobe.plotting.render import Figure

_NAME = re.compile(r"[A-Za-z0-9][\w.@+-]{0,99}")
Tone = Literal["plain", "good", "doubtful", "bad"]
"""How a line is meant: ``bad`` warns."""


def require_name(name: object) -> None:
    """Refuse what is no plain name of a file: a path could point anywhere.

    Raises:
        ArithprobeError: If it is none.
    """
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ArithprobeError(f"{name!r:.80} is no name of a file; expected at most 100 letters, digits and . _ @ + -")


@dataclass(frozen=True)
class Words:
    """A paragraph, or a few lines."""

    kind: ClassVar[str] = "words"
    text: str
    """What it says; its line breaks are kept."""
    tone: Tone = "plain"
    """How it is meant."""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    """Its heading."""
    is_text: bool = False
    """Whether its cells are words, and not numbers."""
    optional: bool = False
    """Whether it is left out where the lines are too short for it, as on a terminal."""


@dataclass(frozen=True)
class Table:
    """Rows of text."""

    kind: ClassVar[str] = "table"
    title: str
    """What it is."""
    columns: tuple[Column, ...]
    """C columns; the cells of the first name the rows."""
    rows: tuple[tuple[str, ...], ...]
    """Rows of C cells."""
    notes: tuple[str, ...] = ()
    """What its headings and marks mean, a line each."""


@dataclass(frozen=True)
class Picture:
    """A figure, drawn when somebody looks.

    Raises:
        ArithprobeError: If its name is no plain name of a file.
    """

    kind: ClassVar[str] = "picture"
    name: str
    """Name of its file without the ending, ``ridge_sum``."""
    draw: Callable[[], Figure]
    """Draws it."""
    finding: str
    """What it says, for those who do not see it."""
    caption: str
    """What it is."""
    does_not_show: str = ""
    """What nobody should conclude from it."""

    def __post_init__(self) -> None:
        require_name(self.name)


@dataclass(frozen=True)
class Chart:
    """Curves of logged scalars, one for each site: TensorBoard lays them out, and the page draws them."""

    kind: ClassVar[str] = "chart"
    target: str
    """Target of their tags."""
    heading: str
    """What is drawn."""
    metrics: tuple[str, ...]
    """Metrics of their tags: the score, and then what it is compared with."""
    is_band: bool = False
    """Whether the second and the third metric are the ends of a band."""
    headlines: tuple[str, ...] = ()
    """Metrics that runs are compared by, at the last site: columns of HPARAMS."""
    score: str = ""
    """What the score is, ``held-out R2``, for the axis of the page's curves; empty where the page draws none."""
    null: str = ""
    """What the last metric is, ``permuted labels``."""
    board: Literal["score", "all", "none"] = "score"
    """What the TensorBoard logger of the commands shows: the score at each site with the second of ``headlines`` (or of
    ``metrics``) at the last one, all metrics, or none."""
    sites: tuple[str, ...] = ()
    """Sites that are drawn; ``embed``, ``resid_post`` and ``final`` where empty."""


@dataclass(frozen=True)
class CellMap:
    """A map of sites by validation, from the lines of a live probe's records: the page puts a slider below it."""

    kind: ClassVar[str] = "cells"
    caption: str
    """What it is."""
    across: str
    """What its columns are, ``token position``."""
    column: str
    """Field of a cell that says its column, ``position``."""
    mark: str
    """Field of a cell that says whether its score stands out: true or false."""
    where: Mapping[str, Any] = field(default_factory=dict)
    """Fields that its cells have, and their values: ``{"target": "sum"}``."""
    score: str = "r2"
    """Field of a cell that is drawn."""
    count: str = ""
    """Field of a cell with the rows behind it; empty for none."""
    null: str = ""
    """Field of a cell with what its score is compared with; empty for none."""
    score_name: str = "held-out R2"
    """What the score is, for people: 1 is perfect."""
    marked: str = "above permuted labels (p at most 0.05)"
    """What it means that a score stands out."""


Content = Words | Table | Picture | Chart | CellMap


@dataclass(frozen=True)
class Said:
    """What an analysis found: numbers for files, and blocks for people.

    Raises:
        ArithprobeError: If its name, or that of a record, is no plain name of a file.
    """

    name: str
    """First part of its file ``<name>.page.json``, and the anchor of its section on the page."""
    title: str
    """Heading of its section."""
    behaviour: Behaviour | None
    """Has the model learned the task: every reader says that first. None of a network that was not judged yet."""
    blocks: tuple[Content, ...] = ()
    """What people read, in order."""
    records: Mapping[str, Any] = field(default_factory=dict)
    """What goes to JSON, by the name of the file without its ending."""
    shows: str = ""
    """What it can tell."""
    does_not_show: str = ""
    """What it cannot."""
    rank: int = 100
    """Where its section stands on the page: small numbers first."""
    checkpoint: str | None = None
    """Where the model comes from; None of a model that is being trained."""
    weights: str | None = None
    """Hash of the model's weights; None where it is not known."""
    files: Mapping[str, Callable[[Path], object]] = field(default_factory=dict)
    """What else it leaves: paths inside the folder, each with what writes the file."""
    scalars: Mapping[str, float] = field(default_factory=dict)
    """What a live probe logs, by tag."""
    line: Mapping[str, Any] = field(default_factory=dict)
    """What a live probe adds to ``probes/<name>.jsonl``, a line a validation."""
    also: tuple["Said", ...] = ()
    """What the same run says of further questions, each with files and a section of its own."""

    def __post_init__(self) -> None:
        for name in (self.name, *self.records):
            require_name(name)

    @property
    def parts(self) -> tuple["Said", ...]:
        """This one, and what it says also."""
        return (self, *self.also)

    @property
    def lines(self) -> list[str]:
        """What it says in words, line by line."""
        return [line for block in self.blocks if isinstance(block, Words) for line in block.text.splitlines()]

    @property
    def pictures(self) -> Iterator[Picture]:
        """The pictures among its own blocks."""
        return (block for block in self.blocks if isinstance(block, Picture))
