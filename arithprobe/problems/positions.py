"""Token positions by name, for every row of a data set."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError, several, shown

RESERVED = ("last", "index", "role", "all")
"""Kinds of positions, which no role is called."""


class PositionTable(NamedTuple):
    """P named positions of N rows."""

    names: tuple[str, ...]
    """``last`` (the last real token), character indices ``0``, ``1``, ..., or roles ``x100``, ``plus``, ..."""
    token: Tensor
    """(N, P) int64 token index; 0 where the row has no such position."""
    valid: Tensor
    """(N, P) bool, False where the row has no such position: padding is never probed."""

    def column(self, position: int) -> "PositionTable":
        """(N, 1) one of the positions."""
        return PositionTable((self.names[position],), self.token[:, [position]], self.valid[:, [position]])

    def gather(self, states: Tensor, rows: Tensor) -> Tensor:
        """(B, P, D) states at the positions, from (B, T, D) states of the given (B,) rows."""
        token = self.token[rows.cpu()].to(states.device)
        return states.gather(1, token[..., None].expand(-1, -1, states.shape[-1]))


def position_table(
    wanted: Sequence[str], lengths: Tensor, layout: Tensor, roles: Sequence[Sequence[str]]
) -> PositionTable:
    """The positions asked for, in reading order within a kind.

    Args:
        wanted: Kinds, ``last`` (the last real token), ``index`` (every character index), ``role`` (every role; ``all``
            means the same); or single ones, such as ``5`` or ``plus``.
        lengths: (N,) real tokens of each row.
        layout: (N,) kind of each row.
        roles: The role of each token, for each of the G kinds of rows.

    Raises:
        ArithprobeError: If no row has such a position; the text lists those there are.
    """
    wanted = several("positions", wanted)
    index = torch.arange(int(lengths.max()))
    named, table = role_index(roles)
    last = {"last": lengths - 1}
    by_index = dict(zip(map(str, index.tolist()), torch.where(index < lengths[:, None], index, -1).T, strict=True))
    by_role = dict(zip(named, table[layout].T, strict=True))
    kinds = {"last": last, "index": by_index, "role": by_role, "all": by_role}
    every = last | by_index | by_role
    found: dict[str, Tensor] = {}
    for name in wanted:
        if name not in kinds and name not in every:
            raise ArithprobeError(
                f"no position {shown(name)!r} in this data (positions: last, all, index, role; 0 to {len(index) - 1}; "
                f"{', '.join(named)})"
            )
        found |= kinds.get(name) or {name: every[name]}
    token = torch.stack(list(found.values()), dim=1)
    return PositionTable(tuple(found), token.clamp(min=0), token >= 0)


def role_index(roles: Sequence[Sequence[str]]) -> tuple[list[str], Tensor]:
    """The R roles of G kinds of rows, in reading order, and the (G, R) token of each, -1 where a kind has none."""
    furthest: dict[str, int] = {}
    for of_tokens in roles:
        for token, role in enumerate(of_tokens):
            furthest[role] = max(token, furthest.get(role, 0))
    named = sorted(furthest, key=lambda role: furthest[role])
    index = [[of_tokens.index(role) if role in of_tokens else -1 for role in named] for of_tokens in roles]
    return named, torch.tensor(index, dtype=torch.int64)
