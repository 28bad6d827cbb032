"""The claims read from untrained networks, on the same rows and folds as from the network itself."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from arithprobe.analysis.forward import Observer
from arithprobe.models.network import Network
from arithprobe.probes.claims import ClaimScores, ClaimSurvey
from arithprobe.probes.selective import Untrained, beside_untrained
from arithprobe.probes.survey import RidgeSurvey, Split, Target

ROWS, ROWS_A_DIMENSION = 1000, 8
"""Rows that the networks are compared on, at most: so many, or so many for each dimension of the states. How much
networks differ in what is read from them shows in few rows; these are evenly spread over the file."""
TABLE_TWINS = 3
"""Untrained networks whose scores stand in the table of the ridge probes, in every cell; the others are read where the
claims are."""
_BATCH = 250
_Part = tuple[RidgeSurvey, list[int]]


class ClaimsUntrained:
    """R2 of some claims, of a network and of untrained ones, on a part of the rows.

    Args:
        surveys: Of each claim, for the network itself.
    """

    def __init__(self, surveys: Sequence[ClaimSurvey]) -> None:
        self._count = len(surveys)
        self._found: list[list[Tensor]] = [[] for _ in surveys]
        self._own, self._in_turn = _by_split(surveys), _by_split(surveys)
        self.chosen = self._wanted = torch.empty(0)
        if surveys:
            self._rows, width = surveys[0].rows, surveys[0].d_model
            count = min(len(self._rows), max(ROWS, ROWS_A_DIMENSION * width))
            self.chosen = torch.linspace(0, len(self._rows) - 1, count, dtype=torch.float64).round().long()
            self._wanted = torch.zeros(len(self._rows), dtype=torch.bool).index_fill_(0, self.chosen, True)

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
            for rows in self.chosen.split(_BATCH) if self._count else ():  # type: ignore[no-untyped-call]
                self.update(network.run_with_cache(self._rows.inputs(rows))[1].states, rows)
        self.take()

    def take(self) -> None:
        """Take the scores of the untrained network that was seen; the next begins."""
        for found, r2 in zip(self._found, self._read(self._in_turn), strict=True):
            found.append(r2)
        for survey, _ in self._in_turn:
            survey.start()

    def beside(self, scores: Sequence[ClaimScores]) -> tuple[Untrained, ...]:
        """Each claim of the network beside the untrained ones.

        Args:
            scores: Of the network itself on all rows, which are taken where all are compared.
        """
        return beside_untrained(
            [one.r2 for one in scores] if self._all_compared else self._read(self._own), self._found
        )

    @property
    def _all_compared(self) -> bool:
        return not self._count or len(self.chosen) == len(self._rows)

    def _update(self, surveys: Sequence[_Part], states: Mapping[str, Tensor], rows: Tensor) -> None:
        if not surveys:
            return
        kept = self._wanted[rows.cpu()]
        if not bool(kept.all()):
            sites = surveys[0][0].sites
            states, rows = {site: states[site][kept.to(states[site].device)] for site in sites}, rows[kept]
        if len(rows):
            for survey, _ in surveys:
                survey.update(states, rows)

    def _read(self, surveys: Sequence[_Part]) -> list[Tensor]:
        """(F, S) R2 of each claim."""
        found: list[list[Tensor]] = [[] for _ in range(self._count)]
        for survey, claims in surveys:
            for claim, scores in zip(claims, survey.scores("claim")[0], strict=True):
                found[claim].append(scores.r2[:, 0])
        return [torch.stack(one) for one in found]


def _by_split(surveys: Sequence[ClaimSurvey]) -> list[_Part]:
    """One survey of all claims that share their folds, and which claim each of its targets is of."""
    parts: dict[Split, list[tuple[int, Target]]] = {}
    for number, survey in enumerate(surveys):
        split = survey.split._replace(permutations=0)
        parts.setdefault(split, []).extend((number, target) for target in survey.own)
    return [
        (
            RidgeSurvey(one.rows, one.sites, one.positions, [target for _, target in found], split, one.d_model),
            [number for number, _ in found],
        )
        for split, found in parts.items()
        for one in [surveys[found[0][0]]]
    ]
