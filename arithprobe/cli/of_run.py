"""Defaults from a run folder for options that are not given: checkpoint, rows and result folder."""

import json
import sys
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from arithprobe.errors import ArithprobeError
from arithprobe.files import sha256_of
from arithprobe.models.checkpoint_files import checkpoint_in

PROVENANCE = "provenance.json"
"""What the fit leaves in its run folder about where it comes from."""


def complete(given: Namespace, command: str) -> None:
    """Fill in the checkpoint, the rows and the result folder from the run, and print which they are.

    Args:
        given: The options ``run``, ``checkpoint``, ``data`` and ``output_dir``; changed in place.
        command: Name of the result folder inside the run.

    Raises:
        ArithprobeError: If no checkpoint is named, or two are; or if the run does not give what is missing.
    """
    if given.run is not None and given.checkpoint is not None:
        raise ArithprobeError(f"{given.run} and --checkpoint {given.checkpoint} both name a model; give one")
    named = given.checkpoint if given.run is None else given.run
    if named is None:
        raise ArithprobeError(f"name a run, as in: arithprobe {command} lightning_logs/reg_sum/version_0")
    if not Path(named).exists():
        raise ArithprobeError(f"{named}: no such file or folder; expected a run folder or a checkpoint")
    path = checkpoint_in(named)
    given.checkpoint = str(path)
    if Path(named).is_dir():
        sys.stdout.write(f"checkpoint:  {path}\n")
    folder = run_of(path)
    is_run = (folder / PROVENANCE).is_file() or (folder / "config.yaml").is_file()
    if given.data is None:
        given.data = str(_validation_rows(folder, named))
        sys.stdout.write(f"rows:        {given.data}, the validation rows of the run\n")
    if given.output_dir is None:
        if not is_run:
            raise ArithprobeError(f"--output_dir is missing, and {named} is in no run folder")
        given.output_dir = str(folder / command)


def run_of(checkpoint: Path) -> Path:
    """The run folder that a checkpoint stands in, or would."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent


def rows_of_run(folder: Path, option: str) -> Path | None:
    """The file that the run was judged on; None if the run does not say it, or it is not here.

    Args:
        folder: The run folder.
        option: The option that names the rows of a command, for the message.

    Raises:
        ArithprobeError: If the file has changed since.
    """
    record = _provenance(folder)
    if record is None:
        return None
    path, root = Path(record["data"]["val"]["path"]), Path(record["folder"])
    found = next((one for one in (path, root / path) if one.is_file()), None)
    if found is not None and sha256_of(found) != record["data"]["val"]["sha256"]:
        what = f"{found} has changed since the run; pass {option} {found} to use it"
        raise ArithprobeError(f"{option} is missing: {what}")
    return found


def _validation_rows(folder: Path, named: str) -> Path:
    record = _provenance(folder)
    if record is None:
        raise ArithprobeError(f"--data is missing, and {named} is in no run folder that says its validation rows")
    found = rows_of_run(folder, "--data")
    if found is None:
        path = record["data"]["val"]["path"]
        raise ArithprobeError(f"--data is missing: the validation rows of the run, {path}, are not here")
    return found


def _provenance(folder: Path) -> dict[str, Any] | None:
    """What the run says of itself; None where it says nothing that can be read."""
    try:
        found = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
        _ = found["data"]["val"]["path"], found["data"]["val"]["sha256"], found["folder"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(found)
