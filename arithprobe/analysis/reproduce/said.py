"""The findings of a reproduction: the notebook's numbers beside the held-out ones, and what each means."""

from arithprobe.analysis.reproduce.columns import by_protocol, number, shown_rows
from arithprobe.analysis.reproduce.run import Reproduction
from arithprobe.said.content import Column, Said, Table, Words

_HEADINGS = ("notebook's protocol", "held out", "shuffled labels", "their 95 %", "untrained", "untrained, held out")


def said_of(found: Reproduction) -> Said:
    """Return the findings.

    Args:
        found: The numbers.
    """
    rows = []
    for label, keys in shown_rows(found.columns):
        one = by_protocol(found.columns, *keys)
        values = (one.notebook, one.held_out, one.null, one.null_high, one.twin, one.twin_held_out)
        rows.append((label, *map(number, values)))
    numbers = Table(
        f"{found.task}, {found.rows} rows: the notebook's numbers for this checkpoint",
        (Column("quantity", is_text=True), *map(Column, _HEADINGS)),
        tuple(rows),
        ("All positions, frequencies and periods are in reproduction.json.",),
    )
    meaning = Table(
        "What each number means",
        (Column("quantity", is_text=True), Column("meaning", is_text=True)),
        tuple(found.meaning.items()),
    )
    return Said(
        name="reproduce",
        title="The notebook's tables",
        behaviour=found.behaviour,
        blocks=(
            Words("The notebook's protocol is in-sample and includes padding. Its numbers alone are no evidence."),
            numbers,
            meaning,
        ),
        records={"reproduction": found.to_dict()},
        shows="The original notebook's numbers for this checkpoint.",
        does_not_show="What the notebook concluded from them, unless the held-out value agrees.",
        rank=90,
        checkpoint=found.checkpoint,
        weights=found.weights,
    )
