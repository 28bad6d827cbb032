"""Erasers of permuted labels: the same fit on labels permuted between groups, many at once.

This is the null of an eraser: what it removes, and what that costs, when there is nothing to find. Labels are permuted
between groups (sums; for functions of x, values of x), as in the null of the probes: a label that is a function of the
sum has far larger chance covariances with states that are another function of it than labels drawn row by row.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError
from arithprobe.interventions.directions import inlp, ridge_slope, spread_of, standardised_cross, unwhitened
from arithprobe.interventions.halves import Halves
from arithprobe.interventions.kinds import ErasureKind
from arithprobe.linalg import Array, orthonormal_bases
from arithprobe.probes.moments import AlphaChoice, Moments
from arithprobe.probes.ridge import RidgeFitter
from arithprobe.probes.splits import permuted_rows
from arithprobe.problems.positions import PositionTable


class Pairs(NamedTuple):
    """A set of M erasers of the P positions of a cell, for states of D dimensions."""

    left: Array
    """(M, P, D, R) what is subtracted; columns of zeros where there is nothing to take out."""
    right: Array
    """(M, P, D, R) how much of it is read."""


class PermutedFits:
    """The erasers of one cell fitted on permuted labels; each set is fitted once.

    Args:
        bench: The rows and their labels.
        site: The site.
        table: (N, P) positions of all rows.
        null: Moments with permuted labels, by variable; by default labels are permuted on the rows to fit on.
    """

    def __init__(
        self, bench: Halves, site: str, table: PositionTable, null: Mapping[str, Moments] | None = None
    ) -> None:
        self._bench, self._site, self._table, self._null = bench, site, table, null
        self._found: dict[tuple[object, ...], Pairs] = {}

    def why_not(self, variable: str) -> str:
        """The reason why a variable has no such erasers, or empty."""
        known = self._bench.fit is not None if self._null is None else variable in self._null
        return (
            "" if known and variable in self._bench.variables else f"no rows to fit permuted labels of {variable!r} on"
        )

    def pairs(
        self,
        variable: str,
        kind: ErasureKind,
        draws: int,
        seed: int,
        *,
        rank: int | None = None,
        choice: AlphaChoice | None = None,
    ) -> Pairs:
        """Return erasers of M permutations of a variable's labels, fitted as on the true ones.

        Raises:
            ArithprobeError: If there are no rows to fit on.
        """
        choice = choice or self._bench.choice
        key = (variable, kind, draws, seed, rank, repr(choice))
        if key not in self._found:
            own = self._bench.columns_of(variable)
            moments = self._moments(variable, draws, seed)
            self._found[key] = permuted_pairs(kind, moments, own.stop - own.start, choice, rank)
        return self._found[key]

    def _moments(self, variable: str, draws: int, seed: int) -> Moments:
        if self._null is not None:
            return self._null[variable]
        part = self._bench.fit
        if part is None:
            raise ArithprobeError("this bench was made without rows to fit on, so nothing can be fitted on them")
        group = self._bench.rows.group(variable)[part.rows]
        labels = self._bench.labels[part.rows][:, self._bench.columns_of(variable)]  # (n, k)
        table = part.at(self._table)
        valid = table.valid & self._bench.usual[part.rows, None]
        return permuted_moments(part.cells(self._site, table), valid, labels, group, draws, seed)


def permuted_moments(cells: Tensor, valid: Tensor, labels: Tensor, group: Tensor, draws: int, seed: int) -> Moments:
    """Return the moments of P cells with M permutations of labels, the k columns of each permutation side by side.

    Args:
        cells: (n, P, D) states to fit on.
        valid: (n, P) False where a row has no such position.
        labels: (n, k) labels.
        group: (n,) groups between which labels are permuted.
        draws: The number M.
        seed: Seed of the permutations.
    """
    rows = permuted_rows(group, draws, seed)  # (n, M)
    fitter = RidgeFitter(cells.shape[1], cells.shape[2], draws * labels.shape[1], folds=2)
    fitter.update(cells, labels[rows].flatten(1), torch.zeros(len(cells), dtype=torch.int64), valid)
    return fitter.moments()[0]


def permuted_pairs(kind: ErasureKind, moments: Moments, k: int, choice: AlphaChoice, rank: int | None = None) -> Pairs:
    """Fit each permutation as :func:`~arithprobe.interventions.erasure.fit_erasers` does, cell by cell at once.

    Args:
        kind: The kind of eraser.
        moments: Moments of P cells, with M times k columns.
        k: Columns of one permutation.
        choice: Ridge penalties of the probes.
        rank: Number of directions that ``inlp`` removes; k by default.
    """
    count, d = moments.cross.shape[2] // k, moments.mean_states.shape[1]
    width = (rank or k) if kind == "inlp" else k
    left = np.zeros((count, len(moments.gram), d, width))
    right = np.zeros_like(left)
    for p in range(len(moments.gram)):
        if np.isfinite(moments.gram[p]).all():
            left[:, p], right[:, p] = _of_cell(kind, moments.cell(p), k, width, choice)
    return Pairs(left, right)


def _of_cell(kind: ErasureKind, cell: Moments, k: int, rank: int, choice: AlphaChoice) -> tuple[Array, Array]:
    """(M, D, R) left and right of one cell."""
    if kind == "leace":
        n = max(float(cell.n[0]), 1.0)
        roots, vectors = spread_of(cell.centred_gram[0] / n, cell.gram[0, 1:, 1:].trace() / n)
        return unwhitened(roots, vectors, _bases((vectors.T @ standardised_cross(cell)) / roots[:, None], k))
    if kind == "inlp":
        starts = range(0, cell.cross.shape[2], k)
        found = [inlp(cell.columns(slice(first, first + k)), rank) for first in starts]
        basis = np.stack([np.pad(one, ((0, 0), (0, rank - one.shape[1]))) for one in found])
    else:
        basis = _bases(ridge_slope(cell, choice.steady) if kind == "probe" else standardised_cross(cell), k)
    return basis, basis


def _bases(columns: Array, k: int) -> Array:
    """(M, D, k) orthonormal bases of every k of (D, M k) columns."""
    return orthonormal_bases(columns.reshape(len(columns), columns.shape[1] // k, k).swapaxes(0, 1))
