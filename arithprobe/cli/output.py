"""What the commands on a checkpoint leave: pictures in a folder, and the names of all files on the screen."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from arithprobe.files import write_whole


def replace_pictures(folder: Path, patterns: Sequence[str], pictures: Mapping[str, bytes]) -> list[Path]:
    """Write the pictures of a run, and remove those that an earlier run into the same folder left.

    Args:
        folder: Where.
        patterns: Names of all pictures that the command may write, with wildcards; other files stay.
        pictures: PNG by name, without the ending.

    Returns:
        The files written.
    """
    for old in (file for pattern in patterns for file in folder.glob(pattern) if file.is_file()):
        if old.stem not in pictures:
            old.unlink()
    return [write_whole(folder / f"{name}.png", picture) for name, picture in pictures.items()]


def print_files(console: Console, files: Sequence[Path]) -> None:
    """Say what was written.

    Args:
        console: Where to.
        files: What was written.
    """
    for path in files:
        console.print(f"{'picture' if path.suffix == '.png' else 'all numbers'}: {escape(str(path))}")
