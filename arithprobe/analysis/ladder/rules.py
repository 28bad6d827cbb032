r"""The rungs of the ladder of evidence, and the requirements of each.

=============== ======================================================================================================
``none``        the model has not learned the task; what its states show is not about it
``behaviour``   the behaviour gate is passed
``decodable``   R2 on held-out groups above permuted labels (p <= 0.05; of a circle, the largest over frequencies)
``selective``   above a control task, and above untrained networks: p <= 0.05 of the largest over all claims, sites and
                frequencies (:mod:`arithprobe.probes.selective`); with fewer than 19 of them it cannot be told
``geometric``   on a line, or round a circle of this period: R2 above that of every neighbouring one by 1.96 standard
                errors (does not hold if below by as many; else cannot be told); with its values renamed at random, 19
                times, it is read worse by 0.05 at least (two values on a line, three on a circle: cannot be told)
``necessary``   without it (LEACE, last token) at most a tenth of the skill is left, and exact answers are at most twice
                those of a guess (the lower end of their interval is); random subspaces of its rank, blind ones and such
                outside of it as change the states as much, if there are any, cost less than 5 % of the skill, and what
                LEACE takes out for permuted labels at most half of what it costs; one of these displaces as much
``sufficient``  moved, the answer follows with slope 1 within 0.1, and with no random pattern to nine tenths; swapped
                between problems, it makes the intended shift within a tenth, and more than random subspaces; the part
                that the rest of the model does not see makes none of it (Makelov et al. 2024)
=============== ======================================================================================================

A rung holds, does not hold, or *cannot be told*. It does not hold if the variable is read no better than by a control,
or has no effect when it is removed or moved, whatever else is missing. It cannot be told if all known requirements
hold but a control could not be made; if the answers are destroyed without the variable, or follow it, and a control
has the same effect, since then any part of the state may be the cause; or if the claim goes with another and its own
part has no effect (:mod:`arithprobe.analysis.ladder.given`). A rung that cannot be told also stops the climb.
Skill is counted round the claimed circle, see :mod:`arithprobe.interventions.naming`.

After Hewitt and Liang 2019 (selective), Elazar et al. 2021 (necessary) and Geiger et al. 2021 (sufficient).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from arithprobe.behaviour import Behaviour
from arithprobe.logic import CANNOT_BE_TOLD, HOLDS, LEVEL, State, above, part_of, state_of
from arithprobe.probes.claims import Claim, ClaimScores
from arithprobe.probes.interval import TOO_FEW_GROUPS
from arithprobe.probes.neighbours import state_of_lead
from arithprobe.probes.selective import FEWEST_TWINS, Untrained

Rung = Literal["none", "behaviour", "decodable", "selective", "geometric", "necessary", "sufficient"]
RUNGS: tuple[Rung, ...] = get_args(Rung)
MARGIN = 0.05
"""R2 above the control task, and above the values renamed."""
READABLE = 0.95
"""R2 from which a site is one to intervene at."""
CARRIED = 0.5
"""R2 from which a key frequency is among the planes that are taken out and turned together."""
SKILL_LEFT = 0.1
"""Share of the intact skill that may be left where behaviour is destroyed."""
CHANCES = 2.0
"""Exact answers that may be left, as a multiple of those of a guess."""
RANDOM_COST = 0.05
"""Share of the skill that random subspaces may cost."""
SHUFFLED_COST = 0.5
"""Share of the cost of the variable that LEACE of permuted labels may cost."""
SLOPE = 0.1
"""How far the response to moving a variable may be from what arithmetic demands."""
SWAPPED = 0.1
"""How far the share of the intended shift that a swap makes may be from all of it."""


_TOO_FEW = f"needs {FEWEST_TWINS} untrained networks for p = {LEVEL}, twins is {{}}"


@dataclass(frozen=True)
class Evidence:
    """The evidence for one rung."""

    rung: Rung
    """Name of the rung, such as ``decodable``."""
    state: State
    """Whether it holds, by the thresholds of this module."""
    value: str
    """What to look at first, in a few letters; empty where there is nothing to look at."""
    reason: str
    """The numbers that decide, in words; what cannot be told begins so, and says why."""

    @property
    def passed(self) -> bool:
        """Whether the rung holds."""
        return self.state == HOLDS


class Part(NamedTuple):
    """One requirement of a rung."""

    holds: bool | None
    """None where it cannot be told."""
    why: str = "a value is no number"
    """Why it cannot be told, in words."""


def tried(rung: Rung, parts: Sequence[Part], value: str, *told: str) -> Evidence:
    """Judge a rung by its parts.

    Args:
        rung: The rung.
        parts: Its parts, all of which are required.
        value: The value to look at first.
        told: The known facts, in words; unknown ones are added.
    """
    state, missing = state_of(one.holds for one in parts), (one.why for one in parts if one.holds is None)
    said = [*missing, *told] if state == CANNOT_BE_TOLD else [*told, *missing]
    reason = "; ".join(dict.fromkeys(one for one in said if one))
    return Evidence(rung, state, value, f"{CANNOT_BE_TOLD}: {reason}" if state == CANNOT_BE_TOLD else reason)


def at_most(value: float, limit: float) -> bool | None:
    """Whether a value is at most a limit; None if it is NaN."""
    return value <= limit if value == value else None


Proofs = tuple[Evidence, ...]


class ReadScores(NamedTuple):
    """The probe scores of a claim at one site's last token; for a circle, at the frequency that decides."""

    r2: float
    """Held-out R2."""
    low: float
    """Lower end of its 95 % interval."""
    p: float
    """p-value against permuted labels."""
    null_high: float
    """95 % quantile of the scores on permuted labels."""
    untrained: float
    """The highest R2 of an untrained network; NaN where none was probed."""
    untrained_p: float
    """p-value against the largest of the untrained networks over all claims, sites and frequencies."""
    compared: float
    """R2 on the rows that it is compared with them on."""
    twins: int
    """Untrained networks probed."""
    task_on_pairs: float
    """R2 under the split of the control task."""
    control_on_pairs: float
    """R2 of the control task."""
    relabelled: float
    """R2 of the variable with its values renamed at random, the highest; NaN where there are too few values."""
    neighbour: float
    """R2 of the best wave of a neighbouring period; NaN for a line, or where none varies."""
    lead: float
    """By how many standard errors R2 is above that of every neighbouring period; NaN as there."""


