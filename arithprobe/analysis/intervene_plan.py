"""What ``arithprobe intervene`` takes out where, settled before anything is computed."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.analysis.forward import check_rows, chosen_sites
from arithprobe.analysis.intervene_options import InterveneOptions
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.errors import ArithprobeError, OtherCheckpointWarning, did_you_mean
from arithprobe.interventions.erasure import Eraser, load_eraser
from arithprobe.models.checkpoints import LoadedModel, weights_hash
from arithprobe.models.hooks import no_such_site
from arithprobe.probes.positions import PositionTable, position_table
from arithprobe.probes.splits import fold_of
from arithprobe.probes.targets import target_names
from arithprobe.probes.variables import Variable, variable_of
from arithprobe.problems import Layout

_FOLDS, _HELD_OUT = 5, 2  # of sums; the first two are intervened on


class PositionSet(NamedTuple):
    """Positions edited together."""

    name: str
    """As in the ledger."""
    table: PositionTable
    """(N, P) of all rows."""
    columns: tuple[int, ...]
    """Which of all positions they are."""


def rows_by_sum(dataset: ArithmeticDataset, most: int) -> tuple[Tensor, Tensor]:
    """Row numbers to fit on and to intervene on, of ``most`` rows all over the file; no sum is in both."""
    rows = torch.linspace(0, len(dataset) - 1, min(len(dataset), most), dtype=torch.float64).round().long()
    held = fold_of((dataset.x + dataset.y)[rows], _FOLDS) < _HELD_OUT
    return rows[~held], rows[held]


class IntervenePlan:
    """The options, checked against model and rows.

    Args:
        loaded: The model.
        dataset: The rows.
        options: What was asked for.

    Raises:
        ArithprobeError: If rows, targets, sites or positions do not fit, or there are too few rows.
    """

    def __init__(self, loaded: LoadedModel, dataset: ArithmeticDataset, options: InterveneOptions) -> None:
        check_rows(loaded, dataset)
        self.loaded, self.dataset, self.options = loaded, dataset, options
        self.left_out: list[str] = []
        self.sites = chosen_sites(loaded, options.sites)
        self.fit_rows, self.rows = rows_by_sum(dataset, options.max_examples)
        if min(len(self.fit_rows), len(self.rows)) < 2:
            raise ArithprobeError(
                f"{dataset.path}: {len(self.fit_rows)} rows to fit on and {len(self.rows)} to intervene on "
                f"({_HELD_OUT} in {_FOLDS}, by sum); expected two or more of each"
            )
        self.frozen = None if options.eraser is None else self._frozen(options.eraser)
        for name in ("targets", "erasers", "positions"):
            if self.frozen is not None and tuple(getattr(options, name)) != getattr(InterveneOptions, name):
                raise ArithprobeError(f"--eraser takes the place of --{name}; leave one of them out")
        wanted = options.targets if self.frozen is None else [one.target for one in self.frozen]
        self.targets = self._targets(wanted)
        self.variables = [] if options.no_patching else self._variables()
        self.fitted = {one.name: one for one in (*self.targets, *self.variables, self.variable("sum"))}
        self.positions = self._every_position()
        self.constant = dataset.constant(loaded.train_mean)

    @property
    def ledger_sites(self) -> tuple[str, ...]:
        """The sites of the ledger: that of a frozen eraser, or all."""
        return self.sites if self.frozen is None else (self.frozen[0].site,)

    def position_set(self, name: str) -> PositionSet:
        """Positions by name (``last``, ``all``, ``plus``, ``x100+x10``), of those that everything is computed at."""
        table = position_table(name.split("+"), *self._where)
        return PositionSet(name, table, tuple(self.positions.names.index(one) for one in table.names))

    def leave_out(self, reason: str) -> None:
        """Note something that these rows do not allow, once."""
        if reason not in self.left_out:
            self.left_out.append(reason)

    def variable(self, name: str) -> Variable:
        """A variable by name."""
        return variable_of(name, self.dataset.x, self.dataset.y, self.dataset.modulus)

    def _targets(self, wanted: Sequence[str]) -> list[Variable]:
        every = ["sum"] if self.dataset.modulus is None else ["sum", "residue"]
        names = [name for one in wanted for name in (every if one == "all" else [one])]
        return [self.variable(name) for name in dict.fromkeys(names)]

    def _variables(self) -> list[Variable]:
        """Variables to interchange; a residue without a modulus, and what does not vary, is left out."""
        largest = int(torch.maximum(self.dataset.x, self.dataset.y).max())
        known, found = target_names(largest, self.dataset.modulus), []
        for name in dict.fromkeys(self.options.variables):
            if name not in known and name != "residue":
                raise ArithprobeError(
                    f"variables: no {name!r}{did_you_mean(name, known)} (variables: {', '.join(known)})"
                )
            if name == "residue" and self.dataset.modulus is None:
                continue
            try:
                found.append(self.variable(name))
            except ArithprobeError as error:
                self.left_out.append(str(error))
        return found

    @property
    def sets(self) -> list[PositionSet]:
        """The sets of positions of the ledger."""
        if self.frozen is None:
            return [self.position_set(name) for name in dict.fromkeys(self.options.positions)]
        names = self.frozen[0].positions
        every = position_table(["all"], *self._where).names
        return [self.position_set("+".join(names))._replace(name="all" if names == every else "+".join(names))]

    @property
    def _where(self) -> tuple[Tensor, Tensor, tuple[Layout, ...]]:
        return self.dataset.lengths, self.dataset.layout, self.dataset.layouts

    def _every_position(self) -> PositionTable:
        """All positions that anything is computed at."""
        own = self.options.positions if self.frozen is None else self.frozen[0].positions
        names = [name for one in own for name in one.split("+")]
        return position_table([*names, "last", *([] if self.options.no_patching else ["all"])], *self._where)

    def _frozen(self, path: str) -> list[Eraser]:
        """The frozen eraser, as the list of the ledger's.

        Raises:
            ArithprobeError: If the file holds none, or one for another site or width.
        """
        eraser, model = load_eraser(path), self.loaded.model
        if eraser.site not in model.site_modules:
            raise no_such_site(model, eraser.site)
        if eraser.left.shape[1] != model.d_model:
            raise ArithprobeError(
                f"{path}: the eraser is for states of width {eraser.left.shape[1]}; {self.loaded.path} has "
                f"{model.d_model}"
            )
        if eraser.checkpoint != (own := weights_hash(model)):
            warnings.warn(
                f"{path}: the eraser was fitted on other weights ({eraser.checkpoint or 'unknown'}) than those of "
                f"{self.loaded.path} ({own}); what it takes out here may be something else",
                OtherCheckpointWarning,
                stacklevel=2,
            )
        return [eraser]
