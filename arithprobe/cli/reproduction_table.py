"""The reproduction on the terminal: verdict, table, and what each number means."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from arithprobe.analysis.columns import by_protocol, number, shown_rows
from arithprobe.analysis.reproduce import Reproduction
from arithprobe.cli.verdict import print_verdict

_WIDTH = 120  # where there is no terminal to ask


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
    for label, keys in shown_rows(columns):
        one = by_protocol(columns, *keys)
        null = "-" if one.null is None else f"{number(one.null)} ({number(one.null_high)})"
        twin = "-" if one.twin is None else f"{number(one.twin)} ({number(one.twin_held_out)})"
        table.add_row(escape(label), number(one.notebook), number(one.held_out), null, twin)
    console.print(table)
    for key, sentence in found.meaning.items():
        console.print(f"[bold]{key}[/]: {escape(sentence)}", highlight=False)
    console.print(f"all positions, N and k': {escape(str(path))}", highlight=False, soft_wrap=True)
