"""Probe scores of networks that only drift, read like the trained network: see :mod:`arithprobe.probes.drift`."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from arithprobe.analysis.forward import run_over
from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.models.drift import drifted
from arithprobe.models.network import Network
from arithprobe.probes.drift import DriftReadings, is_due
from arithprobe.probes.emergence import Readings
from arithprobe.probes.emergence_survey import EmergenceSurvey
from arithprobe.problems.rows import Rows


class DriftControl:
    """Reads networks that have moved as far from the beginning of a fit as the trained one, in random directions.

    Args:
        draws: The number J of networks; with 0 none is read.
        seed: The first of their seeds.

    Attributes:
        beginning: The network before its first step; None if it is unknown, and then nothing is read.
        readings: The scores by validation.
        problem: The reason why something was not read; empty if everything was.
    """

    def __init__(self, draws: int, seed: int) -> None:
        self.draws, self.seed = draws, seed
        self.beginning: Network | None = None
        self.readings: list[DriftReadings] = []
        self.problem = ""

    def is_due(self, history: Sequence[Readings], left: float) -> bool:
        """Whether to read them now: at validation 1, 2, 4, ..., and if no other fits into the remaining steps."""
        steps = [-1, *(one.step or 0 for one in history)]
        return is_due(len(history)) or (len(history) > 1 and left < steps[-1] - steps[-2])

    def is_behind(self, history: Sequence[Readings]) -> bool:
        """Whether the last validation has not been compared yet."""
        return len(history) > 0 and (not self.readings or self.readings[-1].at < len(history) - 1)

    def read(self, index: int, now: LoadedModel, rows: Rows, survey: EmergenceSurvey) -> None:
        """Read the drifted networks, moved as far from the beginning as the network is now.

        Args:
            index: The number of the validation, from 0.
            now: The network, with its objective.
            rows: The rows to run over.
            survey: A survey without permutations; its moments are overwritten.
        """
        if self.beginning is None or not self.draws:
            return
        models = (drifted(self.beginning, now.model, self.seed + number) for number in range(self.draws))
        drifts = (now._replace(path=f"drift {number}", kind="random", model=one) for number, one in enumerate(models))
        try:
            self.readings.append(DriftReadings(index, r2_of_each(drifts, rows, survey)))
        except ArithprobeError as error:
            self.problem = f"drift: {error}"


def r2_of_each(networks: Iterable[LoadedModel], rows: Rows, survey: EmergenceSurvey) -> Tensor:
    """Return the (J, V, S) R2 of V variables at S sites for J networks, one after the other.

    Args:
        networks: The networks, at least one.
        rows: The rows to run them over.
        survey: A survey without permutations; its moments are overwritten.
    """
    found = []
    for one in networks:
        survey.start()
        run_over(one, rows, [survey.update])
        found.append(survey.readings(None).r2)
    return torch.stack(found)
