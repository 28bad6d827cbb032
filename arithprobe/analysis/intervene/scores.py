"""The scores of interventions as tidy rows."""

import math
from collections.abc import Iterator
from dataclasses import asdict

from torch import Tensor

from arithprobe.analysis.intervene.notebook_removal import NotebookRemoval
from arithprobe.analysis.intervene.run import InterventionReport
from arithprobe.interventions.ablation import AblationEffect
from arithprobe.interventions.interchange import Interchange
from arithprobe.interventions.ledger_row import LedgerRow
from arithprobe.interventions.patching import PatchingMap
from arithprobe.interventions.symmetry import SymmetryTest
from arithprobe.said.notebook import Score

_READ = ("held_out_r2", "mlp_r2", "refit_r2", "residual_r2_linear", "residual_r2_mlp")


def scores_of(found: InterventionReport) -> Iterator[Score]:
    """Return one row for each main score.

    Args:
        found: The results of the interventions.
    """
    for row in found.ledger:
        yield from _of_row(row, found.rows)
    if found.notebook is not None:
        yield from _of_notebook(found.notebook)
    if found.patching is not None:
        yield from _of_patching(found.patching)
    for site, name, swap in found.variables:
        yield _swap(site, "all", name, "interchange", swap)
    for test in found.symmetry:
        yield from _of_symmetry(test)


def _of_row(row: LedgerRow, rows: int) -> Iterator[Score]:
    where = (row.site, row.position, row.subspace)
    for name in _READ:
        yield Score(*where, name, getattr(row, name), n=rows)
    for effect in row.effects:
        yield from _of_effect(where, effect)
    if row.steering is not None:
        high = _high(row.steering.random_slopes)
        yield Score(*where, "steering_slope", *row.steering.slope, null_high=high, n=rows)
    if row.interchange is not None:
        yield _swap(*where, "swap", row.interchange)


def _of_effect(where: tuple[str, str, str], effect: AblationEffect) -> Iterator[Score]:
    null = effect.null
    for name, interval in (("delta_rmse", effect.interval), ("skill_lost", effect.lost_interval)):
        high = math.nan if null is None else _high(getattr(null, name))
        yield Score(*where, f"{effect.kind}_{name}", getattr(effect, name), *interval, high, effect.n)


def _swap(site: str, position: str, target: str, score: str, swap: Interchange) -> Score:
    return Score(site, position, target, score, *swap.recovered, null_high=_high(swap.random), n=swap.n)


def _of_notebook(removal: NotebookRemoval) -> Iterator[Score]:
    values = asdict(removal)
    n = values.pop("n")
    for name, value in values.items():
        yield Score("final", "last", "sum", f"notebook_{name}_r2", value, n=n)


def _of_patching(found: PatchingMap) -> Iterator[Score]:
    for row, site in enumerate(found.sites):
        for column, position in enumerate(found.positions):
            share, low, high = (float(one[row, column]) for one in (found.recovered, found.low, found.high))
            yield Score(site, position, "whole state", "patched", share, low, high, n=found.n[column])


def _of_symmetry(test: SymmetryTest) -> Iterator[Score]:
    target = f"{test.change}, d = {test.d}"
    yield Score("", "", target, "response", *test.response, n=test.n)
    yield Score("", "", target, "distance", test.distance, n=test.n)
    yield Score("", "", target, "unrelated_distance", test.unrelated, n=test.n)


def _high(draws: Tensor) -> float:
    """95 % quantile; NaN of none."""
    return float(draws.double().quantile(0.95)) if len(draws) else math.nan
