"""The LightningModule: a tiny transformer trained on arithmetic, which knows whether it has learned it."""

from typing import Any, TypedDict

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from arithprobe.behaviour import Behaviour, judge
from arithprobe.data.dataset import Batch
from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoints import CHECKPOINT_KEY, load_plain_weights
from arithprobe.models.objectives import ScaledMSE
from arithprobe.models.transformer import TinyTransformer
from arithprobe.tokenizer import VOCABULARY
from arithprobe.training.metrics import AnswerErrors

LOGGED = ("loss", "rmse", "r2", "exact_match", "skill")
"""What a validation logs, under ``val/``: the loss in its own units, the rest in answer units."""


class ValidationOutput(TypedDict):
    """What a validation or test step hands to the callbacks."""

    predictions: Tensor
    """(B,) float64 predictions in answer units."""
    states: dict[str, Tensor]
    """States of every site, (B, T, D) each; see :class:`arithprobe.models.transformer.Activations`."""


class ArithmeticModule(LightningModule):
    """A :class:`TinyTransformer` trained with AdamW on the scaled squared error.

    Logs ``train/loss`` and ``val/loss`` (scaled MSE), and in answer units ``val/rmse``, ``val/r2``, ``val/exact_match``
    and ``val/skill`` (``1 - MSE / MSE of the train-mean constant``). After every validation ``behaviour`` says whether
    the task is learned.

    Args:
        d_model: Width D of the residual stream.
        n_layers: Number of layers.
        n_heads: Number of attention heads.
        d_ff: Width of the MLPs.
        dropout: Dropout while training.
        max_len: Positions in the position table.
        lr: Learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        scale: S; the model is trained to output ``answer / S``.
        weights: A plain ``state_dict`` file to start from, such as the original project's checkpoints.

    Attributes:
        behaviour: The verdict of the last validation or test, None before it.
        train_mean: Mean training answer; part of every checkpoint.

    Raises:
        ArithprobeError: If an option is out of range, or ``weights`` do not fit.
    """

    def __init__(
        self,
        d_model: int = 128,
        n_layers: int = 2,
        n_heads: int = 4,
        d_ff: int = 256,
        dropout: float = 0.1,
        max_len: int = 512,
        lr: float = 2e-3,
        weight_decay: float = 0.01,
        scale: float = 2000.0,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if not 0 < lr < float("inf") or not 0 <= weight_decay < float("inf"):
            raise ArithprobeError(f"lr is {lr}, weight_decay {weight_decay}; expected lr > 0 and weight_decay >= 0")
        self.save_hyperparameters(ignore=["weights"])
        self.lr, self.weight_decay = lr, weight_decay
        self.objective = ScaledMSE(scale)
        self.model = TinyTransformer(d_model, n_layers, n_heads, d_ff, dropout, max_len, self.objective.n_outputs)
        if weights is not None:
            load_plain_weights(self.model, weights)
        self.behaviour: Behaviour | None = None
        self.train_mean: float | None = None
        self._errors: AnswerErrors | None = None

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """(B,) float64 predictions in answer units, for (B, T) ids of the given (B,) lengths."""
        return self.objective.decode(self.model(ids, lengths))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over all parameters."""
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)

    def check_prompts(self, longest: int) -> None:
        """Refuse prompts longer than the position table.

        Raises:
            ArithprobeError: Naming both lengths.
        """
        if longest > self.model.max_len:
            raise ArithprobeError(
                f"the longest prompt has {longest} tokens, the position table holds {self.model.max_len}; "
                f"pass --model.max_len {longest} or more"
            )

    def setup(self, stage: str) -> None:
        """Take the constant predictor from the training rows; a checkpoint restored later replaces it by its own."""
        self.behaviour = None
        if stage == "fit":
            self.train_mean = self._mean_of_training_answers()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The scaled squared error of a batch."""
        loss = self.objective.loss(self.model(batch.ids, batch.lengths), batch.answers)
        self.log("train/loss", loss, batch_size=len(batch.ids))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start counting errors."""
        if self.train_mean is None:
            self.train_mean = self._mean_of_training_answers()
        errors = AnswerErrors(self.train_mean)
        self._errors = errors if self.device.type == "mps" else errors.to(self.device)  # float64: not on MPS

    def validation_step(self, batch: Batch, batch_idx: int) -> ValidationOutput:
        """Predict a batch, count its errors, and hand its states on."""
        outputs, cache = self.model.run_with_cache(batch.ids, batch.lengths)
        predictions = self.objective.decode(outputs)
        if self._errors is not None:
            self._errors.update(predictions, batch.answers)
        return {"predictions": predictions, "states": cache.states}

    def on_validation_epoch_end(self) -> None:
        """Judge the model on all rows, and log it."""
        if not self.trainer.sanity_checking:  # a few rows are no verdict
            self._log_behaviour("val")

    def on_test_epoch_start(self) -> None:
        """Start counting errors."""
        self.on_validation_epoch_start()

    def test_step(self, batch: Batch, batch_idx: int) -> ValidationOutput:
        """As in validation."""
        return self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """As in validation, under ``test/``."""
        self._log_behaviour("test")

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """(B,) float64 predictions in answer units."""
        return self.forward(batch.ids, batch.lengths)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store what decoding and judging need beside the weights."""
        checkpoint[CHECKPOINT_KEY] = {
            "train_mean": self.train_mean,
            "task": self._task(),
            "scale": self.objective.scale,
            "vocabulary": VOCABULARY,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore it.

        Raises:
            ArithprobeError: If the checkpoint's characters, scale or task are not this model's and its data's.
        """
        self.check_origin(checkpoint, self._task() if self._trainer is not None else None)
        self.train_mean = checkpoint.get(CHECKPOINT_KEY, {}).get("train_mean", self.train_mean)

    def check_origin(self, checkpoint: dict[str, Any], task: str | None) -> None:
        """Refuse a checkpoint that decodes otherwise, or was trained on another task.

        Args:
            checkpoint: A Lightning checkpoint.
            task: The task of the rows to be run on, as ``DataRecipe.title`` says it; None if unknown.

        Raises:
            ArithprobeError: Naming both sides.
        """
        stored = checkpoint.get(CHECKPOINT_KEY, {})
        for name, own in (("vocabulary", VOCABULARY), ("scale", self.objective.scale), ("task", task)):
            if stored.get(name) is not None and own is not None and stored[name] != own:
                raise ArithprobeError(f"the checkpoint's {name} is {stored[name]!r}, here it is {own!r}")

    def _task(self) -> str | None:
        recipe = getattr(getattr(self.trainer, "datamodule", None), "recipe", None)
        return None if recipe is None else str(recipe.title)

    def _mean_of_training_answers(self) -> float:
        datamodule: Any = getattr(self.trainer, "datamodule", None)
        if datamodule is None:
            raise ArithprobeError("pass the data as trainer.fit(module, datamodule=ArithmeticDataModule(...))")
        return float(datamodule.train_mean)

    def _log_behaviour(self, stage: str) -> None:
        if self._errors is None:
            return
        self.behaviour = judge(self._errors.compute())
        figures = {name: getattr(self.behaviour, name) for name in LOGGED if name != "loss"}
        self.log_dict({f"{stage}/{name}": value for name, value in figures.items() if value == value}, sync_dist=True)
        self.log(f"{stage}/loss", (self.behaviour.rmse / self.objective.scale) ** 2, prog_bar=True, sync_dist=True)
