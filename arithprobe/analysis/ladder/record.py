"""The ladder of evidence as plain values, for ``ladder.json``.

A step has its ``state`` (holds, does not hold, cannot be told), and ``passed``, whether it holds: all that files of
earlier versions have.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from arithprobe.analysis.ladder import rules
from arithprobe.analysis.ladder.causal import CausalEvidence
from arithprobe.analysis.ladder.given import CAUSAL, stands
from arithprobe.analysis.ladder.run import Ladder, SiteLadder
from arithprobe.behaviour import SKILL_FLOOR, Behaviour
from arithprobe.interventions.partial import GivenTests
from arithprobe.logic import CANNOT_BE_TOLD, FAILS, HOLDS, LEVEL, State
from arithprobe.probes.selective import FEWEST_TWINS

THRESHOLDS = {
    "skill_floor": SKILL_FLOOR,
    "level": LEVEL,
    "fewest_twins": FEWEST_TWINS,
    "margin_r2": rules.MARGIN,
    "readable_r2": rules.READABLE,
    "carried_r2": rules.CARRIED,
    "skill_left": rules.SKILL_LEFT,
    "exact_chances": rules.CHANCES,
    "random_cost": rules.RANDOM_COST,
    "shuffled_cost": rules.SHUFFLED_COST,
    "slope": rules.SLOPE,
    "swapped": rules.SWAPPED,
}


def ladder_record(
    checkpoint: str, data: str, behaviour: Behaviour, ladders: Sequence[Ladder], left_out: Sequence[str] = ()
) -> dict[str, Any]:
    """Behaviour, thresholds, and each claim with its rung, evidence, and what stops it."""
    return {
        "behaviour": asdict(behaviour),
        "checkpoint": checkpoint,
        "data": data,
        "rungs": rules.RUNGS,
        "thresholds": THRESHOLDS,
        "left_out": left_out,
        "claims": [
            {
                "variable": one.variable,
                "shape": one.shape,
                "rung": one.rung,
                "site": one.own.site,
                "stopped_by": one.stopped_by,
                "evidence": _steps(one.own),
                "sites": [_site(site) for site in one.sites],
            }
            for one in ladders
        ],
    }


def _site(one: SiteLadder) -> dict[str, Any]:
    causal = None if one.causal is None else _causal(one.causal)
    return asdict(one) | {"read": one.read._asdict(), "evidence": _steps(one), "causal": causal}


def _steps(one: SiteLadder) -> list[dict[str, Any]]:
    return [
        {"rung": step.rung, "state": step.state, "figure": step.value, "reason": step.reason, "passed": step.passed}
        for step in one.evidence
    ]


def state_of_step(step: dict[str, Any]) -> State:
    """Whether a rung of ``ladder.json`` holds, also of files that know two states only."""
    if "state" in step:
        return next((one for one in (HOLDS, FAILS) if one == step["state"]), CANNOT_BE_TOLD)
    return HOLDS if step["passed"] else CANNOT_BE_TOLD if CANNOT_BE_TOLD in step["reason"] else FAILS


def what_stops(stopped_by: str) -> tuple[str, str]:
    """The rung that stops a claim, and whether it cannot be told; and the reason.

    >>> what_stops("necessary: cannot be told: there are no others"), what_stops("selective: R2 0.9")
    (('necessary: cannot be told', 'there are no others'), ('selective', 'R2 0.9'))
    """
    rung, _, reason = (stopped_by or "nothing: every rung holds").partition(": ")
    undecided = f"{CANNOT_BE_TOLD}: "
    return (
        (f"{rung}: {CANNOT_BE_TOLD}", reason.removeprefix(undecided))
        if reason.startswith(undecided)
        else (rung, reason)
    )


def _given(found: GivenTests) -> dict[str, Any]:
    """The tests given each of what the claim may stand for, with the rungs that stand."""
    return asdict(found) | {
        "tests": [
            asdict(one) | {"share": one.share._asdict(), "stands": [rung for rung in CAUSAL if stands(one, rung)]}
            for one in found.tests
        ]
    }


def _causal(found: CausalEvidence) -> dict[str, Any]:
    """Everything but the curves' own tensors, as numbers and lists."""
    curve, swap = found.steering, found.interchange
    return asdict(found) | {
        "steering": None
        if curve is None
        else {
            "deltas": curve.deltas.tolist(),
            "response": curve.response.tolist(),
            "hits": curve.hits.tolist(),
            "slope": curve.slope._asdict(),
            "fit_blocks": curve.fit_blocks,
            "random_slopes": curve.random_slopes.tolist(),
        },
        "interchange": None
        if swap is None
        else asdict(swap) | {"recovered": swap.recovered._asdict(), "random": swap.random.tolist()},
        "given": None if found.given is None else _given(found.given),
    }
