"""The findings of an invariance curve."""

import math

from arithprobe.behaviour import Behaviour
from arithprobe.interventions.invariance import Invariance
from arithprobe.plotting.invariance import invariance_chart
from arithprobe.said.content import Column, Picture, Said, Table

_COLUMNS = (
    "d",
    "MSE, all rows (the notebook's)",
    "of these out of range",
    "of another length",
    "rows kept",
    "MSE, kept rows",
    "their MSE at d = 0",
    "share of the distance of unrelated problems",
)


def said_of(found: Invariance, behaviour: Behaviour | None = None, source: str = "this model") -> Said:
    """Return the findings: a picture, and the table behind it.

    Args:
        found: The curve.
        behaviour: The verdict on the model; None if it was not judged.
        source: The source of the answers.
    """
    index = [float(found.index[at]) for at, d in enumerate(found.shifts) if d and not math.isnan(found.index[at])]
    span = f"between {min(index):.3f} and {max(index):.3f}" if index else "nothing that can be told"
    finding = (
        "(x + d, y - d) has the same right answer. For problems that stay in range, the model's answers move by "
        f"{span} of the distance between unrelated problems (0 is invariant, 1 is as far as any two)."
    )
    rows = tuple(
        (
            f"{d:+d}",
            f"{found.mse[at]:.4g}",
            str(found.out_of_range[at]),
            str(found.changed_length[at]),
            str(found.kept[at]),
            *(_number(float(one[at])) for one in (found.kept_mse, found.kept_own_mse, found.index)),
        )
        for at, d in enumerate(found.shifts)
    )
    title = "Kept rows: in the range of the data, with every operand as long as before"
    return Said(
        name="invariance",
        title="Invariance under (x + d, y - d)",
        behaviour=behaviour,
        blocks=(
            Picture(
                "invariance",
                lambda: invariance_chart(found, behaviour),
                finding,
                f"Answers to (x + d) + (y - d), by {source}",
            ),
            Table(title, tuple(map(Column, _COLUMNS)), rows),
        ),
        shows="Whether problems with the same answer get the same answer.",
        does_not_show="Anything about rows out of range. The notebook's curve has numbers that the model never saw.",
    )


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}"
