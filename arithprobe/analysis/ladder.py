r"""The ladder of evidence: how far what is known of a claimed variable reaches, and what stops it.

=============== ======================================================================================================
``none``        the model has not learned the task; what its states show is not about it
``behaviour``   the behaviour gate is passed
``decodable``   R2 on held-out groups above permuted labels (p <= 0.05; of a circle, the largest over frequencies)
``selective``   above a control task and above untrained networks
``geometric``   on a line, or round a circle of this period and no neighbouring one, and not as well when renamed
``necessary``   without it (LEACE, last token) at most a tenth of the skill is left, and exact answers are at most twice
                those of a guess (the lower end of their interval is); random subspaces of its rank cost less than 5 %
                of the skill
``sufficient``  moved, the answer follows with slope 1 within 0.1; swapped between problems, it takes nine tenths of the
                way
=============== ======================================================================================================

A rung counts only if all below it hold. A claim stands at the earliest site where R2 is 0.95 or more and the rungs up to
``geometric`` hold; where there is none, at the one that gets furthest. The later sites are tried too, and said to be
higher where they are: that the model does not need one copy of a variable says nothing about another.
After Belinkov 2022 (https://arxiv.org/abs/2102.12452), Hewitt and Liang 2019, Elazar et al. 2021, Geiger et al. 2021.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from arithprobe.analysis.ladder_causal import CausalEvidence, CausalRungs
from arithprobe.behaviour import Behaviour
from arithprobe.probes.accuracy import binomial_interval
from arithprobe.probes.claims import Claim, ClaimScores
from arithprobe.probes.variables import planes_name

Rung = Literal["none", "behaviour", "decodable", "selective", "geometric", "necessary", "sufficient"]
RUNGS: tuple[Rung, ...] = get_args(Rung)
LEVEL = 0.05
"""Of every test against random labels, subspaces or patterns."""
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
SLOPE = 0.1
"""How far the response to moving a variable may be from what arithmetic demands."""
SWAPPED = 0.9
"""Share of the intended shift that a swap must make."""


@dataclass(frozen=True)
class Evidence:
    """One rung tried."""

    rung: Rung
    """Which."""
    passed: bool
    """Whether it holds, by the thresholds of this module."""
    reason: str
    """The figures that decide, in words."""


@dataclass(frozen=True)
class SiteLadder:
    """The rungs of a claim at one site's last token."""

    site: str
    """Where."""
    r2: float
    """Held-out R2, of a circle that of its best frequency."""
    frequencies: tuple[int, ...]
    """The frequencies taken out and turned together; empty for a line."""
    rung: Rung
    """The highest reached."""
    stopped_by: str
    """What stops the next; empty at the top."""
    evidence: tuple[Evidence, ...]
    """Every rung tried, from the lowest."""
    causal: CausalEvidence | None
    """What interventions found; None where a lower rung fails, or R2 is below 0.95."""


@dataclass(frozen=True)
class Ladder:
    """How far the evidence for a claimed variable reaches."""

    variable: str
    """The claim."""
    shape: Literal["line", "circle"]
    """What it is claimed to lie on."""
    rung: Rung
    """The highest rung reached at the site where the claim stands."""
    site: str
    """That site."""
    stopped_by: str
    """What stops the next rung; empty at the top."""
    sites: tuple[SiteLadder, ...]
    """Every site with R2 of 0.95 or more, or the one with the highest."""

    @property
    def own(self) -> SiteLadder:
        """The site where the claim stands."""
        return next(one for one in self.sites if one.site == self.site)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """Every rung tried there."""
        return self.own.evidence

    @property
    def higher(self) -> SiteLadder | None:
        """The first site of those where a higher rung is reached, or None."""
        best = max(self.sites, key=height)
        return best if height(best) > height(self.own) else None


def height(one: SiteLadder) -> int:
    """How many rungs up."""
    return RUNGS.index(one.rung)


