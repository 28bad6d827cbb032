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
from short_fits import files_in, fit_words, run_of
from stopped_fits import equal, read
from test_transformer import Original

pytestmark = pytest.mark.slow(seconds=6)

SIZES = [word for name, value in SMALL.items() for word in (f"--model.{name}", value)]
QUIET = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
EXACT = ["--trainer.precision", "64-true", "--model.dropout", 0]
PROBES = [
    {"class_path": "RidgeProbing", "init_args": {"positions": ["last"]}},
    {"class_path": "FourierProbing", "init_args": {"quantity": "sum", "period": 10}},
    {"class_path": "MLPProbing", "init_args": {"every": 1, "max_epochs": 5, "shuffles": 1}},
    {"class_path": "DirectionAblation", "init_args": {"every": 1}},
]
COMMANDS = """
import gc, json, sys
gc.disable()  # almost all that there is are modules, which stay
from arithprobe import cli
sys.exit(max(cli.main(words) for words in json.loads(sys.argv[1])))
"""  # one after the other in the same processes, which take long to start


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Fits of two processes, and a validation."""
    root = tmp_path_factory.mktemp("ddp")
    files_in(root)
    torch.manual_seed(0)
    torch.save(Original(16, 2, 2, 32).state_dict(), root / "weights.pt")
    rows = (root / "val.tsv").read_text().splitlines(keepends=True)
    (root / "odd.tsv").write_text("".join(rows[:149]))  # of an odd number Lightning's own sampler would repeat one
    stop = {"class_path": "stopped_fits.Stopped", "init_args": {"path": str(root / "stop.ckpt")}}
    seen = {"class_path": "stopped_fits.Seen", "init_args": {"folder": str(root / "seen")}}
    launch(
        judgement(root, "judged by two", *spread(2)),
        fit(root, "two", [seen], *spread(2), *EXACT, "--data.batch_size", 8),
        fit(root, "whole", [*PROBES, stop], *spread(2)),
        fit(root, "resumed", [], *spread(2), "--ckpt_path", root / "stop.ckpt"),
        fit(root, "control", [], *spread(2), "--ckpt_path", root / "stop_stripped.ckpt"),
        root=root,
    )
    return root


def spread(devices):
    return ["--trainer.strategy", "ddp", "--trainer.devices", devices]


def files_of(root):
    return {part: root / f"{part}.tsv" for part in ("train", "val")}


def fit(root, name, callbacks, *words):
    return [*fit_words(files_of(root), root / name), f"--trainer.callbacks={json.dumps(callbacks)}", *words]


def judgement(root, name, *words):
    """Words of a validation with probes and heads."""
    return [
        "validate",
        *SIZES,
        *QUIET,
        "--data.train_file",
        root / "train.tsv",
        "--data.val_file",
        root / "odd.tsv",
        *("--model.weights", root / "weights.pt", "--data.batch_size", 16, "--trainer.default_root_dir", root / name),
        *("--trainer.callbacks", "RidgeProbing", "--trainer.callbacks+", "HeadAnalysis"),
        *words,
    ]


def launch(*commands, root):
    (root / "commands.py").write_text(COMMANDS)
    every = json.dumps([[str(word) for word in words] for words in commands])
    places = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, root / "commands.py", every]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def last(root, name):
    return read(run_of(root / name) / "checkpoints" / "last.ckpt")


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


def judged(folder):
    """Behaviour, figures of every cell and head, and the answers."""
    (line,) = read_jsonl(folder / "probes" / "ridge.jsonl")
    (heads,) = read_jsonl(folder / "probes" / "heads.jsonl")
    assert heads["rows"] == 149
    figures = {
        f"{name} L{layer}H{head}": one[name]
        for layer, line in enumerate(heads["heads"])
        for head, one in enumerate(line)
        for name in ("operand_mass", "token_entropy")
    }
    figures |= {f"cost of layer {layer}": cost[0] for layer, cost in enumerate(heads["ablation"]["delta_rmse"])}
    behaviour = json.loads((folder / "behaviour.json").read_text())["validate"]
    return behaviour, [*line["cells"], figures], (folder / "predictions.tsv").read_text()


def test_two_processes_judge_and_probe_like_one(root, run):
    code, _, err = run(*judgement(root, "judged by one"))
    assert code == 0, err
    (one, cells, answers), (two, cells_of_two, answers_of_two) = (
        judged(run_of(root / f"judged by {number}")) for number in ("one", "two")
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


def test_probes_in_a_fit_of_two_processes_are_those_of_its_checkpoint_in_one(root, run):
    """Its control: those of the epoch before."""
    folder = run_of(root / "whole")
    files = ["--data.train_file", root / "train.tsv", "--data.val_file", root / "val.tsv", "--data.recipe.split", "sum"]
    words = [*files, *QUIET, "--ckpt_path", folder / "checkpoints" / "last.ckpt"]
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


def test_a_fit_of_two_processes_that_was_stopped_goes_on_as_if_it_was_not(root):
    """With dropout, whose draws are those of each process. Its control: without the random states."""
    first, second = read(root / "stop.ckpt")["arithprobe_random_state"]
    assert not torch.equal(first["torch"], second["torch"])
    whole = last(root, "whole")
    assert equal(last(root, "resumed"), whole)
    assert not equal(last(root, "control"), whole)
