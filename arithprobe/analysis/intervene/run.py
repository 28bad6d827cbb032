"""Causal ablation: the loss of a model's answers without a subspace of its forward pass, against random subspaces.

Rows are split by sum: subspaces, means and probes are fitted on one part, and all results are measured on the other.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from arithprobe.analysis.forward import chosen_options
from arithprobe.analysis.intervene.ledger import ledger_row
from arithprobe.analysis.intervene.mlp_certificate import with_mlp
from arithprobe.analysis.intervene.notebook_removal import NotebookRemoval, notebook_removal
from arithprobe.analysis.intervene.options import InterveneOptions
from arithprobe.analysis.intervene.plan import IntervenePlan
from arithprobe.analysis.progress import Progress, ProgressOption
from arithprobe.behaviour import Behaviour
from arithprobe.interventions.bench import Bench
from arithprobe.interventions.erasure import Eraser
from arithprobe.interventions.interchange import Interchange
from arithprobe.interventions.ledger_row import LedgerRow
from arithprobe.interventions.patching import PatchingMap, patching_map
from arithprobe.interventions.round_cell import round_cell
from arithprobe.interventions.symmetry import SymmetryTest, symmetry_tests
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.models.fidelity import Fidelity
from arithprobe.problems.rows import Rows
from arithprobe.said.content import Said
from arithprobe.said.notebook import Score, Spoken


@dataclass(frozen=True, repr=False)
class InterventionReport(Spoken):
    """The results of the interventions on a checkpoint."""

    checkpoint: str
    """The model: path of the checkpoint, or what a model in memory is called."""
    weights: str
    """Hash of its weights."""
    options: InterveneOptions
    """What was asked for."""
    data: str
    """The rows: path of their file, or what made them."""
    fit_rows: int
    """Rows that subspaces, means and probes were fitted on."""
    rows: int
    """Rows that everything is measured on; no sum is in both."""
    behaviour: Behaviour
    """Has the model learned the task, on these rows: what every number below stands behind."""
    ledger: tuple[LedgerRow, ...]
    """One row a site, set of positions and subspace."""
    notebook: NotebookRemoval | None
    """What the notebook's rank-1 removal leaves to a refitted readout, and to the model's own head; None of
    rows without sums."""
    patching: PatchingMap | None
    """Whole states of single cells put into another problem's run."""
    variables: tuple[tuple[str, str, Interchange], ...]
    """Site, variable and result of each interchange at all tokens."""
    symmetry: tuple[SymmetryTest, ...]
    """Responses to changes of the problems."""
    erasers: tuple[Eraser, ...]
    """The frozen erasers, row by row of the ledger."""
    left_out: tuple[str, ...]
    """What these rows do not allow, with the reason."""
    costs: tuple[str, ...]
    """What it cost, in words."""
    fidelity: Fidelity | None
    """Whether the network keeps its promises on these rows; None for this library's own, whose tests say so."""

    @property
    def said(self) -> Said:
        """The findings: the ledger, and a summary of the rest."""
        from arithprobe.analysis.intervene.said import said_of

        return said_of(self)

    def scores(self) -> Iterator[Score]:
        """The scores of reading, loss and steering by site; then single cells, swaps of quantities and symmetries."""
        from arithprobe.analysis.intervene.scores import scores_of

        return scores_of(self)


def intervene(
    loaded: LoadedModel, dataset: Rows, options: InterveneOptions | None = None, progress: ProgressOption = None
) -> InterventionReport:
    """Ablate, swap and steer subspaces in a checkpoint's forward pass, and score its own answers.

    Args:
        loaded: The model.
        dataset: The rows, preferably ones that it was not trained on.
        options: The interventions, their sites, and the controls.
        progress: True shows the steps as they start; a function is called with the name of each.

    Raises:
        ArithprobeError: If rows, targets, sites or positions do not fit, or there are too few rows.
    """
    plan = IntervenePlan(loaded, dataset, chosen_options(InterveneOptions, options))
    progress = Progress.by_name(progress)
    options, cells = plan.options, len(plan.ledger_sites) * len(plan.sets)
    progress.expect(2 + cells + ("sum" in plan.fitted) + (not options.no_mlp))
    progress.expect(0 if options.no_patching else 1 + len(plan.sites))
    progress("states")
    bench = plan.bench()
    ledger, costs = _ledger(plan, bench, progress)
    notebook = None
    if "sum" in plan.fitted:
        progress("notebook's removal")
        notebook = notebook_removal(bench)
    patching, variables = None, list[tuple[str, str, Interchange]]()
    if not options.no_patching:
        progress("patching")
        patching = patching_map(bench.held, plan.sites, bench.held.at(dataset.positions(["all"])), bench.donors)
        variables = list(_interchanges(plan, bench, progress))
    rows = [row for row, _ in ledger]
    if not options.no_mlp:
        progress("MLP probes")
        rows = with_mlp(bench, ledger)
    progress("symmetries")
    return InterventionReport(
        checkpoint=loaded.path,
        weights=bench.weights,
        options=options,
        data=dataset.path,
        fit_rows=len(plan.fit_rows),
        rows=len(plan.rows),
        behaviour=bench.held.behaviour,
        ledger=tuple(rows),
        notebook=notebook,
        patching=patching,
        variables=tuple(variables),
        symmetry=tuple(symmetry_tests(bench.held, bench.donors)),
        erasers=tuple(eraser for _, eraser in ledger),
        left_out=tuple(plan.left_out),
        costs=tuple(costs),
        fidelity=plan.fidelity,
    )


def _ledger(plan: IntervenePlan, bench: Bench, progress: Progress) -> tuple[list[tuple[LedgerRow, Eraser]], list[str]]:
    """The rows with their erasers, and what each cell cost."""
    options, found, costs = plan.options, list[tuple[LedgerRow, Eraser]](), []
    for site in plan.ledger_sites:
        for where in plan.sets:
            progress(f"{site}@{where}")
            start = time.perf_counter()
            cell = bench.cell(site, where)
            for variable in plan.targets:
                r2 = cell.r2_of(variable.name)
                steering = round_cell(cell, variable.circle).steer(variable, options.variable_draws, options.seed, r2)
                for eraser in plan.erasers(cell, variable.name):
                    refits = plan.refits(cell, eraser)
                    found.append((ledger_row(cell, eraser, options, r2, steering, refits), eraser))
            costs.append(f"{site}@{where}: {time.perf_counter() - start:.1f} s")
    return found, costs


def _interchanges(plan: IntervenePlan, bench: Bench, progress: Progress) -> Iterator[tuple[str, str, Interchange]]:
    """Site, variable and result of each interchange at all tokens; what the rows do not allow is noted in the plan."""
    options = plan.options
    for site in plan.sites:
        progress(f"interchange at {site}")
        cell = bench.cell(site, "all")
        for one in plan.variables:
            own = round_cell(cell, one.circle)
            eraser = own.eraser(one.name, "leace")
            found = own.swap(eraser, options.variable_draws, options.seed, refits=own.refits(eraser))
            if found is None and plan.dataset.counterfactual(one.name, plan.rows[:1], plan.rows[:1]) is None:
                plan.leave_out(f"interchange of {one.name!r}: these rows do not say what the answer would be")
            elif found is None:
                plan.leave_out(f"interchange of {one.name!r}: no two problems whose answers would differ")
            else:
                yield site, one.name, found