def climb(
    behaviour: Behaviour,
    claims: Sequence[ClaimScores],
    twins: Sequence[Sequence[Tensor]],
    interventions: Callable[[list[str], list[str]], CausalRungs],
    progress: Callable[[str], object] = lambda step: None,
) -> tuple[Ladder, ...]:
    """Climb as far as the evidence reaches.

    Args:
        behaviour: The verdict on the model.
        claims: Scores of each claim, with controls.
        twins: (F, S) R2 of each untrained network, claim by claim.
        interventions: Makes what intervenes, from the targets and sites that it will be asked for.
        progress: Told the name of each step as it starts.
    """
    tried = [
        [_decoded(scores, list(others), site, behaviour) for site in _sites_of(scores)]
        for scores, others in zip(claims, twins, strict=True)
    ]
    ready = [(scores, one) for scores, sites in zip(claims, tried, strict=True) for one in sites if _is_ready(one)]
    rungs = None
    if ready:
        progress("ladder")
        targets = list(dict.fromkeys(_target(scores.claim, one) for scores, one in ready))
        rungs = interventions(targets, list(dict.fromkeys(one.site for _, one in ready)))
    found = []
    for scores, sites in zip(claims, tried, strict=True):
        done = []
        for one in sites:
            if rungs is not None and _is_ready(one):
                progress(f"ladder: {scores.claim.name} at {one.site}")
                causal = rungs.at(_target(scores.claim, one), one.site)
                evidence = (*one.evidence, _necessary(causal), _sufficient(causal))
                done.append(_settled(replace(one, causal=causal), evidence))
            else:
                done.append(one)
        own = next((one for one in done if _is_tried(one)), None) or max(done, key=height)
        found.append(Ladder(scores.claim.name, scores.claim.shape, own.rung, own.site, own.stopped_by, tuple(done)))
    return tuple(found)


def _sites_of(scores: ClaimScores) -> list[str]:
    """The sites with R2 of 0.95 or more, or the one with the highest."""
    best = scores.r2.nan_to_num(nan=-torch.inf).amax(dim=0)  # (S,)
    readable = [site for site, r2 in zip(scores.sites, best.tolist(), strict=True) if r2 >= READABLE]
    return readable or [scores.sites[int(best.argmax())]]


def _decoded(scores: ClaimScores, twins: list[Tensor], site: str, behaviour: Behaviour) -> SiteLadder:
    """The rungs that need no intervention."""
    row, best = scores.sites.index(site), scores.best(site)
    r2, low, p, null, task, control, relabelled, neighbour = (
        float(getattr(scores, name)[best, row])
        for name in ("r2", "low", "p", "null_high", "task_on_pairs", "control_on_pairs", "relabelled", "neighbour")
    )
    circle, frequencies = scores.claim.circle, tuple[int, ...]()
    name = scores.claim.name
    if circle is not None:
        key = (scores.r2[:, row] >= CARRIED) & (scores.p[:, row] <= LEVEL)
        frequencies = tuple(n for n, kept in zip(circle.frequencies, key.tolist(), strict=True) if kept)
        name = f"{name}, frequency {circle.frequencies[best]}"
    untrained = max((float(one[best, row]) for one in twins), default=float("nan"))
    selective = task - max(control, 0.0) > LEVEL and (not twins or low > untrained)
    shown = f"R2 {r2:.3f}, at least {low:.3f}"
    evidence = [
        Evidence("behaviour", behaviour.verdict != "NOT LEARNED", str(behaviour)),
        Evidence(
            "decodable", r2 > 0 and p <= LEVEL and low > null,
            f"{name} at {site}@last: {shown}; shuffled labels below {null:.3f}, p = {p:.3f}",
        ),
        Evidence(
            "selective", selective,
            f"{shown}; untrained networks {_shown(untrained)}; under a split by pairs {task:.3f}, control task "
            f"{control:.3f}",
        ),
        _geometric(scores.claim, shown, low, relabelled, neighbour),
    ]  # fmt: skip
    return _settled(SiteLadder(site, r2, frequencies, "none", "", (), None), tuple(evidence))


