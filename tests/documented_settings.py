"""Settings with which a documented ``arithprobe`` command takes a second or two.

They come after what is documented, so all documented options are read and checked first. A sweep's whole grid is
checked by ``--dry_run``; then one small trial of it is run.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

SIZES = {"model.d_model": 16, "model.d_ff": 32}
BRIEF = ("--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu")
SMALL = tuple(word for name, value in SIZES.items() for word in (f"--{name}", str(value)))
FIT = (*SMALL, *BRIEF, *("--trainer.limit_train_batches", "3", "--trainer.log_every_n_steps", "1"))
QUICK: Mapping[str, tuple[str, ...]] = {  # as few as each command takes, whatever is documented
    "fit": FIT,
    "validate": BRIEF,
    "test": BRIEF,
    "predict": BRIEF,
    "probe": (
        *("--twins", "1", "--fourier_permutations", "19", "--frequencies", "1", "--subspace_draws", "1"),
        *("--mlp_shuffles", "1", "--mlp_hidden", "8", "--small_periods", "2"),
    ),
    "intervene": ("--draws", "19", "--variable_draws", "19"),
    "heads": ("--draws", "19", "--twins", "1"),
    "reproduce": (
        *("--shuffles", "2", "--mlp_shuffles", "2", "--twins", "1", "--mlp_epochs", "2", "--mlp_settings", "8x1"),
    ),
}
LESS: Mapping[str, Mapping[str, tuple[str, ...]]] = {  # of these only so much, where the documentation names none
    "probe": {"--targets": ("sum", "x1"), "--positions": ("last",)},
    "heads": {"--sample_idx": ("0",)},
    "intervene": {"--sites": ("resid_mid.1",), "--positions": ("last",), "--variables": ("sum",)},
}
MEASURE = {
    "frequencies": [1],
    "ablate": 1,
    "probe_dimension": 8,
    "permutations": 19,
    "twins": 1,
    "draws": 19,
    "no_mlp": True,
}


def quick(words: Sequence[str]) -> list[list[str]]:
    """The runs of ``arithprobe`` that a documented line becomes, in order."""
    command = words[0] if words else ""
    if any(word in words for word in ("-h", "--help", "--help_all")):
        return [list(words)]
    if command == "sweep":
        return [list(words)] if "--dry_run" in words else [[*words, "--dry_run"], [*words, *_one_trial(words)]]
    less = [word for name, few in LESS.get(command, {}).items() if name not in words for word in (name, *few)]
    steps = _steps(words) if command == "fit" else ()
    untrained = command in ("validate", "test", "predict") and not {"--ckpt_path", "--model.weights"} & set(words)
    return [[*words, *QUICK.get(command, ()), *less, *steps, *(SMALL if untrained else ())]]


def _steps(words: Sequence[str]) -> tuple[str, ...]:
    """Three steps, with one validation at the end; three of them where emergence is looked for, which takes so many."""
    steps, every = 6 if "--ckpt_path" in words else 3, 3
    files = (value for option, value in pairwise(words) if option == "--config")
    if any("Emergence" in text for text in (*words, *(Path(one).read_text() for one in files if Path(one).is_file()))):
        every = 1
    return ("--trainer.max_steps", str(steps), "--trainer.val_check_interval", str(every))


def _one_trial(words: Sequence[str]) -> list[str]:
    """Options that leave one small trial of a sweep."""
    given: dict[str, Any] = {}
    for option, value in pairwise(words):
        if option == "--config":
            given |= yaml.safe_load(Path(value).read_text())
        elif option.startswith("--"):
            given[option[2:]] = yaml.safe_load(value)
    first = given["grid"][0] if isinstance(given["grid"], list) else given["grid"]
    grid = {key: [SIZES.get(key, values[0])] for key, values in first.items()}
    settings = {"trainer.max_epochs": 1, "trainer.limit_train_batches": 3, "trainer.log_every_n_steps": 1, **SIZES}
    settings = given.get("set", {}) | {
        key: value for key, value in settings.items() if key not in grid and key not in given.get("rules", {})
    }
    if recipe := settings.get("data.recipe"):
        settings["data.recipe"] = recipe | {"rows": 1500}
    measure = (word for key, value in MEASURE.items() for word in (f"--measure.{key}", json.dumps(value)))
    return ["--grid", json.dumps(grid), "--set", json.dumps(settings), "--jobs", "1", *measure]
