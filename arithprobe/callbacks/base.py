"""The base class of all observers of validation: their schedule, clock, run folder and output."""

import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from arithprobe.behaviour import Behaviour
from arithprobe.callbacks.clock import Timed
from arithprobe.callbacks.custom_scalars import with_charts
from arithprobe.callbacks.run_folder import run_folder
from arithprobe.callbacks.single import SingleCallback, probed_module
from arithprobe.callbacks.telling import add_line, gate, lines_of, named, show_pictures, without_pictures, write_run
from arithprobe.callbacks.trainers import is_turn, moment, quiet, rows_behind, same_rows, sum_over_ranks, verify
from arithprobe.callbacks.watch import Observed, ResultT, Watch
from arithprobe.errors import ArithprobeError
from arithprobe.problems.rows import Rows
from arithprobe.said.content import Said
from arithprobe.training.probed import ProbedModule

_NAME = re.compile(r"[a-z]+")


class ValidationProbe(Timed, SingleCallback, Generic[ResultT]):
    """Base class of callbacks that watch the validation pass and report at its end; the sanity check is not watched.

    A subclass has two methods: :meth:`prepare` makes a :class:`~arithprobe.callbacks.watch.Watch`, which folds the
    batches into sums and turns them into a result; :meth:`said` says what the results so far mean. This class does the
    rest: scalars go to the loggers, pictures to TensorBoard and ``figures/``, a line to ``probes/<name>.jsonl``, and
    the blocks to ``probes/<name>.page.json``, which ``arithprobe report`` reads.

    One callback may watch several fits and passes, also of other modules and rows. Each starts anew, except a further
    ``fit`` of the same trainer, module and rows: it continues in the same run folder, with the results so far.
    Validations between the two are not part of them.

    Args:
        name: First word of its tags, and name of its files; small letters. Two of one class in a run need two names.

    Attributes:
        behaviour: Verdict on the model at the last validation; None before it.
        history: Results so far; only that of the last validation if ``keeps`` is 1.
        last: What it said last; None before its first result, and if nothing can be said.

    Raises:
        ArithprobeError: If the name has characters other than small letters.
    """

    name: str
    """Its name where none is given."""
    every: int = 1
    """It looks at the first validation of a fit and at validations n, 2 n, ...; and at each outside a fit."""
    figure_every: int = 1
    """It draws its pictures at the first result, at every n-th, and at the end of the fit."""
    keeps: int | None = None
    """How many results it remembers, the last ones; None for all."""
    remembered: tuple[str, ...] = ()
    """Names of further attributes that a further fit of the same run goes on with; ``forget`` sets them to nothing."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        self.name = type(self).name if name is None else name
        if not _NAME.fullmatch(str(self.name)):
            raise ArithprobeError(f"{type(self).__name__}: name is {self.name!r}; expected small letters")
        self.behaviour: Behaviour | None = None
        self.history: list[Observed[ResultT]] = []
        self._validations = self._results = self._drawn = 0
        self.last: Said | None = None
        self._watch: Watch[ResultT] | None = None
        self._tags: tuple[str, ...] = ()
        self._turn = False
        self._run_folder: Path | None = None
        self._planned: tuple[object, object, Rows] | None = None
        self._fit: tuple[Trainer, LightningModule] | None = None
        self._rows: Rows | None = None
        self._aside: dict[str, Any] = {}

    @abstractmethod
    def prepare(self, module: ProbedModule, dataset: Rows) -> Watch[ResultT]:
        """Check the options against model and rows, and make the watch.

        Called before the first validation of a run, so that a mistake in an option shows before any training, and again
        for another network, objective or other rows.
        """

    @abstractmethod
    def said(self, history: Sequence[Observed[ResultT]]) -> Said:
        """Say what the results so far mean; the last is of the validation that has just ended.

        Called on every process, before the module has judged: pictures ask for ``behaviour`` as they are drawn.
        """

    def forget(self) -> None:
        """Forget earlier fits and passes; for subclasses that keep more than the results."""

    def findings(self) -> list[str]:
        """The last findings in words, one line each; with their step where it has not looked since."""
        skipped = self._validations > 1 and self._validations % self.every != 0
        return lines_of(self.last, self.history[-1].step if skipped and self.history else None)

    def tags(self) -> list[str]:
        """The tags it may log, once prepared."""
        return list(self._tags)

    @property
    def writes(self) -> str:
        """The records and tags that it writes."""
        return f"probes/{self.name}.jsonl and tags '{self.name}_...'"

    @property
    def remedy(self) -> str:
        """What to do about a second callback of the same name."""
        first = "name all targets in one" if hasattr(self, "targets") else "keep one of them"
        return f"{first}, or give one a 'name' of its own (small letters)"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the run folder, and forget earlier runs, unless this fit continues one."""
        super().setup(trainer, pl_module, stage)
        self._run_folder = run_folder(trainer)
        self.seconds, self.fit_seconds = {}, 0.0
        if stage != "fit":
            names = ("history", "_validations", "_results", "_drawn", "last", *self.remembered)
            self._aside = self._aside or {name: getattr(self, name) for name in names}
            self._forget_all()
        elif self._fit == (trainer, pl_module):
            vars(self).update(self._aside)
            self._aside = {}
        else:
            self._begin_fit(trainer, pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Prepare anew next time, since an option may change until then."""
        self._planned = self._watch = None

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Start anew, in a fit: earlier results are unknown, or belong to later steps."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._begin_fit(trainer, pl_module)

    def plan(self, module: ProbedModule, dataset: Rows) -> None:
        """Verify a network of your own, and prepare for module and rows, unless that has been done."""
        verify(module, dataset)
        planned = self._planned
        if planned and planned[:2] == (module.model, module.objective) and same_rows(planned[2], dataset):
            return
        self._planned = None
        with quiet(module):
            self._watch = self.prepare(module, dataset)
        self._tags = self._watch.tags
        self._planned = module.model, module.objective, dataset

    def __getstate__(self) -> dict[str, Any]:
        """A copy watches other runs; it keeps the words, as pictures that are still to be drawn cannot be pickled."""
        last = None if self.last is None else without_pictures(self.last)
        return vars(self) | {"_fit": None, "_planned": None, "_watch": None, "_aside": {}, "last": last}

    def _forget_all(self) -> None:
        self.history, self.last, self._validations, self._results, self._drawn = [], None, 0, 0, 0
        self.forget()

    def _begin_fit(self, trainer: Trainer, module: LightningModule) -> None:
        self._fit, self._rows, self._aside = (trainer, module), None, {}
        self._forget_all()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare; and begin, unless this is the sanity check or not this callback's turn."""
        module, rows, self._turn = probed_module(pl_module), rows_behind(trainer.val_dataloaders), False
        with self.timed("prepare"):
            self.plan(module, rows)
            if trainer.state.fn == TrainerFn.FITTING:
                if self._rows is not None and not same_rows(self._rows, rows):
                    self._forget_all()
                self._rows = rows
            if trainer.sanity_checking or self._watch is None:
                return
            self._validations += 1
            self._turn = is_turn(module, self._validations, self.every)
            if self._turn:
                with quiet(module):
                    self._watch.start()

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
        if self._turn and self._watch is not None:
            with self.timed("gather"):
                self._watch.update(outputs["states"], batch.rows)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add up the processes, and log the result, on every process alike."""
        if not self._turn or self._watch is None:
            return
        with self.timed("compute"), quiet(probed_module(pl_module)):
            sum_over_ranks(trainer, self._watch.state)
            result = self._watch.result()
            if result is None:
                self._turn, self.last = False, None
                return
            self.history = [*self.history, Observed(moment(trainer)["step"], result)][-(self.keeps or 0) :]
            self._results += 1
            said = self.say()
        pl_module.log_dict({tag: value for tag, value in said.scalars.items() if value == value}, sync_dist=True)

    def say(self) -> Said:
        """Say anew what the results so far mean."""
        self.last = with_charts(named(self.said(self.history), self.name, type(self).name))
        return self.last

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report on the first process, once the module has judged the behaviour."""
        if self._turn and trainer.is_global_zero:
            self.report(trainer, probed_module(pl_module))
        self._turn = False

    def report(self, trainer: Trainer, module: ProbedModule) -> None:
        """Write a line of results; and, unless a fit's would be replaced, the page file and at times the pictures."""
        self.behaviour = module.behaviour
        self.last = None if self.last is None else replace(self.last, behaviour=self.behaviour)
        of_fit = self._fit is not None and self._fit[0] is trainer and bool(self._aside.get("history"))
        if not of_fit and (self._results == 1 or self._results % self.figure_every == 0):
            self._draw(trainer)
        with self.timed("files"):
            if self._run_folder is not None and self.last is not None:
                line = moment(trainer) | gate(module, self.seconds) | dict(self.last.line)
                add_line(self._run_folder, self.name, line)
            if not of_fit:
                self._write(module)

    def _write(self, module: ProbedModule) -> None:
        if self._run_folder is not None and self.last is not None:
            write_run(self._run_folder, self.last, type(self), gate(module, self.seconds))

    def _draw(self, trainer: Trainer) -> None:
        self._drawn = self._results
        if self.last is not None:
            with self.timed("figure"):
                show_pictures(trainer, self._run_folder, self.last, self.history[-1].step)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the final pictures, and stop the clock of the fit."""
        if trainer.is_global_zero and self._drawn < self._results:
            self.behaviour = probed_module(pl_module).behaviour
            self._draw(trainer)
        super().on_fit_end(trainer, pl_module)

    def summary(self) -> list[str]:
        """The findings of the last validation, and the cost of the callback, one line each."""
        cost = self.cost()
        return [*self.findings(), *([f"{self.name} probing took {cost}"] if cost else [])]
