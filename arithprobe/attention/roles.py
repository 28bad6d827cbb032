"""Roles of characters, and groups of roles, as matrices that turn token positions into roles without a loop over rows.

Problems of one layout (the same digit counts) have the same role at the same token, so all that is linear in an
attention pattern follows from the sum of the patterns of each layout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor

from arithprobe.problems.positions import role_index

RoleGroup = Literal["x", "y", "plus", "mod", "others"]
GROUPS: tuple[RoleGroup, ...] = get_args(RoleGroup)
"""The original notebook's categories: digits of x, digits of y, ``+``, ``(mod k)`` from bracket to bracket with the
space inside, and all else (other spaces, ``=``, ``?``)."""


def role_group(role: str) -> RoleGroup:
    """The group of a role.

    >>> [role_group(role) for role in ("x100", "y1", "plus", "mod_sp", "mod10", "sp1", "query")]
    ['x', 'y', 'plus', 'mod', 'mod', 'others', 'others']
    """
    if role == "plus":
        return "plus"
    if role.startswith("mod"):
        return "mod"
    return "x" if role[0] == "x" else "y" if role[0] == "y" else "others"


@dataclass(frozen=True)
class RoleMatrix:
    """Which token of each layout has which role, and which role is of which group."""

    roles: tuple[str, ...]
    """R roles, in reading order."""
    tokens: Tensor
    """(G, T, R) float64, 1 where the token of the layout has the role; rows of padding are 0."""
    groups: Tensor
    """(R, 5) float64, 1 where the role is of the group, in the order of :data:`GROUPS`."""

    @cached_property
    def lengths(self) -> Tensor:
        """(G,) float64 tokens of each layout."""
        return self.tokens.sum(dim=(1, 2))

    def of_pairs(self, sums: Tensor) -> Tensor:
        """(..., R, R) sums by role of query and key, from (G, ..., T, T) sums by token of each layout."""
        shape = sums.shape[1:-2]
        flat = sums.reshape(len(sums), -1, *sums.shape[-2:])
        found = torch.einsum("gtr,gmtu,gus->mrs", self.tokens, flat, self.tokens)
        return found.reshape(*shape, *found.shape[-2:])

    def of_tokens(self, sums: Tensor) -> Tensor:
        """(..., R) sums by role, from (G, ..., T) sums by token of each layout."""
        return torch.einsum("gtr,g...t->...r", self.tokens, sums)


def role_matrix(kinds: Sequence[Sequence[str]]) -> RoleMatrix:
    """The roles of some kinds of rows.

    >>> from arithprobe.problems.grammar import Layout
    >>> table = role_matrix([Layout.of("7 + 5 = ?").roles, Layout.of("12 + 5 = ?").roles])
    >>> table.roles[:3], table.tokens.shape, table.lengths.tolist()
    (('x10', 'x1', 'sp1'), torch.Size([2, 10, 10]), [9.0, 10.0])

    Args:
        kinds: The role of each token, for G kinds of rows.
    """
    roles, index = role_index(kinds)
    tokens = torch.zeros(len(kinds), max(map(len, kinds)), len(roles), dtype=torch.float64)
    layout, role = (index >= 0).nonzero(as_tuple=True)
    tokens[layout, index[layout, role], role] = 1.0
    groups = torch.tensor(
        [[float(role_group(name) == group) for group in GROUPS] for name in roles], dtype=torch.float64
    )
    return RoleMatrix(tuple(roles), tokens, groups)
