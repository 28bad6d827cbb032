"""One command for every study: parse, run, write what was said, and say it."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arithprobe.analysis.study import Study
from arithprobe.cli.options import (
    add_checkpoint_options,
    add_options,
    command_parser,
    options_from,
    parse,
    rows_and_model,
    steps,
)
from arithprobe.errors import OtherCheckpointWarning
from arithprobe.threads import require_threads


def run(study: Study[Any, Any], words: Sequence[str] | None) -> None:
    """Parse, run, write records, pictures and page files, print.

    Args:
        study: What to run.
        words: The words of the command line, the command first; those of the process if None.

    Raises:
        ArithprobeError: For any mistake of the user.
    """
    parser = command_parser(study.name, study.description)
    add_checkpoint_options(parser)
    parser.add_argument("--data", "--val", type=str, help="Rows of 'problem<TAB>answer', best ones not trained on.")
    add_options(parser, study.options)
    given = parse(parser, words, required=("checkpoint", "data", "output_dir"))
    if given.threads is not None:
        require_threads(given.threads)
    options = options_from(given, study.options)

    from arithprobe.cli.terminal import print_files, print_said  # imports PyTorch, which the options need not wait for
    from arithprobe.said.folder import claimed, write_said

    folder, name = Path(given.output_dir), study.full_name()
    with claimed(folder, name, study.pages or (study.name,), study.records or (study.name,)):
        rows, loaded = rows_and_model(given)
        if line := study.warned(rows, options):
            sys.stdout.write(f"{line}\n")
        with warnings.catch_warnings(record=True) as warned, steps() as progress:
            warnings.simplefilter("always", OtherCheckpointWarning)
            result = study.run(loaded, rows, options, progress)
        for warning in warned:
            sys.stderr.write(f"arithprobe: warning: {warning.message}\n")
        said = study.said(result)
        files = write_said(said, folder, name)
    print_said(said)
    print_files(files)
