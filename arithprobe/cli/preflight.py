"""The checks before a run writes anything."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities.model_helpers import is_overridden

from arithprobe.callbacks.base import ValidationProbe
from arithprobe.callbacks.run_folder import is_trial
from arithprobe.callbacks.trainers import callbacks_of
from arithprobe.data.datamodule import ArithmeticDataModule, parts_of
from arithprobe.errors import ArithprobeError, did_you_mean
from arithprobe.files import require_writable
from arithprobe.models.checkpoints import lightning_parts
from arithprobe.models.objective import Objective
from arithprobe.models.objectives import ScaledMSE
from arithprobe.models.weights import read_checkpoint, require_same_shapes
from arithprobe.training.module import ArithmeticModule
from arithprobe.training.schedule import lr_factor

_MOST_TAGS = 10  # that an error lists
_ARCHITECTURE = ("n_heads", "norm", "positions")  # what the shapes of the weights do not tell
_TRAINING = ("lr", "weight_decay", "betas", "warmup_steps", "schedule", "final_lr")  # a checkpoint restores these


def check_checkpoint(model: ArithmeticModule, path: str, task: str, *, to_fit: bool) -> dict[str, Any]:
    """Refuse a checkpoint of another architecture, objective, task or schedule, or one that cannot be resumed.

    Returns:
        The content of the checkpoint.

    Raises:
        ArithprobeError: If it is refused; the text names the checkpoint.
    """
    content = read_checkpoint(path)
    stored, _, weights = lightning_parts(content, path)
    require_same_shapes(model.state_dict(), weights, path)
    try:
        model.check_origin(content, task)
    except ArithprobeError as error:
        raise ArithprobeError(f"{path}: {error}") from None
    for name in (*_ARCHITECTURE, *(_TRAINING if to_fit else ())):
        own = model.hparams.get(name)
        if name in stored and _as_list(stored[name]) != _as_list(own):
            raise ArithprobeError(f"{path}: has {name} {stored[name]!r}, here it is {own!r}; a run goes on as it began")
    if to_fit and "optimizer_states" not in content:
        raise ArithprobeError(f"{path}: has weights only; a fit cannot go on from it")
    return content


def check_trainer(trainer: Trainer, model: ArithmeticModule, data: ArithmeticDataModule, stage: str) -> None:
    """Refuse options of trainer and callbacks that the data does not allow, and monitors that nothing logs.

    Raises:
        ArithprobeError: If one is refused; the text names the option.
    """
    for part in parts_of(stage):
        if len(data.dataset(part)) < trainer.world_size:
            raise ArithprobeError(f"{data.files[part]}: fewer rows than the {trainer.world_size} processes")
    callbacks = callbacks_of(trainer)
    tags = dict.fromkeys((f"val/{name}" for name in model.logged(data.recipe.divisor)), 1)
    for callback in callbacks:
        if isinstance(callback, ValidationProbe) and stage in ("fit", "validate"):
            callback.plan(model, data.dataset("val"))
            tags |= dict.fromkeys(callback.tags(), callback.every)
    passes = (stage,) if stage == "predict" else parts_of(stage)
    n_batches = {name: _limited(trainer, name, len(getattr(data, f"{name}_dataloader")())) for name in passes}
    if stage != "fit":
        return
    if trainer.max_steps == trainer.max_epochs == -1:
        lr_factor(model.schedule, model.warmup_steps, model.final_lr, math.inf)
    least = {"accumulate_grad_batches": trainer.accumulate_grad_batches}
    least["check_val_every_n_epoch"] = 1 if trainer.check_val_every_n_epoch is None else trainer.check_val_every_n_epoch
    for name, value in least.items():
        if value < 1:
            raise ArithprobeError(f"--trainer.{name} is {value}; expected 1 or more")
    interval, most = trainer.val_check_interval, n_batches["train"]
    if interval == 0 or (isinstance(interval, int) and interval > most and trainer.check_val_every_n_epoch):
        raise ArithprobeError(
            f"--trainer.val_check_interval is {interval}; expected 1 to {most}, the batches of an epoch"
        )
    if isinstance(interval, float) and interval * most < 1 <= most:
        raise ArithprobeError(f"--trainer.val_check_interval is {interval}, of {most} batches less than one")
    ours = all(type(callback).__module__.split(".")[0] in ("arithprobe", "lightning") for callback in callbacks)
    for callback in callbacks if ours else []:
        if isinstance(callback, (EarlyStopping, ModelCheckpoint)):
            _check_monitor(callback.monitor, {"train/loss": 1, **tags}, model.objective)


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def check_folders(trainer: Trainer, parent: Path) -> None:
    """Check that the folders of the run, of loggers and of checkpoints can be written.

    Args:
        trainer: The trainer.
        parent: Where the folder of the run will be made.

    Raises:
        ArithprobeError: If one cannot; the text names the folder.
    """
    if is_trial(trainer):
        return
    folders = [getattr(logger, "log_dir", logger.save_dir) for logger in trainer.loggers]
    folders.append(parent)
    folders += [callback.dirpath for callback in callbacks_of(trainer) if isinstance(callback, ModelCheckpoint)]
    for folder in folders:
        if folder is not None:
            require_writable(Path(folder))


def _limited(trainer: Trainer, part: str, n: int) -> int:
    """The batches that a Trainer takes of so many.

    Raises:
        ArithprobeError: If its limit leaves less than one.
    """
    limit = getattr(trainer, f"limit_{part}_batches")
    if isinstance(limit, float) and 0 < limit * n < 1:
        raise ArithprobeError(
            f"--trainer.limit_{part}_batches is {limit}, of {n} batches less than one; expected {1 / n:.3g} or more, a "
            "number of batches, or 0"
        )
    return min(n, limit) if isinstance(limit, int) else int(limit * n)


def check_states(callbacks: Sequence[Callback]) -> None:
    """Refuse two callbacks whose states in a checkpoint share a name; Lightning's own error is for developers.

    Raises:
        ArithprobeError: If there are two; the text names their class.
    """
    seen: dict[str, Callback] = {}
    for callback in callbacks:
        if seen.setdefault(callback.state_key, callback) is not callback and is_overridden("state_dict", callback):
            name = type(callback).__name__
            differ = "in monitor, mode, every_n_epochs or every_n_train_steps" if name == "ModelCheckpoint" else ""
            raise ArithprobeError(
                f"two {name} would keep their state in a checkpoint under one name; leave one out"
                + (f", or let them differ {differ}" if differ else "")
            )


def _check_monitor(monitor: str | None, known: Mapping[str, int], objective: Objective) -> None:
    """Refuse to monitor what is not logged, or not at every validation.

    Args:
        monitor: What is monitored.
        known: Everything logged, and at each how many-th validation.
        objective: Of the model.
    """
    if monitor is None or known.get(monitor) == 1:
        return
    if monitor in known:
        raise ArithprobeError(
            f"monitor {monitor!r} is logged at validation {known[monitor]}, {2 * known[monitor]}, ... only, and is "
            "looked at after each; give the callback that logs it 'every: 1'"
        )
    why = did_you_mean(monitor, known)
    if monitor in {f"val/{name}" for name in ScaledMSE.metrics}:
        why = f": it is a metric of ScaledMSE, the objective is {objective!r}"
    more = f", and {len(known) - _MOST_TAGS} more" if len(known) > _MOST_TAGS else ""
    listed = ", ".join(list(known)[:_MOST_TAGS])
    raise ArithprobeError(f"monitor {monitor!r} is not logged{why} (logged: {listed}{more})")
