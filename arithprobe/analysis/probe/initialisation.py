"""The effect of training: probe scores of a run beside those of its own initialisation; it gives no verdict."""

from dataclasses import dataclass

import torch

from arithprobe.analysis.forward import run_over
from arithprobe.analysis.probe.plan import ProbePlan
from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoints import LIGHTNING, LoadedModel, weights_hash
from arithprobe.models.initial import Initial
from arithprobe.probes.paired import PairedDifference, paired_differences
from arithprobe.probes.sample import StateSample
from arithprobe.probes.survey import RidgeSurvey


@dataclass(frozen=True)
class SinceInitialisation:
    """The scores of the targets at the last token, beside those of the run's initialisation."""

    initial: Initial
    """The weights that the run began with: their hash, and the seed or file that they come from."""
    differences: tuple[PairedDifference, ...]
    """Held-out R2 of the trained network less that of those weights, one a target."""


def own_initialisation(loaded: LoadedModel) -> LoadedModel:
    """Return the network as it was before training.

    Raises:
        ArithprobeError: If it is not available; the text says why.
    """
    initial = loaded.initial
    if initial is None:
        raise ArithprobeError("own initialisation: these weights do not say what they began with")
    try:
        network = initial.rebuilt(loaded.model)
    except ArithprobeError as error:
        raise ArithprobeError(f"own initialisation: {error}") from None
    found = weights_hash(network)
    if found != initial.weights:
        raise ArithprobeError(
            f"own initialisation: {initial.origin} gives weights {found} here, the run began with {initial.weights} "
            "(another version of PyTorch, or weights that were not the first drawn under the seed)"
        )
    return loaded._replace(path=f"{loaded.path} before training", kind="initial", model=network)


def since_initialisation(
    plan: ProbePlan, surveys: list[RidgeSurvey], sample: StateSample
) -> SinceInitialisation | None:
    """Return the gain of probe scores since before training, on the same rows and folds; None if unknown.

    A checkpoint of this library that does not say, or weights that cannot be made again, are among what is left out.

    Args:
        plan: The plan of the probes.
        surveys: Surveys of the network itself, by group of targets.
        sample: Its states at the last token.
    """
    try:
        before = own_initialisation(plan.loaded)
    except ArithprobeError as error:
        if plan.loaded.initial is not None or plan.loaded.kind == LIGHTNING:
            plan.left_out.append(str(error))
        return None
    others = [
        RidgeSurvey(
            plan.dataset, sample.sites, plan.last, one.targets, one.split._replace(permutations=0), plan.d_model
        )
        for one in surveys
    ]
    states = StateSample(plan.dataset.lengths, sample.sites, plan.d_model, plan.options.max_examples)
    with torch.no_grad():
        run_over(before, plan.dataset, [states.update, *(survey.update for survey in others)])
    found = [
        difference
        for survey, other in zip(surveys, others, strict=True)
        for difference in paired_differences((survey, sample), (other, states))
    ]
    initial = plan.loaded.initial
    found.sort(key=lambda one: plan.targets.index(one.target))
    return None if initial is None else SinceInitialisation(initial, tuple(found))
