"""Controls of probes: labels that a probe must not find, and scores without any training of the model.

:mod:`arithprobe.probes.splits` draws the permuted labels of the null, and :mod:`arithprobe.probes.fourier` the
relabelled circle. The random-init twin is a model, so the caller makes it and passes its scores.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from arithprobe.logic import CANNOT_BE_TOLD
from arithprobe.probes.scores import CellScores
from arithprobe.probes.survey import RidgeSurvey, Split, Target
from arithprobe.problems.positions import PositionTable
from arithprobe.problems.rows import Rows

UNTRAINED_MORE = "untrained reads more"
"""Where there is no share of R2 that needs no training."""
_ROWS = 10_000  # rows turned into features at a time


def control_labels(values: Tensor, kind: Tensor, seed: int) -> Tensor:
    """Draw labels of a control task: every type of row has one fixed label, drawn at random from the true labels.

    They are unrelated to what a state represents; a probe can learn them only by memorising types (Hewitt and Liang
    2019, https://arxiv.org/abs/1909.03368).

    Args:
        values: (N,) true labels.
        kind: (N,) int64 type of each row.
        seed: Seed of the draw; the global random state does not change.

    Returns:
        (N,) labels, equal for rows of one type.
    """
    kinds, index = np.unique(kind.cpu().numpy(), return_inverse=True)
    drawn = np.random.default_rng(seed).integers(len(values), size=len(kinds))
    return values[torch.from_numpy(drawn[index]).to(values.device)]


class TwinComparison(NamedTuple):
    """The scores of a trained model beside those of untrained twins; (S, P) each."""

    r2: Tensor
    """Held-out R2 of the trained model."""
    twin: Tensor
    """Mean held-out R2 of the twins."""
    twin_low: Tensor
    """Smallest of them."""
    twin_high: Tensor
    """Largest of them."""
    floor: Tensor
    """What shuffled labels stay below (95 %), at least 0; neither is read where it is not above."""
    twins: int
    """Number of untrained networks that ``twin`` is the mean over."""

    @property
    def explained(self) -> Tensor:
        """Share of the trained R2 that needs no training, ``max(twin, 0) / r2``; NaN if :meth:`why_not` says why."""
        is_share = (self.r2 > self.floor) & (self.twin <= self.r2)
        return torch.where(is_share, self.twin.clamp(min=0) / self.r2, torch.nan)

    def why_not(self, site: int, position: int) -> str:
        """The reason why a cell, given by its indices, has no share; empty if it has one."""
        r2, twin, floor = (float(one[site, position]) for one in (self.r2, self.twin, self.floor))
        if twin > max(r2, floor):
            return UNTRAINED_MORE
        if not r2 > floor:
            return f"{CANNOT_BE_TOLD}: R2 is not above 0 and shuffled labels"
        return "" if twin <= r2 else f"{CANNOT_BE_TOLD}: the R2 of an untrained network is no number"


def compare_with_twins(trained: CellScores, *twins: CellScores) -> TwinComparison:
    """Compare a score with that of untrained twins."""
    others = torch.stack([twin.r2 for twin in twins])
    mean, floor = others.mean(dim=0), trained.null_high.nan_to_num(nan=0.0).clamp(min=0.0)
    return TwinComparison(trained.r2, mean, others.amin(dim=0), others.amax(dim=0), floor, len(twins))


def surface_scores(rows: Rows, targets: Sequence[Target], split: Split) -> dict[str, list[CellScores]]:
    """Score ridge probes of the text alone, without any network.

    Args:
        rows: The data set.
        targets: The targets to probe for.
        split: How rows are held out.

    Returns:
        Scores of each target by kind of feature, see :meth:`~arithprobe.problems.rows.Rows.surface`.
    """
    found = {}
    for name, features in rows.surface().items():
        table = PositionTable(("last",), torch.zeros(len(rows), 1).long(), torch.ones(len(rows), 1).bool())
        survey = RidgeSurvey(rows, [name], table, targets, split, features.shape[1])
        for part in torch.arange(len(rows)).split(_ROWS):  # type: ignore[no-untyped-call]
            survey.update({name: features[part, None].float()}, part)
        found[name], _ = survey.scores("surface")
    return found
