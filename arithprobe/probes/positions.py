"""Where a probe reads: token positions by name, for every row of a data set."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from arithprobe.problems import Layout

PositionKind = Literal["last", "index", "role"]


class PositionTable(NamedTuple):
    """P named positions of N rows."""

    names: tuple[str, ...]
    """``last`` (the last real token), character indices ``0``, ``1``, ..., or roles ``x100``, ``plus``, ..."""
    token: Tensor
    """(N, P) int64 token index; 0 where the row has no such position."""
    valid: Tensor
    """(N, P) bool, False where the row has no such position: padding is never probed."""

    def gather(self, states: Tensor, rows: Tensor) -> Tensor:
        """(B, P, D) states at the positions, from (B, T, D) states of the given (B,) rows."""
        token = self.token[rows.cpu()].to(states.device)
        return states.gather(1, token[..., None].expand(-1, -1, states.shape[-1]))


def position_table(
    kinds: Sequence[PositionKind], lengths: Tensor, layout: Tensor, layouts: Sequence[Layout]
) -> PositionTable:
    """The positions of the given kinds, in reading order within a kind.

    Args:
        kinds: ``last``, ``index``, ``role``.
        lengths: (N,) real tokens of each row.
        layout: (N,) index into ``layouts``.
        layouts: Which character is which.
    """
    names: list[str] = []
    tokens: list[Tensor] = []
    for kind in kinds:
        if kind == "last":
            names.append("last")
            tokens.append(lengths[:, None] - 1)
        elif kind == "index":
            index = torch.arange(int(lengths.max()))
            names += [str(i) for i in index.tolist()]
            tokens.append(torch.where(index < lengths[:, None], index, -1))
        else:
            roles, table = _role_table(layouts)
            names += roles
            tokens.append(table[layout])
    token = torch.cat(tokens, dim=1)
    return PositionTable(tuple(names), token.clamp(min=0), token >= 0)


def _role_table(layouts: Sequence[Layout]) -> tuple[list[str], Tensor]:
    """All roles, in reading order, and the token index of each in each layout, -1 where it has none."""
    furthest: dict[str, int] = {}
    for layout in layouts:
        for token, role in enumerate(layout.roles):
            furthest[role] = max(token, furthest.get(role, 0))
    roles = sorted(furthest, key=lambda role: furthest[role])
    index = [[layout.roles.index(role) if role in layout.roles else -1 for role in roles] for layout in layouts]
    return roles, torch.tensor(index, dtype=torch.int64)
