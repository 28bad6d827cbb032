"""The causal rungs of the ladder: whether a variable is necessary for the answers, and whether it is sufficient.

Each requires an effect, and controls that do not have it. Without the effect the rung does not hold. With it, but
without a control, or with a control that has the effect too, it cannot be told whether the variable caused it.
"""

from arithprobe.analysis.ladder.causal import SHUFFLED, CausalEvidence, RandomCost
from arithprobe.analysis.ladder.given import parts_given, value_given, words_given
from arithprobe.analysis.ladder.rules import (
    CARRIED,
    CHANCES,
    RANDOM_COST,
    SHUFFLED_COST,
    SKILL_LEFT,
    SLOPE,
    SWAPPED,
    Evidence,
    Part,
    at_most,
    tried,
)
from arithprobe.interventions.intervals import fit_words
from arithprobe.linalg import TOLERANCE
from arithprobe.logic import LEVEL
from arithprobe.probes.accuracy import binomial_interval
from arithprobe.problems.circles import planes_of

_BLIND = "isotropic"  # the family that there always is


def necessary(found: CausalEvidence) -> Evidence:
    """Whether the behaviour is destroyed without the variable, and not without random subspaces."""
    exact_low, _ = binomial_interval(round(found.exact * found.n), found.n)
    costs = {one.family: one for one in found.random}
    needed = [_cost(found, costs.get(name), name) for name in (_BLIND, SHUFFLED)]
    others = [
        _cost(found, one, name)
        for name, one in costs.items()
        if name not in (_BLIND, SHUFFLED) and one.skill_lost == one.skill_lost
    ]
    parts = (
        Part(at_most(found.skill_left, SKILL_LEFT) if found.learned else None, ""),  # the controls say why
        Part(exact_low <= CHANCES * found.chance),
        *needed,
        *others,
        _as_large(found),
        *parts_given(found.given, found.target, "necessary"),
    )
    shown = [
        f"{one.family} subspaces of rank {found.rank} cost {one.skill_lost:.1%} of the skill and "
        f"{100 * one.exact_lost:.1f} points of exact answers{_beside(found, one)}"
        if one.skill_lost == one.skill_lost
        else f"{one.family}: {one.note}"
        for one in found.random
    ]
    return tried(
        "necessary",
        parts,
        value_given(found.given, "necessary") or f"skill {found.skill:.2f}, {found.exact:.1%}",
        f"ablating {found.target} at {found.site}@last (rank {found.rank}, {found.variance:.0%} of the variance): "
        f"skill {found.intact_skill:.3f} -> {found.skill:.3f}, exact {found.intact_exact:.1%} -> {found.exact:.1%} (a "
        f"guess {found.chance:.1%}, {found.n} rows)",
        *shown,
        f"keeping only {found.target}: skill {found.kept_skill:.3f}, exact {found.kept_exact:.1%}",
        *words_given(found.given, found.target),
    )


def _beside(found: CausalEvidence, one: RandomCost) -> str:
    """The p of a control, if it has one, and the variance that its draws displace."""
    p = "" if one.p != one.p else f"p = {one.p:.2f}"
    size = "" if one.most != one.most else f"displacing at most {found.variance * one.most:.0%} of the variance"
    return f" ({', '.join(part for part in (p, size) if part)})" if p or size else ""


def _as_large(found: CausalEvidence) -> Part:
    """Whether a control displaces as much: else the loss may come from the size of the change alone."""
    most = max((one.most for one in found.random if one.most == one.most), default=1.0)
    why = f"it displaces more than every control ({found.variance * most:.0%} of the variance at most)"
    return Part(most >= 1 - TOLERANCE or None, why)


def _cost(found: CausalEvidence, one: RandomCost | None, family: str) -> Part:
    """Whether a control of an erasure costs little; where it does not, the erasure may have been too coarse."""
    if one is None or one.skill_lost != one.skill_lost:
        return Part(None, f"{family}: {'none was drawn' if one is None else one.note}")
    # erasers of shuffled labels cost their share of what the states vary in, so their limit is another
    if family == SHUFFLED:
        harmless = one.skill_lost <= SHUFFLED_COST * (1 - found.skill_left)
    else:
        harmless = one.skill_lost < RANDOM_COST
    return Part(harmless or None, f"{family} subspaces cost {one.skill_lost:.1%} of the skill too")


def sufficient(found: CausalEvidence) -> Evidence:
    """Whether the answer follows when the variable is moved, and when it is swapped."""
    curve, swap = found.steering, found.interchange
    parts, told, value = [], [], ""
    if curve is not None:
        slope, random = curve.slope.fraction, float(curve.random_slopes.abs().max())
        parts += [
            Part(at_most(abs(slope - 1), SLOPE)),
            Part(random < 1 - SLOPE or None, f"random patterns move the answer with slope {random:.2f} too"),
        ]
        value = f"slope {slope:.2f}"
        told.append(
            f"steering moves the answer with slope {slope:.3f} [{curve.slope.low:.3f}, {curve.slope.high:.3f}] "
            f"(95 %, {fit_words([curve.fit_blocks])}; random patterns up to {random:.2f})"
        )
    if swap is not None:
        share = swap.recovered.fraction
        parts += [
            Part(at_most(abs(share - 1), SWAPPED)),
            Part(swap.p <= LEVEL or None, "swapped random subspaces make as much of the shift"),
            Part(
                abs(swap.null_space) <= SLOPE or None,
                "the part that the rest of the model does not see makes some of it",
            ),
        ]
        value = value or f"swapped {share:.2f}"
        told.append(
            f"swapping it makes {share:.1%} of the intended shift (the whole state {swap.whole_state:.1%}, random "
            f"subspaces up to {float(swap.random.max()):.1%}, p = {swap.p:.2f}; the part that the rest of the model "
            f"does not see {swap.null_space:.1%})"
        )
    if curve is None or swap is None:
        parts.append(Part(None, _why_not(found)))
    parts += parts_given(found.given, found.target, "sufficient")
    return tried("sufficient", parts, value_given(found.given, "sufficient") or value, *told)


def _why_not(found: CausalEvidence) -> str:
    """Why the answer cannot be followed."""
    circle = planes_of(found.target)
    if circle is not None and 2 * max(circle.frequencies) == circle.period:
        return f"frequency {max(circle.frequencies)} of {circle.period} has only a cosine, so it cannot be turned"
    if found.held_out_r2 < CARRIED:
        return f"the probe reads {found.target} with R2 {found.held_out_r2:.2f} only from the rows intervened on"
    return f"arithmetic does not say how the answer changes with {found.target}, or {found.target} never differs"
