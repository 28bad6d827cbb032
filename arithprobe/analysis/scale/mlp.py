"""MLP probes of the answers of a trial of a sweep, beside those of its untrained twins."""

from collections.abc import Sequence

import torch

from arithprobe.analysis.scale.forward import ReadoutStates
from arithprobe.analysis.scale.probes import SITE, ScalePlan
from arithprobe.analysis.scale.record import MLPValues
from arithprobe.probes.mlp import MLPSettings
from arithprobe.probes.mlp_scores import Kind, MLPScores
from arithprobe.probes.nonlinear import MOST_CLASSES, mlp_scores, require_mlp_rows


def mlp_values(plan: ScalePlan, kept: Sequence[ReadoutStates]) -> MLPValues:
    """Classification of residues, where there are few enough to tell apart, or regression of the answer.

    Args:
        plan: Rows and options.
        kept: States at the readout: the model's, then those of its untrained twins.

    Raises:
        ArithprobeError: If the rows are too few.
    """
    dataset, options, rows = plan.dataset, plan.options, kept[0].rows
    modulus, some = dataset.circle, dataset.at(rows)
    kind: Kind = "regression" if modulus is None or modulus > MOST_CLASSES else "classification"
    values, group, pair = dataset.answers[rows].double(), some.group(dataset.answer), some.group("pair")
    require_mlp_rows("answer", values, group, pair, kind)
    settings = MLPSettings(hidden=options.mlp_hidden, depth=options.mlp_depth, seed=options.seed)

    def scores(some: Sequence[ReadoutStates], shuffles: int) -> MLPScores:
        states = torch.stack([one.states().float() for one in some])
        sites = [f"{SITE}, model {number}" for number in range(len(some))]
        return mlp_scores(
            states,
            sites,
            "answer",
            values,
            group,
            pair,
            kind,
            modulus=modulus,
            settings=settings,
            shuffles=shuffles,
            seed=options.seed,
        )

    own, twins = scores(kept[:1], options.mlp_shuffles), scores(kept[1:], 1)
    return MLPValues(
        kind=own.metric,
        score=float(own.score[0]),
        linear=float(own.ridge[0]),
        null=float(own.null_max[0]),
        untrained=float(twins.score.mean()),
    )
