"""Callbacks for the fits of a sweep: they report progress, and keep a checkpoint to resume from."""

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from arithprobe.callbacks.single import probed_module
from arithprobe.files import to_json, write_whole

_EVERY_S = 2.0
_STOPS = "arithprobe_should_stop"


class ProgressFile(Callback):
    """Keeps a file with the progress of a fit: epoch, share of its steps, and the last verdict.

    ``{"state": "training", "epoch": 3, "epochs": 10, "share": 0.31, "skill": 0.42, "verdict": "PARTLY LEARNED"}``;
    epochs count from 1. Unknown values are null. It is written at most every two seconds, and after every validation.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = Path(path)
        self._written = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write that the fit has begun."""
        self._write(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the progress, at most every two seconds."""
        if time.monotonic() - self._written > _EVERY_S:
            self._write(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the verdict."""
        if not trainer.sanity_checking:
            self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self._written = time.monotonic()
        behaviour, steps = probed_module(module).behaviour, trainer.estimated_stepping_batches
        record = {
            "state": "training",
            "epoch": trainer.current_epoch + 1,
            "epochs": None if trainer.max_epochs in (None, -1) else trainer.max_epochs,
            "share": trainer.global_step / steps if steps else None,
            "skill": None if behaviour is None else behaviour.skill,
            "verdict": None if behaviour is None else behaviour.verdict,
        }
        write_whole(self.path, to_json(record) + "\n")


class ResumeCheckpoint(Checkpoint):
    """Keeps a checkpoint of the end of the last training epoch, from which a fit resumes as if never stopped.

    It must come after every ``ModelCheckpoint``, so that it knows what they have just saved; the command line ensures
    this. Their own files may be from the middle of an epoch.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store whether early stopping has asked the fit to stop; Lightning does not store it."""
        checkpoint[_STOPS] = bool(trainer.should_stop)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Stop the fit, if it was asked to stop."""
        trainer.should_stop = trainer.should_stop or checkpoint.get(_STOPS, False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the checkpoint, whole or not at all, as the commands do."""
        trainer.save_checkpoint(self.path)
