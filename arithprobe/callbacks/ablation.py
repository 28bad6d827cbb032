"""Live ablation of probe directions: how much worse the model answers without them, while it trains."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from arithprobe.callbacks.ablation_watch import FAMILIES, METRICS, AblationWatch, LiveEffect
from arithprobe.callbacks.base import ValidationProbe
from arithprobe.callbacks.watch import Observed
from arithprobe.errors import ArithprobeError, require_at_least, several
from arithprobe.interventions.kinds import AblationKind, ErasureKind, require_kind
from arithprobe.interventions.words import cost_beside
from arithprobe.limits import require_within
from arithprobe.logic import FEWEST_DRAWS
from arithprobe.models.network import common_width, no_such_site
from arithprobe.plotting.live_ablation import ablation_curves
from arithprobe.probes.function_rows import rows_with
from arithprobe.probes.moments import ALPHAS, penalties
from arithprobe.probes.survey import RidgeSurvey, Split, Target
from arithprobe.probes.tags import Tag
from arithprobe.probes.variables import variable_of
from arithprobe.probes.wanted import Targets, functions_record, wanted_targets
from arithprobe.problems.rows import Rows
from arithprobe.said.content import Chart, Content, Picture, Said, Words
from arithprobe.training.probed import ProbedModule


class DirectionAblation(ValidationProbe[list[LiveEffect]]):
    """Removes probe directions from the last token's state during training, and runs the rest of the model.

    It runs at every n-th validation of a fit, and at every validation outside one, for each target and site. A ridge
    probe fitted on the rows of some sums gives the subspace; the model's own remaining layers and head give the answers
    on the rows of the other sums. The control is the same fits on labels permuted between groups of the answer; random
    ("blind") subspaces are reported as a description.

    It logs ``ablation_<target>/<site>@last/delta_rmse`` (increase of the RMSE, in answer units), ``.../permuted_high``
    (95 % quantile of the fits on permuted labels; none if the true fit changes the states more than each of them) and
    ``.../isotropic_high`` (95 % quantile of the blind subspaces, against which nothing is tested). All results go to
    ``probes/ablation.jsonl``, and curves by site to TensorBoard (IMAGES) and ``figures/ablation_<target>.png``.

    Args:
        targets: What to take out: targets of ridge probes (``sum``, ``x10``, ``carry1``), or planes of a circle
            (``residuemod97f1``, or ``residuemod97f1to12`` for twelve frequencies); or functions of the rows, as for
            :class:`~arithprobe.callbacks.ridge.RidgeProbing`.
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
        name: First word of its tags and files; two of a run need two names.

    Raises:
        ArithprobeError: If an option is out of range, a target is unknown or constant, or a fold is empty.
    """

    name = "ablation"

    def __init__(
        self,
        targets: Targets = "sum",
        eraser: ErasureKind = "probe",
        ablation: AblationKind = "mean",
        sites: Sequence[str] | None = None,
        draws: int = 20,
        alphas: float | Sequence[float] = ALPHAS,
        folds: int = 5,
        every: int = 5,
        max_examples: int = 2000,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
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
        wanted = wanted_targets("DirectionAblation: targets", targets)
        self.targets, self.functions = list(wanted.names), wanted.functions
        self.sites = None if sites is None else several("DirectionAblation: sites", sites)
        if not self.targets:
            raise ArithprobeError("DirectionAblation: no targets; expected one or more")
        require_kind(eraser, ErasureKind, "eraser")
        require_kind(ablation, AblationKind, "ablation")
        self.eraser, self.ablation = eraser, ablation
        self.draws, self.every, self.max_examples, self.seed = draws, every, max_examples, seed
        self.alphas = penalties("DirectionAblation: alphas", alphas)
        self.split = Split("sum", folds, (0,), draws, seed, self.alphas)

    def prepare(self, module: ProbedModule, dataset: Rows) -> AblationWatch:
        """Fix folds and columns."""
        dataset, along = rows_with(dataset, self.functions), module.model.residual_sites
        usual = tuple(site for site in along if site != "embed") or along
        sites = usual if self.sites is None else tuple(dict.fromkeys(self.sites))
        for site in sites:
            if site not in module.model.sites:
                raise no_such_site(site, module.model.sites)
        width, split = common_width(module.model, sites), self.split._replace(group=dataset.group_of(dataset.answer))
        columns = [Target(one.name, one.columns) for one in (variable_of(name, dataset) for name in self.targets)]
        survey = RidgeSurvey(dataset, sites, dataset.positions(["last"]), columns, split, width)
        return AblationWatch(
            module, dataset, survey, self.eraser, self.ablation, max_examples=self.max_examples, tag=self.tag
        )

    def said(self, history: Sequence[Observed[list[LiveEffect]]]) -> Said:
        """Each target beside its controls: in words where removing it costs most, in curves by step and site."""
        latest = history[-1].result
        scalars = {
            self.tag(one.target, one.site, metric): value
            for one in latest
            for metric, value in zip(
                METRICS, (one.effect.delta_rmse, *(one.effect.beside(family).high for family in FAMILIES)), strict=True
            )
        }
        return Said(
            name=self.name,
            title="Ablation over training",
            behaviour=self.behaviour,
            blocks=tuple(block for target in self.targets for block in self._blocks(target, history)),
            shows="What the model's own answers lose without what is readable, while it trains.",
            does_not_show="That nothing else would do: compare the random subspaces.",
            rank=50,
            scalars=scalars,
            line={
                "eraser": self.eraser,
                "ablation": self.ablation,
                "alphas": self.alphas,
                "folds": self.split.folds,
                "cells": [_record(one) for one in latest],
            }
            | functions_record(self.functions),
        )

    def tag(self, target: str, site: str, metric: str) -> str:
        """The tag of a logged number."""
        return str(Tag(self.name, target, site, "last", metric))

    def _blocks(self, target: str, history: Sequence[Observed[list[LiveEffect]]]) -> Iterator[Content]:
        most = _most(target, history[-1].result)
        yield Words(_words(target, most))
        yield Chart(
            target,
            "rise of the RMSE, 95 % of permuted labels, and of blind subspaces (no test)",
            ("delta_rmse", "permuted_high", "isotropic_high"),
            sites=tuple(one.site for one in history[-1].result if one.target == target and not one.at_the_head),
        )
        own = [(step, one.site, one.effect) for step, found in history for one in found if one.target == target]
        head = {one.site for one in history[-1].result if one.at_the_head}
        yield Picture(
            f"{self.name}_{target}",
            lambda: ablation_curves(own, target, self.behaviour, head),
            f"It costs most at {most.site}." if most is not None else "It was tried just before the readout only.",
            f"Ablation of {target} by step and site",
        )


def _most(target: str, latest: Sequence[LiveEffect]) -> LiveEffect | None:
    """Where the ablation of a target costs most, more than a readout away from the end; None where it was not tried."""
    own = [one for one in latest if one.target == target and not one.at_the_head]
    costs = [-math.inf if math.isnan(one.effect.delta_rmse) else one.effect.delta_rmse for one in own]
    return own[costs.index(max(costs))] if own else None


def _words(target: str, most: LiveEffect | None) -> str:
    if most is None:
        return f"ablation of {target!r} was tried just before the readout only, where it is nearly a tautology"
    shown = ", ".join(cost_beside(most.effect, most.effect.beside(family)) for family in FAMILIES)
    return (
        f"ablation of {target!r} costs most at {most.site}@last: RMSE {most.effect.delta_rmse:+.3g} "
        f"displacing {100 * most.effect.displaced:.2g} % of the variance ({shown}; {most.effect.n} held-out rows)"
    )


def _record(one: LiveEffect) -> dict[str, Any]:
    effect = {name: value for name, value in vars(one.effect).items() if name != "families"}
    return (
        {"target": one.target, "site": one.site, "position": "last", "near_tautological": one.at_the_head}
        | effect
        | {
            "random": {
                family.name: {
                    "high": family.high,
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
