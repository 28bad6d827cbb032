r"""Renamed residues, whose neighbours on a claimed circle are neighbouring numbers.

On a circle of frequency f the residue r is at the angle :math:`2 \pi f r / k`. Its neighbours there are not r - 1 and
r + 1, but the residues whose product with f is one less and one more. A state that is slightly off makes the answer a
neighbour on the circle that it is read from: nearly right, and yet, for frequency 37 of 97, 21 residues away. So if a
circle is claimed, shifts and turns are counted in *steps* round it: the residue r is named :math:`m r \bmod k`, with m
coprime to k, so that each has its own name. For one frequency m is f, and the circle then has frequency 1: measurements
do not depend on f. For several, m is the frequency with which the others are slowest. Exact answers and the model's
loss do not depend on names.

Errors are angles at the claimed frequencies: an error of e steps counts as the squared chord
:math:`2 (1 - \cos 2 \pi f e / k)`, averaged over f, times :math:`(k / 2 \pi)^2`, so that small errors are in steps.
Skill is then the mean cosine of the error, minus that of a guess.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def step_of(frequencies: Sequence[int], period: int) -> int:
    """Return the multiplier m of residues, for a circle of some frequencies.

    It is the frequency, among those coprime to k, with which the others are slowest: with the least sum of squares. It
    is 1 if there is none.

    >>> step_of([37], 97), step_of([1, 3, 5], 97), step_of([14, 37, 9], 97), step_of([2, 3], 6)
    (37, 1, 37, 1)
    """

    def sum_of_squares(step: int) -> int:
        return sum(one**2 for one in named_frequencies(frequencies, period, step))

    coprime = [one for one in sorted(frequencies) if math.gcd(one, period) == 1]
    return min(coprime, key=sum_of_squares, default=1)


def named_frequencies(frequencies: Sequence[int], period: int, step: int) -> tuple[int, ...]:
    """Return the frequencies of the circle of named residues, -k/2 to k/2; a negative one goes round the other way.

    >>> named_frequencies([37], 97, 37), named_frequencies([14, 37, 9], 97, 37), named_frequencies([2], 97, 1)
    ((1,), (3, 1, -5), (2,))
    """
    back = pow(step, -1, period)
    found = [one * back % period for one in frequencies]
    return tuple(one - period if 2 * one > period else one for one in found)


def chords(errors: Tensor, frequencies: Sequence[int], period: int) -> Tensor:
    """Return the squared chords of errors in steps, averaged over frequencies; they are in squared steps.

    >>> [round(one, 3) for one in chords(torch.tensor([0.0, 1.0, 48.5]).double(), [1], 97).tolist()]
    [0.0, 1.0, 953.331]
    """
    angles = 2 * math.pi / period * errors[..., None] * torch.tensor(frequencies, dtype=errors.dtype)
    return 2 * (1 - angles.cos()).mean(dim=-1) * (period / (2 * math.pi)) ** 2
