"""``arithprobe report``: one page about a run, or several side by side, in one file."""

from collections.abc import Sequence
from pathlib import Path

from arithprobe.cli.options import command_parser, parse, steps
from arithprobe.errors import ArithprobeError
from arithprobe.files import require_writable, write_whole

_NAME = "report.html"


def run(words: Sequence[str] | None) -> None:
    """Read the runs, write the page, and say where it is.

    Raises:
        ArithprobeError: For any mistake of the user.
    """
    parser = command_parser(
        "report",
        "One self-contained HTML page about a run: whether it has learned, how far the evidence reaches, curves, maps, "
        "interventions, heads, and where it comes from. Results of 'probe', 'intervene', 'heads' and 'reproduce', and "
        "of studies of your own, are on it if their --output_dir lies in the run folder. Several runs stand side by "
        "side.",
    )
    parser.add_argument("runs", type=str, nargs="+", help="Run folders, lightning_logs/NAME/version_N.")
    parser.add_argument(
        "-o", "--output", type=str | None, help=f"The file; by default {_NAME} in the run folder, or here for several."
    )
    given = parse(parser, words)
    path = Path(given.output or (Path(given.runs[0]) / _NAME if len(given.runs) == 1 else _NAME))
    if path.is_dir():
        raise ArithprobeError(f"{path}: is a folder; expected a file to write")
    if path.suffix not in (".html", ".htm"):
        raise ArithprobeError(f"{path}: is no name of a page; expected one that ends in .html")

    from rich.console import Console
    from rich.markup import escape

    from arithprobe.cli.verdict import print_verdict
    from arithprobe.reports.page import page_of, read_runs  # imports PyTorch; options need not wait for it

    runs = read_runs(given.runs)
    require_writable(path.parent)
    with steps() as progress:
        page = page_of(runs, progress)
    write_whole(path, page)
    console = Console(soft_wrap=True)
    for one in runs:
        console.print(f"{one.folder} ({one.task}):", markup=False)
        print_verdict(console, one.behaviour)
    if len({one.task for one in runs}) > 1:
        console.print("the runs have different tasks: their errors and scores do not compare")
    console.print(f"report: {escape(str(path))} ({len(page.encode()) / 1e6:.1f} MB, opens without network)")
