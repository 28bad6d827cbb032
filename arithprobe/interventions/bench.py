"""The bench: the rows, states and moments that all interventions on a network share.

Rows are split once, both parts are run once, and moments are folded once. ``bench.cell(site, "last")`` ablates, swaps,
steers or patches states at one site. A cell makes new states, and ``network.run_from`` runs the network's own remaining
layers from them, so the effect is measured on the answers.
"""

from collections.abc import Mapping
from functools import cached_property

from arithprobe.interventions.cell import Cell
from arithprobe.interventions.halves import Halves
from arithprobe.interventions.halves import halves_of as halves_of
from arithprobe.probes.moments import Moments


class Bench(Halves):
    """A network on two parts of some rows; takes the arguments of :class:`~arithprobe.interventions.halves.Halves`."""

    @cached_property
    def _cells(self) -> dict[tuple[str, str], Cell]:
        return {}

    def cell(
        self, site: str, where: str, moments: Moments | None = None, null: Mapping[str, Moments] | None = None
    ) -> Cell:
        """Return the cell of a site and positions, which are edited together.

        Args:
            site: The site.
            where: ``last``, ``all`` (every role), ``plus``, ``x100+x10``.
            moments: Moments of the P cells, over the rows for means and covariances; folded here by default.
            null: The same with permuted labels, by variable, with M times the columns; needs ``moments``.

        Raises:
            ArithprobeError: If there are fewer than two rows on either side.
        """
        table = self.rows.positions(where.split("+"))
        if moments is not None:
            return Cell(self, site, where, table, moments, None, null)
        if (site, where) not in self._cells:
            self._cells[site, where] = Cell(self, site, where, table, *self.moments(site, table.names))
        return self._cells[site, where]
