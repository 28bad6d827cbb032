"""States and moments of both parts of the rows, computed once for all interventions."""

import torch
from torch import Tensor

from arithprobe.analysis.intervene_plan import IntervenePlan, PositionSet
from arithprobe.interventions.patching import same_layout_donors
from arithprobe.interventions.workbench import Workbench
from arithprobe.models.checkpoints import weights_hash
from arithprobe.probes.moments import Moments
from arithprobe.probes.positions import PositionTable
from arithprobe.probes.ridge import RidgeFitter

_ROWS = 500  # folded into moments at a time


class Material:
    """What every row of the ledger is made from.

    Args:
        plan: What is taken out where.

    Attributes:
        benches: Rows to fit on, and rows to intervene on.
        bench: The second.
        donors: (N,) the row of the bench that each row swaps with.
        weights: Hash of the model's weights.
        columns: (N, K) of all rows: the columns of all variables, and last the answer.
    """

    def __init__(self, plan: IntervenePlan) -> None:
        loaded = plan.loaded
        self.plan, self.weights = plan, weights_hash(loaded.model)
        self.benches = tuple(
            Workbench(loaded.model, loaded.objective, plan.dataset, part, plan.constant)
            for part in (plan.fit_rows, plan.rows)
        )
        self.bench = self.benches[1]
        self.donors = same_layout_donors(self.bench, plan.options.seed)
        self._variables = {name: one.columns for name, one in plan.fitted.items()}
        answer = plan.dataset.answers.double()[:, None]
        self.columns = torch.cat([*self._variables.values(), answer], dim=1)
        self._sites = tuple(dict.fromkeys([*plan.sites, *plan.ledger_sites, "final"]))
        self._fitter = self._fitted()

    def columns_of(self, target: str) -> slice:
        """Where a variable's columns are."""
        names = list(self._variables)
        before = sum(self._variables[name].shape[1] for name in names[: names.index(target)])
        return slice(before, before + self._variables[target].shape[1])

    def moments(self, site: str, where: PositionSet) -> tuple[Moments, Moments]:
        """Of the P cells, for all columns: of the rows to fit on, and of those to intervene on."""
        first = self._sites.index(site) * len(self.plan.positions.names)
        fit, held = self._fitter.select([first + column for column in where.columns], self.columns.shape[1]).moments()
        return fit, held

    def _fitted(self) -> RidgeFitter:
        plan = self.plan
        cells = len(self._sites) * len(plan.positions.names)
        fitter = RidgeFitter(cells, plan.loaded.model.d_model, self.columns.shape[1], folds=2)
        for part, bench in enumerate(self.benches):
            table = bench.at(plan.positions)
            for rows in torch.split(torch.arange(len(bench)), _ROWS):
                some = PositionTable(table.names, table.token[rows], table.valid[rows])
                every = torch.arange(len(rows))
                states: list[Tensor] = [some.gather(bench.states[site][rows], every) for site in self._sites]
                valid = some.valid.repeat(1, len(self._sites))
                fold = torch.full((len(rows),), part)
                fitter.update(torch.cat(states, dim=1), self.columns[bench.rows[rows]], fold, valid)
        return fitter
