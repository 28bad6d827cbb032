"""The linear probes of a trial of a sweep: held out, at the width of the model and at one width for all."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from arithprobe.analysis.scale.options import ScaleOptions
from arithprobe.analysis.scale.record import ProbeValues
from arithprobe.probes.moments import Array, Moments, RidgePath
from arithprobe.probes.principal_axes import leading_axes
from arithprobe.probes.scores import CellScores
from arithprobe.probes.survey import RidgeSurvey, Split, Target
from arithprobe.probes.targets import angle_columns, target_values
from arithprobe.problems.circles import planes_name
from arithprobe.problems.rows import Rows

SITE = "final"
"""Where trials are measured, at the last token."""
_PENALTY = 1.0  # the original notebook's, for dimensions of unit variance


class ScalePlan:
    """What is read from the states of every trial, and what is taken out of them.

    Args:
        dataset: The rows.
        options: How they are measured.

    Raises:
        ArithprobeError: If the sum or the answer is the same in every row.

    Attributes:
        targets: The columns: cosines and sines by frequency, the sum, and last the answer.
        probes: How many of the columns each probe has, counted from the first for ``fourier6``; None where there are
            too few frequencies. The ``sum`` is not among them.
        ablated: What is taken out.
        removed: How many of the first columns are taken out.
        left_out: What these rows do not allow, with the reason.
    """

    def __init__(self, dataset: Rows, options: ScaleOptions) -> None:
        self.dataset, self.options = dataset, options
        self.left_out: list[str] = []
        self.probes: dict[str, int | None] = {}
        modulus, answers = dataset.circle, dataset.answer
        waves: list[Target] = []
        self.ablated, self.removed = "sum", 1
        answer = Target("answer", target_values(answers, dataset)[:, None], False)
        if modulus is not None:
            most = max(*options.frequencies, options.ablate)
            found, _ = angle_columns(answers, modulus, range(1, most + 1), dataset.values(answers))
            waves = [Target(name, values[:, None]) for one in found.values() for name, values in one.items()]
            within = {n: sum(len(one) for f, one in found.items() if f <= n) for n in range(1, most + 1)}
            self.probes = {f"fourier{n}": within[n] if 2 * n <= modulus else None for n in options.frequencies}
            self.left_out += [
                f"{name}: frequencies above {modulus // 2} repeat those below, modulo {modulus}"
                for name, count in self.probes.items()
                if count is None
            ]
            taken = [n for n in found if n <= options.ablate]
            self.ablated, self.removed = planes_name(answers, modulus, taken), within[options.ablate]
        self.sum = len(waves)
        self.targets = [*waves, Target("sum", target_values("sum", dataset)[:, None]), answer]
        self.last = dataset.positions(["last"])

    def survey(self, d_model: int, *, controls: bool) -> RidgeSurvey:
        """Empty moments, with permuted labels or without."""
        split = Split("sum", self.options.folds, None, self.options.permutations if controls else 0, self.options.seed)
        return RidgeSurvey(self.dataset, [SITE], self.last, self.targets, split, d_model)

    def taken_out(self) -> Tensor:
        """(N, K) columns whose directions are taken out."""
        return torch.cat([one.columns for one in self.targets[: self.removed]], dim=1)

    def values(self, trained: RidgeSurvey, twins: Sequence[RidgeSurvey]) -> dict[str, ProbeValues | None]:
        """All probes of a model, from its moments and those of its untrained twins; see :class:`ScaleMeasures`.

        At equal dimension a probe reads the leading principal components of the training folds, and not a random
        projection: that keeps a share k / D of every direction, mixed with noise from the others, and so reads wide
        models worse because they are wide. Components are chosen without any label, so null and untrained networks
        have as many dimensions to fit by chance as the model has, at every width. What a wide model keeps in
        directions of little variance is missed; the plain columns have it.
        """
        found: dict[str, ProbeValues | None] = {}
        for name, count in (("", None), ("_k", self.options.probe_dimension)):
            own, others = _scores(trained, count), [_scores(twin, count) for twin in twins]
            in_sample = in_sample_r2(Moments.total(trained.fitter.moments()).columns(slice(len(own))), count)
            for probe, width in {**self.probes, "sum": self.sum + 1}.items():
                some = slice(self.sum if probe == "sum" else 0, width)
                found[probe + name] = None if width is None else _values(own, others, in_sample, some)
        return dict(sorted(found.items(), key=lambda item: item[0].startswith("sum")))


def in_sample_r2(moments: Moments, count: int | None = None) -> Array:
    """(K,) R2 on the rows that were fitted, by the original notebook's protocol: unit variance, penalty 1.

    Args:
        moments: Of one cell, all rows.
        count: Leading principal components that are read; all dimensions, as they are, by default.
    """
    if count is not None and count < moments.centred_gram.shape[1]:
        moments = moments.mapped(leading_axes(moments, count))
    path = RidgePath(moments)
    r2: Array = 1 - path.errors(np.full(moments.squares.shape, _PENALTY))[0] / moments.spread[0]
    return r2


def _scores(survey: RidgeSurvey, count: int | None) -> list[CellScores]:
    """One a column, of the states or of their leading components."""
    if count is None or count >= survey.fitter.gram.shape[-1] - 1:
        return survey.scores("scale")[0]
    return survey.leading_scores("scale", count)


def _values(
    own: Sequence[CellScores], twins: Sequence[Sequence[CellScores]], in_sample: Array, some: slice
) -> ProbeValues:
    """The mean over some of the columns."""
    untrained = [_r2(twin[some]) for twin in twins]
    null = torch.stack([one.null[0, 0] for one in own[some]]).mean(dim=0)
    return ProbeValues(
        r2=_r2(own[some]),
        null=float(null.quantile(0.95)),
        untrained=float(np.mean(untrained)),
        untrained_max=max(untrained),
        in_sample=float(in_sample[some].mean()),
    )


def _r2(some: Sequence[CellScores]) -> float:
    return float(torch.stack([one.r2[0, 0] for one in some]).mean())
