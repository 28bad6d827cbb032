"""The ladder of evidence on the terminal: for each claim the highest rung, and what stops the next."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from arithprobe.analysis.ladder import RUNGS, Ladder

_COLOUR = {"none": "red", "behaviour": "red", "necessary": "green", "sufficient": "green"}


def print_ladders(console: Console, ladders: Sequence[Ladder]) -> None:
    """Print them.

    Args:
        console: Where to.
        ladders: One a claim.
    """
    if ladders:
        console.print(f"ladder of evidence ({' < '.join(RUNGS)}):", markup=False)
    for one in ladders:
        where = f"{one.site}@last"
        shape = f"on a {one.shape}"
        if one.own.frequencies:
            shape = f"round a circle at frequency {', '.join(map(str, one.own.frequencies))}"
        console.print(
            f"[bold]{escape(one.variable)}[/] {shape}: [bold {_COLOUR.get(one.rung, 'yellow')}]{one.rung.upper()}[/] at "
            f"{escape(where)}"
        )
        for evidence in one.evidence[1:]:
            console.print(f"  {'yes' if evidence.passed else 'NO '}  {evidence.rung}: {evidence.reason}", markup=False)
        if one.stopped_by:
            console.print(f"  stopped by {one.stopped_by.partition(':')[0]}", markup=False)
        if (higher := one.higher) is not None:
            head = higher.causal is not None and higher.causal.only_head_remains
            last = " (nothing but LayerNorm and readout comes after)" if head else ""
            console.print(f"  further along: {higher.rung} at {higher.site}@last{last}", markup=False)
