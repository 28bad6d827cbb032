"""``arithprobe fit | validate | test | predict``: LightningCLI with this library's module and data."""

import os
import sys
from argparse import ArgumentError
from collections.abc import Sequence
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import yaml
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from arithprobe.callbacks import (  # (the package also lets YAML name callbacks by class)
    BehaviourReport,
    Provenance,
    RandomState,
    TensorBoardOverview,
)
from arithprobe.callbacks.random_state import threads_to_go_on_with
from arithprobe.callbacks.run_folder import is_trial, run_folder
from arithprobe.callbacks.single import require_single
from arithprobe.callbacks.trainers import callbacks_of, find_callback
from arithprobe.cli.announcements import Announcements, announcements
from arithprobe.cli.checkpoint_options import DEFAULTS, checkpoints_of, place_of
from arithprobe.cli.complaints import complaint
from arithprobe.cli.judged_run import checkpoint_of_run, warn_of_model_options, with_its_run
from arithprobe.cli.preflight import check_checkpoint, check_folders, check_states, check_trainer
from arithprobe.cli.ranks import forget_ranks, stands_alone
from arithprobe.cli.run_folder import KEYWORDS, begin_folder, named_checkpoint, parent_of, run_loggers
from arithprobe.cli.save_config import SaveConfig
from arithprobe.cli.shipped import ConfigByName
from arithprobe.cli.stops import plain_ends, unwritten
from arithprobe.cli.summary import print_summary
from arithprobe.cli.training_state import check_training_state
from arithprobe.data.datamodule import ArithmeticDataModule, parts_of
from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoints import lightning_parts
from arithprobe.models.objective import Objective
from arithprobe.models.weights import is_lightning, read_checkpoint
from arithprobe.threads import default_threads, use_chosen_threads, use_threads
from arithprobe.training.checkpoint_io import WholeCheckpointIO
from arithprobe.training.module import ArithmeticModule


def run(words: Sequence[str] | None) -> None:
    """Run one of the commands.

    Args:
        words: The command and its options; those of the process if None, as relaunched ranks need it.

    Raises:
        ArithprobeError: For any mistake of the user.
    """
    with announcements() as held, plain_ends():
        try:
            given = with_its_run(sys.argv[1:] if words is None else words, held.say)
            if words is None:
                sys.argv[1:] = given
            ArithprobeCLI.of(held, None if words is None else given)
        except ArithprobeError:
            raise
        except OSError as error:
            raise unwritten(error) from error
        except MisconfigurationException as error:
            raise ArithprobeError(str(error)) from error
        except (ArithmeticError, MemoryError, RuntimeError, TypeError, ValueError) as error:
            if held.released or "ARITHPROBE_DEBUG" in os.environ:
                raise  # the run has begun: a bug
            raise ArithprobeError(complaint(f"{type(error).__name__}: {error}", ())) from error


