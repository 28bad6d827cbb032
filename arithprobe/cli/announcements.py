"""The messages of a run: none before its checks have passed, then those that a user can act on, no advertisements."""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TextIO

from arithprobe.errors import SharedRowsWarning, ThreadsWarning

_IRRELEVANT = (
    "The '.*_dataloader' does not have many workers",  # a batch is one tensor index; workers would slow it down
    ".*isinstance\\(treespec, LeafSpec\\).*",  # Lightning 2.6 on torch 2.13
    "Be aware that when using `ckpt_path`, callbacks used",  # to judge a checkpoint needs none of them
    "LightningCLI's args parameter is intended to run from within Python",  # a sweep parses words of its own
    "The dirpath has changed from",  # each run has a folder of its own
)
_ADVERT = "Tip:"
_LOGGERS = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed")


class Announcements:
    """Holds back Lightning's log messages and our warnings until the run's checks have passed.

    A mistake that the checks find is then the only thing on the screen.
    """

    def __init__(self) -> None:
        self._held: list[Callable[[], object]] | None = []

    @property
    def released(self) -> bool:
        """Whether the checks have passed and the run has begun."""
        return self._held is None

    def release(self) -> None:
        """Print the messages held back, and stop holding."""
        held, self._held = self._held or [], None
        for say in held:
            say()

    def filter(self, record: logging.LogRecord) -> bool:
        """Hold a log message back, or drop an advertisement."""
        if _ADVERT in record.getMessage():
            return False
        if self._held is None or record.levelno > logging.INFO:
            return True
        self._held.append(partial(logging.getLogger(record.name).handle, record))
        return False

    def say(self, line: str) -> None:
        """Hold back a line that belongs before the run, or write it."""
        self._hold(partial(sys.stdout.write, f"{line}\n"))

    def warn(self, line: str, *, first: bool = False) -> None:
        """Hold back a warning of ours, or write it.

        Args:
            line: The warning.
            first: Whether to print it before everything else that is held back.
        """
        self._hold(partial(sys.stderr.write, f"arithprobe: warning: {line}\n"), first=first)

    def _hold(self, write: Callable[[], object], *, first: bool = False) -> None:
        if self._held is None:
            write()
        else:
            self._held.insert(0 if first else len(self._held), write)


@contextmanager
def announcements() -> Iterator[Announcements]:
    """Within the block, hold announcements back until released, and drop those that no user can act on."""
    held = Announcements()
    with warnings.catch_warnings():
        for message in _IRRELEVANT:
            warnings.filterwarnings("ignore", message)
        show = warnings.showwarning

        def in_one_line(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, (SharedRowsWarning, ThreadsWarning)):
                held.warn(str(message))
            else:
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = in_one_line
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(held)
        try:
            yield held
        finally:
            for name in _LOGGERS:
                logging.getLogger(name).removeFilter(held)
