"""Two processes give what one gives: each row is trained on, judged and probed exactly once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import SMALL, read_jsonl
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import Checkpoint
from test_random_state import equal, without_random_state
from test_transformer import Original

from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import write_tsv

SIZES = [word for name, value in SMALL.items() for word in (f"--model.{name}", value)]
QUIET = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
EXACT = ["--trainer.precision", "64-true", "--model.dropout", 0, "--trainer.max_epochs", 2]
PROBES = [
    {"class_path": "RidgeProbing"},
    {"class_path": "FourierProbing", "init_args": {"quantity": "sum", "period": 10}},
    {"class_path": "MLPProbing", "init_args": {"every": 1, "max_epochs": 5, "shuffles": 1}},
    {"class_path": "DirectionAblation", "init_args": {"every": 1}},
]
FITS = """
import json, sys
from arithprobe import cli
sys.exit(max(cli.main(words) for words in json.loads(sys.argv[1])))
"""  # one after the other in the same processes, which takes long to start


class Seen(Callback):
    """Writes which rows a process has trained on, by epoch."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.rows = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.rows.append([])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.rows[-1] += batch.rows.tolist()

    def on_train_end(self, trainer, pl_module):
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{trainer.global_rank}.json").write_text(json.dumps(self.rows))


class Stopped(Checkpoint):
    """Keeps a checkpoint of the end of the second epoch, and the same without its random state.

    In the second process it draws a number more, so that the two have different states.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def on_train_start(self, trainer, pl_module):
        torch.rand(trainer.global_rank)

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            trainer.save_checkpoint(self.path)
            if trainer.is_global_zero:
                without_random_state(Path(self.path))
            trainer.strategy.barrier()


def spread(devices):
    return ["--trainer.strategy", "ddp", "--trainer.devices", devices]


def validate(words, devices, folder, run):
    words = ["validate", *words, "--trainer.default_root_dir", folder]
    if devices == 1:
        code, _, err = run(*words)
    else:
        command = [sys.executable, "-m", "arithprobe", *words, *spread(devices)]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=300)
        code, err = done.returncode, done.stderr
    assert code == 0, err[-3000:]
    folder = run_of(folder)
    (line,) = read_jsonl(folder / "probes" / "ridge.jsonl")
    (heads,) = read_jsonl(folder / "probes" / "heads.jsonl")
    assert heads["rows"] == 149
    figures = {
        f"{name} L{layer}H{head}": one[name]
        for layer, line in enumerate(heads["heads"]) for head, one in enumerate(line)
        for name in ("operand_mass", "token_entropy")
    }  # fmt: skip
    figures |= {f"cost of layer {layer}": cost[0] for layer, cost in enumerate(heads["ablation"]["delta_rmse"])}
    behaviour = json.loads((folder / "behaviour.json").read_text())["validate"]
    return behaviour, [*line["cells"], figures], (folder / "predictions.tsv").read_text()


def run_of(folder):
    (run,) = (folder / "lightning_logs" / "run").iterdir()  # no stray version of another rank
    return run


@pytest.mark.slow
def test_two_processes_judge_and_probe_like_one(small_data, tmp_path, run):
    torch.manual_seed(0)
    torch.save(Original(16, 2, 2, 32).state_dict(), tmp_path / "weights.pt")
    rows = small_data["val"].read_text().splitlines(keepends=True)
    small_data["val"].write_text("".join(rows[:149]))  # odd: Lightning's own sampler would repeat one
    words = [
        *SIZES, *QUIET, "--data.train_file", small_data["train"], "--data.val_file", small_data["val"],
        *("--model.weights", tmp_path / "weights.pt", "--data.batch_size", 16),
        *("--trainer.callbacks", "RidgeProbing", "--trainer.callbacks+", "HeadAnalysis"),
    ]  # fmt: skip
    (one, cells, answers), (two, cells_of_two, answers_of_two) = (
        validate(words, devices, tmp_path / str(devices), run) for devices in (1, 2)
    )
    assert one["n"] == two["n"] == 149
    assert {k: v for k, v in two.items() if isinstance(v, float)} == pytest.approx(
        {k: v for k, v in one.items() if isinstance(v, float)}, rel=1e-6
    )
    for first, second in zip(cells, cells_of_two, strict=True):
        assert second == pytest.approx(first, abs=1e-5)
    first, second = (
        [float(line.split("\t")[2]) for line in text.splitlines()[1:]] for text in (answers, answers_of_two)
    )
    assert second == pytest.approx(first, rel=1e-5)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Fits of two processes."""
    root = tmp_path_factory.mktemp("ddp")
    recipe = DataRecipe(rows=500, split="sum", val_fraction=0.3, max_operand=120)
    for part, problems in sample(recipe).items():
        write_tsv(root / f"{part}.tsv", problems.problems(recipe))
    stop = {"class_path": "test_ddp.Stopped", "init_args": {"path": str(root / "stop.ckpt")}}
    seen = {"class_path": "test_ddp.Seen", "init_args": {"folder": str(root / "seen")}}
    dropout = ["--trainer.max_epochs", 3, "--data.batch_size", 32]
    launch(
        fit(root, "two", [seen], *spread(2), *EXACT, "--data.batch_size", 8),
        fit(root, "whole", [*PROBES, stop], *spread(2), *dropout),
        fit(root, "resumed", [], *spread(2), *dropout, "--ckpt_path", root / "stop.ckpt"),
        fit(root, "control", [], *spread(2), *dropout, "--ckpt_path", root / "stop_stripped.ckpt"),
        root=root,
    )
    return root