class ArithprobeCLI(LightningCLI):
    """LightningCLI with a named run folder, checks before anything is written, and a summary at the end."""

    model: ArithmeticModule
    datamodule: ArithmeticDataModule

    def __init__(self, held: Announcements, words: Sequence[str], *args: Any, **options: Any) -> None:
        self._held, self._words = held, list(words)
        super().__init__(*args, **options)

    @classmethod
    def of(cls, held: Announcements, words: Sequence[str] | None) -> Self:
        """Run a command with this library's module and data.

        Args:
            held: The announcements to print once the checks have passed.
            words: The command and its options; those of the process if None.
        """
        yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, one: dumper.represent_data(one.value))  # Timer's
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

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Make Lightning's parser, whose ``--config`` also takes the name of a shipped configuration."""
        parser = LightningArgumentParser(dump_header=[f"lightning.pytorch=={version('lightning')}"], **kwargs)
        parser.add_argument("-c", "--config", action=ConfigByName, help="A YAML file, or a shipped configuration.")
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's name and its checkpoints."""
        parser.add_argument("--help_all", action="help", help="Show all options and exit.")
        parser.add_argument("--name", type=str, default="run", help="Name of the run: the folder under lightning_logs.")
        parser.add_argument("--threads", type=int | None, help="Threads that compute; yours or two if not given.")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults({f"checkpoint.{key}": value for key, value in DEFAULTS.items()})
        parser.set_defaults({"model.objective": {"class_path": "ScaledMSE"}})

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        """Make the options of the command that is called only: each takes a tenth of a second."""
        if subcommand != self._words[0]:
            return self.init_parser(**kwargs)
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        parser.set_defaults({"verbose": False} if subcommand in ("validate", "test") else {})  # the verdict comes first
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the arguments; an error is one line."""
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
        if path in KEYWORDS:
            root = self._option("trainer").get("default_root_dir")
            path = named_checkpoint(path, root, self._option("name"))
        elif Path(path).is_dir():
            path = checkpoint_of_run(path, self.config["subcommand"], self._held.say)
        self.config[self.config["subcommand"]]["ckpt_path"] = str(path)
        if self._option("model").get("weights") is not None:
            raise ArithprobeError("pass --ckpt_path or --model.weights, not both")
        content = read_checkpoint(path)
        if not is_lightning(content):
            raise ArithprobeError(f"{path}: is no Lightning checkpoint; pass a plain state_dict as --model.weights")
        lightning_parts(content, path)
        if self.config["subcommand"] != "fit":
            warn_of_model_options(self._words, self._held.warn)
            try:
                super()._parse_ckpt_path()
            except ArgumentError as error:
                raise ArithprobeError(f"{path}: {self._complaint(error)}") from error

    def instantiate_classes(self) -> None:
        """Make module, data and trainer; an argument that a constructor refuses is the user's mistake."""
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
        self._parent = parent_of(config.get("default_root_dir"), self._get(self.config_init, "name"))
        self._ours = config.get("logger") in (None, True) and not bare
        if self._ours:
            config["logger"] = run_loggers(self._parent)
        asked = self._get(self.config_init, "checkpoint")
        callbacks = [callback for callback in callbacks if callback is not asked]
        if not (bare or config.get("fast_dev_run") or config.get("enable_checkpointing") is False):
            callbacks += checkpoints_of(asked, self._option("checkpoint"))
        if stands_alone(config["devices"], config["num_nodes"]):
            forget_ranks()
        given = config.get("callbacks") or []
        named = [*(given if isinstance(given, list) else [given]), *callbacks]
        require_single(named)
        check_states(named)
        trainer = super()._instantiate_trainer(config, callbacks)
        for kind in () if bare else (RandomState, BehaviourReport, TensorBoardOverview):
            if find_callback(trainer, kind) is None:
                callbacks_of(trainer).insert(0, kind())
        if not bare and find_callback(trainer, Provenance) is None:
            callbacks_of(trainer).insert(0, Provenance(self._words))
        callbacks_of(trainer).sort(key=place_of)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeCheckpointIO()
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
        self._check_weights(stage, path)
        check_trainer(self.trainer, self.model, self.datamodule, stage)
        if getattr(rank_zero_only, "rank", 0) == 0:  # the version folders of other ranks are not used
            check_folders(self.trainer, self._parent)
            if not is_trial(self.trainer) and not self.trainer.barebones:
                begin_folder(self.trainer, self._parent, ours=self._ours)
            self._held.release()

    def _check_weights(self, stage: str, path: str | None) -> None:
        """Nobody wants an untrained network's answers without knowing it."""
        if stage == "fit" or path is not None or self._option("model").get("weights") is not None:
            return
        which = "pass --ckpt_path FILE (a Lightning checkpoint) or --model.weights FILE (a plain state_dict)"
        if stage == "predict":
            raise ArithprobeError(f"predict: no weights, so these would be an untrained network's answers; {which}")
        self._held.warn(
            f"{stage}: no weights were loaded, what follows is of an untrained network; {which}", first=True
        )

    before_fit = before_validate = before_test = before_predict = _preflight

    def _finish(self) -> None:
        folder = run_folder(self.trainer)  # asks all ranks
        if self.trainer.is_global_zero:
            print_summary(self.trainer, self.model, folder)

    after_fit = after_validate = after_test = after_predict = _finish

    def _option(self, name: str) -> Any:
        return self.config[self.config["subcommand"]].get(name)
