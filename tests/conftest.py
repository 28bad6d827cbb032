"""Small data, small models, short runs."""

import gc
import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
from cpu_by_file import CpuByFile

from arithprobe import cli
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import write_tsv

gc.set_threshold(100_000, 20, 20)  # most of what there is are modules, which stay: to look through them is for nothing
ROOT = Path(__file__).resolve().parent.parent
SMALL = {"d_model": 16, "n_layers": 2, "n_heads": 2, "d_ff": 32}


@pytest.fixture(autouse=True)
def _words_of_the_test_runner_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["arithprobe"])


@pytest.fixture
def small_data(tmp_path: Path) -> dict[str, Path]:
    """500 problems, split by sum: nothing shared, so nothing warned of."""
    recipe = DataRecipe(rows=500, split="sum", val_fraction=0.3, max_operand=120)
    parts = sample(recipe)
    return {part: write_tsv(tmp_path / f"small_{part}.tsv", parts[part].problems(recipe)) for part in parts}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: exit code, stdout, stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        lightning_writes_to(sys.stderr)
        code = cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def white() -> Iterator[None]:
    """Figures stay white; those that a fixture of a larger scope has made are drawn."""
    from rendered import white_figures  # which imports Matplotlib

    with white_figures():
        yield


@pytest.fixture
def small_fit(small_data: dict[str, Path], tmp_path: Path) -> list[object]:
    """Words of a fit that takes about a second, without callbacks of its own."""
    from short_fits import fit_words  # which imports this module

    return fit_words(small_data, tmp_path)


def lightning_writes_to(stream: TextIO) -> None:
    """Have Lightning's log go there: it took stderr when it was imported."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.stream = stream


def assert_refused(done: tuple[int, str, str], message: str) -> None:
    """A user's mistake: one line on stderr that says so, exit code 2, nothing else."""
    code, out, err = done
    assert (code, out) == (2, "")
    assert err.startswith("arithprobe: error: ")
    assert err.count("\n") == 1
    assert re.search(message, err), err


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cpu", action="store_true", help="print the CPU seconds of every test file")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("cpu"):
        config.pluginmanager.register(CpuByFile())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that no process is alone with one of them at the end."""
    seconds: Counter[Path] = Counter()
    for item in items:
        if mark := item.get_closest_marker("slow"):
            seconds[item.path] += mark.kwargs.get("seconds", 1)
    items.sort(key=lambda item: -seconds[item.path])
