"""Ridge probes of many cells (site x position) at once, from one pass over the data.

A ridge fit and its error need only second moments. For each fold and cell the fitter keeps
``[1, h]^T [1, h]``, ``[1, h]^T y`` and ``sum(y^2)``, which are sums over rows: they merge exactly over batches, files
and ranks, and their size does not grow with the data. The moments of all folds but some give the fit (the objective of
``sklearn.linear_model.Ridge``: the intercept is not penalised), those of the held-out fold its squared error.
Permuted labels ride along as further targets. Everything is float64, on the CPU.
"""

import itertools
import math
import time
from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError, several
from arithprobe.probes.far_states import require_near
from arithprobe.probes.moments import ALPHAS, Array, ChosenBy, Moments, Unit, alpha_choice
from arithprobe.probes.parallel import in_threads
from arithprobe.probes.principal_axes import leading_axes
from arithprobe.probes.ridge_scores import RidgeScores, scored_cells

_ROWS, _CELLS = 2048, 10  # rows converted to float64, and cells solved, at a time


class RidgeProbe(NamedTuple):
    """Fitted probes of C cells for K targets."""

    slope: Tensor
    """(C, D, K) weights on raw states; a column is the direction that the probe reads."""
    intercept: Tensor
    """(C, K)."""
    alpha: Tensor
    """(C, K) the penalty chosen; of states of unit variance, unless they were taken as they are."""

    def predict(self, states: Tensor) -> Tensor:
        """(N, C, K) float64 predictions from (N, C, D) states."""
        return torch.einsum("ncd,cdk->nck", states.to(self.slope), self.slope) + self.intercept


