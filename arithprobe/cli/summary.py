"""The table at the end of a run: the behaviour, the probe findings, and where to look next."""

from collections.abc import Iterator
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from rich.markup import escape
from rich.table import Table

from arithprobe.callbacks import BehaviourReport
from arithprobe.callbacks.base import ValidationProbe
from arithprobe.callbacks.run_folder import LOG_FOLDER
from arithprobe.callbacks.trainers import callbacks_of, find_callback
from arithprobe.cli.verdict import console_of, print_verdict
from arithprobe.models.objective import Objective
from arithprobe.training.module import ArithmeticModule

_BOARD = "http://localhost:6006/#custom_scalars&_smoothingWeight=0"  # TensorBoard's own smoothing bends few points
_NUMBERS = {
    "skill": ("skill", ".3f"),
    "r2": ("R2", ".4f"),
    "rmse": ("RMSE", ".4g"),
    "circular_error": ("circular error", ".3g"),
    "exact_match": ("exact", ".1%"),
}


def print_summary(trainer: Trainer, module: ArithmeticModule, folder: Path | None) -> None:
    """Print the summary.

    Args:
        trainer: The trainer, after its run.
        module: The module it ran.
        folder: The folder of the run, None if there is none.
    """
    console = console_of(100)  # the widest table
    report = find_callback(trainer, BehaviourReport)
    if report is not None and report.reports:
        console.print(_behaviour_table(report, module.objective))
    lines = [line for one in callbacks_of(trainer) if isinstance(one, ValidationProbe) for line in one.summary()]
    if module.behaviour is not None:
        print_verdict(console, module.behaviour, probed=bool(lines))
    for line in lines:
        console.print(escape(line))
    if folder is None:
        return
    console.print(f"run folder:  {escape(str(folder))}")
    for picture in sorted((folder / "figures").glob("*.png")):
        console.print(f"picture:     {escape(str(picture))}")
    best = folder / "checkpoints" / "best.ckpt"
    if best.exists():
        console.print(f"checkpoint:  {escape(str(best))}")
    for line in _next(trainer, folder):
        console.print(escape(line))


def _next(trainer: Trainer, folder: Path) -> Iterator[str]:
    """Where to look: in TensorBoard if that was logged to, and at a report if there is anything to report."""
    lines = []
    fitted = trainer.state.fn == TrainerFn.FITTING
    if any(isinstance(logger, TensorBoardLogger) for logger in trainer.loggers):
        root = next((parent for parent in folder.parents if parent.name == LOG_FOLDER), folder.parent)
        lines += [f"tensorboard --logdir {root}", *([f"then {_BOARD}"] if fitted else [])]
    if fitted and (folder / "behaviour.json").is_file():
        lines.append(f"arithprobe report {folder}")
    if fitted and not (folder / "behaviour.json").is_file():
        yield "validation:  none in this run, so there is nothing to report"
    for number, line in enumerate(lines):
        yield f"{'' if number else 'look next:':<13}{line}"


def _behaviour_table(report: BehaviourReport, objective: Objective) -> Table:
    """The last and the best answers, by the metrics that the objective and the task have."""
    around = any(values["circular_error"] == values["circular_error"] for values in report.reports.values())
    names = (*objective.metrics, *(("circular_error",) if around else ()))
    shown = {name: column for name, column in _NUMBERS.items() if name in names}
    table = Table(title="answers on the validation rows" if "best" in report.reports else "answers")
    for column in ("", "epoch", "step", *(title for title, _ in shown.values()), "verdict"):
        table.add_column(column, justify="right" if column not in ("", "verdict") else "left")
    for moment, values in report.reports.items():
        when = (
            "-" if values["epoch"] is None else str(values["epoch"]),  # from 0, as Lightning counts
            "-" if values["step"] is None else str(values["step"] + 1),
        )
        found = (format(values[name], form) for name, (_, form) in shown.items())
        table.add_row(moment, *when, *found, values["verdict"])
    return table
