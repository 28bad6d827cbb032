"""Live ridge probes: what is linearly decodable where, while the model trains."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from arithprobe.callbacks.base import ValidationProbe, arithmetic_module, moment, tensorboard
from arithprobe.data.dataset import ArithmeticDataset, Batch
from arithprobe.errors import ArithprobeError
from arithprobe.files import write_whole
from arithprobe.plotting.heatmap import probe_heatmap
from arithprobe.plotting.render import to_png, to_rgb
from arithprobe.probes.positions import PositionKind, PositionTable, position_table
from arithprobe.probes.ridge import RidgeFitter, RidgeScores
from arithprobe.probes.scores import CellScores
from arithprobe.probes.splits import fold_of, permute_between_groups
from arithprobe.probes.tags import Tag
from arithprobe.probes.targets import target_values
from arithprobe.training.module import ArithmeticModule, ValidationOutput

_LOGGED = ("r2", "null_high")


class RidgeProbing(ValidationProbe):
    """Ridge probes of every residual site x position, fitted anew at every validation.

    The states come from the validation pass itself; each batch is folded into second moments. A probe is fitted on the
    rows of some sums and scored on the rows of others. The same fit of labels permuted between sums gives the null.

    Per target it logs ``ridge_<target>/<site>@last/r2`` and ``.../null_high`` (95 % quantile of the permutations) for
    every residual site; all cells go to ``probes/ridge.jsonl`` and into a site x position heatmap, in TensorBoard
    (IMAGES) and ``figures/ridge_<target>.png``.

    Args:
        targets: What to probe for, see :mod:`arithprobe.probes.targets`.
        positions: ``last`` (the last real token), ``index`` (every character index), ``role`` (every role).
        alpha: Ridge penalty, on states as they are; positive.
        folds: Folds of sums; one of them is held out.
        cross_validate: Hold out every fold in turn, not only the first.
        permutations: Label permutations of the null.
        figure_every: Draw the heatmap at the first validation, at every n-th, and at the end of the fit.
        seed: Seed of the permutations.

    Raises:
        ArithprobeError: If an option is out of range, a target is unknown or constant, or a fold is empty.
    """

    analysis = "ridge"

    def __init__(
        self,
        targets: Sequence[str] = ("sum",),
        positions: Sequence[PositionKind] = ("last", "index"),
        alpha: float = 1.0,
        folds: int = 5,
        cross_validate: bool = False,
        permutations: int = 20,
        figure_every: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("folds", folds, 2),
            ("permutations", permutations, 1),
            ("figure_every", figure_every, 1),
        ):
            if value < least:
                raise ArithprobeError(f"RidgeProbing: {name} is {value}; expected {least} or more")
        if seed < 0 or permutations > 10_000:
            raise ArithprobeError(f"RidgeProbing: seed is {seed}, permutations {permutations}; expected 0 to 10000")
        if not 0 < alpha < float("inf"):
            raise ArithprobeError(f"RidgeProbing: alpha is {alpha}; expected a positive penalty")
        if not targets or "last" not in positions:
            raise ArithprobeError("RidgeProbing: expected at least one target, and 'last' among the positions")
        self.targets, self.positions = list(dict.fromkeys(targets)), list(dict.fromkeys(positions))
        self.alpha, self.folds, self.permutations, self.seed = alpha, folds, permutations, seed
        self.held_out = list(range(folds)) if cross_validate else [0]
        self.figure_every = figure_every
        self._plan: _Plan | None = None
        self._fitter: RidgeFitter | None = None
        self._scores: list[CellScores] = []
        self._count = 0
        self._drawn = 0
        self._step: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget earlier runs."""
        super().setup(trainer, pl_module, stage)
        self._scores, self._count, self._drawn = [], 0, 0

    def prepare(self, module: ArithmeticModule, dataset: ArithmeticDataset) -> None:
        """Fix folds, targets and permutations."""
        if self._plan is None or self._plan.dataset is not dataset:
            self._plan = self._make_plan(dataset, module.model.residual_sites)

    def begin(self, module: ArithmeticModule) -> None:
        """Start with empty moments."""
        if self._plan is not None:
            device = "cpu" if module.device.type == "mps" else module.device
            n_cells = len(self._plan.sites) * len(self._plan.positions.names)
            n_labels = self._plan.labels.shape[1]
            self._fitter = RidgeFitter(n_cells, module.model.d_model, n_labels, self._plan.blocks, device)

    def observe(self, output: ValidationOutput, batch: Batch) -> None:
        """Add a batch to the moments."""
        if self._plan is None or self._fitter is None:
            return
        plan, rows = self._plan, batch.rows.cpu()
        cells = torch.cat([plan.positions.gather(output["states"][site], rows) for site in plan.sites], dim=1)
        valid = plan.positions.valid[rows].repeat(1, len(plan.sites))
        self._fitter.update(cells, plan.labels[rows], plan.fold[rows], valid)

    def finish(self, trainer: Trainer, module: ArithmeticModule) -> Mapping[str, float]:
        """Merge the ranks, fit, score."""
        if self._plan is None or self._fitter is None:
            return {}
        for moments in (self._fitter.moments, self._fitter.squares):
            moments.copy_(trainer.strategy.reduce(moments, reduce_op="sum"))
        self._scores = self._read(self._plan, self._fitter.score(self.alpha, self.held_out))
        self._fitter = None
        self._count += 1
        self._step = moment(trainer)["step"]
        last = self._plan.positions.names.index("last")
        return {
            str(self._tag(scores.target, site, metric)): getattr(scores, metric)[row, last].item()
            for scores in self._scores
            for row, site in enumerate(scores.sites)
            for metric in _LOGGED
        }

    def tags(self) -> list[str]:
        """The tags it will log, once prepared."""
        sites = self._plan.sites if self._plan is not None else ()
        of = itertools.product(self.targets, sites, _LOGGED)
        return [str(self._tag(target, site, metric)) for target, site, metric in of]

    def _tag(self, target: str, site: str, metric: str) -> Tag:
        return Tag(self.analysis, target, site, "last", metric)

    def report(self, trainer: Trainer, module: ArithmeticModule) -> None:
        """Write the record of all cells, and now and then the figure."""
        if self._count == 1 or self._count % self.figure_every == 0:
            self._draw(trainer, module)
        with self.timed("files"):
            behaviour = module.behaviour
            self.append_line(trainer, {
                "verdict": behaviour.verdict if behaviour else None,
                "skill": behaviour.skill if behaviour else None,
                "alpha": self.alpha, "folds": self.folds, "held_out": self.held_out, "group": "sum",
                "permutations": self.permutations, "seconds": self.seconds,
                "cells": [cell for scores in self._scores for cell in scores.cells()],
            })  # fmt: skip

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last state."""
        if trainer.is_global_zero and self._drawn < self._count:
            self._draw(trainer, arithmetic_module(pl_module))
        super().on_fit_end(trainer, pl_module)

    def findings(self) -> list[str]:
        """What the last validation found at the readout, one line each."""
        lines = []
        for scores in self._scores:
            cell = scores.sites.index("final"), scores.positions.index("last")
            r2, null, n = (getattr(scores, name)[cell].item() for name in ("r2", "null_high", "n_test"))
            lines.append(
                f"{self.analysis} probe of {scores.target!r} at final@last: held-out R2 {r2:.4f} "
                f"(null below {null:.3f}, {n:.0f} held-out rows)"
            )
        return lines

    def _draw(self, trainer: Trainer, module: ArithmeticModule) -> None:
        self._drawn = self._count
        writers = list(tensorboard(trainer))
        if not writers and self._run_folder is None:
            return
        with self.timed("figure"):
            for scores in self._scores:
                image = to_rgb(probe_heatmap(scores, module.behaviour, self._step))
                for writer in writers:
                    name = f"{self.analysis}_{scores.target}/site x position"
                    writer.add_image(name, image, self._step or 0, dataformats="HWC")
                if self._run_folder is not None:
                    write_whole(self._run_folder / "figures" / f"{self.analysis}_{scores.target}.png", to_png(image))

    def _make_plan(self, dataset: ArithmeticDataset, sites: tuple[str, ...]) -> "_Plan":
        group = dataset.x + dataset.y
        fold = fold_of(group, self.folds)
        if len(self.held_out) == 1:  # two blocks of moments are enough: held out, or not
            fold = (fold != self.held_out[0]).long()
        blocks = self.folds if len(self.held_out) > 1 else 2
        sizes = torch.bincount(fold, minlength=blocks)
        if int(sizes.min()) < 2:
            raise ArithprobeError(
                f"RidgeProbing: a fold of {dataset.path} has {int(sizes.min())} rows ({len(dataset)} rows, "
                f"{self.folds} folds of sums); expected 2 or more: validate on more rows or use fewer folds"
            )
        columns = []
        for name in self.targets:
            values = target_values(name, dataset.x, dataset.y, dataset.modulus)
            values = (values - values.mean()) / values.std()  # R2 is the same, rounding is better
            columns.append(
                torch.cat([values[:, None], permute_between_groups(values, group, self.permutations, self.seed)], 1)
            )
        positions = position_table(self.positions, dataset.lengths, dataset.layout, dataset.layouts)
        return _Plan(dataset, sites, positions, fold, blocks, torch.cat(columns, dim=1))

    def _read(self, plan: "_Plan", scores: RidgeScores) -> list[CellScores]:
        shape = (len(plan.sites), len(plan.positions.names))
        r2 = scores.r2.cpu().reshape(-1, len(self.targets), 1 + self.permutations)
        in_sample = scores.r2_in_sample.cpu().reshape(-1, len(self.targets), 1 + self.permutations)
        per_cell: dict[str, Tensor] = {
            name: getattr(scores, name).cpu().reshape(shape) for name in ("n_train", "n_test", "edf")
        }
        return [
            CellScores(
                analysis=self.analysis, target=target, sites=plan.sites, positions=plan.positions.names,
                r2=r2[:, k, 0].reshape(shape), r2_in_sample=in_sample[:, k, 0].reshape(shape),
                null_mean=r2[:, k, 1:].mean(dim=1).reshape(shape),
                null_high=r2[:, k, 1:].quantile(0.95, dim=1).reshape(shape), **per_cell,
            )
            for k, target in enumerate(self.targets)
        ]  # fmt: skip


class _Plan(NamedTuple):
    """What depends on the rows, not on the model's state."""

    dataset: ArithmeticDataset
    sites: tuple[str, ...]
    positions: PositionTable
    fold: Tensor  # (N,) block of moments
    blocks: int
    labels: Tensor  # (N, K (1 + P)): each target, then its permutations
