"""What a sweep asks of whatever runs its trials, on one machine or on many."""

import os
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, Protocol

Job = Callable[[str], str | None]
"""Runs the trial of that folder, or goes on with it; returns None, or in one line what stopped it. Picklable. It keeps
all that it makes in the folder, so a second call goes on where the first was stopped."""


TICK_S = 0.5
"""How often a run lets its caller look, in seconds."""


class Outcome(NamedTuple):
    """How one trial ended."""

    trial: str
    """Its folder, as it was handed to the engine."""
    error: str | None
    """None, or in one line why it failed."""


class Engine(Protocol):
    """Runs trials side by side; a trial whose worker or machine dies is run again, up to ``retries`` times.

    An error that a job returns or raises is final: the same trial would fail again.
    """

    name: str
    """What ``--engine`` calls it."""

    def check(self) -> None:
        """Refuse, before anything is written, what cannot run.

        Raises:
            ArithprobeError: Saying what to do.
        """

    def run(self, job: Job, trials: Sequence[str]) -> Generator[Outcome | None]:
        """Run them, in this order as places become free.

        Yields:
            The outcome of each trial as it ends, and None now and then (about twice a second), so that the caller can
            show how far they are. Closing the iterator stops what is still running.
        """


def one_line(error: BaseException) -> str:
    """An exception as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def run_or_die(job: Job, trial: str) -> str | None:
    """Run a job in a worker; one that is told to end dies, so that its trial is run again."""
    try:
        return job(trial)
    except (SystemExit, KeyboardInterrupt):
        os._exit(1)
