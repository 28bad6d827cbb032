r"""Answers as points, so that their changes have a direction: numbers on a line, residues on circles.

A residue r of k is :math:`e^{2 \pi i f r / k}` for each frequency f. For a network with a score for each residue, the
point is the mean of these points by its softmax probabilities: an undecided answer is near 0, the mean of all residues.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from arithprobe.interventions.part import Part
from arithprobe.probes.variables import Variable
from arithprobe.problems.circles import Circle


def points_of(part: Part, outputs: Tensor, circle: Circle | None) -> Tensor:
    """Return the (M, N, F) complex points of (M, N, K) outputs; for plain sums, the (M, N, 1) answers themselves.

    Args:
        part: The rows.
        outputs: (M, N, K) outputs.
        circle: The circle whose F frequencies count; one turn per period by default.
    """
    k, objective = part.modulus, part.objective
    if k is None:
        return part.answers_of(outputs)[..., None].to(torch.complex128)
    frequencies = _frequencies(k, circle)
    if objective.residues and objective.only_differences and outputs.shape[-1] == k:
        return outputs.cpu().double().softmax(dim=-1).to(torch.complex128) @ _points(torch.arange(k), k, frequencies)
    decoded = objective.decode(outputs.flatten(0, 1)).view(outputs.shape[:2]).cpu()
    return _points(decoded, k, frequencies)


def demanded_change(part: Part, variable: Variable, own: Tensor) -> Tensor | None:
    """Return the (N, F) change of the answers' points that arithmetic demands when a part of a variable is removed.

    For residues it is the change of the network's own points, which are shorter if the network is not sure.

    Args:
        part: The rows.
        variable: The variable.
        own: (N, K) part that is subtracted from its columns.

    Returns:
        Before minus after; None if arithmetic does not say.
    """
    rows, k = part.dataset, part.modulus
    per_unit = rows.per_unit(variable.name)
    if k is None:
        return None if per_unit is None else (per_unit * own[:, :1]).to(torch.complex128)
    before = points_of(part, part.outputs[None], variable.circle)[0]
    if per_unit is not None:
        shift: Tensor = torch.polar(torch.ones_like(own[:, :1]), -2 * math.pi * per_unit * own[:, :1] / k)
        return before * (1 - shift)
    known = rows.counterfactual(variable.name, part.rows[:1], part.rows[:1]) is not None
    if variable.circle is None or variable.circle.period != k or not known:
        return None
    turned = torch.complex(variable.columns[part.rows][:, ::2], variable.columns[part.rows][:, 1::2])
    return before * turned.conj() * torch.complex(own[:, ::2], own[:, 1::2])  # the rest of the problem stays


def _frequencies(k: int, circle: Circle | None) -> Sequence[int]:
    return (1,) if circle is None or circle.period != k else circle.frequencies


def _points(residues: Tensor, k: int, frequencies: Sequence[int]) -> Tensor:
    angles = 2 * math.pi * residues.double()[..., None] * torch.tensor(frequencies, dtype=torch.float64) / k
    return torch.polar(torch.ones_like(angles), angles)
