"""Page files of a run as studies and live probes leave them, made by hand: of real blocks, quickly."""

import json
from pathlib import Path

from conftest import read_jsonl

from arithprobe.analysis.study import STUDIES
from arithprobe.files import to_json
from arithprobe.plotting.render import Figure
from arithprobe.plotting.style import new_figure
from arithprobe.said.content import CellMap, Chart, Column, Content, Picture, Said, Table, Words
from arithprobe.said.folder import write_said
from arithprobe.said.page_file import ENDING, page_record

MARK = "above"


def line() -> Figure:
    """A picture."""
    figure = new_figure(3, 2)
    figure.subplots().plot([0, 1])
    return figure


def say_by_hand(run: Path) -> None:
    """Leave a ladder and heads of studies, and what its live probes say, in a run's folder.

    Args:
        run: The folder of a fit with all live probes.
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
    if not any((run / "probes").glob(f"*{ENDING}")):
        _say_live(run)


def _say_live(run: Path) -> None:
    for name, p in (("ridge", "p"), ("fourier", "p_max")):
        _mark(run / "probes" / f"{name}.jsonl", p)
    band = ("r2", "null_low", "null_high")
    words = ("held-out R2; the band is of shuffled labels", band, True, (), "held-out R2", "permuted labels")
    ridge = [
        block
        for target in ("sum", "residue")
        for block in (Chart(target, *words), CellMap(target, "token position", "position", MARK, {"target": target}))
    ]
    (circle,) = {f"{one['quantity']}mod{one['period']}" for one in read_jsonl(run / "probes" / "fourier.jsonl")}
    fourier = [
        CellMap(circle, "frequency", "frequency", MARK),
        Chart(circle, "R2 of the best frequency", ("r2_max", "neighbour", "null_max")),
    ]
    picture = Picture("heads_scores", line, "Ablation of one head costs most for L0H1.", "Heads at the last validation")
    said: list[tuple[str, str, int, list[Content]]] = [
        ("ridge", "Probes over training", 50, ridge),
        ("fourier", "Frequencies", 60, fourier),
        ("heads", "Attention heads", 80, [picture]),
        *((name, f"Live {name}", 85, [Words("It watched.")]) for name in ("ablation", "emergence", "mlp")),
    ]
    for name, title, rank, blocks in said:
        record = page_record(
            Said(name, title, None, tuple(blocks), rank=rank), f"arithprobe.callbacks.{name}", live=True
        )
        (run / "probes" / f"{name}{ENDING}").write_text(to_json(record) + "\n")


def _mark(path: Path, p: str) -> None:
    """Say of each cell whether its score stands out."""
    lines = read_jsonl(path)
    for cell in (cell for line in lines for cell in line["cells"]):
        cell[MARK] = (cell["r2"] or 0.0) > 0 and (cell[p] or 1.0) <= 0.05
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
