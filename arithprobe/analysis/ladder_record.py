"""The ladder of evidence as plain values, for ``ladder.json``."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from arithprobe.analysis import ladder_rules as rules
from arithprobe.analysis.ladder import Ladder, SiteLadder
from arithprobe.analysis.ladder_causal import CausalEvidence
from arithprobe.behaviour import SKILL_FLOOR, Behaviour

THRESHOLDS = {
    "skill_floor": SKILL_FLOOR, "level": rules.LEVEL, "margin_r2": rules.MARGIN, "readable_r2": rules.READABLE,
    "carried_r2": rules.CARRIED, "skill_left": rules.SKILL_LEFT, "exact_chances": rules.CHANCES,
    "random_cost": rules.RANDOM_COST, "shuffled_cost": rules.SHUFFLED_COST, "slope": rules.SLOPE,
    "swapped": rules.SWAPPED,
}  # fmt: skip


def ladder_record(
    checkpoint: str, data: str, behaviour: Behaviour, ladders: Sequence[Ladder], left_out: Sequence[str] = ()
) -> dict[str, Any]:
    """Behaviour, thresholds, and each claim with its rung, evidence, and what stops it."""
    return {
        "behaviour": asdict(behaviour), "checkpoint": checkpoint, "data": data, "rungs": rules.RUNGS,
        "thresholds": THRESHOLDS, "left_out": left_out,
        "claims": [
            {"variable": one.variable, "shape": one.shape, "rung": one.rung, "site": one.own.site,
             "stopped_by": one.stopped_by, "evidence": [asdict(evidence) for evidence in one.own.evidence],
             "sites": [_site(site) for site in one.sites]}
            for one in ladders
        ],
    }  # fmt: skip


def _site(one: SiteLadder) -> dict[str, Any]:
    causal = None if one.causal is None else _causal(one.causal)
    return asdict(one) | {"read": one.read._asdict(), "causal": causal}


def _causal(found: CausalEvidence) -> dict[str, Any]:
    """Everything but the curves' own tensors, as numbers and lists."""
    curve, swap = found.steering, found.interchange
    return asdict(found) | {
        "steering": None if curve is None else {
            "deltas": curve.deltas.tolist(), "response": curve.response.tolist(), "hits": curve.hits.tolist(),
            "slope": curve.slope._asdict(), "random_slopes": curve.random_slopes.tolist(),
        },
        "interchange": None if swap is None else asdict(swap) | {
            "recovered": swap.recovered._asdict(), "random": swap.random.tolist(),
        },
    }  # fmt: skip
