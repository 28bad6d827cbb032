"""Random state in checkpoints: a resumed fit draws the numbers that it would have drawn without the stop."""

import random
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from arithprobe.errors import ArithprobeError, ThreadsWarning
from arithprobe.threads import cores

_KEY, _THREADS = "arithprobe_random_state", "arithprobe_threads"


class RandomState(Callback):
    """Keeps the state of the global random generators in every checkpoint of a fit, and restores it on resuming.

    These are the generators of Python, NumPy and PyTorch, and of the GPU that the process trains on; if there are
    several processes, those of each. With them, a fit that resumes from a checkpoint of the *end of a training epoch*
    is, bit for bit, the fit that was never stopped: weights, optimizer, losses. With the default options ``last.ckpt``
    is such a checkpoint.

    It also keeps the number of threads, because sums in another order have other last bits. ``arithprobe fit`` resumes
    with that number unless you give one; if the number differs, a :class:`~arithprobe.errors.ThreadsWarning` says so.

    A fit does not resume exactly from a checkpoint in the *middle* of an epoch (a ``val_check_interval`` in steps): the
    order of the rows is not kept, so the rest of the epoch is drawn anew from all rows. Nor does it with ``precision``
    ``64-true``, whose weights Lightning rounds when it loads them. Nothing is restored if the number of processes
    differs from the checkpoint's, or in ``validate``, ``test`` and ``predict``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._restored: dict[str, Any] | None = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the states of all processes."""
        if trainer.state.fn == TrainerFn.FITTING:
            checkpoint[_KEY] = _of_all_processes(trainer, _states(trainer.strategy.root_device))
            checkpoint[_THREADS] = torch.get_num_threads()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore the state of this process; the order of the first epoch is drawn before any other hook."""
        stored = checkpoint.get(_KEY, [])
        if trainer.state.fn == TrainerFn.FITTING and trainer.is_global_zero:
            _compare(_threads_of(checkpoint), torch.get_num_threads())
        if trainer.state.fn == TrainerFn.FITTING and len(stored) == trainer.world_size:
            self._restored = stored[trainer.global_rank]
            _restore(self._restored, trainer.strategy.root_device)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the next epoch after a completed one; in a fit with ``max_steps`` Lightning would end it again.

        Ending it again counts the epoch twice and, if the epoch had no validation at its end, trains on one more batch.
        """
        loop = trainer.fit_loop
        if loop.restarted_on_epoch_end:
            loop.epoch_progress.increment_completed()
            loop.reset_restart_stage()
            loop.epoch_loop.restarting = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note that the fit has resumed."""
        self._restored = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the state again after an epoch without remaining batches: Lightning has drawn an unused order."""
        if self._restored is not None:
            _restore(self._restored, trainer.strategy.root_device)


def threads_to_go_on_with(checkpoint: Mapping[str, Any], processes: int) -> int | None:
    """The number of threads with which a fit resumes bit for bit.

    Args:
        checkpoint: The checkpoint of the fit.
        processes: The number of processes of the fit.

    Returns:
        None if it would not, if the checkpoint does not say, or if this machine does not have that many cores.
    """
    stored = _threads_of(checkpoint)
    same = stored is not None and stored <= cores() and len(checkpoint.get(_KEY, [])) == processes
    return stored if same else None


def require_states(checkpoint: Mapping[str, Any], processes: int) -> None:
    """Refuse a checkpoint whose random states should be restored and cannot be.

    Args:
        checkpoint: The checkpoint.
        processes: The number of processes of the fit.

    Raises:
        ArithprobeError: If they are not random states.
    """
    stored, cpu = checkpoint.get(_KEY, []), torch.device("cpu")
    if not isinstance(stored, list):
        raise ArithprobeError(f"{_KEY} is a {type(stored).__name__}; expected a list")
    own = _states(cpu)
    try:
        for states in stored if len(stored) == processes else ():
            _restore(states, cpu)
    except (AttributeError, LookupError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise ArithprobeError(f"its random states cannot be restored: {error}") from error
    finally:
        _restore(own, cpu)


def _threads_of(checkpoint: Mapping[str, Any]) -> int | None:
    said = checkpoint.get(_THREADS)
    return said if type(said) is int and said > 0 else None


def _compare(stored: int | None, own: int) -> None:
    if stored is not None and stored != own:
        warnings.warn(
            f"the checkpoint's number of threads is {stored}, this fit goes on with {own}: its results are as good, "
            f"but not bit for bit the same (--threads {stored} would make them so)",
            ThreadsWarning,
            stacklevel=2,
        )


def _states(device: torch.device) -> dict[str, Any]:
    """The states, in types that load under ``weights_only=True``."""
    numpy: Any = np.random.get_state()
    states = {
        "python": random.getstate(),
        "numpy": (numpy[0], torch.from_numpy(numpy[1].astype(np.int64)), *numpy[2:]),
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        states["device"] = torch.get_device_module(device).get_rng_state()
    return states


def _restore(states: dict[str, Any], device: torch.device) -> None:
    name, keys, *rest = states["numpy"]
    random.setstate(states["python"])
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if device.type != "cpu" and "device" in states:
        torch.get_device_module(device).set_rng_state(states["device"])


def _of_all_processes(trainer: Trainer, states: dict[str, Any]) -> list[dict[str, Any]]:
    if trainer.world_size == 1:
        return [states]
    gathered: list[dict[str, Any]] = [{}] * trainer.world_size
    torch.distributed.all_gather_object(gathered, states)
    return gathered
