"""Live emergence: from which validation on is each variable readable?"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from arithprobe.analysis.emergence.drift import DriftControl, r2_of_each
from arithprobe.analysis.forward import random_init_twin
from arithprobe.callbacks.base import ValidationProbe, probed_module, to_json
from arithprobe.callbacks.trainers import moment, quiet, sum_over_ranks
from arithprobe.data.dataset import Batch
from arithprobe.errors import ArithprobeError, require_at_least, several
from arithprobe.files import write_whole
from arithprobe.limits import require_within
from arithprobe.logic import CANNOT_BE_TOLD, FEWEST_DRAWS, LEVEL
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.models.network import frozen_copy
from arithprobe.plotting.emergence import emergence_map
from arithprobe.probes.emergence import IN_A_ROW, Emergence, Readings, emergences, in_order, in_words
from arithprobe.probes.emergence_survey import EmergenceSurvey, Watched, watched
from arithprobe.probes.moments import ALPHAS, penalties
from arithprobe.probes.survey import Split
from arithprobe.probes.tags import Tag
from arithprobe.problems.rows import Rows
from arithprobe.training.probed import ProbedModule, ValidationOutput

_TAG = Tag("emergence", "variables", "final", "last", "emerged")


class EmergenceProbing(ValidationProbe):
    """The first validation of a fit from which on each variable is readable.

    At every validation of a fit, ridge probes of the last token at every residual site. A variable is *cleared* at a
    site when its permutation p-value is at most 0.05 (of a frequency: family-wise over the frequencies), its held-out
    R2 is positive, and the lower end of the 95 % interval of R2 is above what is read at that site from this network
    before its first step and from untrained networks of the same architecture; a frequency has to be told from
    neighbouring periods as well. It has *emerged* at the first of three cleared validations in a row at one site that
    are above *drift*: what the same probes read of this network if each of its weights had moved as far since its
    beginning, up or down at random (:mod:`arithprobe.probes.drift`). That is compared at validation 1, 2, 4, 8, ...
    and the last; what was cleared since then cannot be told yet. A fit of fewer than three validations has no
    emergence, and the resolution is the interval between validations. Outside a fit the callback does nothing.

    A fit that goes on from a checkpoint has a new run folder and a new history. The network before its first step is
    not known then, so there is no drift to compare with: whatever is cleared, whether it emerged cannot be told.

    Writes ``probes/emergence.jsonl`` (every variable and site, one line a validation), ``emergence.json`` (the history
    so far: the step, site and R2 of each emergence) and the figure ``figures/emergence_variables.png``, also in
    TensorBoard (IMAGES): the loss, and R2 by variable and step. Logs one scalar,
    ``emergence_variables/final@last/emerged``: how many variables have emerged so far, anywhere in the network.

    Args:
        targets: Targets, see :mod:`arithprobe.probes.targets`; ``all`` is every one of the data that varies.
        frequencies: Frequencies of the residue's circle: the largest, or a list, or 0 for none. By default all up to
            half the modulus, at most 48.
        folds: Folds of groups, each held out in turn.
        permutations: Label permutations of the null, at least 19.
        alphas: Ridge penalties, see :class:`~arithprobe.callbacks.ridge.RidgeProbing`.
        twins: Untrained networks beside the run's own beginning, or 0; run over the rows at the first validation.
        drifts: Networks that only drift, at least 19, run over the rows at every comparison; with 0 nothing emerges.
        figure_every: Draw the figure at the first validation, at every n-th, and at the end of the fit.
        seed: Seed of the permutations and of the untrained networks.

    Raises:
        ArithprobeError: If an option is out of range, or what is named cannot be probed in these rows.
    """

    analysis = "emergence"
    remembered = ("_history", "_losses", "_found", "_drift", "_drawn")

    def __init__(
        self,
        targets: Sequence[str] = ("all",),
        frequencies: int | Sequence[int] | None = None,
        folds: int = 5,
        permutations: int = 20,
        alphas: float | Sequence[float] = ALPHAS,
        twins: int = 1,
        drifts: int = 19,
        figure_every: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__()
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
        self.targets = list(dict.fromkeys(several("EmergenceProbing: targets", targets)))
        if not self.targets and frequencies in (None, 0):
            raise ArithprobeError("EmergenceProbing: expected at least one target or frequency")
        self.frequencies = frequencies
        self.split = Split("sum", folds, None, permutations, seed, penalties("EmergenceProbing: alphas", alphas))
        self.twins, self.drifts, self.figure_every = twins, drifts, figure_every
        self._dataset: Rows | None = None
        self._what: Watched | None = None
        self._survey: EmergenceSurvey | None = None
        self._untrained: Tensor | None = None
        self._active = False
        self._history: list[Readings] = []
        self._losses: list[float] = []
        self._found: list[Emergence] = []
        self._drift = DriftControl(drifts, seed)
        self._drawn = 0

    def forget(self) -> None:
        """Forget earlier runs."""
        self._history, self._losses, self._found = [], [], []
        self._drift, self._drawn, self._active = DriftControl(self.drifts, self.split.seed), 0, False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the network as it is before the first step."""
        if trainer.global_step == 0:
            self._drift.beginning = frozen_copy(probed_module(pl_module).model)

    def prepare(self, module: ProbedModule, dataset: Rows) -> None:
        """Fix variables, folds and permutations."""
        self._what = watched(dataset, self.targets, self.frequencies, self.split)
        self._survey = self._survey_of(module, dataset, self._what, self.split)
        self._dataset, self._untrained = dataset, None

    def begin(self, module: ProbedModule) -> None:
        """Start with empty moments; before the first time, read the untrained networks."""
        self._active = module.trainer.state.fn == TrainerFn.FITTING
        if not self._active or self._survey is None or self._what is None or self._dataset is None:
            return
        if self._untrained is None:
            self._untrained = self._read_untrained(module, self._dataset, self._what)
        self._survey.start()

    def observe(self, output: ValidationOutput, batch: Batch) -> None:
        """Add a batch to the moments."""
        if self._active and self._survey is not None:
            self._survey.update(output["states"], batch.rows)

    def finish(self, trainer: Trainer, module: ProbedModule) -> Mapping[str, float]:
        """Merge the ranks, fit, score, and look back."""
        if not self._active or self._survey is None:
            return {}
        sum_over_ranks(trainer, self._survey.state)
        self._history.append(self._survey.readings(moment(trainer)["step"], self._untrained))
        if self._drift.is_due(self._history, trainer.estimated_stepping_batches - trainer.global_step):
            self._compare(module)
        self._found = emergences(self._history, self._drift.readings)
        return {str(_TAG): float(sum(one.emerged for one in self._found))}

    def tags(self) -> list[str]:
        """The tags it will log, once prepared."""
        return [str(_TAG)]

    def report(self, trainer: Trainer, module: ProbedModule) -> None:
        """Write the record of this validation, the emergences so far, and now and then the figure."""
        if not self._active:
            return
        loss = trainer.callback_metrics.get("val/loss")  # of this validation: the module logs it before this hook
        self._losses.append(math.nan if loss is None else float(loss))
        if len(self._history) == 1 or len(self._history) % self.figure_every == 0:
            self._draw(trainer, module)
        with self.timed("files"):
            self.append_line(trainer, self.gate(module) | self._line())
            self._write(module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the last validation with drift, where it was not foreseen to be the last."""
        if trainer.is_global_zero and self._drift.is_behind(self._history):
            module = probed_module(pl_module)
            with self.timed("compute"), quiet(module):
                self._compare(module)
            self._drawn = 0
            with self.timed("files"):
                self._write(module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last state."""
        if trainer.is_global_zero and self._drawn < len(self._history):
            self._draw(trainer, probed_module(pl_module))
        super().on_fit_end(trainer, pl_module)

    def findings(self) -> list[str]:
        """The order of emergence."""
        if not self._history:
            return []
        line = in_words(self._found)
        if len(self._history) < IN_A_ROW:
            line = f"emerged: {CANNOT_BE_TOLD} from {len(self._history)} validations, it takes {IN_A_ROW} in a row"
        return [line, *(f"emergence probing left out {reason}" for reason in self._left_out)]

    @property
    def _left_out(self) -> tuple[str, ...]:
        of_rows = () if self._what is None else self._what.left_out
        return (*of_rows, *filter(None, [self._drift.problem]))

    def _survey_of(self, module: ProbedModule, dataset: Rows, what: Watched, split: Split) -> EmergenceSurvey:
        return EmergenceSurvey(dataset, module.model.residual_sites, what, split, module.model.d_model)

    def _read_untrained(self, module: ProbedModule, dataset: Rows, what: Watched) -> Tensor | None:
        """(V, S) the largest R2 of the network before its first step and the other untrained ones; None without any."""
        trained = self._loaded(module, dataset)
        untrained = []
        try:
            untrained += [random_init_twin(trained, self.split.seed + number) for number in range(self.twins)]
        except ArithprobeError as error:
            self._what = what._replace(left_out=(*what.left_out, f"untrained networks: {error}"))
        if self._drift.beginning is not None:
            untrained.append(trained._replace(path="the run's beginning", model=self._drift.beginning))
        survey = self._survey_of(module, dataset, what, self.split._replace(permutations=0))
        return r2_of_each(untrained, dataset, survey).amax(dim=0) if untrained else None

    def _loaded(self, module: ProbedModule, dataset: Rows) -> LoadedModel:
        return LoadedModel("the run", "live", module.model, module.objective, module.train_mean, dataset.task)

    def _compare(self, module: ProbedModule) -> None:
        """Read the networks that only drift."""
        if self._dataset is not None and self._what is not None:
            survey = self._survey_of(module, self._dataset, self._what, self.split._replace(permutations=0))
            self._drift.read(len(self._history) - 1, self._loaded(module, self._dataset), self._dataset, survey)
        self._found = emergences(self._history, self._drift.readings)

    def _write(self, module: ProbedModule) -> None:
        if self._run_folder is not None:
            write_whole(self._run_folder / "emergence.json", f"{to_json(self.gate(module) | self._record(module))}\n")

    def _line(self) -> dict[str, Any]:
        """Every variable and site of the last validation."""
        behind = self._drift.is_behind(self._history)
        rows = self._history[-1].by_variable(None if behind else self._drift.readings[-1].r2.amax(dim=0))
        return {"loss": self._losses[-1], "sites": self._history[-1].sites, "variables": rows}

    def _record(self, module: ProbedModule) -> dict[str, Any]:
        """The history so far."""
        return {
            "behaviour": None if module.behaviour is None else dataclasses.asdict(module.behaviour),
            "task": "" if self._dataset is None else self._dataset.task,
            "level": LEVEL,
            "in_a_row": IN_A_ROW,
            "folds": self.split.folds,
            "permutations": self.split.permutations,
            "twins": self.twins,
            "own_beginning": self._drift.beginning is not None,
            "drifts": self.drifts,
            "drift_compared_at": [self._history[one.at].step for one in self._drift.readings],
            "left_out": self._left_out,
            "steps": [one.step for one in self._history],
            "loss": self._losses,
            "variables": [dataclasses.asdict(one) | {"state": one.state} for one in in_order(self._found)],
        }

    def _draw(self, trainer: Trainer, module: ProbedModule) -> None:
        self._drawn = len(self._history)
        with self.timed("figure"):
            figure = emergence_map(self._history, self._losses, self._found, module.behaviour)
            self.show(trainer, figure, "variables", "variable x step", self._history[-1].step)
