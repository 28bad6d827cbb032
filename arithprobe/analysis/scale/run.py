"""Measures of each trial of a sweep: decodability at the readout beside controls, and causal use.

Some scores grow with the width of a network whether it has learned or not. So each is compared with permuted labels,
with untrained networks of the same width, and with the same probe at one dimension for all widths.
"""

import math
from collections.abc import Iterator, Sequence

import torch

from arithprobe.analysis.forward import Progress, chosen_options, random_init_twin, run_over
from arithprobe.analysis.scale.forward import ForwardCosts, ReadoutStates, forward_costs
from arithprobe.analysis.scale.mlp import mlp_values
from arithprobe.analysis.scale.options import ScaleOptions
from arithprobe.analysis.scale.probes import SITE, ScalePlan
from arithprobe.analysis.scale.record import Cost, MLPValues, ScaleMeasures
from arithprobe.behaviour import Behaviour
from arithprobe.errors import ArithprobeError
from arithprobe.interventions.bench import halves_of
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.probes.refit import refit_curve
from arithprobe.probes.survey import RidgeSurvey
from arithprobe.problems.rows import Rows

TWIN_SEED = 10_000
"""Added to the seed of untrained networks, so that no trial starts from the weights of one."""
_BATCH = 64  # rows at a time: of wide models the states of all sites are a GB at 250, and no faster
ScaleValues = dict[str, float | int | str | None]
"""One row of the table of a sweep; None where there is no value."""


def measure(
    loaded: LoadedModel, dataset: Rows, options: ScaleOptions | None = None, progress: Progress = lambda step: None
) -> ScaleMeasures:
    """Measure a trial.

    The same checkpoint, rows and options give the same numbers, bit for bit at one number of threads; the global random
    state does not change.

    Args:
        loaded: The model.
        dataset: The rows to measure on, preferably ones that the model was not trained on.
        options: The options of the measures.
        progress: Is called with the name of each step as it starts.

    Raises:
        ArithprobeError: If the rows do not fit the model, or are too few for the folds.
    """
    options = chosen_options(ScaleOptions, options)
    plan = ScalePlan(dataset, options)
    run = _Run(loaded, plan)
    progress("states")
    own, behaviour = run.over(loaded, controls=True)
    twins: list[RidgeSurvey] = []
    for number in range(options.twins):
        progress(f"untrained network {number + 1}")
        twins.append(run.over(random_init_twin(loaded, TWIN_SEED + options.seed + number), controls=False)[0])
    progress("probes")
    probes = plan.values(own, twins)
    progress("readouts refitted")
    refit = refit_curve(own, SITE, [plan.removed], options.draws, options.seed)
    progress("forward pass")
    forward = run.forward(behaviour)
    progress("MLP probes")
    mlp = run.mlp()
    return ScaleMeasures(
        parameters=sum(one.numel() for one in loaded.model.parameters()),
        rows=len(dataset),
        probe_dimension=options.probe_dimension,
        behaviour=behaviour,
        probes=probes,
        ablated=plan.ablated,
        ablated_rank=refit.dimension[0],
        refit=Cost.of(
            refit.delta_mse[0] / refit.answer_variance,
            [one / refit.answer_variance for one in refit.random_delta_mse[0]],
        ),
        forward=None if forward is None else forward.cost,
        forward_shuffled=None if forward is None else forward.shuffled,
        forward_matched=None if forward is None else forward.matched,
        mlp=mlp,
        left_out=tuple(plan.left_out),
    )


def columns(measures: ScaleMeasures) -> ScaleValues:
    """Return the measures of a trial as one flat row of a table; missing values and NaN are None."""
    of, values = measures.behaviour, ScaleValues()
    values |= {name: getattr(measures, name) for name in ("parameters", "rows", "probe_dimension")}
    values |= {name: getattr(of, name) for name in ("verdict", "skill", "skill_low", "skill_high")}
    values |= {name: getattr(of, name) for name in ("exact_match", "rmse", "r2")}
    for probe, one in measures.probes.items():
        values |= _named(probe, one, ("r2", "null", "untrained", "untrained_max", "in_sample"))
    values |= {"ablated": measures.ablated, "ablated_rank": measures.ablated_rank}
    for name, cost in (("refit", measures.refit), ("forward", measures.forward)):
        values |= _named(name, cost, ("probe", "random", "random_low", "random_high"))
    values |= {name: getattr(measures, name) for name in ("forward_shuffled", "forward_matched")}
    values |= {"refit_excess": measures.refit.excess, "forward_excess": measures.forward_excess}
    values |= _named("mlp", measures.mlp, ("score", "kind", "linear", "null", "untrained"))
    return dict(_plain(values))


def _named(name: str, record: object, fields: Sequence[str]) -> ScaleValues:
    return {f"{name}_{field}": None if record is None else getattr(record, field) for field in fields}


def _plain(values: ScaleValues) -> Iterator[tuple[str, float | int | str | None]]:
    for name, value in values.items():
        yield name, None if isinstance(value, float) and not math.isfinite(value) else value


class _Run:
    """One pass over the rows for the model, and one for each untrained twin; the states at the readout are kept."""

    def __init__(self, loaded: LoadedModel, plan: ScalePlan) -> None:
        self.loaded, self.plan = loaded, plan
        self.rows = torch.cat(halves_of(plan.dataset, plan.options.max_examples)).sort().values
        self.kept: list[ReadoutStates] = []

    def over(self, model: LoadedModel, *, controls: bool) -> tuple[RidgeSurvey, Behaviour]:
        """The moments of a model's states, and how good its answers are."""
        survey = self.plan.survey(model.model.d_model, controls=controls)
        self.kept.append(ReadoutStates(self.rows, self.plan.last))
        observers = [survey.update, self.kept[-1].update]
        return survey, run_over(model, self.plan.dataset, observers, _BATCH).behaviour

    def forward(self, behaviour: Behaviour) -> ForwardCosts | None:
        """What the model's own answers lose; None, with the reason in the plan, where that cannot be told."""
        try:
            if behaviour.verdict == "NOT LEARNED":
                raise ArithprobeError(f"the model has no skill to lose ({behaviour})")
            return forward_costs(self.loaded, self.plan, self.kept[0])
        except ArithprobeError as error:
            self.plan.left_out.append(f"forward pass: {error}")
        return None

    def mlp(self) -> MLPValues | None:
        """MLP probes; None, with the reason in the plan, where these rows do not allow them."""
        if self.plan.options.no_mlp:
            self.plan.left_out.append("MLP probes: no_mlp")
            return None
        try:
            return mlp_values(self.plan, self.kept)
        except ArithprobeError as error:
            self.plan.left_out.append(f"MLP probes: {error}")
        return None
