"""How long an epoch of REG-SUM takes by how PyTorch's threads wait for each other, on a free and on a busy machine.

One process a policy, because the environment is read when PyTorch is imported; each trains when it is told to. Policies
and conditions take turns, so that a drift of the machine meets them all.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Self

from lightning.pytorch import Callback, LightningModule, Trainer

EPOCHS, ROUNDS = 1, 2
_WAITS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")  # what a user may have set is not what is measured
_CORES = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
POLICIES: dict[str, dict[str, str]] = {
    "PyTorch's default": {"OMP_NUM_THREADS": _CORES, "GOMP_SPINCOUNT": "300000"},  # libgomp's own, where nothing is set
    "as many threads, OMP_WAIT_POLICY=passive": {"OMP_NUM_THREADS": _CORES, "OMP_WAIT_POLICY": "passive"},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
    "arithprobe's default": {},
}
CONDITIONS: dict[str, str | None] = {
    "machine free": None,
    "another process now and then": """
import time
while True:
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pass
    time.sleep(0.5)
""",
    "another process holds a core": "while True: pass",
}
_WORKER = """
import sys
from arithprobe import cli
for folder in sys.stdin:
    words = ["fit", "--config", "configs/reg_sum.yaml", "--trainer.callbacks=[{class_path: benchmark_threads.Clock}]"]
    words += ["--trainer.max_epochs", sys.argv[1], "--trainer.default_root_dir", folder.strip()]
    assert cli.main([*words, "--trainer.enable_progress_bar", "false"]) == 0
"""


class Clock(Callback):
    """Says on stderr how long the training took."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start."""
        self._start = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop."""
        sys.stderr.write(f"trained in {time.perf_counter() - self._start} s\n")
        sys.stderr.flush()


class _Trainee:
    """A process that trains under one policy, whenever it is told to."""

    def __init__(self, environment: dict[str, str], folder: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(_WAITS)}
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(EPOCHS)],
            env=clean | environment | {"PYTHONPATH": str(Path(__file__).parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def epoch(self) -> float:
        """Seconds of one."""
        said = []
        told, heard = self._process.stdin, self._process.stderr
        if told is None or heard is None:
            raise SystemExit("the process has no pipes")
        told.write(f"{self._folder}\n")
        for line in heard:
            said.append(line)
            if line.startswith("trained in"):
                return float(line.split()[2]) / EPOCHS
        raise SystemExit("".join(said))


@contextmanager
def busy(program: str | None) -> Iterator[None]:
    """Within the block, another process runs a program."""
    other = None if program is None else subprocess.Popen([sys.executable, "-c", program])
    try:
        yield
    finally:
        if other is not None:
            other.kill()
            other.wait()


def threads_table() -> list[dict[str, Any]]:
    """Measure, print the table, and return a record for each of its cells."""
    seconds: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        trainees = {name: stack.enter_context(_Trainee(environment, folder)) for name, environment in POLICIES.items()}
        for trainee in trainees.values():
            trainee.epoch()  # imports, and warms up
        for _ in range(ROUNDS):
            for condition, program in CONDITIONS.items():
                with busy(program):
                    for name, trainee in trainees.items():
                        took = trainee.epoch()
                        sys.stderr.write(f"{condition}, {name}: {took:.1f} s\n")  # the table comes after minutes
                        seconds.setdefault((name, condition), []).append(took)
    sys.stdout.write("\n".join(_lines(seconds)) + "\n")
    return [
        {"name": "threads", "policy": name, "condition": condition, "seconds": all_, "median": median(all_)}
        for (name, condition), all_ in seconds.items()
    ]


def _lines(seconds: dict[tuple[str, str], list[float]]) -> Iterator[str]:
    """The table: medians and what they lie between; in the last column the slowest condition over the first."""
    yield f"| seconds of an epoch, {_CORES} cores | {' | '.join(CONDITIONS)} | slowest over free |"
    yield "|" + "---|" * (len(CONDITIONS) + 2)
    for name in POLICIES:
        found = [seconds[name, condition] for condition in CONDITIONS]
        middle = [median(one) for one in found]
        cells = (f"{at:.1f} ({min(one):.1f} to {max(one):.1f})" for at, one in zip(middle, found, strict=True))
        yield f"| {name} | {' | '.join(cells)} | {max(middle) / middle[0]:.2f} |"
