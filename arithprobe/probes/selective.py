r"""A permutation test with networks as draws: whether a claim is read better than from untrained networks.

The null hypothesis is that the network is one more untrained draw. Then it and its M untrained twins, all read on the
same rows and folds, are exchangeable, whatever their R2; so is any number computed from all of them alike. R2 values do
not compare across cells (untrained networks read the sum with 0.99 and a frequency with 0.00), so

1. each becomes the information that the probe finds, ``I = -log(1 - max(R2, 0)) / 2``, in nats (of jointly normal
   variables, Cover and Thomas 2006, equation 8.57): 0.998 beside 0.98 is more than 0.02 beside 0.00;
2. in each cell it is counted in standard deviations of the 1 + M networks above their mean, of :data:`NATS` at least,
   so that where nothing is read no noise is large;
3. the p-value of a cell is ``(1 + #{twins whose largest height over all cells >= the network's there}) / (1 + M)``.

With the largest height, the chance that an untrained network has any p of 0.05 or less, over all claims, sites and
frequencies together, is at most 0.05 (max statistic; Westfall and Young 1993). With fewer than 19 twins no p is so low.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.logic import FEWEST_DRAWS
from arithprobe.probes.metrics import permutation_p

FEWEST_TWINS = FEWEST_DRAWS
"""Untrained networks without which nothing is called selective."""
NATS = 0.01
"""The least standard deviation between networks; 0.02 of R2 near 0, a fiftieth of what is left near 1."""
_NEXT_TO_ONE = 1 - 1e-12


class Untrained(NamedTuple):
    """The comparison of a claim with untrained networks; (F, S) each."""

    own: Tensor
    """R2 of the network, on the rows that all of them are compared on."""
    highest: Tensor
    """The highest R2 of an untrained network; NaN without any."""
    p: Tensor
    """p-value over all cells of all claims; NaN without any."""
    twins: int
    """Untrained networks M."""


def beside_untrained(own: Sequence[Tensor], twins: Sequence[Sequence[Tensor]]) -> tuple[Untrained, ...]:
    """Compare each claim with untrained networks.

    >>> twins = [torch.tensor([[0.1 + number / 100]]) for number in range(19)]
    >>> (found,) = beside_untrained([torch.tensor([[0.9]])], [twins])
    >>> found.p.item(), round(found.highest.item(), 2)
    (0.05, 0.28)

    Args:
        own: (F, S) R2 of the network, claim by claim: one family.
        twins: (F, S) R2 of each of the M untrained networks, claim by claim; of the same rows and folds.
    """
    count = len(twins[0]) if twins else 0
    if not count:
        return tuple(Untrained(one, one * torch.nan, one * torch.nan, 0) for one in own)
    every = [torch.stack([one, *others]) for one, others in zip(own, twins, strict=True)]  # (1 + M, F, S) each
    heights = [_heights(one) for one in every]
    largest = torch.stack([one[1:].flatten(1).amax(dim=1) for one in heights]).amax(dim=0)  # (M,)
    return tuple(
        Untrained(r2[0], r2[1:].nan_to_num(nan=-torch.inf).amax(dim=0), permutation_p(height[0], largest), count)
        for r2, height in zip(every, heights, strict=True)
    )


def _heights(r2: Tensor) -> Tensor:
    """(1 + M, F, S) information in standard deviations over all networks above their mean."""
    nats = -(1 - r2.double().nan_to_num(nan=0.0).clamp(0.0, _NEXT_TO_ONE)).log() / 2
    return (nats - nats.mean(dim=0)) / nats.std(dim=0, correction=0).clamp(min=NATS)
