"""``arithprobe sweep`` from the command line: what is there in the end is the same, whatever happened on the way."""

import csv
import io
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT, assert_refused
from sweep_tasks import wait_for
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from arithprobe.models.checkpoints import read_checkpoint

PLAIN = {
    "name": "tiny",
    "base": str(ROOT / "configs" / "reg_modk.yaml"),
    "grid": {"model.n_layers": [1], "model.d_model": [16], "seed_everything": [0, 1]},
    "rules": {"model.d_ff": "2 * model.d_model", "model.n_heads": "model.d_model / 8"},
    "measure": {
        "twins": 1, "permutations": 19, "frequencies": [1, 3], "ablate": 2, "mlp_shuffles": 1, "probe_dimension": 8,
        "draws": 19,
    },
}  # fmt: skip


def settings(tmp_path, **more):
    """Settings of all trials: 300 rows, five epochs of 38 steps."""
    return {
        "data.train_file": None, "data.val_file": None, "data.data_dir": str(tmp_path / "data"), "data.batch_size": 8,
        "data.recipe": {"task": "mod", "modulus": 97, "rows": 600, "val_fraction": 0.5},
        "trainer.max_epochs": 5, "trainer.log_every_n_steps": 8, "trainer.accelerator": "cpu",
        "trainer.callbacks": [{"class_path": "RidgeProbing", "init_args": {"positions": ["last"]}}],
        **more,
    }  # fmt: skip


def written(tmp_path, sweep=PLAIN, **more):
    """A configuration file."""
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(sweep | {"set": settings(tmp_path, **more)}, sort_keys=False))
    return path


def command(config, output, *words):
    return [sys.executable, "-m", "arithprobe", "sweep", "--config", str(config), "--output_dir", str(output), *words]


def results(folder):
    """What each trial measured, and the weights behind it."""
    return {
        path.parent.name: json.loads(path.read_text())["columns"] for path in sorted(Path(folder).glob("*/result.json"))
    }


