"""``arithprobe fit | validate | test | predict``: LightningCLI on our module and data."""

import os
import sys
from argparse import ArgumentError
from collections.abc import Sequence
from typing import Any, Self

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from arithprobe.callbacks import (  # (the package also lets YAML name callbacks by class)
    BehaviourReport,
    Provenance,
    RandomState,
    TensorBoardOverview,
)
from arithprobe.callbacks.base import callbacks_of, find_callback, run_folder
from arithprobe.callbacks.random_state import threads_to_go_on_with
from arithprobe.callbacks.trial import ResumeCheckpoint
from arithprobe.cli.announcements import Announcements, announcements
from arithprobe.cli.complaints import complaint
from arithprobe.cli.preflight import check_checkpoint, check_folders, check_trainer
from arithprobe.cli.run_folder import run_loggers
from arithprobe.cli.summary import print_summary
from arithprobe.cli.training_state import check_training_state
from arithprobe.data.datamodule import ArithmeticDataModule, parts_of
from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoints import lightning_parts
from arithprobe.models.objective import Objective
from arithprobe.models.weights import is_lightning, read_checkpoint
from arithprobe.threads import default_threads, use_chosen_threads, use_threads
from arithprobe.training.module import ArithmeticModule

_CHECKPOINT = {  # best.ckpt, whatever the epoch
    "monitor": "val/loss",
    "mode": "min",
    "filename": "best",
    "enable_version_counter": False,
}


def run(words: Sequence[str] | None) -> None:
    """Run one of the commands.

    Args:
        words: The command and its options; those of the process where None, as relaunched ranks need it.

    Raises:
        ArithprobeError: For any mistake of the user.
    """
    with announcements() as held:
        try:
            ArithprobeCLI.of(held, words)
        except ArithprobeError:
            raise
        except MisconfigurationException as error:
            raise ArithprobeError(str(error)) from error
        except (ArithmeticError, MemoryError, RuntimeError, TypeError, ValueError) as error:
            if held.released or "ARITHPROBE_DEBUG" in os.environ:
                raise  # the run has begun: a bug
            raise ArithprobeError(complaint(f"{type(error).__name__}: {error}", ())) from error


class SaveConfig(SaveConfigCallback):
    """Saves ``config.yaml`` in the run folder; without one, nowhere."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save it."""
        if run_folder(trainer) is not None:
            super().setup(trainer, pl_module, stage)


