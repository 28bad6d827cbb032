"""A report of interventions as records, for ``ledger.json`` and ``intervene.json``."""

from dataclasses import asdict
from typing import Any

from arithprobe.analysis.intervene.run import InterventionReport
from arithprobe.interventions.ablation import AblationEffect
from arithprobe.interventions.ledger_row import LedgerRow
from arithprobe.models.fidelity import fidelity_record
from arithprobe.probes.wanted import recorded


def ledger_records(report: InterventionReport) -> list[dict[str, Any]]:
    """One record per row, with every random draw."""
    return [_row(row) for row in report.ledger]


def record_of(report: InterventionReport) -> dict[str, Any]:
    """All other results, behaviour first."""
    patching = report.patching
    return {
        "checkpoint": report.checkpoint,
        "weights": report.weights,
        "data": report.data,
        "fit_rows": report.fit_rows,
        "rows": report.rows,
        "behaviour": asdict(report.behaviour),
        "options": recorded(report.options),
        "notebook_removal": None if report.notebook is None else asdict(report.notebook),
        "patching": None if patching is None else asdict(patching),
        "interchange": [{"site": site, "variable": name} | asdict(one) for site, name, one in report.variables],
        "symmetry": [asdict(one) for one in report.symmetry],
        "left_out": report.left_out,
        "costs": report.costs,
    } | fidelity_record(report.fidelity)


def _row(row: LedgerRow) -> dict[str, Any]:
    names = (
        "site",
        "position",
        "subspace",
        "target",
        "rank",
        "best_position",
        "held_out_r2",
        "mlp_r2",
        "refit_mse",
        "refit_delta_mse",
        "refit_r2",
        "residual_r2_linear",
        "residual_r2_mlp",
        "steering_slope",
        "near_tautological",
    )
    return {name: getattr(row, name) for name in names} | {
        "effects": {effect.kind: _effect(effect) for effect in row.effects},
        "steering": None if row.steering is None else asdict(row.steering),
        "interchange": None if row.interchange is None else asdict(row.interchange),
    }


def _effect(effect: AblationEffect) -> dict[str, Any]:
    found = asdict(effect)
    families = found.pop("families")
    return found | {"random": {family.pop("name"): family for family in families}}
