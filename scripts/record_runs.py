"""Everything that the shipped fits write, cut short, to compare two versions of this project number by number.

    OMP_NUM_THREADS=1 python scripts/record_runs.py OUT            # runs the fits and the commands on their checkpoints
    python scripts/record_runs.py OUT --against OTHER              # lists every value that differs between two folders

``PYTHONPATH`` says which version runs. Times, paths and versions are not compared.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ("reg_sum", "reg_modk", "reg_modk_circular", "reg_modk_residue")
SHORT: dict[str, tuple[str, ...]] = {
    "fit": (
        *("--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu", "--model.d_model", "32"),
        *("--model.d_ff", "64", "--model.n_layers", "2", "--model.n_heads", "4"),
    ),
    "probe": (
        *("--twins", "1", "--fourier_permutations", "19", "--frequencies", "6", "--mlp_shuffles", "1"),
        *("--mlp_hidden", "8", "--small_periods", "2", "5", "--max_examples", "600"),
    ),
    "intervene": (
        *("--draws", "19", "--variable_draws", "19", "--max_examples", "400", "--sites", "embed", "z.1"),
        *("resid_mid.1", "resid_post.0", "final", "--families", "permuted", "matched", "outside"),
    ),
    "heads": ("--draws", "19", "--twins", "1", "--max_examples", "300"),
}
DATA = {
    "reg_sum": ("--data.recipe.rows", "8000", "--trainer.max_epochs", "8"),
    "reg_modk": ("--trainer.max_epochs", "2"),
    "reg_modk_circular": ("--trainer.max_steps", "900", "--trainer.val_check_interval", "25"),
    "reg_modk_residue": ("--trainer.max_steps", "600", "--trainer.val_check_interval", "25"),
}
MODK = (
    *("--data.recipe.modulus", "7", "--data.recipe.max_operand", "99", "--data.recipe.task", "mod"),
    *("--data.recipe.rows", "7000", "--data.recipe.val_fraction", "0.2"),
)
OBJECTIVE = {
    "reg_modk_circular": ("--model.objective.init_args.modulus", "7", "--model.objective.init_args.frequencies", "[1]"),
    "reg_modk_residue": ("--model.objective.init_args.modulus", "7"),
}
UNEQUAL = {  # that may differ between two runs of one version
    "seconds",
    "costs",
    "provenance",
    "checkpoint",
    "data",
    "versions",
    "commit",
    "command",
    "time",
    "date",
    "path",
    "fit_seconds",
    "run",
    "created",
    "machine",
    "figures",
    "started",
    "code",
}


def words_of(config: str, folder: Path) -> list[str]:
    """The words of a short fit."""
    data = ("--data.train_file=null", "--data.val_file=null", "--data.data_dir", str(folder / "data"))
    more = () if config == "reg_sum" else MODK
    return [
        "fit",
        "--config",
        f"configs/{config}.yaml",
        *SHORT["fit"],
        *data,
        *DATA[config],
        *more,
        *OBJECTIVE.get(config, ()),
        "--trainer.default_root_dir",
        str(folder),
    ]


def run(words: list[str], log: Path) -> None:
    """Run ``arithprobe`` with some words."""
    with log.open("w") as out:
        done = subprocess.run([sys.executable, "-m", "arithprobe", *words], stdout=out, stderr=out, cwd=ROOT)
    print(f"{words[0]}: exit {done.returncode} ({log})", flush=True)


def record(out: Path) -> None:
    """Run every fit, and every command on its checkpoint."""
    for config in CONFIGS:
        folder = out / config
        folder.mkdir(parents=True)
        print(config, flush=True)
        run(words_of(config, folder), folder / "fit.log")
        (best,) = (folder / "lightning_logs").rglob("best.ckpt")
        rows = next((folder / "data").glob("*val*"))
        for command in ("probe", "intervene", "heads"):
            own = ["--checkpoint", str(best), "--data", str(rows), "--output_dir", str(folder / command)]
            run([command, *own, *SHORT[command]], folder / f"{command}.log")


def values_of(path: Path) -> Iterator[tuple[str, Any]]:
    """Every value of a file of records, by its place in it."""
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    for number, line in enumerate(lines):
        yield from _walk(str(number) if path.suffix == ".jsonl" else "", json.loads(line))


def _walk(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key not in UNEQUAL:
                yield from _walk(f"{place}/{key}", one)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _walk(f"{place}/{number}", one)
    else:
        yield place, value


def compare(own: Path, other: Path) -> int:
    """Print what differs, and how much was compared; 1 if anything differs."""
    found, differing = 0, 0
    names = {
        path.relative_to(root)
        for root in (own, other)
        for path in root.rglob("*.json*")
        if path.suffix in (".json", ".jsonl")
    }
    for name in sorted(names):
        if not ((own / name).exists() and (other / name).exists()):
            print(f"{name}: only in one of both")
            differing += 1
            continue
        one, two = dict(values_of(own / name)), dict(values_of(other / name))
        different = [place for place in one.keys() | two.keys() if one.get(place) != two.get(place)]
        found, differing = found + len(one), differing + len(different)
        print(f"{name}: {len(one)} values, {len(different)} differ")
        for place in sorted(different)[:12]:
            print(f"    {place}: {two.get(place)} -> {one.get(place)}")
    print(f"{found} values compared, {differing} differ")
    return int(differing > 0)


def main() -> int:
    """Record, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--against", type=Path)
    options = parser.parse_args()
    if options.against is not None:
        return compare(options.out, options.against)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    record(options.out.resolve())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
