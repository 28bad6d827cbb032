"""The bench that every intervention is made on.

Rows are split once, both parts are run once, and moments are folded once. ``bench.cell(site, "last")`` is where
something is taken out, swapped, moved or patched, and the network's own remaining layers say what the answers make of
it: a cell makes new states, and ``network.run_from`` runs on from them.
"""

from collections.abc import Mapping
from functools import cached_property

from arithprobe.interventions.cell import Cell
from arithprobe.interventions.halves import Halves
from arithprobe.interventions.halves import halves_of as halves_of
from arithprobe.probes.moments import Moments


class Bench(Halves):
    """A network on two parts of some rows; arguments as of :class:`~arithprobe.interventions.halves.Halves`."""

    @cached_property
    def _cells(self) -> dict[tuple[str, str], Cell]:
        return {}

    def cell(
        self, site: str, where: str, moments: Moments | None = None, null: Mapping[str, Moments] | None = None
    ) -> Cell:
        """A site and positions, edited together.

        Args:
            site: The site.
            where: ``last``, ``all`` (every role), ``plus``, ``x100+x10``.
            moments: Of the P cells, over the rows that means and covariances come from; folded here by default.
            null: The same with permuted labels, by variable, M times the columns; needs moments.

        Raises:
            ArithprobeError: If there are fewer than two rows on either side.
        """
        table = self.rows.positions(where.split("+"))
        if moments is not None:
            return Cell(self, site, where, table, moments, None, null)
        if (site, where) not in self._cells:
            self._cells[site, where] = Cell(self, site, where, table, *self.moments(site, table.names))
        return self._cells[site, where]
