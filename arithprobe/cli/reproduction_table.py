"""The reproduction on the terminal: verdict, table, and what each number means."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from arithprobe.analysis.columns import Columns, cell, number
from arithprobe.analysis.reproduce import Reproduction
from arithprobe.attention.records import head_name
from arithprobe.cli.verdict import print_verdict

_WIDTH = 120  # where there is no terminal to ask
_SHOWN_N = (1, 3, 6, 12)
_CURVES = ("fourier_r2_curve", "smallk_r2")
_CAUSAL = ("delta_mse", "delta_mse_random", "excess_delta_mse")
_Keys = tuple[str | int, ...]


def print_reproduction(found: Reproduction, path: Path) -> None:
    """Print it.

    Args:
        found: The numbers.
        path: The file they are in.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    print_verdict(console, found.behaviour)
    columns = found.columns
    table = Table(title=f"{found.task}, {found.rows} rows: the notebook's numbers for this checkpoint")
    for header in ("quantity", "notebook's protocol", "held out", "shuffled labels (95 %)", "untrained (held out)"):
        table.add_column(header, justify="left" if header == "quantity" else "right", no_wrap=header == "quantity")
    for label, keys in _rows(columns):
        one = cell(columns, *keys)
        null = "-" if one.null is None else f"{number(one.null)} ({number(one.null_high)})"
        twin = "-" if one.twin is None else f"{number(one.twin)} ({number(one.twin_held_out)})"
        table.add_row(escape(label), number(one.notebook), number(one.held_out), null, twin)
    console.print(table)
    for key, sentence in found.meaning.items():
        console.print(f"[bold]{key}[/]: {escape(sentence)}", highlight=False)
    console.print(f"all positions, N and k': {escape(str(path))}", highlight=False, soft_wrap=True)


def _rows(columns: Columns) -> Iterator[tuple[str, _Keys]]:
    """Label and place of each number shown; of lists a few entries."""
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
