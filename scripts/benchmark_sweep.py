"""A small grid through every engine, and in plain processes: ``python scripts/benchmark_sweep.py [--engines loky]``.

Nine cells, 2000 rows to train on, 2 epochs. The plain way runs the same trials one after another, each in a process of
its own with all cores. All of them must measure the same, trial by trial; the wall times are of one run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_CONFIG = """\
name: benchmark
base: {base}
set:
  data.train_file: null
  data.val_file: null
  data.data_dir: {data}
  data.recipe: {{task: mod, modulus: 97, rows: 2500, val_fraction: 0.2}}
  trainer.max_epochs: 2
  trainer.log_every_n_steps: 8
  trainer.callbacks: [{{class_path: RidgeProbing, init_args: {{positions: [last]}}}}]
grid: {{model.n_layers: [1, 2, 3], model.d_model: [32, 64, 128], seed_everything: [0]}}
rules: {{model.d_ff: 4 * model.d_model}}
measure: {{twins: 1, mlp_shuffles: 3}}
"""
_TRIAL = """
import sys
from arithprobe.analysis.scale.options import ScaleOptions
from arithprobe.cli.sweep_trial import run_trial
options = ScaleOptions(twins=1, mlp_shuffles=3)
sys.exit(run_trial(sys.argv[1], parameters={sys.argv[2]: {}}, cwd=".", threads=int(sys.argv[3]), options=options))
"""


def sweep(config: Path, folder: Path, *words: str) -> float:
    """Wall time of the command."""
    start = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "arithprobe",
        "sweep",
        "--config",
        str(config),
        "--output_dir",
        str(folder),
        *words,
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def plain(folder: Path, done: Path, threads: int) -> float:
    """Wall time of the trials, one process after another."""
    names = sorted(path.parent.name for path in done.glob("*/config.yaml"))
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "config.yaml").write_bytes((done / name / "config.yaml").read_bytes())
    start = time.perf_counter()
    for name in names:
        command = [sys.executable, "-c", _TRIAL, str(folder / name), name, str(threads)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def columns(folder: Path) -> dict[str, dict[str, object]]:
    """What each trial measured."""
    return {path.parent.name: json.loads(path.read_text())["columns"] for path in folder.glob("*/result.json")}


def differences(one: dict[str, dict[str, object]], other: dict[str, dict[str, object]]) -> str:
    """How two sweeps differ, in words."""
    if one.keys() != other.keys():
        return f"other trials: {sorted(one.keys() ^ other.keys())}"
    cells = [(name, key) for name in one for key in one[name] if one[name][key] != other[name].get(key)]
    if not cells:
        return "equal, every column of every trial, to the bit"
    gaps = [
        abs(float(str(one[name][key])) - float(str(other[name][key])))
        for name, key in cells
        if isinstance(one[name][key], float) and isinstance(other[name][key], float)
    ]
    return f"{len(cells)} of {sum(map(len, one.values()))} values differ, by up to {max(gaps, default=0):.2g}"


def main() -> None:
    """Run all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="*", choices=["loky", "ray"], default=["loky", "ray"])
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    base = Path(__file__).resolve().parent.parent / "configs" / "reg_modk.yaml"
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        config = root / "grid.yaml"
        config.write_text(_CONFIG.format(base=base, data=root / "data"))
        seconds = {engine: sweep(config, root / engine, "--engine", engine) for engine in given.engines}
        first = root / given.engines[0]
        seconds["one after another, 1 thread each"] = plain(root / "one", first, 1)
        seconds[f"one after another, {cores} threads each"] = plain(root / "all", first, cores)
        found = {
            "one after another, 1 thread each": root / "one",
            f"one after another, {cores} threads each": root / "all",
        }
        found |= {engine: root / engine for engine in given.engines}
        print(f"9 trials on {cores} cores; ratio: wall time over that of {given.engines[0]}")
        for way, wall in seconds.items():
            same = differences(columns(first), columns(found[way]))
            print(f"{way:36} {wall:7.1f} s  {wall / seconds[given.engines[0]]:5.2f}  {same}")


if __name__ == "__main__":
    main()
