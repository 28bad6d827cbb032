"""A fit that was stopped and goes on is, bit for bit, the fit that was never stopped."""

import csv
import functools
import json
import random

import numpy as np
import pytest
import torch
from conftest import SMALL, read_jsonl
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.utilities.warnings import PossibleUserWarning
from rendered import white_figures
from short_fits import command, files_in, fit_words
from stopped_fits import equal, read, without_random_state

from arithprobe.callbacks.random_state import RandomState, _restore, _states
from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.data.sampling import DataRecipe
from arithprobe.training.module import ArithmeticModule

PROBES = [
    {"class_path": "RidgeProbing", "init_args": {"positions": ["last"]}},
    {"class_path": "FourierProbing", "init_args": {"quantity": "sum", "period": 10}},
    {"class_path": "MLPProbing", "init_args": {"every": 1, "max_epochs": 2, "shuffles": 1}},
    {"class_path": "EmergenceProbing", "init_args": {"targets": ["sum"], "frequencies": 0, "twins": 0}},
]
BY_EPOCH = ["--trainer.max_epochs", 4]
BY_STEP = ["--trainer.max_epochs", -1, "--trainer.max_steps", 44]
VALIDATED_BY_STEP = [*BY_STEP, "--trainer.val_check_interval", 4, "--trainer.check_val_every_n_epoch", "null"]
LENGTHS = {
    "epochs": BY_EPOCH,
    "steps": BY_STEP,
    "validated by step": VALIDATED_BY_STEP,
    "both, accumulated": [*BY_EPOCH, "--trainer.max_steps", 1000, "--trainer.accumulate_grad_batches", 3],
}
LONG = {"steps", "both, accumulated"}
OF_LENGTHS = [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in LENGTHS]


class KilledError(Exception):
    """The end of a process."""


