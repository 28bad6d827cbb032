"""Live MLP probes: what hidden units can decode from the states, with controls, while the model trains."""

from collections.abc import Iterator, Sequence
from typing import Literal

from arithprobe.callbacks.base import ValidationProbe
from arithprobe.callbacks.mlp_watch import METRIC, MLPFound, MLPWatch, mlp_target
from arithprobe.callbacks.watch import Observed
from arithprobe.errors import ArithprobeError, did_you_mean, require_at_least, several
from arithprobe.limits import require_within
from arithprobe.probes.function_rows import rows_with
from arithprobe.probes.mlp import MLPSettings
from arithprobe.probes.mlp_scores import Kind, MLPScores
from arithprobe.probes.tags import Tag
from arithprobe.probes.wanted import Targets, functions_record, wanted_targets
from arithprobe.problems.rows import Rows
from arithprobe.said.content import Chart, Content, Said, Words
from arithprobe.training.probed import ProbedModule

_SCORE: dict[Kind, str] = {"regression": "R2", "classification": "accuracy"}


class MLPProbing(ValidationProbe[MLPFound]):
    """Trains MLP probes of the last token at residual sites, anew at every n-th validation of a fit.

    The first ``max_examples`` validation rows are the sample; only their states are kept. All sites, the label shuffles
    and the control task train together, see :mod:`arithprobe.probes.nonlinear`. A validation outside a fit is always
    probed.

    Per target and site it logs ``mlp_<target>/<site>@last/r2`` (``/accuracy`` for classes) and ``.../null_max``, the
    largest score among the shuffles; all results go to ``probes/mlp.jsonl``.

    Args:
        targets: What to probe for: names of quantities (:mod:`arithprobe.problems.quantities`); or functions of the
            rows by names of their own, ``{"max": lambda rows: ...}``, which return a number a row; or a list of both.
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
        name: First word of its tags and files; two of a run need two names.

    Raises:
        ArithprobeError: If an option is out of range, a target or site is unknown, or the sample is too small.
    """

    name = "mlp"
    keeps = 1

    def __init__(
        self,
        targets: Targets = "sum",
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
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        require_at_least("MLPProbing: ", shuffles=(shuffles, 1), every=(every, 1), max_examples=(max_examples, 100))
        require_within("MLPProbing: ", every=every, max_examples=max_examples)
        if kind not in ("auto", "regression", "classification"):
            raise ArithprobeError(f"MLPProbing: kind is {kind!r}; expected 'auto', 'regression' or 'classification'")
        wanted = wanted_targets("MLPProbing: targets", targets)
        self.targets, self.functions = list(wanted.names), wanted.functions
        self.sites = None if sites is None else several("MLPProbing: sites", sites)
        if not self.targets or self.sites == ():
            raise ArithprobeError("MLPProbing: expected at least one target and one site")
        self.kind = kind
        self.settings = MLPSettings(hidden, depth, max_epochs=max_epochs, patience=patience, seed=seed)
        self.shuffles, self.every, self.max_examples, self.seed = shuffles, every, max_examples, seed

    def prepare(self, module: ProbedModule, dataset: Rows) -> MLPWatch:
        """Fix sites, labels and kinds."""
        dataset, known = rows_with(dataset, self.functions), module.model.residual_sites
        for site in self.sites or ():
            if site not in known:
                raise ArithprobeError(
                    f"MLPProbing: no site {site!r}{did_you_mean(site, known)} (sites: {', '.join(known)})"
                )
        some = dataset.at(slice(self.max_examples))
        kind = None if self.kind == "auto" else self.kind
        return MLPWatch(
            dataset,
            tuple(dict.fromkeys(self.sites or known)),
            [
                mlp_target(target, some, kind, dataset.circle if target == dataset.answer else None)
                for target in self.targets
            ],
            name=self.name,
            d_model=module.model.d_model,
            settings=self.settings,
            shuffles=self.shuffles,
            max_examples=self.max_examples,
        )

    def said(self, history: Sequence[Observed[MLPFound]]) -> Said:
        """Each target beside its shuffles, a ridge probe and the control task; in words for the last site."""
        found = history[-1].result
        return Said(
            name=self.name,
            title="MLP probes over training",
            behaviour=self.behaviour,
            blocks=tuple(self._blocks(found)),
            shows="What an MLP probe reads at the last token, on sums it was not fitted on, above permuted labels.",
            does_not_show="Use. An untrained network can score as high; see the ladder.",
            rank=42,
            scalars={
                str(Tag(self.name, scores.target, site, "last", metric)): values[row].item()
                for scores in found.scores
                for metric, values in ((scores.metric, scores.score), ("null_max", scores.null_max))
                for row, site in enumerate(scores.sites)
            },
            line={
                "settings": vars(self.settings),
                "shuffles": self.shuffles,
                "max_examples": self.max_examples,
                "skipped": found.skipped,
                "cells": [cell | {"position": "last"} for scores in found.scores for cell in scores.cells()],
            }
            | functions_record(self.functions),
        )

    def _blocks(self, found: MLPFound) -> Iterator[Content]:
        scored = {scores.target: scores for scores in found.scores}
        for target, kind in found.kinds.items():
            if target in scored:
                yield Words(self._finding(scored[target]))
            yield Chart(
                target,
                "held-out score, and the largest of the shuffles",
                (METRIC[kind], "null_max"),
                headlines=(METRIC[kind], "null_max"),
                score=f"held-out {_SCORE[kind]}",
                null="the largest of the label shuffles",
            )
        for reason in found.skipped:
            yield Words(f"{self.name} probing left out: {reason}", "doubtful")

    def _finding(self, scores: MLPScores) -> str:
        """What was found at the last site."""
        score, null, ridge, selectivity = (
            getattr(scores, name)[-1].item() for name in ("score", "null_max", "ridge", "selectivity")
        )
        return (
            f"{self.name} probe of {scores.target!r} at {scores.sites[-1]}@last: held-out {_SCORE[scores.kind]} "
            f"{score:.4f} (ridge {ridge:.4f}, largest of {self.shuffles} shuffles {null:.3f}, selectivity "
            f"{selectivity:.3f}, {scores.n_test} held-out rows)"
        )
