"""``arithprobe emergence``: from which training step on each variable is readable, over runs."""

from collections.abc import Sequence
from pathlib import Path

from arithprobe.cli.options import command_parser, parse
from arithprobe.errors import ArithprobeError


def run(words: Sequence[str] | None) -> None:
    """Read the runs, print what they say, write ``emergence.json`` and the picture.

    Raises:
        ArithprobeError: For any mistake of the user.
    """
    parser = command_parser(
        "emergence",
        "From which training step on each variable is readable, side by side for runs that were trained with the "
        "callback EmergenceProbing.",
    )
    parser.add_argument("--runs", type=str, nargs="+", help="Run folders, lightning_logs/NAME/version_N.")
    parser.add_argument("--output_dir", type=str, help="Folder of the results.")
    given = parse(parser, words, required=("runs", "output_dir"))

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