def scores_at(scores: ClaimScores, beside: Untrained, site: str) -> ReadScores:
    """The scores of one site.

    Args:
        scores: Scores of the claim, with its controls.
        beside: The claim beside untrained networks.
        site: The site.
    """
    best, row = scores.deciding(site), scores.sites.index(site)
    own = {name: float(getattr(scores, name)[best, row]) for name in ReadScores._fields if hasattr(scores, name)}
    untrained = {"untrained": float(beside.highest[best, row]), "untrained_p": float(beside.p[best, row])}
    untrained["compared"] = float(beside.own[best, row])
    return ReadScores(**own, **untrained, twins=beside.twins)


def read_evidence(claim: Claim, frequency: int | None, site: str, found: ReadScores, behaviour: Behaviour) -> Proofs:
    """The rungs that need no intervention.

    Args:
        claim: The claim.
        frequency: The frequency read best at the site; None for a line.
        site: The site.
        found: The scores there.
        behaviour: The verdict on the model.
    """
    name = claim.name if frequency is None else f"{claim.name}, frequency {frequency}"
    shown = f"R2 {found.r2:.3f}, " + (f"at least {found.low:.3f}" if found.low == found.low else "no interval")
    shuffled = f"shuffled labels below {found.null_high:.3f}, p = {found.p:.3f}"
    decodable = (Part(above(found.r2, 0.0)), Part(at_most(found.p, LEVEL)), _part(found, found.null_high))
    return (
        Evidence("behaviour", behaviour.state, f"skill {behaviour.skill:.2f}", _of_behaviour(behaviour)),
        tried("decodable", decodable, f"R2 {found.r2:.3f}", f"{name} at {site}@last: {shown}", shuffled),
        _selective(found, shown),
        _geometric(claim, found, shown),
    )


def _part(found: ReadScores, limit: float, why: str = "a value is no number") -> Part:
    """Whether the lower end of the interval is above a limit, and if there is none, why not."""
    missing = found.r2 == found.r2 and found.low != found.low
    return Part(above(found.low, limit), TOO_FEW_GROUPS if missing else why)


def _of_behaviour(behaviour: Behaviour) -> str:
    """What cannot be told begins so."""
    return behaviour.reason if behaviour.state == CANNOT_BE_TOLD else str(behaviour)


def _selective(found: ReadScores, shown: str) -> Evidence:
    """Whether it is read better than from untrained networks, and than a probe that memorises does."""
    parts, value, told = [_above_untrained(found)], "", [shown]
    if found.untrained == found.untrained:
        value = f"untrained {found.untrained:.3f}"
        own = "" if found.compared == found.r2 else f"on the rows compared R2 {found.compared:.3f}, "
        told.append(f"{own}the highest of {found.twins} untrained networks {found.untrained:.3f}")
    if found.twins >= FEWEST_TWINS:
        told[-1] += f", p = {found.untrained_p:.3f} of the largest over claims, sites and frequencies (level {LEVEL})"
    if found.control_on_pairs == found.control_on_pairs:
        parts.append(Part(above(found.task_on_pairs - max(found.control_on_pairs, 0.0), MARGIN)))
        told.append(f"under a split by pairs {found.task_on_pairs:.3f}, control task {found.control_on_pairs:.3f}")
    else:
        told.append("no control task: no value occurs often enough to be memorised")
    return tried("selective", parts, value, *told)


def _above_untrained(found: ReadScores) -> Part:
    """Whether more is read than from untrained networks; of too few of them, only that no more is."""
    if not found.twins:
        return Part(None, "no untrained network was probed (twins is 0)")
    if found.twins >= FEWEST_TWINS:
        return Part(at_most(found.untrained_p, LEVEL))
    beaten = above(found.compared, found.untrained)
    return Part(None if beaten else beaten, _TOO_FEW.format(found.twins))


def _geometric(claim: Claim, found: ReadScores, shown: str) -> Evidence:
    """Whether the order of the values is that of a line or a circle."""
    line = claim.circle is None
    few = "two values lie on a line in any order" if line else "two or three values always lie on a circle"
    parts = [_part(found, 0.0), _part(found, found.relabelled + MARGIN, few)]
    known = {"renamed": found.relabelled, "other": found.neighbour}
    known = {name: value for name, value in known.items() if value == value}
    told = [f"a {claim.shape}: {shown}"]
    if "renamed" in known:
        told.append(f"values renamed at random {found.relabelled:.3f}")
    if not line:
        told.append(f"neighbouring periods {found.neighbour:.3f}" if "other" in known else "none of them varies")
        parts.append(Part(part_of(state_of_lead(found.lead)), "it is not distinguished from neighbouring periods"))
    value = f"{'renamed' if line else 'other'} {max(known.values()):.3f}" if known else ""
    return tried("geometric", parts, value, *told)
