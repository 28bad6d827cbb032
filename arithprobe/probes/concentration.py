"""Two scale-free measures of whether few of F frequencies carry a spectrum."""

import torch
from torch import Tensor


def gini(sizes: Tensor) -> float:
    r"""Gini coefficient ``sum_i (2 i - n - 1) x_i / (n sum x)`` of ascending sizes: 0 if equal, ``1 - 1/n`` for one.

    >>> gini(torch.tensor([1.0, 1.0, 1.0, 1.0])), gini(torch.tensor([0.0, 0.0, 0.0, 3.0]))
    (0.0, 0.75)

    Args:
        sizes: (n,) sizes; negative ones count as 0.

    Returns:
        The coefficient; NaN if all are 0 or one is NaN.
    """
    ordered = sizes.double().clamp(min=0).sort().values
    rank = 2 * torch.arange(1, len(ordered) + 1) - len(ordered) - 1
    return float((rank * ordered).sum() / (len(ordered) * ordered.sum()))


def participation_ratio(powers: Tensor) -> float:
    """Inverse participation ratio, ``sum p^2 / (sum p)^2`` of squared amplitudes p (Gromov 2023, arXiv:2301.02679).

    It is 1 if one frequency has all power, and 1/n if n share it: its inverse counts the frequencies that carry power.

    >>> participation_ratio(torch.tensor([0.0, 2.0, 2.0, 0.0]))
    0.5

    Args:
        powers: (n,) squared amplitudes; negative ones count as 0.

    Returns:
        The ratio; NaN if all are 0 or one is NaN.
    """
    kept = powers.double().clamp(min=0)
    return float(kept.square().sum() / kept.sum().square())
