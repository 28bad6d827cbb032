"""Two processes give what one gives: each row is judged and probed exactly once."""

import json
import subprocess
import sys

import pytest
import torch
from conftest import SMALL, read_jsonl
from test_transformer import Original


def validate(words, devices, folder):
    spread = ["--trainer.devices", devices, "--trainer.strategy", "ddp" if devices > 1 else "auto"]
    command = [sys.executable, "-m", "arithprobe", "validate", *words, *spread, "--trainer.default_root_dir", folder]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    (run,) = (folder / "lightning_logs" / "run").iterdir()  # no stray version of another rank
    (line,) = read_jsonl(run / "probes" / "ridge.jsonl")
    (heads,) = read_jsonl(run / "probes" / "heads.jsonl")
    assert heads["rows"] == 149
    figures = {
        f"{name} L{layer}H{head}": one[name]
        for layer, line in enumerate(heads["heads"]) for head, one in enumerate(line)
        for name in ("operand_mass", "token_entropy")
    }  # fmt: skip
    figures |= {f"cost of layer {layer}": cost[0] for layer, cost in enumerate(heads["ablation"]["delta_rmse"])}
    return (
        json.loads((run / "behaviour.json").read_text())["validate"],
        [*line["cells"], figures],
        (run / "predictions.tsv").read_text(),
    )


@pytest.mark.slow
def test_two_processes_judge_and_probe_like_one(small_data, tmp_path):
    torch.manual_seed(0)
    torch.save(Original(16, 2, 2, 32).state_dict(), tmp_path / "weights.pt")
    rows = (
        small_data["val"].read_text().splitlines(keepends=True)[:149]
    )  # odd: Lightning's own sampler would repeat one
    small_data["val"].write_text("".join(rows))
    words = [
        *(word for name, value in SMALL.items() for word in (f"--model.{name}", value)),
        *("--model.weights", tmp_path / "weights.pt", "--data.val_file", small_data["val"], "--data.batch_size", 16),
        *(
            "--data.train_file",
            small_data["train"],
            "--trainer.accelerator",
            "cpu",
            "--trainer.callbacks",
            "RidgeProbing",
            "--trainer.callbacks+",
            "HeadAnalysis",
        ),
        *("--trainer.enable_progress_bar", "false"),
    ]
    (one, cells, answers), (two, cells_of_two, answers_of_two) = (
        validate(words, devices, tmp_path / str(devices)) for devices in (1, 2)
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