def best(folder, name):
    return read_checkpoint(folder / name / "checkpoints" / "best.ckpt")["state_dict"]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep that nothing disturbed."""
    tmp_path = tmp_path_factory.mktemp("undisturbed")
    config = written(tmp_path)
    done = subprocess.run(command(config, tmp_path / "out"), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return tmp_path, config, tmp_path / "out", done.stdout


@pytest.mark.slow
def test_a_sweep_leaves_a_table_figures_and_whole_runs(sweep):
    _, _, out, said = sweep
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
        "probe_scaling", "ablation_scaling", "mlp_scaling"
    }  # fmt: skip
    assert "2 of 2 trials NOT LEARNED" in said
    assert "says nothing about the task" in said
    for name in found:
        run = out / name / "version_0"
        assert {path.name for path in run.iterdir()} >= {"config.yaml", "metrics.csv", "behaviour.json", "probes"}
        assert json.loads((run / "behaviour.json").read_text())["best"]["skill"] == pytest.approx(found[name]["skill"])


@pytest.mark.slow
def test_tensorboard_has_every_trial_with_its_parameters_and_measures(sweep):
    _, _, out, _ = sweep
    for name, columns in results(out).items():
        fitted = EventAccumulator(str(out / name / "version_0")).Reload()
        assert {"train/loss", "val/skill"} <= set(fitted.Tags()["scalars"])
        assert "summary/text_summary" in fitted.Tags()["tensors"]
        with pytest.raises(KeyError, match="hparams"):  # or the trial would have two rows
            fitted.PluginTagToContent("hparams")
        measures = EventAccumulator(str(out / name / "measures")).Reload()
        (skill,) = measures.Scalars("measure/skill")
        assert skill.value == pytest.approx(columns["skill"], rel=1e-6)
        content = measures.PluginTagToContent("hparams")["_hparams_/session_start_info"]
        given = HParamsPluginData.FromString(content).session_start_info.hparams
        assert given["seed_everything"].number_value == int(name[-1])
        assert set(given) == {"model.n_layers", "model.d_model", "seed_everything"}


@pytest.mark.slow
def test_seeds_differ_and_a_trial_is_a_plain_fit(sweep, tmp_path):
    _, _, out, _ = sweep
    found = results(out)
    assert found["n_layers1-d_model16-seed0"] != found["n_layers1-d_model16-seed1"]
    name = "n_layers1-d_model16-seed0"
    words = ["fit", "--config", str(out / name / "config.yaml"), "--trainer.default_root_dir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "arithprobe", *words, "--trainer.enable_progress_bar", "false"],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0
    (checkpoint,) = tmp_path.rglob("best.ckpt")
    alone = read_checkpoint(checkpoint)["state_dict"]
    assert all(alone[key].equal(value) for key, value in best(out, name).items())


@pytest.mark.slow
def test_the_same_command_again_runs_nothing(sweep):
    _, config, out, _ = sweep
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*/*") if "figures" not in str(path)}
    done = subprocess.run(command(config, out), capture_output=True, text=True, check=True, timeout=60)
    assert "training" not in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in before}


def was_saved(folder, since):
    """Whether a trial has come to the end of an epoch."""
    return any(path.stat().st_mtime > since for path in folder.glob("*/checkpoints/resume.ckpt"))


@pytest.mark.slow
def test_killed_three_times_it_ends_as_if_nothing_had_happened(sweep, tmp_path):
    _, config, undisturbed, _ = sweep
    out = tmp_path / "out"
    chance = random.Random(0)
    for latest in (0.0, 0.6, 1.5):  # seconds after the end of an epoch
        begun = time.time()
        running = subprocess.Popen(command(config, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert wait_for(lambda since=begun, one=running: was_saved(out, since) or one.poll() is not None, 120.0)
            running.wait(chance.uniform(0.0, latest))
        except subprocess.TimeoutExpired:
            pass
        finally:
            running.kill()
            running.wait()
    assert list(out.glob("*/version_1")), "control: none was interrupted while it trained"
    done = subprocess.run(command(config, out), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert results(out) == results(undisturbed)
    for name in results(out):
        weights = best(undisturbed, name)
        assert all(weights[key].equal(value) for key, value in best(out, name).items())


@pytest.mark.slow
def test_a_lost_checkpoint_is_made_again(sweep, tmp_path):
    _, config, undisturbed, _ = sweep
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    name, other = results(out)
    (out / name / "result.json").unlink()
    best_file = out / name / "checkpoints" / "best.ckpt"
    best_file.write_bytes(best_file.read_bytes()[:3000])
    done = subprocess.run(command(config, out), capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    found = results(out)
    assert found[other] == results(undisturbed)[other]
    assert not (out / other / "version_1").exists()  # control: only what was lost is trained again
    weights = best(undisturbed, name)
    assert all(weights[key].equal(value) for key, value in best(out, name).items())
    assert found[name] == results(undisturbed)[name]


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


@pytest.mark.slow
def test_one_failing_trial_stops_no_other_and_is_named(tmp_path):
    small = PLAIN | {
        "grid": {"model.d_model": [16], "model.lr": [1e-3, 1e38]}, "rules": {"model.n_heads": 2, "model.d_ff": 16},
    }  # fmt: skip
    out = tmp_path / "out"
    run = command(written(tmp_path, small, **{"trainer.max_epochs": 1}), out)
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    (line,) = [one for one in done.stderr.splitlines() if one.startswith("arithprobe: error")]
    assert "1 of 2 trials failed: d_model16-lr1e_38" in line
    assert "log.txt" in line and "runs what failed again" in line
    assert list(results(out)) == ["d_model16-lr0.001"]


BAD = [
    (
        ["--grid", '{"model.n_layer": [1]}', "--rules", "{}"],
        r"unknown option --model\.n_layer; did you mean 'model\.n_layers'\?",
    ),
    (["--grid", "{}"], "the grid is empty"),
    (["--grid", '{"model.d_model": ["wide"]}', "--rules", "{}"], "model.d_model: expected int, got 'wide'"),
    (["--grid", '{"model.d_model": 16}'], "--grid: expected list, got '16'"),
    (["--rules", '{"model.n_heads": 3}'], "trial n_layers1-d_model16-seed0: n_heads is 3"),
    (["--engine", "dask"], "expected one of 'loky', 'ray', got 'dask'"),
    (["--address", "auto"], "--address is for a Ray cluster; add --engine ray"),
    (["--gird", "{}"], "unknown option --gird; did you mean 'grid'"),
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


@pytest.mark.slow
def test_a_folder_of_another_grid_is_refused_and_can_be_extended(run, sweep):
    _, config, out, _ = sweep
    more = ["--grid", '{"model.n_layers": [1], "model.d_model": [16], "seed_everything": [0, 1, 2]}', "--dry_run"]
    assert_refused(run("sweep", "--config", config, "--output_dir", out, *more), "holds another grid: .* pass --extend")
    code, listed, _ = run("sweep", "--config", config, "--output_dir", out, *more, "--extend")
    assert code == 0 and listed.count("parameters") == 3
    other = ["--rules", '{"model.d_ff": 16, "model.n_heads": 2}']
    said = run("sweep", "--config", config, "--output_dir", out, *other)
    assert_refused(said, "has other settings or rows; name another --output_dir")


@pytest.mark.slow
def test_ray_gives_what_this_machine_gives(sweep, tmp_path):
    from ray_clusters import ray_environment

    _, config, expected, _ = sweep
    run = command(config, tmp_path / "out", "--engine", "ray")
    with ray_environment():
        done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "out") == results(expected)
    assert (tmp_path / "out" / "table.csv").read_text() == (expected / "table.csv").read_text()


@pytest.mark.slow
def test_a_machine_lost_in_the_middle_costs_a_sweep_nothing(sweep, tmp_path):
    """Two machines of one CPU, two trials that train at once, so one on each; then one machine is lost."""
    from ray_clusters import ray_environment, two_machines

    _, config, expected, _ = sweep
    out = tmp_path / "out"
    with ray_environment(), two_machines() as machines:
        running = subprocess.Popen(
            command(config, out, "--engine", "ray", "--address", machines.address),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert wait_for(lambda: len(list(out.glob("*/checkpoints/resume.ckpt"))) == 2, 120.0)
            assert results(out) == {}, "control: no trial was done, so both trained at once"
            machines.lose()
            _, said = running.communicate(timeout=200)
        finally:
            running.kill()
            running.wait()
    assert running.returncode == 0, said
    assert results(out) == results(expected)
    rows = list(csv.DictReader(io.StringIO((out / "table.csv").read_text())))
    assert [row["trial"] for row in rows] == list(results(expected))
    started = [len(list((out / name).glob("version_*"))) for name in results(out)]
    assert sorted(started) in ([1, 2], [2, 2])  # the trial of the lost machine was begun again


@pytest.mark.slow
def test_an_address_without_a_cluster_is_a_mistake_that_leaves_nothing(run, tmp_path):
    from ray_clusters import free_port

    words = ["--engine", "ray", "--address", f"127.0.0.1:{free_port()}"]
    done = run("sweep", "--config", written(tmp_path), "--output_dir", tmp_path / "out", *words)
    assert_refused(done, r"address is 127\.0\.0\.1:\d+; no Ray cluster can be joined there")
    assert not (tmp_path / "out").exists()
