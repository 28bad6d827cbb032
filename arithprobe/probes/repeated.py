"""Labels of many rows, of which few are distinct: what a million rows are probed for takes the memory of the few."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Repeated:
    """(N, K) values, each distinct row of them kept once; as they are where most are distinct."""

    table: Tensor
    """(U, K) the distinct rows, in the order of their first appearance; all N where ``index`` is None."""
    index: Tensor | None
    """(N,) which of them each row is, in the narrowest integers that hold it."""

    @classmethod
    def of(cls, values: Tensor, like: "Repeated | None" = None) -> "Repeated":
        """The same values, in less memory where they repeat.

        Args:
            values: (N, K).
            like: Values that may repeat in the same rows: the index is then shared.
        """
        if like is not None and like.index is not None and len(like.index) == len(values):
            table, index = values.new_zeros(len(like.table), values.shape[1]), like.index.long()
            table[index] = values
            if torch.equal(table[index], values):
                return cls(table, like.index)
        key = (values @ values.new_tensor(np.random.default_rng(0).standard_normal(values.shape[1]))).numpy()
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        if 2 * len(first) > len(values):
            return cls(values, None)
        order = np.argsort(first)
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        table, index = values[torch.from_numpy(first[order])], torch.from_numpy(rank[inverse.reshape(-1)])
        if not torch.equal(table[index], values):  # NaN, or two keys that are one by chance
            return cls(values, None)
        return cls(table, narrow(index, len(table)))

    def __getitem__(self, rows: Tensor) -> Tensor:
        """(B, K) the values of (B,) rows."""
        return self.table[rows if self.index is None else self.index[rows].long()]

    @property
    def mean(self) -> Tensor:
        """(K,) mean over rows."""
        return self.table.mean(dim=0) if self.index is None else self._shares @ self.table

    @property
    def variance(self) -> Tensor:
        """(K,) variance over rows."""
        if self.index is None:
            return self.table.var(dim=0)
        n = len(self.index)
        return self._shares @ (self.table - self.mean).square() * (n / (n - 1))

    @property
    def _shares(self) -> Tensor:
        """(U,) share of the rows that each of the distinct has."""
        if self.index is None:
            return self.table.new_full((len(self.table),), 1 / len(self.table))
        counts = torch.bincount(self.index, minlength=len(self.table))
        return counts.to(self.table) / len(self.index)

    @property
    def whole(self) -> Tensor:
        """(N, K) the values of all rows."""
        return self.table if self.index is None else self.table[self.index.long()]


def narrow(index: Tensor, count: int) -> Tensor:
    """An index into so many, in the narrowest integers that hold it."""
    return index.to(next(kind for kind in (torch.uint8, torch.int16, torch.int32) if count <= torch.iinfo(kind).max))


class RepeatedColumns:
    """Several :class:`Repeated` side by side; neighbours with one index are looked up together.

    Args:
        parts: Of the same N rows each.
    """

    def __init__(self, parts: Iterable[Repeated]) -> None:
        alike: list[list[Repeated]] = []
        for part in parts:
            if alike and _repeat_alike(alike[-1][0], part):
                alike[-1].append(part)
            else:
                alike.append([part])
        self._parts = [replace(some[0], table=torch.cat([one.table for one in some], dim=1)) for some in alike]
        self.width = sum(part.table.shape[1] for part in self._parts)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """(B, K) the values of (B,) rows."""
        return torch.cat([part[rows] for part in self._parts], dim=1)

    def leading(self, count: int) -> "RepeatedColumns":
        """The first columns alone."""
        found, left = [], count
        for part in self._parts:
            if left > 0:
                found.append(replace(part, table=part.table[:, :left]))
            left -= part.table.shape[1]
        return RepeatedColumns(found)


def _repeat_alike(one: Repeated, other: Repeated) -> bool:
    if one.index is None or other.index is None:
        return one.index is other.index
    return one.index is other.index or (len(one.table) == len(other.table) and torch.equal(one.index, other.index))
