"""The trials of a sweep as one table, and what the trials that differ in the seed only have in common."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arithprobe.errors import ArithprobeError
from arithprobe.files import to_json
from arithprobe.probes.metrics import MeanOverSeeds, mean_over_seeds

_TRIAL = "trial"

TrialRow = Mapping[str, Any]
"""One trial: ``trial``, its parameters by configuration key, and what was measured."""


@dataclass(frozen=True)
class CellSummary:
    """The trials of one cell of a grid: same parameters, other seeds."""

    cell: dict[str, Any]
    """The parameters they share, by column."""
    seeds: tuple[Any, ...]
    """Their seeds, in the order of the rows."""
    columns: dict[str, MeanOverSeeds]
    """Of each column: mean, standard deviation and 95 % interval over the seeds, and how many have no value."""


def to_csv(rows: Sequence[TrialRow], parameters: Sequence[str] = ()) -> str:
    """All trials as CSV, one a line.

    Columns are ``trial``, the parameters, then all others in the order in which the rows first have them. Numbers read
    back equal; None and NaN are empty; lists and mappings are JSON.

    Args:
        rows: The trials; they need not all have the same columns.
        parameters: Columns to put first, those of them that exist.

    Returns:
        A header and a line a row; an empty text where there is no column.
    """
    seen = dict.fromkeys(name for row in rows for name in row)
    header = [name for name in dict.fromkeys([_TRIAL, *parameters]) if name in seen]
    header += [name for name in seen if name not in header]
    if not header:
        return ""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_field(row.get(name)) for name in header] for row in rows)
    return text.getvalue()


def over_seeds(
    rows: Sequence[TrialRow], by: Sequence[str], columns: Sequence[str], seed: str = "seed_everything"
) -> list[CellSummary]:
    """Mean and 95 % interval of each column over the trials that differ in the seed only.

    Args:
        rows: The trials.
        by: The parameters that tell the cells apart: all that vary, but for the seed.
        columns: What to summarise; a row without one, or with one that is not finite, counts as missing there.
        seed: The column of the seed.

    Returns:
        One summary a cell, in the order in which the rows first have them.

    Raises:
        ArithprobeError: If two trials of a cell have the same seed, or a column does not hold numbers.
    """
    cells: dict[str, list[TrialRow]] = {}
    for row in rows:
        cells.setdefault(to_json([row.get(name) for name in by]), []).append(row)
    found = []
    for same in cells.values():
        _require_other_seeds(same, by, seed)
        found.append(
            CellSummary(
                cell={name: same[0].get(name) for name in by},
                seeds=tuple(row.get(seed) for row in same),
                columns={name: mean_over_seeds([_number(row, name) for row in same]) for name in columns},
            )
        )
    return found


def _require_other_seeds(same: Sequence[TrialRow], by: Sequence[str], seed: str) -> None:
    taken: dict[str, TrialRow] = {}
    for row in same:
        first = taken.setdefault(to_json(row.get(seed)), row)
        if first is not row:
            raise ArithprobeError(
                f"{_name(first)} and {_name(row)} are equal in {', '.join([*by, seed])}: they do not differ in the "
                "seed only; name the parameter that differs as well"
            )


def _name(row: TrialRow) -> str:
    return f"trial '{row.get(_TRIAL, '?')}'"


def _plain(value: Any) -> Any:
    """Arrays and tensors as lists, and their numbers as Python's."""
    return value.tolist() if hasattr(value, "tolist") else value


def _number(row: TrialRow, name: str) -> float | None:
    value = _plain(row.get(name))
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise ArithprobeError(f"{_name(row)}: column '{name}' is {value!r}; expected a number")
    return float(value)


def _field(value: Any) -> str:
    value = _plain(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, Mapping | list | tuple):
        return to_json(value)
    return repr(value) if isinstance(value, float) else str(value)
