"""Page files of a run as studies leave them, made by hand: of real blocks, quickly."""

from pathlib import Path

from arithprobe.analysis.study import STUDIES
from arithprobe.plotting.render import Figure
from arithprobe.plotting.style import new_figure
from arithprobe.said.content import Column, Picture, Said, Table, Words
from arithprobe.said.folder import write_said


def line() -> Figure:
    """A picture."""
    figure = new_figure(3, 2)
    figure.subplots().plot([0, 1])
    return figure


def say_by_hand(run: Path) -> None:
    """Leave a ladder and heads in a run's folder, as of two studies.

    Args:
        run: The folder of a fit.
    """
    best = str(run / "checkpoints" / "best.ckpt")
    blocks = (
        Words("first line\nsecond line", "doubtful"),
        Table(
            "Rungs & claims", (Column("claim", True), Column("why", True)), (("sum", "x"),), ("a note on the marks",)
        ),
        Picture("ladder", line, "The highest rung of the sum is none.", "Rungs", "what nobody should conclude"),
    )
    ladder = Said("ladder", "How far the evidence reaches", None, blocks, rank=10, checkpoint=best)
    heads = Said("heads", "Attention heads", None, (Words("Two of them."),), rank=80, checkpoint=best)
    write_said(ladder, run / "probe", STUDIES["probe"].replace(":", "."))
    write_said(heads, run / "heads", STUDIES["heads"].replace(":", "."))
