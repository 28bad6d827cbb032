"""The table at the end of a run: did it learn, what do the probes say, where to look next."""

from pathlib import Path

from lightning.pytorch import Trainer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from arithprobe.callbacks import BehaviourReport
from arithprobe.callbacks.base import ValidationProbe, callbacks_of, find_callback
from arithprobe.cli.run_folder import LOG_FOLDER
from arithprobe.cli.verdict import print_verdict
from arithprobe.training.module import ArithmeticModule


def print_summary(trainer: Trainer, module: ArithmeticModule, folder: Path | None) -> None:
    """Print it.

    Args:
        trainer: The trainer, its run done.
        module: The module it ran.
        folder: The folder of the run, None where there is none.
    """
    console = Console(soft_wrap=True)
    report = find_callback(trainer, BehaviourReport)
    if report is not None and report.reports:
        console.print(_behaviour_table(report))
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
    root = next((parent for parent in folder.parents if parent.name == LOG_FOLDER), folder.parent)
    console.print(f"look next:   tensorboard --logdir {escape(str(root))}")


def _behaviour_table(report: BehaviourReport) -> Table:
    table = Table(title="answers on the validation rows" if "best" in report.reports else "answers")
    for column in ("", "epoch", "skill", "R2", "RMSE", "exact", "verdict"):
        table.add_column(column, justify="right" if column not in ("", "verdict") else "left")
    for moment, values in report.reports.items():
        table.add_row(
            moment,
            "-" if values["epoch"] is None else str(values["epoch"] + 1),
            f"{values['skill']:.3f}",
            f"{values['r2']:.4f}",
            f"{values['rmse']:.4g}",
            f"{values['exact_match']:.1%}",
            values["verdict"],
        )
    return table
