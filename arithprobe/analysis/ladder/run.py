"""The ladder of evidence: how far the evidence for a claimed variable reaches, and what stops it.

:mod:`arithprobe.analysis.ladder.rules` defines the rungs; a rung counts only if all below it hold. A claim stands at
the earliest site where R2 is 0.95 or more and the rungs up to ``geometric`` hold; if no R2 is that high, at the site
with the highest. The other such sites are tested too, and reported if they reach higher: if the model does not need
one copy of a variable, that says nothing about another copy.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from arithprobe.analysis.ladder.causal import CausalEvidence, CausalRungs
from arithprobe.analysis.ladder.causal_rules import necessary, sufficient
from arithprobe.analysis.ladder.rules import (
    CARRIED,
    READABLE,
    RUNGS,
    Evidence,
    ReadScores,
    Rung,
    read_evidence,
    scores_at,
)
from arithprobe.analysis.progress import Progress, ProgressOption
from arithprobe.behaviour import Behaviour
from arithprobe.logic import CANNOT_BE_TOLD
from arithprobe.probes.claims import Claim, ClaimScores
from arithprobe.probes.selective import Untrained
from arithprobe.problems.circles import planes_name


@dataclass(frozen=True)
class SiteLadder:
    """The rungs of a claim at one site's last token."""

    site: str
    """Name of the site, such as ``resid_post.1``."""
    read: ReadScores
    """What a probe reads there, beside its controls; of a circle, at the frequency that decides."""
    frequencies: tuple[int, ...]
    """The key frequencies with R2 of 0.5 or more, which are taken out and turned together; empty for a line."""
    rung: Rung
    """The highest rung reached."""
    stopped_by: str
    """What stops the next, ``necessary: ...``, or ``necessary: cannot be told: ...``; empty at the top."""
    evidence: tuple[Evidence, ...]
    """Every rung tried, from the lowest."""
    causal: CausalEvidence | None
    """What interventions found; None where a lower rung fails, or R2 is below 0.95."""

    @property
    def height(self) -> int:
        """The number of rungs reached."""
        return RUNGS.index(self.rung)


@dataclass(frozen=True)
class Ladder:
    """The ladder of a claimed variable: how far the evidence reaches."""

    variable: str
    """Name of the claimed variable, a probe's target such as ``sum``, or a circle."""
    shape: Literal["line", "circle"]
    """Shape that the variable is claimed to have among the states."""
    own: SiteLadder
    """The site where the claim stands."""
    sites: tuple[SiteLadder, ...]
    """Every site with R2 of 0.95 or more, or the one with the highest."""

    @property
    def rung(self) -> Rung:
        """The highest rung reached where the claim stands."""
        return self.own.rung

    @property
    def stopped_by(self) -> str:
        """The reason that stops the next rung; empty at the top."""
        return self.own.stopped_by

    @property
    def higher(self) -> SiteLadder | None:
        """The first site that reaches the highest rung, if that is higher than where the claim stands; or None."""
        best = max(self.sites, key=lambda one: one.height)
        return best if best.height > self.own.height else None


def climb(
    behaviour: Behaviour,
    claims: Sequence[ClaimScores],
    untrained: Sequence[Untrained],
    interventions: Callable[[list[str], list[str]], CausalRungs],
    progress: ProgressOption = None,
) -> tuple[Ladder, ...]:
    """Climb as far as the evidence reaches.

    Args:
        behaviour: The verdict on the model.
        claims: Scores of each claim, with controls.
        untrained: Each claim beside untrained networks.
        interventions: Makes the interventions, from the targets and sites that will be tested.
        progress: True shows the steps as they start; a function is called with the name of each.
    """
    progress = Progress.by_name(progress)
    tried = [
        (scores, [_read(scores, beside, site, behaviour) for site in _sites_of(scores)])
        for scores, beside in zip(claims, untrained, strict=True)
    ]
    ready = [(_target(scores.claim, one), one.site) for scores, sites in tried for one in sites if _is_ready(one)]
    if ready:
        progress.expect(1 + len(ready))
        progress("ladder")
        names = [scores.claim.name for scores in claims]
        rungs = interventions(*(list(dict.fromkeys(some)) for some in zip(*ready, strict=True)))
    found = []
    for scores, sites in tried:
        for number, one in enumerate(sites):
            if _is_ready(one):
                progress(f"ladder: {scores.claim.name} at {one.site}")
                causal = _told_apart(rungs, _target(scores.claim, one), one.site, names)
                evidence = (*one.evidence, necessary(causal), sufficient(causal))
                sites[number] = _settled(replace(one, causal=causal), evidence)
        own = next((one for one in sites if one.causal is not None), None) or max(sites, key=lambda one: one.height)
        found.append(Ladder(scores.claim.name, scores.claim.shape, own, tuple(sites)))
    return tuple(found)


def _told_apart(rungs: CausalRungs, target: str, site: str, names: Sequence[str]) -> CausalEvidence:
    """The evidence for a target; where it reaches a causal rung, also given the claims of those names."""
    causal = rungs.at(target, site)
    if not (necessary(causal).passed or sufficient(causal).passed):
        return causal
    return replace(causal, given=rungs.given(target, site, names))


def _sites_of(scores: ClaimScores) -> list[str]:
    """The sites with R2 of 0.95 or more, or the one with the highest."""
    r2 = {site: float(scores.r2[scores.deciding(site), row]) for row, site in enumerate(scores.sites)}
    readable = [site for site, value in r2.items() if value >= READABLE]
    return readable or [max(r2, key=lambda site: -math.inf if math.isnan(r2[site]) else r2[site])]


def _read(scores: ClaimScores, beside: Untrained, site: str, behaviour: Behaviour) -> SiteLadder:
    """What can be said of a site without interventions."""
    row, circle = scores.sites.index(site), scores.claim.circle
    frequencies: tuple[int, ...] = ()
    if circle is not None:
        carried = scores.key[:, row] & (scores.r2[:, row] >= CARRIED)
        frequencies = tuple(n for n, kept in zip(circle.frequencies, carried.tolist(), strict=True) if kept)
    found = scores_at(scores, beside, site)
    best = None if circle is None else circle.frequencies[scores.deciding(site)]
    blank = SiteLadder(site, found, frequencies, "none", "", (), None)
    return _settled(blank, read_evidence(scores.claim, best, site, found, behaviour))


def _settled(one: SiteLadder, evidence: tuple[Evidence, ...]) -> SiteLadder:
    """A site's ladder with its evidence, rung and what stops it."""
    rung: Rung = "none"
    for found in evidence:
        if not found.passed:
            return replace(one, evidence=evidence, rung=rung, stopped_by=f"{found.rung}: {found.reason}")
        rung = found.rung
    stop = f"necessary: {CANNOT_BE_TOLD}: R2 {one.read.r2:.3f} is the highest, below {READABLE}: it was not taken out"
    return replace(one, evidence=evidence, rung=rung, stopped_by="" if rung == RUNGS[-1] else stop)


def _is_ready(one: SiteLadder) -> bool:
    return one.rung == "geometric" and one.read.r2 >= READABLE and one.causal is None


def _target(claim: Claim, one: SiteLadder) -> str:
    """What is taken out at a site: the variable, or the planes of a circle that carry it there."""
    if claim.circle is None:
        return claim.name
    return planes_name(claim.circle.quantity, claim.circle.period, one.frequencies)
