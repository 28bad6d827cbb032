"""The overview that TensorBoard opens with: the behaviour, the probes beside their nulls, and the runs compared."""

import inspect
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.tensorboard.summary import hparams

from arithprobe.callbacks.base import ValidationProbe
from arithprobe.callbacks.board_logger import BoardLogger, grouped
from arithprobe.callbacks.custom_scalars import BoardLayout, board_metrics, headlines, overview, short_overview
from arithprobe.callbacks.loggers import tensorboard
from arithprobe.callbacks.run_folder import run_folder
from arithprobe.callbacks.single import SingleCallback, probed_module
from arithprobe.callbacks.trainers import callbacks_of, logged_step
from arithprobe.data.datamodule import ArithmeticDataModule, parts_of
from arithprobe.data.sampling import DataRecipe
from arithprobe.models.objectives import ScaledMSE
from arithprobe.said.content import Chart, Said
from arithprobe.training.module import ArithmeticModule
from arithprobe.training.probed import ProbedModule

_COMPARED = ("val/skill", "val/exact_match", "val/loss")
_COLUMNS = ("d_model", "lr")  # TensorBoard opens with five hyperparameters, which push the scores out of sight


class TensorBoardOverview(SingleCallback):
    """Makes TensorBoard show first whether the model has learned, and what the probes read.

    CUSTOM SCALARS shows the behaviour first, and then one chart per site for each analysis and target: the score over
    the band of its null, or with its threshold. HPARAMS has one row per fit: hyperparameters, final skill, exact match
    and loss, and the scores and nulls of the probes at ``final@last``. TEXT has a ``summary``: the verdict, the probe
    findings, the rows, and where files are. Without a TensorBoard logger the callback does nothing. The logger of the
    commands (:class:`~arithprobe.callbacks.board_logger.BoardLogger`) shows few curves: one chart per target.

    TensorBoard takes the columns of HPARAMS from one of the runs, so a target that only other runs probe has no column.
    Lightning's own placeholder ``hp_metric`` is turned off: its row would be in the way.

    Args:
        hparams: Whether to write HPARAMS; a sweep does that itself.
    """

    def __init__(self, hparams: bool = True) -> None:
        super().__init__()
        self.hparams = hparams
        self._layouts: list[BoardLayout] = []
        self._run_folder: Path | None = None
        self._start = self._step = 0
        self._validated = False

    @property
    def writes(self) -> str:
        """The output that a second overview would write again."""
        return "TensorBoard's layout and summary"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the run folder, before Lightning writes the hyperparameters."""
        super().setup(trainer, pl_module, stage)
        self._layouts, self._run_folder = [], run_folder(trainer)
        self._start = self._step = 0
        self._validated = False
        for logger in _boards(trainer):
            if self.hparams:
                logger._default_hp_metric = False
            if isinstance(logger, BoardLogger):
                logger.shown = partial(shown_as, trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the step at which the fit begins: a resumed fit does not begin at 0."""
        self._start = logged_step(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lay out the scalars logged so far; outside a fit, summarise."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        self._step, self._validated = logged_step(trainer), True
        if trainer.state.fn == TrainerFn.FITTING:
            self._lay_out(trainer)
        else:
            self._summarise(trainer, probed_module(pl_module))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Summarise."""
        if trainer.is_global_zero:
            self._summarise(trainer, probed_module(pl_module))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Summarise, and write the HPARAMS row of the run."""
        module = probed_module(pl_module)
        if not self._validated:  # a fit without a validation has nothing to say
            return
        self._summarise(trainer, module)
        for logger in _boards(trainer) if self.hparams else ():
            shown = logger.shown if isinstance(logger, BoardLogger) else None
            values = {(shown(name) if shown else name): value for name, value in _final(trainer).items()}
            named = {name: value for name, value in values.items() if name is not None}
            _write_row(logger, columns_of(hyperparameters(trainer, module)), named, self._step)

    def _lay_out(self, trainer: Trainer) -> None:
        """Write the layout, if anything new has been logged; TensorBoard shows the latest."""
        logged, every = set(trainer.logged_metrics), vars(trainer)["log_every_n_steps"]
        if not every or self._start // every == (self._step + 1) // every:  # Lightning lists it, but has not logged it
            logged.discard("train/loss")
        said = _said(trainer)
        layouts = [
            short_overview(said, logged, one.shown)
            if isinstance(one, BoardLogger) and one.shown
            else overview(said, logged)
            for one in _boards(trainer)
        ]
        if layouts != self._layouts:
            self._layouts = layouts
            for logger, layout in zip(_boards(trainer), layouts, strict=True):
                logger.experiment.add_custom_scalars(layout)

    def _summarise(self, trainer: Trainer, module: ProbedModule) -> None:
        if module.behaviour is not None:
            for writer in tensorboard(trainer):
                writer.add_text("summary", summary_text(trainer, module, self._run_folder), self._step)


def hyperparameters(trainer: Trainer, module: ProbedModule) -> dict[str, str | float]:
    """The options that distinguish a run, as plain values: of model and data, the length of the fit, the seed."""
    found: dict[str, Any] = dict(module.hparams)
    objective = module.objective.stored
    found["objective"] = objective["name"]
    found |= {f"objective.{name}": value for name, value in objective["options"].items()}
    data = _data(trainer)
    if data is not None:
        found |= {"task": data.recipe.title, "split": data.recipe.split, "batch_size": data.batch_size}
    lengths = {"max_epochs": trainer.max_epochs, "max_steps": trainer.max_steps}
    found |= {name: length for name, length in lengths.items() if length != -1}
    if seed := os.environ.get("PL_GLOBAL_SEED"):
        found["seed"] = int(seed)
    return {
        name: value if isinstance(value, (int, float, str)) else str(value)
        for name, value in found.items()
        if value is not None and not name.startswith("_")
    }


def columns_of(parameters: Mapping[str, str | float]) -> dict[str, str | float]:
    """The columns of HPARAMS, the same for every run: a few numbers, and in words all options that differ from default.

    >>> columns_of({"d_model": 64, "lr": 0.002, "n_layers": 2, "seed": 3})
    {'d_model': 64, 'lr': 0.002, 'changed': 'd_model 64, seed 3'}

    Args:
        parameters: All options that distinguish the run.
    """
    plain = {name: one.default for name, one in inspect.signature(ArithmeticModule).parameters.items()}
    objective, recipe = ScaledMSE().stored, DataRecipe()
    plain |= {"objective": objective["name"], "task": recipe.title, "split": recipe.split}
    plain |= {f"objective.{name}": value for name, value in objective["options"].items()}
    plain |= {"batch_size": ArithmeticDataModule().batch_size, "max_epochs": 10, "seed": 0}
    changed = [f"{name} {value}" for name, value in parameters.items() if _bare(value) != _bare(plain.get(name))]
    shown = {name: value for name, value in parameters.items() if name in _COLUMNS}
    return shown | {"changed": ", ".join(changed) or "nothing"}


def _bare(value: object) -> str:
    """A value as text, whether it is a list or a tuple."""
    return str(value).strip("()[]")


def summary_text(trainer: Trainer, module: ProbedModule, folder: Path | None) -> str:
    """The summary in Markdown: the verdict, the probe findings, the model and data, and where the rest is.

    Args:
        trainer: The trainer, after a validation or test.
        module: The module it ran.
        folder: The folder of the run, None if there is none.
    """
    behaviour = module.behaviour
    findings = [line for probe in _probes(trainer) for line in probe.findings()]
    parts = [f"**{behaviour}**"]
    if behaviour is not None and behaviour.warning and findings:
        parts.append(behaviour.warning)
    parts.append("\n".join(f"- {line}" for line in findings))
    rows = [f"| {name} | {value} |" for name, value in _facts(trainer, module, folder)]
    parts.append("\n".join(["| | |", "|---|---|", *rows]))
    return "\n\n".join(part for part in parts if part)


def _facts(trainer: Trainer, module: ProbedModule, folder: Path | None) -> Iterator[tuple[str, str]]:
    data, stage = _data(trainer), trainer.state.fn
    if data is not None and stage is not None:
        yield "task", data.recipe.title
        for part in parts_of(stage.value):
            yield f"{part} rows", f"{len(data.dataset(part))} of `{data.files[part]}`"
    yield "parameters", str(sum(parameter.numel() for parameter in module.parameters()))
    yield "options", ", ".join(f"{name} {value}" for name, value in hyperparameters(trainer, module).items())
    if stage == TrainerFn.FITTING:
        yield "curves", "CUSTOM SCALARS: scores over their nulls; HPARAMS: this run beside others"
    if folder is not None:
        yield "pictures", f"IMAGES, and `{folder / 'figures'}`"
        yield "whole report", f"`arithprobe report {folder}`"


def _write_row(
    logger: TensorBoardLogger, parameters: dict[str, str | float], values: dict[str, float], step: int
) -> None:
    """Write a row of HPARAMS: its columns, hyperparameters and end, and the values that it names."""
    for part in hparams(parameters, values):  # type: ignore[no-untyped-call]
        logger.experiment._get_file_writer().add_summary(part, step)


def _final(trainer: Trainer) -> dict[str, float]:
    """The values of the last validation, behaviour first."""
    found: Mapping[str, Any] = trainer.callback_metrics
    names = [*_COMPARED, *(tag for one in _said(trainer) for tag in headlines(one))]
    return {name: float(found[name]) for name in names if name in found}


def shown_as(trainer: Trainer, metric: str) -> str | None:
    """The tag by which the board shows a metric; None if it is only in the records.

    Behaviour is group 1, probe scores are group 2, and effects of interventions are group 3; a metric of other code
    keeps its name.
    """
    if metric == "epoch":
        return None
    if metric.startswith(("train/", "val/", "test/")):
        return f"1 {metric}"
    for probe in _probes(trainer):
        if metric in probe.tags() or (probe.last is not None and metric in probe.last.scalars):
            said = probe.last
            charts = [] if said is None else [block for block in said.blocks if isinstance(block, Chart)]
            if said is None or not any(metric in board_metrics(said, chart) for chart in charts):
                return None
            return grouped(metric, said.rank)
    return metric


def _probes(trainer: Trainer) -> list[ValidationProbe[Any]]:
    return [one for one in callbacks_of(trainer) if isinstance(one, ValidationProbe)]


def _said(trainer: Trainer) -> list[Said]:
    """What each live probe said last."""
    return [probe.last for probe in _probes(trainer) if probe.last is not None]


def _boards(trainer: Trainer) -> list[TensorBoardLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def _data(trainer: Trainer) -> ArithmeticDataModule | None:
    data = getattr(trainer, "datamodule", None)
    return data if isinstance(data, ArithmeticDataModule) else None
