r"""The rungs of the ladder of evidence, and what each asks for.

=============== ======================================================================================================
``none``        the model has not learned the task; what its states show is not about it
``behaviour``   the behaviour gate is passed
``decodable``   R2 on held-out groups above permuted labels (p <= 0.05; of a circle, the largest over frequencies)
``selective``   above a control task and above untrained networks
``geometric``   on a line, or round a circle of this period and no neighbouring one; with its values renamed at random,
                19 times, it is read worse by 0.05 at least. Of two values on a line, three on a circle, none can tell
``necessary``   without it (LEACE, last token) at most a tenth of the skill is left, and exact answers are at most twice
                those of a guess (the lower end of their interval is); random subspaces of its rank, blind ones and such
                outside of it as change the states as much, if there are any, cost less than 5 % of the skill, and what
                LEACE takes out for permuted labels at most half of what it costs
``sufficient``  moved, the answer follows with slope 1 within 0.1, and with no random pattern to nine tenths; swapped
                between problems, it makes the intended shift within a tenth, and more than random subspaces; the part
                that the rest of the model does not see makes none of it (Makelov et al. 2024)
=============== ======================================================================================================

After Hewitt and Liang 2019 (selective), Elazar et al. 2021 (necessary) and Geiger et al. 2021 (sufficient).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from torch import Tensor

from arithprobe.analysis.ladder_causal import SHUFFLED, CausalEvidence
from arithprobe.behaviour import Behaviour
from arithprobe.probes.accuracy import binomial_interval
from arithprobe.probes.claims import Claim, ClaimScores
from arithprobe.probes.variables import planes_of

Rung = Literal["none", "behaviour", "decodable", "selective", "geometric", "necessary", "sufficient"]
RUNGS: tuple[Rung, ...] = get_args(Rung)
LEVEL = 0.05
"""Of every test against random labels, subspaces or patterns."""
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
_BLIND = "isotropic"  # the family that there always is


@dataclass(frozen=True)
class Evidence:
    """One rung tried."""

    rung: Rung
    """Which."""
    passed: bool
    """Whether it holds, by the thresholds of this module."""
    figure: str
    """What to look at first, in a few letters."""
    reason: str
    """The figures that decide, in words."""


Proofs = tuple[Evidence, ...]


class ReadFigures(NamedTuple):
    """What a probe of a claim reads at one site's last token, of a circle at the frequency that decides."""

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
    task_on_pairs: float
    """R2 under the split of the control task."""
    control_on_pairs: float
    """R2 of the control task."""
    relabelled: float
    """R2 of the variable with its values renamed at random, the highest; NaN where there are too few values."""
    neighbour: float
    """R2 of the best of the other periods; NaN for a line, or where none varies."""


def figures_at(scores: ClaimScores, twins: Sequence[Tensor], site: str) -> ReadFigures:
    """The figures of one site.

    Args:
        scores: Scores of the claim, with its controls.
        twins: (F, S) R2 of each untrained network.
        site: The site.
    """
    best, row = scores.deciding(site), scores.sites.index(site)
    own = {name: float(getattr(scores, name)[best, row]) for name in ReadFigures._fields if name != "untrained"}
    untrained = max((float(one[best, row]) for one in twins), default=float("nan"))
    return ReadFigures(**own, untrained=untrained)


def read_evidence(claim: Claim, frequency: int | None, site: str, found: ReadFigures, behaviour: Behaviour) -> Proofs:
    """The rungs that need no intervention.

    Args:
        claim: The claim.
        frequency: The frequency read best at the site; None for a line.
        site: The site.
        found: What is read there.
        behaviour: The verdict on the model.
    """
    name = claim.name if frequency is None else f"{claim.name}, frequency {frequency}"
    shown, probed = f"R2 {found.r2:.3f}, at least {found.low:.3f}", found.untrained == found.untrained
    text = f"untrained networks {found.untrained:.3f}" if probed else "no untrained network was probed (twins is 0)"
    selective = found.low > found.untrained
    if found.control_on_pairs == found.control_on_pairs:
        selective &= found.task_on_pairs - max(found.control_on_pairs, 0.0) > MARGIN
        text += f"; under a split by pairs {found.task_on_pairs:.3f}, control task {found.control_on_pairs:.3f}"
    else:
        text += "; no control task: nothing occurs often enough to be memorised"
    return (
        Evidence("behaviour", behaviour.verdict != "NOT LEARNED", f"skill {behaviour.skill:.2f}", str(behaviour)),
        Evidence(
            "decodable", found.r2 > 0 and found.p <= LEVEL and found.low > found.null_high, f"R2 {found.r2:.3f}",
            f"{name} at {site}@last: {shown}; shuffled labels below {found.null_high:.3f}, p = {found.p:.3f}",
        ),
        Evidence(
            "selective", selective, f"untrained {_shown(found.untrained)}",
            f"{shown}; {text}",
        ),
        _geometric(claim, found, shown),
    )  # fmt: skip


