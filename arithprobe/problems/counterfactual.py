"""What the right answer would be if one quantity of a problem were another problem's."""

import math

from torch import Tensor

from arithprobe.problems.circles import planes_of
from arithprobe.problems.grammar import carry, digit
from arithprobe.problems.quantities import PERIODIC, PLACED, Sums, number_in


def counterfactual(target: str, base: Sums, source: Sums) -> Tensor | None:
    """The (N,) int64 answers to base problems in which the target has the source's value.

    >>> import torch
    >>> base, source = Sums(torch.tensor([57]), torch.tensor([65])), Sums(torch.tensor([12]), torch.tensor([30]))
    >>> [counterfactual(name, base, source).item() for name in ("x", "sum", "x10", "carry1")]
    [77, 42, 82, 112]

    Args:
        target: A quantity, see :mod:`arithprobe.problems.quantities`; or planes of a circle.
        base: N problems whose other quantities stay.
        source: N problems that the target comes from.

    Returns:
        The answers, or None where the target alone does not say what they would be (a period of the sum).

    Raises:
        ArithprobeError: If a number in the target's name is longer than any of a problem.
    """
    x, y, modulus, from_x, from_y = base.x, base.y, base.modulus, source.x, source.y
    total, from_total = base.total, source.total
    placed = PLACED.fullmatch(target)
    if target in ("x", "y"):
        total = from_x + y if target == "x" else x + from_y
    elif target in ("sum", "residue") or (fixed := _fixed(target, modulus)) in ("sum", "residue"):
        total = from_total
    elif fixed is not None:
        total = from_x + y if fixed == "x" else x + from_y
    elif placed is not None:
        place = number_in(target, placed[2])
        if placed[1] == "carry":
            total = total + 10 * place * (carry(from_x, from_y, place) - carry(x, y, place))
        else:
            own, others = {"x": (x, from_x), "y": (y, from_y), "sum": (total, from_total)}[placed[1]]
            total = total + place * (digit(others, place) - digit(own, place))
    else:
        return None
    return total if modulus is None else total % modulus


def _fixed(target: str, modulus: int | None) -> str | None:
    """The quantity of which a target tells all values modulo k apart: the frequency f2 of 10 tells only those of 5."""
    periodic, planes = PERIODIC.fullmatch(target), planes_of(target)
    if periodic is not None and periodic[3] is None and number_in(target, periodic[2]) == modulus:
        return periodic[1]
    if planes is None or planes.period != modulus or math.gcd(modulus, *planes.frequencies) > 1:
        return None
    return planes.quantity


def answer_per_unit(target: str) -> float | None:
    """How much the answer rises when the target rises by 1; None where that is not one number.

    >>> answer_per_unit("sum"), answer_per_unit("y100"), answer_per_unit("carry10"), answer_per_unit("summod4")
    (1.0, 100.0, 100.0, None)
    """
    placed = PLACED.fullmatch(target)
    if placed is not None:
        return float(number_in(target, placed[2])) * (10 if placed[1] == "carry" else 1)
    return 1.0 if target in ("x", "y", "sum", "residue") else None
