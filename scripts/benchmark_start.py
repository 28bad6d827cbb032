"""How long ``arithprobe fit`` takes until its first training step, against the import of Lightning alone."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark_case import Case
from lightning.pytorch import Callback, LightningModule, Trainer

_FIT = ("-m", "arithprobe", "fit", "--config", "configs/reg_sum.yaml", "--trainer.callbacks+=benchmark_start.Leave")


class Leave(Callback):
    """Ends the process at the first step."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Leave."""
        os._exit(0)


def start_cases() -> Iterator[Case]:
    """The shipped REG-SUM with its five callbacks: imports, options, rows, checks, the sanity check."""

    def ours() -> object:
        with tempfile.TemporaryDirectory() as folder:
            return _python(*_FIT, "--trainer.default_root_dir", folder)

    def imports() -> object:
        return _python("-c", "import lightning.pytorch")

    yield Case("start", "fit until its first step; import lightning.pytorch", ours, imports, 1 / 1.3, 7)


def _python(*words: str) -> object:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.run([sys.executable, *words], env=environment, check=True, capture_output=True)
