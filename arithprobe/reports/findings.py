"""What the stored pictures of interventions and heads say, in a sentence each, from the numbers beside them."""

import math
from collections.abc import Iterator
from typing import Any

from arithprobe.attention.records import head_name

_Costs = list[list[float | None]]


def of_interventions(rows: list[dict[str, Any]], rest: dict[str, Any], kind: str) -> dict[str, str]:
    """A sentence for each picture of ``arithprobe intervene``, by its name.

    Args:
        rows: The ledger's rows after which more than the readout comes, at least one.
        rest: ``intervene.json``.
        kind: The ablation to speak of.
    """
    lost = [row for row in rows if row["effects"][kind]["skill_lost"] is not None]
    most = max(lost, key=lambda row: row["effects"][kind]["skill_lost"], default=None)
    used = "There is no skill to lose."
    if most is not None:
        share, read = most["effects"][kind]["skill_lost"], most["held_out_r2"]
        used = f"Most is lost at {_where(most)}: {share:.0%} of the skill, where the probe reads R2 {read:.3f}."
    costly = max(rows, key=lambda row: row["effects"][kind]["delta_rmse"] or 0.0)
    effect = costly["effects"][kind]
    nulls = {name: one for name, one in effect["random"].items() if one.get("is_null", False)}
    p = [f"{name} {one['p']:.3g}" for name, one in nulls.items() if one["p"] is not None]
    found = {
        "decodable_against_used": used,
        "ablation_against_random": f"The RMSE rises most at {_where(costly)}: {effect['delta_rmse'] or 0.0:+.3g}; p "
        f"against its controls: {', '.join(p) or 'cannot be told'}.",
    }
    return found | dict(_moved(rows)) | dict(_swapped(rest)) | dict(_kept(rest))


def _where(row: dict[str, Any]) -> str:
    return f"{row['site']}@{row['position']} without {row['target']} ({row['subspace']})"


def _moved(rows: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    slopes = {f"{row['target']} at {row['site']}@{row['position']}": row["steering_slope"] for row in rows}
    known = {name: slope for name, slope in slopes.items() if slope is not None}
    if known:
        near = min(known, key=lambda name: abs(known[name] - 1))
        span = f"{min(known.values()):.2f} to {max(known.values()):.2f}"
        said = f"Slopes of the answer go from {span}; arithmetic demands 1, and nearest is {near}: {known[near]:.2f}."
        yield "steering", said


def _swapped(rest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    swaps = [one for one in rest["interchange"] if one["recovered"]["fraction"] is not None]
    if swaps:
        best = max(swaps, key=lambda one: one["recovered"]["fraction"])
        share, chance = best["recovered"]["fraction"], max(best["random"], default=0.0)
        what = f"{best['variable']} swapped at {best['site']}"
        said = f"Most of the demanded shift comes with {what}: {share:.0%}, random subspaces at most {chance:.0%}."
        yield "interchange", said
    patched = rest["patching"]
    if patched is not None:
        share, site, token = largest(patched["recovered"])
        where = f"{patched['positions'][token]} at {patched['sites'][site]}"
        yield "patching", f"Most comes with {where}: {share:.0%} of the gap between two answers."


def _kept(rest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    same = [one for one in rest["symmetry"] if one["change"] == "x + d, y - d" and one["distance"] is not None]
    if same:
        worst = max(same, key=lambda one: one["distance"])
        moved = f"by at most {worst['distance']:.3g} (d = {worst['d']})"
        said = f"Under x + d, y - d the answers move {moved}; unrelated problems are {worst['unrelated']:.3g} apart."
        yield "symmetry", said


def of_heads(record: dict[str, Any]) -> dict[str, str]:
    """A sentence for each picture of ``arithprobe heads``, by its name."""
    every = [one for line in record["heads"] for one in line]
    most = max(every, key=lambda one: one["operand_mass"])
    uniform = record["uniform"]["operand_mass"]
    found = {
        "head_roles": f"{head_name(most['layer'], most['head'])} gives the operands most of its attention, "
        f"{most['operand_mass']:.0%}; uniform attention gives {uniform:.0%}."
    }
    causal = record["causal"]
    if causal is None:
        return found | {"head_scores": "Scores of each head, without ablation."}
    main = next(one for one in causal["ablations"] if one["kind"] == causal["main"])
    cost = costliest(main["delta_rmse"], causal["main"])
    found |= {"head_scores": cost, "head_ablation": cost}
    measures = [one["correlation"] for one in causal["attention_against_effect"]]
    if measures and measures[0]["rho"] is not None:
        against = measures[0]
        found["head_effects"] = (
            f"Attention to the operands against the cost of ablation: rank correlation {against['rho']:.2f}, p = "
            f"{against['p']:.2g}, {against['n']} heads."
        )
    if causal["patching"] is not None:
        share, layer, head = largest(causal["patching"]["recovered"])
        found["head_patching"] = f"Most of the gap to another answer comes with {head_name(layer, head)}: {share:.0%}."
    return found


def costliest(costs: _Costs, kind: str) -> str:
    """Which head costs most."""
    cost, layer, head = largest(costs)
    if math.isnan(cost):
        return f"{kind} ablation of the heads has no cost that can be told."
    return f"{kind} ablation of one head costs most for {head_name(layer, head)}: RMSE {cost:+.3g}."


def largest(table: _Costs) -> tuple[float, int, int]:
    """The largest entry of a table with gaps, and its place; NaN where there is none."""
    cells = [(value, row, column) for row, line in enumerate(table) for column, value in enumerate(line)]
    return max(((value, *place) for value, *place in cells if value is not None), default=(math.nan, 0, 0))  # type: ignore[return-value]