class Killer(Callback):
    """Ends a fit in the middle of its third epoch."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == (2, 5):
            raise KilledError


class Census(Callback):
    """Says which callbacks a fit had."""

    names: list[str]

    def on_fit_start(self, trainer, pl_module):
        Census.names = [type(callback).__name__ for callback in trainer.callbacks]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return files_in(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def fit_in(files):
    """Fit in a folder: the folder of the run, and that of its checkpoints."""

    def call(folder, *words, callbacks=(), dirpath=None):
        checkpoints = dirpath or folder / "checkpoints"
        options = [
            *fit_words(files, folder),
            "--model.schedule",
            "cosine",
            "--model.warmup_steps",
            5,
            "--checkpoint.dirpath",
            checkpoints,
            f"--trainer.callbacks={json.dumps(list(callbacks))}",
            *words,
        ]
        with white_figures():
            code, _, err = command(*options)
        assert code == 0, err
        (*_, found) = sorted((folder / "lightning_logs" / "run").iterdir())
        return found, checkpoints

    return call


@pytest.fixture
def fit(fit_in, tmp_path):
    """Fit in a folder of its own, by name."""
    return lambda name, *words, **options: fit_in(tmp_path / name, *words, **options)


@pytest.fixture(scope="module")
def whole(fit_in, tmp_path_factory):
    """A fit of a length that was never stopped, made once: its run, its checkpoints and those it kept on its way."""

    @functools.cache
    def call(length):
        folder = tmp_path_factory.mktemp("whole")
        callbacks = [*probes_of(length), kept(folder / "kept")]
        return *fit_in(folder, *LENGTHS[length], callbacks=callbacks), folder / "kept"

    return call


def probes_of(length):
    return PROBES if length == "epochs" else []


def kept(folder):
    return {"class_path": "stopped_fits.Kept", "init_args": {"folder": str(folder)}}


def losses(folder):
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    return [(row["step"], row[name]) for name in ("train/loss", "val/loss") for row in rows if row[name]]


def probed(folder):
    """What the probes wrote, by step, without the time they took."""
    lines = [
        (name, line) for name in ("ridge", "fourier", "mlp") for line in read_jsonl(folder / "probes" / f"{name}.jsonl")
    ]
    return {(name, line["step"]): {k: v for k, v in line.items() if k != "seconds"} for name, line in lines}


@pytest.mark.slow
@pytest.mark.parametrize("length", OF_LENGTHS)
def test_a_fit_goes_on_from_the_end_of_an_epoch_as_if_it_had_never_stopped(length, fit, whole):
    """Dropout, order and schedule, and once all probes; its control: a checkpoint without the random state."""
    probes = probes_of(length)
    folder, checkpoints, keeps = whole(length)
    stop = keeps / "epoch_2.ckpt"
    resumed, goes_on = fit("resumed", *LENGTHS[length], "--ckpt_path", stop, callbacks=probes)
    alone, control = fit("control", *LENGTHS[length], "--ckpt_path", without_random_state(stop))
    end = read(checkpoints / "last.ckpt")
    assert equal(read(goes_on / "last.ckpt"), end)
    assert not equal(read(control / "last.ckpt"), end)
    assert set(losses(resumed)) < set(losses(folder))
    assert not set(losses(alone)) <= set(losses(folder))
    if probes:
        assert probed(resumed).items() < probed(folder).items()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")  # the epoch ends again without a validation
@pytest.mark.parametrize("length", OF_LENGTHS[:2])
def test_so_it_does_from_the_validation_at_the_end_of_an_epoch(length, fit, whole):
    _, checkpoints, keeps = whole(length)
    stop, end = keeps / "step_22.ckpt", read(checkpoints / "last.ckpt")
    assert equal(read(fit("resumed", *LENGTHS[length], "--ckpt_path", stop)[1] / "last.ckpt"), end)
    stripped = without_random_state(stop)
    assert not equal(read(fit("control", *LENGTHS[length], "--ckpt_path", stripped)[1] / "last.ckpt"), end)


@pytest.mark.slow
def test_in_the_middle_of_an_epoch_it_does_not_and_the_user_is_warned(fit, whole):
    """As the docstring says. Its control: the test above."""
    _, checkpoints, keeps = whole("validated by step")
    with pytest.warns(PossibleUserWarning, match="ended before the epoch ended"):
        _, goes_on = fit("resumed", *VALIDATED_BY_STEP, "--ckpt_path", keeps / "step_20.ckpt")
    assert not equal(read(goes_on / "last.ckpt"), read(checkpoints / "last.ckpt"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.parametrize("mode", ["max", pytest.param("min", marks=pytest.mark.long)])
def test_a_killed_fit_ends_with_the_same_best_and_last_in_its_folder(mode, fit, whole, tmp_path):
    """By ``max`` the best epoch is the first, before the kill. Its control goes on with its checkpoints elsewhere."""
    words = [*BY_EPOCH, "--checkpoint.mode", mode]
    folder, checkpoints = whole("epochs")[:2] if mode == "min" else fit("whole", *words)
    with pytest.raises(KilledError):
        fit("killed", *words, callbacks=[{"class_path": "test_random_state.Killer"}])
    place = tmp_path / "killed" / "checkpoints"
    elsewhere, control = fit("control", *words, "--ckpt_path", place / "last.ckpt")
    resumed, _ = fit("killed", *words, "--ckpt_path", place / "last.ckpt", dirpath=place)
    assert resumed.name == "version_1"
    for name in ("best", "last"):
        assert equal(read(place / f"{name}.ckpt"), read(checkpoints / f"{name}.ckpt"))
    for name in ("behaviour.json", "predictions.tsv"):
        assert (resumed / name).read_text() == (folder / name).read_text()
    best = read(place / "best.ckpt")["epoch"]
    assert best == {"min": 2, "max": 0}[mode]
    for found, stands in ((resumed, place), (elsewhere, control)):
        reported = json.loads((found / "behaviour.json").read_text())["best"]["epoch"]
        assert reported == read(stands / "best.ckpt")["epoch"]
    assert reported == {"min": 2, "max": 3}[mode]  # of the two epochs that it saw


@pytest.mark.slow
def test_a_fit_may_go_on_with_other_rows(fit, files, tmp_path):
    """The answers so far have no row then; the report of the best epoch stays, as its checkpoint does."""
    _, checkpoints = fit("first", "--checkpoint.mode", "max")
    rows, fewer = files["val"].read_text().splitlines(keepends=True)[:100], tmp_path / "fewer.tsv"
    fewer.write_text("".join(rows))
    again = ["--trainer.max_epochs", 4, "--checkpoint.mode", "max", "--ckpt_path", checkpoints / "last.ckpt"]
    with pytest.warns(UserWarning, match="exists and is not empty"):
        folder, _ = fit("second", *again, "--data.val_file", fewer, dirpath=checkpoints)
    header, *lines = (folder / "predictions.tsv").read_text().splitlines()
    assert (header, len(lines)) == ("problem\tanswer\tlast", 100)
    reports = json.loads((folder / "behaviour.json").read_text())
    assert {name: (report["epoch"], report["n"]) for name, report in reports.items()} == {
        "last": (3, 100),
        "best": (1, 150),
    }
    assert read(checkpoints / "best.ckpt")["epoch"] == 1


@pytest.mark.slow
def test_a_checkpoint_is_judged_without_the_reports_of_its_fit(run, fit, files, tmp_path):
    _, checkpoints = fit("first")
    assert set(read(checkpoints / "last.ckpt")["callbacks"]["BehaviourReport"]["reports"]) == {"last", "best"}
    words = ["validate", "--ckpt_path", checkpoints / "last.ckpt", "--data.val_file", files["val"]]
    code, out, _ = run(*words, "--trainer.default_root_dir", tmp_path, "--trainer.enable_progress_bar", "false")
    assert code == 0 and "best" not in out
    (record,) = tmp_path.glob("lightning_logs/run/version_0/behaviour.json")
    assert set(json.loads(record.read_text())) == {"validate"}


def test_the_states_survive_a_checkpoint(tmp_path):
    """One draw of each generator is repeated. Its control: without the states it is another."""

    def draws():
        return random.random(), np.random.random(), np.random.normal(), torch.rand(3).tolist()

    seed_everything(7, verbose=False)
    draws()  # leaves half a normal pair behind
    torch.save(_states(torch.device("cpu")), tmp_path / "states.pt")
    first, second = draws(), draws()
    _restore(torch.load(tmp_path / "states.pt", weights_only=True), torch.device("cpu"))
    assert draws() == first
    assert all(a != b for a, b in zip(first, second, strict=True))


def test_only_a_fit_restores_them(small_data, tmp_path):
    """A validation of the checkpoint leaves the draws of the process alone."""
    data = ArithmeticDataModule(str(small_data["train"]), str(small_data["val"]), recipe=DataRecipe(split="sum"))
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "default_root_dir": tmp_path,
        "max_epochs": 1,
    }
    first = Trainer(**quiet, callbacks=[RandomState()])
    first.fit(ArithmeticModule(**SMALL), datamodule=data)
    path = tmp_path / "end.ckpt"
    first.save_checkpoint(path)
    drawn = {}
    for name, checkpoint in (("with", path), ("without", without_random_state(path))):
        for stage in ("validate", "fit"):  # the fit is over, and trains no more
            seed_everything(11, verbose=False)
            trainer = Trainer(**quiet, callbacks=[RandomState()])
            getattr(trainer, stage)(ArithmeticModule(**SMALL), datamodule=data, ckpt_path=checkpoint)
            drawn[name, stage] = torch.rand(1).item()
    assert drawn["with", "validate"] == drawn["without", "validate"]
    assert drawn["with", "fit"] != drawn["without", "fit"]


@pytest.mark.parametrize("named", [[], [{"class_path": "RandomState"}]])
def test_a_fit_has_it_once(named, fit):
    census = {"class_path": "test_random_state.Census"}
    fit("one", callbacks=[*named, census])
    assert Census.names.count("RandomState") == Census.names.count("BehaviourReport") == 1


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
def test_a_bare_fit_has_none(run, small_fit):
    bare = ["--trainer.barebones", "true", "--trainer.callbacks", "test_random_state.Census"]
    code, _, err = run(*small_fit[: small_fit.index("--trainer.log_every_n_steps")], *bare)
    assert code == 0, err
    assert "RandomState" not in Census.names
