"""Fits that stop, wait and go on: callbacks that keep where they were and what they saw, and whether two ended alike.

Imports little: the processes of a distributed fit import it too.
"""

import json
from pathlib import Path

import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import Checkpoint
from sweep_tasks import wait_for

from arithprobe.callbacks.random_state import _KEY


class Kept(Checkpoint):
    """Keeps a checkpoint of the end of every training epoch, and of every validation."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.save_checkpoint(f"{self.folder}/epoch_{trainer.current_epoch + 1}.ckpt")

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            trainer.save_checkpoint(f"{self.folder}/step_{trainer.global_step}.ckpt")


class Seen(Callback):
    """Writes which rows a process has trained on, by epoch."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.rows = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.rows.append([])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.rows[-1] += batch.rows.tolist()

    def on_train_end(self, trainer, pl_module):
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{trainer.global_rank}.json").write_text(json.dumps(self.rows))


class Together(Callback):
    """Waits after the first epoch until so many trials of a sweep have left their first checkpoint, or one is done.

    However late another begins, they train at once.
    """

    def __init__(self, folder: str, trials: int) -> None:
        super().__init__()
        self.folder, self.trials = Path(folder), trials

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            assert wait_for(self._have_begun, 100.0)

    def _have_begun(self):
        count = len(list(self.folder.glob("*/checkpoints/resume.ckpt")))
        return count == self.trials or any(self.folder.glob("*/result.json"))


class Stopped(Checkpoint):
    """Keeps a checkpoint of the end of the first epoch, and the same without its random state.

    In the second process it draws a number more, so that the two have different states.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def on_train_start(self, trainer, pl_module):
        torch.rand(trainer.global_rank)

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.path)
            if trainer.is_global_zero:
                without_random_state(Path(self.path))
            trainer.strategy.barrier()


def read(path):
    return torch.load(path, weights_only=True)


def without_random_state(path):
    """The control: the same checkpoint as Lightning alone would have written it."""
    stripped = path.with_stem(f"{path.stem}_stripped")
    torch.save({key: value for key, value in read(path).items() if key != _KEY}, stripped)
    return stripped


def equal(first, second):
    """Whether two checkpoints have the same weights, optimizer, schedule and place in the fit, to the last bit."""
    trees = [
        (
            one["state_dict"],
            one["optimizer_states"],
            one["lr_schedulers"],
            one["epoch"],
            one["global_step"],
            one["loops"]["fit_loop"]["epoch_loop.state_dict"],
        )
        for one in (first, second)
    ]
    leaves, shapes = zip(*map(torch.utils._pytree.tree_flatten, trees), strict=True)
    same = (torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(*leaves, strict=True))
    return shapes[0] == shapes[1] and all(same)
