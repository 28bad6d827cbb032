"""How far a long analysis is: it says what it expects to do, and what it does."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Told = Callable[[str, int, int], object]
"""Takes the name of a step as it starts, the steps done before it, and how many there are in all, as far as known."""


class Progress:
    """Counts the steps of a run.

    Args:
        told: Told each step as it starts.

    Attributes:
        done: Steps that have started.
        total: Steps expected, as far as is known yet; never fewer than those that have started.
    """

    def __init__(self, told: Told | None = None) -> None:
        self._told = told
        self.done = self.total = 0

    @classmethod
    def by_name(cls, told: "Callable[[str], object] | Progress | None") -> "Progress":
        """What an analysis counts with, from what its caller gave: a function of a step's name, or a counter."""
        if told is None or isinstance(told, Progress):
            return told or cls()
        return cls(lambda name, done, total: told(name))

    def expect(self, count: int) -> None:
        """Steps that will come; a negative number of such as were expected and do not."""
        self.total += count

    def __call__(self, name: str) -> None:
        """A step starts; one that nobody expected counts too."""
        self.total = max(self.total, self.done + 1)
        if self._told is not None:
            self._told(name, self.done, self.total)
        self.done += 1

    def over(self, items: Iterable[Item], named: Callable[[Item], str]) -> Iterator[Item]:
        """The items, each a step of its own that has been expected."""
        for item in items:
            self(named(item))
            yield item
