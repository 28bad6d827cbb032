"""Speed claims, measured side by side in one run: ``python scripts/benchmark.py load | fit``.

Machines are shared and noisy, so every figure is a ratio to something timed in the same run; each side is timed several
times, in turn, and its best time counts.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import read_tsv, write_tsv
from arithprobe.tokenizer import VOCABULARY


def best_seconds(sides: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The best time of each side, all sides in turn."""
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(repeats):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def load(rows: int, repeats: int) -> None:
    """Reading, checking and encoding a TSV, against pandas only parsing it, and against a loop over rows."""
    recipe = DataRecipe(task="mod", rows=rows + 1, val_fraction=1 / (rows + 1))
    with tempfile.TemporaryDirectory() as folder:
        path = write_tsv(Path(folder) / "rows.tsv", sample(recipe)["train"].problems(recipe))
        sides: dict[str, Callable[[], object]] = {
            "arithprobe": lambda: ArithmeticDataset(read_tsv(path)),
            "pandas": lambda: pandas.read_csv(path, sep="\t", header=None),
            "loop": lambda: _loop(path),
        }
        best = best_seconds({name: sides[name] for name in ("arithprobe", "pandas")}, repeats)
        best |= best_seconds({"loop": sides["loop"]}, 1)
    print(f"{rows} rows of (mod 97) problems, best of {repeats}")
    print(f"  arithprobe: read, check, encode     {best['arithprobe']:6.2f} s")
    print(f"  pandas.read_csv: parse only         {best['pandas']:6.2f} s")
    print(f"  Python loop, one tensor per row     {best['loop']:6.2f} s (once)")
    print(f"  speed relative to pandas            {best['pandas'] / best['arithprobe']:6.2f}")
    print(f"  speed relative to the loop          {best['loop'] / best['arithprobe']:6.2f}")


def _loop(path: Path) -> list[tuple[torch.Tensor, float]]:
    """The original notebook's way."""
    ids = {character: number for number, character in enumerate(VOCABULARY, start=1)}
    rows = []
    with path.open() as file:
        for line in file:
            text, answer = line.rstrip("\n").split("\t")
            rows.append((torch.tensor([ids[character] for character in text], dtype=torch.long), float(answer)))
    return rows


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
    """Run one benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    options = commands.add_parser("load", help="reading a TSV")
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--repeats", type=int, default=3)
    options = commands.add_parser("fit", help="a whole fit, with its probes")
    options.add_argument("--config", default="configs/reg_sum.yaml")
    options.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.command == "load":
        load(arguments.rows, arguments.repeats)
    else:
        fit(arguments.config, arguments.seed)


if __name__ == "__main__":
    main()
