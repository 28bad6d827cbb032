"""The checkpoints of a run: ``best.ckpt``, ``last.ckpt``, whole or not at all."""

import io
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from arithprobe.files import write_whole


class BestCheckpoint(ModelCheckpoint):
    """``best.ckpt``: of all validations so far the one with the best monitored value, whatever else is kept.

    It stands beside any ``ModelCheckpoint`` of yours: their states in a checkpoint have other names.

    Args:
        monitor: What is compared, such as ``val/loss``.
        mode: ``min`` if less is better, ``max`` if more is.
        dirpath: Its folder; ``checkpoints`` in the run folder by default.
        save_weights_only: Leave out what a fit needs to go on.
    """

    def __init__(
        self,
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        dirpath: str | None = None,
        save_weights_only: bool = False,
    ) -> None:
        super().__init__(
            dirpath, filename="best", monitor=monitor, mode=mode, save_weights_only=save_weights_only,
            enable_version_counter=False,
        )  # fmt: skip


class LastCheckpoint(ModelCheckpoint):
    """``last.ckpt``: of the end of the last training epoch, or of the last validation where that comes more often.

    Args:
        dirpath: Its folder; ``checkpoints`` in the run folder by default.
    """

    def __init__(self, dirpath: str | None = None) -> None:
        super().__init__(dirpath, filename="last", enable_version_counter=False)


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, onto the disk, and then renames it: a kill leaves the one before.

    Lightning's own writes it into the folder of temporary files and moves it, which on another filesystem is a copy
    over the old one. ``Trainer(plugins=[WholeCheckpointIO()])``; the commands do this.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Save it.

        Args:
            checkpoint: The content.
            path: The file; an address such as ``s3://...`` is left to Lightning.
            storage_options: Not used.

        Raises:
            ArithprobeError: If it cannot be written.
        """
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_whole(path, content.getvalue())
