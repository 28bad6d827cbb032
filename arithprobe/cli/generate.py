"""``arithprobe generate``: write TSV files of problems."""

import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from arithprobe.cli.options import add_options, command_parser, parse
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.errors import ArithprobeError


def parser_of() -> ArgumentParser:
    """Return the parser of the options."""
    parser = command_parser(
        "generate", "Write TSV files of problems. The defaults make the original notebook's REG-SUM data."
    )
    add_options(parser, DataRecipe)
    folder = "Folder of the files. [default data]"
    parser.add_argument("--output_dir", type=str, default="data", metavar="FOLDER", help=folder)
    parser.add_argument("--overwrite", action="store_true", help="Replace files that exist.")
    return parser


def run(words: Sequence[str] | None) -> None:
    """Draw the problems, and write one file per part.

    Raises:
        ArithprobeError: For any mistake of the user.
    """
    options = parse(parser_of(), words)
    folder, overwrite = Path(options.pop("output_dir")), options.pop("overwrite")
    recipe = DataRecipe(**options.as_dict())
    parts = {part: folder / recipe.file_name(part) for part in recipe.parts}
    for path in parts.values():
        if path.is_dir() or (path.exists() and not overwrite):
            raise ArithprobeError(f"{path}: exists; " + ("it is a folder" if path.is_dir() else "pass --overwrite"))
    from arithprobe.data.tsv import write_tsv  # imports PyTorch, which the options need not wait for

    pairs = sample(recipe)
    for part, path in parts.items():
        write_tsv(path, pairs[part].problems(recipe))
        sys.stdout.write(f"{path}: {len(pairs[part].x)} rows\n")
