"""The control task of ridge probes, from moments: whether a probe reads a representation or memorises.

Every type of row (one sum; one x for a function of x) gets a fixed label drawn at random (Hewitt and Liang 2019,
https://arxiv.org/abs/1909.03368). It can be learned only by memorising types, and only if types recur, so task and
control are both scored under a split by operand pairs, on rows whose type occurs in another fold.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.probes.controls import control_labels
from arithprobe.probes.metrics import held_out_r2
from arithprobe.probes.moments import ALPHAS
from arithprobe.probes.rare_layouts import rare_rows
from arithprobe.probes.repeated import Repeated, RepeatedColumns
from arithprobe.probes.ridge import RidgeFitter
from arithprobe.probes.splits import fold_of
from arithprobe.probes.survey import Target
from arithprobe.problems.positions import PositionTable
from arithprobe.problems.rows import Rows


class Selectivity(NamedTuple):
    """Scores of T targets at S sites x P positions, (T, S, P) each, under a split by operand pairs."""

    task: Tensor
    """Held-out R2 of the true labels."""
    control: Tensor
    """Mean held-out R2 of the control labels."""
    n: int
    """Rows whose type occurs in another fold."""

    @property
    def difference(self) -> Tensor:
        """Selectivity: task minus control, where a control below 0 counts as 0."""
        return self.task - self.control.clamp(min=0)


class SelectivitySurvey:
    """Folds states into moments for targets and their control tasks.

    Args:
        rows: The data set.
        sites: The S sites.
        positions: The P positions of every row.
        targets: The T targets.
        group: The group whose labels are the types of rows.
        d_model: Width D of the states.
        folds: Folds of operand pairs, each held out in turn.
        draws: Control tasks of each target.
        seed: Seed of the control labels.
        alphas: Ridge penalties to choose from.
    """

    def __init__(
        self,
        rows: Rows,
        sites: Sequence[str],
        positions: PositionTable,
        targets: Sequence[Target],
        group: str,
        d_model: int,
        folds: int = 5,
        draws: int = 3,
        seed: int = 0,
        alphas: Sequence[float] = ALPHAS,
    ) -> None:
        self.sites, self.positions, self.targets, self.draws = tuple(sites), positions, list(targets), draws
        types = torch.unique(rows.group(group), return_inverse=True)[1]
        self.fold = fold_of(rows.group("pair"), folds)
        counts = torch.zeros(int(types.max()) + 1, folds, dtype=torch.int64)
        counts.index_put_((types, self.fold), torch.ones_like(types), accumulate=True)
        self.known = counts[types].sum(dim=1) > counts[types, self.fold]  # (N,)
        if bool(self.known.any()):  # layouts that are rare among these rows
            self.known[self.known.clone()] = ~rare_rows(rows.layout[self.known])
        self._alphas = alphas
        parts, like = [], Repeated.of(types[:, None].double())
        for draw in range(-1, draws):  # first the true labels
            for one in targets:
                labels = one.columns if draw < 0 else control_labels(one.columns, types, seed + draw)
                spread = labels.std(dim=0)
                scaled = (labels - labels.mean(dim=0)) / torch.where(spread > 0, spread, 1.0)
                parts.append(Repeated.of(scaled, like))
        self.labels = RepeatedColumns(parts)
        widths = torch.tensor([one.table.shape[1] for one in parts])
        self._target = torch.repeat_interleave(torch.arange(len(widths)), widths)
        self.fitter = RidgeFitter(len(self.sites) * len(positions.names), d_model, self.labels.width, folds)

    def update(self, states: Mapping[str, Tensor], rows: Tensor) -> None:
        """Add a batch: states (B, T, D) by site, and (B,) row numbers."""
        rows = rows.cpu()
        cells = torch.cat([self.positions.gather(states[site], rows) for site in self.sites], dim=1)
        valid = (self.positions.valid[rows] & self.known[rows, None]).repeat(1, len(self.sites))
        self.fitter.update(cells, self.labels[rows], self.fold[rows], valid)

    def scores(self) -> Selectivity:
        """Fit and score, with penalties chosen by generalised cross-validation."""
        r2 = held_out_r2(self.fitter.score(self._alphas, paired=0), self._target).r2  # (C, T + draws T)
        shape = (len(self.sites), len(self.positions.names), 1 + self.draws, len(self.targets))
        task, control = r2.reshape(shape).permute(2, 3, 0, 1).split([1, self.draws])  # type: ignore[no-untyped-call]
        return Selectivity(task[0], control.mean(dim=0), int(self.known.sum()))
