"""Live ridge probes: what is linearly decodable where, while the model trains."""

import itertools
from collections.abc import Mapping, Sequence

from lightning.pytorch import LightningModule, Trainer

from arithprobe.callbacks.base import ValidationProbe, probed_module
from arithprobe.callbacks.trainers import moment, sum_over_ranks
from arithprobe.data.dataset import Batch
from arithprobe.errors import ArithprobeError, require_at_least, several
from arithprobe.limits import require_within
from arithprobe.plotting.heatmap import probe_heatmap
from arithprobe.probes.moments import ALPHAS, penalties
from arithprobe.probes.scores import CellScores
from arithprobe.probes.survey import RidgeSurvey, Split, targets_by_group
from arithprobe.probes.tags import Tag
from arithprobe.problems.rows import Rows
from arithprobe.training.probed import ProbedModule, ValidationOutput

_LOGGED = ("r2", "null_low", "null_high")


class RidgeProbing(ValidationProbe):
    """Ridge probes of every residual site x position, fitted anew at every validation.

    The states come from the validation pass itself; each batch is folded into second moments. A probe is fitted on the
    rows of some sums and scored on the rows of others. The same fit of labels permuted between sums gives the null.

    Per target it logs ``ridge_<target>/<site>@last/r2``, ``.../null_low`` and ``.../null_high`` (5 and 95 % quantile of
    the permutations) for every residual site; all cells go to ``probes/ridge.jsonl`` and into a site x position
    heatmap, in TensorBoard (IMAGES) and ``figures/ridge_<target>.png``.

    Args:
        targets: What to probe for, see :mod:`arithprobe.probes.targets`.
        positions: ``last`` (the last real token), ``index`` (every character index), ``role`` (every role), or
            single ones, such as ``5`` or ``plus``; ``last`` must be among them.
        alphas: Ridge penalties, of states of unit variance in each dimension; of several, generalised cross-validation
            chooses.
        folds: Folds of sums (of x for targets of x, of y for those of y); one of them is held out.
        cross_validate: Hold out every fold in turn, not only the first.
        permutations: Label permutations of the null.
        figure_every: Draw the heatmap at the first validation, at every n-th, and at the end of the fit.
        seed: Seed of the permutations.

    Raises:
        ArithprobeError: If an option is out of range, a target is unknown or constant, or a fold is empty.
    """

    analysis = "ridge"
    remembered = ("_scores", "_count", "_drawn", "_step")

    def __init__(
        self,
        targets: Sequence[str] = ("sum",),
        positions: Sequence[str] = ("last", "index"),
        alphas: float | Sequence[float] = ALPHAS,
        folds: int = 5,
        cross_validate: bool = False,
        permutations: int = 20,
        figure_every: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        require_at_least(
            "RidgeProbing: ", folds=(folds, 2), permutations=(permutations, 1), figure_every=(figure_every, 1)
        )
        require_at_least("RidgeProbing: ", seed=(seed, 0))
        require_within("RidgeProbing: ", folds=folds, permutations=permutations, figure_every=figure_every, seed=seed)
        self.targets = list(dict.fromkeys(several("RidgeProbing: targets", targets)))
        self.positions = list(dict.fromkeys(several("RidgeProbing: positions", positions)))
        if not self.targets or "last" not in self.positions:
            raise ArithprobeError("RidgeProbing: expected at least one target, and 'last' among the positions")
        self.alphas = penalties("RidgeProbing: alphas", alphas)
        self.folds, self.permutations, self.seed = folds, permutations, seed
        self.held_out = None if cross_validate else (0,)
        self.figure_every = figure_every
        self._surveys: list[RidgeSurvey] = []
        self._scores: list[CellScores] = []
        self._count = 0
        self._drawn = 0
        self._step: int | None = None

    def forget(self) -> None:
        """Forget earlier runs."""
        self._scores, self._count, self._drawn, self._step = [], 0, 0, None

    def prepare(self, module: ProbedModule, dataset: Rows) -> None:
        """Fix folds, targets and permutations."""
        self._surveys = self._surveys_of(dataset, module)

    def begin(self, module: ProbedModule) -> None:
        """Start with empty moments."""
        for survey in self._surveys:
            survey.start()

    def observe(self, output: ValidationOutput, batch: Batch) -> None:
        """Add a batch to the moments."""
        for survey in self._surveys:
            survey.update(output["states"], batch.rows)

    def finish(self, trainer: Trainer, module: ProbedModule) -> Mapping[str, float]:
        """Merge the ranks, fit, score."""
        self._scores = []
        for survey in self._surveys:
            sum_over_ranks(trainer, survey.fitter.state)
            self._scores += survey.scores(self.analysis)[0]
        self._scores.sort(key=lambda scores: self.targets.index(scores.target))
        self._count += 1
        self._step = moment(trainer)["step"]
        return {
            str(self._tag(scores.target, site, metric)): float(value)
            for scores in self._scores
            for metric in _LOGGED
            for site, value in zip(
                scores.sites, getattr(scores, metric)[:, scores.positions.index("last")], strict=True
            )
        }

    def tags(self) -> list[str]:
        """The tags it will log, once prepared."""
        sites = self._surveys[0].sites if self._surveys else ()
        of = itertools.product(self.targets, sites, _LOGGED)
        return [str(self._tag(target, site, metric)) for target, site, metric in of]

    def _tag(self, target: str, site: str, metric: str) -> Tag:
        return Tag(self.analysis, target, site, "last", metric)

    def report(self, trainer: Trainer, module: ProbedModule) -> None:
        """Write the record of all cells, and now and then the figure."""
        if self._count == 1 or self._count % self.figure_every == 0:
            self._draw(trainer, module)
        with self.timed("files"):
            self.append_line(
                trainer,
                self.gate(module)
                | {
                    "alphas": self.alphas,
                    "folds": self.folds,
                    "held_out": self.held_out,
                    "permutations": self.permutations,
                    "cells": [cell for scores in self._scores for cell in scores.cells()],
                },
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last state."""
        if trainer.is_global_zero and self._drawn < self._count:
            self._draw(trainer, probed_module(pl_module))
        super().on_fit_end(trainer, pl_module)

    def findings(self) -> list[str]:
        """What the last validation found at the readout, one line each."""
        lines = []
        for scores in self._scores:
            cell = len(scores.sites) - 1, scores.positions.index("last")
            r2, null, n = (getattr(scores, name)[cell].item() for name in ("r2", "null_high", "n_test"))
            lines.append(
                f"{self.analysis} probe of {scores.target!r} at {scores.sites[-1]}@last: held-out R2 {r2:.4f} "
                f"(null below {null:.3f}, {n:.0f} held-out rows)"
            )
        return lines

    def _draw(self, trainer: Trainer, module: ProbedModule) -> None:
        self._drawn = self._count
        with self.timed("figure"):
            for scores in self._scores:
                figure = probe_heatmap(scores, module.behaviour, self._step)
                self.show(trainer, figure, scores.target, "site x position", self._step)

    def _surveys_of(self, dataset: Rows, module: ProbedModule) -> list[RidgeSurvey]:
        positions = dataset.positions(self.positions)
        split = Split(
            dataset.group_of(dataset.answer),
            folds=self.folds,
            held_out=self.held_out,
            permutations=self.permutations,
            seed=self.seed,
            alphas=self.alphas,
        )
        sites, d_model = module.model.residual_sites, module.model.d_model
        return [
            RidgeSurvey(dataset, sites, positions, targets, split._replace(group=group), d_model)
            for group, targets in targets_by_group(self.targets, dataset).items()
        ]
