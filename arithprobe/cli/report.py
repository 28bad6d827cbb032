"""``arithprobe report``: one page about a run, or several side by side, in one file."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from arithprobe.cli.options import command_parser, parse, steps
from arithprobe.errors import ArithprobeError
from arithprobe.files import require_writable, write_whole

_NAME = "report.html"


def parser_of() -> ArgumentParser:
    """Return the parser of the options."""
    parser = command_parser(
        "report",
        "Write one self-contained HTML page about a run: the verdict, the ladder of evidence, curves, maps, "
        "interventions, heads, and the command that remakes it. The page includes results of 'probe', 'intervene', "
        "'heads', 'reproduce' and your own studies if their --output_dir is in the run folder. Several runs stand "
        "side by side.",
        "RUN [RUN ...] [--output FILE]",
    )
    parser.add_argument(
        "folders", type=str, nargs="*", metavar="RUN", help="Run folders, lightning_logs/NAME/version_N. Required."
    )
    parser.add_argument("--runs", type=str, nargs="+", metavar="RUN", help="The same as RUN.")
    parser.add_argument(
        "-o",
        "--output",
        type=str | None,
        metavar="FILE",
        help=f"File to write. Default: {_NAME} in the run folder, or here for several runs.",
    )
    return parser


def run(words: Sequence[str] | None) -> None:
    """Read the runs, write the page, and print where it is.

    Raises:
        ArithprobeError: For any mistake of the user.
    """
    given = parse(parser_of(), words)
    given.runs = [*given.folders, *(given.runs or [])]
    if not given.runs:
        raise ArithprobeError("RUN is missing; usage: arithprobe report RUN [RUN ...] [--output FILE]")
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
