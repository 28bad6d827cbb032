"""The result of :func:`arithprobe.analysis.invariance.invariance`: the answers under ``(x + d, y - d)``."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Invariance:
    """The change of the answers under K shifts ``(x + d, y - d)``, which leave ``x + y`` the same.

    It has two curves: one of all N problems, whatever they turn into, as the original notebook drew it; and one of only
    those that stay in the range of the data and in their layout. Leading zeros of the data are kept.
    """

    shifts: tuple[int, ...]
    """K values of d."""
    n: int
    """N problems."""
    operands: tuple[int, int]
    """Smallest and largest operand of the data."""
    circle: int | None
    """k where the model answers residues and distances go round the circle, else None."""
    own_mse: float
    """Mean squared error of the answers to the problems themselves, in answer units squared."""
    mse: Tensor
    """(K,) float64: the same of all shifted problems, against the answer of the problem that was shifted. NaN where a
    prompt is longer than the model's position table."""
    out_of_range: tuple[int, ...]
    """(K) shifted problems with an operand that is outside ``operands``, such as a negative one."""
    changed_length: tuple[int, ...]
    """(K) shifted problems whose prompt has more or fewer characters than before."""
    kept: tuple[int, ...]
    """(K) problems that stay in range and in their layout: each operand has as many digits as before."""
    kept_mse: Tensor
    """(K,) float64: mean squared error of those, shifted; NaN where fewer than 10 are kept."""
    kept_own_mse: Tensor
    """(K,) float64: mean squared error of the same problems before the shift."""
    unrelated: float
    """Mean distance of the answers to two unrelated problems, in answer units; NaN for one problem."""
    index: Tensor
    """(K,) float64, I_d: mean distance of the two answers of each problem kept, over ``unrelated``. 0 if the shift
    changes nothing, about 1 if it changes as much as another problem does. NaN where fewer than 10 are kept, or where
    the model answers everything alike, so that nothing could be told."""
