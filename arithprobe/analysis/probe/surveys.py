"""The surveys that read one network, filled by one pass over the rows."""

from collections.abc import Sequence

from arithprobe.analysis.forward import Observer, run_over
from arithprobe.analysis.probe.plan import ProbePlan
from arithprobe.behaviour import Behaviour
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.probes.circles import FourierScores
from arithprobe.probes.decode import AngleDecoding, decode_angles
from arithprobe.probes.fourier import FourierSurvey
from arithprobe.probes.sample import StateSample
from arithprobe.probes.scores import CellScores
from arithprobe.probes.survey import RidgeSurvey


class Surveys:
    """The surveys of one network.

    Args:
        plan: The plan of the probes.
        controls: Whether permuted labels, small periods and claims are read too; not for untrained networks.
    """

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
        """Run the model over the rows, for the surveys and further observers."""
        observers: list[Observer] = [survey.update for survey in (*self.ridge, *self.wide)]
        observers += [survey.update for survey in self.circles]
        observers += [survey.update for survey in self.claims]
        return run_over(model, self.plan.dataset, [*observers, *others]).behaviour

    def ridge_scores(self) -> tuple[list[CellScores], list[str]]:
        """Score all ridge targets; also return the cost."""
        return self._scores(self.ridge)

    def wide_scores(self) -> tuple[list[CellScores], list[str]]:
        """Score all ridge targets at sites of another width."""
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
