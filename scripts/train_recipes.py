"""Train the recipes that learn their task, each with its seeds: ``python scripts/train_recipes.py``.

Each run is an ordinary ``arithprobe fit`` in a process of its own, with its log beside it in
``lightning_logs/recipes/<config>/seed_<n>``; then its ``last.ckpt`` answers the test rows, whose sums neither trained
the model nor chose its settings. A run that was stopped goes on from its last validation when the same command is given
again, and one that is done is not repeated. At the end, and with ``--show`` at any time, a table says what came out.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pandas

from arithprobe.plotting.render import Figure, to_png, to_rgb, to_svg
from arithprobe.plotting.style import CYCLE, GREY, SMALL, TITLE, new_figure, tidy

SEEDS = {"reg_modk_circular": 3, "reg_modk_residue": 2, "reg_sum_exact": 1, "reg_modk": 1}
"""The recipes, how many seeds each; the last is the notebook's, which does not learn."""
ROOT = Path(__file__).resolve().parent.parent


class Run(NamedTuple):
    """One recipe with one seed."""

    config: str
    """Name of the configuration."""
    seed: int
    """Its seed."""

    @property
    def name(self) -> str:
        """The name of the run, and of its folder under lightning_logs."""
        return f"recipes/{self.config}/seed_{self.seed}"

    @property
    def folder(self) -> Path:
        """Where its log, its attempts and its result stand, beside the run folders ``version_N``."""
        return Path("lightning_logs") / self.name

    def files(self, pattern: str) -> list[Path]:
        """The files of that name under its folder, the newest last."""
        return sorted(self.folder.glob(pattern), key=lambda path: path.stat().st_mtime)

    def newest(self, name: str) -> Path | None:
        """The newest file of that name among the attempts."""
        return next(reversed(self.files(f"version_*/{name}")), None)


def train(run: Run, threads: int) -> None:
    """Train it, or go on with it, and judge it on the test rows."""
    done = run.folder / "result.json"
    if done.exists():
        return
    run.folder.mkdir(parents=True, exist_ok=True)
    config = str(ROOT / "configs" / f"{run.config}.yaml")
    common = ["--config", config, "--seed_everything", str(run.seed), "--trainer.enable_progress_bar", "false"]
    last = run.newest("checkpoints/last.ckpt")
    attempt = run.folder / "started.txt"
    spent = _spent(run.folder / "seconds.txt", attempt, last)
    attempt.write_text(str(time.time()))
    _arithprobe(run, threads, ["fit", *common, "--name", run.name, *(["--ckpt_path", str(last)] if last else [])])
    last = run.newest("checkpoints/last.ckpt")
    spent += time.time() - float(attempt.read_text())
    has_test = "test_fraction" in Path(config).read_text()
    if has_test:
        _arithprobe(run, threads, ["test", *common, "--name", f"{run.name}/test", "--ckpt_path", str(last)])
    reports = {"val": json.loads(run.files("version_*/behaviour.json")[-1].read_text())["last"]}
    if has_test:
        reports["test"] = json.loads(run.files("test/version_*/behaviour.json")[-1].read_text())["test"]
    done.write_text(json.dumps({"seconds": spent, "threads": threads, "checkpoint": str(last), **reports}, indent=1))


def _spent(total: Path, attempt: Path, last: Path | None) -> float:
    """Seconds of attempts that were stopped, each up to its last checkpoint: what came after is done again."""
    spent = float(total.read_text()) if total.exists() else 0.0
    if attempt.exists() and last is not None:
        spent += max(0.0, last.stat().st_mtime - float(attempt.read_text()))
        total.write_text(str(spent))
    return spent


def _arithprobe(run: Run, threads: int, words: list[str]) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with (run.folder / "log.txt").open("a") as log:
        command = [sys.executable, "-m", "arithprobe", *words]
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False).returncode
    if code:
        raise SystemExit(f"{run.name}: exit code {code}, see {run.folder / 'log.txt'}")


