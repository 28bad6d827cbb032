"""The ledger: for each site, set of positions and subspace, what can be read there, and what the model does with it."""

import numpy as np
import torch

from arithprobe.analysis.intervene_plan import PositionSet
from arithprobe.analysis.material import Material
from arithprobe.interventions.ablation import AblationRun, Ablator
from arithprobe.interventions.certificate import erased_moments, linear_r2
from arithprobe.interventions.counterfactual import answer_per_unit
from arithprobe.interventions.directions import filter_and_pattern
from arithprobe.interventions.erasure import Eraser, fit_erasers
from arithprobe.interventions.interchange import Interchange, RowSpace, interchange, row_space_of
from arithprobe.interventions.kinds import ErasureKind
from arithprobe.interventions.ledger_row import LedgerRow
from arithprobe.interventions.steering import SteeringCurve, steer_circle, steer_line
from arithprobe.models.resume import only_head_remains
from arithprobe.probes.moments import ALPHAS, Array, Moments, alpha_choice
from arithprobe.probes.positions import PositionTable
from arithprobe.probes.refit import refit_error
from arithprobe.probes.variables import Variable

_FILLED = 0.2  # share of the rows that must have a position to be searched for what is left
_STEERABLE = 0.25  # held-out R2 below which a variable is not steered: its pattern would be mostly noise


class Cell:
    """One site and set of positions: moments, ablations, and what the rest of the model sees, shared by its rows.

    Args:
        material: States of both parts of the rows.
        site: The site.
        where: The positions.
    """

    def __init__(self, material: Material, site: str, where: PositionSet) -> None:
        self.material, self.site, self.where = material, site, where
        self.fit, self.held = material.moments(site, where)
        self.table: PositionTable = material.bench.at(where.table)
        self.ablator = Ablator(material.bench, site, self.table, self.fit, material.donors)
        self._choice = alpha_choice(ALPHAS, "gcv", 1, relative=True)
        self._row_space: RowSpace | None = None

    def row_space(self) -> RowSpace:
        """What the rest of the model sees here."""
        if self._row_space is None:
            self._row_space = row_space_of(self.material.bench, self.site, self.table)
        return self._row_space

    def eraser(self, target: str, kind: ErasureKind, rank: int | None = None) -> Eraser:
        """An eraser fitted on the rows to fit on."""
        own = self.material.columns_of(target)
        return fit_erasers(
            kind, self.fit.columns(own), target=target, site=self.site, positions=self.table.names,
            rank=rank if kind == "inlp" else None, checkpoint=self.material.weights,
        )  # fmt: skip

    def r2_of(self, target: str) -> Array:
        """(P,) R2 of ridge probes of a variable on the rows to intervene on."""
        own = self.material.columns_of(target)
        return linear_r2(self.fit.columns(own), self.held.columns(own))

    def swap(self, eraser: Eraser, draws: int, done: AblationRun | None = None) -> Interchange | None:
        """The interchange of a subspace, from a resample ablation that is done, or done here."""
        bench, donors, seed = self.material.bench, self.material.donors, self.material.plan.options.seed
        if done is None or "isotropic" not in done.random:
            done = self.ablator.effect(eraser, "resample", ["isotropic"], draws, seed)
        return interchange(bench, eraser, self.table, donors, done.outputs, done.random["isotropic"], self.row_space())

    def rows(self, erasers: list[Eraser] | None = None) -> list[tuple[LedgerRow, Eraser]]:
        """A row for each variable and eraser."""
        options = self.material.plan.options
        found = []
        for variable in self.material.plan.targets:
            r2 = self.r2_of(variable.name)
            steering = self.steering(variable, r2)
            for eraser in erasers or [self.eraser(variable.name, one, options.inlp_rank) for one in options.erasers]:
                found.append((self._row(eraser, r2, steering), eraser))
        return found

    def _row(self, eraser: Eraser, r2: Array, steering: SteeringCurve | None) -> LedgerRow:
        options, own = self.material.plan.options, self.material.columns_of(eraser.target)
        runs = {
            kind: self.ablator.effect(eraser, kind, options.families, options.draws, options.seed)
            for kind in options.ablations
        }
        fit, held = (erased_moments(eraser, part) for part in (self.fit, self.held))
        left = linear_r2(fit.columns(own), held.columns(own))
        best = self._best(r2)
        before, after = self._refit(self.fit, self.held, best), self._refit(fit, held, best)
        variance = float(self.held.spread[best, -1] / self.held.n[best])
        return LedgerRow(
            site=self.site, position=self.where.name, subspace=eraser.name, target=eraser.target, rank=eraser.rank,
            best_position=self.table.names[best], held_out_r2=float(r2[best]), mlp_r2=float("nan"),
            effects=tuple(run.effect for run in runs.values()), refit_mse=before, refit_delta_mse=after - before,
            refit_r2=1 - after / variance, residual_r2_linear=self._most_left(left),
            residual_r2_mlp=float("nan"), steering=steering,
            interchange=self.swap(eraser, options.variable_draws, runs.get("resample")),
            near_tautological=only_head_remains(self.material.bench.model, self.site),
        )  # fmt: skip

    def _best(self, r2: Array) -> int:
        """The position with the highest R2, of those that most rows have: all of them, but for single digits."""
        common = self.held.n == self.held.n.max()
        return int(np.argmax(np.where(common, np.nan_to_num(r2, nan=-np.inf), -np.inf)))

    def _most_left(self, r2: Array) -> float:
        """The highest R2 at any position that enough rows have."""
        known = r2[(self.held.n >= _FILLED * self.held.n.max()) & ~np.isnan(r2)]
        return float(known.max()) if len(known) else float("nan")

    def _refit(self, fit: Moments, held: Moments, position: int) -> float:
        return refit_error(fit.cell(position), held.cell(position), self._choice) / float(held.n[position])

    def steering(self, variable: Variable, r2: Array) -> SteeringCurve | None:
        """The response to moving the variable at every position from which it is readable, by the (P,) R2 of it."""
        bench, options, expected = self.material.bench, self.material.plan.options, answer_per_unit(variable.name)
        circle = variable.circle if variable.circle is not None and variable.circle.period == bench.modulus else None
        readable = np.flatnonzero(np.nan_to_num(r2, nan=0.0) >= _STEERABLE).tolist()
        if not readable or (expected is None and circle is None):
            return None
        fit = self.fit.columns(self.material.columns_of(variable.name))
        parts = [filter_and_pattern(fit.cell(position), self._choice) for position in readable]
        slope, intercept, pattern = (torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True))
        table = PositionTable(
            tuple(self.table.names[position] for position in readable),
            self.table.token[:, readable], self.table.valid[:, readable],
        )  # fmt: skip
        draws, seed = options.variable_draws, options.seed
        if circle is not None:
            weights, turned = (slope, intercept, pattern), (circle.period, circle.frequencies)
            return steer_circle(bench, self.site, table, variable.name, weights, *turned, draws=draws, seed=seed)
        spread, per_unit = float(variable.columns[bench.rows].std(correction=0)), float(expected or 0.0)
        line = pattern[..., 0]
        return steer_line(bench, self.site, table, variable.name, line, spread, per_unit, draws=draws, seed=seed)
