"""``validate RUN``, ``test RUN`` and ``predict RUN``: the run says which checkpoint and which rows."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from arithprobe.cli.of_run import PROVENANCE, rows_of_run, run_of
from arithprobe.cli.run_folder import KEYWORDS
from arithprobe.models.checkpoint_files import checkpoint_in

_COMMANDS = ("validate", "test", "predict")
_CONFIG = ("--config", "-c")
_ROWS = "--data.val_file"


def with_its_run(words: Sequence[str], say: Callable[[str], object]) -> list[str]:
    """Make a run that stands first ``--ckpt_path``, and take the data of the run where no ``--config`` is given.

    Args:
        words: The command and its options.
        say: Is told where the data are from.

    Returns:
        The words; for other commands, and where no run is named, the same.

    Raises:
        ArithprobeError: If the folder has no checkpoint, or the run's validation rows have changed.
    """
    command, *options = words
    if command not in _COMMANDS:
        return list(words)
    if options and not options[0].startswith("-"):
        options.insert(0, "--ckpt_path")
    named = _value_of("--ckpt_path", options)
    if named is None or named in KEYWORDS or any(one.partition("=")[0] in _CONFIG for one in options):
        return [command, *options]
    run = run_of(checkpoint_in(named))
    config = _config_of(run)
    if "data" not in config:
        return [command, *options]
    say(f"data:        as in {run / 'config.yaml'}")
    given = any(one.partition("=")[0] == _ROWS for one in options)
    if not given and (rows := rows_of_run(run, _ROWS)) is not None:
        config["data"]["val_file"] = str(rows)
    kept = {name: config[name] for name in ("data", "name") if name in config}
    return [command, "--config", json.dumps(kept), *options]


def checkpoint_of_run(folder: str, command: str, say: Callable[[str], object]) -> Path:
    """Return the checkpoint of a run folder: the last to go on from, the best to judge.

    Args:
        folder: The run folder.
        command: The command, ``fit`` or one that judges.
        say: Is told which file it is.

    Raises:
        ArithprobeError: If the folder has no checkpoint.
    """
    path = checkpoint_in(folder, "last" if command == "fit" else "best")
    is_earlier = command == "fit" and path.name == "best.ckpt"
    say(f"checkpoint:  {path}{' (there is no last.ckpt: the fit may go on from an earlier step)' * is_earlier}")
    return path


def warn_of_model_options(words: Sequence[str], warn: Callable[[str], object]) -> None:
    """Warn of options of the model on a command line, since the checkpoint decides the model.

    Args:
        words: The command and its options.
        warn: Is told which of them have no effect.
    """
    named = dict.fromkeys(word.partition("=")[0] for word in words)
    unused = [one for one in named if one.startswith("--model.") and one != "--model.weights"]
    if unused:
        warn(f"{words[0]}: {', '.join(unused)} changes nothing; the checkpoint decides the model")


def _value_of(option: str, words: Sequence[str]) -> str | None:
    """The last value that an option is given."""
    found = None
    for place, word in enumerate(words):
        if word == option:
            found = words[place + 1] if place + 1 < len(words) else None
        elif word.startswith(f"{option}="):
            found = word.partition("=")[2]
    return found


def _config_of(run: Path) -> dict[str, Any]:
    """Its configuration; empty where the folder is no run's, or has none that can be read."""
    if not (run / PROVENANCE).is_file():
        return {}
    try:
        found = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("data"), dict) else {}
