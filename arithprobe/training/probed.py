"""The LightningModule for any network: it judges whether the task is learned, and hands states to the callbacks."""

from typing import Any, TypedDict

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from arithprobe.behaviour import Behaviour
from arithprobe.data.dataset import Batch
from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoints import CHECKPOINT_KEY, LoadedModel, in_memory, weights_hash
from arithprobe.models.fidelity import Fidelity
from arithprobe.models.initial import Initial
from arithprobe.models.network import Network, frozen_copy, require_network
from arithprobe.models.objective import Objective, require_objective
from arithprobe.models.weights import named_as
from arithprobe.problems.rows import Rows
from arithprobe.training.metrics import AnswerErrors
from arithprobe.training.schedule import Schedule, lr_factor, require_adamw, require_room, require_schedule


class ValidationOutput(TypedDict):
    """The output of a validation or test step, for the callbacks."""

    predictions: Tensor
    """(B,) float64 predictions in answer units."""
    states: dict[str, Tensor]
    """States of every site, (B, T, D) each; see :class:`arithprobe.models.blocks.Activations`."""


class ProbedModule(LightningModule):
    """A network trained with AdamW on an objective; live probes read its states at every validation.

    It logs ``train/loss`` and ``val/loss`` in the objective's units, and the metrics that the objective names in answer
    units: ``val/exact_match``, ``val/skill`` (``1 - MSE / MSE of the train-mean constant``), ``val/rmse`` and
    ``val/r2`` for a number, and ``val/circular_error`` if the answers are residues. After every validation,
    ``behaviour`` says whether the task is learned.

    Args:
        network: Any :class:`~arithprobe.models.network.Network`;
            :class:`~arithprobe.models.hooked.HookedNetwork` makes one from another ``torch.nn.Module``.
        objective: What is predicted, its loss, and its decoding.
        lr: Learning rate of AdamW.
        weight_decay: Its weight decay.
        betas: Its averaging coefficients.
        warmup_steps: Steps in which the learning rate rises linearly to ``lr``.
        schedule: What it does then: ``constant``, or ``cosine``, down to ``final_lr`` at the last step of the fit.
        final_lr: The learning rate at the end of ``cosine``, as a share of ``lr``.
        weights: The plain ``state_dict`` file that the network's weights come from; drawn if not given.

    Attributes:
        model: The network.
        behaviour: The verdict of the last validation or test, None before the first. A further ``fit`` starts with it
            too, unless the weights or the data have changed in between.
        train_mean: Mean training answer; part of every checkpoint.
        fidelity: Whether a network that is not this library's own keeps its promises; None until a callback checks.
        checked_at: The steps at which a callback checked.
        initial: The weights that the first fit began with, by seed and hash; part of every checkpoint.

    Raises:
        ArithprobeError: If an option is out of range, or ``network`` is not a network.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        lr: float = 2e-3,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        warmup_steps: int = 0,
        schedule: Schedule = "constant",
        final_lr: float = 0.05,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        require_adamw(lr, weight_decay, betas)
        self.lr, self.weight_decay, self.betas = lr, weight_decay, (betas[0], betas[1])
        require_schedule(schedule, warmup_steps, final_lr)
        self.schedule, self.warmup_steps, self.final_lr = schedule, warmup_steps, final_lr
        require_objective(objective)
        require_network(network)
        self.objective: Objective = objective
        self.model: Network = network
        require_room(sum(one.numel() for one in network.parameters()))
        if type(self) is ProbedModule:  # a subclass saves arguments of its own
            self.save_hyperparameters(ignore=["network", "objective", "weights"])
        self.behaviour: Behaviour | None = None
        self.train_mean: float | None = None
        self.fidelity: Fidelity | None = None
        self.checked_at: tuple[int, ...] = ()
        self.initial: Initial | None = None
        self._seed, self._file = torch.initial_seed(), weights
        self._left: object = None  # weights and data at the end of the last fit or pass
        self._errors: AnswerErrors | None = None

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return the (B,) float64 predictions in answer units, for (B, T) ids of the given (B,) lengths."""
        return self.objective.decode(self.model(ids, lengths))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over all parameters; its learning rate changes after every optimizer step.

        Raises:
            ArithprobeError: If the schedule is a cosine and the fit has no end, or no weight can be trained.
        """
        if not any(one.requires_grad for one in self.parameters()):
            raise ArithprobeError("no weight of the network is to be trained; its requires_grad_(True) lets all be")
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay, betas=self.betas)
        if self.schedule == "constant" and not self.warmup_steps:
            return optimizer
        options = (self.schedule, self.warmup_steps, self.final_lr)
        factor = lr_factor(*options, self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def logged(self, modulus: int | None) -> tuple[str, ...]:
        """The names that a validation logs under ``val/``, for answers with and without a modulus."""
        return (*self.objective.metrics, *(() if modulus is None else ("circular_error",)))

    def setup(self, stage: str) -> None:
        """Take the constant predictor from the training rows; a checkpoint restored later replaces it.

        Raises:
            ArithprobeError: If the objective cannot express the data's answers, or a fit finds the network in
                evaluation mode, in which it would train without dropout.
        """
        if stage == "fit" and not self.model.training:
            raise ArithprobeError("the network is in evaluation mode, as check needs it; call its train() before a fit")
        if self._left != self._weights_and_data():
            self.behaviour = None
        if self._of_data("task") is not None:
            self.objective.require_task(self._of_data("circle"))
        if stage == "fit":
            self.train_mean = self._mean_of_training_answers()
            self.initial = self.initial or Initial(weights_hash(self.model), self._seed, self._file)

    def teardown(self, stage: str) -> None:
        """Note the weights and the data that the verdict is about."""
        self._left = self._weights_and_data()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss = self.objective.loss(self.model(batch.ids, batch.lengths), batch.answers)
        self.log("train/loss", loss, batch_size=len(batch.ids))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start counting errors."""
        if self.train_mean is None:
            self.train_mean = self._mean_of_training_answers()
        loaders = self.trainer.test_dataloaders if self.trainer.testing else self.trainer.val_dataloaders
        rows = getattr(loaders, "dataset", None)
        known = rows if isinstance(rows, Rows) else None
        errors = AnswerErrors(self.train_mean, self._of_data("circle"), residues=self.objective.residues, rows=known)
        self._errors = errors if self.device.type == "mps" else errors.to(self.device)  # float64: not on MPS

    def validation_step(self, batch: Batch, batch_idx: int) -> ValidationOutput:
        """Predict a batch, count its errors, and hand its states on."""
        outputs, cache = self.model.run_with_cache(batch.inputs)
        self.objective.require_outputs(outputs, len(batch.ids))
        predictions = self.objective.decode(outputs)
        if self._errors is not None:
            loss, group = self.objective.loss(outputs, batch.answers), self._errors.labels_of(batch.rows)
            self._errors.update(predictions, batch.answers, loss, group)
        return {"predictions": predictions, "states": cache.states}

    def on_validation_epoch_end(self) -> None:
        """Judge the model on all rows, and log the result."""
        if not self.trainer.sanity_checking:  # a few rows are no verdict
            self._log_behaviour("val")

    def on_test_epoch_start(self) -> None:
        """Start counting errors."""
        self.on_validation_epoch_start()

    def test_step(self, batch: Batch, batch_idx: int) -> ValidationOutput:
        """Predict a batch, count its errors, and hand its states on, as in validation."""
        return self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Judge the model on all rows, as in validation, and log the result under ``test/``."""
        self._log_behaviour("test")

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """(B,) float64 predictions in answer units."""
        return self.forward(batch.ids, batch.lengths)

    def loaded(self) -> LoadedModel:
        """Return a copy of the network as it is now, on the CPU, for ``probe``, ``intervene`` and other analyses."""
        facts = {"train_mean": self.train_mean, "task": self._of_data("task")}
        loaded = in_memory(frozen_copy(self.model), self.objective, **facts, name=f"this {type(self).__name__}")
        return loaded._replace(initial=self.initial)

    def origin(self) -> dict[str, Any]:
        """The facts that a checkpoint must agree on: how outputs become answers."""
        return {"objective": self.objective.stored}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store what decoding and judging need besides the weights."""
        facts = {"train_mean": self.train_mean, "task": self._of_data("task")}
        initial = None if self.initial is None else self.initial._asdict()
        checkpoint[CHECKPOINT_KEY] = facts | {"initial": initial} | self.origin()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what was stored; the weights get this module's names, whichever of the two was compiled or wrapped.

        Raises:
            ArithprobeError: If the checkpoint's characters, objective or task differ from this model's and its data's.
        """
        self.check_origin(checkpoint, self._of_data("task"))
        self.behaviour = None
        checkpoint["state_dict"] = named_as(self.state_dict(), checkpoint["state_dict"])
        stored = checkpoint.get(CHECKPOINT_KEY, {})
        self.train_mean = stored.get("train_mean", self.train_mean)
        self.initial = Initial.of(stored.get("initial"), "the checkpoint")

    def check_origin(self, checkpoint: dict[str, Any], task: str | None) -> None:
        """Refuse a checkpoint that decodes differently, or was trained on another task.

        Args:
            checkpoint: A Lightning checkpoint.
            task: The task of the rows that the model will run on, as in ``DataRecipe.title``; None if unknown.

        Raises:
            ArithprobeError: If it does or was; the text names both sides.
        """
        stored = checkpoint.get(CHECKPOINT_KEY, {})
        for name, own in (self.origin() | {"task": task}).items():
            if stored.get(name) is not None and own is not None and stored[name] != own:
                raise ArithprobeError(f"the checkpoint's {name} is {stored[name]!r}, here it is {own!r}")

    def _of_data(self, name: str) -> Any:
        """What the data module says of its rows: their ``task`` in words, or their ``circle``; None if it is none."""
        return None if self._trainer is None else getattr(getattr(self.trainer, "datamodule", None), name, None)

    def _weights_and_data(self) -> object:
        data: Any = getattr(self.trainer, "datamodule", None)
        return weights_hash(self.model), getattr(data, "recipe", data), getattr(data, "files", None)

    def _mean_of_training_answers(self) -> float:
        datamodule: Any = getattr(self.trainer, "datamodule", None)
        if not hasattr(datamodule, "train_mean"):
            raise ArithprobeError(
                "pass the data as trainer.fit(module, datamodule=ArithmeticDataModule(...)); rows of one's own go into "
                "a RowsDataModule"
            )
        return float(datamodule.train_mean)

    def _log_behaviour(self, stage: str) -> None:
        if self._errors is None:
            return
        self.behaviour, loss = self._errors.judged()
        values = {name: getattr(self.behaviour, name) for name in self.logged(self._errors.modulus) if name != "loss"}
        self.log_dict({f"{stage}/{name}": value for name, value in values.items() if value == value}, sync_dist=True)
        self.log(f"{stage}/loss", loss, prog_bar=True, sync_dist=True)
