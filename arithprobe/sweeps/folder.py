"""The folder of a sweep: which sweep it is of, and how far each trial is."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from filelock import FileLock, Timeout

from arithprobe.errors import ArithprobeError
from arithprobe.files import require_writable, to_json, write_whole
from arithprobe.sweeps.grid import Trial, Values

State = Literal["waiting", "training", "measuring", "done", "failed"]
_SWEEP, _RESULT, _PROGRESS, _FIT = "sweep.json", "result.json", "progress.json", "fit.json"
CONFIG = "config.yaml"
"""Name of a trial's configuration of ``arithprobe fit``."""
BEST, RESUME = "best.ckpt", "resume.ckpt"
"""Names of the checkpoint that is measured, and of that from which a fit goes on."""


class TrialProgress(NamedTuple):
    """How far a trial is, as its files say."""

    state: State
    """What is being done to the trial, such as ``training``."""
    epoch: int | None = None
    """Epoch of the training, from 1; None before it."""
    epochs: int | None = None
    """Number of epochs of the whole training; None before it."""
    share: float = 0.0
    """Share of the training steps that are done, 0 to 1."""
    skill: float | None = None
    """Skill at the last validation; None before one."""
    verdict: str | None = None
    """Verdict of the last validation; None before one."""
    error: str | None = None
    """Why the trial failed, in a line; None if it did not."""


class TrialFolder:
    """What one trial leaves, and what tells how far it is.

    Args:
        path: ``<sweep>/<trial>``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.log = self.path / "log.txt"
        self.checkpoints = self.path / "checkpoints"
        self.progress_file = self.path / _PROGRESS

    def start(self, config: str) -> None:
        """Make the folder, with the configuration in it.

        Raises:
            ArithprobeError: If it was begun with another one.
        """
        path = self.path / CONFIG
        if path.is_file() and path.read_text() == config:
            return
        if self.is_trained or self.checkpoints.is_dir():
            raise ArithprobeError(
                f"{path}: is not what the trial was begun with; remove {self.path}, and it starts anew"
            )
        write_whole(path, config)

    def lock(self) -> FileLock:
        """What holds the folder for one process; the system lets go of it when that dies."""
        return FileLock(self.path / ".lock")

    def next_version(self) -> str:
        """Name of the run folder of the next attempt."""
        taken = [int(one.name[8:]) for one in self.path.glob("version_*") if one.name[8:].isdigit()]
        return f"version_{max(taken, default=-1) + 1}"

    def say(self, state: State, **known: Any) -> None:
        """Write how far it is."""
        write_whole(self.progress_file, to_json({"state": state, **known}) + "\n")

    def progress(self) -> TrialProgress:
        """How far it is; of a file that cannot be read, only that it waits."""
        record = _read(self.progress_file) or {}
        known = {name: record[name] for name in TrialProgress._fields if record.get(name) is not None}
        return TrialProgress(**{"state": "waiting", **known})

    @property
    def is_trained(self) -> bool:
        """Whether the fit has come to its end."""
        return (self.path / _FIT).is_file()

    def trained(self, seconds: float) -> None:
        """Write that it has, and what the last attempt cost."""
        write_whole(self.path / _FIT, to_json({"seconds": seconds}) + "\n")

    def forget(self) -> None:
        """Have the fit start anew: what it left is lost."""
        for path in (self.path / _FIT, self.checkpoints / RESUME):
            path.unlink(missing_ok=True)

    def result(self, measured_with: Mapping[str, Any]) -> dict[str, Any] | None:
        """The columns of a finished trial; None before it, and where it was measured with other options."""
        record = _read(self.path / _RESULT)
        if record is None or record.get("measured_with") != json.loads(to_json(measured_with)):
            return None
        columns = record.get("columns")
        return columns if isinstance(columns, dict) else None

    def finish(self, columns: Mapping[str, Any], measured_with: Mapping[str, Any], seconds: float) -> None:
        """Write the columns."""
        record = {"columns": columns, "measured_with": measured_with, "seconds": seconds}
        write_whole(self.path / _RESULT, to_json(record) + "\n")
        self.say("done", skill=columns.get("skill"), verdict=columns.get("verdict"), share=1.0)


class SweepFolder:
    """The folder of a sweep.

    Args:
        path: Where.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()

    def trial(self, trial: Trial) -> TrialFolder:
        """The folder of one trial."""
        return TrialFolder(self.path / trial.name)

    def hold(self) -> FileLock:
        """Hold the folder for this process; release it, or end.

        Raises:
            ArithprobeError: If another sweep holds it, or it cannot be written.
        """
        require_writable(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise ArithprobeError(f"{self.path}: another sweep is running in this folder") from None
        return lock

    def check(self, digests: Mapping[str, str], *, extend: bool) -> None:
        """Refuse a folder of another sweep.

        Args:
            digests: Of each trial's configuration and rows, by name.
            extend: Whether trials may be added to those that are there.

        Raises:
            ArithprobeError: If the folder holds something else, or trials of other settings or rows.
        """
        record = _read(self.path / _SWEEP)
        if record is None or not (isinstance(record.get("trials"), dict) and record["trials"]):
            others = [one.name for one in self.path.glob("*")] if self.path.is_dir() else []
            others = [name for name in others if not name.startswith(".")]
            if others:
                raise ArithprobeError(f"{self.path}: is no folder of a sweep, and holds {others[0]}; name another one")
            return
        there: Values = record["trials"]
        changed = [name for name in digests if name in there and there[name] != digests[name]]
        if changed:
            raise ArithprobeError(
                f"{self.path}: holds another sweep: trial {changed[0]} has other settings or rows; name another "
                "--output_dir"
            )
        gone = [name for name in there if name not in digests]
        new = [name for name in digests if name not in there]
        if gone or (new and not extend):
            what = f"has trial {gone[0]}, this grid has not" if gone else f"has no trial {new[0]}, this grid has"
            hint = "" if gone else ", or pass --extend to add what is new"
            raise ArithprobeError(f"{self.path}: holds another grid: it {what}; name another --output_dir{hint}")

    def write(self, digests: Mapping[str, str], settings: Mapping[str, Any]) -> None:
        """Write which sweep it is."""
        write_whole(self.path / _SWEEP, to_json({"trials": digests, **settings}) + "\n")


def rows_of(folder: SweepFolder, trials: Sequence[Trial], measured_with: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tidy table: a row for each finished trial, its name and parameters first."""
    found = []
    for trial in trials:
        columns = folder.trial(trial).result(measured_with)
        if columns is not None:
            found.append({"trial": trial.name, **trial.parameters, **columns})
    return found


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