def data_of(root):
    return ["--data.train_file", root / "train.tsv", "--data.val_file", root / "val.tsv", "--data.recipe.split", "sum"]


def fit(root, name, callbacks, *words):
    return [
        "fit", *data_of(root), *SIZES, *QUIET, "--trainer.default_root_dir", root / name,
        "--trainer.enable_model_summary", "false", "--trainer.log_every_n_steps", 1,
        f"--trainer.callbacks={json.dumps(callbacks)}", *words,
    ]  # fmt: skip


def launch(*fits, root):
    (root / "fits.py").write_text(FITS)
    command = [sys.executable, root / "fits.py", json.dumps([[str(word) for word in words] for words in fits])]
    places = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def last(root, name):
    return torch.load(run_of(root / name) / "checkpoints" / "last.ckpt", weights_only=True)


def apart(first, second):
    """The largest difference of two models' weights."""
    return max((first["state_dict"][name] - other).abs().max().item() for name, other in second["state_dict"].items())


def numbers(record):
    """All numbers in a record, in its order, without when they were found and how long it took."""
    if isinstance(record, dict):
        return [n for key, part in record.items() if key not in ("epoch", "step", "seconds") for n in numbers(part)]
    if isinstance(record, list):
        return [n for part in record for n in numbers(part)]
    return [float("nan") if record is None else record] if not isinstance(record, str) else []


def behaviour(folder, name="last"):
    """The figures of a verdict."""
    return numbers(json.loads((folder / "behaviour.json").read_text())[name])


@pytest.mark.slow
def test_every_epoch_of_two_processes_trains_on_each_row_once(root):
    """An even number; of an odd one Lightning would repeat one row. The control: the orders of two epochs differ."""
    ranks = [json.loads((root / "seen" / f"{rank}.json").read_text()) for rank in (0, 1)]
    epochs = [sorted(first + second) for first, second in zip(*ranks, strict=True)]
    assert epochs == [list(range(350))] * 2
    assert ranks[0][0] != ranks[0][1] and len(ranks[0][0]) == 175


@pytest.fixture
def one_process(monkeypatch):
    """This process as the only one of a distributed fit."""
    port = find_free_network_port()
    place = {"LOCAL_RANK": 0, "NODE_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in place.items():
        monkeypatch.setenv(name, str(value))
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:It is recommended to use `self.log")  # it does; Lightning asks one process again
def test_two_processes_train_like_one_with_twice_the_batch(root, run, one_process):
    """In the same order, without dropout. Its control: the order of a fit without ``--trainer.strategy ddp``."""
    for name, words in (("plain", []), ("one", spread(1))):
        code, _, err = run(*fit(root, name, [], *words, *EXACT, "--data.batch_size", 16))
        assert code == 0, err
    two, one, plain = (last(root, name) for name in ("two", "one", "plain"))
    assert two["global_step"] == one["global_step"] == plain["global_step"] == 44
    assert apart(two, one) < 1e-9
    assert behaviour(run_of(root / "two")) == pytest.approx(behaviour(run_of(root / "one")), rel=1e-9, nan_ok=True)
    assert apart(two, plain) > 1e-3


@pytest.mark.slow
def test_probes_in_a_fit_of_two_processes_are_those_of_its_checkpoint_in_one(root, run):
    """Its control: those of the epoch before."""
    folder = run_of(root / "whole")
    words = [*data_of(root), *QUIET, "--ckpt_path", folder / "checkpoints" / "last.ckpt"]
    callbacks = f"--trainer.callbacks={json.dumps(PROBES)}"
    code, _, err = run("validate", *words, callbacks, "--trainer.default_root_dir", root / "alone")
    assert code == 0, err
    alone = run_of(root / "alone")
    assert behaviour(folder) == pytest.approx(behaviour(alone, "validate"), rel=1e-5, nan_ok=True)
    for name in ("ridge", "fourier", "mlp", "ablation"):
        (expected,) = read_jsonl(alone / "probes" / f"{name}.jsonl")
        *_, before, found = read_jsonl(folder / "probes" / f"{name}.jsonl")
        assert len(numbers(found)) > 20
        assert numbers(found) == pytest.approx(numbers(expected), rel=1e-4, abs=1e-4, nan_ok=True), name
        assert numbers(before) != pytest.approx(numbers(expected), rel=1e-4, abs=1e-4, nan_ok=True)


@pytest.mark.slow
def test_a_fit_of_two_processes_that_was_stopped_goes_on_as_if_it_was_not(root):
    """With dropout, whose draws are those of each process. Its control: without the random states."""
    first, second = torch.load(root / "stop.ckpt", weights_only=True)["arithprobe_random_state"]
    assert not torch.equal(first["torch"], second["torch"])
    whole = last(root, "whole")
    assert equal(last(root, "resumed"), whole)
    assert not equal(last(root, "control"), whole)
