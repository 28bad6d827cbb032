"""One number by several protocols, side by side."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from arithprobe.analysis.reproduce.notebook import Array, NotebookValues
from arithprobe.attention.records import head_name

_SHOWN_N = (1, 3, 6, 12)
_CURVES = ("fourier_r2_curve", "smallk_r2")
_CAUSAL = ("delta_mse", "delta_mse_random", "excess_delta_mse")


class Protocols(NamedTuple):
    """One number by several protocols; every column has the notebook's names."""

    notebook_protocol: NotebookValues
    """Numbers by the notebook's own protocol."""
    held_out: NotebookValues
    """On rows the probes were not fitted on."""
    null: NotebookValues
    """The notebook's on permuted labels: the mean."""
    null_sd: NotebookValues
    """Standard deviation of those on permuted labels."""
    null_high: NotebookValues
    """95 % quantile of those on permuted labels."""
    random_init: NotebookValues
    """The notebook's on untrained networks: the mean."""
    random_init_held_out: NotebookValues
    """Mean over untrained networks, on rows the probes were not fitted on."""


class ByProtocol(NamedTuple):
    """One number by all protocols; None where a protocol has none."""

    notebook: float | None
    held_out: float | None
    null: float | None
    null_sd: float | None
    null_high: float | None
    twin: float | None
    twin_held_out: float | None


def by_protocol(columns: Protocols, *path: str | int) -> ByProtocol:
    """The number under a key, or further down, such as ``("fourier_r2_curve", 0, "r2")``."""
    return ByProtocol(*(_under(column, path) for column in columns))


def number(value: float | None) -> str:
    """Three digits after the point, fewer for larger numbers; a dash for none."""
    if value is None or value != value:
        return "-"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def shown_rows(columns: Protocols) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Label and place of each number that a table shows; of lists a few entries."""
    for key, value in columns.notebook_protocol.items():
        if key in ("pos_r2", "pos_r2_masked"):
            for position in sorted({0, len(value) // 2, len(value) - 1}):
                yield f"{key} [{position}]", (key, position)
        elif key in _CURVES:
            for at, record in enumerate(value):
                period = f"k'={record['kprime']} " if "kprime" in record else ""
                if period or record["N"] in _SHOWN_N:
                    yield f"{key} {period}N={record['N']}", (key, at, "r2")
        elif key == "causal":
            yield "causal base_mse", (key, "base_mse")
            for name in _CAUSAL:
                for at, record in enumerate(value[f"{name}_vs_dim"]):
                    if record["N"] in _SHOWN_N:
                        yield f"{name} N={record['N']}", (key, f"{name}_vs_dim", at, name)
        elif key == "nonlinear_settings":
            for at, record in enumerate(value):
                shape = f"{record['hidden']}x{record['depth']}"
                yield from ((f"{name} {shape}", (key, at, name)) for name in record if name.startswith("mlp"))
        elif key == "per_head":
            for layer, heads in enumerate(value):
                for head in range(len(heads)):
                    yield f"copy_score {head_name(layer, head)}", (key, layer, head, "copy_score")
        elif isinstance(value, float) and key != "alpha":
            yield key, (key,)


def null_of(draws: list[NotebookValues]) -> tuple[NotebookValues, NotebookValues, NotebookValues]:
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
