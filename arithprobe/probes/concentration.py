"""Is a spectrum carried by few frequencies? Two measures of F numbers that do not depend on their scale."""

import torch
from torch import Tensor


def gini(sizes: Tensor) -> float:
    r"""Gini coefficient, ``sum_i (2 i - n - 1) x_i / (n sum x)`` of ascending sizes: 0 all alike, ``1 - 1/n`` only one.

    >>> gini(torch.tensor([1.0, 1.0, 1.0, 1.0])), gini(torch.tensor([0.0, 0.0, 0.0, 3.0]))
    (0.0, 0.75)

    Args:
        sizes: (n,) sizes; what is below 0 counts as 0.

    Returns:
        The coefficient; NaN where all are 0 or one is NaN.
    """
    ordered = sizes.double().clamp(min=0).sort().values
    rank = 2 * torch.arange(1, len(ordered) + 1) - len(ordered) - 1
    return float((rank * ordered).sum() / (len(ordered) * ordered.sum()))


def participation_ratio(powers: Tensor) -> float:
    """Inverse participation ratio, ``sum p^2 / (sum p)^2`` of squared amplitudes p (Gromov 2023, arXiv:2301.02679).

    1 where one frequency has all power, 1/n where n share it: its inverse counts the frequencies that carry it.

    >>> participation_ratio(torch.tensor([0.0, 2.0, 2.0, 0.0]))
    0.5

    Args:
        powers: (n,) squared amplitudes; what is below 0 counts as 0.

    Returns:
        The ratio; NaN where all are 0 or one is NaN.
    """
    kept = powers.double().clamp(min=0)
    return float(kept.square().sum() / kept.sum().square())
