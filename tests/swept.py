"""A sweep of two small trials that nothing disturbed, and what other sweeps leave, to be compared with it.

Trials are run in this process where a test is not about processes: a worker imports everything again, for seconds.
"""

import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
import yaml
from conftest import ROOT
from documented_runs import Here, Said, own_output

from arithprobe import cli
from arithprobe.models.weights import read_checkpoint

PLAIN: Mapping[str, Any] = {
    "name": "tiny",
    "base": str(ROOT / "configs" / "reg_modk.yaml"),
    "grid": {"model.n_layers": [1], "model.d_model": [16], "seed_everything": [0, 1]},
    "rules": {"model.d_ff": "2 * model.d_model", "model.n_heads": "model.d_model / 8"},
    "measure": {
        "twins": 1,
        "permutations": 19,
        "frequencies": [1, 3],
        "ablate": 2,
        "mlp_shuffles": 1,
        "mlp_hidden": 8,
        "probe_dimension": 8,
        "draws": 19,
    },
}


class Sweep(NamedTuple):
    """A sweep that is done."""

    config: Path
    """Its configuration file."""
    out: Path
    """Its folder."""
    said: str
    """On stdout."""


def settings(tmp_path: Path, **more: Any) -> dict[str, Any]:
    """Settings of all trials: 300 rows, five epochs of 19 steps."""
    return {
        "data.train_file": None,
        "data.val_file": None,
        "data.data_dir": str(tmp_path / "data"),
        "data.batch_size": 16,
        "data.recipe": {"task": "mod", "modulus": 97, "rows": 600, "val_fraction": 0.5},
        "trainer.max_epochs": 5,
        "trainer.log_every_n_steps": 8,
        "trainer.accelerator": "cpu",
        "trainer.callbacks": [{"class_path": "RidgeProbing", "init_args": {"positions": ["last"]}}],
        **more,
    }


def written(tmp_path: Path, sweep: Mapping[str, Any] = PLAIN, **more: Any) -> Path:
    """A configuration file."""
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({**sweep, "set": settings(tmp_path, **more)}, sort_keys=False))
    return path


def sweep_here(config: Path, output: Path, *words: object) -> Said:
    """``arithprobe sweep`` in this process, its trials too, unless they are for Ray; figures stay white."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch("arithprobe.cli.sweep.LokyEngine", Here),
        mock.patch("sys.argv", ["arithprobe"]),
        own_output(out, err),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")  # of a fit that goes on
        code = cli.main([str(word) for word in ("sweep", "--config", config, "--output_dir", output, *words)])
    return Said(code, out.getvalue(), err.getvalue())


def undisturbed(place: Path) -> Sweep:
    """The sweep ``PLAIN``; made once in a place."""
    config, out, said = place / "sweep.yaml", place / "out", place / "said.txt"
    if not said.exists():
        place.mkdir()
        done = sweep_here(written(place), out)
        assert done.code == 0, done.out + done.err
        said.write_text(done.out)
    return Sweep(config, out, said.read_text())


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """What each trial measured."""
    return {path.parent.name: json.loads(path.read_text())["columns"] for path in sorted(folder.glob("*/result.json"))}


def best(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """The weights behind it."""
    weights: dict[str, torch.Tensor] = read_checkpoint(folder / name / "checkpoints" / "best.ckpt")["state_dict"]
    return weights


def assert_same(folder: Path, other: Path) -> None:
    """The trials of two sweeps have the same measures and weights, to the last bit."""
    assert results(folder) == results(other)
    for name in results(other):
        assert equal(best(folder, name), best(other, name))


def equal(weights: Mapping[str, torch.Tensor], others: Mapping[str, torch.Tensor]) -> bool:
    """Whether they are, to the last bit."""
    return weights.keys() == others.keys() and all(weights[key].equal(value) for key, value in others.items())
