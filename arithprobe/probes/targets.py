"""What a probe looks for: quantities of a problem, by name.

========================  ==============================================================
``x``, ``y``, ``sum``     the operands and their sum
``residue``               the sum modulo k
``x100``, ``y10``, ...    a digit of x or y, by place value
``sum1``, ``sum1000`` ..  a digit of the sum
``carry1``, ``carry10``   the carry out of the units column, the tens column, ...
========================  ==============================================================
"""

import re

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError, did_you_mean
from arithprobe.problems import carry, digit

_PLACED = re.compile(r"(x|y|sum|carry)(10*)")


def target_names(largest: int, modulus: int | None) -> tuple[str, ...]:
    """All targets of a data set.

    >>> target_names(99, None)
    ('x', 'y', 'sum', 'x1', 'x10', 'y1', 'y10', 'sum1', 'sum10', 'sum100', 'carry1', 'carry10')

    Args:
        largest: Largest operand.
        modulus: The modulus, or None for plain sums.
    """
    places = [10**power for power in range(len(str(largest)))]
    names = ["x", "y", "sum"] + (["residue"] if modulus is not None else [])
    names += [f"{operand}{place}" for operand in ("x", "y") for place in places]
    names += [f"sum{place}" for place in (*places, 10 * places[-1])]
    return (*names, *(f"carry{place}" for place in places))


def target_values(name: str, x: Tensor, y: Tensor, modulus: int | None) -> Tensor:
    """The values of a target.

    >>> target_values("carry1", torch.tensor([57, 50]), torch.tensor([65, 41]), None).tolist()
    [1.0, 0.0]

    Args:
        name: Its name.
        x: (N,) int64 first operands.
        y: (N,) int64 second operands.
        modulus: The modulus, or None for plain sums.

    Returns:
        (N,) float64.

    Raises:
        ArithprobeError: If there is no such target in this data, or it has the same value in every row: no probe can be
            scored on a constant.
    """
    values = _values(name, x, y, modulus)
    if len(values) and bool((values == values[0]).all()):
        raise ArithprobeError(f"target {name!r} is {values[0].item()} in every row; a constant cannot be probed")
    return values.to(torch.float64)


def _values(name: str, x: Tensor, y: Tensor, modulus: int | None) -> Tensor:
    total = x + y
    whole = {"x": x, "y": y, "sum": total}
    if name in whole:
        return whole[name]
    if name == "residue" and modulus is not None:
        return total % modulus
    placed = _PLACED.fullmatch(name)
    names = target_names(max(int(x.max()), int(y.max())), modulus)
    if placed is None or name not in names:
        meant = did_you_mean(name, names)
        raise ArithprobeError(f"no target {name!r} in this data{meant} (targets: {', '.join(names)})")
    place = int(placed[2])
    return carry(x, y, place) if placed[1] == "carry" else digit(whole[placed[1]], place)
