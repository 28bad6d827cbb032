"""The checkpoint file that a run folder stands for; no PyTorch is imported, so that mistakes show at once."""

from pathlib import Path
from typing import Literal

from arithprobe.errors import ArithprobeError

_IN_A_RUN = ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "best.ckpt", "last.ckpt")


def checkpoint_in(path: str | Path, first: Literal["best", "last"] = "best") -> Path:
    """Return the checkpoint that a path stands for: the file itself, or the checkpoint in a run folder.

    Args:
        path: The file or the folder.
        first: Which checkpoint of a folder to prefer; the other one is taken if it is missing.

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
