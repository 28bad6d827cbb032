"""A run has one folder, which is its own: whatever its loggers are, however many begin at once."""

import multiprocessing
import os
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from conftest import assert_refused, read_jsonl
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from run_stops import Bare
from short_fits import files_in, fit_words

from arithprobe import cli
from arithprobe.callbacks import BehaviourReport, RidgeProbing
from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.errors import ArithprobeError
from arithprobe.files import new_version
from arithprobe.training.module import ArithmeticModule

BARE = ("--trainer.logger", "run_stops.Bare")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow(seconds=2)
def test_a_logger_without_a_folder_leaves_the_users_files_alone(run, small_fit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Bare.images.clear()
    mine = "# mine\ntrainer: {max_epochs: 1, callbacks: [{class_path: RidgeProbing}]}\n"
    Path("config.yaml").write_text(mine)
    words = [*small_fit, "--config", "config.yaml", *BARE]
    assert run(*words)[0] == 0
    first = contents(tmp_path / "lightning_logs/run/version_0")
    assert run(*words)[0] == 0
    assert Path("config.yaml").read_text() == mine
    assert contents(tmp_path / "lightning_logs/run/version_0") == first
    second = contents(tmp_path / "lightning_logs/run/version_1")
    assert second.keys() == first.keys() >= {Path("config.yaml"), Path("checkpoints/best.ckpt"), Path("behaviour.json")}
    assert len(read_jsonl(tmp_path / "lightning_logs/run/version_1/probes/ridge.jsonl")) == 1
    ((name, images, _), *_) = Bare.images
    assert name == "ridge_sum/Held-out R2 of sum by site and position"
    assert images[0].ndim == 3


@pytest.mark.slow(seconds=1)
def test_without_a_logger_a_fit_has_a_folder_too(run, small_fit, tmp_path):
    assert run(*small_fit, "--trainer.logger", "false")[0] == 0
    kept = contents(tmp_path / "lightning_logs/run/version_0")
    assert {Path("config.yaml"), Path("behaviour.json"), Path("checkpoints/best.ckpt")} <= kept.keys()


def test_the_version_that_a_logger_is_to_have_may_not_be_another_runs(run, small_fit, tmp_path):
    words = ("--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", tmp_path, "--trainer.logger.version", 7)
    taken = tmp_path / "lightning_logs/version_7"
    taken.mkdir(parents=True)
    (taken / "metrics.csv").write_text("mine")
    assert_refused(run(*small_fit, *words), f"{taken}: is there, and a run is to have a folder of its own")
    assert (taken / "metrics.csv").read_text() == "mine"


def test_folders_asked_for_at_once_are_all_different(tmp_path):
    found, begin = [], threading.Barrier(16)

    def ask():
        begin.wait()
        found.append(new_version(tmp_path))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(found) == sorted(tmp_path.iterdir())
    assert len(set(found)) == 16


def test_a_folder_that_is_no_version_counts_for_nothing(tmp_path):
    for name in ("version_3", "version_x", "version_²"):
        (tmp_path / name).mkdir()
    assert new_version(tmp_path) == tmp_path / "version_4"


def begin(words, barrier, place):
    sys.argv = ["arithprobe"]
    with Path(f"{place}.log").open("w") as sys.stdout, Path(f"{place}.err").open("w") as sys.stderr:
        barrier.wait()
        Path(f"{place}.code").write_text(str(cli.main([str(word) for word in words])))


def fits_at_once(trials, tmp_path, monkeypatch):
    """Runs two fits of one name from one moment on, so many times: how often they did not part."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = [*fit_words(files_in(tmp_path), tmp_path), "--trainer.max_epochs", 1, "--trainer.callbacks", "RidgeProbing"]
    own = multiprocessing.get_context("fork")
    wrong = Counter()
    for trial in range(trials):
        barrier = own.Barrier(2)
        args = [
            ([*words, "--name", f"n{trial}", "--seed_everything", seed], barrier, f"{trial}_{seed}") for seed in (0, 1)
        ]
        processes = [own.Process(target=begin, args=one) for one in args]
        for one in processes:
            one.start()
        for one in processes:
            one.join()
        folders = list((tmp_path / "lightning_logs" / f"n{trial}").iterdir())
        seeds = {(one / "config.yaml").read_text().split("seed_everything: ")[1][0] for one in folders}
        wrong["codes"] += any(Path(f"{trial}_{seed}.code").read_text() != "0" for seed in (0, 1))
        wrong["folders"] += seeds != {"0", "1"}
        wrong["records"] += any(len(read_jsonl(one / "probes/ridge.jsonl")) != 1 for one in folders)
    return +wrong


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="takes fork")
def test_fits_of_one_name_that_begin_at_once_part_fifty_times(tmp_path, monkeypatch):
    assert not fits_at_once(50, tmp_path, monkeypatch)


def fitted(files, callbacks=(), **options):
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[BehaviourReport(), RidgeProbing(), *callbacks],
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        **options,
    )
    data = ArithmeticDataModule(str(files["train"]), str(files["val"]))
    trainer.fit(ArithmeticModule(d_model=8, n_layers=1, n_heads=1, d_ff=8), datamodule=data)
    return trainer


@pytest.mark.filterwarnings("ignore:Experiment logs directory .* exists and is not empty")
@pytest.mark.slow(seconds=2)
def test_in_python_too_no_run_writes_into_the_folder_of_another(small_data, tmp_path):
    for _ in range(2):  # the user says one version twice
        fitted(small_data, [ModelCheckpoint()], logger=CSVLogger(tmp_path, name="c", version=0))
    for version in ("version_0", "version_1"):
        assert len(read_jsonl(tmp_path / "c" / version / "probes/ridge.jsonl")) == 1
        assert len(list((tmp_path / "c" / version / "checkpoints").iterdir())) == 1
    fitted(small_data, [ModelCheckpoint()], logger=Bare(), default_root_dir=tmp_path)
    kept = contents(tmp_path / "lightning_logs/version_0")
    assert Path("behaviour.json") in kept
    assert any(path.parts[0] == "checkpoints" for path in kept)


@pytest.mark.slow(seconds=1)
def test_a_trainer_goes_on_in_its_own_folder(small_data, tmp_path):
    trainer = fitted(small_data, logger=CSVLogger(tmp_path, name="c"))
    trainer.validate(trainer.lightning_module, datamodule=trainer.datamodule, verbose=False)
    lines = read_jsonl(tmp_path / "c/version_0/probes/ridge.jsonl")
    assert [line["stage"] for line in lines] == ["fit", "validate"]
    assert len(list((tmp_path / "c").iterdir())) == 1


def test_without_a_logger_python_is_told_that_nothing_is_kept(small_data, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level("INFO"):
        fitted(small_data, logger=False, enable_checkpointing=False)
    said = [record.getMessage() for record in caplog.records if "no run folder" in record.getMessage()]
    assert said == ["no logger: there is no run folder, and what probes find is kept in no file"]
    assert {path.name for path in tmp_path.iterdir()} == {"small_train.tsv", "small_val.tsv"}


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "1"},
        {
            "SLURM_NTASKS": "2",
            "SLURM_PROCID": "1",
            "SLURM_LOCALID": "1",
            "SLURM_NODEID": "0",
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NAME": "many",
        },
    ],
)
@pytest.mark.slow(seconds=1)
def test_one_fit_of_many_in_a_job_is_a_whole_run(run, small_fit, tmp_path, monkeypatch, environment):
    from lightning.pytorch.utilities import rank_zero_only

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # as Lightning reads it there when it is imported
    assert run(*small_fit)[0] == 0
    kept = contents(tmp_path / "lightning_logs/run/version_0")
    assert {Path("metrics.csv"), Path("config.yaml"), Path("behaviour.json")} <= kept.keys()


def test_in_python_such_a_rank_is_refused_before_it_trains_in_vain(small_data, tmp_path, monkeypatch):
    from lightning.pytorch.utilities import rank_zero_only

    monkeypatch.setattr(rank_zero_only, "rank", 1)
    with pytest.raises(ArithprobeError, match="this process is rank 1, and the Trainer has one process"):
        fitted(small_data, logger=CSVLogger(tmp_path))
