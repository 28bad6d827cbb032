"""Configurations of ``arithprobe fit``, resolved and checked without running them."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import seed_everything
from lightning.pytorch.utilities.seed import isolate_rng

from arithprobe.cli.announcements import announcements
from arithprobe.cli.shipped import config_file
from arithprobe.cli.training import ArithprobeCLI
from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.errors import ArithprobeError

_ALONE = {"devices": (1, "1"), "num_nodes": (1,), "fast_dev_run": (False, 0), "barebones": (False,)}
"""What a trial of a sweep must not change: it is one process, and leaves checkpoints."""


class FitConfig(NamedTuple):
    """The complete configuration of a fit."""

    text: str
    """As YAML, every option with its value."""
    parameters: int
    """Number of the model's weights."""
    digest: str
    """Of every option, and of what is in the files of rows."""


class FitConfigs:
    """Resolves configurations of a fit from files and then settings by key.

    Args:
        files: YAML files of ``arithprobe fit``, the later over the earlier.

    Raises:
        ArithprobeError: If one is missing or wrong.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._words = ["fit", *(word for file in files for word in ("--config", config_file(file, "--base")))]
        self._rows: dict[str, str] = {}
        with announcements() as held:
            self._cli = _ParsingOnly.of(held, self._words)

    def resolve(self, settings: Mapping[str, Any]) -> FitConfig:
        """Return the configuration with these settings; missing rows of a recipe are made.

        Raises:
            ArithprobeError: If a key is not an option of a fit, a value has the wrong type or is refused, the rows are
                wrong, or a fit with this configuration cannot be a trial.
        """
        cli = self._cli
        cli.parse_arguments(cli.parser, [*self._words, *(f"--{key}={_word(value)}" for key, value in settings.items())])
        config = cli.config.fit
        for name, allowed in _ALONE.items():
            if config.trainer[name] not in allowed:
                raise ArithprobeError(
                    f"trainer.{name} is {config.trainer[name]}; a trial of a sweep takes {allowed[0]}"
                )
        if config.trainer.enable_checkpointing is False:
            raise ArithprobeError("trainer.enable_checkpointing is false; a sweep measures checkpoints")
        if isinstance(config.seed_everything, bool):
            raise ArithprobeError(f"seed_everything is {config.seed_everything}; a trial of a sweep takes a number")
        if config.ckpt_path is not None:
            raise ArithprobeError("ckpt_path is set; a trial of a sweep starts untrained, or with model.weights")
        parameters, data = cli.instances()
        text = cli.fit_parser.dump(config)
        unnamed = re.sub(r"(?m)^name: .*\n", "", text)  # what a trial is called does not change it
        weights = "" if config.model.weights is None else _digest(Path(config.model.weights))
        whole = f"{unnamed} {weights} {self._digest_of(data)}"
        return FitConfig(text, parameters, hashlib.sha256(whole.encode()).hexdigest()[:16])

    def data(self) -> ArithmeticDataModule:
        """The data module of the last resolved configuration."""
        return self._cli.instances()[1]

    def _digest_of(self, data: ArithmeticDataModule) -> str:
        """What is in the files of rows; each pair of files is checked and read once."""
        files = json.dumps([str(data.files["train"]), str(data.files["val"]), str(data.recipe)])
        if files not in self._rows:
            data.prepare_data()
            data.setup("fit")
            self._rows[files] = " ".join(_digest(path) for part, path in data.files.items() if path and part != "test")
        return self._rows[files]


def rows_of_config(path: Path) -> ArithmeticDataset:
    """The validation rows of a configuration."""
    return FitConfigs([str(path)]).data().dataset("val")


class _ParsingOnly(ArithprobeCLI):
    """Parses, and runs nothing."""

    def instantiate_classes(self) -> None:
        """Not now."""

    def _set_seed(self) -> None:
        """Nothing is drawn."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Never."""

    @property
    def fit_parser(self) -> Any:
        """The parser of ``fit``."""
        return self._subcommand_parsers["fit"]

    def instances(self) -> tuple[int, ArithmeticDataModule]:
        """The number of parameters of the model, which is made without memory, and the data module."""
        try:
            with isolate_rng(), torch.device("meta"):
                seed_everything(0, verbose=False)
                made = self.parser.instantiate_classes(self.config).fit
        except ArithprobeError:
            raise
        except (TypeError, ValueError, MisconfigurationException) as error:
            raise ArithprobeError(self._complaint(error)) from error
        return sum(parameter.numel() for parameter in made.model.parameters()), made.data


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)  # of an interval of time, '0:01:00'