def _geometric(claim: Claim, shown: str, low: float, relabelled: float, neighbour: float) -> Evidence:
    """Whether the order of the values is that of a line or a circle."""
    if claim.circle is None:
        if relabelled != relabelled:
            return Evidence("geometric", True, "two values lie on a line in any order: nothing to test")
        return Evidence("geometric", low > relabelled, f"a line: {shown}; values renamed at random {relabelled:.3f}")
    passed = not low <= relabelled and not low <= neighbour
    return Evidence(
        "geometric", passed,
        f"a circle: {shown}; values renamed at random {_shown(relabelled)}; periods {claim.circle.period - 1} and "
        f"{claim.circle.period + 1} up to {_shown(neighbour)}",
    )  # fmt: skip


def _necessary(found: CausalEvidence) -> Evidence:
    """Whether the behaviour is destroyed without the variable, and not without random subspaces."""
    exact_low, _ = binomial_interval(round(found.exact * found.n), found.n)
    destroyed = found.skill_left <= SKILL_LEFT and exact_low <= CHANCES * found.chance
    known = [one for one in found.random if one.skill_lost == one.skill_lost]
    harmless = all(one.skill_lost < RANDOM_COST for one in known) and any(one.family == "isotropic" for one in known)
    text = "; ".join(
        f"{one.family} subspaces of rank {found.rank} cost {one.skill_lost:.1%} of the skill and "
        f"{100 * one.exact_lost:.1f} points of exact answers" if one in known else f"{one.family}: {one.note}"
        for one in found.random
    )  # fmt: skip
    return Evidence(
        "necessary", destroyed and harmless,
        f"without {found.target} at {found.site}@last (rank {found.rank}, {found.variance:.0%} of the variance) "
        f"skill {found.intact_skill:.3f} -> {found.skill:.3f}, exact {found.intact_exact:.1%} -> {found.exact:.1%} (a "
        f"guess {found.chance:.1%}, {found.n} rows); {text}; with nothing but it, skill {found.kept_skill:.3f}, exact "
        f"{found.kept_exact:.1%}",
    )  # fmt: skip


def _sufficient(found: CausalEvidence) -> Evidence:
    """Whether the answer follows when the variable is moved, and when it is swapped."""
    curve, swap = found.steering, found.interchange
    if curve is None or swap is None:
        return Evidence("sufficient", False, f"arithmetic does not say where the answer goes with {found.target}")
    slope, random = curve.slope.fraction, float(curve.random_slopes.abs().max())
    steered = abs(slope - 1) <= SLOPE and random < 1 - SLOPE
    share = swap.recovered.fraction
    swapped = share >= SWAPPED and swap.p <= LEVEL and abs(swap.null_space) <= SLOPE
    return Evidence(
        "sufficient", steered and swapped,
        f"moved, the answer follows with slope {slope:.3f} [{curve.slope.low:.3f}, {curve.slope.high:.3f}], random "
        f"patterns up to {random:.2f}; swapped, it makes {share:.1%} of the intended shift (the whole state "
        f"{swap.whole_state:.1%}, random subspaces up to {float(swap.random.max()):.1%})",
    )  # fmt: skip


def _settled(one: SiteLadder, evidence: tuple[Evidence, ...]) -> SiteLadder:
    """A site's ladder with its evidence, rung and what stops it."""
    rung: Rung = "none"
    for found in evidence:
        if not found.passed:
            return replace(one, evidence=evidence, rung=rung, stopped_by=f"{found.rung}: {found.reason}")
        rung = found.rung
    stop = "" if rung == RUNGS[-1] else f"necessary: R2 {one.r2:.3f} is the highest, below {READABLE}"
    return replace(one, evidence=evidence, rung=rung, stopped_by=stop)


def _is_tried(one: SiteLadder) -> bool:
    return one.causal is not None


def _is_ready(one: SiteLadder) -> bool:
    return one.rung == "geometric" and one.r2 >= READABLE


def _target(claim: Claim, one: SiteLadder) -> str:
    """What is taken out at a site: the variable, or the planes of a circle that carry it there."""
    if claim.circle is None:
        return claim.name
    return planes_name(claim.circle.quantity, claim.circle.period, one.frequencies)


def _shown(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"
