"""``arithprobe sweep`` from the command line: what is there in the end is the same, whatever happened on the way."""

import contextlib
import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from conftest import assert_refused
from sweep_tasks import alive, wait_for, workers_of
from swept import PLAIN, assert_same, best, equal, results, sweep_here, undisturbed, written
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from arithprobe.cli.sweep_options import sweep_options
from arithprobe.models.weights import read_checkpoint

pytestmark = pytest.mark.slow(seconds=0.5)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep that nothing disturbed."""
    return undisturbed(tmp_path_factory.getbasetemp() / "undisturbed")


@pytest.mark.slow
def test_a_sweep_leaves_a_table_figures_and_whole_runs(sweep):
    _, out, said = sweep
    found = results(out)
    assert list(found) == [f"n_layers1-d_model16-seed{s}" for s in (0, 1)]
    rows = list(csv.DictReader(io.StringIO((out / "table.csv").read_text())))
    assert [row["trial"] for row in rows] == list(found)
    assert [row["seed_everything"] for row in rows] == ["0", "1"]
    for row, as_json in zip(rows, json.loads((out / "table.json").read_text()), strict=True):
        for name, value in found[row["trial"]].items():
            assert as_json[name] == value
            assert row[name] == ("" if value is None else value if isinstance(value, str) else repr(value))
    (cell,) = json.loads((out / "cells.json").read_text())
    assert (cell["cell"], cell["seeds"]) == ({"model.n_layers": 1, "model.d_model": 16}, [0, 1])
    skills = [columns["skill"] for columns in found.values()]
    assert cell["columns"]["skill"]["mean"] == pytest.approx(sum(skills) / 2)
    assert cell["columns"]["skill"]["low"] < min(skills) and cell["columns"]["skill"]["n"] == 2
    assert {path.stem for path in (out / "figures").glob("*.png")} == {
        "probe_scaling",
        "ablation_scaling",
        "mlp_scaling",
    }
    assert "2 of 2 trials NOT LEARNED" in said
    assert "says nothing about the task" in said
    for name in found:
        run = out / name / "version_0"
        assert {path.name for path in run.iterdir()} >= {"config.yaml", "metrics.csv", "behaviour.json", "probes"}
        assert json.loads((run / "behaviour.json").read_text())["best"]["skill"] == pytest.approx(found[name]["skill"])


@pytest.mark.slow
def test_tensorboard_has_every_trial_with_its_parameters_and_measures(sweep):
    for name, columns in results(sweep.out).items():
        fitted = EventAccumulator(str(sweep.out / name / "version_0")).Reload()
        assert {"train/loss", "val/skill"} <= set(fitted.Tags()["scalars"])
        assert "summary/text_summary" in fitted.Tags()["tensors"]
        with pytest.raises(KeyError, match="hparams"):  # or the trial would have two rows
            fitted.PluginTagToContent("hparams")
        measures = EventAccumulator(str(sweep.out / name / "measures")).Reload()
        (skill,) = measures.Scalars("measure/skill")
        assert skill.value == pytest.approx(columns["skill"], rel=1e-6)
        content = measures.PluginTagToContent("hparams")["_hparams_/session_start_info"]
        given = HParamsPluginData.FromString(content).session_start_info.hparams
        assert given["seed_everything"].number_value == int(name[-1])
        assert set(given) == {"model.n_layers", "model.d_model", "seed_everything"}


@pytest.mark.slow
def test_seeds_differ_and_a_trial_is_a_plain_fit(run, sweep, tmp_path, monkeypatch):
    first, second = results(sweep.out)
    assert results(sweep.out)[first] != results(sweep.out)[second]
    assert not equal(best(sweep.out, first), best(sweep.out, second))
    monkeypatch.chdir(tmp_path)
    words = ["--trainer.default_root_dir", tmp_path, "--trainer.enable_progress_bar", "false"]
    assert run("fit", "--config", sweep.out / first / "config.yaml", *words)[0] == 0
    (checkpoint,) = tmp_path.rglob("best.ckpt")
    assert equal(read_checkpoint(checkpoint)["state_dict"], best(sweep.out, first))


@pytest.mark.slow
def test_the_same_command_again_runs_nothing(sweep):
    before = {path: path.stat().st_mtime_ns for name in results(sweep.out) for path in (sweep.out / name).rglob("*")}
    done = sweep_here(sweep.config, sweep.out)
    assert done.code == 0
    assert "[2/2]" not in done.out
    assert "[2/2]" in sweep.said  # control: there is a line for what is run
    assert before == {path: path.stat().st_mtime_ns for path in before}


def command(config, out, *words):
    return [sys.executable, "-m", "arithprobe", "sweep", "--config", str(config), "--output_dir", str(out), *words]


def killed(config, out, after, *, first="*", with_workers):
    """Have the command come to the end of an epoch, of a trial of that name, and kill it so many seconds later.

    Its workers are killed with it, or end by themselves; returns their ids.
    """
    begun = time.time()
    words = command(config, out, "--jobs", "1")
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def came_far():
        saved = any(path.stat().st_mtime > begun for path in out.glob(f"{first}/checkpoints/resume.ckpt"))
        return saved or process.poll() is not None

    try:
        assert wait_for(came_far, 120.0)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
    finally:
        workers = workers_of(process.pid)
        process.kill()
        for worker in workers if with_workers else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        process.wait()
    assert wait_for(lambda: not any(alive(worker) for worker in workers))
    return workers


@pytest.mark.slow
def test_killed_it_ends_as_if_nothing_had_happened(sweep, tmp_path):
    """By the same command again; with its worker, as when a machine loses its power.

    A worker has done the first trial, and this process does not do it again, so both make the same.
    """
    out = tmp_path / "out"
    first, second = results(sweep.out)
    workers = killed(sweep.config, out, random.Random(0).uniform(0.0, 0.2), first=second, with_workers=True)
    assert len(workers) == 1
    assert results(out) == {first: results(sweep.out)[first]}
    before = (out / first / "result.json").stat().st_mtime_ns
    done = sweep_here(sweep.config, out)
    assert done.code == 0, done.err
    assert f"{second}: goes on from" in done.out, "control: it was not interrupted while it trained"
    assert (out / first / "result.json").stat().st_mtime_ns == before
    assert_same(out, sweep.out)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_killed_three_times_it_ends_as_if_nothing_had_happened(sweep, tmp_path, seed):
    out = tmp_path / "out"
    chance = random.Random(seed)
    for latest in (0.0, 0.6, 1.5):  # seconds after the end of an epoch
        killed(sweep.config, out, chance.uniform(0.0, latest), with_workers=chance.random() < 0.5)
    runs = len(list(out.glob("*/version_*")))
    assert runs > len(list(out.glob("*/version_0"))), "control: none was interrupted while it trained"
    print(f"seed {seed}: {len(results(out))} of 2 trials done and {runs} begun after three kills")
    assert sweep_here(sweep.config, out).code == 0
    assert_same(out, sweep.out)


@pytest.mark.slow
def test_a_lost_checkpoint_is_made_again(sweep, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(sweep.out, out)
    name, other = results(out)
    (out / name / "result.json").unlink()
    best_file = out / name / "checkpoints" / "best.ckpt"
    best_file.write_bytes(best_file.read_bytes()[:3000])
    done = sweep_here(sweep.config, out)
    assert done.code == 0, done.err
    assert not (out / other / "version_1").exists()  # control: only what was lost is trained again
    assert (out / name / "version_1").exists()
    assert_same(out, sweep.out)


@pytest.mark.slow
def test_a_fit_that_was_to_stop_does_not_go_on(run, small_fit, tmp_path):
    """As early stopping decides; its control: the same checkpoint without that goes on."""
    stop = {"class_path": "EarlyStopping", "init_args": {"monitor": "val/loss", "min_delta": 1e6, "patience": 1}}
    keep = {
        "class_path": "arithprobe.callbacks.trial.ResumeCheckpoint",
        "init_args": {"path": str(tmp_path / "r.ckpt")},
    }
    words = [*small_fit, "--trainer.max_epochs", 6]
    assert run(*words, f"--trainer.callbacks={json.dumps([stop, keep])}")[0] == 0
    before = read_checkpoint(tmp_path / "r.ckpt")
    assert before["epoch"] == 1
    callbacks = f"--trainer.callbacks={json.dumps([stop, keep])}"
    assert run(*words, callbacks, "--ckpt_path", tmp_path / "r.ckpt")[0] == 0
    assert read_checkpoint(tmp_path / "r.ckpt")["global_step"] == before["global_step"]
    torch.save(before | {"arithprobe_should_stop": False}, tmp_path / "r.ckpt")
    assert run(*words, callbacks, "--ckpt_path", tmp_path / "r.ckpt")[0] == 0
    assert read_checkpoint(tmp_path / "r.ckpt")["global_step"] > before["global_step"]


FAILS = {  # a share of the batches that is less than one
    "grid": {"model.d_model": [16], "trainer.limit_train_batches": [0.001, 1.0]},
    "rules": {"model.n_heads": 2, "model.d_ff": 16},
}


@pytest.mark.slow
def test_one_failing_trial_stops_no_other_and_is_named(tmp_path):
    out = tmp_path / "out"
    done = sweep_here(written(tmp_path, PLAIN | FAILS, **{"trainer.max_epochs": 1}), out)
    assert_one_failed(done.code, done.err, out)


@pytest.mark.long
def test_one_failing_trial_stops_no_other_in_workers(tmp_path):
    out = tmp_path / "out"
    words = command(written(tmp_path, PLAIN | FAILS, **{"trainer.max_epochs": 1}), out)
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert_one_failed(done.returncode, done.stderr, out)
    print("1 of 2 trials failed, each in a worker")


def assert_one_failed(code, said, out):
    assert code == 2
    (line,) = [one for one in said.splitlines() if one.startswith("arithprobe: error")]
    assert "1 of 2 trials failed: d_model16-limit_train_batches0.001" in line
    assert "log.txt" in line and "runs what failed again" in line
    assert list(results(out)) == ["d_model16-limit_train_batches1.0"]


BAD = [
    (
        ["--grid", '{"model.n_layer": [1]}', "--rules", "{}"],
        r"unknown option --model\.n_layer; did you mean --model\.n_layers\?",
    ),
    (["--grid", "{}"], "the grid is empty"),
    (["--grid", '{"model.d_model": ["wide"]}', "--rules", "{}"], "model.d_model: expected int, got 'wide'"),
    (["--grid", '{"model.d_model": 16}'], "--grid: expected list, got '16'"),
    (["--rules", '{"model.n_heads": 3}'], "trial n_layers1-d_model16-seed0: n_heads is 3"),
    (["--engine", "dask"], "expected one of 'loky', 'ray', got 'dask'"),
    (["--address", "auto"], "--address is for a Ray cluster; add --engine ray"),
    (["--gird", "{}"], "unknown option --gird; did you mean --grid"),
    (["--base", "nowhere.yaml"], "nowhere.yaml"),
    (["--measure.twins", "0"], "twins is 0; expected 1 or more"),
    (
        ["--grid", '[{"model.n_layers": [2]}, {"model.d_model": [128]}]', "--rules", "{}"],
        "trials n_layers2 and d_model128 have the same settings",
    ),
    (["--facet", "model.lr"], r"facet is model\.lr; expected a key that all trials have"),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_a_mistake_is_one_line_and_leaves_nothing(run, tmp_path, words, message):
    out = tmp_path / "out"
    done = run("sweep", "--config", written(tmp_path), "--output_dir", out, *words)
    assert_refused(done, message)
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"trainer.devices": 2}, "trainer.devices is 2; a trial of a sweep takes 1"),
        ({"trainer.fast_dev_run": True}, "trainer.fast_dev_run is True; a trial of a sweep takes False"),
        ({"trainer.enable_checkpointing": False}, "a sweep measures checkpoints"),
        ({"ckpt_path": "x.ckpt"}, "ckpt_path is set by the sweep itself"),
        ({"trainer.logger": False}, r"trainer\.logger is set by the sweep itself"),
        ({"seed_everything": 0}, "seed_everything is in grid and in set"),
        ({"data.train_file": "nowhere.tsv"}, r"nowhere\.tsv"),
    ],
)
def test_settings_that_make_no_trial_are_refused(run, tmp_path, more, message):
    assert_refused(run("sweep", "--config", written(tmp_path, **more), "--output_dir", tmp_path / "out"), message)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("EarlyStopping", {"monitor": "val/loss"}),
        ("lightning.pytorch.callbacks.EarlyStopping", {"monitor": "val/loss"}),
        ("lightning.pytorch.callbacks.StochasticWeightAveraging", {"swa_lrs": 0.001}),
    ],
)
def test_a_class_is_a_setting_by_its_short_name_and_by_its_whole_path(name, options, tmp_path):
    one = {"class_path": name, "init_args": options}
    wanted = {"set": {"trainer.callbacks": [one, one]}, "grid": {"model.objective": [one], "model.lr": [0.1]}}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"name": "a", "base": "b.yaml", **wanted}))
    (trial,) = sweep_options(["sweep", "--config", str(tmp_path / "sweep.yaml")]).trials
    assert trial.settings == {"trainer.callbacks": [one, one], "model.objective": one, "model.lr": 0.1}


@pytest.mark.slow
def test_a_folder_of_another_grid_is_refused_and_can_be_extended(run, sweep):
    words = ["sweep", "--config", sweep.config, "--output_dir", sweep.out]
    more = ["--grid", '{"model.n_layers": [1], "model.d_model": [16], "seed_everything": [0, 1, 2]}', "--dry_run"]
    assert_refused(run(*words, *more), "holds another grid: .* pass --extend")
    code, listed, _ = run(*words, *more, "--extend")
    assert code == 0 and listed.count("parameters") == 3
    said = run(*words, "--rules", '{"model.d_ff": 16, "model.n_heads": 2}')
    assert_refused(said, "has other settings or rows; name another --output_dir")
