"""The scores of the emergence probes at one validation, and those of networks that only drift."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from arithprobe.analysis.emergence.drift import DriftControl, r2_of_each
from arithprobe.analysis.forward import random_init_twin
from arithprobe.callbacks.trainers import moment
from arithprobe.callbacks.watch import Watch
from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.probes.emergence import Readings
from arithprobe.probes.emergence_survey import EmergenceSurvey, Watched
from arithprobe.probes.survey import Split
from arithprobe.problems.rows import Rows
from arithprobe.training.probed import ProbedModule


class SoFar(NamedTuple):
    """The state of a fit up to now."""

    readings: list[Readings]
    """What each validation before this one read, in order."""
    drift: DriftControl
    """Networks that have moved as far as the one that is trained, but nowhere in particular."""


class EmergenceFound(NamedTuple):
    """The result of one validation."""

    readings: Readings
    """Scores of each variable at each site, and those without training."""
    left_out: tuple[str, ...]
    """What was not looked for, or not read, with the reason."""


class EmergenceWatch(Watch[EmergenceFound]):
    """Collects moments of the states and of every variable; outside a fit it watches nothing.

    Args:
        module: The module that trains.
        dataset: Its validation rows.
        what: The variables to look for.
        split: How rows are held out.
        twins: Untrained networks beside the run's own beginning.
        so_far: The fit up to now.
        tag: The tag of what it logs.
    """

    def __init__(
        self,
        module: ProbedModule,
        dataset: Rows,
        what: Watched,
        split: Split,
        *,
        twins: int,
        so_far: Callable[[], SoFar],
        tag: str,
    ) -> None:
        self._module, self._dataset, self._what, self._split = module, dataset, what, split
        self._twins, self._so_far, self.tags = twins, so_far, (tag,)
        self._left_out = what.left_out
        self._survey = self._survey_of(split)
        self._untrained: Tensor | None = None
        self._active = self._read_before = False

    def start(self) -> None:
        """Begin with empty moments; before the first time, read the untrained networks."""
        self._active = self._module.trainer.state.fn == TrainerFn.FITTING
        if not self._active:
            return
        if not self._read_before:
            self._untrained, self._read_before = self._read_untrained(), True
        self._survey.start()

    def update(self, states: Mapping[str, Tensor], rows: Tensor) -> None:
        """Add a batch to the moments."""
        if self._active:
            self._survey.update(states, rows)

    @property
    def state(self) -> Iterable[Tensor]:
        """The moments."""
        return self._survey.state if self._active else ()

    def result(self) -> EmergenceFound | None:
        """Fit and score, at some validations also the networks that only drift; None outside a fit."""
        if not self._active:
            return None
        trainer, (earlier, drift) = self._module.trainer, self._so_far()
        readings = self._survey.readings(moment(trainer)["step"], self._untrained)
        if drift.is_due([*earlier, readings], trainer.estimated_stepping_batches - trainer.global_step):
            self.compare(len(earlier), drift)
        return EmergenceFound(readings, self._left_out)

    def compare(self, number: int, drift: DriftControl) -> None:
        """Read the networks that only drift, as far from the beginning as the network is now.

        Args:
            number: The number of the validation, from 0.
            drift: Reads these networks, and keeps their scores.
        """
        drift.read(number, self._loaded(), self._dataset, self._survey_of(self._split._replace(permutations=0)))

    def _survey_of(self, split: Split) -> EmergenceSurvey:
        model = self._module.model
        return EmergenceSurvey(self._dataset, model.residual_sites, self._what, split, model.d_model)

    def _read_untrained(self) -> Tensor | None:
        """(V, S) the largest R2 of the network before its first step and the other untrained ones; None without any."""
        trained, beginning, untrained = self._loaded(), self._so_far().drift.beginning, []
        try:
            untrained += [random_init_twin(trained, self._split.seed + number) for number in range(self._twins)]
        except ArithprobeError as error:
            self._left_out = (*self._left_out, f"untrained networks: {error}")
        if beginning is not None:
            untrained.append(trained._replace(path="the run's beginning", model=beginning))
        survey = self._survey_of(self._split._replace(permutations=0))
        return r2_of_each(untrained, self._dataset, survey).amax(dim=0) if untrained else None

    def _loaded(self) -> LoadedModel:
        module = self._module
        return LoadedModel("the run", "live", module.model, module.objective, module.train_mean, self._dataset.task)