class RidgeFitter:
    """Accumulates the moments of C cells for K targets in F folds, and fits and scores ridge probes from them.

    Args:
        n_cells: The number of cells C.
        d_model: Width D of the states.
        n_targets: The number of targets K.
        folds: The number of folds F, at least 2.

    Raises:
        ArithprobeError: If there are fewer than two folds.

    Attributes:
        gram: (F, C, 1 + D, 1 + D) float64 sums of ``[1, h]^T [1, h]``.
        cross: (F, C, 1 + D, K) float64 sums of ``[1, h]^T y``.
        squares: (F, C, K) float64 sums of ``y^2``.
    """

    def __init__(self, n_cells: int, d_model: int, n_targets: int, folds: int) -> None:
        if folds < 2:
            raise ArithprobeError(f"folds is {folds}; expected 2 or more, or nothing would be held out")
        width = 1 + d_model
        shapes = (folds, n_cells, width, width), (folds, n_cells, width, n_targets), (folds, n_cells, n_targets)
        self.gram, self.cross, self.squares = (torch.from_numpy(np.zeros(shape)) for shape in shapes)

    @property
    def state(self) -> tuple[Tensor, Tensor, Tensor]:
        """All tensors that it holds; they are sums over rows."""
        return self.gram, self.cross, self.squares

    @property
    def nbytes(self) -> int:
        """Bytes of the state, which depend on cells, width, targets and folds, but never on the rows seen."""
        return sum(part.nbytes for part in self.state)

    def update(self, states: Tensor, targets: Tensor, fold: Tensor, valid: Tensor | None = None) -> "RidgeFitter":
        """Add rows.

        The float64 sums resolve any variation of float32 states. They do not resolve that of float64 states whose mean
        is more than 1e6 times their spread; scores would then be rounding noise.

        Args:
            states: (B, C, D).
            targets: (B, K).
            fold: (B,) fold of each row.
            valid: (B, C) False where a row has no such cell (padding); it then does not count there. By default all.

        Returns:
            The fitter itself.

        Raises:
            ArithprobeError: If float64 states are that far from 0.
        """
        h, y = states.detach().cpu(), targets.cpu().double().numpy()
        if h.dtype == torch.float64:
            require_near(h)
        cells = (h if h.dtype == torch.float64 else h.float()).numpy()
        rows_of = [np.flatnonzero(fold.cpu().numpy() == index) for index in range(len(self.gram))]
        targets_of = [y[rows] for rows in rows_of]
        squares_of = [np.square(part).sum(axis=0) for part in targets_of]
        present = None if valid is None or bool(valid.all()) else valid.cpu().numpy()
        gram, cross, squares = (part.numpy() for part in self.state)

        def add(part: slice) -> None:
            buffer = np.ones((min(len(cells), _ROWS), gram.shape[-1]))
            for index, cell in itertools.product(range(len(gram)), range(part.start, part.stop)):
                rows, own, own_squares = rows_of[index], targets_of[index], squares_of[index]
                if present is not None and not present[rows, cell].all():
                    rows, own = rows[present[rows, cell]], own[present[rows, cell]]
                    own_squares = np.square(own).sum(axis=0)
                for start in range(0, len(rows), _ROWS):
                    chosen = rows[start : start + _ROWS]
                    h1 = buffer[: len(chosen)]
                    h1[:, 1:] = cells[chosen, cell]
                    gram[index, cell] += h1.T @ h1
                    cross[index, cell] += h1.T @ own[start : start + _ROWS]
                squares[index, cell] += own_squares

        in_threads(add, self._blocks())
        return self

    def merge(self, other: "RidgeFitter") -> "RidgeFitter":
        """Add the rows of another fitter of the same shape."""
        for own, others in zip(self.state, other.state, strict=True):
            own += others
        return self

    def select(self, cells: Sequence[int], targets: int) -> "RidgeFitter":
        """Return the moments of some cells, and of only the first targets."""
        chosen = copy(self)
        index = torch.as_tensor(cells)
        chosen.gram = self.gram[:, index]
        chosen.cross = self.cross[:, index][..., :targets]
        chosen.squares = self.squares[:, index][..., :targets]
        return chosen

    def leading(self, count: int, without: int) -> "RidgeFitter":
        """Return the moments of the leading principal components of each cell, computed without one fold.

        Args:
            count: The number of components; all dimensions if there are no more.
            without: The fold that the components are computed without.
        """
        if count >= self.gram.shape[-1] - 1:
            return self
        folds = self.moments()
        train = Moments.total(folds[index] for index in range(len(folds)) if index != without)
        axes = leading_axes(train, count)
        mapped = [fold.mapped(axes) for fold in folds]
        chosen = copy(self)
        chosen.gram, chosen.cross = (
            torch.from_numpy(np.stack([getattr(fold, name) for fold in mapped])) for name in ("gram", "cross")
        )
        return chosen

    def fit(
        self,
        alphas: float | Sequence[float] = ALPHAS,
        choose: ChosenBy = "gcv",
        without: int | None = None,
        *,
        unit: Unit = "dimension",
    ) -> RidgeProbe:
        """Fit on all folds, or on all except one.

        Args:
            alphas: Penalties, positive; the best is chosen for each cell and target.
            choose: See :meth:`score`.
            without: A fold to leave out.
            unit: See :meth:`score`.
        """
        kept = [index for index in range(len(self.gram)) if index != without]
        choice = alpha_choice(alphas, choose, len(kept), unit=unit)

        def fit(block: slice) -> tuple[Array, ...]:
            every = self.moments(block)
            folds = [every[index] for index in kept]
            path, alpha = choice.fit(Moments.total(folds), folds)
            return *path.weights(alpha), np.array(alpha)

        parts = in_threads(fit, self._blocks())
        return RidgeProbe(*(torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*parts, strict=True)))

    def score(
        self,
        alphas: float | Sequence[float] = ALPHAS,
        held_out: Sequence[int] | None = None,
        choose: ChosenBy = "gcv",
        unit: Unit = "dimension",
        paired: int | None = None,
    ) -> RidgeScores:
        """Fit on all folds except one and score on that one, for each fold named.

        The penalty is chosen for each cell, target and split on the training rows of that split alone.

        Args:
            alphas: Penalties, positive.
            held_out: Folds to hold out in turn; all of them by default.
            choose: ``gcv`` (generalised cross-validation: no further fits) or ``folds`` (the smallest squared error
                with each training fold held out in turn; needs three folds).
            unit: The unit of the penalties: the variance of each ``dimension`` on the training rows (as in ``Ridge``
                after ``StandardScaler``; the scale does not matter), its mean over the ``state``, or ``none``.
            paired: The number of leading columns whose scores get an interval; all of them by default.

        Raises:
            ArithprobeError: If a penalty is not positive, or there are too few folds to choose by.
        """
        start = time.perf_counter()
        folds = tuple(range(len(self.gram))) if held_out is None else several("held_out", held_out, int)
        choice = alpha_choice(alphas, choose, len(self.gram) - 1, unit=unit)

        def solve(block: slice) -> dict[str, Array]:
            return scored_cells(self.moments(block), choice, folds, paired)

        solved = in_threads(solve, self._blocks())
        found = {name: torch.from_numpy(np.concatenate([part[name] for part in solved], axis=1)) for name in solved[0]}
        cells, targets = self.squares.shape[1:]
        cost = f"{cells} cells x {targets} targets x {len(choice.alphas)} alphas x {len(folds)} folds, "
        cost += f"{time.perf_counter() - start:.1f} s, {self.nbytes / 1e6:.0f} MB"
        return RidgeScores(**found, cost=cost)

    def _blocks(self) -> list[slice]:
        cells = self.gram.shape[1]
        size = min(_CELLS, math.ceil(cells / max(torch.get_num_threads(), 1))) or 1
        return [slice(start, min(start + size, cells)) for start in range(0, cells, size)]

    def moments(self, part: slice = slice(None)) -> list[Moments]:
        """Return the moments of some cells, one per fold."""
        gram, cross, squares = (whole[:, part].numpy() for whole in self.state)
        return [Moments(gram[index], cross[index], squares[index]) for index in range(len(gram))]
