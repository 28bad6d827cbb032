"""What all observers of validation share: the run folder, the clock, and when to look away."""

import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from arithprobe.callbacks.loggers import log_image, takes_images
from arithprobe.callbacks.run_folder import run_folder
from arithprobe.data.dataset import ArithmeticDataset, Batch
from arithprobe.errors import ArithprobeError
from arithprobe.files import to_json as to_json
from arithprobe.files import write_whole
from arithprobe.plotting.render import Figure, to_png, to_rgb, to_svg
from arithprobe.training.module import ArithmeticModule, ValidationOutput

CallbackType = TypeVar("CallbackType", bound=Callback)


class ValidationProbe(Callback):
    """Watches the validation pass, and reports at its end; the sanity check is not watched.

    Subclasses fold each batch into something of bounded size, never keep states, and draw randomness from generators of
    their own.

    Attributes:
        seconds: Wall time spent in the callback, by part, over the whole fit.
        fit_seconds: Wall time of the fit so far, the callback included.
    """

    analysis: str
    """First word of its tags, and name of its file ``probes/<analysis>.jsonl``."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = {}
        self.fit_seconds = 0.0
        self._fit_started = 0.0
        self._run_folder: Path | None = None

    @abstractmethod
    def prepare(self, module: ArithmeticModule, dataset: ArithmeticDataset) -> None:
        """Check the options against model and rows, and fix what depends on the rows only.

        Called before the first validation, so that a mistake in an option shows before any training.
        """

    @abstractmethod
    def begin(self, module: ArithmeticModule) -> None:
        """Start a pass over the rows prepared for."""

    @abstractmethod
    def observe(self, output: ValidationOutput, batch: Batch) -> None:
        """Take in one batch."""

    @abstractmethod
    def finish(self, trainer: Trainer, module: ArithmeticModule) -> Mapping[str, float]:
        """Compute, on every rank, and return the scalars to log, by tag."""

    @abstractmethod
    def report(self, trainer: Trainer, module: ArithmeticModule) -> None:
        """Write files and figures; called on rank 0, once the module has judged the behaviour."""

    @abstractmethod
    def findings(self) -> list[str]:
        """What the last validation found at the readout, one line each."""

    @abstractmethod
    def tags(self) -> list[str]:
        """The tags it will log, once prepared."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the run folder."""
        self._run_folder = run_folder(trainer)
        self.seconds, self.fit_seconds = {}, 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the fit."""
        self._fit_started = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare; and begin, unless this is the sanity check."""
        module = arithmetic_module(pl_module)
        with self.timed("prepare"):
            self.prepare(module, rows_behind(trainer.val_dataloaders))
            if not trainer.sanity_checking:
                self.begin(module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take in a batch."""
        if not trainer.sanity_checking:
            with self.timed("gather"):
                self.observe(outputs, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log."""
        if not trainer.sanity_checking:
            with self.timed("compute"):
                scalars = self.finish(trainer, arithmetic_module(pl_module))
            pl_module.log_dict({tag: value for tag, value in scalars.items() if value == value}, sync_dist=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write."""
        if not trainer.sanity_checking and trainer.is_global_zero:
            self.report(trainer, arithmetic_module(pl_module))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of the fit."""
        self.fit_seconds = time.perf_counter() - self._fit_started

    def summary(self) -> list[str]:
        """What the last validation found, and what the callback cost, one line each."""
        spent = sum(self.seconds.values())
        if not (self.fit_seconds and spent):
            return self.findings()
        parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in self.seconds.items())
        share = f"{spent:.1f} s of the fit's {self.fit_seconds:.1f} s ({spent / self.fit_seconds:.1%})"
        return [*self.findings(), f"{self.analysis} probing took {share}: {parts}"]

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the time of the block to a part of ``seconds``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - start

    def append_line(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Add a record to ``probes/<analysis>.jsonl``, with its moment; without a run folder, nothing."""
        if self._run_folder is not None:
            path = self._run_folder / "probes" / f"{self.analysis}.jsonl"
            earlier = path.read_text() if path.exists() else ""
            write_whole(path, f"{earlier}{to_json(moment(trainer) | record)}\n")

    def gate(self, module: ArithmeticModule) -> dict[str, Any]:
        """What stands first in every record: has the model learned."""
        behaviour = module.behaviour
        return {
            "verdict": behaviour.verdict if behaviour else None,
            "skill": behaviour.skill if behaviour else None,
            "seconds": self.seconds,
        }

    def show(self, trainer: Trainer, figure: Figure, target: str, name: str, step: int | None) -> None:
        """Give a figure to every logger that takes images, and to ``figures/<analysis>_<target>`` as PNG and SVG."""
        loggers = [logger for logger in trainer.loggers if takes_images(logger)]
        if not loggers and self._run_folder is None:
            return
        image = to_rgb(figure)
        for logger in loggers:
            log_image(logger, f"{self.analysis}_{target}/{name}", image, step or 0)
        if self._run_folder is not None:
            path = self._run_folder / "figures" / f"{self.analysis}_{target}"
            write_whole(f"{path}.png", to_png(image))
            write_whole(f"{path}.svg", to_svg(figure))


def moment(trainer: Trainer) -> dict[str, Any]:
    """The stage, and where in the fit this is; a validation outside a fit has no epoch."""
    fitting = trainer.state.fn == TrainerFn.FITTING
    stage = None if trainer.state.fn is None else trainer.state.fn.value
    epoch, step = (trainer.current_epoch, logged_step(trainer)) if fitting else (None, None)
    return {"stage": stage, "epoch": epoch, "step": step}


def is_turn(module: ArithmeticModule, count: int, every: int) -> bool:
    """Whether the count-th validation is one to look at: each n-th of a fit, and every one outside a fit."""
    return module.trainer.state.fn != TrainerFn.FITTING or count % every == 0


def arithmetic_module(module: LightningModule) -> ArithmeticModule:
    """The module, if it is one that an observer understands.

    Raises:
        ArithprobeError: If it is not an :class:`ArithmeticModule`.
    """
    if not isinstance(module, ArithmeticModule):
        raise ArithprobeError(f"the callback observes an ArithmeticModule, got {type(module).__name__}")
    return module


def rows_behind(loader: Any) -> ArithmeticDataset:
    """The data set behind the batches of a loader.

    Raises:
        ArithprobeError: If the batches do not come from one :class:`ArithmeticDataset`.
    """
    dataset = getattr(loader, "dataset", None)
    if not isinstance(dataset, ArithmeticDataset):
        raise ArithprobeError("the callback needs batches of one ArithmeticDataset, as ArithmeticDataModule makes them")
    return dataset


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """The callbacks of a trainer (Lightning sets the attribute without declaring it)."""
    callbacks: list[Callback] = vars(trainer)["callbacks"]
    return callbacks


def find_callback(trainer: Trainer, kind: type[CallbackType]) -> CallbackType | None:
    """The first callback of a class, or None."""
    return next((callback for callback in callbacks_of(trainer) if isinstance(callback, kind)), None)


def logged_step(trainer: Trainer) -> int:
    """The step under which Lightning logs this validation's scalars, so that curves, images and records line up."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def sum_over_ranks(trainer: Trainer, parts: Iterable[Tensor]) -> None:
    """Replace each tensor by its sum over the processes of the run."""
    if trainer.world_size > 1:
        for part in parts:
            part.copy_(trainer.strategy.reduce(part.to(trainer.strategy.root_device), reduce_op="sum"))
