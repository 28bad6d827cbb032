"""Where a probe reads: token positions by name, for every row of a data set."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError, several, shown
from arithprobe.problems import Layout


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


def position_table(wanted: Sequence[str], lengths: Tensor, layout: Tensor, layouts: Sequence[Layout]) -> PositionTable:
    """The positions asked for, in reading order within a kind.

    Args:
        wanted: Kinds, ``last`` (the last real token), ``index`` (every character index), ``role`` (every role; ``all``
            means the same); or single ones, such as ``5`` or ``plus``.
        lengths: (N,) real tokens of each row.
        layout: (N,) index into ``layouts``.
        layouts: Which character is which.

    Raises:
        ArithprobeError: If no row has such a position; the text lists those there are.
    """
    wanted = several("positions", wanted)
    index = torch.arange(int(lengths.max()))
    roles, table = role_index(layouts)
    last = {"last": lengths - 1}
    by_index = dict(zip(map(str, index.tolist()), torch.where(index < lengths[:, None], index, -1).T, strict=True))
    by_role = dict(zip(roles, table[layout].T, strict=True))
    kinds = {"last": last, "index": by_index, "role": by_role, "all": by_role}
    every = last | by_index | by_role
    found: dict[str, Tensor] = {}
    for name in wanted:
        if name not in kinds and name not in every:
            raise ArithprobeError(
                f"no position {shown(name)!r} in this data (positions: last, all, index, role; 0 to {len(index) - 1}; "
                f"{', '.join(roles)})"
            )
        found |= kinds.get(name) or {name: every[name]}
    token = torch.stack(list(found.values()), dim=1)
    return PositionTable(tuple(found), token.clamp(min=0), token >= 0)


def role_index(layouts: Sequence[Layout]) -> tuple[list[str], Tensor]:
    """The R roles of G layouts, in reading order, and the (G, R) token index of each, -1 where a layout has none."""
    furthest: dict[str, int] = {}
    for layout in layouts:
        for token, role in enumerate(layout.roles):
            furthest[role] = max(token, furthest.get(role, 0))
    roles = sorted(furthest, key=lambda role: furthest[role])
    index = [[layout.roles.index(role) if role in layout.roles else -1 for role in roles] for layout in layouts]
    return roles, torch.tensor(index, dtype=torch.int64)
