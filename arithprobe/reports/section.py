"""A section of the page."""

from collections.abc import Callable
from typing import NamedTuple

from arithprobe.reports.blocks import Block
from arithprobe.reports.run import Run


class Section(NamedTuple):
    """A heading, what it can tell, and what stands below it for each run."""

    name: str
    """Its anchor."""
    title: str
    """Its heading."""
    shows: str
    """What it can tell."""
    does_not_show: str
    """What it cannot."""
    of: Callable[[Run], list[Block]]
    """What stands there for a run."""
