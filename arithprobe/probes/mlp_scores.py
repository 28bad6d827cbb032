"""The result of MLP probes of one target, and how predictions are scored."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from arithprobe.probes.accuracy import binomial_interval
from arithprobe.probes.interval import groups_of, r2_interval
from arithprobe.probes.metrics import permutation_p, r2_of_sums

Kind = Literal["regression", "classification"]

_PER_SITE = (
    "score",
    "low",
    "high",
    "null_mean",
    "null_max",
    "p",
    "within",
    "null_within_mean",
    "circular_error",
    "ridge",
    "selectivity",
    "task_on_pairs",
    "control_on_pairs",
    "epochs",
)
_SHARED = ("chance", "n_train", "n_stop", "n_test", "n_pairs", "n_classes")


@dataclass(frozen=True)
class MLPScores:
    """Scores of one target at S sites, with P label permutations; tensors are float64 on the CPU unless said otherwise.

    A score is R2 for regression and accuracy for classification, always on reported rows.
    """

    target: str
    """Name of the target, such as ``sum``."""
    kind: Kind
    """``regression`` or ``classification``."""
    sites: tuple[str, ...]
    """The S sites."""
    score: Tensor
    """(S,) score; NaN where the reported labels do not vary."""
    low: Tensor
    """(S,) lower end of its 95 % interval: exact binomial for accuracy, which takes rows as independent; for R2 that of
    :mod:`arithprobe.probes.interval`, from the groups reported. NaN where they are too few."""
    high: Tensor
    """(S,) upper end."""
    null: Tensor
    """(S, P) scores of the same pipeline on permuted labels, against those labels."""
    within: Tensor
    """(S,) share of predictions not more than the tolerance off."""
    null_within: Tensor
    """(S, P) the same under permuted labels."""
    circular_error: Tensor
    """(S,) mean distance round the circle, in label units; NaN without a modulus."""
    ridge: Tensor
    """(S,) score of ridge trained and reported on the same rows; of one output a class for classification."""
    task_on_pairs: Tensor
    """(S,) score of the task under the split by rows, where the type of a reported row occurs in training."""
    control_on_pairs: Tensor
    """(S,) score of the control task on the same rows; NaN, like the task's, where types do not recur."""
    chance: float
    """Share of the most frequent class among reported rows; 0 for R2."""
    n_train: int
    """Rows trained on."""
    n_stop: int
    """Rows that decided when to stop."""
    n_test: int
    """Rows reported."""
    n_pairs: int
    """Rows behind ``task_on_pairs`` and ``control_on_pairs``."""
    n_classes: int | None
    """Distinct labels of a classification; a class absent from training is as good as never predicted."""
    epochs: Tensor
    """(S,) int64 epoch whose weights were kept."""

    @property
    def metric(self) -> str:
        """``r2`` or ``accuracy``."""
        return "r2" if self.kind == "regression" else "accuracy"

    @property
    def selectivity(self) -> Tensor:
        """(S,) task minus control, under the split by rows; a control below nothing counts as nothing."""
        return self.task_on_pairs - self.control_on_pairs.clamp(min=0)

    @property
    def p(self) -> Tensor:
        """(S,) one-sided permutation p-value, never below 1 / (1 + P)."""
        return permutation_p(self.score, self.null)

    @property
    def null_mean(self) -> Tensor:
        """(S,) mean of the null."""
        return self.null.mean(dim=1)

    @property
    def null_max(self) -> Tensor:
        """(S,) largest of the P null scores: with few permutations no quantile can be told."""
        return self.null.amax(dim=1)

    @property
    def null_within_mean(self) -> Tensor:
        """(S,) mean of ``null_within``."""
        return self.null_within.mean(dim=1)

    def cells(self) -> Iterator[dict[str, str | float | None]]:
        """One flat record a site."""
        columns = {name: getattr(self, name).tolist() for name in _PER_SITE}
        shared = {name: getattr(self, name) for name in _SHARED}
        for row, site in enumerate(self.sites):
            names = {"target": self.target, "kind": self.kind, "metric": self.metric, "site": site}
            yield names | {name: values[row] for name, values in columns.items()} | shared


def score_of(predicted: Tensor, truth: Tensor, kind: Kind) -> Tensor:
    """R2 or accuracy over the last axis.

    Args:
        predicted: (..., n) predictions in label units.
        truth: Labels, of a shape that broadcasts to it.
        kind: ``regression`` or ``classification``.

    Returns:
        (...) float64; an R2 is NaN where the labels do not vary.
    """
    if kind == "classification":
        return (predicted == truth).double().mean(dim=-1)
    n, errors = torch.tensor(float(truth.shape[-1])), (predicted - truth).square().sum(dim=-1)
    return _r2(errors, n, truth.sum(dim=-1), truth.square().sum(dim=-1))


def score_with_interval(predicted: Tensor, truth: Tensor, kind: Kind, group: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scores and both ends of their 95 % intervals.

    Args:
        predicted: (S, n) predictions in label units.
        truth: (n,) labels.
        kind: ``regression`` or ``classification``.
        group: (n,) int64 groups: rows that are alike.

    Returns:
        (S,) three times; an end is NaN where it cannot be told.
    """
    score = score_of(predicted, truth, kind)
    if kind == "classification":
        hits = (predicted == truth).sum(dim=1).tolist()
        ends = torch.tensor([binomial_interval(count, len(truth)) for count in hits], dtype=torch.float64)
        return score, ends[:, 0], ends[:, 1]
    index = torch.unique(group, return_inverse=True)[1]

    def by_group(values: Tensor) -> Tensor:
        """(G, 1, S) sums of (S, n) values."""
        return values.new_zeros(len(values), int(index.max()) + 1).index_add_(1, index, values).T[:, None]

    errors, spread = (predicted - truth).square(), (truth - truth.mean()).square().expand_as(predicted)
    share = torch.bincount(index)[:, None] / len(index)
    low, high = r2_interval(by_group(errors), by_group(spread), share, groups_of(group))
    return score, torch.where(score.isnan(), score, low[0]), torch.where(score.isnan(), score, high[0])


def _r2(errors: Tensor, n: Tensor, sums: Tensor, squares: Tensor) -> Tensor:
    """R2 from sums over rows."""
    return r2_of_sums(errors, squares - sums.square() / n, squares)
