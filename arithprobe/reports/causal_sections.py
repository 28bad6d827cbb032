"""What the model uses: ablation, steering, heads; and the notebook's table."""

from collections.abc import Iterator
from typing import Any

from arithprobe.analysis.reproduce.columns import Protocols, by_protocol, number, shown_rows
from arithprobe.files import read_json
from arithprobe.logic import CANNOT_BE_TOLD
from arithprobe.reports.blocks import Block, Missing, Table, Words, stored_picture
from arithprobe.reports.findings import costliest, of_heads, of_interventions
from arithprobe.reports.histories import steps_made
from arithprobe.reports.probe_sections import analysis_command, foreign, pictures_of
from arithprobe.reports.run import Run

_INTERVENTIONS = (
    ("decodable_against_used", "What can be read against what is used"),
    ("ablation_against_random", "Ablation beside random subspaces"),
    ("steering", "Steering: how far the answer follows"),
    ("interchange", "Interchange between problems"),
    ("patching", "Activation patching by site and token"),
    ("symmetry", "Symmetry tests"),
)
_HEADS = (
    ("head_roles", "Attention from the last token, by role"),
    ("head_scores", "Scores of each head"),
    ("head_effects", "Attention against effect"),
    ("head_ablation", "Ablation of each head"),
    ("head_patching", "Patching of each head"),
)


def interventions(run: Run) -> list[Block]:
    """What the answers lose without what is decodable, while training and at the end."""
    blocks: list[Block] = []
    lines = run.lines["ablation"]
    targets = list(dict.fromkeys(cell["target"] for line in lines for cell in line["cells"]))
    for target in targets:
        live = stored_picture(
            run.folder / "figures", f"ablation_{target}", _live_finding(lines, target), f"Ablation of {target} by step"
        )
        blocks += [] if live is None else [live]
    if "ledger" in run.results:
        blocks += _ledger(run)
    else:
        text = "Ablation of every site against random subspaces, steering and interchange have not been measured."
        blocks.append(Missing(text, analysis_command(run, "intervene")))
    return blocks


def _live_finding(lines: list[dict[str, Any]], target: str) -> str:
    last = [line for line in lines if any(cell["target"] == target for cell in line["cells"])][-1]
    own = [cell for cell in last["cells"] if cell["target"] == target and not cell["near_tautological"]]
    if not own:
        return f"Without {target} only sites just before the readout were tried."
    most = max(own, key=lambda cell: cell["delta_rmse"] or 0.0)
    if most["delta_rmse"] is None:
        return f"What taking out {target} costs is no number: the model has diverged."
    control = most["random"].get("permuted")  # runs of before have none
    high = None if control is None else control["high"]
    beside = "" if high is None else f", fits on permuted labels at most {high:+.3g} (95 %)"
    if control is not None and high is None:
        beside = f"; whether that is more than of permuted labels {CANNOT_BE_TOLD}: {control['note']}"
    return (
        f"After {steps_made(last['step'])} steps taking out {target} costs most at {most['site']}: RMSE "
        f"{most['delta_rmse']:+.3g}{beside}."
    )


def _ledger(run: Run) -> Iterator[Block]:
    rows = [row for row in read_json(run.results["ledger"]) if not row["near_tautological"]]
    rest = read_json(run.results["intervene"]) if "intervene" in run.results else None
    kinds = [name for name in ("mean", "zero", "resample") if rows and name in rows[0]["effects"]]
    if not kinds or rest is None:
        yield Words("Nothing was ablated where more than the readout comes after.")
        return
    kind = kinds[0]
    yield from foreign(run, rest)
    said = of_interventions(rows, rest, kind)
    named = [(name, said[name], caption) for name, caption in _INTERVENTIONS if name in said]
    yield from pictures_of(run, "ledger", named)
    table = [
        (
            f"{row['site']}@{row['position']}",
            f"{row['target']}:{row['subspace']}",
            number(row["held_out_r2"]),
            number(row["effects"][kind]["delta_rmse"]),
            lost_share(row["effects"][kind]["skill_lost"]),
            p_beside(row["effects"][kind]),
            number(row["residual_r2_linear"]),
            number(row["residual_r2_mlp"]),
            number(row["steering_slope"]),
        )
        for row in rows
    ]
    header = (
        "where",
        "subspace",
        "held-out R2",
        "rise of the RMSE",
        "skill lost",
        "p against controls",
        "R2 left (ridge)",
        "R2 left (MLP)",
        "steering slope",
    )
    caption = f"{kind.capitalize()} ablation in the model's own forward pass, where more than the readout comes after"
    yield Table(caption, header, table)


