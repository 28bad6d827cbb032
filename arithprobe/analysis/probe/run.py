"""Every probe on one checkpoint, with its controls: what is decodable where, and against what."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from arithprobe.analysis.forward import Observer, Progress, chosen_options, run_over
from arithprobe.analysis.ladder.run import Ladder, climb
from arithprobe.analysis.probe.initialisation import SinceInitialisation, since_initialisation
from arithprobe.analysis.probe.options import ProbeOptions
from arithprobe.analysis.probe.plan import ProbePlan
from arithprobe.analysis.probe.planes import PlaneEffects, plane_effects, plane_targets
from arithprobe.analysis.probe.untrained import TABLE_TWINS, ClaimsUntrained
from arithprobe.behaviour import Behaviour
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.models.fidelity import Fidelity
from arithprobe.probes.circles import FourierScores
from arithprobe.probes.controls import TwinComparison, compare_with_twins
from arithprobe.probes.decode import AngleDecoding, decode_angles
from arithprobe.probes.fourier import FourierSurvey
from arithprobe.probes.mlp_scores import MLPScores
from arithprobe.probes.refit import RefitCurve, refit_curve
from arithprobe.probes.sample import StateSample
from arithprobe.probes.scores import CellScores
from arithprobe.probes.survey import RidgeSurvey
from arithprobe.problems.rows import Rows


@dataclass(frozen=True)
class ProbeReport:
    """What the probes of a checkpoint found."""

    checkpoint: str
    """Where the model comes from."""
    data: str
    """Where the rows come from."""
    rows: int
    """How many."""
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


def step_count(options: ProbeOptions) -> int:
    """How often :func:`probe` reports progress on a model of two layers, at most."""
    ladder = 0 if options.no_ladder else 7 + 6 * (1 + len(options.claims))
    return 6 + options.twins + (0 if options.no_mlp else 2) + ladder


def probe(
    loaded: LoadedModel, dataset: Rows, options: ProbeOptions | None = None, progress: Progress = lambda step: None
) -> ProbeReport:
    """Probe a checkpoint.

    Args:
        loaded: The model.
        dataset: The rows to probe on; best ones it was not trained on.
        options: What, where, and against which controls.
        progress: Told the name of each step as it starts.

    Raises:
        ArithprobeError: If rows, targets, sites or positions do not fit, or a state is not finite.
    """
    plan = ProbePlan(loaded, dataset, chosen_options(ProbeOptions, options))
    options = plan.options
    progress("states")
    run = _Run(plan, controls=True)
    sample = StateSample(dataset.lengths, plan.sites, plan.d_model, options.max_examples)
    waves, removed = plan.removed()
    answer = plan.target(plan.answer)
    removal = RidgeSurvey(dataset, [plan.readout], plan.last, [*waves, answer], plan.split(), plan.d_model)
    beside = ClaimsUntrained(run.claims)
    behaviour = run.over(loaded, sample.update, removal.update, *beside.observers)
    progress("ridge probes")
    ridge, costs = run.ridge_scores()
    progress("Fourier probes")
    circle, decoding, small, more = run.fourier_scores(sample)
    costs = [*costs, *more]
    progress("readouts refitted")
    refit = refit_curve(removal, plan.readout, removed, options.subspace_draws, options.seed)
    wide, more = run.wide_scores()
    costs += more
    twins: list[list[CellScores]] = []
    wide_twins: list[list[CellScores]] = []
    circle_twin = None
    for number in range(options.twins):
        progress(f"untrained network {number + 1}")
        untrained = plan.untrained(number)
        if untrained is None:
            break
        if number >= TABLE_TWINS:
            beside.read(untrained.model)
            continue
        twin = _Run(plan, controls=False)
        twin.over(untrained, beside.update)
        beside.take()
        twins.append(twin.ridge_scores()[0])
        wide_twins.append(twin.wide_scores()[0])
        circle_twin = circle_twin or twin.fourier_scores()[0]
    progress("own initialisation")
    since = since_initialisation(plan, run.ridge, sample)
    progress("text alone")
    surface = plan.surface()
    mlp = []
    for kind in plan.mlp_kinds:
        progress(f"MLP {kind}")
        start = time.perf_counter()
        mlp.append(plan.mlp(sample, kind))
        costs.append(
            f"MLP {kind}: {len(plan.sites)} sites x {3 + options.mlp_shuffles} probes, "
            f"{time.perf_counter() - start:.1f} s"
        )
    planes: list[PlaneEffects] = []
    if circle is not None and plan.has_planes and behaviour.verdict != "NOT LEARNED":
        sites = [site for site in plan.residual if site in circle.sites]
        rungs = plan.interventions(plane_targets(circle), sites)
        for site in sites:
            progress(f"frequencies at {site}")
            planes.append(plane_effects(rungs, circle, site))
    claims = [survey.scores() for survey in run.claims]
    ladder = climb(behaviour, claims, beside.beside(claims), plan.interventions, progress)
    return ProbeReport(
        checkpoint=loaded.path,
        data=dataset.path,
        rows=len(dataset),
        constant=dataset.constant(loaded.train_mean),
        constant_from="these rows" if loaded.train_mean is None else "the training rows",
        behaviour=behaviour,
        ridge=tuple(ridge),
        twins=_beside(ridge, twins),
        wide=tuple(wide),
        wide_twins=_beside(wide, wide_twins),
        surface=surface,
        circle=circle,
        circle_twin=circle_twin,
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


def _beside(own: Sequence[CellScores], twins: Sequence[Sequence[CellScores]]) -> tuple[TwinComparison, ...]:
    """Scores beside those of untrained networks, target by target; empty without any."""
    return tuple(compare_with_twins(*scores) for scores in zip(own, *twins, strict=True)) if twins else ()


class _Run:
    """The surveys of one model, filled by one pass over the rows."""

    def __init__(self, plan: ProbePlan, *, controls: bool) -> None:
        options, dataset, d_model = plan.options, plan.dataset, plan.d_model
        self.plan = plan
        self.ridge = [
            RidgeSurvey(
                dataset,
                plan.sites,
                plan.positions,
                targets,
                plan.split(group, options.permutations if controls else 0),
                d_model,
            )
            for group, targets in plan.by_group().items()
        ]
        self.wide = [
            RidgeSurvey(
                dataset,
                sites,
                plan.positions,
                targets,
                plan.split(group, options.permutations if controls else 0),
                width,
            )
            for width, sites in plan.wide.items()
            for group, targets in plan.by_group().items()
        ]
        self.claims = plan.claim_surveys() if controls else []
        permutations = options.fourier_permutations if controls else 0
        self.circles = [
            FourierSurvey(dataset, plan.sites, plan.last, circles, plan.split(permutations=permutations), d_model)
            for circles in plan.circles(with_small=controls)
        ]

    def over(self, model: LoadedModel, *others: Observer) -> Behaviour:
        """Run the model over the rows, for the surveys and whoever else looks."""
        observers: list[Observer] = [survey.update for survey in (*self.ridge, *self.wide)]
        observers += [survey.update for survey in self.circles]
        observers += [survey.update for survey in self.claims]
        return run_over(model, self.plan.dataset, [*observers, *others]).behaviour

    def ridge_scores(self) -> tuple[list[CellScores], list[str]]:
        """All ridge targets, and what they cost."""
        return self._scores(self.ridge)

    def wide_scores(self) -> tuple[list[CellScores], list[str]]:
        """The same at sites of another width."""
        return self._scores(self.wide)

    def _scores(self, surveys: Sequence[RidgeSurvey]) -> tuple[list[CellScores], list[str]]:
        found, costs = [], []
        for survey in surveys:
            scores, cost = survey.scores("ridge")
            found += scores
            costs.append(f"ridge, folds of {survey.split.group}: {cost}")
        return self.plan.ordered(found), costs

    def fourier_scores(
        self, sample: StateSample | None = None
    ) -> tuple[FourierScores | None, AngleDecoding | None, list[FourierScores], list[str]]:
        """The circle, its decoding where there is a sample of states, the small periods, and what they cost."""
        found, costs = [], []
        for survey in self.circles:
            scores, cost = survey.scores()
            found += scores
            costs.append(f"fourier, folds of {survey.ridge.split.group}: {cost}")
        if self.plan.circle is None:
            return None, None, found, costs
        decoding = None if sample is None else decode_angles(self.circles[0], sample)
        return found[0], decoding, found[1:], costs
