"""Live MLP probes: what can be decoded with hidden units, beside what such probes make up, while the model trains."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from arithprobe.callbacks.base import ValidationProbe
from arithprobe.callbacks.trainers import is_turn, sum_over_ranks
from arithprobe.data.dataset import Batch
from arithprobe.errors import ArithprobeError, did_you_mean, require_at_least, several
from arithprobe.limits import require_within
from arithprobe.probes.mlp import MLPSettings
from arithprobe.probes.mlp_scores import Kind, MLPScores
from arithprobe.probes.nonlinear import MOST_CLASSES, mlp_scores, require_mlp_rows
from arithprobe.probes.sample import StateSample
from arithprobe.probes.tags import Tag
from arithprobe.probes.targets import target_values
from arithprobe.problems.rows import Rows
from arithprobe.training.probed import ProbedModule, ValidationOutput


class MLPProbing(ValidationProbe):
    """MLP probes of the last token at residual sites, trained anew at every n-th validation of a fit.

    The first ``max_examples`` validation rows are the sample; their states are all that is kept. All sites, the label
    shuffles and the control task train together, see :mod:`arithprobe.probes.nonlinear`. A validation outside a fit is
    always probed.

    Per target and site it logs ``mlp_<target>/<site>@last/r2`` (``/accuracy`` for classes) and ``.../null_max``, the
    largest score among the shuffles; everything goes to ``probes/mlp.jsonl``.

    Args:
        targets: What to probe for, see :mod:`arithprobe.probes.targets`.
        kind: ``regression``, ``classification``, or ``auto``: classification of whole numbers with up to 200 values
            (residues, digits, carries), but regression of x, y and sum.
        sites: Sites to read; all along the residual stream by default.
        hidden: Hidden units of a probe.
        depth: Hidden layers.
        max_epochs: Epochs at most.
        patience: A probe stops after so many epochs without a better loss on the stop rows.
        shuffles: Label permutations of the null.
        every: Probe at validation n, 2 n, ... of a fit.
        max_examples: Rows of the sample.
        seed: Seed of weights, orders, shuffles and control labels.

    Raises:
        ArithprobeError: If an option is out of range, a target or site is unknown, or the sample is too small.
    """

    analysis = "mlp"
    remembered = ("_scores", "_skipped", "_count", "_done")

    def __init__(
        self,
        targets: Sequence[str] = ("sum",),
        kind: Literal["auto", "regression", "classification"] = "auto",
        sites: Sequence[str] | None = None,
        hidden: int = 128,
        depth: int = 1,
        max_epochs: int = 40,
        patience: int = 10,
        shuffles: int = 4,
        every: int = 5,
        max_examples: int = 2000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        require_at_least("MLPProbing: ", shuffles=(shuffles, 1), every=(every, 1), max_examples=(max_examples, 100))
        require_within("MLPProbing: ", every=every, max_examples=max_examples)
        if kind not in ("auto", "regression", "classification"):
            raise ArithprobeError(f"MLPProbing: kind is {kind!r}; expected 'auto', 'regression' or 'classification'")
        self.targets = list(dict.fromkeys(several("MLPProbing: targets", targets)))
        self.sites = None if sites is None else several("MLPProbing: sites", sites)
        if not self.targets or self.sites == ():
            raise ArithprobeError("MLPProbing: expected at least one target and one site")
        self.kind = kind
        self.settings = MLPSettings(hidden, depth, max_epochs=max_epochs, patience=patience, seed=seed)
        self.shuffles, self.every, self.max_examples, self.seed = shuffles, every, max_examples, seed
        self._plan: _Plan | None = None
        self._sample: StateSample | None = None
        self._scores: list[MLPScores] = []
        self._skipped: list[str] = []
        self._count = 0
        self._done = False

    def forget(self) -> None:
        """Forget earlier runs."""
        self._scores, self._skipped, self._count, self._done = [], [], 0, False

    def prepare(self, module: ProbedModule, dataset: Rows) -> None:
        """Fix sites, labels and kinds."""
        self._plan = self._make_plan(module, dataset)

    def begin(self, module: ProbedModule) -> None:
        """Start with an empty sample, if it is this validation's turn."""
        self._count += 1
        self._sample = None  # of a pass that was interrupted
        if self._plan is not None and is_turn(module, self._count, self.every):
            lengths = self._plan.dataset.lengths
            self._sample = StateSample(lengths, self._plan.sites, module.model.d_model, self.max_examples)

    def observe(self, output: ValidationOutput, batch: Batch) -> None:
        """Keep the rows of the sample."""
        if self._sample is not None:
            self._sample.update(output["states"], batch.rows)

    def finish(self, trainer: Trainer, module: ProbedModule) -> Mapping[str, float]:
        """Merge the ranks, train the probes, score."""
        self._done = self._plan is not None and self._sample is not None
        if self._plan is None or self._sample is None:
            return {}
        sum_over_ranks(trainer, self._sample.state)
        (states, rows), self._sample = self._sample.kept(), None
        self._probe(self._plan, states, rows)
        return {
            str(Tag(self.analysis, scores.target, site, "last", metric)): values[row].item()
            for scores in self._scores
            for metric, values in ((scores.metric, scores.score), ("null_max", scores.null_max))
            for row, site in enumerate(scores.sites)
        }

    def tags(self) -> list[str]:
        """The tags it will log, once prepared."""
        if self._plan is None:
            return []
        metric = {"regression": "r2", "classification": "accuracy"}
        return [
            str(Tag(self.analysis, one.target, site, "last", name))
            for one in self._plan.targets
            for site in self._plan.sites
            for name in (metric[one.kind], "null_max")
        ]

    def report(self, trainer: Trainer, module: ProbedModule) -> None:
        """Write the record of all cells."""
        if not self._done:
            return
        with self.timed("files"):
            cells = [cell | {"position": "last"} for scores in self._scores for cell in scores.cells()]
            self.append_line(
                trainer,
                self.gate(module)
                | {
                    "settings": vars(self.settings),
                    "shuffles": self.shuffles,
                    "max_examples": self.max_examples,
                    "skipped": self._skipped,
                    "cells": cells,
                },
            )

    def findings(self) -> list[str]:
        """What the last probed validation found at the last site, one line each."""
        lines = []
        for scores in self._scores:
            score, null, ridge, selectivity = (
                getattr(scores, name)[-1].item() for name in ("score", "null_max", "ridge", "selectivity")
            )
            name = "R2" if scores.kind == "regression" else "accuracy"
            lines.append(
                f"{self.analysis} probe of {scores.target!r} at {scores.sites[-1]}@last: held-out {name} {score:.4f} "
                f"(ridge {ridge:.4f}, largest of {self.shuffles} shuffles {null:.3f}, selectivity {selectivity:.3f}, "
                f"{scores.n_test} held-out rows)"
            )
        return [*lines, *(f"{self.analysis} probing left out: {reason}" for reason in self._skipped)]

    def _make_plan(self, module: ProbedModule, dataset: Rows) -> "_Plan":
        known = module.model.residual_sites
        for site in self.sites or ():
            if site not in known:
                raise ArithprobeError(
                    f"MLPProbing: no site {site!r}{did_you_mean(site, known)} (sites: {', '.join(known)})"
                )
        some = dataset.at(slice(self.max_examples))
        pair, targets = some.group("pair"), []
        for target in self.targets:
            values = target_values(target, some)
            kind = _kind_of(target, values) if self.kind == "auto" else self.kind
            group = some.group(target)
            require_mlp_rows(target, values, group, pair, kind)
            targets.append(
                _ProbedTarget(target, kind, values, group, dataset.circle if target == dataset.answer else None)
            )
        return _Plan(dataset, tuple(dict.fromkeys(self.sites or known)), pair, targets)

    def _probe(self, plan: "_Plan", states: Tensor, kept: Tensor) -> None:
        """Probe what can be probed of the kept rows; what cannot is noted, and the run goes on."""
        finite = torch.isfinite(states).all(dim=2).all(dim=1)
        names = [site for site, good in zip(plan.sites, finite.tolist(), strict=True) if good]
        self._scores, self._skipped = [], [f"{site}: its states overflow" for site in plan.sites if site not in names]
        states = states[finite]
        for one in plan.targets if names else ():
            options: dict[str, Any] = {"modulus": one.modulus, "shuffles": self.shuffles, "seed": self.seed}
            rows = (one.values[kept], one.group[kept], plan.pair[kept])
            try:
                self._scores.append(
                    mlp_scores(states, names, one.target, *rows, one.kind, settings=self.settings, **options)
                )
            except ArithprobeError as error:  # a validation limited to few batches
                self._skipped.append(str(error))


class _ProbedTarget(NamedTuple):
    """One target on the rows of the sample."""

    target: str
    kind: Kind
    values: Tensor  # (n,) float64
    group: Tensor  # (n,) int64
    modulus: int | None


class _Plan(NamedTuple):
    """What depends on the rows, not on the model's state."""

    dataset: Rows
    sites: tuple[str, ...]
    pair: Tensor  # (n,) int64
    targets: list[_ProbedTarget]


def _kind_of(target: str, values: Tensor) -> Kind:
    whole = bool((values == values.round()).all()) and len(torch.unique(values)) <= MOST_CLASSES
    return "classification" if whole and target not in ("x", "y", "sum") else "regression"
