"""Whatever a file holds, reading it as a checkpoint gives a model, or one line that names the file."""

import resource
import traceback
import warnings
from collections import Counter

import pytest
import torch
from conftest import SMALL, assert_refused
from mutants import BEGINNINGS, mutants
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
        rows = ArithmeticDataset(read_tsv(files["val"]))
        self.rows = rows.rewritten(torch.arange(8), rows.x[:8], rows.y[:8], "the first few")
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
        words += [
            "--trainer.enable_checkpointing",
            "false",
            "--trainer.max_epochs",
            3,
            "--trainer.limit_train_batches",
            1,
        ]
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
            except Exception as error:  # noqa: BLE001 (whatever it is, that is what is looked for)
                result, where = "traceback", traceback.extract_tb(error.__traceback__)
                ours = [
                    f"{one.filename.rpartition('/')[2]}:{one.lineno}" for one in where if "/arithprobe/" in one.filename
                ]
                what = (
                    f"{type(error).__name__} {ours[-3:]} {where[-1].filename}:{where[-1].lineno}: {str(error)[:200]!r}"
                )
            counts[reader, result] += 1
            if result not in ("read", "refused"):
                found.append(f"{name}: {reader}: {what}")
    return found, counts


@pytest.mark.parametrize(
    ("seed", "count", "readers"),
    [
        (0, 30, {"read_as_probe_does": 1, "start_from": 1, "validate": 30, "fit": 30}),
        *(
            pytest.param(seed, 500, {"read_as_probe_does": 1, "start_from": 1}, marks=pytest.mark.long)
            for seed in (1, 2, 3)
        ),
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


EXAMPLES = {
    "keys that are no names": lambda content: content["state_dict"] | {7: torch.zeros(1)},
    "a key that is bytes": lambda content: {b"tok.weight": torch.zeros(21, 16)},
    "no heads": lambda content: {**content, "hyper_parameters": content["hyper_parameters"] | {"n_heads": None}},
    "a mean that no answer is": lambda content: {
        **content,
        "arithprobe": content["arithprobe"] | {"train_mean": 10**30},
    },
    "a weight that is not there": lambda content: with_weight(content, torch.empty(21, 16, device="meta")),
    "a weight larger than the file": lambda content: with_weight(content, torch.zeros(1).expand(21, 2**40)),
    "a mean that is a list": lambda content: {**content, "arithprobe": content["arithprobe"] | {"train_mean": [1.0]}},
}


def with_weight(content, tensor):
    return {**content, "state_dict": content["state_dict"] | {"model.tok.weight": tensor}}


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_was_found_is_refused_in_one_line(fitted, tmp_path, name):
    torch.save(EXAMPLES[name](fitted.lightning), tmp_path / "found.ckpt")
    with pytest.raises(ArithprobeError, match=r"^[^\n]*found.ckpt: [^\n]+$"):
        fitted.read_as_probe_does(tmp_path / "found.ckpt")


@pytest.mark.parametrize("name", BEGINNINGS)
def test_a_short_file_that_begins_like_another_is_refused(tmp_path, name):
    (tmp_path / "found.ckpt").write_bytes(BEGINNINGS[name])
    with pytest.raises(ArithprobeError, match=r"^[^\n]*found.ckpt: [^\n]+$"):
        load_model(tmp_path / "found.ckpt")


def changed(content, *keys, to):
    """The content with one value changed."""
    key, *rest = keys
    return {**content, key: changed(content[key], *rest, to=to) if rest else to}


@pytest.mark.parametrize(
    ("keys", "to", "message"),
    [
        (("loops",), {"fit_loop": {}}, "loops/fit_loop/state_dict is missing"),
        (("loops", "fit_loop", "epoch_progress"), None, "loops/fit_loop/epoch_progress is None; expected parts"),
        (("optimizer_states",), [{"state": {}, "param_groups": []}], "optimizer_states/0/param_groups has 0 items"),
        (("optimizer_states",), "abc", "optimizer_states is 'abc'; expected a list"),
        (("lr_schedulers",), None, "lr_schedulers is None; expected a list"),
        (("callbacks", "BehaviourReport", "reports"), {"last": {}}, "BehaviourReport/reports/last/verdict is missing"),
        (("arithprobe_random_state",), [{"python": 1}], "its random states cannot be restored"),
        (("pytorch-lightning_version",), 4, "was written by Lightning 4; expected a version from 2.0"),
        (("epoch",), 10**30, "epoch is 1000.*; expected a count"),
    ],
    ids=str,
)
def test_a_fit_refuses_a_state_that_it_cannot_take_up_before_it_writes_anything(
    fitted, tmp_path, run, keys, to, message
):
    torch.save(changed(fitted.lightning, *keys, to=to), tmp_path / "other.ckpt")
    words = [*fitted.words, "--trainer.default_root_dir", tmp_path, "--ckpt_path", tmp_path / "other.ckpt"]
    assert_refused(run(*words), f"other.ckpt: .*{message}")
    assert [one.name for one in tmp_path.iterdir()] == ["other.ckpt"]


def test_a_fit_goes_on_from_a_checkpoint_of_a_compiled_model(fitted, tmp_path, run):
    weights = {
        name.replace("model.", "model._orig_mod.", 1): one for name, one in fitted.lightning["state_dict"].items()
    }
    torch.save({**fitted.lightning, "state_dict": weights}, tmp_path / "compiled.ckpt")
    words = [*fitted.words, "--trainer.default_root_dir", tmp_path, "--trainer.max_epochs", 3]
    code, _, err = run(*words, "--ckpt_path", tmp_path / "compiled.ckpt")
    assert code == 0, err
    own = torch.load(run_of(tmp_path) / "checkpoints" / "last.ckpt", weights_only=True)
    assert list(own["state_dict"]) == list(fitted.lightning["state_dict"])
