"""What the stored pictures of interventions and heads say, in a sentence each, from the numbers beside them."""

from collections.abc import Iterator
from typing import Any

_Costs = list[list[float | None]]


def of_interventions(rows: list[dict[str, Any]], rest: dict[str, Any], kind: str) -> dict[str, str]:
    """A sentence for each picture of ``arithprobe intervene``, by its name.

    Args:
        rows: The ledger's rows after which more than the readout comes, at least one.
        rest: ``intervene.json``.
        kind: The ablation to speak of.
    """
    most = max(rows, key=lambda row: row["effects"][kind]["skill_lost"] or 0.0)
    effect = most["effects"][kind]
    where = f"{most['site']}@{most['position']} without {most['target']} ({most['subspace']})"
    p = [f"{name} {one['p']:.3g}" for name, one in effect["random"].items() if one["p"] is not None]
    found = {
        "decodable_against_used": f"Most is lost at {where}: {_share(effect['skill_lost'])} of the skill, where the "
        f"probe reads R2 {most['held_out_r2']:.3f}.",
        "ablation_against_random": f"The largest rise of the RMSE is {effect['delta_rmse']:+.3g}, at {where}; "
        f"p against random subspaces: {', '.join(p) or 'none to compare with'}.",
    }
    return found | dict(_moved(rows)) | dict(_swapped(rest)) | dict(_kept(rest))


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
    same = [one for one in rest["symmetry"] if one["change"] == "x + d, y - d"]
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
        "head_roles": f"L{most['layer']}H{most['head']} gives the operands most of its attention, "
        f"{most['operand_mass']:.0%}; uniform attention gives {uniform:.0%}."
    }
    causal = record["causal"]
    if causal is None:
        return found | {"head_scores": "Scores of each head, without ablation."}
    main = next(one for one in causal["ablations"] if one["kind"] == causal["main"])
    cost = costliest(main["delta_rmse"], causal["main"])
    against = causal["attention_against_effect"][0]["correlation"]
    found |= {"head_scores": cost, "head_ablation": cost}
    if against["rho"] is not None:
        found["head_effects"] = (
            f"Attention to the operands against the cost of ablation: rank correlation {against['rho']:.2f}, p = "
            f"{against['p']:.2g}, {against['n']} heads."
        )
    if causal["patching"] is not None:
        share, layer, head = largest(causal["patching"]["recovered"])
        found["head_patching"] = f"Most of the gap to another answer comes with L{layer}H{head}: {share:.0%}."
    return found


def costliest(costs: _Costs, kind: str) -> str:
    """Which head costs most."""
    cost, layer, head = largest(costs)
    return f"{kind} ablation of one head costs most for L{layer}H{head}: RMSE {cost:+.3g}."


def largest(table: _Costs) -> tuple[float, int, int]:
    """The largest entry of a table with gaps, and its place."""
    return max((value or 0.0, row, column) for row, line in enumerate(table) for column, value in enumerate(line))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
