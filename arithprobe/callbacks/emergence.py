"""Live emergence: the validation from which on each variable is readable."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from arithprobe.analysis.emergence.drift import DriftControl
from arithprobe.callbacks.base import ValidationProbe
from arithprobe.callbacks.emergence_watch import EmergenceFound, EmergenceWatch, SoFar
from arithprobe.callbacks.single import probed_module
from arithprobe.callbacks.trainers import quiet
from arithprobe.callbacks.watch import Observed
from arithprobe.errors import ArithprobeError, require_at_least, several
from arithprobe.limits import require_within
from arithprobe.logic import CANNOT_BE_TOLD, FEWEST_DRAWS, LEVEL
from arithprobe.models.network import frozen_copy
from arithprobe.plotting.emergence import emergence_map
from arithprobe.probes.emergence import IN_A_ROW, Emergence, emergences, in_order, in_words, listed
from arithprobe.probes.emergence_survey import watched
from arithprobe.probes.function_rows import rows_with
from arithprobe.probes.moments import ALPHAS, penalties
from arithprobe.probes.steps import steps_made
from arithprobe.probes.survey import Split
from arithprobe.probes.tags import Tag
from arithprobe.probes.wanted import Targets, functions_record, wanted_targets
from arithprobe.problems.rows import Rows
from arithprobe.said.content import Chart, Column, Content, Picture, Said, Table, Words
from arithprobe.said.folder import FILES_OF_THE_RUN
from arithprobe.training.probed import ProbedModule


class EmergenceProbing(ValidationProbe[EmergenceFound]):
    """Finds for each variable the first validation of a fit from which on it is readable.

    At every validation of a fit, it fits ridge probes of the last token at every residual site. A variable is *cleared*
    at a site if its permutation p-value is at most 0.05 (for a frequency: family-wise over the frequencies), its
    held-out R2 is positive, and the lower end of the 95 % interval of R2 is above the R2 at that site of this network
    before its first step and of untrained networks of the same architecture; a frequency must also be told from
    neighbouring periods. A variable has *emerged* at the first of three cleared validations in a row at one site that
    are above *drift*: the R2 that the same probes would read from this network if each of its weights had moved as far
    since its beginning, up or down at random (:mod:`arithprobe.probes.drift`). Drift is compared at validation 1, 2, 4,
    8, ... and the last; what was cleared since then cannot be told yet. A fit of fewer than three validations has no
    emergence, and the resolution is the interval between validations. Outside a fit the callback does nothing.

    A fit that resumes from a checkpoint has a new run folder and a new history. The network before the first step is
    then unknown, so there is no drift to compare with: whether a cleared variable has emerged cannot be told.

    It writes ``probes/emergence.jsonl`` (every variable and site, one line per validation), ``emergence.json`` (the
    history so far: the step, site and R2 of each emergence) and the figure ``figures/emergence_variables.png``, also in
    TensorBoard (IMAGES): the loss, and R2 by variable and step. It logs one scalar,
    ``emergence_variables/final@last/emerged``: the number of variables that have emerged so far, at any site.

    Args:
        targets: Names of quantities, ``all`` for every one of the data that varies; or functions of the rows, as for
            :class:`~arithprobe.callbacks.ridge.RidgeProbing`.
        frequencies: Frequencies of the residue's circle: the largest, or a list, or 0 for none. By default all up to
            half the modulus, at most 48.
        folds: Folds of groups, each held out in turn.
        permutations: Label permutations of the null, at least 19.
        alphas: Ridge penalties, see :class:`~arithprobe.callbacks.ridge.RidgeProbing`.
        twins: Untrained networks beside the run's own beginning, or 0; run over the rows at the first validation.
        drifts: Networks that only drift, at least 19, run over the rows at every comparison; with 0 nothing emerges.
        figure_every: Draw the figure at the first validation, at every n-th, and at the end of the fit.
        seed: Seed of the permutations and of the untrained networks.
        name: First word of its tag and files, ``<name>.json`` too; two of a run need two names.

    Raises:
        ArithprobeError: If an option is out of range, or what is named cannot be probed in these rows.
    """

    name = "emergence"
    remembered = ("_losses", "_drift")

    def __init__(
        self,
        targets: Targets = "all",
        frequencies: int | Sequence[int] | None = None,
        folds: int = 5,
        permutations: int = 20,
        alphas: float | Sequence[float] = ALPHAS,
        twins: int = 1,
        drifts: int = 19,
        figure_every: int = 5,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        if self.name in FILES_OF_THE_RUN:
            raise ArithprobeError(
                f"EmergenceProbing: name is {self.name!r}; {self.name}.json is another file of the run"
            )
        require_at_least(
            "EmergenceProbing: ",
            folds=(folds, 2),
            permutations=(permutations, FEWEST_DRAWS),
            twins=(twins, 0),
            drifts=(drifts, FEWEST_DRAWS if drifts else 0),
            figure_every=(figure_every, 1),
            seed=(seed, 0),
        )
        if frequencies is not None and not isinstance(frequencies, int):
            frequencies = several("EmergenceProbing: frequencies", frequencies, int)
        largest = max(frequencies, default=0) if isinstance(frequencies, tuple) else frequencies or 0
        require_within(
            "EmergenceProbing: ",
            frequencies=largest,
            folds=folds,
            permutations=permutations,
            twins=twins,
            drifts=drifts,
            figure_every=figure_every,
            seed=seed,
        )
        if isinstance(frequencies, tuple):
            require_at_least("EmergenceProbing: ", frequencies=(min(frequencies, default=0), 1))
        elif frequencies is not None:
            require_at_least("EmergenceProbing: ", frequencies=(frequencies, 0))
        wanted = wanted_targets("EmergenceProbing: targets", targets)
        self.targets, self.functions = list(wanted.names), wanted.functions
        if not self.targets and frequencies in (None, 0):
            raise ArithprobeError("EmergenceProbing: expected at least one target or frequency")
        self.frequencies = frequencies
        self.split = Split("sum", folds, None, permutations, seed, penalties("EmergenceProbing: alphas", alphas))
        self.twins, self.drifts, self.figure_every = twins, drifts, figure_every
        self._losses: list[float] = []
        self._drift = DriftControl(drifts, seed)
        self._task = ""

    @property
    def found(self) -> list[Emergence]:
        """The emergence of each variable, as far as it can be told now."""
        return emergences(self._so_far().readings, self._drift.readings)

    def forget(self) -> None:
        """Forget losses and drift of earlier runs."""
        self._losses, self._drift = [], DriftControl(self.drifts, self.split.seed)

    def _so_far(self) -> SoFar:
        return SoFar([one.result.readings for one in self.history], self._drift)

    def prepare(self, module: ProbedModule, dataset: Rows) -> EmergenceWatch:
        """Fix variables, folds and permutations."""
        dataset = rows_with(dataset, self.functions)
        self._task, what = dataset.task, watched(dataset, self.targets, self.frequencies, self.split)
        tag = str(Tag(self.name, "variables", "final", "last", "emerged"))
        return EmergenceWatch(module, dataset, what, self.split, twins=self.twins, so_far=self._so_far, tag=tag)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the network as it is before the first step."""
        if trainer.global_step == 0:
            self._drift.beginning = frozen_copy(probed_module(pl_module).model)

    def report(self, trainer: Trainer, module: ProbedModule) -> None:
        """Record the loss of this validation, which the module logs before this hook, and then report anew."""
        loss = trainer.callback_metrics.get("val/loss")
        self._losses.append(math.nan if loss is None else float(loss))
        self.behaviour = module.behaviour
        self.say()
        super().report(trainer, module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the last validation with drift, if it was not expected to be the last."""
        behind = self._drift.is_behind(self._so_far().readings)
        if trainer.is_global_zero and behind and isinstance(self._watch, EmergenceWatch):
            module = probed_module(pl_module)
            with self.timed("compute"), quiet(module):
                self._watch.compare(len(self.history) - 1, self._drift)
                self.say()
            self._drawn = 0
            with self.timed("files"):
                self._write(module)

    def said(self, history: Sequence[Observed[EmergenceFound]]) -> Said:
        """The order of emergence, in words, in a table and over the course of the fit."""
        readings = [one.result.readings for one in history]
        losses = (self._losses + [math.nan] * len(history))[: len(history)]  # the last is known when it is reported
        found = emergences(readings, self._drift.readings)
        left_out = (*history[-1].result.left_out, *filter(None, [self._drift.problem]))
        drift = None if self._drift.is_behind(readings) else self._drift.readings[-1].r2.amax(dim=0)
        return Said(
            name=self.name,
            title="Emergence",
            behaviour=self.behaviour,
            blocks=(
                *_words(self.name, found, len(history), left_out),
                Chart("variables", "how many variables have emerged", ("emerged",), headlines=("emerged",)),
                Picture(
                    f"{self.name}_variables",
                    lambda: emergence_map(readings, losses, found, self.behaviour),
                    f"Emerged, by steps: {_by_steps(found)}.",
                    "Emergence of each variable",
                    "When between two validations a variable emerged: a dot stands at the first of three.",
                ),
                _table(found),
            ),
            records={self.name: self._record(history, found, left_out, losses)},
            shows="From which validation on each variable is readable, three times in a row, above untrained networks "
            "and drift.",
            does_not_show="Causes: what emerges first need not be used.",
            rank=45,
            scalars={
                str(Tag(self.name, "variables", "final", "last", "emerged")): float(sum(one.emerged for one in found))
            },
            line={"loss": losses[-1], "sites": readings[-1].sites, "variables": readings[-1].by_variable(drift)},
        )

    def _record(
        self,
        history: Sequence[Observed[EmergenceFound]],
        found: Sequence[Emergence],
        left_out: Sequence[str],
        losses: Sequence[float],
    ) -> Mapping[str, Any]:
        """The history so far."""
        return {
            "behaviour": None if self.behaviour is None else dataclasses.asdict(self.behaviour),
            "task": self._task,
            "level": LEVEL,
            "in_a_row": IN_A_ROW,
            "folds": self.split.folds,
            "permutations": self.split.permutations,
            "twins": self.twins,
            "own_beginning": self._drift.beginning is not None,
            "drifts": self.drifts,
            "drift_compared_at": [history[one.at].step for one in self._drift.readings],
            "left_out": left_out,
            "steps": [one.step for one in history],
            "loss": losses,
            "variables": [dataclasses.asdict(one) | {"state": one.state} for one in in_order(found)],
        } | functions_record(self.functions)


def _words(name: str, found: Sequence[Emergence], validations: int, left_out: Sequence[str]) -> Iterator[Content]:
    """The order of emergence, and what was left out."""
    few = f"emerged: {CANNOT_BE_TOLD} from {validations} validations, it takes {IN_A_ROW} in a row"
    yield Words(few if validations < IN_A_ROW else in_words(found))
    yield from (Words(f"{name} probing left out {reason}", "doubtful") for reason in left_out)


def _by_steps(found: Sequence[Emergence]) -> str:
    """What emerged after how many steps, and of what it cannot be told."""
    perhaps = [one.variable for one in in_order(found) if one.state == CANNOT_BE_TOLD]
    said = ", ".join(f"{one.variable} at {steps_made(one.step)}" for one in in_order(found) if one.emerged) or "nothing"
    return said + (f"; {CANNOT_BE_TOLD} from drift: {', '.join(listed(perhaps))}" if perhaps else "")


def _table(found: Sequence[Emergence]) -> Table:
    rows = tuple((one.variable, str(steps_made(one.step)), str(one.site)) for one in in_order(found) if one.emerged)
    columns = (Column("variable", is_text=True), Column("after steps"), Column("site", is_text=True))
    return Table("What became readable, in order", columns, rows)
