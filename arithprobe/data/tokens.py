"""Sums as your own tokens: rows for a network that does not read characters."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from arithprobe.data.problem_rows import ProblemRows, one_hot_tokens
from arithprobe.errors import OF_OTHER_CODE, ArithprobeError, several
from arithprobe.problems.grammar import Problem
from arithprobe.problems.positions import RESERVED
from arithprobe.problems.quantities import Sums

Encode = Callable[[Tensor, Tensor], Tensor]
"""Makes the (N, T) int64 token ids of (N,) first and (N,) second operands."""


class TokenDataset(ProblemRows):
    """A set of N sums of T tokens each, in an encoding of your own.

    >>> x, y = torch.arange(3), torch.tensor([2, 0, 1])
    >>> encode = lambda x, y: torch.stack([x, y, torch.full_like(x, 5)], dim=1)
    >>> rows = TokenDataset(x, y, 5, encode, ("x", "y", "equals"))
    >>> rows[0].ids.tolist(), rows.answers.tolist(), rows.texts()[1]
    ([[0, 2, 5]], [2, 1, 3], '1 + 0 (mod 5) = ?')

    Args:
        x: (N,) int64 first operands.
        y: (N,) int64 second operands.
        modulus: k, or None for plain sums.
        encode: Makes the (N, T) tokens from operands; called again when operands are changed.
        roles: The role of each of the T tokens.
        path: The name of the rows in messages and records.

    Raises:
        ArithprobeError: If there are no rows, operands are not two int64 columns of one length, or the tokens are not
            (N, T) int64 with one role each; if a role has a name that means other tokens, or the modulus is invalid.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        modulus: int | None,
        encode: Encode,
        roles: Sequence[str],
        path: str = "rows of one's own",
    ) -> None:
        for name, column in (("x", x), ("y", y)):
            if not isinstance(column, Tensor):
                raise ArithprobeError(f"{path}: {name} is a {type(column).__name__}; expected int64 (N,), a tensor")
            if column.dtype != torch.int64 or column.ndim != 1 or column.shape != x.shape or not len(column):
                raise ArithprobeError(
                    f"{path}: {name} is {column.dtype} {tuple(column.shape)}; expected int64 (N,), as long as x"
                )
        if modulus is not None and (type(modulus) is not int or modulus < 2):
            raise ArithprobeError(f"{path}: modulus is {modulus!r}; expected None, or k, 2 or more")
        roles = several(f"{path}: roles", roles)
        taken = [role for role in roles if role in RESERVED]
        if taken:
            raise ArithprobeError(f"{path}: a role is called {taken[0]!r}, which means other tokens; call it otherwise")
        try:
            ids: object = encode(x, y)
        except OF_OTHER_CODE as error:
            raise ArithprobeError(f"{path}: encode cannot be run on {len(x)} operands: {error!r}") from error
        if not isinstance(ids, Tensor) or ids.dtype != torch.int64 or ids.shape != (len(x), len(roles)):
            got = f"{ids.dtype} {tuple(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__
            raise ArithprobeError(f"{path}: encode gave {got}; expected int64 ({len(x)}, {len(roles)}), a token a role")
        if len(set(roles)) < len(roles):
            raise ArithprobeError(f"{path}: roles are {list(roles)}; expected each once")
        n = torch.zeros(len(x), dtype=torch.int64)
        super().__init__(path, ids, n + len(roles), Sums(x, y, modulus), n, [roles])
        self.encode = encode

    def texts(self, rows: Tensor | None = None) -> list[str]:
        """The N problems, or those of some row numbers, written out."""
        some = self.sums if rows is None else self.sums.at(rows)
        return [str(Problem(*one, self.modulus)) for one in zip(some.x.tolist(), some.y.tolist(), strict=True)]

    def surface(self) -> dict[str, Tensor]:
        """The features ``tokens``: the prompt, one-hot by place."""
        return {"tokens": one_hot_tokens(self.ids)}

    def fits(self, rows: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Whether the operands are not negative, (n,); every number is one token."""
        return (x >= 0) & (y >= 0)

    def rewritten(self, rows: Tensor, x: Tensor, y: Tensor, change: str) -> "TokenDataset":
        """Return N rows with other operands."""
        return TokenDataset(x, y, self.modulus, self.encode, self.roles[0], f"{self.path}, {change}")