def lost_share(value: float | None) -> str:
    """A share of the skill, or why there is none."""
    return f"{CANNOT_BE_TOLD}: there was no skill to lose" if value is None else f"{value:.0%}"


def p_beside(effect: dict[str, Any]) -> str:
    """The p-value against each null with the variance displaced, or why there is none; descriptions have none."""
    nulls = {name: one for name, one in effect["random"].items() if one.get("is_null", False)}
    shown = [
        f"{name} {CANNOT_BE_TOLD}: {one['note']}"
        if one["p"] is None
        else f"{name} {one['p']:.3g} (displacing {_share(effect, min(one['removed']))} to "
        f"{_share(effect, max(one['removed']))})"
        for name, one in nulls.items()
    ]
    if not nulls:
        return f"{CANNOT_BE_TOLD}: it stands beside no fit on permuted labels"
    return f"displacing {_share(effect, 1.0)}: {', '.join(shown)}"


def _share(effect: dict[str, Any], times: float) -> str:
    """What is displaced, in percent of the variance."""
    return f"{100 * effect['displaced'] * times:.2g} %"


def heads(run: Run) -> list[Block]:
    """What the attention heads look at, and what the answers lose without each."""
    blocks: list[Block] = []
    live = stored_picture(run.folder / "figures", "heads_scores", _heads_finding(run), "Heads at the last validation")
    blocks += [] if live is None else [live]
    if "head_stats" in run.results:
        record = read_json(run.results["head_stats"])
        said = of_heads(record)
        blocks += foreign(run, record)
        named = [(name, said[name], caption) for name, caption in _HEADS if name in said]
        blocks += pictures_of(run, "head_stats", named)
    else:
        own = " Of a network of one's own, analyse_heads reads those of a HeadedNetwork." if run.is_foreign else ""
        blocks.append(Missing(f"The heads have not been read in full.{own}", analysis_command(run, "heads")))
    return blocks


def _heads_finding(run: Run) -> str:
    if not run.lines["heads"]:
        return "Scores of each head."
    last = run.lines["heads"][-1]
    return costliest(last["ablation"]["delta_rmse"], last["ablation"]["kind"])


def reproduction(run: Run) -> list[Block]:
    """The notebook's numbers, with what each means."""
    if "reproduction" not in run.results:
        task = "REG-MODK" if "mod" in run.task else "REG-SUM"
        return [Missing("The notebook's own table was not made.", analysis_command(run, "reproduce", "--task", task))]
    record = read_json(run.results["reproduction"])
    columns = Protocols(*(record[part] for part in Protocols._fields))
    rows = []
    for label, keys in shown_rows(columns):
        one = by_protocol(columns, *keys)
        numbers = (one.notebook, one.held_out, one.null, one.null_high, one.twin, one.twin_held_out)
        rows.append((label, *map(number, numbers)))
    header = (
        "quantity",
        "notebook's protocol",
        "held out",
        "shuffled labels",
        "their 95 %",
        "untrained",
        "untrained, held out",
    )
    meanings = [(name, sentence) for name, sentence in record["meaning"].items()]
    return [
        *foreign(run, record),
        Words("Numbers by the notebook's protocol (in-sample, padding included) are no evidence by themselves."),
        Table(f"{record['task']}, {record['rows']} rows", header, rows),
        Table("What each means", ("quantity", "meaning"), meanings),
    ]
