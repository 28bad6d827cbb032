"""The certificate of an erasure: what probes still read, on rows that neither eraser nor probe was fitted on."""

import numpy as np
import torch
from torch import Tensor

from arithprobe.interventions.erasure import Eraser
from arithprobe.linalg import Array
from arithprobe.probes.metrics import r2_of_sums
from arithprobe.probes.mlp import MLPSettings, fit_ensemble
from arithprobe.probes.mlp_scores import score_of
from arithprobe.probes.moments import ALPHAS, AlphaChoice, Moments, alpha_choice
from arithprobe.probes.splits import fold_of

_STOP_FOLDS = 10  # of the training groups; one decides when an MLP stops


def erased_moments(eraser: Eraser, moments: Moments) -> Moments:
    """Return the moments of the (P,) cells' erased states, from those of the intact states."""
    left, right, mean = (part.numpy() for part in (eraser.left, eraser.right, eraser.mean))
    positions, d = mean.shape
    taken = left @ np.swapaxes(right, 1, 2)  # (P, D, D)
    matrix = np.zeros((positions, 1 + d, 1 + d))
    matrix[:, 0, 0] = 1.0
    matrix[:, 0, 1:] = (taken @ mean[..., None])[..., 0]
    matrix[:, 1:, 1:] = np.eye(d) - np.swapaxes(taken, 1, 2)
    return moments.mapped(matrix)


def linear_r2(train: Moments, test: Moments, choice: AlphaChoice | None = None) -> Array:
    """The (C,) held-out R2 of ridge probes of the K columns together; NaN with fewer than two rows.

    Args:
        train: Moments of the rows to fit on.
        test: Moments of the rows to score on.
        choice: Penalties; by default those of all probes.
    """
    path, alpha = (choice or alpha_choice(ALPHAS)).fit(train, [])
    errors, spread, squares = test.errors(*path.weights(alpha)), test.spread, test.squares
    sums = [torch.from_numpy(part.sum(axis=1)) for part in (errors, spread, squares)]
    r2 = r2_of_sums(*sums).numpy()
    return np.where((train.n >= 2) & (test.n >= 2), r2, np.nan)


def mlp_r2(
    states: Tensor, labels: Tensor, site: Tensor, group: Tensor, train: Tensor, settings: MLPSettings | None = None
) -> Tensor:
    """The (M,) held-out R2 of M MLP probes, trained at once.

    Args:
        states: (S, N, D) states of all rows, at S places.
        labels: (M, N) float64 labels of each probe.
        site: (M,) int64 place that each probe reads.
        group: (N,) int64 groups; the probe stops by the loss on training groups kept aside.
        train: (N,) bool rows to fit on; the others are scored.
        settings: Shape and training of the probes.
    """
    stop = train & (fold_of(group, _STOP_FOLDS) == _STOP_FOLDS - 1)
    fitted = fit_ensemble(states.float(), site, labels, None, train & ~stop, stop, settings or MLPSettings())
    truth = labels[:, ~train]
    return score_of(fitted.predict(states[:, ~train].float()), truth, "regression")
