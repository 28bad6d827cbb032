"""The trials of a sweep on the terminal."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from arithprobe.said.numbers import number, share

_READ = ("r2", "null", "untrained")
_WARNING = (
    "A trial that is NOT LEARNED says nothing about the task, whatever its probes show: an untrained network can score "
    "as high."
)


def print_trials(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """A line for each finished trial: its verdict first, then what is read, beside its controls.

    Args:
        console: Where.
        rows: The tidy table.
    """
    if not rows:
        return
    verdicts = Counter(str(row["verdict"]) for row in rows)
    console.print("; ".join(f"{count} of {len(rows)} trials {verdict}" for verdict, count in verdicts.items()))
    if verdicts["NOT LEARNED"]:
        console.print(_WARNING)
    probe = _widest_probe(rows)
    k = rows[0].get("probe_dimension")
    table = Table(box=SIMPLE, title=f"held-out R2 of {probe} at final@last, also of {k} components (k)")
    for heading in (
        "trial",
        "parameters",
        "verdict",
        "skill",
        "exact",
        "R2",
        "null",
        "untr.",
        "R2 (k)",
        "null (k)",
        "untr. (k)",
    ):
        left = heading in ("trial", "verdict")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True, overflow="fold")
    for row in rows:
        table.add_row(
            escape(str(row["trial"])),
            f"{row['parameters'] / 1e6:.2f}M",
            str(row["verdict"]),
            number(_float(row, "skill")),
            share(_float(row, "exact_match")),
            *(number(_float(row, f"{probe}{part}_{one}")) for part in ("", "_k") for one in _READ),
        )
    console.print(table)


def _widest_probe(rows: Sequence[Mapping[str, Any]]) -> str:
    """The Fourier probe of most frequencies, or that of the sum."""
    named = [key.removesuffix("_r2") for key in rows[0] if key.startswith("fourier") and key.endswith("_r2")]
    plain = [name for name in named if not name.endswith("_k")]
    return max(plain, key=lambda name: int(name.removeprefix("fourier")), default="sum")


def _float(row: Mapping[str, Any], column: str) -> float:
    value = row.get(column)
    return math.nan if value is None else float(value)
