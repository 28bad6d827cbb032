"""Labels of many rows, of which few are distinct: what a million rows are probed for takes the memory of the few."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Repeated(NamedTuple):
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
            table = values.new_empty(len(like.table), values.shape[1])
            table[like.index.long()] = values
            if torch.equal(table[like.index.long()], values):
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
        narrow = next(kind for kind in (torch.uint8, torch.int16, torch.int32) if len(table) <= torch.iinfo(kind).max)
        return cls(table, index.to(narrow))

    def __getitem__(self, rows: Tensor) -> Tensor:
        """(B, K) the values of (B,) rows."""
        return self.table[rows if self.index is None else self.index[rows].long()]

    @property
    def whole(self) -> Tensor:
        """(N, K) the values of all rows."""
        return self.table if self.index is None else self.table[self.index.long()]


class RepeatedColumns:
    """Several :class:`Repeated` side by side; neighbours with one index are looked up together.

    Args:
        parts: Of the same N rows each.
    """

    def __init__(self, parts: Iterable[Repeated]) -> None:
        self._parts: list[Repeated] = []
        for part in parts:
            last = self._parts[-1] if self._parts else None
            if last is not None and _repeat_alike(last, part):
                self._parts[-1] = last._replace(table=torch.cat([last.table, part.table], dim=1))
            else:
                self._parts.append(part)
        self.width = sum(part.table.shape[1] for part in self._parts)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """(B, K) the values of (B,) rows."""
        return torch.cat([part[rows] for part in self._parts], dim=1)

    def leading(self, count: int) -> "RepeatedColumns":
        """The first columns alone."""
        found, left = [], count
        for part in self._parts:
            if left > 0:
                found.append(part._replace(table=part.table[:, :left]))
            left -= part.table.shape[1]
        return RepeatedColumns(found)


def _repeat_alike(one: Repeated, other: Repeated) -> bool:
    if one.index is None or other.index is None:
        return one.index is other.index
    return one.index is other.index or (len(one.table) == len(other.table) and torch.equal(one.index, other.index))
