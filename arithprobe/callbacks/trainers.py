"""Facts about a Trainer's run: its progress, rows, callbacks and processes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from arithprobe.analysis.forward import fidelity_of
from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoints import is_ours
from arithprobe.problems.rows import Rows, require_rows
from arithprobe.training.probed import ProbedModule

_CHECKS = 2  # of a network of one's own, at least
CallbackType = TypeVar("CallbackType", bound=Callback)


def moment(trainer: Trainer) -> dict[str, Any]:
    """The stage, and the epoch and step of the fit; a validation outside a fit has no epoch."""
    fitting = trainer.state.fn == TrainerFn.FITTING
    stage = None if trainer.state.fn is None else trainer.state.fn.value
    epoch, step = (trainer.current_epoch, logged_step(trainer)) if fitting else (None, None)
    return {"stage": stage, "epoch": epoch, "step": step}


@contextmanager
def quiet(module: ProbedModule) -> Iterator[None]:
    """Preserve the random state, even if a network draws numbers in evaluation mode."""
    with isolate_rng(include_cuda=module.device.type == "cuda"):
        yield


def verify(module: ProbedModule, rows: Rows) -> None:
    """Verify that a network of your own keeps its promises on these rows; the library's tests verify its own.

    The check is repeated once steps were made, since weights that start at zero hide paths past a site; and at every
    validation as long as an edit of some site does not reach the output.

    Raises:
        ArithprobeError: If it does not; the text names the first promise that it breaks.
    """
    known, step = module.fidelity, module.global_step
    open_yet = known is None or len(module.checked_at) < _CHECKS or known.unreached or known.coarse
    if open_yet and step not in module.checked_at and not is_ours(module.model):
        with quiet(module):
            module.fidelity = fidelity_of(module.model, rows)
        module.checked_at += (step,)


def is_turn(module: ProbedModule, count: int, every: int) -> bool:
    """Whether the count-th validation is watched: the first and each n-th of a fit, and each outside a fit."""
    return module.trainer.state.fn != TrainerFn.FITTING or count == 1 or count % every == 0


def rows_behind(loader: Any) -> Rows:
    """The data set behind the batches of a loader.

    Raises:
        ArithprobeError: If the batches do not come from one data set that is :class:`~arithprobe.problems.rows.Rows`.
    """
    dataset = getattr(loader, "dataset", None)
    if dataset is None:
        raise ArithprobeError(
            "the callback needs batches of one data set that is Rows, such as an ArithmeticDataset; "
            "ArithmeticDataModule and RowsDataModule make them"
        )
    return require_rows(dataset)


def same_rows(one: Rows, other: Rows) -> bool:
    """Whether two data sets have the same problems in the same order, from the same file."""
    if one is other or one.path != other.path or len(one) != len(other):
        return one is other
    every = torch.arange(len(one))
    return torch.equal(one.inputs(every).ids, other.inputs(every).ids)


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """The callbacks of a trainer (Lightning sets the attribute without declaring it)."""
    callbacks: list[Callback] = vars(trainer)["callbacks"]
    return callbacks


def find_callback(trainer: Trainer, kind: type[CallbackType]) -> CallbackType | None:
    """The first callback of a class, or None."""
    return next((callback for callback in callbacks_of(trainer) if isinstance(callback, kind)), None)


def logged_step(trainer: Trainer) -> int:
    """The step under which Lightning logs this validation's scalars; curves, images and records share it."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def sum_over_ranks(trainer: Trainer, parts: Iterable[Tensor]) -> None:
    """Replace each tensor by its sum over the processes of the run."""
    if trainer.world_size > 1:
        for part in parts:
            part.copy_(trainer.strategy.reduce(part.to(trainer.strategy.root_device), reduce_op="sum"))
