r"""Ridge probes of many cells (site x position) at once, from one pass over the data.

A ridge fit and its error need only second moments. For each fold and cell the fitter keeps
``[1, h]^T [1, h, y]`` and ``sum(y^2)``, which are sums over rows: they merge exactly over batches, files and ranks, and
their size does not grow with the data. With the moments of all folds but one, centred,

.. math:: w = (H^T H + \alpha I)^{-1} H^T y, \quad b = \bar y - w \cdot \bar h,

(the intercept is not penalised: the objective of ``sklearn.linear_model.Ridge``), and the held-out fold's moments give
its squared error. Everything is float64.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError

_ROUNDING = 1e-10  # relative to the sum of squares: targets whose mean is 1e5 times their spread are not scored


@dataclass(frozen=True)
class RidgeScores:
    """Scores of C cells for K targets."""

    r2: Tensor
    """(C, K) R2 on the held-out rows; NaN where a cell has no spread, too few rows, or states that overflow."""
    r2_in_sample: Tensor
    """(C, K) R2 on the training rows of the same fits; never a result by itself."""
    n_train: Tensor
    """(C,) training rows (mean over splits)."""
    n_test: Tensor
    """(C,) held-out rows (sum over splits)."""
    edf: Tensor
    """(C,) effective degrees of freedom of a fit, trace of ``H (H^T H + alpha I)^{-1} H^T`` (mean over splits)."""


class RidgeFitter:
    """Accumulates the moments of C cells, for K targets, in F folds.

    Args:
        n_cells: C.
        d_model: Width D of the states.
        n_targets: K.
        folds: F, at least 2.
        device: Where the moments are kept.

    Raises:
        ArithprobeError: If there are fewer than two folds.

    Attributes:
        moments: (F, C, 1 + D, 1 + D + K) float64 sums of ``[1, h]^T [1, h, y]``.
        squares: (F, C, K) float64 sums of ``y^2``.
    """

    def __init__(
        self, n_cells: int, d_model: int, n_targets: int, folds: int, device: torch.device | str = "cpu"
    ) -> None:
        if folds < 2:
            raise ArithprobeError(f"folds is {folds}; expected 2 or more, or nothing would be held out")
        self.d_model = d_model
        shape = (folds, n_cells, 1 + d_model)
        self.moments = torch.zeros(*shape, 1 + d_model + n_targets, dtype=torch.float64, device=device)
        self.squares = torch.zeros(folds, n_cells, n_targets, dtype=torch.float64, device=device)

    def update(self, states: Tensor, targets: Tensor, fold: Tensor, valid: Tensor) -> "RidgeFitter":
        """Add rows.

        Args:
            states: (B, C, D).
            targets: (B, K).
            fold: (B,) fold of each row.
            valid: (B, C) False where a row has no such cell (padding); it then counts nothing there.

        Returns:
            The fitter itself.
        """
        device = self.moments.device
        states, targets = states.to(device, torch.float64), targets.to(device, torch.float64)
        fold, valid = fold.to(device), valid.to(device)
        ones = torch.ones(*states.shape[:2], 1, dtype=torch.float64, device=device)
        y = targets[:, None].expand(-1, states.shape[1], -1)
        rows = torch.where(valid[..., None], torch.cat([ones, states, y], dim=-1), 0.0).transpose(0, 1)  # (C, B, 1+D+K)
        for index in range(len(self.moments)):
            chosen = rows[:, fold == index]
            self.moments[index].baddbmm_(chosen[..., : 1 + self.d_model].transpose(1, 2), chosen)
            self.squares[index] += chosen[..., 1 + self.d_model :].square().sum(dim=1)
        return self

    def merge(self, other: "RidgeFitter") -> "RidgeFitter":
        """Add the rows of another fitter of the same shape."""
        self.moments += other.moments
        self.squares += other.squares
        return self

    def score(self, alpha: float, held_out: Sequence[int] | None = None) -> RidgeScores:
        """Fit on all folds but one and score on that one, for each fold named.

        Squared errors and squares are summed over the splits before they are divided, as in
        ``r2_score(y, cross_val_predict(...))``.

        Args:
            alpha: Ridge penalty on unstandardised states, positive.
            held_out: Folds to hold out in turn; all of them by default.

        Raises:
            ArithprobeError: If alpha is not positive.
        """
        if not alpha > 0:
            raise ArithprobeError(f"alpha is {alpha}; expected a positive penalty")
        held_out = range(len(self.moments)) if held_out is None else held_out
        total, total_squares = self.moments.sum(dim=0), self.squares.sum(dim=0)
        fits = []
        for index in held_out:
            test = _Moments(self.moments[index], self.squares[index])
            train = _Moments(total - test.products, total_squares - test.squares)
            weights, edf = _fit(train, alpha)
            fits.append((train, test, weights, edf))
        every_test = _Moments(
            _sum(test.products for _, test, _, _ in fits), _sum(test.squares for _, test, _, _ in fits)
        )
        enough = (torch.stack([train.n for train, _, _, _ in fits]).amin(dim=0) >= 2)[:, None]
        enough = enough & (every_test.spread() > _ROUNDING * every_test.squares)
        r2 = 1 - _sum(test.errors(weights) for _, test, weights, _ in fits) / every_test.spread()
        in_sample = _sum(train.errors(weights) for train, _, weights, _ in fits)
        r2_in_sample = 1 - in_sample / _sum(train.spread() for train, _, _, _ in fits)
        return RidgeScores(
            r2=torch.where(enough, r2, torch.nan),
            r2_in_sample=torch.where(enough, r2_in_sample, torch.nan),
            n_train=torch.stack([train.n for train, _, _, _ in fits]).mean(dim=0),
            n_test=every_test.n,
            edf=torch.stack([edf for _, _, _, edf in fits]).mean(dim=0),
        )


@dataclass(frozen=True)
class _Moments:
    """Moments of one set of rows; weights are (C, 1 + D, K), intercept first."""

    products: Tensor
    squares: Tensor

    @property
    def n(self) -> Tensor:
        return self.products[:, 0, 0]

    @property
    def _d(self) -> int:
        return self.products.shape[1]

    def means(self) -> Tensor:
        """(C, 1 + D + K) means of ``[1, h, y]``; 0 where there are no rows."""
        return self.products[:, 0] / self.n.clamp(min=1)[:, None]

    def spread(self) -> Tensor:
        """(C, K) sums of squared deviations of the targets from their mean."""
        return (self.squares - self.n[:, None] * self.means()[:, self._d :] ** 2).clamp(min=0)

    def errors(self, weights: Tensor) -> Tensor:
        """(C, K) sums of squared errors, from centred moments: the offset of the means is added, not cancelled."""
        mean = self.means()
        slope, d = weights[:, 1:], self._d
        gram, cross = self.centred()
        inside = self.spread() - 2 * (slope * cross).sum(dim=1) + (slope * (gram @ slope)).sum(dim=1)
        offset = mean[:, d:] - weights[:, 0] - (mean[:, None, 1:d] @ slope).squeeze(1)
        return inside.clamp(min=0) + self.n[:, None] * offset**2

    def centred(self) -> tuple[Tensor, Tensor]:
        """(C, D, D) and (C, D, K) products of centred states with centred states and targets."""
        mean, d = self.means(), self._d
        products = self.products[:, 1:, 1:] - self.n[:, None, None] * mean[:, 1:d, None] * mean[:, None, 1:]
        return products[..., : d - 1], products[..., d - 1 :]


def _fit(train: _Moments, alpha: float) -> tuple[Tensor, Tensor]:
    """(C, 1 + D, K) weights, intercept first, and (C,) effective degrees of freedom."""
    gram, cross = train.centred()
    d = gram.shape[-1]
    penalised = gram + alpha * torch.eye(d, dtype=gram.dtype, device=gram.device)
    factor, failed = torch.linalg.cholesky_ex(penalised)
    factor = torch.where((failed == 0)[:, None, None], factor, torch.nan)  # states that overflow have no fit
    slope = torch.cholesky_solve(cross, factor)
    edf = d - alpha * torch.cholesky_inverse(factor).diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    mean = train.means()
    intercept = mean[:, None, d + 1 :] - mean[:, None, 1 : d + 1] @ slope
    return torch.cat([intercept, slope], dim=1), edf


def _sum(tensors: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(tensors)).sum(dim=0)
