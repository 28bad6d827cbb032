"""The plan of ``arithprobe intervene``: which variables to erase at which sites, before anything is computed."""

import warnings
from collections.abc import Sequence

import torch

from arithprobe.analysis.forward import check_rows, chosen_sites, fidelity_of
from arithprobe.analysis.intervene.options import InterveneOptions
from arithprobe.errors import ArithprobeError, OtherCheckpointWarning, did_you_mean
from arithprobe.interventions.bench import Bench, halves_of
from arithprobe.interventions.cell import Cell
from arithprobe.interventions.erasure import Eraser, load_eraser
from arithprobe.interventions.halves import FOLDS, HELD_OUT
from arithprobe.models.checkpoints import LoadedModel, weights_hash
from arithprobe.models.network import no_such_site
from arithprobe.probes.function_rows import rows_with
from arithprobe.probes.rare_layouts import said_of
from arithprobe.probes.variables import Variable, variable_of
from arithprobe.probes.wanted import wanted_targets
from arithprobe.problems.rows import Rows


class IntervenePlan:
    """The options, checked against model and rows.

    Args:
        loaded: The model.
        dataset: The rows.
        options: The options of the analysis.

    Raises:
        ArithprobeError: If rows, targets, sites or positions do not fit, or there are too few rows.
    """

    def __init__(self, loaded: LoadedModel, dataset: Rows, options: InterveneOptions) -> None:
        check_rows(loaded, dataset)
        asked = wanted_targets("targets", options.targets)
        dataset = rows_with(dataset, asked.functions)
        self.fidelity = fidelity_of(loaded.model, dataset)
        self.loaded, self.dataset, self.options = loaded, dataset, options
        self.sites = chosen_sites(loaded, options.sites)
        self.fit_rows, self.rows = halves_of(dataset, options.max_examples)
        self.left_out = said_of(dataset.layout[torch.cat([self.fit_rows, self.rows])])
        if min(len(self.fit_rows), len(self.rows)) < 2:
            raise ArithprobeError(
                f"{dataset.path}: {len(self.fit_rows)} rows to fit on and {len(self.rows)} to intervene on "
                f"({HELD_OUT} in {FOLDS}, by {dataset.group_of(dataset.answer)}); expected two or more of each"
            )
        self.frozen = None if options.eraser is None else self._frozen(options.eraser)
        for name in ("targets", "erasers", "positions"):
            if self.frozen is not None and tuple(getattr(options, name)) != getattr(InterveneOptions, name):
                raise ArithprobeError(f"--eraser takes the place of --{name}; leave one of them out")
        if self.frozen is not None and tuple(options.alphas) != InterveneOptions.alphas:
            raise ArithprobeError("--eraser has the penalties that it was fitted with; leave --alphas out")
        wanted = asked.names if self.frozen is None else [one.target for one in self.frozen]
        self.targets = self._targets(wanted)
        self.variables = [] if options.no_patching else self._variables()
        totals = [self.variable("sum")] if "sum" in dataset.quantities else []  # the notebook's removal needs it
        self.fitted = {one.name: one for one in (*self.targets, *self.variables, *totals)}

    @property
    def ledger_sites(self) -> tuple[str, ...]:
        """The sites of the ledger: the site of a frozen eraser, or all sites."""
        return self.sites if self.frozen is None else (self.frozen[0].site,)

    def bench(self) -> Bench:
        """Make the bench: both parts of the rows, run, with moments of all erased variables.

        Raises:
            ArithprobeError: If a state is not finite, or there is no such position.
        """
        loaded, names = self.loaded, [name for where in self.sets for name in where.split("+")]
        sites = [*self.sites, *self.ledger_sites, loaded.model.residual_sites[-1]]
        return Bench(
            loaded.model,
            loaded.objective,
            self.dataset,
            self.dataset.constant(loaded.train_mean),
            self.rows,
            self.fit_rows,
            columns={name: one.columns for name, one in self.fitted.items()},
            sites=sites,
            positions=[*names, "last", *([] if self.options.no_patching else ["all"])],
            seed=self.options.seed,
            alphas=self.options.alphas,
        )

    def erasers(self, cell: Cell, variable: str) -> list[Eraser]:
        """The erasers of a variable at a cell: the frozen ones, or those fitted there."""
        options = self.options
        return self.frozen or [cell.eraser(variable, kind, rank=options.inlp_rank) for kind in options.erasers]

    def refits(self, cell: Cell, eraser: Eraser) -> tuple[Eraser, ...]:
        """The eraser fitted without each block of the rows to fit on; none for a frozen eraser."""
        return cell.refits(eraser) if self.frozen is None else ()

    def leave_out(self, reason: str) -> None:
        """Note once that these rows do not allow something."""
        if reason not in self.left_out:
            self.left_out.append(reason)

    def variable(self, name: str) -> Variable:
        """Return a variable by name."""
        return variable_of(name, self.dataset)

    def _targets(self, wanted: Sequence[str]) -> list[Variable]:
        return [self.variable(name) for name in chosen_variables(wanted, self.dataset)]

    def _variables(self) -> list[Variable]:
        """Variables to interchange; a residue without a modulus, and what does not vary, is left out."""
        known, found = self.dataset.names, []
        usual = self.options.variables == InterveneOptions.variables
        for name in dict.fromkeys(self.options.variables):
            if name not in known and (usual or name == "residue"):
                continue
            if name not in known:
                raise ArithprobeError(
                    f"variables: no {name!r}{did_you_mean(name, known)} (variables: {', '.join(known)})"
                )
            try:
                found.append(self.variable(name))
            except ArithprobeError as error:
                self.left_out.append(str(error))
        return found

    @property
    def sets(self) -> list[str]:
        """The sets of positions of the ledger."""
        if self.frozen is None:
            return list(dict.fromkeys(self.options.positions))
        names = self.frozen[0].positions
        return ["all" if names == self.dataset.positions(["all"]).names else "+".join(names)]

    def _frozen(self, path: str) -> list[Eraser]:
        """The frozen eraser, as the list of the ledger's.

        Raises:
            ArithprobeError: If the file holds none, or one for another site or width.
        """
        eraser, model = load_eraser(path), self.loaded.model
        if eraser.site not in model.sites:
            raise no_such_site(eraser.site, model.sites)
        if eraser.left.shape[1] != (width := model.width(eraser.site)):
            raise ArithprobeError(
                f"{path}: the eraser is for states of width {eraser.left.shape[1]}; {self.loaded.path} has {width}"
            )
        if eraser.checkpoint != (own := weights_hash(model)):
            warnings.warn(
                f"{path}: the eraser was fitted on other weights ({eraser.checkpoint or 'unknown'}) than those of "
                f"{self.loaded.path} ({own}); what it takes out here may be something else",
                OtherCheckpointWarning,
                stacklevel=2,
            )
        return [eraser]


def chosen_variables(wanted: Sequence[str], rows: Rows) -> list[str]:
    """Return variables by name; ``all`` stands for the sum, if there is one, and the answer."""
    usual = [name for name in ("sum", rows.answer) if name in rows.names]
    return list(dict.fromkeys(name for one in wanted for name in (usual if one == "all" else [one])))
