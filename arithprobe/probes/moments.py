r"""The algebra of ridge regression on second moments, for a block of cells, in NumPy float64.

With states ``H`` of the training rows, each dimension centred and divided by its standard deviation, centred targets
``y``, ``H^T H = Q diag(lam) Q^T`` and ``z = Q^T H^T y``, every penalty alpha costs a division:

.. math:: w = Q \frac{z}{\lambda + \alpha}, \quad
    \mathrm{RSS} = \sum y^2 - \sum_d z_d^2 \frac{\lambda_d + 2\alpha}{(\lambda_d + \alpha)^2}, \quad
    \mathrm{edf} = \sum_d \frac{\lambda_d}{\lambda_d + \alpha}

so one factorisation serves all targets and penalties: those of ``make_pipeline(StandardScaler(), Ridge(alpha))``. A
penalty on the states as they are would drown every dimension in one large one, and be blind to small ones.

The generalised cross-validation score of a penalty is ``n RSS / (n - 1 - 1.1 edf)^2`` (Golub, Heath and Wahba 1979,
https://doi.org/10.1080/00401706.1979.10489751). Without the 1.1, of nearly as many dimensions as rows now and then
next to no penalty is taken for pure noise (Kim and Gu 2004, https://doi.org/10.1046/j.1369-7412.2003.05316.x).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from arithprobe.errors import ArithprobeError, several
from arithprobe.probes.overflow import broken, mended

ChosenBy = Literal["gcv", "folds"]
Unit = Literal["dimension", "state", "none"]
Array = npt.NDArray[np.float64]
ALPHAS = tuple(10.0 ** (-6 + 12 * step / 20) for step in range(21))
"""Penalties to choose from, 1e-6 to 1e6, on the sum of squared errors, for dimensions of unit variance."""
CONSTANT = 1e-12
"""Variance of a dimension that is rounding, of its mean square or of the mean of all variances."""
STEADY = 10.0
"""Least penalty of a direction that is to be taken out: below, it leans on what is next to nothing of a state."""
_COUNTED = 1.1  # times that an effective degree of freedom counts
_ALMOST_INTERPOLATING = 1e-6  # share of rows left as residual degrees of freedom, below which GCV is 0 / 0


@dataclass(frozen=True)
class Moments:
    """Sums over one set of rows, for C cells."""

    gram: Array
    """(C, 1 + D, 1 + D) ``[1, h]^T [1, h]``."""
    cross: Array
    """(C, 1 + D, K) ``[1, h]^T y``."""
    squares: Array
    """(C, K) ``sum(y^2)``."""

    def __sub__(self, other: "Moments") -> "Moments":
        """The rows of one that are not in the other."""
        return Moments(self.gram - other.gram, self.cross - other.cross, self.squares - other.squares)

    @staticmethod
    def total(parts: Iterable["Moments"]) -> "Moments":
        """All rows of several sets."""
        parts = list(parts)
        names = ("gram", "cross", "squares")
        return Moments(*(reduce(np.add, [getattr(part, name) for part in parts]) for name in names))

    def cell(self, index: int) -> "Moments":
        """Those of one cell."""
        one = slice(index, index + 1)
        return Moments(self.gram[one], self.cross[one], self.squares[one])

    def columns(self, chosen: slice | list[int]) -> "Moments":
        """Those with some of the targets."""
        return Moments(self.gram, self.cross[..., chosen], self.squares[..., chosen])

    def mapped(self, matrix: Array) -> "Moments":
        """Those of states that an affine map changes: (C, 1 + D, 1 + D) or (1 + D, 1 + D), from ``[1, h]`` rows."""
        turned = np.swapaxes(matrix, -1, -2)
        return Moments(turned @ self.gram @ matrix, turned @ self.cross, self.squares)

    @cached_property
    def n(self) -> Array:
        """(C,) rows."""
        return self.gram[:, 0, 0]

    @cached_property
    def mean_states(self) -> Array:
        """(C, D); 0 where there are no rows."""
        return self.gram[:, 0, 1:] / np.maximum(self.n, 1)[:, None]

    @cached_property
    def mean_targets(self) -> Array:
        """(C, K); 0 where there are no rows."""
        return self.cross[:, 0] / np.maximum(self.n, 1)[:, None]

    @cached_property
    def spread(self) -> Array:
        """(C, K) sums of squared deviations of the targets from their mean."""
        return np.maximum(self.squares - self.n[:, None] * self.mean_targets**2, 0.0)

    @cached_property
    def centred_gram(self) -> Array:
        """(C, D, D)."""
        mean = self.mean_states
        centred: Array = (self.n[:, None] * mean)[:, :, None] * mean[:, None, :]
        return np.subtract(self.gram[:, 1:, 1:], centred, out=centred)

    @cached_property
    def centred_cross(self) -> Array:
        """(C, D, K)."""
        centred: Array = self.cross[:, 1:] - self.gram[:, 0, 1:, None] * self.mean_targets[:, None, :]
        return centred

    def scale(self, unit: "Unit") -> Array:
        """(C, D) what states are divided by; infinite for a dimension that varies by no more than rounding."""
        if unit == "none":
            return np.ones_like(self.mean_states)
        n = np.maximum(self.n, 1)[:, None]
        variance = self.centred_gram.diagonal(axis1=1, axis2=2) / n
        mean = variance.mean(axis=1, keepdims=True)
        if unit == "state":
            return np.broadcast_to(np.sqrt(np.where(mean > 0, mean, 1.0)), variance.shape)
        noise = CONSTANT * np.maximum(self.gram.diagonal(axis1=1, axis2=2)[:, 1:] / n, mean)
        return np.sqrt(np.where(variance > noise, variance, np.where(np.isnan(variance), np.nan, np.inf)))

    def errors(self, slope: Array, intercept: Array) -> Array:
        """(C, K) sums of squared errors of (C, D, K) slopes and (C, K) intercepts.

        From centred moments: the offset of the means is added, not cancelled.
        """
        inside = self.spread - 2 * (slope * self.centred_cross).sum(axis=1)
        inside += (slope * (self.centred_gram @ slope)).sum(axis=1)
        offset = self.mean_targets - intercept - (self.mean_states[:, None] @ slope)[:, 0]
        errors: Array = np.maximum(inside, 0.0) + self.n[:, None] * offset**2
        return errors


class RidgePath:
    """Ridge fits of one set of rows at any penalty, from one eigendecomposition a cell.

    Args:
        train: Moments of the rows to fit.
        unit: What penalties are in units of: the variance of each ``dimension``, its mean over the ``state``, or none.
    """

    def __init__(self, train: Moments, unit: Unit = "dimension") -> None:
        self.train = train
        self._scale = train.scale(unit)[..., None]  # (C, D, 1)
        gram = train.centred_gram / self._scale / self._scale.transpose(0, 2, 1)
        self.broken = broken(gram)
        """(C,) cells whose states overflow: they have no fit, and all their scores are NaN."""
        values, self._vectors = np.linalg.eigh(mended(gram, self.broken))
        largest = values.max(axis=1, keepdims=True, initial=0.0)
        self._null = values <= values.shape[1] * np.finfo(np.float64).eps * largest
        self._values = np.where(self._null, 0.0, values)[..., None]  # (C, D, 1)
        z = self._vectors.transpose(0, 2, 1) @ (train.centred_cross / self._scale)
        z[self._null] = 0.0  # rounding noise: a direction without spread has no covariance either
        z[self.broken] = np.nan
        self._z = z

    def errors(self, alpha: Array) -> Array:
        """(C, K) squared errors on the training rows, at (C, K) penalties (or any shape that broadcasts)."""
        shrunk = (self._values + 2 * alpha[:, None]) / (self._values + alpha[:, None]) ** 2
        errors: Array = np.maximum(self.train.spread - (self._z**2 * shrunk).sum(axis=1), 0.0)
        return errors

    def edf(self, alpha: Array) -> Array:
        """(C, K) effective degrees of freedom, trace of ``H (H^T H + alpha I)^{-1} H^T``; the intercept not counted."""
        edf: Array = (self._values / (self._values + alpha[:, None])).sum(axis=1)
        return np.where(self.broken[:, None], np.nan, edf)

    def weights(self, alpha: Array) -> tuple[Array, Array]:
        """(C, D, K) slopes on raw states and (C, K) intercepts, at (C, K) penalties."""
        slope = self._vectors @ (self._z / (self._values + alpha[:, None])) / self._scale
        return slope, self.train.mean_targets - (self.train.mean_states[:, None] @ slope)[:, 0]

    def response(self, change: Array, alpha: Array) -> Array:
        """(C, D, K) change of the slopes by a (C, D, K) change of the centred ``H^T y``, at (C, K) penalties."""
        turned = self._vectors.transpose(0, 2, 1) @ (change / self._scale)
        turned[self._null] = 0.0
        moved: Array = self._vectors @ (turned / (self._values + alpha[:, None])) / self._scale
        return moved

    def generalised_cv(self, alphas: Array) -> Array:
        """(A, C, K) generalised cross-validation scores of (A, C, 1) penalties; smaller is better."""
        values = self._values[..., 0]  # (C, D)
        edf = (values / (values + alphas)).sum(axis=2)  # (A, C)
        coefficients = (values + 2 * alphas) / (values + alphas) ** 2  # (A, C, D)
        explained = coefficients.transpose(1, 0, 2) @ self._z**2  # (C, A, K)
        errors = np.maximum(self.train.spread - explained.transpose(1, 0, 2), 0.0)
        residual = (self.train.n - 1 - _COUNTED * edf)[..., None]  # (A, C, 1)
        left = np.broadcast_to(residual > _ALMOST_INTERPOLATING * self.train.n[:, None], errors.shape)
        weight = self.train.n[:, None] / np.where(residual > 0, residual, 1.0) ** 2
        return np.where(left, weight * errors, np.inf)


class AlphaChoice(NamedTuple):
    """Penalties in ascending order, and how to choose among them."""

    alphas: Array
    by: ChosenBy
    unit: Unit

    @property
    def steady(self) -> "AlphaChoice":
        """Those of at least :data:`STEADY`, or all where none is; an orthogonal projection knows the state as it is."""
        large = self.alphas[self.alphas >= STEADY]
        unit: Unit = "state" if self.unit == "dimension" else self.unit
        return self._replace(alphas=large if len(large) else self.alphas, unit=unit)

    def fit(self, train: Moments, folds: list[Moments]) -> tuple[RidgePath, Array]:
        """Fits of some rows, given whole and by fold, and the (C, K) penalty chosen on these rows alone."""
        path = RidgePath(train, self.unit)
        alphas = np.broadcast_to(self.alphas[:, None, None], (len(self.alphas), len(train.n), 1))
        if len(alphas) == 1:
            return path, np.broadcast_to(alphas[0], train.squares.shape)
        if self.by == "gcv":
            scores = path.generalised_cv(alphas)
        else:
            scores = np.zeros((len(alphas), *train.squares.shape))
            for fold in folds:
                inner = RidgePath(train - fold, self.unit)
                for row, alpha in zip(scores, alphas, strict=True):
                    row += fold.errors(*inner.weights(np.broadcast_to(alpha, train.squares.shape)))
        best = np.where(np.isfinite(scores).any(axis=0), np.argmin(scores, axis=0), len(alphas) - 1)
        return path, np.take_along_axis(np.broadcast_to(alphas, scores.shape), best[None], axis=0)[0]


def penalties(option: str, given: float | Sequence[float]) -> tuple[float, ...]:
    """Penalties in ascending order, from one or several; refused like those of :func:`alpha_choice`."""
    several(option, given, float)
    return tuple(alpha_choice(given, name=option).alphas.tolist())


def alpha_choice(
    alphas: float | Sequence[float],
    by: ChosenBy = "gcv",
    folds: int = 1,
    *,
    unit: Unit = "dimension",
    name: str = "alpha",
) -> AlphaChoice:
    """Check the penalties.

    Args:
        alphas: One penalty or several.
        by: How to choose among them.
        folds: Folds there are to fit on.
        unit: See :class:`RidgePath`.
        name: What they are called.

    Raises:
        ArithprobeError: If a penalty is not positive, or there are too few folds to choose by.
    """
    values = np.sort(np.atleast_1d(np.asarray(alphas, dtype=np.float64)))
    if not len(values) or not (values > 0).all() or not np.isfinite(values).all():
        raise ArithprobeError(f"{name} is {alphas}; expected a positive penalty")
    if by not in get_args(ChosenBy):
        raise ArithprobeError(f"alpha is chosen by {by!r}; expected one of {', '.join(get_args(ChosenBy))}")
    if by == "folds" and len(values) > 1 and folds < 2:
        raise ArithprobeError(f"alpha is chosen by folds, and only {folds} remains to fit on; expected 2 or more")
    return AlphaChoice(values, by, unit)
