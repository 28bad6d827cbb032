"""A whole fit as a user runs it, with its probes: ``python scripts/measure_fit.py --config configs/reg_sum.yaml``."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def fit(config: str, seed: int) -> None:
    """A whole fit as a user runs it: when curves appear, how long it takes, what it reaches, what the probes cost.

    The fit runs in a process of its own; its start includes the imports.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = ["fit", "--config", config, "--seed_everything", str(seed), "--trainer.default_root_dir", folder]
        start = time.perf_counter()
        command = [sys.executable, "-m", "arithprobe", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        appeared: dict[str, float] = {}
        while process.poll() is None and len(appeared) < 2:
            time.sleep(1.0)
            for events in Path(folder).rglob("events.*"):
                for tag in EventAccumulator(str(events)).Reload().Tags()["scalars"]:
                    if tag in ("train/loss", "ridge_sum/final@last/r2"):
                        appeared.setdefault(tag.partition("_")[0], time.perf_counter() - start)
        output, _ = process.communicate()
        wall = time.perf_counter() - start
        if process.returncode:
            raise SystemExit(output)
        (metrics,) = Path(folder).rglob("metrics.csv")
        table = pandas.read_csv(metrics).dropna(subset="val/loss")
        (record,) = Path(folder).rglob("ridge.jsonl")
        cells = json.loads(record.read_text().splitlines()[-1])["cells"]
    pooled = next(cell for cell in cells if (cell["site"], cell["position"]) == ("final", "last"))
    print(f"{config}, seed {seed}, {torch.get_num_threads()} threads")
    print(f"  first training curve on disk after  {appeared['train/loss']:7.0f} s")
    print(f"  first probe curve on disk after     {appeared['ridge']:7.0f} s")
    print(f"  whole command                       {wall:7.0f} s")
    print(
        f"  best scaled val MSE                 {table['val/loss'].min():7.2e} (last {table['val/loss'].iloc[-1]:.2e})"
    )
    print(f"  held-out R2 of the sum, final@last  {pooled['r2']:7.4f} (null below {pooled['null_high']:.4f})")
    print("\n".join(f"  {line}" for line in output.splitlines() if "LEARNED:" in line[:20] or "probing took" in line))


def main() -> None:
    """Measure one fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="configs/reg_sum.yaml")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    fit(arguments.config, arguments.seed)


if __name__ == "__main__":
    main()
