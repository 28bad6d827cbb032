"""``arithprobe emergence``: the training step from which on each variable is readable, over runs."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from arithprobe.cli.options import command_parser, parse
from arithprobe.errors import ArithprobeError


def parser_of() -> ArgumentParser:
    """Return the parser of the options."""
    parser = command_parser(
        "emergence",
        "Compare the training step from which each variable is readable, over runs that were trained with the callback "
        "EmergenceProbing.",
        "RUN [RUN ...] --output_dir FOLDER",
    )
    runs = "Run folders, lightning_logs/NAME/version_N."
    parser.add_argument("folders", type=str, nargs="*", metavar="RUN", help=f"{runs} At least one is required.")
    parser.add_argument("--runs", type=str, nargs="+", metavar="RUN", help="The same as RUN.")
    parser.add_argument("--output_dir", type=str, metavar="FOLDER", help="Folder of the results. Required.")
    return parser


def run(words: Sequence[str] | None) -> None:
    """Read the runs, print the findings, and write ``emergence.json`` and the figure.

    Raises:
        ArithprobeError: For any mistake of the user.
    """
    given = parse(parser_of(), words)
    given.runs = [*given.folders, *(given.runs or [])]
    if not given.runs or given.output_dir is None:
        what = "RUN" if not given.runs else "--output_dir"
        raise ArithprobeError(f"{what} is missing; usage: arithprobe emergence RUN [RUN ...] --output_dir FOLDER")

    from arithprobe.analysis.emergence.run import RECORD, compare_runs  # and PyTorch; the options need not wait for it
    from arithprobe.cli.terminal import print_files, print_said
    from arithprobe.said.folder import claimed, write_said

    folder = Path(given.output_dir)
    for one in given.runs:
        if Path(one).resolve() == folder.resolve():
            raise ArithprobeError(f"{one}: is the output folder, and its {RECORD}.json would be overwritten")
    with claimed(folder, __name__, [RECORD], [RECORD]):
        said = compare_runs(given.runs).said
        files = write_said(said, folder, __name__)
    print_said(said)
    print_files(files)
