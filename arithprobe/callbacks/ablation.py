"""Live ablation: what the model's own answers lose without what the probes read, while it trains."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lightning.pytorch import Trainer

from arithprobe.callbacks.base import ValidationProbe
from arithprobe.callbacks.trainers import is_turn, moment, sum_over_ranks
from arithprobe.data.dataset import Batch
from arithprobe.errors import ArithprobeError, require_at_least, several
from arithprobe.interventions.ablation import AblationEffect, displaced_by
from arithprobe.interventions.bench import Bench
from arithprobe.interventions.kinds import AblationKind, ErasureKind, FamilyName, require_kind
from arithprobe.interventions.random_family import RandomFamily
from arithprobe.interventions.round_cell import round_cell
from arithprobe.limits import require_within
from arithprobe.logic import CANNOT_BE_TOLD, FEWEST_DRAWS
from arithprobe.models.network import common_width, no_such_site
from arithprobe.plotting.live_ablation import ablation_curves
from arithprobe.probes.moments import ALPHAS, penalties
from arithprobe.probes.survey import RidgeSurvey, Split, Target
from arithprobe.probes.tags import Tag
from arithprobe.probes.variables import variable_of
from arithprobe.problems.circles import planes_of
from arithprobe.problems.rows import Rows
from arithprobe.training.probed import ProbedModule, ValidationOutput

_FAMILIES: tuple[FamilyName, ...] = ("isotropic", "permuted")
_METRICS = ("delta_rmse", *(f"{family}_high" for family in _FAMILIES))


class LiveEffect(NamedTuple):
    """The effect of one ablation at one validation."""

    step: int | None
    """Training step; None outside a fit."""
    target: str
    """What was taken out."""
    site: str
    """Where, at the last token."""
    effect: AblationEffect
    """What the answers lost."""


class DirectionAblation(ValidationProbe):
    """Takes the directions that live probes read out of the last token's state, and runs the rest of the model.

    At every n-th validation of a fit, and at every validation outside one, for each target and site: the
    subspace is that of a ridge probe fitted on the rows of some sums; the answers are those of the model's own
    remaining layers and head on the rows of the other sums; beside them stand the same fits on
    labels permuted between groups of the answer, which are their control, and blind subspaces, a description.

    Logs ``ablation_<target>/<site>@last/delta_rmse`` (increase of the RMSE, in answer units), ``.../permuted_high``
    (95 % quantile of the fits on permuted labels; none where the true one changes the states more than each) and
    ``.../isotropic_high`` (that of blind subspaces, against which nothing is tested). Everything
    goes to ``probes/ablation.jsonl``, and curves by site into TensorBoard (IMAGES) and
    ``figures/ablation_<target>.png``.

    Args:
        targets: What to take out: targets of ridge probes (``sum``, ``x10``, ``carry1``), or planes of a circle
            (``residuemod97f1``, or ``residuemod97f1to12`` for twelve frequencies).
        eraser: ``probe`` (the probe's directions), ``leace``, ``mean_difference`` or ``inlp``.
        ablation: ``mean``, ``zero`` or ``resample``: what takes the place of the erased part.
        sites: Sites; by default all along the residual stream but ``embed``, where the last token is always the same.
        draws: Permutations of the labels, and blind subspaces.
        alphas: Ridge penalties, of states of unit variance in each dimension; of several, generalised cross-validation
            chooses.
        folds: Folds of sums; one of them is held out.
        every: Ablate at validation n, 2 n, ... of a fit.
        max_examples: At most so many of the held-out rows are run; the probes are fitted on all others.
        seed: Seed of random subspaces and donors.

    Raises:
        ArithprobeError: If an option is out of range, a target is unknown or constant, or a fold is empty.
    """

    analysis = "ablation"
    remembered = ("_history", "_latest", "_count")

    def __init__(
        self,
        targets: Sequence[str] = ("sum",),
        eraser: ErasureKind = "probe",
        ablation: AblationKind = "mean",
        sites: Sequence[str] | None = None,
        draws: int = 20,
        alphas: float | Sequence[float] = ALPHAS,
        folds: int = 5,
        every: int = 5,
        max_examples: int = 2000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        require_at_least(
            "DirectionAblation: ",
            draws=(draws, FEWEST_DRAWS),
            folds=(folds, 2),
            every=(every, 1),
            max_examples=(max_examples, 100),
            seed=(seed, 0),
        )
        require_within(
            "DirectionAblation: ", draws=draws, folds=folds, every=every, max_examples=max_examples, seed=seed
        )
        self.targets = list(dict.fromkeys(several("DirectionAblation: targets", targets)))
        self.sites = None if sites is None else several("DirectionAblation: sites", sites)
        if not self.targets:
            raise ArithprobeError("DirectionAblation: no targets; expected one or more")
        require_kind(eraser, ErasureKind, "eraser")
        require_kind(ablation, AblationKind, "ablation")
        self.eraser, self.ablation = eraser, ablation
        self.draws, self.every, self.max_examples, self.seed = draws, every, max_examples, seed
        self.alphas = penalties("DirectionAblation: alphas", alphas)
        self.split = Split("sum", folds, (0,), draws, seed)
        self._survey: RidgeSurvey | None = None
        self._dataset: Rows | None = None
        self._at_the_head: set[str] = set()
        self._history: list[LiveEffect] = []
        self._latest: list[LiveEffect] = []
        self._count = 0
        self._turn = False

    def forget(self) -> None:
        """Forget earlier runs."""
        self._history, self._latest, self._count = [], [], 0

    def prepare(self, module: ProbedModule, dataset: Rows) -> None:
        """Fix folds and columns."""
        along = module.model.residual_sites
        usual = tuple(site for site in along if site != "embed") or along
        sites = usual if self.sites is None else tuple(dict.fromkeys(self.sites))
        for site in sites:
            if site not in module.model.sites:
                raise no_such_site(site, module.model.sites)
        width, split = common_width(module.model, sites), self.split._replace(group=dataset.group_of(dataset.answer))
        self._dataset = dataset
        self._at_the_head = {site for site in sites if module.model.only_readout_remains(site)}
        variables = [variable_of(name, dataset) for name in self.targets]
        last = dataset.positions(["last"])
        columns = [Target(one.name, one.columns) for one in variables]
        self._survey = RidgeSurvey(dataset, sites, last, columns, split, width)

    def begin(self, module: ProbedModule) -> None:
        """Start with empty moments, if it is this validation's turn."""
        self._count += 1
        self._turn = self._survey is not None and is_turn(module, self._count, self.every)
        if self._survey is not None and self._turn:
            self._survey.start()

    def observe(self, output: ValidationOutput, batch: Batch) -> None:
        """Add a batch to the moments."""
        if self._survey is not None and self._turn:
            self._survey.update(output["states"], batch.rows)

    def finish(self, trainer: Trainer, module: ProbedModule) -> Mapping[str, float]:
        """Merge the ranks, fit the subspaces, run the model without them; on every rank alike."""
        self._latest = []
        if self._survey is None or not self._turn:
            return {}
        sum_over_ranks(trainer, self._survey.fitter.state)
        if not bool(self._survey.fitter.gram.isfinite().all()):  # the model has diverged
            return {}
        step = moment(trainer)["step"]
        self._latest = [LiveEffect(step, *found) for found in self._effects(module)]
        self._history += self._latest
        scalars: dict[str, float] = {}
        for one in self._latest:
            values = (one.effect.delta_rmse, *(_high(one.effect, family) for family in _FAMILIES))
            tags = (self._tag(one.target, one.site, metric) for metric in _METRICS)
            scalars.update(zip(tags, values, strict=True))
        return scalars

    def tags(self) -> list[str]:
        """The tags it will log, once prepared."""
        sites = self._survey.sites if self._survey is not None else ()
        return [self._tag(target, site, metric) for target in self.targets for site in sites for metric in _METRICS]

    def report(self, trainer: Trainer, module: ProbedModule) -> None:
        """Write the record and the figure."""
        if not self._latest:
            return
        with self.timed("figure"):
            for target in self.targets:
                history = [one for one in self._history if one.target == target]
                figure = ablation_curves(
                    [(one.step, one.site, one.effect) for one in history], target, module.behaviour, self._at_the_head
                )
                self.show(trainer, figure, target, "site x step", self._latest[-1].step)
        with self.timed("files"):
            self.append_line(
                trainer,
                self.gate(module)
                | {
                    "eraser": self.eraser,
                    "ablation": self.ablation,
                    "alphas": self.alphas,
                    "folds": self.split.folds,
                    "cells": [_record(one, one.site in self._at_the_head) for one in self._latest],
                },
            )

    def findings(self) -> list[str]:
        """What the last ablation did, one line a target: where it costs most, more than a readout away from the end."""
        lines = []
        for target in self.targets:
            own = [one for one in self._latest if one.target == target and one.site not in self._at_the_head]
            if own:
                most = max(own, key=lambda one: one.effect.delta_rmse)
                shown = ", ".join(_beside(most.effect, family) for family in _FAMILIES)
                lines.append(
                    f"ablation of {target!r} costs most at {most.site}@last: RMSE {most.effect.delta_rmse:+.3g} "
                    f"displacing {most.effect.displaced:.2g} of the variance ({shown}; {most.effect.n} held-out rows)"
                )
        return lines

    def _effects(self, module: ProbedModule) -> Iterator[tuple[str, str, AblationEffect]]:
        """Target, site and effect, from moments that are complete."""
        survey, dataset = self._survey, self._dataset
        if survey is None or dataset is None:
            return
        rows = (survey.fold == 0).nonzero()[: self.max_examples, 0]
        columns = {target.name: target.columns for target in survey.targets}
        bench = Bench(
            module.model,
            module.objective,
            dataset,
            dataset.constant(module.train_mean),
            rows,
            columns=columns,
            sites=survey.sites,
            seed=self.seed,
            alphas=self.alphas,
        )
        width = sum(target.width for target in survey.targets)
        for number, site in enumerate(survey.sites):
            _, fit = survey.fitter.select([number], width * (1 + self.draws)).moments()
            null = {target: fit.columns(survey.permuted(index)) for index, target in enumerate(columns)}
            cell = bench.cell(site, "last", fit.columns(slice(width)), null)
            for target in columns:
                eraser, judged = cell.eraser(target, self.eraser), round_cell(cell, planes_of(target))
                yield target, site, judged.ablate(eraser, self.ablation, _FAMILIES, self.draws, self.seed).effect

    def _tag(self, target: str, site: str, metric: str) -> str:
        return str(Tag(self.analysis, target, site, "last", metric))


def _beside(effect: AblationEffect, name: FamilyName) -> str:
    """What a family costs and displaces, or why that cannot be told."""
    family, high = _family(effect, name), _high(effect, name)
    if math.isnan(high):
        return f"{name} {CANNOT_BE_TOLD}: {family.note}"
    sizes = " to ".join(f"{one:.2g}" for one in displaced_by(effect, family))
    return f"{name} below {high:+.3g} displacing {sizes or '-'}"


def _family(effect: AblationEffect, name: FamilyName) -> RandomFamily:
    return next(one for one in effect.families if one.name == name)


def _high(effect: AblationEffect, name: FamilyName) -> float:
    """95 % quantile of the draws' increase of the RMSE; NaN where it cannot be compared with."""
    family = _family(effect, name)
    return math.nan if math.isnan(family.percentile) else float(family.delta_rmse.quantile(0.95))


def _record(one: LiveEffect, at_the_head: bool) -> dict[str, Any]:
    effect = {name: value for name, value in vars(one.effect).items() if name != "families"}
    return (
        {"target": one.target, "site": one.site, "position": "last", "near_tautological": at_the_head}
        | effect
        | {
            "random": {
                family.name: {
                    "high": _high(one.effect, family.name),
                    "p": family.p,
                    "percentile": family.percentile,
                    "overlap": family.overlap,
                    "is_null": family.is_null,
                    "note": family.note,
                    "removed": [float(family.removed.min()), float(family.removed.max())]
                    if len(family.removed)
                    else None,
                }
                for family in one.effect.families
            }
        }
    )
