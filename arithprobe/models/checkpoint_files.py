"""Which file is meant by the folder of a run; without PyTorch, so that mistakes are told at once."""

from pathlib import Path
from typing import Literal

from arithprobe.errors import ArithprobeError

_IN_A_RUN = ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "best.ckpt", "last.ckpt")


def checkpoint_in(path: str | Path, first: Literal["best", "last"] = "best") -> Path:
    """The checkpoint that is meant: a file itself, or that of the folder of a run.

    Args:
        path: The file or the folder.
        first: Which of a folder; the other where there is none.

    Raises:
        ArithprobeError: If a folder has neither.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    names = sorted(_IN_A_RUN, key=lambda name: first not in name)
    found = next((path / name for name in names if (path / name).is_file()), None)
    if found is None:
        runs = [one.parent.parent for one in path.glob("version_*/checkpoints/*.ckpt")]
        newest = max(runs, key=lambda run: (len(run.name), run.name), default=None)
        expected = f"or the folder of a run ({' or '.join(_IN_A_RUN[:2])})" if newest is None else f"or a run: {newest}"
        raise ArithprobeError(f"{path}: is a folder without a checkpoint; expected a file, {expected}")
    return found
