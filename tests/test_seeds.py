"""``--seed_everything`` decides how a fit begins, in which order it sees the rows and what dropout drops; all of it."""

import os
import subprocess
import sys
from itertools import chain
from typing import NamedTuple

import pytest
import torch
from conftest import SMALL
from lightning.pytorch import Callback
from short_fits import command, files_in, fit_words, run_of

from arithprobe.models.transformer import TinyTransformer

pytestmark = pytest.mark.slow


class Recorder(Callback):
    """The weights that the last fit began with, and the rows and loss of each of its steps."""

    beginning: dict[str, torch.Tensor]
    order: list[list[int]]
    losses: list[float]

    def on_train_start(self, trainer, pl_module):
        Recorder.beginning = {name: value.clone() for name, value in pl_module.state_dict().items()}
        Recorder.order, Recorder.losses = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        Recorder.order.append(batch.rows.tolist())
        Recorder.losses.append(outputs["loss"].item())


class Fit(NamedTuple):
    """What a fit began with, went through and left."""

    beginning: dict[str, torch.Tensor]
    order: list[list[int]]
    losses: list[float]
    end: dict[str, torch.Tensor]
    predictions: str
    metrics: str


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return files_in(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def fit(files, tmp_path_factory):
    """Fit with a seed, after a number of other fits in the same process."""

    def call(seed, *words):
        root = tmp_path_factory.mktemp("fit")
        recorder = ["--trainer.callbacks", "test_seeds.Recorder", "--seed_everything", seed]
        code, _, err = command(*fit_words(files, root), *recorder, *words)
        assert code == 0, err
        return Fit(Recorder.beginning, Recorder.order, Recorder.losses, *left_by(root))

    return call


@pytest.fixture(scope="module")
def fits(fit):
    """Of another seed, and after it of a seed twice."""
    other, first, again = fit(1), fit(0), fit(0)
    return first, again, other


def left_by(root):
    """The last weights, predictions and metrics of the one run in a folder."""
    folder = run_of(root)
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return last, (folder / "predictions.tsv").read_text(), (folder / "metrics.csv").read_text()


@pytest.fixture
def weights(tmp_path):
    """Words of a fit that begins with the weights of a file."""
    torch.manual_seed(0)
    torch.save(TinyTransformer(**SMALL).state_dict(), tmp_path / "weights.pt")
    return ["--model.weights", tmp_path / "weights.pt"]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_seed_reaches_the_initial_weights(fits):
    first, again, other = fits
    assert same(first.beginning, again.beginning)
    drawn = [name for name, value in first.beginning.items() if value.ndim > 1]  # biases and norms begin as 0 and 1
    assert len(drawn) == 11
    assert not any(torch.equal(first.beginning[name], other.beginning[name]) for name in drawn)


def test_the_seed_reaches_the_order_of_the_rows_every_epoch(fits, fit, weights):
    """Of the same weights, without dropout."""
    assert fits[0].order == fits[1].order
    first, other = (fit(seed, *weights, "--model.dropout", 0) for seed in (0, 1))
    assert same(first.beginning, other.beginning)
    steps = len(first.order) // 2
    epochs = [tuple(chain(*one.order[part])) for one in (first, other) for part in (slice(steps), slice(steps, None))]
    assert len(set(epochs)) == 4
    assert {tuple(sorted(rows)) for rows in epochs} == {tuple(range(350))}  # the control: the same rows, each once
    assert not same(first.end, other.end)


def test_the_seed_reaches_dropout(fit, weights):
    """Of the same weights, and all rows in one batch. Its control: without dropout the seed makes no difference."""
    whole = [*weights, "--data.batch_size", 350, "--trainer.max_epochs", 1]
    losses = {
        (dropout, seed): fit(seed, *whole, "--model.dropout", dropout).losses for dropout in (0.1, 0) for seed in (0, 1)
    }
    assert fit(0, *whole, "--model.dropout", 0.1).losses == losses[0.1, 0]
    assert losses[0, 1] == pytest.approx(losses[0, 0], rel=1e-5)
    assert losses[0.1, 1] != pytest.approx(losses[0.1, 0], rel=1e-3)


def test_a_seed_makes_a_fit_to_the_last_bit(fits):
    """Weights, losses and predictions; its control is another seed."""
    first, again, other = fits
    assert same(first.end, again.end) and not same(first.end, other.end)
    for name in ("losses", "predictions", "metrics"):
        assert getattr(first, name) == getattr(again, name)
        assert getattr(first, name) != getattr(other, name)


def test_an_earlier_fit_in_the_same_process_leaves_no_trace(fits, fit, files, tmp_path):
    """Seed 1, then seed 0, is seed 0 in a process of its own. Its control: two fits that set no seed."""
    words = [sys.executable, "-m", "arithprobe", *fit_words(files, tmp_path), "--seed_everything", 0]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # bits depend on it
    subprocess.run([str(word) for word in words], env=environment, check=True, capture_output=True, timeout=300)
    after, left = fits[0], left_by(tmp_path)
    assert same(after.end, left[0])
    assert (after.predictions, after.metrics) == left[1:]
    unseeded = [fit("false", "--trainer.max_epochs", 1) for _ in range(2)]
    assert not same(unseeded[0].beginning, unseeded[1].beginning)
    assert unseeded[0].order != unseeded[1].order
