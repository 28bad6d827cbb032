"""What all observers of validation share: the run folder, the clock, and when to look away."""

import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from arithprobe.analysis.forward import fidelity_of
from arithprobe.callbacks.loggers import log_image, takes_images
from arithprobe.callbacks.run_folder import run_folder
from arithprobe.callbacks.single import SingleCallback
from arithprobe.callbacks.single import probed_module as probed_module
from arithprobe.callbacks.trainers import moment, quiet, rows_behind, same_rows
from arithprobe.callbacks.trainers import sum_over_ranks as sum_over_ranks
from arithprobe.data.dataset import Batch
from arithprobe.files import to_json as to_json
from arithprobe.files import write_whole
from arithprobe.models.checkpoints import is_ours
from arithprobe.models.fidelity import fidelity_record
from arithprobe.plotting.render import Figure, to_png, to_rgb, to_svg
from arithprobe.problems.rows import Rows
from arithprobe.training.probed import ProbedModule, ValidationOutput

_CHECKS = 2  # of a network of one's own, at least


class ValidationProbe(SingleCallback):
    """Watches the validation pass, and reports at its end; the sanity check is not watched.

    Subclasses fold each batch into something of bounded size, never keep states, and draw randomness from generators of
    their own.

    One callback may watch several fits and passes, of other modules and rows too. Each begins anew, but for a further
    ``fit`` of the same trainer, module and rows: it goes on in the same run folder, and so do the histories. What is
    validated between the two is no part of them.

    Attributes:
        seconds: Wall time spent in the callback, by part, over the whole fit.
        fit_seconds: Wall time of the fit so far, the callback included.
    """

    analysis: str
    """First word of its tags, and name of its file ``probes/<analysis>.jsonl``; of one callback of a run."""
    every: int = 1
    """It reports at validation n, 2 n, ... of a fit."""
    remembered: tuple[str, ...] = ()
    """Names of the attributes that a further fit of the same run goes on with; ``forget`` sets them to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = {}
        self.fit_seconds = 0.0
        self._fit_started = 0.0
        self._run_folder: Path | None = None
        self._planned: tuple[object, object, Rows] | None = None
        self._fit: tuple[Trainer, LightningModule] | None = None
        self._rows: Rows | None = None
        self._aside: dict[str, Any] = {}

    @abstractmethod
    def prepare(self, module: ProbedModule, dataset: Rows) -> None:
        """Check the options against model and rows, and fix what depends on these.

        Called before the first validation of a run, so that a mistake in an option shows before any training, and again
        for another network, objective or other rows.
        """

    @abstractmethod
    def begin(self, module: ProbedModule) -> None:
        """Start a pass over the rows prepared for."""

    @abstractmethod
    def observe(self, output: ValidationOutput, batch: Batch) -> None:
        """Take in one batch."""

    @abstractmethod
    def finish(self, trainer: Trainer, module: ProbedModule) -> Mapping[str, float]:
        """Compute, on every rank, and return the scalars to log, by tag."""

    @abstractmethod
    def report(self, trainer: Trainer, module: ProbedModule) -> None:
        """Write files and figures; called on rank 0, once the module has judged the behaviour."""

    @abstractmethod
    def findings(self) -> list[str]:
        """What the last validation found at the readout, one line each."""

    @abstractmethod
    def tags(self) -> list[str]:
        """The tags it will log, once prepared."""

    def forget(self) -> None:
        """Forget what was found in earlier fits and passes; for those that keep anything between validations."""

    @property
    def writes(self) -> str:
        """Its records and tags."""
        return f"probes/{self.analysis}.jsonl and tags '{self.analysis}_...'"

    @property
    def remedy(self) -> str:
        """What to do about a second one."""
        first = "name all targets in one" if hasattr(self, "targets") else "keep one of them"
        return f"{first}, or make one a subclass with an 'analysis' of its own (small letters)"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the run folder, and forget earlier runs, unless this is a fit that goes on."""
        super().setup(trainer, pl_module, stage)
        self._run_folder = run_folder(trainer)
        self.seconds, self.fit_seconds = {}, 0.0
        if stage != "fit":
            self._aside = self._aside or {name: getattr(self, name) for name in self.remembered}
            self.forget()
        elif self._fit == (trainer, pl_module):
            vars(self).update(self._aside)
            self._aside = {}
        else:
            self._begin_fit(trainer, pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Prepare anew next time: an option may have been changed until then."""
        self._planned = None

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Begin anew, in a fit: what came before is not known, or is of later steps."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._begin_fit(trainer, pl_module)

    def plan(self, module: ProbedModule, dataset: Rows) -> None:
        """Prepare for a module and its rows, unless that has been done.

        A network of one's own is verified first; once more when steps were made, since weights that are zero at first
        hide what goes past a site; and at every validation as long as an edit of some site reaches no output.
        """
        known, step = module.fidelity, module.global_step
        open_yet = known is None or len(module.checked_at) < _CHECKS or known.unreached or known.coarse
        if open_yet and step not in module.checked_at and not is_ours(module.model):
            with quiet(module):
                module.fidelity = fidelity_of(module.model, dataset)
            module.checked_at += (step,)
        planned = self._planned
        if planned and planned[:2] == (module.model, module.objective) and same_rows(planned[2], dataset):
            return
        self._planned = None
        with quiet(module):
            self.prepare(module, dataset)
        self._planned = module.model, module.objective, dataset

    def __getstate__(self) -> dict[str, Any]:
        """A copy watches other runs."""
        return vars(self) | {"_fit": None, "_planned": None}

    def _begin_fit(self, trainer: Trainer, module: LightningModule) -> None:
        self._fit, self._rows, self._aside = (trainer, module), None, {}
        self.forget()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the fit."""
        self._fit_started = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare; and begin, unless this is the sanity check."""
        module, rows = probed_module(pl_module), rows_behind(trainer.val_dataloaders)
        with self.timed("prepare"):
            self.plan(module, rows)
            if trainer.state.fn == TrainerFn.FITTING:
                if self._rows is not None and not same_rows(self._rows, rows):
                    self.forget()
                self._rows = rows
            if not trainer.sanity_checking:
                with quiet(module):
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
            module = probed_module(pl_module)
            with self.timed("compute"), quiet(module):
                scalars = self.finish(trainer, module)
            pl_module.log_dict({tag: value for tag, value in scalars.items() if value == value}, sync_dist=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write."""
        if not trainer.sanity_checking and trainer.is_global_zero:
            self.report(trainer, probed_module(pl_module))

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

    def gate(self, module: ProbedModule) -> dict[str, Any]:
        """What stands first in every record: has the model learned."""
        behaviour = module.behaviour
        return {
            "verdict": behaviour.verdict if behaviour else None,
            "skill": behaviour.skill if behaviour else None,
            "seconds": self.seconds,
        } | fidelity_record(module.fidelity)

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
