"""The ledger: for each site, set of positions and subspace, the probe scores and the causal effects."""

from collections.abc import Sequence

import numpy as np

from arithprobe.analysis.intervene.options import InterveneOptions
from arithprobe.interventions.cell import Cell
from arithprobe.interventions.certificate import erased_moments, linear_r2
from arithprobe.interventions.erasure import Eraser
from arithprobe.interventions.ledger_row import LedgerRow
from arithprobe.interventions.round_cell import round_cell
from arithprobe.interventions.steering_curve import SteeringCurve
from arithprobe.linalg import Array
from arithprobe.probes.moments import AlphaChoice, Moments
from arithprobe.probes.refit import refit_error
from arithprobe.problems.circles import planes_of

_FILLED = 0.2  # share of the rows that must have a position to be searched for what is left


def ledger_row(
    cell: Cell,
    eraser: Eraser,
    options: InterveneOptions,
    r2: Array,
    steering: SteeringCurve | None,
    refits: Sequence[Eraser] = (),
) -> LedgerRow:
    """Make one row of the ledger.

    Args:
        cell: The site and positions.
        eraser: The erased subspace.
        options: The kinds of ablation and the controls.
        r2: (P,) R2 of its variable.
        steering: The response to moving the variable.
        refits: The eraser without each block of the rows to fit on.
    """
    own, seed = cell.bench.columns_of(eraser.target), options.seed
    cell = round_cell(cell, planes_of(eraser.target))
    runs = {
        kind: cell.ablate(eraser, kind, options.families, options.draws, seed, refits) for kind in options.ablations
    }
    fit, held = (erased_moments(eraser, moments) for moments in (cell.fit, cell.held))
    left = linear_r2(fit.columns(own), held.columns(own), cell.bench.choice)
    best = _best(cell.held, r2)
    choice = cell.bench.choice
    before, after = _refit(cell.fit, cell.held, best, choice), _refit(fit, held, best, choice)
    variance = float(cell.held.spread[best, -1] / cell.held.n[best])
    return LedgerRow(
        site=cell.site,
        position=cell.where,
        subspace=eraser.name,
        target=eraser.target,
        rank=eraser.rank,
        best_position=cell.table.names[best],
        held_out_r2=float(r2[best]),
        mlp_r2=float("nan"),
        effects=tuple(run.effect for run in runs.values()),
        refit_mse=before,
        refit_delta_mse=after - before,
        refit_r2=1 - after / variance,
        residual_r2_linear=_most_left(cell.held, left),
        residual_r2_mlp=float("nan"),
        steering=steering,
        interchange=cell.swap(eraser, options.variable_draws, seed, runs.get("resample"), refits),
        near_tautological=cell.bench.network.only_readout_remains(cell.site),
    )


def _best(held: Moments, r2: Array) -> int:
    """The position with the highest R2, of those that most rows have: all of them, but for single digits."""
    common = held.n == held.n.max()
    return int(np.argmax(np.where(common, np.nan_to_num(r2, nan=-np.inf), -np.inf)))


def _most_left(held: Moments, r2: Array) -> float:
    """The highest R2 at any position that enough rows have."""
    known = r2[(held.n >= _FILLED * held.n.max()) & ~np.isnan(r2)]
    return float(known.max()) if len(known) else float("nan")


def _refit(fit: Moments, held: Moments, position: int, choice: AlphaChoice) -> float:
    return refit_error(fit.cell(position), held.cell(position), choice) / float(held.n[position])
