"""Ridge probes of many targets at S sites x P positions: from rows to one :class:`CellScores` per target.

`RidgeProbing` runs this at every validation, and `arithprobe probe` runs it on a checkpoint.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError, several
from arithprobe.probes.interval import groups_of
from arithprobe.probes.metrics import held_out_r2
from arithprobe.probes.moments import ALPHAS, ChosenBy
from arithprobe.probes.rare_layouts import rare_rows
from arithprobe.probes.repeated import Repeated, RepeatedColumns
from arithprobe.probes.ridge import RidgeFitter
from arithprobe.probes.ridge_scores import RidgeScores, joined
from arithprobe.probes.scores import CellScores
from arithprobe.probes.splits import PermutedRows, fold_of
from arithprobe.probes.targets import target_values
from arithprobe.problems.positions import PositionTable
from arithprobe.problems.rows import Grouped, Rows

_VALUES = ("r2", "low", "high", "r2_in_sample", "skill")


class Target:
    """One thing to probe for.

    Args:
        name: Its name in tags, tables and files.
        columns: (N, k) float64 values: one column, or cosine and sine of an angle, which are scored together; or the
            same, kept by distinct values.
        has_null: Whether permuted labels are fitted too; a control needs none. Targets without a null come last.
        like: A target that may repeat in the same rows, which saves memory.
    """

    def __init__(
        self, name: str, columns: Tensor | Repeated, has_null: bool = True, like: "Target | None" = None
    ) -> None:
        self.name, self.has_null = name, has_null
        if isinstance(columns, Tensor):
            columns = Repeated.of(columns, None if like is None else like.repeated)
        self.repeated: Repeated = columns

    @property
    def columns(self) -> Tensor:
        """(N, k) float64 values."""
        return self.repeated.whole

    @property
    def width(self) -> int:
        """Number k of columns."""
        return self.repeated.table.shape[1]


def targets_by_group(names: Sequence[str], rows: Rows) -> dict[str, list[Target]]:
    """Return targets of one column each, by the group that their folds keep together."""
    groups: dict[str, list[Target]] = {}
    for name in several("targets", names):
        groups.setdefault(rows.group_of(name), []).append(Target(name, target_values(name, rows)[:, None]))
    return groups


class Split(NamedTuple):
    """The split of the rows, the number of null labels, and the penalties."""

    group: str = "sum"
    """Rows with the same value of it stay together."""
    folds: int = 5
    """Folds of groups."""
    held_out: tuple[int, ...] | None = None
    """Folds held out in turn; all of them by default."""
    permutations: int = 19
    """Label permutations P."""
    seed: int = 0
    """Seed of the permutations."""
    alphas: Sequence[float] = ALPHAS
    """Ridge penalties to choose from, for states of unit variance in each dimension."""
    choose: ChosenBy = "gcv"
    """How the best is chosen for each cell, column and split on the training rows, see :meth:`RidgeFitter.score`."""


class RidgeSurvey:
    """Folds the states of one pass into moments, then scores every target in every cell.

    Args:
        rows: The data set.
        sites: The S sites.
        positions: The P positions of every row.
        targets: The targets to probe for; all share the split.
        split: How rows are held out.
        d_model: Width D of the states.

    Raises:
        ArithprobeError: If there are fewer groups than folds, or a fold has fewer than two rows.

    Attributes:
        fitter: The moments; its ``state`` tensors are sums, to be added over ranks.
        columns: (N, K) the columns of all targets, centred and scaled, by their rows.
        fold: (N,) the fold of each row.
        valid: (N, P) True where a row has a position and counts; rows of rare layouts count nowhere.
        held_out: The folds held out in turn.
        held_out_groups: Number of groups in them.
    """

    def __init__(
        self,
        rows: Grouped,
        sites: Sequence[str],
        positions: PositionTable,
        targets: Sequence[Target],
        split: Split,
        d_model: int,
    ) -> None:
        self.rows, self.sites, self.positions = rows, tuple(sites), positions
        self.targets, self.split = list(targets), split
        group = rows.group(split.group)
        self.fold, self.held_out, blocks = folds_of(group, split, rows.path)
        self.valid = positions.valid & ~rare_rows(rows.layout)[:, None]
        self._groups = groups_of(group, self.valid)  # (P,)
        self.held_out_groups = len(torch.unique(group[torch.isin(self.fold, torch.tensor(self.held_out))]))
        means = [one.repeated.mean for one in self.targets]
        scales = [one.repeated.variance.mean().sqrt().expand(one.width) for one in self.targets]
        labels = zip((one.repeated for one in self.targets), means, scales, strict=True)
        parts = [replace(own, table=(own.table - mean) / scale) for own, mean, scale in labels]  # for better rounding
        self._mean, self._scale, self.columns = torch.cat(means), torch.cat(scales), RepeatedColumns(parts)
        self._donors = PermutedRows(group, split.permutations, split.seed)
        widths = torch.tensor([target.width for target in self.targets])
        self._target = torch.repeat_interleave(torch.arange(len(widths)), widths)  # (K,) target of each column
        self._permuted = sum(target.width for target in self.targets if target.has_null)
        self._with_null = self.columns.leading(self._permuted)
        n_labels = len(self._target) + self._permuted * split.permutations
        self._sizes = (len(self.sites) * len(positions.names), d_model, n_labels, blocks)
        self.start()

    def start(self) -> None:
        """Begin a pass with empty moments."""
        self.fitter = RidgeFitter(*self._sizes)

    def update(self, states: Mapping[str, Tensor], rows: Tensor) -> None:
        """Add a batch.

        Args:
            states: (B, T, D) by site.
            rows: (B,) row numbers.
        """
        rows = rows.cpu()
        cells = torch.cat([self.positions.gather(states[site], rows) for site in self.sites], dim=1)
        valid = self.valid[rows].repeat(1, len(self.sites))
        labels = self.columns[rows]
        if self._permuted * self.split.permutations:
            null = self._with_null[self._donors[rows].flatten()].view(len(rows), -1)  # (B, P K)
            labels = torch.cat([labels, null], dim=1)
        self.fitter.update(cells, labels, self.fold[rows], valid)

    def scores(self, analysis: str) -> tuple[list[CellScores], str]:
        """Fit and score.

        Args:
            analysis: First word of the tags.

        Returns:
            The scores, one for each target, and their cost.
        """
        raw = self.fitter.score(self.split.alphas, self.held_out, self.split.choose, paired=self._permuted)
        return self._read(analysis, raw), raw.cost

    def leading_scores(self, analysis: str, count: int) -> list[CellScores]:
        """Fit and score as :meth:`scores`, with probes that read only leading principal components of the states.

        Components are fitted on the training folds of each split. The chance score of a probe grows with its dimension
        over the rows, so models of different widths are compared at an equal dimension. These scores have no interval.

        Args:
            analysis: First word of the tags.
            count: The number of components; a narrower state is read whole.
        """
        parts = [self.fitter.leading(count, fold).score(self.split.alphas, (fold,), paired=0) for fold in self.held_out]
        return self._read(analysis, joined(parts))

    def permuted(self, target: int) -> list[int]:
        """The column numbers of a target's permuted labels in the moments, permutation by permutation."""
        own = (self._target[: self._permuted] == target).nonzero()[:, 0].tolist()
        first, step = len(self._target), self._permuted
        return [first + copy * step + column for copy in range(self.split.permutations) for column in own]

    def raw(self, columns: Tensor) -> Tensor:
        """Return (..., k) values in the targets' own units, from (..., k) values of the first k of ``columns``."""
        k = columns.shape[-1]
        return columns * self._scale[:k] + self._mean[:k]

    def raw_scale(self, column: int) -> Tensor:
        """The standard deviation of a column in its target's own units."""
        return self._scale[column]

    def _read(self, analysis: str, raw: RidgeScores) -> list[CellScores]:
        copies, count, nulls = self.split.permutations, len(self.targets), sum(one.has_null for one in self.targets)
        permuted = [count + self._target[: self._permuted] + copy * nulls for copy in range(copies)]
        shape = (len(self.sites), len(self.positions.names))
        groups = self._groups.repeat(len(self.sites))
        found = held_out_r2(raw, torch.cat([self._target, *permuted]), groups)
        null = found.skill[:, count:].reshape(*shape, copies, nulls)
        own = {
            name: getattr(found, field)[:, :count].reshape(*shape, count)
            for name, field in zip(_VALUES, ("r2", "low", "high", "in_sample", "skill"), strict=True)
        }
        k = len(self._target)
        own["edf"] = self._over_columns(raw.edf[..., :k].mean(dim=0))
        alpha, ends = raw.alpha[..., :k], sorted(self.split.alphas)
        own["alpha"] = self._over_columns(alpha.log().mean(dim=0)).exp()
        for name, end in (("alpha_at_smallest", ends[0]), ("alpha_at_largest", ends[-1])):
            own[name] = self._over_columns(((alpha == end) & (len(ends) > 1)).double().mean(dim=0))
        return [
            CellScores(
                analysis=analysis,
                target=one.name,
                group=self.split.group,
                sites=self.sites,
                positions=self.positions.names,
                null=null[..., index] if one.has_null else null.new_empty(*shape, 0),
                n_train=raw.n_train.mean(dim=0).reshape(shape),
                n_test=raw.n_test.sum(dim=0).reshape(shape),
                n_groups=groups.reshape(shape),
                **{name: values[..., index] for name, values in own.items()},
            )
            for index, one in enumerate(self.targets)
        ]

    def _over_columns(self, values: Tensor) -> Tensor:
        """(S, P, T) means over the columns of each target, of (C, K) values by cell."""
        sums = values.new_zeros(len(values), len(self.targets)).index_add_(1, self._target, values)
        return (sums / torch.bincount(self._target)).view(len(self.sites), len(self.positions.names), len(self.targets))


def folds_of(group: Tensor, split: Split, path: str) -> tuple[Tensor, tuple[int, ...], int]:
    """The block of moments of each row, the blocks held out in turn, and the number of blocks.

    Raises:
        ArithprobeError: If there are fewer groups than folds, or a fold has fewer than two rows.
    """
    folds, n_groups = split.folds, len(torch.unique(group))
    if n_groups < folds:
        raise ArithprobeError(
            f"{path} has {n_groups} different values of {split.group!r}, fewer than the {folds} folds; use fewer folds "
            "or more rows"
        )
    fold, held_out = fold_of(group, folds), split.held_out or tuple(range(folds))
    if len(held_out) == 1:  # two blocks of moments are enough: held out, or not
        fold, held_out, folds = (fold != held_out[0]).long(), (0,), 2
    sizes = torch.bincount(fold, minlength=folds)
    if int(sizes.min()) < 2:
        raise ArithprobeError(
            f"a fold of {path} has {int(sizes.min())} rows ({len(group)} rows, {split.folds} folds of "
            f"{split.group!r}); expected 2 or more: use more rows or fewer folds"
        )
    return fold, held_out, folds