def table(runs: list[Run]) -> Iterator[str]:
    """A line for every run, then the exact match of each by step."""
    yield f"{'run':28} {'minutes':>8} {'threads':>7} {'RMSE':>8} {'val exact':>10} {'test exact':>10}  verdict"
    for run in runs:
        path = run.folder / "result.json"
        if not path.exists():
            yield f"{run.config + ' ' + str(run.seed):28} not done"
            continue
        result = json.loads(path.read_text())
        val, test = result["val"], result.get("test")
        exact = f"{val['exact_match']:10.2%} {'-' if test is None else format(test['exact_match'], '.2%'):>10}"
        yield (
            f"{run.config + ' ' + str(run.seed):28} {result['seconds'] / 60:8.1f} {result['threads']:7} "
            f"{val['rmse']:8.3f} {exact}  {(test or val)['verdict']}"
        )
    for run in runs:
        curve = curve_of(run)
        points = zip(curve["step"] + 1, curve["val/exact_match"], strict=True)
        yield f"{run.config} {run.seed}: " + ", ".join(f"{exact:.1%} @{step}" for step, exact in points)
        if run.config == "reg_sum_exact":
            yield from by_digits(run)


def by_digits(run: Run) -> Iterator[str]:
    """RMSE of the last answers to the validation rows, by the digits of the shorter operand."""
    path = run.newest("predictions.tsv")
    if path is None:
        return
    rows = pandas.read_csv(path, sep="\t")
    operands = rows["problem"].str.extract(r"(\d+) \+ (\d+)")
    digits = operands.apply(lambda column: column.str.len()).min(axis=1)
    squares = (rows["last"] - rows["answer"]) ** 2
    found = []
    for count in sorted(digits.unique()):
        own = squares[digits == count]
        found.append(f"{count}: {own.mean() ** 0.5:.3f} ({len(own)} rows)")
    yield f"{run.config} {run.seed}, RMSE by the digits of the shorter operand: {', '.join(found)}"


def curve_of(run: Run) -> pandas.DataFrame:
    """The validations of all its attempts, ``step`` and ``val/exact_match`` among the columns."""
    validated = [
        table for table in map(pandas.read_csv, run.files("version_*/metrics.csv")) if "val/exact_match" in table
    ]
    if not validated:
        return pandas.DataFrame({"step": [], "val/exact_match": []})
    curve = pandas.concat(validated).dropna(subset="val/exact_match")
    return curve.drop_duplicates("step", keep="last").sort_values("step")


def picture(runs: list[Run]) -> Figure:
    """Exact match on the validation rows by step, a line a run, a colour a recipe."""
    figure = new_figure(7.5, 4)
    axes = figure.subplots()
    for colour, config in zip(itertools.cycle(CYCLE), dict.fromkeys(run.config for run in runs), strict=False):
        curves = [curve_of(run) for run in runs if run.config == config]
        for label, curve in zip([config, *[None] * len(curves)], curves, strict=False):
            steps, exact = curve["step"] + 1, 100 * curve["val/exact_match"]
            axes.plot(steps, exact, color=colour, marker="o", markersize=3, linewidth=1.2, label=label)
    axes.axhline(99, color=GREY, linewidth=0.8, linestyle=":")
    axes.set(xlabel="training step", ylabel="exact match, validation rows (%)", ylim=(-2, 102))
    axes.set_title("The recipes on sums they never saw, every seed; reg_modk is the notebook's", fontsize=TITLE)
    axes.legend(loc="center right", fontsize=SMALL)
    tidy(figure)
    return figure


def main() -> None:
    """Train what is not trained yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--recipes", nargs="*", choices=list(SEEDS), default=list(SEEDS), help="Names of configurations."
    )
    parser.add_argument("--jobs", type=int, default=1, help="Runs side by side.")
    parser.add_argument("--threads", type=int, help="Threads of each run; the cores, shared by the jobs, if not given.")
    parser.add_argument("--show", action="store_true", help="Train nothing, only show the table.")
    parser.add_argument("--picture", type=Path, help="Also draw the curves, to this PNG file, and an SVG beside it.")
    given = parser.parse_args()
    runs = [Run(config, seed) for config in given.recipes for seed in range(SEEDS[config])]
    if not given.show:
        threads = given.threads or max(1, (os.cpu_count() or 1) // given.jobs)
        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(lambda run: train(run, threads), runs))
    print("\n".join(table(runs)))
    if given.picture is not None:
        figure = picture(runs)
        given.picture.write_bytes(to_png(to_rgb(figure)))
        given.picture.with_suffix(".svg").write_text(to_svg(figure))


if __name__ == "__main__":
    main()
