"""Live ridge probes: linear decodability at every site and position, while the model trains."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from arithprobe.callbacks.base import ValidationProbe
from arithprobe.callbacks.watch import Observed, Watch
from arithprobe.errors import ArithprobeError, require_at_least, several
from arithprobe.limits import require_within
from arithprobe.logic import FEWEST_DRAWS, LEVEL
from arithprobe.plotting.heatmap import probe_heatmap
from arithprobe.probes.function_rows import rows_with
from arithprobe.probes.moments import ALPHAS, penalties
from arithprobe.probes.scores import CellScores
from arithprobe.probes.survey import RidgeSurvey, Split, targets_by_group
from arithprobe.probes.tags import Tag
from arithprobe.probes.wanted import Targets, functions_record, wanted_targets
from arithprobe.problems.rows import Rows
from arithprobe.said.content import CellMap, Chart, Content, Picture, Said, Words
from arithprobe.training.probed import ProbedModule

_LOGGED = ("r2", "null_low", "null_high")


class RidgeProbing(ValidationProbe[list[CellScores]]):
    """Fits ridge probes at every residual site x position, anew at every validation.

    The states come from the validation pass itself; each batch is folded into second moments. A probe is fitted on the
    rows of some sums and scored on the rows of others. The same fit to labels permuted between sums gives the null.

    Per target it logs ``ridge_<target>/<site>@last/r2``, ``.../null_low`` and ``.../null_high`` (5 and 95 % quantile of
    the permutations) for every residual site. All cells go to ``probes/ridge.jsonl`` and to a site x position heatmap,
    in TensorBoard (IMAGES) and ``figures/ridge_<target>.png``.

    Args:
        targets: What to probe for: names of quantities (:mod:`arithprobe.problems.quantities`); or functions of the
            rows by names of their own, ``{"max": lambda rows: ...}``, which return a number a row; or a list of both.
        positions: ``last`` (the last real token), ``role`` (every role), ``index`` (every character index), or
            single ones, such as ``plus`` or ``5``; ``last`` must be among them.
        alphas: Ridge penalties, of states of unit variance in each dimension; of several, generalised cross-validation
            chooses.
        folds: Folds of sums (of x for targets of x, of y for those of y); one of them is held out.
        cross_validate: Hold out every fold in turn, not only the first.
        permutations: Label permutations of the null.
        figure_every: Draw the heatmap at the first validation, at every n-th, and at the end of the fit.
        seed: Seed of the permutations.
        name: First word of its tags and files; two of a run need two names.

    Raises:
        ArithprobeError: If an option is out of range, a target is unknown or constant, or a fold is empty.
    """

    name = "ridge"
    keeps = 1

    def __init__(
        self,
        targets: Targets = "sum",
        positions: str | Sequence[str] = ("last", "role"),
        alphas: float | Sequence[float] = ALPHAS,
        folds: int = 5,
        cross_validate: bool = False,
        permutations: int = 20,
        figure_every: int = 5,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        require_at_least("RidgeProbing: ", folds=(folds, 2), permutations=(permutations, FEWEST_DRAWS))
        require_at_least("RidgeProbing: ", figure_every=(figure_every, 1), seed=(seed, 0))
        require_within("RidgeProbing: ", folds=folds, permutations=permutations, figure_every=figure_every, seed=seed)
        wanted = wanted_targets("RidgeProbing: targets", targets)
        self.targets, self.functions = list(wanted.names), wanted.functions
        self.positions = list(dict.fromkeys(several("RidgeProbing: positions", positions)))
        if not self.targets or "last" not in self.positions:
            raise ArithprobeError("RidgeProbing: expected at least one target, and 'last' among the positions")
        self.alphas = penalties("RidgeProbing: alphas", alphas)
        self.folds, self.permutations, self.seed = folds, permutations, seed
        self.held_out = None if cross_validate else (0,)
        self.figure_every = figure_every

    def prepare(self, module: ProbedModule, dataset: Rows) -> "_RidgeWatch":
        """Fix folds, targets and permutations."""
        dataset = rows_with(dataset, self.functions)
        positions, sites = dataset.positions(self.positions), module.model.residual_sites
        group = dataset.group_of(dataset.answer)
        split = Split(group, self.folds, self.held_out, self.permutations, self.seed, self.alphas)
        surveys = [
            RidgeSurvey(dataset, sites, positions, targets, split._replace(group=group), module.model.d_model)
            for group, targets in targets_by_group(self.targets, dataset).items()
        ]
        return _RidgeWatch(surveys, self.name, self.targets)

    def said(self, history: Sequence[Observed[list[CellScores]]]) -> Said:
        """Each target beside its null: in words for the last site, in a map for all sites."""
        step, every = history[-1]
        return Said(
            name=self.name,
            title="Ridge probes over training",
            behaviour=self.behaviour,
            blocks=tuple(block for scores in every for block in self._blocks(scores, step)),
            shows="What a linear probe reads, on sums it was not fitted on, above permuted labels.",
            does_not_show="Use. An untrained network can score as high; see the ladder.",
            rank=40,
            scalars={
                str(Tag(self.name, scores.target, site, "last", metric)): float(value)
                for scores in every
                for metric in _LOGGED
                for site, value in zip(
                    scores.sites, getattr(scores, metric)[:, scores.positions.index("last")], strict=True
                )
            },
            line={
                "alphas": self.alphas,
                "folds": self.folds,
                "held_out": self.held_out,
                "permutations": self.permutations,
                "cells": [cell | {"readable": _is_readable(cell)} for scores in every for cell in scores.cells()],
            }
            | functions_record(self.functions),
        )

    def _blocks(self, scores: CellScores, step: int | None) -> Iterator[Content]:
        cell, site, target = scores.at(scores.sites[-1]), scores.sites[-1], scores.target
        yield Words(
            f"{self.name} probe of {target!r} at {site}@last: held-out R2 {cell['r2']:.4f} "
            f"(null below {cell['null_high']:.3f}, {cell['n_test']:.0f} held-out rows)"
        )
        yield Chart(
            target,
            "held-out R2; the band is 5 to 95 % of shuffled labels",
            _LOGGED,
            is_band=True,
            headlines=("r2", "null_high"),
            score="held-out R2",
            null="permuted labels",
        )
        yield CellMap(
            f"Held-out R2: {self.name} probe of {target}",
            "token position",
            "position",
            "readable",
            where={"target": target},
            count="n_test",
            null="null_high",
        )
        yield Picture(
            f"{self.name}_{target}",
            lambda: probe_heatmap(scores, self.behaviour, step),
            _best_cell(scores),
            f"Held-out R2 of {target} by site and position",
            "Use; and cells without a colour are not above permuted labels.",
        )


class _RidgeWatch(Watch[list[CellScores]]):
    """Second moments of the states, and the targets, of every group of rows that is held out together."""

    def __init__(self, surveys: Sequence[RidgeSurvey], name: str, targets: Sequence[str]) -> None:
        self._surveys, self._name, self._targets = surveys, name, targets
        of = itertools.product(targets, surveys[0].sites, _LOGGED)
        self.tags = tuple(str(Tag(name, target, site, "last", metric)) for target, site, metric in of)

    def start(self) -> None:
        """Begin with empty moments."""
        for survey in self._surveys:
            survey.start()

    def update(self, states: Mapping[str, Tensor], rows: Tensor) -> None:
        """Add a batch to the moments."""
        for survey in self._surveys:
            survey.update(states, rows)

    @property
    def state(self) -> Iterable[Tensor]:
        """The moments."""
        return [part for survey in self._surveys for part in survey.fitter.state]

    def result(self) -> list[CellScores]:
        """Fit, score, in the order of the targets."""
        found = [scores for survey in self._surveys for scores in survey.scores(self._name)[0]]
        return sorted(found, key=lambda scores: self._targets.index(scores.target))


def _is_readable(cell: Mapping[str, Any]) -> bool:
    """Whether a cell is above permuted labels."""
    return bool(cell["r2"] > 0 and cell["p"] <= LEVEL)


def _best_cell(scores: CellScores) -> str:
    """Where most is read."""
    cells = [cell for cell in scores.cells() if cell["r2"] == cell["r2"]]
    if not cells:
        return "Nothing could be scored."
    best = max(cells, key=lambda cell: cell["r2"])
    beats = "above" if _is_readable(best) else "not above"
    return f"The best cell is {best['site']} at {best['position']}, held-out R2 {best['r2']:.3f}, {beats} its null."
