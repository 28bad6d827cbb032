"""Speed claims, measured side by side in one run: ``python scripts/benchmark.py load``.

Machines are shared and noisy, so every figure is a ratio to something timed in the same run; each side is timed several
times, in turn, and its best time counts.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas
import torch

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


def main() -> None:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    options = commands.add_parser("load", help="reading a TSV")
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    load(arguments.rows, arguments.repeats)


if __name__ == "__main__":
    main()
