"""From decodable to used: what a model loses when a subspace is taken out of its forward pass, against random ones.

Rows are split by sum: subspaces, means and probes are fitted on one part, and everything reported is measured on the
other.
"""

import time
from dataclasses import dataclass

from arithprobe.analysis.forward import Progress, chosen_options
from arithprobe.analysis.intervene.ledger import ledger_row
from arithprobe.analysis.intervene.mlp_certificate import with_mlp
from arithprobe.analysis.intervene.notebook_removal import NotebookRemoval, notebook_removal
from arithprobe.analysis.intervene.options import InterveneOptions
from arithprobe.analysis.intervene.plan import IntervenePlan
from arithprobe.behaviour import Behaviour
from arithprobe.interventions.erasure import Eraser
from arithprobe.interventions.interchange import Interchange
from arithprobe.interventions.ledger_row import LedgerRow
from arithprobe.interventions.patching import PatchingMap, patching_map
from arithprobe.interventions.round_cell import round_cell
from arithprobe.interventions.symmetry import SymmetryTest, symmetry_tests
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.models.fidelity import Fidelity
from arithprobe.problems.rows import Rows


@dataclass(frozen=True)
class InterventionReport:
    """What the interventions on a checkpoint found."""

    checkpoint: str
    """The model: path of the checkpoint, or what a model in memory is called."""
    weights: str
    """Hash of its weights."""
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


def step_count(options: InterveneOptions) -> int:
    """How often :func:`intervene` reports progress on a model of two layers, about."""
    sites = sum(6 if site == "residual" else 1 for site in options.sites)
    return 5 + sites * (len(options.positions) + (0 if options.no_patching else 1))


def intervene(
    loaded: LoadedModel, dataset: Rows, options: InterveneOptions | None = None, progress: Progress = lambda step: None
) -> InterventionReport:
    """Take subspaces out of a checkpoint's forward pass, swap and steer them, and score its own answers.

    Args:
        loaded: The model.
        dataset: The rows; best ones it was not trained on.
        options: What, where, and against which controls.
        progress: Told the name of each step as it starts.

    Raises:
        ArithprobeError: If rows, targets, sites or positions do not fit, or there are too few rows.
    """
    plan = IntervenePlan(loaded, dataset, chosen_options(InterveneOptions, options))
    options = plan.options
    progress("states")
    bench, costs = plan.bench(), []
    ledger: list[tuple[LedgerRow, Eraser]] = []
    variables: list[tuple[str, str, Interchange]] = []
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
                    ledger.append((ledger_row(cell, eraser, options, r2, steering, refits), eraser))
            costs.append(f"{site}@{where}: {time.perf_counter() - start:.1f} s")
    progress("notebook's removal")
    notebook = notebook_removal(bench) if "sum" in plan.fitted else None
    patching = None
    if not options.no_patching:
        progress("patching")
        patching = patching_map(bench.held, plan.sites, bench.held.at(dataset.positions(["all"])), bench.donors)
        for site in plan.sites:
            progress(f"interchange at {site}")
            cell = bench.cell(site, "all")
            for one in plan.variables:
                own = round_cell(cell, one.circle)
                eraser = own.eraser(one.name, "leace")
                found = own.swap(eraser, options.variable_draws, options.seed, refits=own.refits(eraser))
                if found is None and dataset.counterfactual(one.name, plan.rows[:1], plan.rows[:1]) is None:
                    plan.leave_out(f"interchange of {one.name!r}: these rows do not say what the answer would be")
                elif found is None:
                    plan.leave_out(f"interchange of {one.name!r}: no two problems whose answers would differ")
                else:
                    variables.append((site, one.name, found))
    progress("MLP probes")
    rows = [row for row, _ in ledger] if options.no_mlp else with_mlp(bench, ledger)
    progress("symmetries")
    return InterventionReport(
        checkpoint=loaded.path,
        weights=bench.weights,
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
