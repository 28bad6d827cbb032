"""The provenance of a run: the command, the versions, and hashes of its rows."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from arithprobe.analysis.provenance import code_hash, file_record, split_record, versions
from arithprobe.callbacks.run_folder import run_folder
from arithprobe.callbacks.single import SingleCallback, probed_module
from arithprobe.callbacks.trainers import rows_behind
from arithprobe.data.problem_rows import ProblemRows
from arithprobe.errors import several
from arithprobe.files import to_json, write_whole
from arithprobe.models.network import uncompiled
from arithprobe.problems.rows import Rows

FILE = "provenance.json"


class Provenance(SingleCallback):
    """Writes ``provenance.json`` when a fit starts: the facts that reproduce the run and tell it from another.

    These are the command, the time, versions of the packages, a hash of this library's own code, the device and the
    threads, the number of parameters, the seed and a hash of the first weights, and hashes of both files of rows and of
    the split. The report of a run shows them.

    Args:
        command: The words after ``arithprobe``; None for a fit that was not started from the command line.
    """

    def __init__(self, command: Sequence[str] | None = None) -> None:
        super().__init__()
        self.command = None if command is None else several("Provenance: command", command)

    @property
    def writes(self) -> str:
        """The file that it writes."""
        return FILE

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file, in the first process."""
        folder = run_folder(trainer)  # asks all ranks
        if folder is None or not trainer.is_global_zero:
            return
        module = probed_module(pl_module)
        parts = {"train": trainer.train_dataloader, "val": trainer.val_dataloaders}
        rows = {part: rows_behind(loader) for part, loader in parts.items() if loader is not None}
        record = {
            "folder": str(Path.cwd()),
            "command": self.command,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "code": code_hash(),
            "device": str(module.device),
            "processes": trainer.world_size,
            "threads": torch.get_num_threads(),
            "network": type(uncompiled(module.model)).__name__,
            "parameters": sum(parameter.numel() for parameter in module.parameters()),
            "initial": None if module.initial is None else module.initial._asdict(),
            "continued_from": None if trainer.ckpt_path is None else str(trainer.ckpt_path),
        }
        write_whole(folder / FILE, to_json(record | _of_rows(rows)) + "\n")


def _of_rows(rows: dict[str, Rows]) -> dict[str, Any]:
    found: dict[str, Any] = {"data": {part: file_record(one.path) | {"rows": len(one)} for part, one in rows.items()}}
    if "val" in rows:
        found["task"] = rows["val"].task
        train, val = rows["train"], rows["val"]
        if isinstance(train, ProblemRows) and isinstance(val, ProblemRows):
            found["split"] = split_record(train, val)
    return found
