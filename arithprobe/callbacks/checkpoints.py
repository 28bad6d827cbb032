"""The checkpoints of a run: ``best.ckpt`` and ``last.ckpt``."""

from typing import Literal

from lightning.pytorch.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Keeps ``best.ckpt``: the checkpoint of the validation with the best monitored value so far.

    It works beside any ``ModelCheckpoint`` of yours: their states in a checkpoint have other names.

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
            dirpath,
            filename="best",
            monitor=monitor,
            mode=mode,
            save_weights_only=save_weights_only,
            enable_version_counter=False,
        )


class LastCheckpoint(ModelCheckpoint):
    """Keeps ``last.ckpt``: after every training epoch, or after every validation if those are more frequent.

    Args:
        dirpath: Its folder; ``checkpoints`` in the run folder by default.
    """

    def __init__(self, dirpath: str | None = None) -> None:
        super().__init__(dirpath, filename="last", enable_version_counter=False)
