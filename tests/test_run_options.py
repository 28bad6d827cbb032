"""Options of a run that are refused before it begins, or do what they say."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from conftest import assert_refused
from short_fits import run_of

MONITOR = "ablation_sum/resid_post.1@last/delta_rmse"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--trainer.limit_train_batches", 5, "--trainer.val_check_interval", 8],
            "--trainer.val_check_interval is 8; expected 1 to 5, the batches of an epoch",
        ),
        (
            ["--trainer.limit_train_batches", 5, "--trainer.val_check_interval", 0.1],
            "--trainer.val_check_interval is 0.1, of 5 batches less than one",
        ),
        (
            ["--trainer.limit_val_batches", 0.001],
            "--trainer.limit_val_batches is 0.001, of 5 batches less than one; expected 0.2 or more",
        ),
        (["--trainer.limit_train_batches", 0.001], "--trainer.limit_train_batches is 0.001, of 11 batches less than"),
        (
            [
                "--trainer.callbacks",
                json.dumps(
                    [
                        {"class_path": "DirectionAblation", "init_args": {"every": 3}},
                        {"class_path": "EarlyStopping", "init_args": {"monitor": MONITOR}},
                    ]
                ),
            ],
            f"monitor '{MONITOR}' is logged at validation 3, 6, ... only",
        ),
        (
            [
                "--trainer.callbacks",
                "DirectionAblation",
                "--trainer.callbacks.every",
                2,
                "--checkpoint.monitor",
                MONITOR,
            ],
            f"monitor '{MONITOR}' is logged at validation 2, 4, ... only",
        ),
    ],
)
def test_what_could_not_run_to_its_end_does_not_begin(run, small_fit, tmp_path, words, message):
    assert_refused(run(*small_fit, *words), message)
    assert not (tmp_path / "lightning_logs").exists()


@pytest.mark.slow(seconds=1)
def test_what_a_callback_logs_every_time_can_be_monitored(run, small_fit, tmp_path):
    words = ("--trainer.callbacks", "DirectionAblation", "--trainer.callbacks.every", 1)
    words += ("--trainer.callbacks.sites", json.dumps(["resid_post.1"]), "--checkpoint.monitor", MONITOR)
    assert run(*small_fit, *words)[0] == 0
    assert (run_of(tmp_path) / "checkpoints/best.ckpt").is_file()


def test_predict_refuses_an_untrained_network(run, small_data, tmp_path):
    words = ("--data.val_file", small_data["val"], "--trainer.default_root_dir", tmp_path)
    assert_refused(run("predict", *words), "no weights, so these would be an untrained network's answers; pass --ckpt")
    assert not (tmp_path / "lightning_logs").exists()


@pytest.mark.slow(seconds=1)
def test_judging_an_untrained_network_is_said_first(run, small_fit, tmp_path):
    code, _, err = run("validate", *small_fit[1:5], *small_fit[5:9], "--trainer.default_root_dir", tmp_path)
    assert code == 0
    assert err.splitlines()[0].startswith("arithprobe: warning: validate: no weights were loaded, what follows is of")


@pytest.mark.slow(seconds=3)
def test_words_for_checkpoints_mean_those_of_the_newest_run(run, small_fit, tmp_path):
    assert run(*small_fit, "--trainer.max_epochs", 1)[0] == 0
    assert run(*small_fit)[0] == 0
    (tmp_path / "lightning_logs/run/version_10").mkdir()  # of a run that was stopped before its first checkpoint
    code, _, _ = run(*small_fit, "--trainer.max_epochs", 3, "--ckpt_path", "last")
    assert code == 0
    folder = tmp_path / "lightning_logs/run"
    came_from = json.loads((folder / "version_11/provenance.json").read_text())["continued_from"]
    assert came_from == str(folder / "version_1/checkpoints/last.ckpt")
    judged = run("validate", *small_fit[3:5], "--trainer.default_root_dir", tmp_path, "--ckpt_path", "best")
    assert judged[0] == 0
    used = yaml.safe_load((folder / "version_12/config.yaml").read_text())["ckpt_path"]
    assert used == str(folder / "version_11/checkpoints/best.ckpt")


def test_of_several_that_a_cluster_left_hpc_means_the_newest(run, small_fit, tmp_path):
    for number in (2, 10):
        torch.save({}, tmp_path / f"hpc_ckpt_{number}.ckpt")
    assert_refused(
        run(*small_fit, "--ckpt_path", "hpc"), f"{tmp_path / 'hpc_ckpt_10.ckpt'}: is no Lightning checkpoint"
    )


@pytest.mark.slow(seconds=2)
def test_the_configuration_of_a_run_says_what_was_used(run, small_fit, tmp_path):
    """Also what a finder found, and a callback whose defaults are no plain values."""
    callbacks = [
        {"class_path": "LearningRateFinder", "init_args": {"num_training_steps": 15, "min_lr": 1e-4, "max_lr": 1e-2}},
        {"class_path": "Timer", "init_args": {"duration": "00:01:00:00"}},
    ]
    assert run(*small_fit, "--trainer.callbacks", json.dumps(callbacks))[0] == 0
    config = yaml.safe_load((run_of(tmp_path) / "config.yaml").read_text())
    used = torch.load(run_of(tmp_path) / "checkpoints/last.ckpt", weights_only=True)["optimizer_states"][0]
    assert config["model"]["lr"] == used["param_groups"][0]["lr"] != 2e-3
    assert config["trainer"]["callbacks"][1]["init_args"]["duration"] == "00:01:00:00"
    code, _, _ = run("fit", "--config", run_of(tmp_path) / "config.yaml", "--name", "again")
    assert code == 0


def test_a_trial_run_does_not_make_its_rows_either(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ("--model.d_model", 16, "--model.n_heads", 2, "--data.recipe.rows", 100, "--trainer.accelerator", "cpu")
    assert run("fit", *small, "--trainer.fast_dev_run", "true", "--trainer.enable_progress_bar", "false")[0] == 0
    assert list(Path().iterdir()) == []
