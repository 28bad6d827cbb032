r"""Residues named anew, so that neighbours on a claimed circle are neighbours.

On a circle of frequency f the residue r is at the angle :math:`2 \pi f r / k`. Its neighbours there are not r - 1 and
r + 1, but the residues whose product with f is one less and one more. A state that is slightly off makes the answer a
neighbour on the circle that it is read from: next to right, and, of frequency 37 of 97, 21 residues away. So where a
circle is claimed, errors, shifts and turns are counted in *steps* round it: the residue r is named
:math:`m r \bmod k`, m coprime to k, which is a name for each. Of one frequency m is f, and the circle is then one of
frequency 1: what is measured does not depend on f. Of several, m is the one that makes them slowest. Exact answers and
the model's loss do not depend on names.
"""

import math
from collections.abc import Sequence


def step_of(frequencies: Sequence[int], period: int) -> int:
    """M, by which residues are multiplied, for a circle of some frequencies; 1 where none is slower.

    The slowest: the least sum of squares of the frequencies that the named residues have.

    >>> step_of([37], 97), step_of([1, 3, 5], 97), step_of([14, 37, 9], 97), step_of([2, 3], 6)
    (37, 1, 37, 1)
    """

    def sum_of_squares(step: int) -> int:
        return sum(one**2 for one in named_frequencies(frequencies, period, step))

    coprime = [step for step in range(1, period // 2 + 1) if math.gcd(step, period) == 1]
    return min(coprime, key=sum_of_squares, default=1)


def named_frequencies(frequencies: Sequence[int], period: int, step: int) -> tuple[int, ...]:
    """The frequencies of the circle of named residues, -k/2 to k/2: a negative one goes round the other way.

    >>> named_frequencies([37], 97, 37), named_frequencies([14, 37, 9], 97, 37), named_frequencies([2], 97, 1)
    ((1,), (3, 1, -5), (2,))
    """
    back = pow(step, -1, period)
    found = [one * back % period for one in frequencies]
    return tuple(one - period if 2 * one > period else one for one in found)
