"""All probes of one checkpoint, with their controls: linear, Fourier and MLP probes at every site."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from arithprobe.analysis.forward import chosen_options
from arithprobe.analysis.ladder.run import Ladder, climb
from arithprobe.analysis.probe.initialisation import SinceInitialisation, since_initialisation
from arithprobe.analysis.probe.options import ProbeOptions
from arithprobe.analysis.probe.plan import ProbePlan
from arithprobe.analysis.probe.planes import PlaneEffects, plane_effects, plane_targets
from arithprobe.analysis.probe.surveys import Surveys
from arithprobe.analysis.probe.untrained import TABLE_TWINS, ClaimsUntrained
from arithprobe.analysis.progress import Progress, ProgressOption
from arithprobe.behaviour import Behaviour
from arithprobe.models.checkpoints import LoadedModel, weights_hash
from arithprobe.models.fidelity import Fidelity
from arithprobe.probes.circles import FourierScores
from arithprobe.probes.controls import TwinComparison, compare_with_twins
from arithprobe.probes.decode import AngleDecoding
from arithprobe.probes.mlp_scores import MLPScores
from arithprobe.probes.refit import RefitCurve, refit_curve
from arithprobe.probes.sample import StateSample
from arithprobe.probes.scores import CellScores
from arithprobe.probes.survey import RidgeSurvey
from arithprobe.problems.rows import Rows
from arithprobe.said.content import Said
from arithprobe.said.notebook import Score, Spoken


@dataclass(frozen=True, repr=False)
class ProbeReport(Spoken):
    """The results of the probes of a checkpoint."""

    checkpoint: str
    """Where the model comes from."""
    weights: str
    """Hash of its weights."""
    data: str
    """Where the rows come from."""
    rows: int
    """Rows of the file."""
    options: ProbeOptions
    """What was asked for."""
    constant: float
    """The constant predictor that skill is measured against, in answer units."""
    constant_from: str
    """Where it comes from: the training rows, or, for a plain file that cannot say, these rows."""
    behaviour: Behaviour
    """Has the model learned the task: what every number below stands behind."""
    ridge: tuple[CellScores, ...]
    """Ridge probes of every target, site and position."""
    twins: tuple[TwinComparison, ...]
    """The same for the first untrained networks, target by target; empty where none were asked for."""
    wide: tuple[CellScores, ...]
    """Ridge probes at sites of another width than the residual stream's, such as neurons, target by target."""
    wide_twins: tuple[TwinComparison, ...]
    """The same for untrained networks."""
    surface: dict[str, tuple[CellScores, ...]]
    """The same from the text alone, by kind of feature, target by target."""
    circle: FourierScores | None
    """Fourier probes of the residue, or of the period asked for; None where k is unknown."""
    circle_twin: FourierScores | None
    """The same for the first untrained network."""
    decoding: AngleDecoding | None
    """Residues decoded from the angles."""
    small: tuple[FourierScores, ...]
    """Fourier probes of small periods."""
    refit: RefitCurve
    """Error of a refitted readout after the probes' directions are removed: those of the circle, or of the sum."""
    mlp: tuple[MLPScores, ...]
    """MLP probes of the answer; empty where not asked for."""
    planes: tuple[PlaneEffects, ...]
    """What the model can do without each frequency of the residue, and with nothing but some, site by site; empty where
    there is no modulus, or nothing to lose."""
    since: SinceInitialisation | None
    """How much more is read than before training, a description; None where what the run began with is not known."""
    ladder: tuple[Ladder, ...]
    """How far the evidence for each claimed variable reaches; empty where not asked for."""
    left_out: tuple[str, ...]
    """What these rows do not allow to probe, with the reason."""
    costs: tuple[str, ...]
    """What the probes cost, in words."""
    fidelity: Fidelity | None
    """Whether the network keeps its promises on these rows; None for this library's own, whose tests say so."""

    @property
    def said(self) -> Said:
        """The findings: the scores beside their controls, and how far the evidence reaches."""
        from arithprobe.analysis.probe.said import said_of

        return said_of(self)

    def scores(self) -> Iterator[Score]:
        """All held-out scores of each target, site and position, and the results of interventions."""
        from arithprobe.analysis.probe.scores import scores_of

        return scores_of(self)