class ArithprobeCLI(LightningCLI):
    """LightningCLI with a named run folder, checks before anything is written, and a summary at the end."""

    model: ArithmeticModule
    datamodule: ArithmeticDataModule

    def __init__(self, held: Announcements, words: Sequence[str], *args: Any, **options: Any) -> None:
        self._held, self._words = held, list(words)
        super().__init__(*args, **options)

    @classmethod
    def of(cls, held: Announcements, words: Sequence[str] | None) -> Self:
        """Run a command on our module and data.

        Args:
            held: What is said once the checks have passed.
            words: The command and its options; those of the process where None.
        """
        options: dict[str, Any] = {"exit_on_error": False, "allow_abbrev": False}
        per_command = {command: dict(options) for command in cls.subcommands()}
        return cls(
            held,
            sys.argv[1:] if words is None else words,
            ArithmeticModule,
            ArithmeticDataModule,
            save_config_callback=SaveConfig,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            trainer_defaults={"devices": 1, "max_epochs": 10},
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"prog": "arithprobe", **options, **per_command},
            args=None if words is None else list(words),
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's name and its checkpoints."""
        parser.add_argument("--help_all", action="help", help="Show all options and exit.")
        parser.add_argument("--name", type=str, default="run", help="Name of the run: the folder under lightning_logs.")
        parser.add_argument("--threads", type=int | None, help="Threads that compute; yours or two if not given.")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults({f"checkpoint.{key}": value for key, value in _CHECKPOINT.items()})
        parser.set_defaults({"model.objective": {"class_path": "ScaledMSE"}})

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        """Make the options of the command that is called only: each takes a tenth of a second."""
        if subcommand != self._words[0]:
            return self.init_parser(**kwargs)
        return super()._prepare_subcommand_parser(klass, subcommand, **kwargs)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and say in one line what is wrong."""
        try:
            super().parse_arguments(parser, args)
        except (ArgumentError, UnicodeDecodeError) as error:
            raise ArithprobeError(self._complaint(error)) from error

    def _complaint(self, error: Exception) -> str:
        options = {action.dest for command in self._subcommand_parsers.values() for action in command._actions}
        options |= {f"model.objective.{name}" for name in ("scale", "center", "modulus", "frequencies")}
        return complaint(str(error), options, bases=(Callback, Logger, Objective))

    def _parse_ckpt_path(self) -> None:
        """To fit, the command line and configuration decide the model; for the rest, the checkpoint does."""
        path = self._option("ckpt_path")
        if path is None:
            return
        if self._option("model").get("weights") is not None:
            raise ArithprobeError("pass --ckpt_path or --model.weights, not both")
        content = read_checkpoint(path)
        if not is_lightning(content):
            raise ArithprobeError(f"{path}: is no Lightning checkpoint; pass a plain state_dict as --model.weights")
        lightning_parts(content, path)
        if self.config["subcommand"] != "fit":
            try:
                super()._parse_ckpt_path()
            except ArgumentError as error:
                raise ArithprobeError(f"{path}: {self._complaint(error)}") from error

    def instantiate_classes(self) -> None:
        """Make module, data and trainer; what a constructor refuses is the user's mistake."""
        if (threads := self._option("threads")) is not None:
            use_threads(threads)
        try:
            super().instantiate_classes()
        except ArithprobeError:
            raise
        except (TypeError, ValueError, MisconfigurationException) as error:
            raise ArithprobeError(self._complaint(error)) from error

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        """Give the trainer the run's loggers, checkpoints, and the callbacks of every run."""
        bare = bool(config.get("barebones"))
        if config.get("logger") in (None, True) and not bare:
            config["logger"] = run_loggers(config.get("default_root_dir"), self._get(self.config_init, "name"))
        if bare or config.get("fast_dev_run") or config.get("enable_checkpointing") is False:
            callbacks = [callback for callback in callbacks if not isinstance(callback, ModelCheckpoint)]
        elif (best := self._get(self.config_init, "checkpoint")).monitor is not None:  # None saves the last itself
            callbacks.append(ModelCheckpoint(best.dirpath, filename="last", enable_version_counter=False))
        trainer = super()._instantiate_trainer(config, callbacks)
        for kind in () if bare else (RandomState, BehaviourReport, TensorBoardOverview):
            if find_callback(trainer, kind) is None:
                callbacks_of(trainer).insert(0, kind())
        if not bare and find_callback(trainer, Provenance) is None:
            callbacks_of(trainer).insert(0, Provenance(self._words))
        callbacks_of(trainer).sort(key=lambda one: isinstance(one, ResumeCheckpoint))  # that comes last
        return trainer

    def _preflight(self) -> None:
        """Find what is wrong with data, model and folders before anything is written."""
        stage = str(self.subcommand)
        use_chosen_threads(default_threads(self.trainer.num_devices))
        self.datamodule.setup(stage)
        datasets = [self.datamodule.dataset(part) for part in parts_of(stage)]
        self.model.check_data(self.datamodule.recipe.divisor, max(dataset.max_length for dataset in datasets))
        path = self._option("ckpt_path")
        if path is not None:
            content = check_checkpoint(self.model, path, self.datamodule.recipe.title, to_fit=stage == "fit")
            check_training_state(content, self.trainer, self.model, stage, path)
            if stage == "fit":
                threads = threads_to_go_on_with(content, self.trainer.world_size)
                if threads is not None:
                    use_chosen_threads(threads)
        elif stage in ("validate", "test"):
            _ = self.datamodule.train_mean  # the constant predictor: no checkpoint says what it is
        check_trainer(self.trainer, self.model, self.datamodule, stage)
        if getattr(rank_zero_only, "rank", 0) == 0:  # the version folders of other ranks are not used
            check_folders(self.trainer)
            self._held.release()

    before_fit = before_validate = before_test = before_predict = _preflight

    def _finish(self) -> None:
        folder = run_folder(self.trainer)  # asks all ranks
        if self.trainer.is_global_zero:
            print_summary(self.trainer, self.model, folder)

    after_fit = after_validate = after_test = after_predict = _finish

    def _option(self, name: str) -> Any:
        return self.config[self.config["subcommand"]].get(name)
