"""The common command of all studies: it parses, runs, writes the findings and prints them."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from arithprobe.analysis.study import Study
from arithprobe.cli.of_run import complete
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


def parser_of(study: Study[Any, Any]) -> ArgumentParser:
    """Return the parser of the options.

    Args:
        study: The study to run.
    """
    parser = command_parser(study.name, study.description, "RUN [--data FILE] [--output_dir FOLDER] [OPTIONS]")
    add_checkpoint_options(parser, study.name)
    add_options(parser, study.options)
    return parser


def run(study: Study[Any, Any], words: Sequence[str] | None) -> None:
    """Parse the options, run, write records, pictures and page files, and print.

    Args:
        study: The study to run.
        words: The words of the command line, the command first; those of the process if None.

    Raises:
        ArithprobeError: For any mistake of the user.
    """
    given = parse(parser_of(study), words)
    if given.threads is not None:
        require_threads(given.threads)
    options = options_from(given, study.options)
    complete(given, study.name)

    from arithprobe.cli.terminal import print_files, print_said  # imports PyTorch, which the options need not wait for
    from arithprobe.said.folder import claimed, write_said

    folder, name = Path(given.output_dir), study.full_name()
    with claimed(folder, name, study.pages or (study.name,), study.records or (study.name,), study.folders):
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
