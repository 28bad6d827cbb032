"""``arithprobe generate``: write TSV files of problems."""

import sys
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from arithprobe.cli.complaints import complaint
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.errors import ArithprobeError


def run(words: Sequence[str] | None) -> None:
    """Draw the problems and write one file a part.

    Raises:
        ArithprobeError: For any mistake of the user.
    """
    parser = _parser()
    try:
        options = parser.parse_args(list(sys.argv[1:] if words is None else words)[1:])
    except ArgumentError as error:
        raise ArithprobeError(complaint(str(error), [action.dest for action in parser._actions])) from error
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


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="arithprobe generate",
        description="Write TSV files of problems. The defaults make the original notebook's REG-SUM data.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_class_arguments(DataRecipe)
    parser.add_argument("--output_dir", type=str, default="data", help="Folder of the files.")
    parser.add_argument("--overwrite", action="store_true", help="Replace files that exist.")
    return parser
