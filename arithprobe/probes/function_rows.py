"""Rows with further quantities: the functions that a probe was asked to look for."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from arithprobe.errors import OF_OTHER_CODE, ArithprobeError, shown
from arithprobe.probes.wanted import FunctionTarget
from arithprobe.problems.quantities import PERIODIC
from arithprobe.problems.rows import ASKED, Rows, Variables


def rows_with(rows: Rows, functions: Sequence[FunctionTarget]) -> Rows:
    """Return the rows with functions of them among their quantities; without functions, the rows themselves.

    Rows are held out by the group of the answer, whatever the function.

    >>> from arithprobe.data.tokens import TokenDataset
    >>> x = torch.arange(6)
    >>> rows = TokenDataset(x, x.flip(0), None, lambda x, y: torch.stack([x, y], dim=1), ("x", "y"), "six rows")
    >>> more = rows_with(rows, [FunctionTarget("larger", lambda rows: torch.maximum(rows.x, rows.y))])
    >>> more.values("larger").tolist(), more.group_of("larger")
    ([5, 4, 3, 3, 4, 5], 'sum')

    Args:
        rows: N rows.
        functions: Each is called with the rows, once, and returns N numbers: a tensor, an array or a list.

    Raises:
        ArithprobeError: If a name is already taken in these rows, a function cannot be run, or does not return N finite
            numbers.
    """
    if not functions:
        return rows
    for one in functions:
        if one.name in rows.names or PERIODIC.fullmatch(one.name):
            raise ArithprobeError(f"target {one.name!r} has a meaning in {rows.path}; give the function another name")
    values = {one.name: _values(one, rows) for one in functions}
    return cast(Rows, _FunctionRows(rows, values, rows.group_of(rows.answer)))


class _FunctionVariables:
    """Variables, and functions beside them."""

    def __init__(self, rows: Variables, functions: Mapping[str, Tensor], group: str) -> None:
        self._rows, self._functions, self._function_group = rows, functions, group

    def __getattr__(self, name: str) -> Any:
        """What the rows have beyond their protocol."""
        if name in ("_rows", "_functions", "_function_group"):  # of a copy that is being made
            raise AttributeError(name)
        return getattr(self._rows, name)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self._rows.names, *self._functions)

    def values(self, name: str) -> Tensor:
        return self._functions[name] if name in self._functions else self._rows.values(name)

    def group_of(self, name: str) -> str:
        return self._function_group if name in self._functions else self._rows.group_of(name)

    def group(self, name: str) -> Tensor:
        return self._rows.group(self._function_group if name in self._functions else name)


class _FunctionRows(_FunctionVariables):
    """The same of whole rows; what is not about quantities is theirs."""

    _rows: Rows

    def __len__(self) -> int:
        return len(self._rows)

    def at(self, rows: Tensor | slice) -> Variables:
        some = {name: values[rows] for name, values in self._functions.items()}
        return _FunctionVariables(self._rows.at(rows), some, self._function_group)

    def counterfactual(self, name: str, rows: Tensor, donors: Tensor) -> Tensor | None:
        return None if name in self._functions else self._rows.counterfactual(name, rows, donors)

    def per_unit(self, name: str) -> float | None:
        return None if name in self._functions else self._rows.per_unit(name)


for _member in (one for one in ASKED if not hasattr(_FunctionRows, one)):
    setattr(_FunctionRows, _member, property(attrgetter(f"_rows.{_member}")))


def _values(target: FunctionTarget, rows: Rows) -> Tensor:
    """(N,) int64 or float64 values of a function, on the CPU."""
    name, n = shown(target.name), len(rows)
    try:
        returned = target.function(rows)
    except OF_OTHER_CODE as error:
        raise ArithprobeError(
            f"target {name!r}: the function cannot be run on the {n} rows of {rows.path}: {error!r}"
        ) from error
    try:
        found = returned.detach().cpu() if isinstance(returned, Tensor) else torch.from_numpy(np.array(returned))
    except (TypeError, ValueError):  # of words, of lists of several lengths
        raise ArithprobeError(
            f"target {name!r}: the function returned a {type(returned).__name__} that is no column of numbers; "
            f"expected ({n},), a number a row"
        ) from None
    if found.shape != (n,):
        raise ArithprobeError(
            f"target {name!r}: the function returned {tuple(found.shape)}; expected ({n},), a number a row"
        )
    if found.is_complex():
        raise ArithprobeError(f"target {name!r}: the function returned {found.dtype}; expected real numbers")
    found = found.double() if found.is_floating_point() else found.long()
    bad = (~found.isfinite()).nonzero()
    if len(bad):
        row = int(bad[0])
        raise ArithprobeError(
            f"target {name!r}: the function returned {found[row].item()} for row {row}; expected finite numbers"
        )
    return found
