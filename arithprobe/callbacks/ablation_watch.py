"""Live ablation over one validation: the moments of the batches, the fitted subspaces, and the model without them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import NamedTuple

from torch import Tensor

from arithprobe.callbacks.watch import Watch
from arithprobe.interventions.ablation import AblationEffect
from arithprobe.interventions.bench import Bench
from arithprobe.interventions.kinds import AblationKind, ErasureKind, FamilyName
from arithprobe.interventions.round_cell import round_cell
from arithprobe.probes.survey import RidgeSurvey
from arithprobe.problems.circles import planes_of
from arithprobe.problems.rows import Rows
from arithprobe.training.probed import ProbedModule

FAMILIES: tuple[FamilyName, ...] = ("isotropic", "permuted")
"""What stands beside each ablation: blind subspaces (a description), and fits on permuted labels (its control)."""
METRICS = ("delta_rmse", *(f"{family}_high" for family in FAMILIES))
"""What is logged of each."""


class LiveEffect(NamedTuple):
    """The effect of one ablation at one validation."""

    target: str
    """Name of the variable that was taken out."""
    site: str
    """Name of the site, at the last token."""
    at_the_head: bool
    """Whether only the last LayerNorm and the readout come after."""
    effect: AblationEffect
    """What the answers lost."""


class AblationWatch(Watch[list[LiveEffect]]):
    """Fits subspaces from second moments of states and targets, and then runs the model without them.

    Args:
        module: The module that trains.
        dataset: Its validation rows.
        survey: The moments of the states, and of the variables to remove.
        eraser: The method that finds the directions.
        ablation: The replacement of the erased part.
        max_examples: At most so many of the held-out rows are run.
        tag: Tag of a target, a site and a metric.
    """

    def __init__(
        self,
        module: ProbedModule,
        dataset: Rows,
        survey: RidgeSurvey,
        eraser: ErasureKind,
        ablation: AblationKind,
        *,
        max_examples: int,
        tag: Callable[[str, str, str], str],
    ) -> None:
        self._module, self._dataset, self._survey = module, dataset, survey
        self._eraser, self._ablation, self._max_examples = eraser, ablation, max_examples
        self.tags = tuple(tag(one.name, *rest) for one in survey.targets for rest in product(survey.sites, METRICS))

    def start(self) -> None:
        """Begin with empty moments."""
        self._survey.start()

    def update(self, states: Mapping[str, Tensor], rows: Tensor) -> None:
        """Add a batch to the moments."""
        self._survey.update(states, rows)

    @property
    def state(self) -> Iterable[Tensor]:
        """The moments."""
        return self._survey.fitter.state

    def result(self) -> list[LiveEffect] | None:
        """Fit the subspaces, and run the model without them; None for a model that has diverged."""
        return list(self._effects()) if bool(self._survey.fitter.gram.isfinite().all()) else None

    def _effects(self) -> Iterator[LiveEffect]:
        survey, split, module = self._survey, self._survey.split, self._module
        columns = {target.name: target.columns for target in survey.targets}
        bench = Bench(
            module.model,
            module.objective,
            self._dataset,
            self._dataset.constant(module.train_mean),
            (survey.fold == 0).nonzero()[: self._max_examples, 0],
            columns=columns,
            sites=survey.sites,
            seed=split.seed,
            alphas=split.alphas,
        )
        width = sum(target.width for target in survey.targets)
        for number, site in enumerate(survey.sites):
            _, fit = survey.fitter.select([number], width * (1 + split.permutations)).moments()
            null = {target: fit.columns(survey.permuted(index)) for index, target in enumerate(columns)}
            cell = bench.cell(site, "last", fit.columns(slice(width)), null)
            at_the_head = module.model.only_readout_remains(site)
            for target in columns:
                eraser, judged = cell.eraser(target, self._eraser), round_cell(cell, planes_of(target))
                run = judged.ablate(eraser, self._ablation, FAMILIES, split.permutations, split.seed)
                yield LiveEffect(target, site, at_the_head, run.effect)
