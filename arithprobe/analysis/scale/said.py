"""The findings of a sweep: the verdict of each finished trial first, and then what grows with size."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from arithprobe.plotting.scaling import ablation_scaling, mlp_scaling, probe_scaling
from arithprobe.said.content import Column, Picture, Said, Table, Words
from arithprobe.said.numbers import number, share

_READ = ("r2", "null", "untrained")
_COLUMNS = ("parameters", "verdict", "skill", "exact", "R2", "null", "untr.", "R2 (k)", "null (k)", "untr. (k)")
_PICTURES = {
    probe_scaling: "Held-out R2 of the probes, by size",
    ablation_scaling: "Loss when the probe's subspace is ablated, by size",
    mlp_scaling: "MLP probes beside ridge, by size",
}
_WARNING = (
    "A trial that is NOT LEARNED says nothing about the task, whatever its probes read: an untrained network can score "
    "as high."
)


def said_of(rows: Sequence[Mapping[str, Any]], facet: str | None, across: str) -> Said:
    """Return the findings of the finished trials.

    Args:
        rows: The tidy table, one row per trial; at least one.
        facet: The column whose values have panels of their own.
        across: The column of the horizontal axis in the pictures.
    """
    verdicts = Counter(str(row["verdict"]) for row in rows)
    counts = Words("; ".join(f"{count} of {len(rows)} trials {verdict}" for verdict, count in verdicts.items()))
    warning = (Words(_WARNING, "bad"),) if verdicts["NOT LEARNED"] else ()
    return Said(
        name="sweep",
        title="Scale",
        behaviour=None,
        blocks=(counts, *warning, _table(rows), *_pictures(rows, facet, across)),
        shows="What probes and ablation find, by size of the model.",
        does_not_show="Anything about the task in trials that have not learned it.",
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    probe = _widest_probe(rows)
    return Table(
        f"held-out R2 of {probe} at final@last, also of {rows[0].get('probe_dimension')} components (k)",
        (Column("trial", is_text=True), *(Column(name, is_text=name == "verdict") for name in _COLUMNS)),
        tuple(
            (
                str(row["trial"]),
                f"{row['parameters'] / 1e6:.2f}M",
                str(row["verdict"]),
                number(_float(row, "skill")),
                share(_float(row, "exact_match")),
                *(number(_float(row, f"{probe}{part}_{one}")) for part in ("", "_k") for one in _READ),
            )
            for row in rows
        ),
    )


def _pictures(rows: Sequence[Mapping[str, Any]], facet: str | None, across: str) -> Iterator[Picture]:
    for draw, caption in _PICTURES.items():
        figure = draw(rows, facet, across)
        if figure is not None:
            yield Picture(draw.__name__, lambda figure=figure: figure, f"{len(rows)} trials.", caption)  # type: ignore[misc]


def _widest_probe(rows: Sequence[Mapping[str, Any]]) -> str:
    """The Fourier probe of most frequencies, or that of the sum."""
    named = [key.removesuffix("_r2") for key in rows[0] if key.startswith("fourier") and key.endswith("_r2")]
    plain = [name for name in named if not name.endswith("_k")]
    return max(plain, key=lambda name: int(name.removeprefix("fourier")), default="sum")


def _float(row: Mapping[str, Any], column: str) -> float:
    value = row.get(column)
    return math.nan if value is None else float(value)
