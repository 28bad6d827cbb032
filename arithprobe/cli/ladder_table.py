"""On the terminal: for each claim the highest rung, and what stops the next; and what the frequencies do."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from arithprobe.analysis.ladder.record import what_stops
from arithprobe.analysis.ladder.rules import RUNGS
from arithprobe.analysis.ladder.run import Ladder, SiteLadder
from arithprobe.analysis.probe.planes import AnswerScores, PlaneEffects
from arithprobe.logic import CANNOT_BE_TOLD, FAILS, HOLDS, State

_COLOUR = {"none": "red", "behaviour": "red", "necessary": "green", "sufficient": "green"}
_MARKS: dict[State, str] = {HOLDS: "yes", FAILS: "NO", CANNOT_BE_TOLD: "?"}


def print_ladders(console: Console, ladders: Sequence[Ladder]) -> None:
    """Print them.

    Args:
        console: Where to.
        ladders: One a claim.
    """
    if ladders:
        console.print(f"ladder of evidence ({' < '.join(RUNGS)}):", markup=False)
    for one in ladders:
        shape = f"on a {one.shape}"
        if one.own.frequencies:
            shape = f"round a circle at frequency {', '.join(map(str, one.own.frequencies))}"
        colour = _COLOUR.get(one.rung, "yellow")
        rung = f"[bold {colour}]{one.rung.upper()}[/]"
        console.print(f"[bold]{escape(one.variable)}[/] {shape}: {rung} at {escape(_where(one.own))}")
        counts = one.own.evidence[0].passed
        for evidence in one.own.evidence[1:]:
            counts = counts and evidence.passed
            mark = _MARKS[evidence.state] if counts or not evidence.passed else "(yes)"
            console.print(f"  {mark:<5} {evidence.rung}: {evidence.reason}", markup=False)
        if one.stopped_by:
            console.print(f"  stopped by {what_stops(one.stopped_by)[0]}", markup=False)
        if (higher := one.higher) is not None:
            console.print(f"  further along: {higher.rung} at {_where(higher)}", markup=False)


def _where(one: SiteLadder) -> str:
    head = one.causal is not None and one.causal.only_head_remains
    return f"{one.site}@last" + (" (nothing but LayerNorm and readout comes after)" if head else "")


def print_planes(console: Console, planes: Sequence[PlaneEffects]) -> None:
    """Print what the key frequencies of each site do.

    Args:
        console: Where to.
        planes: One a site.
    """
    if planes:
        console.print(
            f"frequencies of the residue at the last token, taken out by LEACE or kept alone (intact: "
            f"{_answers([planes[0].intact])}; {planes[0].n} rows):"
        )
    for one in planes:
        if one.without_key is None or one.only_key is None:
            console.print(f"  {one.site}: no key frequency", markup=False)
            continue
        console.print(
            f"  {one.site}: key {', '.join(map(str, one.key))} (Gini {one.gini:.2f}, carried by "
            f"{1 / one.participation:.1f}); without their planes (rank {one.rank}) {_answers([one.without_key])}; "
            f"without as many random dimensions {_answers(one.without_random)}, of shuffled labels "
            f"{_answers(one.without_shuffled)}; with nothing but them {_answers([one.only_key])}",
            markup=False,
        )


def _answers(some: Sequence[AnswerScores]) -> str:
    """Their mean."""
    loss, skill, exact = (
        (sum(getattr(one, name) for one in some) / len(some) for name in ("loss", "skill", "exact"))
        if some
        else (float("nan"),) * 3
    )
    return f"loss {loss:.3g}, skill {skill:.3f}, {exact:.1%} exact"
