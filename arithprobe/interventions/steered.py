"""Steering of a variable at every position where it can be read, along the patterns of its probes there."""

from collections.abc import Sequence

import numpy as np

from arithprobe.interventions.part import Part
from arithprobe.interventions.refitted import patterns_of
from arithprobe.interventions.steering import steer_circle, steer_line
from arithprobe.interventions.steering_curve import SteeringCurve
from arithprobe.linalg import Array
from arithprobe.probes.moments import AlphaChoice, Moments
from arithprobe.probes.variables import Variable
from arithprobe.problems.positions import PositionTable

_STEERABLE = 0.25  # held-out R2 below which a variable is not steered: its pattern would be mostly noise


def steer(
    part: Part,
    site: str,
    table: PositionTable,
    variable: Variable,
    expected: float | None,
    r2: Array,
    fits: Sequence[Moments],
    choice: AlphaChoice,
    *,
    draws: int,
    seed: int,
) -> SteeringCurve | None:
    """Return the response to moving a variable.

    Args:
        part: Model and rows.
        site: The site.
        table: (N, P) positions of the rows.
        variable: The variable that is moved.
        expected: Rise of the answer for +1; None if that is not one number.
        r2: (P,) R2 of the variable.
        fits: Moments of the rows to fit on, with its columns, and moments without each block of sums.
        choice: Ridge penalties of the probes.
        draws: Random patterns as controls.
        seed: Seed of the random patterns.

    Returns:
        The curve, or None if the variable is hardly readable, or the expected answer is unknown.
    """
    circle = variable.circle if variable.circle is not None and variable.circle.period == part.modulus else None
    readable = np.flatnonzero(np.nan_to_num(r2, nan=0.0) >= _STEERABLE).tolist()
    if not readable or (expected is None and circle is None):
        return None
    own, *refits = (patterns_of(one, readable, choice) for one in fits)
    chosen = PositionTable(
        tuple(table.names[position] for position in readable), table.token[:, readable], table.valid[:, readable]
    )
    if circle is not None:
        turned = (circle.period, circle.frequencies)
        return steer_circle(part, site, chosen, variable.name, own, *turned, draws=draws, seed=seed, refits=refits)
    spread, lines = float(variable.columns[part.rows].std(correction=0)), [one[2][..., 0] for one in (own, *refits)]
    return steer_line(
        part,
        site,
        chosen,
        variable.name,
        lines[0],
        spread,
        float(expected or 0.0),
        draws=draws,
        seed=seed,
        refits=lines[1:],
    )
