"""MLP probes at one validation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.callbacks.watch import Watch
from arithprobe.errors import ArithprobeError
from arithprobe.probes.mlp import MLPSettings
from arithprobe.probes.mlp_scores import Kind, MLPScores
from arithprobe.probes.nonlinear import MOST_CLASSES, mlp_scores, require_mlp_rows
from arithprobe.probes.sample import StateSample
from arithprobe.probes.tags import Tag
from arithprobe.probes.targets import target_values
from arithprobe.problems.rows import Rows, Variables

METRIC: Mapping[Kind, str] = {"regression": "r2", "classification": "accuracy"}
"""Metric of the score in tags, by kind of probe."""


class MLPTarget(NamedTuple):
    """One target, on the n rows of the sample."""

    target: str
    """Its name."""
    kind: Kind
    """``regression`` or ``classification``."""
    values: Tensor
    """(n,) float64 labels."""
    group: Tensor
    """(n,) int64 group of each row; a group is held out whole."""
    modulus: int | None
    """Where the labels wrap around; None where they do not."""


class MLPFound(NamedTuple):
    """The result of one validation at the last token."""

    kinds: Mapping[str, Kind]
    """Kind of probe of each target, whether or not it could be scored."""
    scores: tuple[MLPScores, ...]
    """Scores of each target that could be scored."""
    skipped: tuple[str, ...]
    """Sites and targets that were left out, with the reason."""


class MLPWatch(Watch[MLPFound]):
    """Collects the states of the sample, and trains the probes on them.

    Args:
        dataset: The validation rows; the first ``max_examples`` are the sample.
        sites: Sites to read.
        targets: The targets to probe for, on the rows of the sample.
        name: First word of its tags.
        d_model: Width of the states.
        settings: Settings of the probes and their training.
        shuffles: Label permutations of the null.
        max_examples: Rows of the sample.
    """

    def __init__(
        self,
        dataset: Rows,
        sites: Sequence[str],
        targets: Sequence[MLPTarget],
        *,
        name: str,
        d_model: int,
        settings: MLPSettings,
        shuffles: int,
        max_examples: int,
    ) -> None:
        self._lengths, self._sites, self._targets = dataset.lengths, tuple(sites), tuple(targets)
        self._pair = dataset.at(slice(max_examples)).group("pair")
        self._d_model, self._settings, self._shuffles, self._max_examples = d_model, settings, shuffles, max_examples
        self.tags = tuple(
            str(Tag(name, one.target, site, "last", metric))
            for one in self._targets
            for site in self._sites
            for metric in (METRIC[one.kind], "null_max")
        )
        self.start()

    def start(self) -> None:
        """Begin with an empty sample."""
        self._sample = StateSample(self._lengths, self._sites, self._d_model, self._max_examples)

    def update(self, states: Mapping[str, Tensor], rows: Tensor) -> None:
        """Keep the rows of the sample."""
        self._sample.update(states, rows)

    @property
    def state(self) -> Iterable[Tensor]:
        """The sample."""
        return self._sample.state

    def result(self) -> MLPFound:
        """Train and score the probes; a target that cannot be probed is noted, and the run goes on."""
        states, kept = self._sample.kept()
        finite = torch.isfinite(states).all(dim=2).all(dim=1)
        names = [site for site, good in zip(self._sites, finite.tolist(), strict=True) if good]
        skipped = [f"{site}: its states overflow" for site in self._sites if site not in names]
        states, scores = states[finite], []
        for one in self._targets if names else ():
            rows = (one.values[kept], one.group[kept], self._pair[kept])
            try:
                scores.append(
                    mlp_scores(
                        states,
                        names,
                        one.target,
                        *rows,
                        one.kind,
                        settings=self._settings,
                        modulus=one.modulus,
                        shuffles=self._shuffles,
                        seed=self._settings.seed,
                    )
                )
            except ArithprobeError as error:  # a validation limited to few batches
                skipped.append(str(error))
        return MLPFound({one.target: one.kind for one in self._targets}, tuple(scores), tuple(skipped))


def mlp_target(name: str, some: Variables, kind: Kind | None, modulus: int | None) -> MLPTarget:
    """Make a target on the rows of the sample, and check that the rows are enough.

    Args:
        name: The name of the target.
        some: The rows of the sample.
        kind: Kind of probe; None for classification of whole numbers of few values, and regression of x, y and sum.
        modulus: The modulus at which its labels wrap around; None if they do not.

    Raises:
        ArithprobeError: If the target is unknown, or the rows are too few.
    """
    values, group = target_values(name, some), some.group(name)
    chosen = _kind_of(name, values) if kind is None else kind
    require_mlp_rows(name, values, group, some.group("pair"), chosen)
    return MLPTarget(name, chosen, values, group, modulus)


def _kind_of(target: str, values: Tensor) -> Kind:
    whole = bool((values == values.round()).all()) and len(torch.unique(values)) <= MOST_CLASSES
    return "classification" if whole and target not in ("x", "y", "sum") else "regression"
