r"""The 95 % interval of a held-out R2: of these fitted probes, on fresh groups.

**What it covers.** The R2 that the probes at hand would have on rows of groups drawn anew, the mean over the folds'
probes: ``1 - E(errors) / Var(target)``. It is not the R2 that the whole procedure would reach on another data set of
this size: the probes that are read, taken out and moved are the fitted ones, the shuffled labels already say what the
procedure makes of nothing, and of the procedure's own variance K folds hold no unbiased estimate (Bengio and Grandvalet
2004, No unbiased estimator of the variance of K-fold cross-validation, JMLR 5).

**How.** With ``q = SSE / SST = 1 - R2``, ``L_k = (SSE_k - q SST_k) / SST`` and h the share of rows of fold k, the parts
of its variance are

* between the folds, ``sum_k L_k^2 / (1 - h_k)``: cluster-robust, with the degrees of freedom of folds of unequal size
  (Bell and McCaffrey 2002, Bias reduction in standard errors for linear regression with multi-stage samples, Survey
  Methodology 28);
* what two folds vary together, ``F / (F - 1) 4 sum_{j != k} phi_kj phi_jk / SST^2``
  (:mod:`arithprobe.probes.fold_pairs`): each is scored by a probe that the other helped to fit, and what a fit leaves
  of its own rows is a little too small, hence the factor;
* of the mean of the targets, of which the held-out rows, those of the fit and SST have each their own: ``2 q^2 / G^2``
  for G groups.

The middle is ``q (1 - 1/G) + sum_k L_k (SST_k / SST - h_k) / (1 - h_k)``: SST is too small by one group in G, and a
quotient is biased where its parts vary apart (Cochran 1977, Sampling techniques, 6.8). The interval is Student's on the
scale of ``log q``, with Satterthwaite's degrees of freedom: R2 is skewed downwards, and never above 1.
"""

import torch
from scipy.special import stdtrit
from torch import Tensor

FEWEST_GROUPS = 15
"""With fewer groups, rounded, see :func:`groups_of`, there is no interval: it would not cover what it says."""
_ROUNDING = 1e-10  # share of the deviations below which errors are those of rounding: they say nothing of their spread
TOO_FEW_GROUPS = f"no interval: fewer than {FEWEST_GROUPS} groups"
"""What tables and files say then."""
ONE_FOLD = "no interval: one fold alone is held out"
"""What they say where nothing could be compared between folds."""


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
    errors: Tensor, spread: Tensor, share: Tensor, groups: Tensor, together: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Both ends of the 95 % interval; NaN with fewer than :data:`FEWEST_GROUPS` groups, or all rows in one part.

    Args:
        errors: (F, C, T) squared errors of F folds, or of F groups that one probe was scored on.
        spread: (F, C, T) squared deviations of their targets from the mean of all.
        share: (F, C) share of the rows that each has.
        groups: (C,) groups, see :func:`groups_of`.
        together: (C, T) what the folds vary together; nothing of one probe, in whose fit none of these rows had a part.

    Returns:
        (C, T) lower and upper ends.
    """
    whole, count, free = spread.sum(dim=0), groups[:, None], 1 - share
    left = errors.sum(dim=0) / whole
    parts = (errors - left * spread) / whole
    own = (parts.square() / free[..., None]).sum(dim=0)
    together = torch.zeros_like(own) if together is None else together
    of_mean = 2 * (left / count).square()
    variance = own + together + of_mean
    degrees = (own.square() + together.square()) / _degrees(share)[:, None] + of_mean.square() / (count - 1)
    quantile = torch.from_numpy(stdtrit((variance.square() / degrees).numpy(), 0.975))
    uneven = (parts * (spread / whole - share[..., None]) / free[..., None]).sum(dim=0)
    middle = torch.maximum(left * (1 - 1 / count) + uneven, left / 2)  # of few groups it is itself uncertain
    factor = (quantile * variance.sqrt() / middle).exp()
    known = (count.round() >= FEWEST_GROUPS) & (share.amax(dim=0) < 1)[:, None]
    low, high = (torch.where(left > _ROUNDING, 1 - end, 1 - left) for end in (middle * factor, middle / factor))
    return torch.where(known, low, torch.nan), torch.where(known, high, torch.nan)


def _degrees(share: Tensor) -> Tensor:
    """(C,) degrees of freedom of the variance between (F, C) parts whose variances are as their shares; F - 1 if equal.

    ``tr(M)^2 / tr(M^2)`` of ``M = P D P``, with ``P = I - sqrt(h) sqrt(h)^T`` and ``D = diag(h / (1 - h))``.
    """
    kept = share.square() / (1 - share)
    return 1 / (share.square().sum(dim=0) + kept.sum(dim=0).square() - kept.square().sum(dim=0))
