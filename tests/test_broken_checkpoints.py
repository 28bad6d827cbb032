"""Whatever a file holds, reading it as a checkpoint gives a model, or one line that names the file."""

import resource
import traceback
import warnings
from collections import Counter

import pytest
import torch
from conftest import SMALL
from mutants import mutants
from short_fits import command, files_in, fit_words, run_of

from arithprobe import cli
from arithprobe.analysis.forward import random_init_twin, run_over
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.tsv import read_tsv
from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoints import load_model, weights_hash
from arithprobe.training.module import ArithmeticModule


class Fitted:
    """A short fit: its words, its rows and its checkpoints."""

    def __init__(self, folder):
        files = files_in(folder)
        self.words, self.folder = fit_words(files, folder), folder
        assert command(*self.words)[0] == 0
        self.path = run_of(folder) / "checkpoints" / "last.ckpt"
        self.lightning = torch.load(self.path, weights_only=True)
        self.plain = {key.removeprefix("model."): value for key, value in self.lightning["state_dict"].items()}
        self.rows = ArithmeticDataset(read_tsv(files["val"]))
        few = {"ids", "lengths", "x", "y", "answers", "layout"}
        for name in few:
            setattr(self.rows, name, getattr(self.rows, name)[:8])
        self.contents = {"Lightning": self.lightning, "plain": self.plain}

    def read_as_probe_does(self, path):
        loaded = load_model(path)
        run_over(loaded, self.rows)
        random_init_twin(loaded, 0)
        weights_hash(loaded.model)

    def start_from(self, path):
        ArithmeticModule(**SMALL, weights=str(path))

    def call(self, name, path):
        """A whole command."""
        words = [name, *self.words[1:], "--ckpt_path", path, "--trainer.logger", "false"]
        words += ["--trainer.enable_checkpointing", "false", "--trainer.max_epochs", 3, "--trainer.limit_train_batches", 1]
        code = cli.main([str(word) for word in words])
        assert code in (0, 2)
        if code == 2:
            raise ArithprobeError(f"{path}: said by the command")

    def validate(self, path):
        self.call("validate", path)

    def fit(self, path):
        self.call("fit", path)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return Fitted(tmp_path_factory.mktemp("whole"))


def tracebacks(fitted, folder, count, seed, readers):
    """What is no ArithprobeError that names the file, and how many were read and refused.

    Args:
        fitted: What is damaged.
        folder: Where the damaged files go.
        count: How many.
        seed: Of the damage.
        readers: Of each reader, which one in how many it reads.
    """
    found, counts = [], Counter()
    for number, (name, data) in enumerate(mutants(fitted.contents, count, seed)):
        path = folder / "mutant.ckpt"
        path.write_bytes(data)
        for reader in (one for one, every in readers.items() if number % every == 0):
            result = "read"
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    getattr(fitted, reader)(path)
            except ArithprobeError as error:
                result = "refused" if "mutant.ckpt" in str(error) else "file not named"
                what = str(error)
            except Exception as error:  # whatever it is: that is what is looked for
                result, where = "traceback", traceback.extract_tb(error.__traceback__)
                ours = [f"{one.filename.rpartition('/')[2]}:{one.lineno}" for one in where if "/arithprobe/" in one.filename]
                what = f"{type(error).__name__} {ours[-3:]} {where[-1].filename}:{where[-1].lineno}: {str(error)[:200]!r}"
            counts[reader, result] += 1
            if result not in ("read", "refused"):
                found.append(f"{name}: {reader}: {what}")
    return found, counts


@pytest.mark.parametrize(
    ("seed", "count", "readers"),
    [
        (0, 60, {"read_as_probe_does": 1, "start_from": 1, "validate": 30, "fit": 30}),
        *(pytest.param(seed, 500, {"read_as_probe_does": 1, "start_from": 1}, marks=pytest.mark.long) for seed in (1, 2, 3)),
        *(pytest.param(seed, 250, {"validate": 1, "fit": 1}, marks=pytest.mark.long) for seed in (4, 5)),
    ],
)
def test_no_damage_gives_a_traceback_and_none_takes_memory(fitted, tmp_path, seed, count, readers):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found, counts = tracebacks(fitted, tmp_path, count, seed, readers)
    print(sorted(counts.items()))
    assert not found, "\n".join(found)
    assert counts["read_as_probe_does", "read"] or counts["fit", "read"]  # the control: some are still whole
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kilobytes
