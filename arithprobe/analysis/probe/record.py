"""A probe report as plain values, for ``probe.json``.

``explained_by_init``, the share of R2 that needs no training, is null if there is none, because the untrained networks
read more or R2 is negligible; ``explained_by_init_reason`` says which.
"""

from dataclasses import asdict
from typing import Any

from arithprobe.analysis.probe.initialisation import SinceInitialisation
from arithprobe.analysis.probe.run import ProbeReport
from arithprobe.models.fidelity import fidelity_record
from arithprobe.probes.circles import FourierScores, best_periods
from arithprobe.probes.decode import AngleDecoding
from arithprobe.probes.wanted import recorded


def record_of(report: ProbeReport) -> dict[str, Any]:
    """Return all results of a report, behaviour first."""
    return {
        "checkpoint": report.checkpoint,
        "weights": report.weights,
        "data": report.data,
        "rows": report.rows,
        "behaviour": asdict(report.behaviour) | {"constant": report.constant, "constant_from": report.constant_from},
        "options": recorded(report.options),
        "ridge": _ridge(report),
        "since_initialisation": None if report.since is None else _since(report.since),
        "surface": [
            {"features": kind, **cell}
            for kind, scores in report.surface.items()
            for one in scores
            for cell in one.cells()
        ],
        "fourier": None if report.circle is None else _circle(report.circle, report.circle_twin, report.decoding),
        "small_periods": [_circle(one) for one in report.small],
        "small_periods_best": [
            {
                "quantity": one.circle.quantity,
                "period": one.circle.period,
                "frequency": one.frequency,
                "r2": one.r2,
                "relabelled": one.relabelled,
                "p": one.p,
                "neighbour": one.neighbour,
                "of_period": one.of_period,
                "found": one.found,
                "other_wave": one.other_wave,
            }
            for one in best_periods(report.small, report.ridge[0].sites[-1])
        ],
        "planes": [asdict(one) for one in report.planes],
        "refit": asdict(report.refit),
        "mlp": [cell for one in report.mlp for cell in one.cells()],
        "left_out": report.left_out,
        "costs": report.costs,
    } | fidelity_record(report.fidelity)


def _ridge(report: ProbeReport) -> list[dict[str, Any]]:
    """One record a target and cell, with the untrained networks' score where there is one."""
    found = []
    twins = (*report.twins, *report.wide_twins)
    for index, scores in enumerate((*report.ridge, *report.wide)):
        cells = list(scores.cells())
        if twins:
            one = twins[index]
            places = [divmod(number, len(scores.positions)) for number in range(len(cells))]
            for cell, at in zip(cells, places, strict=True):
                cell |= {
                    "random_init_r2": float(one.twin[at]),
                    "random_init_low": float(one.twin_low[at]),
                    "random_init_high": float(one.twin_high[at]),
                    "explained_by_init": float(one.explained[at]),
                }
                cell |= {"explained_by_init_reason": reason} if (reason := one.why_not(*at)) else {}
        found += [{"group": scores.group, **cell} for cell in cells]
    return found


def _since(found: SinceInitialisation) -> dict[str, Any]:
    """One record a target and site: held-out R2, that before training, and their paired difference."""
    names = ("r2", "other", "difference", "low", "high")
    cells = [
        {
            "target": one.target,
            "site": site,
            "n": one.n,
            "groups": one.groups,
            **{("initial_r2" if name == "other" else name): float(getattr(one, name)[row]) for name in names},
        }
        for one in found.differences
        for row, site in enumerate(one.sites)
    ]
    return {"initial": found.initial._asdict(), "cells": cells}


def _circle(
    scores: FourierScores, twin: FourierScores | None = None, decoding: AngleDecoding | None = None
) -> dict[str, Any]:
    circle, last = scores.circle, scores.positions.index("last")
    sites = {}
    for row, site in enumerate(scores.sites):
        null, largest = scores.macro_null[row, last], scores.max_null[row, last]
        sites[site] = {
            "macro_r2": float(scores.macro[row, last]),
            "macro_null_high": float(null.quantile(0.95)),
            "max_null_high": float(largest.quantile(0.95)),
            "key_frequencies": scores.key_frequencies(site),
            "other_waves": scores.other_waves(site),
            "frequencies": scores.at(site),
        }
        if twin is not None:
            sites[site]["random_init_macro_r2"] = float(twin.macro[row, last])
            sites[site]["random_init_r2"] = twin.r2[:, row, last].tolist()
        if decoding is not None:
            sites[site]["decoding"] = {
                "accuracy": float(decoding.accuracy[row]),
                "low": float(decoding.low[row]),
                "high": float(decoding.high[row]),
                "circular_error": float(decoding.error[row]),
                "accuracy_by_frequency": decoding.accuracy_by_frequency[:, row].tolist(),
                "circular_error_by_frequency": decoding.error_by_frequency[:, row].tolist(),
                "chance": decoding.chance,
                "n": decoding.n,
            }
    return {"quantity": circle.quantity, "period": circle.period, "refused": scores.refused, "sites": sites}
