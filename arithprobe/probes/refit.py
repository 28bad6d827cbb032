r"""Refitted readouts: the linear information that is left once directions are removed.

The original notebook projects a probe's directions out of the states and *refits* a ridge readout of the answer. That
measures the linear information that is left, not what the model uses: its own readout is never run. Here directions and
readout are fitted on some rows and scored on others, and random subspaces of the same dimension are the control. Both
have a penalty of at least 10 mean variances of the state (:data:`~arithprobe.probes.moments.STEADY`): with almost no
penalty, a readout finds the remainder of a direction in any network without noise, even a millionth of it.

With a projector :math:`P = I - U U^T` the moments of projected states are ``P G P`` and ``P c``, so no state is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arithprobe.linalg import orthonormal_basis, random_subspaces
from arithprobe.probes.moments import AlphaChoice, Array, Moments, alpha_choice
from arithprobe.probes.parallel import one_thread_each
from arithprobe.probes.survey import RidgeSurvey


@dataclass(frozen=True)
class RefitCurve:
    """Held-out error of a refitted readout after removing growing subspaces, at the last token of one site."""

    site: str
    """Name of the site, such as ``resid_post.1``."""
    columns: tuple[int, ...]
    """Probe columns whose directions are removed, at each of M points."""
    dimension: tuple[int, ...]
    """Dimensions removed."""
    base_mse: float
    """Squared error of the readout of intact states, in squared answer units."""
    delta_mse: tuple[float, ...]
    """Increase of it, at each point."""
    random_delta_mse: tuple[tuple[float, ...], ...]
    """The same for random subspaces of that dimension, some draws a point."""
    answer_variance: float
    """Variance of the answers: what a constant would leave."""


def refit_curve(survey: RidgeSurvey, site: str, columns: Sequence[int], draws: int = 20, seed: int = 0) -> RefitCurve:
    """Remove the directions of the first columns of a survey, refit the last column (the answer), and score held out.

    Args:
        survey: Moments of probe columns and, as its last target, of the answer; with the position ``last``.
        site: The site.
        columns: The number of leading columns that are removed, at each point.
        draws: Random subspaces per point.
        seed: Seed of the draws.
    """
    names = survey.positions.names
    cell = survey.sites.index(site) * len(names) + names.index("last")
    folds = survey.fitter.select([cell], survey.columns.width).moments()
    choice = alpha_choice(survey.split.alphas).steady
    total, d = Moments.total(folds), folds[0].gram.shape[1] - 1
    generator = np.random.default_rng(seed)
    random = [random_subspaces(d, min(k, d), draws, generator) for k in columns]
    base, probe = 0.0, np.zeros(len(columns))
    control = np.zeros((len(columns), draws))
    dimension = np.zeros(len(columns), dtype=int)
    with one_thread_each():
        for index in survey.held_out:
            train, test = total - folds[index], folds[index]
            base += _error(train, test, np.zeros((d, 0)), choice)
            path, alpha = choice.fit(train, [])
            slope = path.weights(alpha)[0][0]
            for point, k in enumerate(columns):
                basis = orthonormal_basis(slope[:, :k])
                dimension[point] = max(dimension[point], basis.shape[1])
                probe[point] += _error(train, test, basis, choice)
                control[point] += [_error(train, test, other, choice) for other in random[point]]
    n = sum(float(folds[index].n[0]) for index in survey.held_out)
    unit = float(survey.raw_scale(-1)) ** 2 / n
    return RefitCurve(
        site=site,
        columns=tuple(columns),
        dimension=tuple(dimension.tolist()),
        base_mse=base * unit,
        delta_mse=tuple(((probe - base) * unit).tolist()),
        random_delta_mse=tuple(tuple(row) for row in ((control - base) * unit).tolist()),
        answer_variance=float(survey.raw_scale(-1)) ** 2,
    )


def refit_error(train: Moments, test: Moments, choice: AlphaChoice) -> float:
    """Squared error of the last column on the test rows, for a ridge readout fitted on the training rows."""
    train, test = (part.columns(slice(-1, None)) for part in (train, test))
    path, alpha = choice.fit(train, [])
    return float(test.errors(*path.weights(alpha))[0, 0])


def _error(train: Moments, test: Moments, basis: Array, choice: AlphaChoice) -> float:
    keep = np.eye(1 + len(basis))
    keep[1:, 1:] -= basis @ basis.T
    return refit_error(train.mapped(keep), test.mapped(keep), choice)
