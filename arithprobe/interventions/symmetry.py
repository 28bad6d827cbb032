"""Symmetry tests: whether the model treats problems alike exactly when arithmetic does.

Three changes of a problem are tested, each with the shift of the answer that arithmetic demands: ``(x + d, y - d)``
must change nothing; ``(x + d, y)`` must move the answer by d; and with a modulus, ``(x + k, y)`` must change nothing,
where a model of the plain sum would move by k. Only problems that stay inside the range of the data, and keep their
layout, are compared, written as the data writes them (:mod:`arithprobe.data.rewriting`). The original notebook's curve
also feeds negative numbers, with a sign the model never saw, and prompts of another length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from arithprobe.behaviour import difference
from arithprobe.interventions.part import Part
from arithprobe.interventions.patching import FEWEST, Recovered, has_partner, recovered_fraction


@dataclass(frozen=True)
class SymmetryTest:
    """The response of outputs and states to one change of the problems."""

    change: str
    """Name of the change of the problems."""
    d: int
    """Amount that the operands are changed by."""
    n: int
    """Problems that stay in range and keep their layout; of a model that answers numbers, those whose answer does not
    wrap around."""
    demanded: float
    """Shift of the answer that arithmetic demands (round the circle the shorter way)."""
    response: Recovered
    """Mean shift of the model's answer with its interval, as a multiple of d."""
    distance: float
    """Mean distance of the answer from where it should have moved, in answer units."""
    unrelated: float
    """Mean distance between the answers to two unrelated problems: what ``distance`` has to be compared with."""
    hidden: dict[str, float]
    """Mean squared distance of the two states at the last token, over that of unrelated problems, by site."""


def symmetry_tests(part: Part, donors: Tensor, steps: Sequence[int] | None = None) -> list[SymmetryTest]:
    """Test every change by every amount that leaves at least two problems to compare.

    Args:
        part: Network and rows.
        donors: (N,) an unrelated row of the same layout for each.
        steps: The amounts, to both sides; those that the rows suggest by default.
    """
    signed = None if steps is None else sorted({sign * step for step in steps for sign in (-1, 1)})
    whole_turn = part.modulus is not None and (-part.modulus, part.modulus)
    found = (
        _test(part, donors, change, d)
        for change, amounts in part.dataset.changes
        for d in (amounts if signed is None or amounts == whole_turn else signed)
    )
    return [one for one in found if one is not None]


def _test(part: Part, donors: Tensor, change: str, d: int) -> SymmetryTest | None:
    changed = part.dataset.changed(change, d, part.rows)
    if changed is None:
        return None
    kept, rows, amount, whole_turn = changed
    circle = None if whole_turn else part.circle  # round the circle, a shift by k would be none
    straight = torch.arange(len(rows))
    if part.circle is None:  # a number that wraps around moves by another amount
        straight = (rows.answers - part.answers[kept] == amount).nonzero()[:, 0]
    if len(straight) < FEWEST:
        return None
    kept = kept[straight]
    other = Part(part.network, part.objective, rows, straight, part.constant, ())
    own = part.predictions
    shift = difference(other.predictions, own[kept], circle)
    demanded = difference(other.answers.double(), part.answers[kept].double(), circle)
    between = difference(own[donors], own, circle)[has_partner(donors)]
    return SymmetryTest(
        change=change,
        d=d,
        n=len(kept),
        demanded=float(demanded[0]),
        response=recovered_fraction(shift, torch.full_like(shift, d), part.group[kept]),
        distance=float(difference(shift, demanded, circle).abs().mean()),
        unrelated=float(between.abs().mean()),
        hidden={site: _apart(part, other, site, kept, donors) for site in part.network.residual_sites},
    )


def _apart(part: Part, other: Part, site: str, kept: Tensor, donors: Tensor) -> float:
    own, moved = (one.at_last(site) for one in (part, other))
    paired = has_partner(donors)
    unrelated = (own[donors] - own)[paired].square().sum(dim=1).mean()
    return float((moved - own[kept]).square().sum(dim=1).mean() / unrelated) if unrelated > 0 else float("nan")
