"""Findings on the terminal: the verdict first, then words and tables; pictures by the names of their files."""

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from arithprobe.cli.verdict import console_of, print_verdict
from arithprobe.said.content import Column, Said, Table, Words

_WIDTH = 130  # where there is no terminal to ask
_WRAPPED = 40  # characters that a column of words needs
_STYLES = {"plain": "", "good": "green", "doubtful": "yellow", "bad": "bold red"}


def print_said(said: Said, console: Console | None = None) -> None:
    """Print the findings.

    Args:
        said: The findings, with the further findings that they contain.
        console: The console; the terminal by default.
    """
    console = console_of(_WIDTH) if console is None else console
    if said.behaviour is not None:
        print_verdict(console, said.behaviour)
    for block in (block for one in said.parts for block in one.blocks):
        if isinstance(block, Words):
            console.print(block.text, style=_STYLES[block.tone] or None, markup=False, highlight=False)
        elif isinstance(block, Table):
            console.print(_grid(block, console))


def print_files(files: Sequence[Path]) -> None:
    """Print which files were written."""
    console = Console(soft_wrap=True)
    for path in files:
        console.print(f"{'picture' if path.suffix == '.png' else 'all numbers'}: {escape(str(path))}")
    if any(path.suffix == ".png" for path in files):
        console.print("beside each picture is its .svg")


def _grid(table: Table, console: Console) -> Grid:
    """The table, without as many optional columns, from the last, as the lines are too short for."""
    shown = list(table.columns)
    while _width(table, shown) > console.width and any(column.optional for column in shown):
        shown.remove([column for column in shown if column.optional][-1])
    return _drawn(table, shown)


def _width(table: Table, shown: Sequence[Column]) -> int:
    """Characters of a line: of long words only as many as they may be wrapped to."""
    widths = []
    for column in shown:
        place = table.columns.index(column)
        longest = max(cell_len(cell) for cell in (column.name, *(row[place] for row in table.rows)))
        widths.append(min(longest, _WRAPPED) if column.is_text else longest)
    return sum(widths) + 2 * len(widths)


def _drawn(table: Table, shown: Sequence[Column]) -> Grid:
    grid = Grid(title=escape(table.title), box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), caption_justify="left")
    for column in shown:
        grid.add_column(
            escape(column.name),
            justify="left" if column.is_text else "right",
            no_wrap=not column.is_text,
            overflow="fold",
        )
    places = [table.columns.index(column) for column in shown]
    for row in table.rows:
        grid.add_row(*(escape(row[place]) for place in places))
    if table.notes:
        grid.caption = escape("\n".join(table.notes))
    return grid
