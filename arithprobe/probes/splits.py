"""Splits by group, and labels permuted between groups.

Rows of one group (by default: one sum) share what a probe could memorise, so a group is on one side of a split only. A
group's fold is a hash of its label: the order of rows, batches, files and ranks does not matter.
"""

import numpy as np
import torch
from torch import Tensor

_BLOCKS = 10


def fold_of(group: Tensor, folds: int) -> Tensor:
    """The fold of each row's group, from SplitMix64 (https://prng.di.unimi.it/splitmix64.c) of its label.

    Args:
        group: (N,) int64 labels.
        folds: Number of folds.

    Returns:
        (N,) int64 in 0..folds - 1, equal for equal labels.
    """
    with np.errstate(over="ignore"):
        z = group.cpu().numpy().astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return torch.from_numpy((z % np.uint64(folds)).astype(np.int64))


def blocks_of(group: Tensor) -> Tensor:
    """The (N,) int64 block of each row's group, 0 to about 9, for intervals; independent of :func:`fold_of`.

    Rows of one group are in one block. Blocks that have no row are not counted.
    """
    tens = fold_of(group, 10 * _BLOCKS) // 10  # folds, by the last digit, leave all tens
    block: Tensor = torch.unique(tens, return_inverse=True)[1]
    return block


def permuted_rows(group: Tensor, count: int, seed: int) -> Tensor:
    """Draw the rows whose labels form a null: every group takes the labels of another, drawn at random.

    Rows that share a label because they share a group still do, so a probe that memorises groups gains no more here
    than on true labels. If groups differ in size, the donor's labels repeat or are left out.

    Args:
        group: (N,) int64 groups.
        count: Number of independent permutations P.
        seed: Seed of the draw; the global random state does not change.

    Returns:
        (N, P) int64: ``values[permuted_rows(...)]`` are (N, P) permuted labels.
    """
    return PermutedRows(group, count, seed)[torch.arange(len(group))]


class PermutedRows:
    """The result of :func:`permuted_rows` for requested rows; the memory per row does not grow with P.

    Args:
        group: (N,) int64 groups.
        count: Number of independent permutations P.
        seed: Seed of the draw.
    """

    def __init__(self, group: Tensor, count: int, seed: int) -> None:
        _, index, sizes = np.unique(group.numpy(), return_inverse=True, return_counts=True)
        by_group = np.argsort(index, kind="stable")
        start = np.cumsum(sizes) - sizes
        rank = np.empty(len(index), dtype=np.int32)
        rank[by_group] = np.arange(len(index)) - start[index[by_group]]
        generator = np.random.default_rng(seed)
        donors = [generator.permutation(len(sizes)) for _ in range(count)]
        self._donors = np.array(donors, dtype=np.int32).reshape(count, len(sizes)).T  # (G, P)
        self._index, self._rank, self._by_group = index.astype(np.int32), rank, by_group.astype(np.int32)
        self._start, self._sizes = start, sizes

    def __getitem__(self, rows: Tensor) -> Tensor:
        """(B, P) int64 rows whose labels (B,) rows take."""
        chosen = rows.numpy()
        donor = self._donors[self._index[chosen]]
        taken = self._by_group[self._start[donor] + self._rank[chosen, None] % self._sizes[donor]]
        return torch.from_numpy(taken.astype(np.int64))


def permute_between_groups(values: Tensor, group: Tensor, count: int, seed: int) -> Tensor:
    """Return (N, P) labels permuted between groups, from (N,) true labels; see :func:`permuted_rows`."""
    return values[permuted_rows(group, count, seed)]
