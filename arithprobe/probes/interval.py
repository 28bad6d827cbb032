r"""The 95 % interval of a held-out R2: of these fitted probes, on fresh groups.

**What it covers.** The R2 that the probes at hand would have on rows of groups drawn anew, the mean over the folds'
probes: ``1 - E(errors) / Var(target)``. It is not the R2 that the whole procedure would reach on another data set of
this size: the probes that are read, taken out and moved are the fitted ones, the shuffled labels already say what the
procedure makes of nothing, and of the procedure's own variance K folds hold no unbiased estimate (Bengio and Grandvalet
2004, No unbiased estimator of the variance of K-fold cross-validation, JMLR 5).

**How.** With ``q = SSE / SST = 1 - R2``, the parts of its variance are

* between the folds, ``sum_k L_k^2 / (1 - h_k)`` with ``L_k = (SSE_k - q SST_k) / SST`` and h the fold's share of rows:
  cluster-robust, with the degrees of freedom of folds of unequal size (Bell and McCaffrey 2002, Bias reduction in
  standard errors for linear regression with multi-stage samples, Survey Methodology 28);
* what two folds vary together, ``F / (F - 1) 4 sum_{j != k} phi_kj phi_jk / SST^2``
  (:mod:`arithprobe.probes.fold_pairs`): each is scored by a probe that the other helped to fit, and what a fit leaves
  of its own rows is a little too small, hence the factor;
* of the mean of the targets, that SST has one of its own: ``2 q^2 / G^2`` for G groups.

SST is too small by one group in G, so the middle is ``q (1 - 1/G)``. The interval is Student's on the scale of
``log q``, with Satterthwaite's degrees of freedom: R2 near 0 is skewed downwards, and no R2 is above 1.
"""

from typing import NamedTuple

import torch
from scipy.special import stdtrit
from torch import Tensor

FEWEST_GROUPS = 15
"""With fewer groups, see :func:`groups_of`, there is no interval: it would not cover what it says."""
TOO_FEW_GROUPS = f"no interval: fewer than {FEWEST_GROUPS} groups"
"""What tables and files say then."""
ONE_FOLD = "no interval: one fold alone is held out"
"""What they say where nothing could be compared between folds."""


class Spread(NamedTuple):
    """An estimated variance."""

    variance: Tensor
    """(...)."""
    degrees: Tensor
    """Its degrees of freedom, of a shape that broadcasts to it."""


def groups_of(group: Tensor, valid: Tensor | None = None) -> Tensor:
    """(P,) float64 how many groups of equal size the rows are worth, ``N^2 / sum n_g^2``, at P positions.

    >>> groups_of(torch.tensor([3, 3, 5, 5, 7, 7])).tolist(), groups_of(torch.tensor([3, 3, 3, 3, 5])).tolist()
    ([3.0], [1.4705882352941178])

    Args:
        group: (N,) int64 groups.
        valid: (N, P) False where a row has no such position; one position that all have, by default.
    """
    kept = torch.ones(len(group), 1) if valid is None else valid
    _, index = torch.unique(group, return_inverse=True)
    sizes = torch.zeros(int(index.max()) + 1, kept.shape[1], dtype=torch.float64).index_add_(0, index, kept.double())
    return sizes.sum(dim=0).square() / sizes.square().sum(dim=0).clamp(min=1)


def between(parts: Tensor, share: Tensor) -> Spread:
    """Variance of an error of mean 0 that is a sum of independent parts, each a fold's or a group's.

    >>> parts, share = torch.tensor([[[1.0]], [[-1.0]]]), torch.full((2, 1), 0.5)
    >>> [one.tolist() for one in between(parts, share)]
    [[[4.0]], [[1.0]]]

    Args:
        parts: (F, C, T) contributions; they sum to 0.
        share: (F, C) share of the rows that each has, below 1.

    Returns:
        (C, T) variance, with (C, 1) degrees of freedom: F - 1 for parts of one size.
    """
    free = 1 - share
    odds = share / free
    crossed = (odds * share).sum(dim=0).square() - (odds * share).square().sum(dim=0)
    degrees = 1 / (share.square().sum(dim=0) + crossed)
    return Spread((parts.square() / free[..., None]).sum(dim=0), degrees[:, None])


def fold_covariance(pairs: Tensor, spread: Tensor) -> Tensor:
    """(C, T) what the errors of the folds vary together, see the head of this module.

    Args:
        pairs: (F, C, F, T) as :func:`arithprobe.probes.fold_pairs.fold_pairs` makes them.
        spread: (C, T) SST.
    """
    count = len(pairs)
    both = 4 * (pairs * pairs.transpose(0, 2)).sum(dim=(0, 2)) / spread.square()
    return both.clamp(min=0) * count / (count - 1)


def r2_interval(
    r2: Tensor, between_folds: Spread, groups: Tensor, together: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Both ends of the 95 % interval; NaN where there are fewer than :data:`FEWEST_GROUPS` groups.

    Args:
        r2: (C, T) held-out R2.
        between_folds: Variance between folds, or between groups of rows that one probe was scored on.
        groups: (C,) groups, see :func:`groups_of`.
        together: (C, T) what the folds vary together; nothing, by default.

    Returns:
        (C, T) lower and upper ends; the upper is below 1, or 1 where R2 is.
    """
    left, count = 1 - r2, groups[:, None]
    own, degrees = between_folds
    together = torch.zeros_like(own) if together is None else together
    of_mean = 2 * (left / count).square()
    variance = own + together + of_mean
    freedom = variance.square() / ((own.square() + together.square()) / degrees + of_mean.square() / (count - 1))
    quantile = torch.from_numpy(stdtrit(freedom.numpy(), 0.975))
    middle = left * (1 - 1 / count)
    factor = (quantile * variance.sqrt() / middle).exp()
    known = (count >= FEWEST_GROUPS) & ~torch.isnan(r2)
    low, high = (torch.where(left > 0, 1 - end, r2) for end in (middle * factor, middle / factor))
    return torch.where(known, low, torch.nan), torch.where(known, high, torch.nan)