def probe(
    loaded: LoadedModel, dataset: Rows, options: ProbeOptions | None = None, progress: ProgressOption = None
) -> ProbeReport:
    """Probe a checkpoint: linear, Fourier and MLP probes at every site, with controls.

    Args:
        loaded: The model.
        dataset: The rows to probe on, preferably ones that the model was not trained on.
        options: The targets, sites and controls.
        progress: True shows the steps as they start; a function is called with the name of each.

    Raises:
        ArithprobeError: If rows, targets, sites or positions do not fit, or a state is not finite.
    """
    plan = ProbePlan(loaded, dataset, chosen_options(ProbeOptions, options))
    options, progress = plan.options, Progress.by_name(progress)
    progress.expect(6 + options.twins + len(plan.mlp_kinds))
    progress("states")
    own = Surveys(plan, controls=True)
    sample = StateSample(dataset.lengths, plan.sites, plan.d_model, options.max_examples)
    waves, removed = plan.removed()
    answer = plan.target(plan.answer)
    removal = RidgeSurvey(dataset, [plan.readout], plan.last, [*waves, answer], plan.split(), plan.d_model)
    beside = ClaimsUntrained(own.claims)
    behaviour = own.over(loaded, sample.update, removal.update, *beside.observers)
    progress("ridge probes")
    ridge, costs = own.ridge_scores()
    progress("Fourier probes")
    circle, decoding, small, more = own.fourier_scores(sample)
    costs += more
    progress("readouts refitted")
    refit = refit_curve(removal, plan.readout, removed, options.subspace_draws, options.seed)
    wide, more = own.wide_scores()
    costs += more
    twins = _twins(plan, beside, progress)
    progress("own initialisation")
    since = since_initialisation(plan, own.ridge, sample)
    progress("text alone")
    surface = plan.surface()
    mlp = _mlps(plan, sample, costs, progress)
    planes = [] if behaviour.verdict == "NOT LEARNED" else _planes(plan, circle, progress)
    claims = [survey.scores() for survey in own.claims]
    ladder = climb(behaviour, claims, beside.beside(claims), plan.interventions, progress)
    return ProbeReport(
        checkpoint=loaded.path,
        weights=weights_hash(loaded.model),
        data=dataset.path,
        rows=len(dataset),
        options=options,
        constant=dataset.constant(loaded.train_mean),
        constant_from="these rows" if loaded.train_mean is None else "the training rows",
        behaviour=behaviour,
        ridge=tuple(ridge),
        twins=_beside(ridge, twins.ridge),
        wide=tuple(wide),
        wide_twins=_beside(wide, twins.wide),
        surface=surface,
        circle=circle,
        circle_twin=twins.circle,
        decoding=decoding,
        small=tuple(small),
        refit=refit,
        mlp=tuple(mlp),
        planes=tuple(planes),
        since=since,
        ladder=ladder,
        left_out=tuple(plan.left_out),
        costs=tuple(costs),
        fidelity=plan.fidelity,
    )


class _Twins(NamedTuple):
    """What is read from the first untrained networks, one after the other."""

    ridge: list[list[CellScores]]
    """As of the network itself."""
    wide: list[list[CellScores]]
    """At sites of another width."""
    circle: FourierScores | None
    """Of the first of them alone; None where the period is unknown."""


def _twins(plan: ProbePlan, beside: ClaimsUntrained, progress: Progress) -> _Twins:
    """Read untrained networks: the first of them everywhere, the others where the claims are."""
    found, count = _Twins([], [], None), plan.options.twins
    for number in range(count):
        progress(f"untrained network {number + 1}")
        untrained = plan.untrained(number)
        if untrained is None:
            progress.expect(number + 1 - count)  # the others do not come
            break
        if number >= TABLE_TWINS:
            beside.read(untrained.model)
            continue
        twin = Surveys(plan, controls=False)
        twin.over(untrained, beside.update)
        beside.take()
        found.ridge.append(twin.ridge_scores()[0])
        found.wide.append(twin.wide_scores()[0])
        found = found._replace(circle=found.circle or twin.fourier_scores()[0])
    return found


def _mlps(plan: ProbePlan, sample: StateSample, costs: list[str], progress: Progress) -> list[MLPScores]:
    """MLP probes of the answer; what they cost is added."""
    found = []
    for kind in plan.mlp_kinds:
        progress(f"MLP {kind}")
        start = time.perf_counter()
        found.append(plan.mlp(sample, kind))
        probes = f"{len(plan.sites)} sites x {3 + plan.options.mlp_shuffles} probes"
        costs.append(f"MLP {kind}: {probes}, {time.perf_counter() - start:.1f} s")
    return found


def _planes(plan: ProbePlan, circle: FourierScores | None, progress: Progress) -> list[PlaneEffects]:
    """What the model can do without each frequency, and with nothing but some, site by site."""
    if circle is None or not plan.has_planes:
        return []
    sites = [site for site in plan.residual if site in circle.sites]
    rungs = plan.interventions(plane_targets(circle), sites)
    progress.expect(len(sites))
    return [plane_effects(rungs, circle, site) for site in progress.over(sites, lambda site: f"frequencies at {site}")]


def _beside(own: Sequence[CellScores], twins: Sequence[Sequence[CellScores]]) -> tuple[TwinComparison, ...]:
    """Scores beside those of untrained networks, target by target; empty without any."""
    return tuple(compare_with_twins(*scores) for scores in zip(own, *twins, strict=True)) if twins else ()
