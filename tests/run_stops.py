"""Callbacks that bring a fit to an end before its time, and a logger without a folder."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger


class Signalled(Callback):
    """Sends this process a signal in the second epoch of a fit."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.signal = signal.Signals[name]

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            signal.raise_signal(self.signal)


class Bare(Logger):
    """A logger that names no folder of a run, as those of services do; it keeps the images that it is given."""

    images: ClassVar[list] = []

    @property
    def name(self):
        return "bare"

    @property
    def version(self):
        return None

    @property
    def save_dir(self):
        return "."

    def log_metrics(self, metrics, step=None):
        pass

    def log_hyperparams(self, params, *args, **kwargs):
        pass

    def log_image(self, key, images, step=None):
        self.images.append((key, images, step))


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Within the block the system refuses to write more than so many bytes of a file, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
