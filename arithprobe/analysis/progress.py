"""The progress of a long analysis: it announces the steps that it expects, and each step that starts."""

import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from markupsafe import escape

Item = TypeVar("Item")
Told = Callable[[str, int, int], object]
"""Takes the name of a step as it starts, the steps done before it, and how many there are in all, as far as known."""


class Progress:
    """Counts the steps of a run.

    Args:
        told: Is called with each step as it starts.

    Attributes:
        done: Steps that have started.
        total: Steps expected, as far as is known yet; never fewer than those that have started.
    """

    def __init__(self, told: Told | None = None) -> None:
        self._told = told
        self.done = self.total = 0

    @classmethod
    def by_name(cls, told: "ProgressOption") -> "Progress":
        """Make the counter of an analysis from the caller's ``progress`` argument."""
        if isinstance(told, Progress):
            return told
        if isinstance(told, bool) or told is None:
            return cls(_shown() if told else None)
        return cls(lambda name, done, total: told(name))

    def expect(self, count: int) -> None:
        """Announce further steps; a negative number withdraws steps that were expected."""
        self.total += count

    def __call__(self, name: str) -> None:
        """A step starts; one that nobody expected counts too."""
        self.total = max(self.total, self.done + 1)
        if self._told is not None:
            self._told(name, self.done, self.total)
        self.done += 1

    def over(self, items: Iterable[Item], named: Callable[[Item], str]) -> Iterator[Item]:
        """Iterate over the items, each as one of the expected steps."""
        for item in items:
            self(named(item))
            yield item


ProgressOption = Progress | Callable[[str], object] | bool | None
"""A counter; a function of the name of each step; or True, to show a bar in a notebook, and lines elsewhere."""


def _shown() -> Told:
    """Shows a bar that moves, in a notebook, with no package of widgets; elsewhere a line a step, on stderr."""
    try:
        from IPython.core.getipython import get_ipython
        from IPython.display import display
    except ImportError:
        return _write
    if not hasattr(get_ipython(), "kernel"):  # a terminal
        return _write
    name_of_output, shown = f"steps-{uuid.uuid4()}", False

    def show(name: str, done: int, total: int) -> None:
        nonlocal shown
        text = f"step {done + 1} of {total}: {name}"
        bar = f"<progress value='{done + 1}' max='{total}' style='width:16em'></progress> {escape(text)}"
        output = {"text/plain": text, "text/html": bar}
        display(output, raw=True, display_id=name_of_output, update=shown)  # type: ignore[no-untyped-call]
        shown = True

    return show


def _write(name: str, done: int, total: int) -> None:
    sys.stderr.write(f"step {done + 1} of {total}: {name}\n")
