"""A report of heads as records, for ``head_stats.json``."""

from dataclasses import asdict
from typing import Any

from arithprobe.analysis.heads.run import Causal, HeadReport
from arithprobe.attention.heads import HeadStatistics
from arithprobe.attention.records import Records, head_records, notebook_records, uniform_record
from arithprobe.models.fidelity import fidelity_record

_BY_ROLE = ("role_mass", "uniform_role_mass", "role_entropy", "uniform_role_entropy", "role_norm", "uniform_role_norm")


def record_of(report: HeadReport) -> dict[str, Any]:
    """Return all results of a report, behaviour first; ``per_head`` has the notebook's names."""
    causal, statistics = report.causal, report.statistics
    heads = head_records(statistics, report.copying)
    if causal is not None:
        _add_effects(heads, causal)
    return {
        "checkpoint": report.checkpoint,
        "weights": report.weights,
        "data": report.data,
        "rows": report.rows,
        "behaviour": asdict(report.behaviour),
        "options": asdict(report.options),
        "per_head": notebook_records(statistics.mass),
        "heads": heads,
        "uniform": uniform_record(statistics),
        "untrained": [head_records(one.statistics, one.copying) for one in report.untrained],
        "by_role": _by_role(statistics),
        "causal": None if causal is None else _causal(causal),
        "samples": [{"row": one.row, "problem": one.text} for one in report.samples],
        "left_out": report.left_out,
    } | fidelity_record(report.fidelity)


def _add_effects(heads: Records, causal: Causal) -> None:
    """What the answers lose without each head, what it brings, and what it writes by itself."""
    direct = causal.direct.of_heads(len(heads), len(heads[0]))
    for layer, line in enumerate(heads):
        for head, record in enumerate(line):
            for name in ("delta_rmse", "delta_loss", "skill_lost"):
                record[name] = {one.kind: float(getattr(one, name)[layer, head]) for one in causal.ablations}
            record["p"] = float(causal.main.p[layer, head])
            for name in ("recovered", "loss_recovered"):
                own = None if causal.patching is None else float(getattr(causal.patching, name)[layer, head])
                record[name] = own
            record["direct_share"] = float(direct[layer, head])


def _by_role(statistics: HeadStatistics) -> dict[str, Any]:
    """The matrices, query first: ``role_mass[layer][head][query][key]``."""
    return {"roles": statistics.roles, "rows": statistics.rows_of} | {
        name: getattr(statistics, name) for name in _BY_ROLE
    }


def _causal(causal: Causal) -> dict[str, Any]:
    direct = causal.direct
    return {
        "rows": causal.main.n,
        "ablations": [asdict(one) for one in causal.ablations],
        "main": causal.main.kind,
        "patching": None if causal.patching is None else asdict(causal.patching),
        "direct": dict(zip(direct.parts, direct.share.tolist(), strict=True)),
        "attention_against_effect": [one._asdict() for one in causal.agreements],
    }
