"""The cost of an observer: wall time by part, beside that of the fit."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch import Callback, LightningModule, Trainer


class Timed(Callback):
    """A callback that measures its own wall time.

    Attributes:
        seconds: Wall time spent in the callback, by part, over the whole fit.
        fit_seconds: Wall time of the fit so far, the callback included.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = {}
        self.fit_seconds = 0.0
        self._fit_started = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the fit."""
        self._fit_started = time.perf_counter()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of the fit."""
        self.fit_seconds = time.perf_counter() - self._fit_started

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the time of the block to a part of ``seconds``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - start

    def cost(self) -> str:
        """The share of the fit that it cost, in words; empty if nothing is known."""
        spent = sum(self.seconds.values())
        if not (self.fit_seconds and spent):
            return ""
        parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in self.seconds.items())
        return f"{spent:.1f} s of the fit's {self.fit_seconds:.1f} s ({spent / self.fit_seconds:.1%}): {parts}"
