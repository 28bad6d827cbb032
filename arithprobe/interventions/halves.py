"""The shared part of a bench: rows split in two, the network run on both, and the folded moments."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from arithprobe.interventions.part import Computed, Part
from arithprobe.interventions.patching import same_layout_donors
from arithprobe.interventions.refitted import moments_without_blocks
from arithprobe.models.checkpoints import weights_hash
from arithprobe.models.network import Network
from arithprobe.models.objective import Objective
from arithprobe.probes.moments import ALPHAS, Moments, alpha_choice
from arithprobe.probes.rare_layouts import rare_rows
from arithprobe.probes.ridge import RidgeFitter
from arithprobe.probes.splits import fold_of
from arithprobe.problems.positions import PositionTable
from arithprobe.problems.rows import Rows

FOLDS, HELD_OUT = 5, 2
"""Of the groups of the answer; the first two are held out."""
_ROWS = 500  # folded into moments at a time


def halves_of(rows: Rows, most: int) -> tuple[Tensor, Tensor]:
    """Return row numbers to fit on and to hold out, of ``most`` rows all over the data; they share no answer group."""
    some = torch.linspace(0, len(rows) - 1, min(len(rows), most), dtype=torch.float64).round().long()
    held = fold_of(rows.group(rows.answer)[some], FOLDS) < HELD_OUT
    return some[~held], some[held]


class Halves:
    """A network on two parts of some rows.

    Args:
        network: The network, in evaluation mode.
        objective: The objective that decodes its outputs to answers.
        rows: The data.
        constant: The constant predictor of skill.
        held: (N,) row numbers to intervene on.
        fit: (n,) row numbers to fit on; without them, give moments to ``Bench.cell``.
        columns: (N of all rows, K) columns of each variable that may be erased.
        sites: Sites that will be used, besides the residual stream; all by default.
        positions: Positions at which moments are folded.
        folded: Sites at which moments are folded; ``sites`` by default.
        seed: Seed of the donors.
        computed: Results of the network on the held-out rows and, if given, on the rows to fit on.
        alphas: Ridge penalties of the probes, chosen by generalised cross-validation.

    Raises:
        ArithprobeError: If a part has no rows, the network is in training mode, or a state is not finite.

    Attributes:
        held: The held-out rows.
        fit: The rows to fit on, or None.
        choice: The penalties.
        usual: (N of all rows,) False if a row's layout is rare among both parts; such rows are in no moments.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        rows: Rows,
        constant: float,
        held: Tensor,
        fit: Tensor | None = None,
        *,
        columns: Mapping[str, Tensor] | None = None,
        sites: Sequence[str] | None = None,
        positions: Sequence[str] = ("last",),
        folded: Sequence[str] | None = None,
        seed: int = 0,
        computed: Sequence[Computed] = (),
        alphas: Sequence[float] = ALPHAS,
    ) -> None:
        self.network, self.rows, self.seed, self.choice = network, rows, seed, alpha_choice(alphas)
        both = held if fit is None else torch.cat([held, fit])
        self.usual = torch.ones(len(rows), dtype=torch.bool)
        self.usual[both] = ~rare_rows(rows.layout[both])
        given = [*computed, None, None]
        parts = (network, objective, rows)
        self.fit = None if fit is None else Part(*parts, fit, constant, sites, given[1])
        self.held = Part(*parts, held, constant, sites, given[0])
        self.positions = rows.positions(positions)
        self._columns = dict(columns or {})
        self._fitters: dict[int, tuple[list[str], RidgeFitter]] = {}
        self._without: tuple[tuple[str, tuple[str, ...]], list[Moments]] | None = None
        self._sites = tuple(dict.fromkeys(folded if folded is not None else sites or network.sites))
        answer = rows.answers.double()[:, None]
        self.labels = torch.cat([*self._columns.values(), answer], dim=1)  # (N, K + 1)

    @cached_property
    def donors(self) -> Tensor:
        """The (N,) held-out row that each row swaps with, of the same layout; itself if the layout is rare."""
        found = same_layout_donors(self.held, self.seed)
        return torch.where(self.usual[self.held.rows], found, torch.arange(len(found)))

    @cached_property
    def weights(self) -> str:
        """Hash of the network's weights."""
        return weights_hash(self.network)

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that may be erased."""
        return tuple(self._columns)

    def columns_of(self, variable: str) -> slice:
        """The place of a variable's columns among the labels."""
        names = list(self._columns)
        before = sum(self._columns[name].shape[1] for name in names[: names.index(variable)])
        return slice(before, before + self._columns[variable].shape[1])

    def moments(self, site: str, names: Sequence[str]) -> tuple[Moments, Moments]:
        """Moments of a site's cells at some positions, over rows to fit on and held-out rows, for all labels."""
        sites, fitter = self._folded(self.network.width(site))
        first = sites.index(site) * len(self.positions.names)
        own = [first + self.positions.names.index(name) for name in names]
        fit, held = fitter.select(own, self.labels.shape[1]).moments()
        return fit, held

    def without_blocks(self, site: str, table: PositionTable) -> list[Moments]:
        """Moments of the rows to fit on without one block of sums, for each block; none without such rows.

        Those of the most recent site and positions are kept.
        """
        if self.fit is None:
            return []
        if self._without is None or self._without[0] != (site, table.names):
            own = self.fit.at(table)
            cells, labels = self.fit.cells(site, own), self.labels[self.fit.rows]
            valid = own.valid & self.usual[self.fit.rows, None]
            found = moments_without_blocks(cells, valid, labels, self.fit.group)
            self._without = (site, table.names), found
        return self._without[1]

    def _folded(self, width: int) -> tuple[list[str], RidgeFitter]:
        """Moments of both parts at all positions, of the sites of one width."""
        if width in self._fitters:
            return self._fitters[width]
        sites = [site for site in self._sites if self.network.width(site) == width]
        fitter = RidgeFitter(len(sites) * len(self.positions.names), width, self.labels.shape[1], folds=2)
        for number, part in enumerate((self.fit, self.held)):
            if part is None:
                continue
            table = part.at(self.positions)
            for rows in torch.split(torch.arange(len(part)), _ROWS):
                some = PositionTable(table.names, table.token[rows], table.valid[rows])
                every = torch.arange(len(rows))
                states = torch.cat([some.gather(part.states[site][rows], every) for site in sites], dim=1)
                fold = torch.full((len(rows),), number)
                valid = (some.valid & self.usual[part.rows[rows], None]).repeat(1, len(sites))
                fitter.update(states, self.labels[part.rows[rows]], fold, valid)
        self._fitters[width] = sites, fitter
        return sites, fitter
