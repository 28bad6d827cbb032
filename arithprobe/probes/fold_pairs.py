r"""The covariance of two folds, each of which is scored by a probe that the other helped to fit.

Fold k is scored by the probe w of all other folds. With ``H`` the states of a fold and ``e`` what the probe leaves of
its targets, adding fold j to the rows of the fit moves the errors of fold k by ``-2 phi_kj``,

.. math:: \phi_{kj} = (H_k^T e_k)^T (H^T H + \alpha I)^{-1} (H_j^T e_j) + \frac{(1^T e_k) (1^T e_j)}{n},

to first order, and fold k those of fold j by ``-2 phi_jk``. Where little is read nearly all of a score's error is of
this kind, and every pair of folds makes it twice: an interval that takes the folds as independent is then too short by
up to the root of 2 (the degenerate case of Bayle et al. 2020, Cross-validation confidence intervals for test error,
https://arxiv.org/abs/2007.12671).
"""

from collections.abc import Sequence

import numpy as np

from arithprobe.probes.moments import Array, Moments, RidgePath


def fold_pairs(
    path: RidgePath,
    alpha: Array,
    weights: tuple[Array, Array],
    folds: Sequence[Moments],
    index: int,
    others: Sequence[int],
) -> Array:
    """Return the (C, H, K) ``phi_kj`` of the held-out fold with each of H folds; 0 with itself.

    Args:
        path: Fits of all folds but the one held out.
        alpha: (C, K) penalties of the fits.
        weights: (C, D, K) slopes and (C, K) intercepts.
        folds: The moments of every fold.
        index: The fold held out.
        others: The H folds that are held out in turn.
    """
    train = path.train
    own_sum, own = _left(folds[index], weights, train)
    moved = path.response(own, alpha)
    pairs = np.zeros((len(own), len(others), own.shape[2]))
    for place, other in enumerate(others):
        if other != index:
            other_sum, rest = _left(folds[other], weights, train)
            through_slope = np.einsum("cdk,cdk->ck", moved, rest)
            pairs[:, place] = through_slope + own_sum * other_sum / np.maximum(train.n, 1)[:, None]
    return pairs


def _left(fold: Moments, weights: tuple[Array, Array], train: Moments) -> tuple[Array, Array]:
    """(C, K) sums of what a probe leaves of a fold's targets, and (C, D, K) of its products with the states.

    The states are centred at the mean of the training rows.
    """
    slope, intercept = weights
    count = intercept.shape[1]
    offset = fold.mean_targets[:, :count] - intercept - (fold.mean_states[:, None] @ slope)[:, 0]
    sums = fold.n[:, None] * offset
    away = (fold.mean_states - train.mean_states)[:, :, None]
    return sums, fold.centred_cross[..., :count] - fold.centred_gram @ slope + away * sums[:, None]
