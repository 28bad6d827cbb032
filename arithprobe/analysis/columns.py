"""One number by several protocols, side by side."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from arithprobe.analysis.notebook import Array, Figures


class Columns(NamedTuple):
    """One figure by several protocols; every column has the notebook's names."""

    notebook_protocol: Figures
    """The notebook's."""
    held_out: Figures
    """On rows the probes were not fitted on."""
    null: Figures
    """The notebook's on permuted labels: the mean."""
    null_sd: Figures
    """Their standard deviation."""
    null_high: Figures
    """Their 95 % quantile."""
    random_init: Figures
    """The notebook's on untrained networks: the mean."""
    random_init_held_out: Figures
    """The same, held out."""


class Cell(NamedTuple):
    """One number by all protocols; None where a protocol has none."""

    notebook: float | None
    held_out: float | None
    null: float | None
    null_sd: float | None
    null_high: float | None
    twin: float | None
    twin_held_out: float | None


def cell(columns: Columns, *path: str | int) -> Cell:
    """The number under a key, or further down, such as ``("fourier_r2_curve", 0, "r2")``."""
    return Cell(*(_under(column, path) for column in columns))


def number(value: float | None) -> str:
    """Three digits after the point, fewer for larger numbers; a dash for none."""
    if value is None or value != value:
        return "-"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def null_of(draws: list[Figures]) -> tuple[Figures, Figures, Figures]:
    """Mean, standard deviation and 95 % quantile."""
    return over(np.mean, draws), over(np.std, draws), over(lambda values: np.quantile(values, 0.95), draws)


def over(reduce: Callable[[Array], Any], draws: list[Any]) -> Any:
    """One record of the form of several: their numbers reduced, names and counts kept."""
    first = draws[0]
    if isinstance(first, dict):
        return {key: over(reduce, [draw[key] for draw in draws]) for key in first if key != "alpha"}
    if isinstance(first, list):
        return [over(reduce, list(items)) for items in zip(*draws, strict=True)]
    if isinstance(first, float) and None not in draws:
        return float(reduce(np.array(draws)))
    return None if None in draws else first


def _under(column: Any, path: tuple[str | int, ...]) -> float | None:
    for step in path:
        if isinstance(column, dict):
            column = column.get(step)
        elif isinstance(column, list) and isinstance(step, int):
            column = column[step]
    return column if isinstance(column, (int, float)) else None
