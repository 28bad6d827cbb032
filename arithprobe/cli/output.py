"""What the commands on a checkpoint leave: pictures in a folder, and the names of all files on the screen."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from arithprobe.errors import ArithprobeError
from arithprobe.files import require_writable, write_whole

if TYPE_CHECKING:
    from arithprobe.plotting.render import Figure

_ENDINGS = (".png", ".svg")


def picture_folder(folder: Path, ours: str) -> Path:
    """The folder of a command's pictures, found to be writable, without a folder in the place of a picture.

    Args:
        folder: Where.
        ours: Names of all pictures that the command may write, a regular expression without the ending.

    Raises:
        ArithprobeError: If the folder cannot be made or written, or a picture's name is taken by a folder.
    """
    require_writable(folder)
    for path in _named(folder, ours):
        if path.is_dir():
            raise ArithprobeError(f"{path}: is a folder; expected a file to write")
    return folder


def replace_pictures(folder: Path, ours: str, pictures: "Mapping[str, Figure]") -> list[Path]:
    """Write the pictures of a run as PNG and SVG, and then remove those that an earlier run into the same folder left.

    All are drawn before any is written.

    Args:
        folder: Where.
        ours: As in :func:`picture_folder`; other files stay.
        pictures: Figures by name, without the ending.

    Returns:
        The PNG files written; beside each stands the SVG.
    """
    from arithprobe.plotting.render import to_png, to_rgb, to_svg  # imports Matplotlib, which options need not wait for

    drawn = {name: (to_png(to_rgb(figure)), to_svg(figure)) for name, figure in pictures.items()}
    written = []
    for name, (pixels, text) in drawn.items():
        write_whole(folder / f"{name}.svg", text)
        written.append(write_whole(folder / f"{name}.png", pixels))
    for old in _named(folder, ours):
        if old.stem not in pictures and old.is_file():
            old.unlink()
    return written


def print_files(console: Console, files: Sequence[Path]) -> None:
    """Say what was written.

    Args:
        console: Where to.
        files: What was written.
    """
    for path in files:
        console.print(f"{'picture' if path.suffix == '.png' else 'all numbers'}: {escape(str(path))}")
    if any(path.suffix == ".png" for path in files):
        console.print("beside each picture is its .svg")


def _named(folder: Path, ours: str) -> list[Path]:
    return [path for path in folder.glob("*.*") if path.suffix in _ENDINGS and re.fullmatch(ours, path.stem)]
