"""The claims read from untrained networks, on the same rows and folds as from the network itself."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from arithprobe.analysis.forward import Observer
from arithprobe.models.network import Network
from arithprobe.probes.claims import ClaimScores, ClaimSurvey
from arithprobe.probes.selective import Untrained, beside_untrained
from arithprobe.problems.rows import Rows

ROWS, ROWS_A_DIMENSION = 1000, 8
"""Rows that the networks are compared on, at most: so many, or so many for each dimension of the states. How much
networks differ in what is read from them shows in few rows; these are evenly spread over the file."""
TABLE_TWINS = 3
"""Untrained networks whose scores stand in the table of the ridge probes, in every cell; the others are read where the
claims are."""
_BATCH = 250


class ClaimsUntrained:
    """R2 of some claims, of a network and of untrained ones, on a part of the rows.

    Args:
        rows: The data set.
        d_model: Width D of the states.
        surveys: Of each claim, without controls, for the network itself.
        in_turn: The same once more, for the untrained ones.
    """

    def __init__(
        self, rows: Rows, d_model: int, surveys: Sequence[ClaimSurvey], in_turn: Sequence[ClaimSurvey]
    ) -> None:
        self._rows, self._own, self._in_turn = rows, list(surveys), list(in_turn)
        self._found: list[list[Tensor]] = [[] for _ in in_turn]
        count = min(len(rows), max(ROWS, ROWS_A_DIMENSION * d_model))
        self.chosen = torch.linspace(0, len(rows) - 1, count, dtype=torch.float64).round().long()
        self._wanted = torch.zeros(len(rows), dtype=torch.bool).index_fill_(0, self.chosen, True)

    @property
    def observers(self) -> list[Observer]:
        """What has to see the pass of the network itself over all rows: nothing where all are compared anyhow."""
        return [] if self._all_compared else [lambda states, rows: self._update(self._own, states, rows)]

    def update(self, states: Mapping[str, Tensor], rows: Tensor) -> None:
        """Add a batch of the untrained network whose turn it is: states (B, T, D) by site, and (B,) row numbers."""
        self._update(self._in_turn, states, rows)

    def read(self, network: Network) -> None:
        """Run an untrained network over the rows that are compared, and no others, and take its scores."""
        with torch.no_grad():
            for rows in self.chosen.split(_BATCH) if self._in_turn else ():  # type: ignore[no-untyped-call]
                self.update(network.run_with_cache(self._rows.inputs(rows))[1].states, rows)
        self.take()

    def take(self) -> None:
        """Take the scores of the untrained network that was seen; the next begins."""
        for found, survey in zip(self._found, self._in_turn, strict=True):
            found.append(survey.r2())
            survey.start()

    def beside(self, scores: Sequence[ClaimScores]) -> tuple[Untrained, ...]:
        """Each claim of the network beside the untrained ones.

        Args:
            scores: Of the network itself on all rows, which are taken where all are compared.
        """
        own = [one.r2 for one in scores] if self._all_compared else [survey.r2() for survey in self._own]
        return beside_untrained(own, self._found)

    @property
    def _all_compared(self) -> bool:
        return len(self.chosen) == len(self._rows)

    def _update(self, surveys: Sequence[ClaimSurvey], states: Mapping[str, Tensor], rows: Tensor) -> None:
        kept = self._wanted[rows.cpu()]
        if not bool(kept.all()):
            states, rows = {site: state[kept.to(state.device)] for site, state in states.items()}, rows[kept]
        if len(rows):
            for survey in surveys:
                survey.update(states, rows)
