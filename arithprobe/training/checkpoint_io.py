"""Atomic writing of checkpoints: whole or not at all."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from arithprobe.files import write_whole


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a file beside its target and then renames it, so that a kill leaves the previous one.

    The file is flushed to the disk before the rename. Lightning's own plugin writes into the folder of temporary files
    and moves the file, which on another filesystem is a copy over the old one. Use it as
    ``Trainer(plugins=[WholeCheckpointIO()])``; the commands do this.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Save a checkpoint.

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
