"""Where a run writes: one folder, ``lightning_logs/<name>/version_N``, for all of its loggers."""

import re
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from arithprobe.errors import ArithprobeError

LOG_FOLDER = "lightning_logs"
_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*")


def run_loggers(root: str | None, name: str) -> list[Logger]:
    """A CSV and a TensorBoard logger that share one version folder.

    Left to themselves the two count versions separately, and may part.

    Args:
        root: Where ``lightning_logs`` stands; the working folder by default.
        name: Name of the run; a '/' makes a folder.

    Raises:
        ArithprobeError: If the name would leave the folder.
    """
    require_name(name)
    folder = Path(root or ".") / LOG_FOLDER
    board = TensorBoardLogger(folder, name=name, default_hp_metric=False)
    return [CSVLogger(folder, name=name, version=board.version), board]


def require_name(name: str) -> None:
    """Refuse a name that would leave the folder.

    Raises:
        ArithprobeError: If it is one.
    """
    if not _NAME.fullmatch(name) or ".." in name.split("/"):
        raise ArithprobeError(f"--name is {name!r}; expected letters, digits, '_', '-', '.' and '/' between them")
