"""What a run keeps and how it ends: its checkpoints, its exit code, a disk that is full."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import assert_refused
from run_stops import no_file_larger_than
from short_fits import files_in, fit_words, run_of

from arithprobe.files import write_whole
from arithprobe.models.checkpoints import load_model
from arithprobe.training.checkpoint_io import WholeCheckpointIO


def steps_of(folder):
    """Optimizer steps made at each checkpoint, by name."""
    files = (folder / "checkpoints").glob("*.ckpt")
    return {path.stem: torch.load(path, weights_only=True)["global_step"] for path in files}


@pytest.mark.slow(seconds=3)
@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (["--checkpoint.save_top_k", 3], {33, 44, 55}),
        (["--checkpoint.save_top_k", -1], {11, 22, 33, 44, 55}),
        (["--checkpoint.save_top_k", -1, "--checkpoint.every_n_epochs", 2], {22, 44}),
        (
            [
                "--trainer.callbacks",
                "ModelCheckpoint",
                "--trainer.callbacks.filename",
                "{step}",
                "--trainer.callbacks.save_top_k",
                -1,
                "--trainer.callbacks.monitor",
                "val/loss",
            ],
            {11, 22, 33, 44, 55},
        ),
        ([], set()),
    ],
)
def test_best_is_the_best_whatever_else_is_kept(run, small_fit, tmp_path, words, steps):
    code, out, _ = run(*small_fit, "--trainer.max_epochs", 5, "--model.lr", 0.02, *words)
    assert code == 0
    found = steps_of(run_of(tmp_path))
    best = json.loads((run_of(tmp_path) / "behaviour.json").read_text())["best"]
    assert found.pop("best") == best["step"] + 1 < 55  # so that the last is not the best
    assert found.pop("last") == 55
    assert found == {f"step={step}": step for step in steps}
    assert "best.ckpt" in out


@pytest.mark.slow(seconds=1)
def test_without_a_monitor_nothing_is_called_best(run, small_fit, tmp_path):
    assert run(*small_fit, "--checkpoint.monitor", "null")[0] == 0
    assert steps_of(run_of(tmp_path)) == {"last": 22}


def test_two_checkpoints_of_one_state_are_refused_in_our_words(run, small_fit, tmp_path):
    two = [{"class_path": "ModelCheckpoint", "init_args": {"filename": name}} for name in "ab"]
    message = "two ModelCheckpoint would keep their state in a checkpoint under one name; leave one out, or let them"
    assert_refused(run(*small_fit, "--trainer.callbacks", json.dumps(two)), f"arithprobe: error: {message}")


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
@pytest.mark.slow(seconds=1)
def test_a_fit_that_is_stopped_says_so_to_the_shell(run, small_fit, tmp_path, name, code):
    words = ("--trainer.callbacks", "run_stops.Signalled", "--trainer.callbacks.name", name)
    before = [signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGTERM, signal.SIG_DFL)]
    try:
        found = run(*small_fit, *words)[0]
    except SystemExit as ended:
        found = ended.code
    finally:
        after = [signal.signal(signal.SIGINT, before[0]), signal.signal(signal.SIGTERM, before[1])]
    assert found == code
    assert after == [signal.default_int_handler, signal.SIG_DFL]
    assert steps_of(run_of(tmp_path)) == {"best": 11, "last": 11}


def test_an_interrupt_just_after_the_rename_is_an_interrupt(tmp_path, monkeypatch):
    replace = Path.replace

    def then_interrupted(self, target):
        replace(self, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", then_interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a", "whole")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.parametrize("size", [40_000, 3_000])  # less than a checkpoint; than predictions.tsv
@pytest.mark.slow(seconds=2)
def test_where_no_more_can_be_written_a_fit_ends_in_one_line_and_keeps_its_checkpoints(run, small_fit, tmp_path, size):
    place = tmp_path / "kept"
    words = [*small_fit, "--checkpoint.dirpath", place]
    assert run(*words)[0] == 0
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    with no_file_larger_than(size):
        code, _, err = run(*words, "--name", "second", "--model.lr", 0.003)
    assert code == 2
    assert "Traceback" not in err
    assert [line for line in err.splitlines() if "cannot be written" in line] == [err.splitlines()[-1]]
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before


def test_a_checkpoint_is_written_beside_its_place(tmp_path):
    """Not in the folder of temporary files, from where another filesystem takes a copy, over the old one."""
    path, seen = tmp_path / "a.ckpt", []
    WholeCheckpointIO().save_checkpoint({"a": 1}, path)

    class Looks:
        def __reduce__(self):
            seen.append(torch.load(path, weights_only=True))
            return dict, ()

    WholeCheckpointIO().save_checkpoint({"a": 2, "b": Looks()}, path)
    assert seen == [{"a": 1}]
    assert [one.name for one in tmp_path.iterdir()] == ["a.ckpt"]


@pytest.mark.long
@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second filesystem")
def test_a_kill_while_a_checkpoint_is_saved_leaves_the_one_before_twenty_times(tmp_path):
    import shutil
    import tempfile

    rng = random.Random(0)
    words = [
        *fit_words(files_in(tmp_path), "."),
        "--trainer.max_epochs",
        1000,
        "--model.max_len",
        1_000_000,
        "--model.d_model",
        8,
        "--model.n_heads",
        1,
        "--trainer.limit_train_batches",
        1,
        "--trainer.limit_val_batches",
        1,
    ]
    broken = caught = 0
    for _ in range(20):
        place = Path(tempfile.mkdtemp(dir="/dev/shm"))
        kept = place / "lightning_logs/run/version_0/checkpoints"
        with subprocess.Popen([sys.executable, "-m", "arithprobe", *map(str, words)], cwd=place) as process:
            while not (kept / "last.ckpt").is_file():
                assert process.poll() is None
                time.sleep(0.01)
            time.sleep(0.3 + rng.random())
            end = time.monotonic() + 10
            while not any(path.name.startswith(".") for path in kept.iterdir()) and time.monotonic() < end:
                pass
            process.kill()
        caught += any(path.name.startswith(".") for path in kept.iterdir())
        for name in ("best.ckpt", "last.ckpt"):
            load_model(kept / name)
        shutil.rmtree(place)
    assert broken == 0
    assert caught > 0
