"""The ``config.yaml`` of a run."""

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from arithprobe.callbacks.run_folder import run_folder
from arithprobe.files import write_whole


class SaveConfig(SaveConfigCallback):
    """Saves ``config.yaml`` in the run folder; without a run folder, it saves nothing."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save the configuration."""
        self._save(run_folder(trainer), trainer)  # asks all ranks

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the final configuration, if a finder of the learning rate or the batch size has changed it."""
        folder, data = run_folder(trainer), getattr(trainer, "datamodule", None)
        found = {"model.lr": getattr(pl_module, "lr", None), "data.batch_size": getattr(data, "batch_size", None)}
        changed = {key: value for key, value in found.items() if value not in (None, self.config.get(key))}
        for key, value in changed.items():
            self.config[key] = value
        if changed:
            self._save(folder, trainer)

    def _save(self, folder: Path | None, trainer: Trainer) -> None:
        if folder is not None and trainer.is_global_zero:
            text = self.parser.dump(self.config, skip_none=False, skip_validation=True)
            write_whole(folder / "config.yaml", text)