def _geometric(claim: Claim, found: ReadFigures, shown: str) -> Evidence:
    """Whether the order of the values is that of a line or a circle."""
    if found.relabelled != found.relabelled:
        few = (
            "two values lie on a line in any order"
            if claim.circle is None
            else "two or three values are a circle anyhow"
        )
        return Evidence("geometric", False, "too few values", f"{few}: it cannot be told")
    passed = found.low > max(found.relabelled + MARGIN, 0.0)
    text = f"{shown}; values renamed at random {found.relabelled:.3f}"
    if claim.circle is None:
        return Evidence("geometric", passed, f"renamed {found.relabelled:.3f}", f"a line: {text}")
    others = "no other period varies" if found.neighbour != found.neighbour else f"other periods {found.neighbour:.3f}"
    passed &= not found.low <= found.neighbour  # NaN where there is none
    figure = f"other {max(found.relabelled, found.neighbour):.3f}"
    return Evidence("geometric", passed, figure, f"a circle: {text}; {others}")


def necessary(found: CausalEvidence) -> Evidence:
    """Whether the behaviour is destroyed without the variable, and not without random subspaces."""
    exact_low, _ = binomial_interval(round(found.exact * found.n), found.n)
    destroyed = found.skill_left <= SKILL_LEFT and exact_low <= CHANCES * found.chance
    known = [one for one in found.random if one.skill_lost == one.skill_lost]
    # erasers of shuffled labels cost their share of what the states vary in, so their limit is another
    blind = {one.family: one.skill_lost for one in known if one.family != SHUFFLED}
    harmless = all(lost < RANDOM_COST for lost in blind.values()) and _BLIND in blind
    own = 1 - found.skill_left
    special = all(one.skill_lost <= SHUFFLED_COST * own for one in known if one.family == SHUFFLED)
    text = "; ".join(
        f"{one.family} subspaces of rank {found.rank} cost {one.skill_lost:.1%} of the skill and "
        f"{100 * one.exact_lost:.1f} points of exact answers (p = {one.p:.2f})" if one in known
        else f"{one.family}: {one.note}"
        for one in found.random
    )  # fmt: skip
    return Evidence(
        "necessary", destroyed and harmless and special, f"skill {found.skill:.2f}, {found.exact:.1%}",
        f"without {found.target} at {found.site}@last (rank {found.rank}, {found.variance:.0%} of the variance) "
        f"skill {found.intact_skill:.3f} -> {found.skill:.3f}, exact {found.intact_exact:.1%} -> {found.exact:.1%} (a "
        f"guess {found.chance:.1%}, {found.n} rows); {text}; with nothing but it, skill {found.kept_skill:.3f}, exact "
        f"{found.kept_exact:.1%}",
    )  # fmt: skip


def sufficient(found: CausalEvidence) -> Evidence:
    """Whether the answer follows when the variable is moved, and when it is swapped."""
    curve, swap = found.steering, found.interchange
    if curve is None or swap is None:
        return Evidence("sufficient", False, "no answer", f"cannot be told: {_why_not(found)}")
    slope, random = curve.slope.fraction, float(curve.random_slopes.abs().max())
    steered = abs(slope - 1) <= SLOPE and random < 1 - SLOPE
    share = swap.recovered.fraction
    swapped = abs(share - 1) <= SWAPPED and swap.p <= LEVEL and abs(swap.null_space) <= SLOPE
    return Evidence(
        "sufficient", steered and swapped, f"slope {slope:.2f}",
        f"moved, the answer follows with slope {slope:.3f} [{curve.slope.low:.3f}, {curve.slope.high:.3f}], random "
        f"patterns up to {random:.2f}; swapped, it makes {share:.1%} of the intended shift (the whole state "
        f"{swap.whole_state:.1%}, random subspaces up to {float(swap.random.max()):.1%}, p = {swap.p:.2f}; what the "
        f"rest of the model does not see of it {swap.null_space:.1%})",
    )  # fmt: skip


def _why_not(found: CausalEvidence) -> str:
    """Why the answer cannot be followed."""
    circle = planes_of(found.target)
    if circle is not None and 2 * max(circle.frequencies) == circle.period:
        return f"frequency {max(circle.frequencies)} of {circle.period} has a cosine only, and cannot be turned"
    if found.held_out_r2 < CARRIED:
        return f"{found.target} is read with R2 {found.held_out_r2:.2f} only from the rows intervened on"
    return f"arithmetic does not say where the answer goes with {found.target}, or it never differs"


def _shown(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"
