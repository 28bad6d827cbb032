"""The behaviour gate, on the screen and in files."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from arithprobe.behaviour import Behaviour
from arithprobe.callbacks.checkpoints import BestCheckpoint
from arithprobe.callbacks.loggers import tensorboard
from arithprobe.callbacks.run_folder import run_folder
from arithprobe.callbacks.single import SingleCallback, probed_module
from arithprobe.callbacks.trainers import find_callback, logged_step, moment, rows_behind, same_rows
from arithprobe.files import to_json, write_whole
from arithprobe.models.checkpoints import is_ours
from arithprobe.models.network import uncompiled
from arithprobe.problems.rows import Rows
from arithprobe.training.probed import ProbedModule


class BehaviourReport(SingleCallback):
    """Reports after every validation whether the model has learned the task, and keeps its answers.

    It prints one line, logs the verdict as text, and writes ``behaviour.json`` and ``predictions.tsv`` (every row with
    the model's answer) for the last and the best epoch. The best epoch is by the monitor of the run's
    ``BestCheckpoint``, or else of its first ``ModelCheckpoint``, or else by ``val/loss``. ``validate``, ``test`` and
    ``predict`` write the same files for their one pass.

    A checkpoint of a fit holds the last and the best so far, and a fit that resumes from it continues with them; with
    the best only if ``ModelCheckpoint`` does too, that is, with the same ``dirpath``. A further ``fit`` of the same
    trainer and module continues with them too.

    Attributes:
        reports: The content of ``behaviour.json``: ``last`` and ``best`` of a fit, ``validate`` and ``test``, each with
            epoch, step and the numbers of :class:`arithprobe.Behaviour`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reports: dict[str, dict[str, Any]] = {}
        self._predictions: dict[str, Tensor] = {}
        self._rows: Rows | None = None
        self._collected: Tensor | None = None
        self._best: float | None = None
        self._folder: Path | None = None
        self._run: tuple[Trainer, LightningModule] | None = None
        self._answered: Rows | None = None

    @property
    def writes(self) -> str:
        """The files that it writes."""
        return "behaviour.json and predictions.tsv"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the run folder, and forget other runs."""
        super().setup(trainer, pl_module, stage)
        self._folder, self._collected = run_folder(trainer), None
        if self._run != (trainer, pl_module):
            self._run = trainer, pl_module
            self.reports, self._predictions, self._best, self._answered = {}, {}, None, None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the last and the best so far; with a ``state_dict``, Lightning itself would refuse a second report."""
        checkpoint.setdefault("callbacks", {})[self.state_key] = self.stored()

    def stored(self) -> dict[str, Any]:
        """The part of a checkpoint that it keeps: the last and the best so far."""
        reports = {name: one for name, one in self.reports.items() if name in ("last", "best")}
        return {"reports": reports, "predictions": self._predictions, "best": self._best}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Continue with the last and the best so far, in a fit."""
        state = checkpoint.get("callbacks", {}).get(self.state_key)
        if state and trainer.state.fn == TrainerFn.FITTING:
            self.reports, self._predictions = dict(state["reports"]), dict(state["predictions"])
            self._best, self._answered = state["best"], None

    def __getstate__(self) -> dict[str, Any]:
        """A copy watches other runs."""
        return vars(self) | {"_run": None}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the best of a resumed fit if its checkpoint is in another folder and so forgotten."""
        checkpoint = _best_checkpoint(trainer)
        if checkpoint is not None and checkpoint.best_model_score is None:
            self._best = None
            for parts in (self.reports, self._predictions):
                parts.pop("best", None)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the predictions of a batch."""
        if trainer.sanity_checking:
            return
        predictions = outputs if isinstance(outputs, Tensor) else outputs["predictions"]
        if self._collected is None:
            stage = trainer.state.fn or TrainerFn.VALIDATING
            loaders = {TrainerFn.TESTING: trainer.test_dataloaders, TrainerFn.PREDICTING: trainer.predict_dataloaders}
            self._rows = rows_behind(loaders.get(stage, trainer.val_dataloaders))
            n = len(self._rows)
            if stage == TrainerFn.FITTING:
                self._keep_answers_to(self._rows)
            self._collected = torch.zeros(2, n, dtype=torch.float64, device=predictions.device)
        self._collected[0, batch.rows] = predictions
        self._collected[1, batch.rows] = 1

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report."""
        if not trainer.sanity_checking:
            self._report(trainer, probed_module(pl_module))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report."""
        self._report(trainer, probed_module(pl_module))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the predictions."""
        predictions = self._merge(trainer)
        if trainer.is_global_zero:
            self._write_predictions({"prediction": predictions}, "predict")

    def _merge(self, trainer: Trainer) -> Tensor:
        """(N,) predictions of all ranks, each row from exactly one; NaN where ``limit_val_batches`` left a row out."""
        if self._collected is None:
            return torch.zeros(0)
        predictions, seen = trainer.strategy.reduce(self._collected, reduce_op="sum").cpu()
        self._collected = None
        return torch.where(seen > 0, predictions, torch.nan)

    def _keep_answers_to(self, rows: Rows) -> None:
        """Drop what was answered to other rows: a table has one set of them."""
        same = self._answered is None or same_rows(self._answered, rows)
        self._predictions = {name: kept for name, kept in self._predictions.items() if same and len(kept) == len(rows)}
        self._answered = rows

    def _report(self, trainer: Trainer, module: ProbedModule) -> None:
        predictions, behaviour = self._merge(trainer), module.behaviour
        if behaviour is None:
            return
        report = moment(trainer) | dataclasses.asdict(behaviour)
        if not is_ours(module.model):
            report["network"] = type(uncompiled(module.model)).__name__
        stage = str(report.pop("stage"))
        names = ["last", *(["best"] if self._improved(trainer) else [])] if stage == "fit" else [stage]
        self.reports |= dict.fromkeys(names, report)
        if stage == "fit":
            self._predictions |= dict.fromkeys(names, predictions)
        if not trainer.is_global_zero:
            return
        self._print(trainer, behaviour)
        for writer in tensorboard(trainer):
            writer.add_text("behaviour", str(behaviour), logged_step(trainer))
        if self._folder is not None:
            path = self._folder / "behaviour.json"
            earlier = json.loads(path.read_text()) if path.exists() else {}
            write_whole(path, to_json(earlier | self.reports) + "\n")
            self._write_predictions(self._predictions if stage == "fit" else {"prediction": predictions}, stage)

    def _improved(self, trainer: Trainer) -> bool:
        checkpoint = _best_checkpoint(trainer)
        monitor, sign = "val/loss", 1.0
        if checkpoint is not None and checkpoint.monitor is not None:
            monitor, sign = checkpoint.monitor, -1.0 if checkpoint.mode == "max" else 1.0
        value = trainer.callback_metrics.get(monitor)
        if value is None:
            return False
        score = math.inf if math.isnan(value.item()) else sign * value.item()
        improved = self._best is None or score < self._best
        if improved:
            self._best = score
        return improved

    def _print(self, trainer: Trainer, behaviour: Behaviour) -> None:
        bar = trainer.progress_bar_callback
        if bar is None or trainer.state.fn != TrainerFn.FITTING:
            return
        loss = trainer.callback_metrics.get("val/loss")
        shown = "" if loss is None else f"val/loss {loss.item():.3g}, "
        if trainer.max_epochs in (None, -1):
            when = f"step {trainer.global_step}/{trainer.max_steps}"
        else:  # counted from 0, as Lightning's bar and logs count
            when = f"epoch {trainer.current_epoch}/{(trainer.max_epochs or 1) - 1}"
        bar.print(f"{when}: {shown}{behaviour}")

    def _write_predictions(self, columns: dict[str, Tensor], stage: str) -> None:
        rows = self._rows
        if self._folder is None or rows is None:
            return
        shown = [["" if value != value else f"{value:.9g}" for value in column.tolist()] for column in columns.values()]
        cells = zip(rows.texts(), map(str, rows.answers.tolist()), *shown, strict=True)
        lines = ["\t".join(row) for row in (("problem", "answer", *columns), *cells)]
        path = self._folder / "predictions.tsv"
        if stage != "fit" and path.exists():  # a fit's, when the same Trainer goes on to validate
            path = path.with_stem(f"predictions_{stage}")
        write_whole(path, "\n".join(lines) + "\n")


def _best_checkpoint(trainer: Trainer) -> ModelCheckpoint | None:
    """The checkpoint that says what is best: ours, or the first that monitors anything."""
    ours = find_callback(trainer, BestCheckpoint)
    first = trainer.checkpoint_callback
    return ours or (first if isinstance(first, ModelCheckpoint) and first.monitor is not None else None)
