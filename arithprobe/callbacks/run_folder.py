"""The folder that a run writes to: one folder of its own, whatever its loggers are."""

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from arithprobe.errors import ArithprobeError
from arithprobe.files import make_alone, new_version

LOG_FOLDER = "lightning_logs"
_CLAIM = ".run"  # is made by the one run that takes a folder which its logger has made
_MARKS = ("config.yaml", "behaviour.json", "provenance.json", "predictions.tsv", "probes", "checkpoints")
_ATTRIBUTE = "_arithprobe_run_folder"


def run_folder(trainer: Trainer) -> Path | None:
    """Return the folder of the run, which holds no other run's files; call it on every rank.

    It is the first CSV or TensorBoard logger's ``log_dir``, if no run has written there yet; else the next free
    ``lightning_logs/version_N`` under ``default_root_dir``. Checkpoints without a given ``dirpath`` then go into its
    ``checkpoints``. The command line chooses ``lightning_logs/<name>/version_N``. A Trainer keeps its folder: its later
    fits and validations are the same run.

    Returns:
        None for a ``fast_dev_run``, which writes nothing to disk, and for a Trainer in Python without a logger.

    Raises:
        ArithprobeError: If the folder cannot be made, or the environment says that this one process is another's rank.
    """
    _require_first(trainer)
    if is_trial(trainer):
        return None
    found = _found(trainer) if trainer.is_global_zero else None
    found = trainer.strategy.broadcast(found)
    return None if found is None else Path(found)


def keep_folder(trainer: Trainer, folder: Path) -> None:
    """Make a new folder the run's own; checkpoints without a given folder go there too."""
    for callback in vars(trainer)["callbacks"]:
        if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
            callback.dirpath = str(folder / "checkpoints")
    vars(trainer)[_ATTRIBUTE] = _key(trainer), str(folder)


def make_folder(loggers: list[Logger]) -> Path | None:
    """Make the folder of the first CSV or TensorBoard logger, if it is not made yet; None without such a logger.

    Two runs that start at once may choose the same version; the second one takes the next.

    Raises:
        ArithprobeError: If the folder exists, and the user has given its version.
    """
    logger = _foldered(loggers)
    if logger is None:
        return None
    chosen = logger._version is None
    while not make_alone(Path(logger.log_dir)):
        if not chosen:
            raise ArithprobeError(
                f"{logger.log_dir}: is there, and a run is to have a folder of its own; leave out the version of "
                f"{type(logger).__name__}, or say another"
            )
        logger._version = None
    return Path(logger.log_dir)


def is_trial(trainer: Trainer) -> bool:
    """Whether this is a ``fast_dev_run``, which writes nothing to disk."""
    return bool(getattr(trainer, "fast_dev_run", False))


def _found(trainer: Trainer) -> str | None:
    kept = vars(trainer).get(_ATTRIBUTE)
    if kept is not None and kept[0] == _key(trainer):
        return None if kept[1] is None else str(kept[1])
    if not trainer.loggers:
        rank_zero_info("no logger: there is no run folder, and what probes find is kept in no file")
        vars(trainer)[_ATTRIBUTE] = _key(trainer), None
        return None
    logger = _foldered(trainer.loggers)
    own = None if logger is None else Path(logger.log_dir)  # Lightning has made it before any callback is asked
    if own is not None and _claim(own):
        vars(trainer)[_ATTRIBUTE] = _key(trainer), str(own)
        return str(own)
    free = new_version(Path(trainer.default_root_dir) / LOG_FOLDER if own is None else own.parent)
    if own is not None:
        rank_zero_info(f"{own} holds another run; this one writes into {free}")
    keep_folder(trainer, free)
    return str(free)


def _foldered(loggers: list[Logger]) -> CSVLogger | TensorBoardLogger | None:
    """The first logger that writes into a folder a run."""
    return next((one for one in loggers if isinstance(one, (CSVLogger, TensorBoardLogger))), None)


def _key(trainer: Trainer) -> list[int]:
    """A Trainer whose loggers are replaced begins another run."""
    return [id(logger) for logger in trainer.loggers]


def _claim(folder: Path) -> bool:
    """Make a folder this run's own; False where it is another's."""
    if any((folder / mark).exists() for mark in _MARKS):
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _CLAIM).touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError as error:
        raise ArithprobeError(f"{folder}: output folder cannot be written: {error.strerror}") from error
    return True


def _require_first(trainer: Trainer) -> None:
    """Refuse a single process that Lightning takes for a later rank: its loggers would write nothing."""
    rank = getattr(rank_zero_only, "rank", 0)
    if trainer.world_size == 1 and rank:
        raise ArithprobeError(
            f"the environment says that this process is rank {rank}, and the Trainer has one process: nothing would be "
            "logged; unset RANK, LOCAL_RANK and WORLD_SIZE (or SLURM_PROCID), or 'rank_zero_only.rank = 0'"
        )
