"""What the ladder of evidence says: the highest rung of each claim, what is known of each rung, and what stops it."""

from collections.abc import Iterator, Sequence

from arithprobe.analysis.ladder.given import CAUSAL, stands
from arithprobe.analysis.ladder.record import ladder_record, what_stops
from arithprobe.analysis.ladder.rules import RUNGS
from arithprobe.analysis.ladder.run import Ladder, SiteLadder
from arithprobe.behaviour import Behaviour
from arithprobe.interventions.partial import GivenTest
from arithprobe.logic import CANNOT_BE_TOLD, FAILS, HOLDS, LEVEL, State
from arithprobe.plotting.ladder import ladder_chart
from arithprobe.probes.selective import FEWEST_TWINS
from arithprobe.said.content import Column, Content, Picture, Said, Table, Tone, Words
from arithprobe.said.notebook import Score

LEFT_OUT = "the ladder of evidence: "
"""How a reason begins why there is no ladder."""
_TONES: dict[str, Tone] = {"none": "bad", "behaviour": "bad", "necessary": "good", "sufficient": "good"}
_MARKS: dict[State, str] = {HOLDS: "yes", FAILS: "NO", CANNOT_BE_TOLD: "?"}
_SELECTIVE = (
    f"Selective: the probe reads more than from any of {FEWEST_TWINS} or more untrained networks, compared by the "
    "largest score over all claims, sites and frequencies. An untrained network has a selective claim anywhere with "
    f"probability {LEVEL} at most. With fewer untrained networks it {CANNOT_BE_TOLD}."
)
_TOLD_APART = (
    Column("claim", is_text=True),
    Column("at", is_text=True),
    Column("given", is_text=True),
    Column("r"),
    Column("share of the demanded change", optional=True),
    Column("skill without its own", optional=True),
    Column("exact", optional=True),
    Column("swaps exact", optional=True),
    Column("stands", is_text=True),
)


def said_of(
    checkpoint: str, data: str, behaviour: Behaviour, ladders: Sequence[Ladder], left_out: Sequence[str] = ()
) -> Said:
    """What the ladders say.

    Args:
        checkpoint: Where the model comes from.
        data: Where the rows come from.
        behaviour: Has the model learned the task.
        ladders: One a claim.
        left_out: What these rows do not allow, with the reason.
    """
    return Said(
        name="ladder",
        title="How far the evidence reaches",
        behaviour=behaviour,
        blocks=(
            *(_blocks(ladders, behaviour) if ladders else ()),
            *(Words(f"left out: {reason}") for reason in left_out if reason.startswith(LEFT_OUT)),
        ),
        records={"ladder": ladder_record(checkpoint, data, behaviour, ladders, left_out)},
        shows="The highest rung that each claimed variable reaches, with all rungs below it, and what stops the next.",
        does_not_show="Anything about variables that were not claimed.",
        rank=10,
        checkpoint=checkpoint,
    )


def scores_of(ladders: Sequence[Ladder]) -> Iterator[Score]:
    """How many rungs up each claim is at each site tried, and what interventions found there."""
    for claim in ladders:
        for one in claim.sites:
            place = (one.site, "last", claim.variable)
            yield Score(*place, "rungs", one.height)
            if (found := one.causal) is None:
                continue
            yield Score(*place, "skill_left", found.skill_left, n=found.n)
            if found.steering is not None:
                slope = found.steering.slope
                yield Score(*place, "slope", slope.fraction, slope.low, slope.high, n=found.n)
            if found.interchange is not None:
                swapped = found.interchange.recovered
                yield Score(*place, "swapped", swapped.fraction, swapped.low, swapped.high, n=found.interchange.n)


def _blocks(ladders: Sequence[Ladder], behaviour: Behaviour) -> Iterator[Content]:
    yield Words(f"ladder of evidence ({' < '.join(RUNGS)}):")
    for one in ladders:
        yield Words(
            f"{one.variable} {_shape(one)}: {one.rung.upper()} at {_where(one.own)}", _TONES.get(one.rung, "doubtful")
        )
        yield Words("\n".join(_lines(one)))
    rows = tuple(_given(claim, test) for claim in ladders for test in _tests(claim))
    if rows:
        title = "Correlates: what remains of each claim, given another variable"
        yield Table(title, _TOLD_APART, rows)
    yield Words(_SELECTIVE)
    reached = "; ".join(f"{one.variable} on a {one.shape}: {one.rung}" for one in ladders)
    yield Picture(
        "ladder",
        lambda: ladder_chart(_cells(ladders), RUNGS[1:], behaviour),
        f"Highest rungs: {reached}.",
        "Rungs by claim and site",
        "That a grey rung does not hold: it was not tried.",
    )


def _shape(one: Ladder) -> str:
    frequencies = ", ".join(map(str, one.own.frequencies))
    return f"round a circle at frequency {frequencies}" if frequencies else f"on a {one.shape}"


def _where(one: SiteLadder) -> str:
    head = one.causal is not None and one.causal.only_head_remains
    return f"{one.site}@last" + (" (only LayerNorm and readout follow)" if head else "")


def _lines(one: Ladder) -> Iterator[str]:
    """Each rung tried where the claim stands, what stops the next, and where it is higher."""
    counts = one.own.evidence[0].passed
    for evidence in one.own.evidence[1:]:
        counts = counts and evidence.passed
        mark = _MARKS[evidence.state] if counts or not evidence.passed else "(yes)"
        yield f"  {mark:<5} {evidence.rung}: {evidence.reason}"
    if one.stopped_by:
        yield f"  stopped by {what_stops(one.stopped_by)[0]}"
    if (higher := one.higher) is not None:
        yield f"  at a later site: {higher.rung} at {_where(higher)}"


def _tests(claim: Ladder) -> Sequence[GivenTest]:
    """The tests where the claim stands."""
    causal = claim.own.causal
    return () if causal is None or causal.given is None else causal.given.tests


def _given(claim: Ladder, test: GivenTest) -> tuple[str, ...]:
    share = test.share
    return (
        claim.variable,
        claim.own.site,
        test.given,
        f"{test.r:.2f}",
        f"{share.fraction:.3f} [{share.low:.3f}, {share.high:.3f}]",
        f"{test.skill:.3f}",
        f"{test.exact:.1%}",
        f"{test.swapped_exact:.1%} of {test.swapped}" if test.swapped else "none",
        ", ".join(rung for rung in CAUSAL if stands(test, rung)) or f"nothing: {CANNOT_BE_TOLD} from it",
    )


def _cells(ladders: Sequence[Ladder]) -> list[tuple[str, list[tuple[str, State, str]]]]:
    """The lines of the picture."""
    return [
        (f"{claim.variable} at {one.site}", [(tried.rung, tried.state, tried.value) for tried in one.evidence])
        for claim in ladders
        for one in claim.sites
    ]
