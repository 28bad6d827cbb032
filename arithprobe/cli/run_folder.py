"""The output folder of commands that train or judge: ``lightning_logs/<name>/version_N``."""

import re
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger

from arithprobe.callbacks.board_logger import BoardLogger
from arithprobe.callbacks.run_folder import LOG_FOLDER, keep_folder, make_folder
from arithprobe.errors import ArithprobeError
from arithprobe.files import new_version

KEYWORDS = ("last", "best", "hpc")
_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*")


def parent_of(root: str | None, name: str) -> Path:
    """Return the folder of all versions of a run.

    Args:
        root: The folder of ``lightning_logs``; the working folder by default.
        name: Name of the run; a '/' makes a folder.

    Raises:
        ArithprobeError: If the name would leave the folder.
    """
    require_name(name)
    return Path(root or ".") / LOG_FOLDER / name


def run_loggers(parent: Path, version: str | None = None) -> list[Logger]:
    """Make a CSV and a TensorBoard logger that share one folder; on their own they count versions separately.

    Args:
        parent: The folder of all versions.
        version: The version; None if it is still to be made.
    """
    place, name = parent.parent, parent.name
    board = BoardLogger(place, name=name, version=version, default_hp_metric=False)
    return [CSVLogger(place, name=name, version=version), board]


def begin_folder(trainer: Trainer, parent: Path, *, ours: bool) -> None:
    """Make the folder of a run, which no other run has or will have.

    Args:
        trainer: The trainer of the run.
        parent: The folder of all versions.
        ours: Whether the loggers are those of :func:`run_loggers`; the folder of another CSV or TensorBoard logger is
            the run's too.

    Raises:
        ArithprobeError: If it cannot be made, or a logger's version already belongs to another run.
    """
    folder = None if ours else make_folder(trainer.loggers)
    folder = folder or new_version(parent)
    if ours:
        trainer.loggers = run_loggers(parent, folder.name)
    keep_folder(trainer, folder)


def named_checkpoint(which: str, root: str | None, name: str) -> Path:
    """Return the checkpoint that ``--ckpt_path last``, ``best`` or ``hpc`` stands for.

    Args:
        which: ``last`` or ``best`` of the newest run of a name that has one, or ``hpc``: the checkpoint that Lightning
            saved when a cluster stopped the job, under ``default_root_dir``.
        root: ``default_root_dir``; the working folder by default.
        name: Name of the run.

    Raises:
        ArithprobeError: If there is no such checkpoint.
    """
    parent = parent_of(root, name)
    place, pattern = (Path(root or "."), "hpc_ckpt_*.ckpt") if which == "hpc" else (parent, "version_*")
    numbered = [one for one in place.glob(pattern) if re.search(r"_(\d+)(\.ckpt)?$", one.name)]
    numbered.sort(key=lambda one: int(re.findall(r"\d+", one.name)[-1]), reverse=True)
    for found in numbered if which == "hpc" else [one / "checkpoints" / f"{which}.ckpt" for one in numbered]:
        if found.is_file():
            return found
    if which == "hpc":
        raise ArithprobeError(f"--ckpt_path is hpc; there is no {place / pattern}")
    looked = parent / pattern / "checkpoints" / f"{which}.ckpt"
    raise ArithprobeError(f"--ckpt_path is {which}; there is no {looked} (--name says of which runs)")


def require_name(name: str) -> None:
    """Refuse a name that would leave the folder.

    Raises:
        ArithprobeError: If it would.
    """
    if not _NAME.fullmatch(name) or ".." in name.split("/"):
        raise ArithprobeError(f"--name is {name!r}; expected letters, digits, '_', '-', '.' and '/' between them")
