"""Conversion and checks of a caller's states, targets and groups."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError, shown
from arithprobe.probes.splits import fold_of

GIVEN, BY_VALUE = "groups", "value"
"""What rows are held out by: the groups given, or the value of each target."""
_REAL, _WHOLE = "biuf", "biu"  # kinds of NumPy types
_LEAST_SHARE = 0.25  # of the rows that a fold should have, below which groups are dealt out anew
_EXACT = 2.0**53  # whole numbers below it are exact as float64
_LARGEST = 1e100  # its square is a float64 still
_FLOATS = (torch.float32, torch.float64)


@dataclass(frozen=True)
class StateRows:
    """A set of N rows that are held out by labels, as :class:`~arithprobe.problems.rows.Grouped` requires."""

    labels: Tensor
    """(N,) int64."""
    path: str = "states"
    """What they are called in messages."""

    @property
    def layout(self) -> Tensor:
        """The (N,) kinds of the rows, all equal."""
        return torch.zeros_like(self.labels)

    def group(self, name: str) -> Tensor:
        """The (N,) labels."""
        return self.labels


def sites_of(states: object) -> dict[str, Tensor]:
    """Return (N, D) states by site, each with its own D, with their original type and device.

    Args:
        states: (N, D), or (N, S, D) for numbered sites, or (N, D) by name.

    Raises:
        ArithprobeError: If they have another shape, are not real numbers, or have different numbers of rows.
    """
    if isinstance(states, Mapping):
        _require_names("states", states)
        found = {str(name): _matrix(f"states[{str(name)!r}]", one) for name, one in states.items()}
    else:
        whole = _matrix("states", states, most=3)
        found = {"states": whole} if whole.ndim == 2 else {str(n): whole[:, n] for n in range(whole.shape[1])}
    if not found:
        raise ArithprobeError("states are empty; expected (n, d), or (n, d) by name")
    lengths = {name: len(one) for name, one in found.items()}
    if len(set(lengths.values())) > 1:
        raise ArithprobeError(f"states have different numbers of rows: {shown(lengths)}; expected one number")
    return found


def targets_of(targets: object, n: int) -> dict[str, Tensor]:
    """Return (N,) float64 targets by name.

    Args:
        targets: (N,), or (N,) by name: a mapping, or a data frame with its columns.
        n: The number N.

    Raises:
        ArithprobeError: If one has another shape, is not a real number in every row, or is the same in all.
    """
    if isinstance(targets, Mapping):
        columns = dict(targets)
    elif hasattr(targets, "columns") and hasattr(targets, "__getitem__"):
        columns = {name: targets[name] for name in targets.columns}
    else:
        name = getattr(targets, "name", None)
        if name is None:
            return {"target": _target("targets", targets, n)}
        columns = {name: targets}
    _require_names("targets", columns)
    if not columns:
        raise ArithprobeError("targets are empty; expected one or more")
    return {str(name): _target(f"target {shown(name)!r}", one, n) for name, one in columns.items()}


def labels_of(groups: object, n: int, folds: int, what: str = GIVEN) -> Tensor:
    """Return (N,) int64 labels that are equal for equal groups, and of which every fold gets its share.

    Folds are those of ``arithprobe probe``, by a hash of the label. If that would leave a fold with less than a quarter
    of its share of the rows, as with few groups, groups are assigned to the folds in turn, the largest first.

    Args:
        groups: (N,) numbers or words.
        n: The number N.
        folds: The number of folds.
        what: Their name in messages.

    Raises:
        ArithprobeError: If they have another shape, one is missing, or there are fewer groups than folds.
    """
    column = _column(what, groups, n)
    try:
        distinct, index, sizes = np.unique(column, return_inverse=True, return_counts=True)
        missing = bool((distinct != distinct).any())
    except TypeError:  # words and numbers, None
        raise ArithprobeError(f"{what} hold values that cannot be compared; expected numbers, or words") from None
    if missing:
        raise ArithprobeError(f"{what}: nan in row {int((column != column).argmax())}; expected a label a row")
    if len(distinct) < folds:
        raise ArithprobeError(
            f"{what}: {len(distinct)} different values, fewer than the {folds} folds; use fewer folds, or groups= of "
            "more values (rows of equal value are held out together; range(n) holds out each row for itself)"
        )
    whole = column.dtype.kind in _WHOLE or (
        column.dtype.kind == "f" and bool((column == column.round()).all()) and float(np.abs(column).max()) < _EXACT
    )
    labels = torch.from_numpy((column if whole else index.reshape(-1)).astype(np.int64))
    rows = torch.bincount(fold_of(labels, folds), minlength=folds)
    if int(rows.min()) >= _LEAST_SHARE * n / folds:
        return labels
    return torch.from_numpy(_dealt_out(sizes, folds)[index.reshape(-1)])


def batch_of(states: Tensor, rows: slice) -> Tensor:
    """Return the (B, 1, D) float32 or float64 states of some rows, on the CPU.

    Raises:
        ArithprobeError: If one is not finite.
    """
    part = states[rows].detach().cpu()
    if part.dtype not in _FLOATS:
        part = part.float() if part.is_floating_point() else part.double()
    bad = (~(part.abs() < _LARGEST)).nonzero()
    if len(bad):
        row, dimension = bad[0].tolist()
        where = f"in row {rows.start + row}, dimension {dimension}"
        raise ArithprobeError(f"{part[row, dimension].item()} {where}; expected finite numbers below {_LARGEST:g}")
    return part[:, None]


def _require_names(what: str, named: Iterable[object]) -> None:
    """Refuse two names that are one as words, such as 1 and '1'."""
    words = [str(name) for name in named]
    if len(set(words)) < len(words):
        twice = next(word for word in words if words.count(word) > 1)
        raise ArithprobeError(f"{what}: two of them are named {twice!r}; expected different names")


def _matrix(what: str, given: object, most: int = 2) -> Tensor:
    if isinstance(given, Tensor):
        found = given if given.layout == torch.strided else given.to_dense()
    else:
        found = torch.from_numpy(_real(what, _array(what, given)))
    shape = tuple(found.shape)
    if not 2 <= len(shape) <= most:
        one = "; of one number a row, states[:, None]" if len(shape) == 1 else ""
        token = "; choose a token first" if len(shape) == 3 else ""
        expected = "(n, d)" if most == 2 else "(n, d) or (n, sites, d)"
        raise ArithprobeError(f"{what} have shape {shape}; expected {expected}{one}{token}")
    if 0 in shape:
        raise ArithprobeError(f"{what} have shape {shape}; expected at least one row and one dimension")
    if found.is_complex():
        raise ArithprobeError(f"{what} are {found.dtype}; expected real numbers")
    return found


def _target(what: str, given: object, n: int) -> Tensor:
    column = _real(what, _column(what, given, n)).astype(np.float64)
    bad = ~(np.abs(column) < _LARGEST)
    if bad.any():
        row = int(bad.argmax())
        raise ArithprobeError(f"{what}: {column[row]} in row {row}; expected finite numbers below {_LARGEST:g}")
    if float(column.min()) == float(column.max()):
        raise ArithprobeError(f"{what}: {column[0]:g} in every row; a constant cannot be probed")
    if float(column.std()) < 1 / _LARGEST:
        raise ArithprobeError(f"{what}: values differ by less than {1 / _LARGEST:g}; scale them up")
    return torch.from_numpy(column)


def _column(what: str, given: object, n: int) -> Any:
    found = _array(what, given)
    if found.shape != (n,):
        raise ArithprobeError(f"{what}: shape {found.shape}; expected ({n},), one a row of the states")
    return found


def _array(what: str, given: object) -> Any:
    """A NumPy array that is its own."""
    if isinstance(given, Tensor):
        one = given.detach().cpu()
        return np.array((one.float() if one.dtype == torch.bfloat16 else one).numpy())
    if np.ma.isMaskedArray(given):
        raise ArithprobeError(f"{what} are a masked array; leave the masked rows out everywhere")
    try:
        return np.array(given)
    except (RuntimeError, TypeError, ValueError):  # lists of several lengths, or of tensors with a gradient
        raise ArithprobeError(f"{what} cannot be made an array of numbers: a {type(given).__name__}") from None


def _real(what: str, array: Any) -> Any:
    """A float array of real numbers, in the byte order of the machine; whole numbers as float64."""
    if array.dtype.kind not in _REAL:
        hint = "; a ridge probe reads numbers: give each class a target of 0 and 1" if array.dtype.kind in "US" else ""
        raise ArithprobeError(f"{what}: of type {array.dtype}; expected real numbers{hint}")
    small = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    return array.astype(np.float32 if small else np.float64)


def _dealt_out(sizes: Any, folds: int) -> Any:
    """(G,) labels of groups of some sizes, whose folds have about as many rows each."""
    candidates = torch.arange(50 * folds + 10 * folds * len(sizes))
    of_fold = [iter((fold_of(candidates, folds) == fold).nonzero()[:, 0].tolist()) for fold in range(folds)]
    rows, labels = np.zeros(folds), np.zeros(len(sizes), dtype=np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        fold = int(rows.argmin())
        labels[group] = next(of_fold[fold])
        rows[fold] += sizes[group]
    return labels
