"""Ridge probes of any states: from tensors to held-out scores with null and interval."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from arithprobe.analysis.progress import Progress, ProgressOption
from arithprobe.analysis.states.given import BY_VALUE, GIVEN, StateRows, batch_of, labels_of, sites_of, targets_of
from arithprobe.errors import ArithprobeError, require_at_least, several
from arithprobe.limits import require_memory, require_within
from arithprobe.logic import FEWEST_DRAWS
from arithprobe.probes.moments import ALPHAS, penalties
from arithprobe.probes.scores import CellScores
from arithprobe.probes.survey import RidgeSurvey, Split, Target
from arithprobe.problems.positions import PositionTable
from arithprobe.said.content import Said
from arithprobe.said.notebook import Score, Spoken

_BATCH = 4096
_HERE = "last"  # the one position, as scores of one cell are asked for by default


@dataclass(frozen=True, repr=False)
class StatesReport(Spoken):
    """The results of ridge probes of states."""

    rows: int
    """N rows of states."""
    group: str
    """What rows were held out by: the ``groups`` given, or the ``value`` of each target."""
    folds: int
    """Folds of groups, each held out in turn."""
    permutations: int
    """Label permutations of the null."""
    seed: int
    """Their seed."""
    alphas: tuple[float, ...]
    """Ridge penalties to choose from."""
    ridge: tuple[CellScores, ...]
    """Scores of each target, at all sites."""

    def __repr__(self) -> str:
        from arithprobe.analysis.states.said import lines_of

        title, *rest = super().__repr__().splitlines()
        return "\n".join([title, *lines_of(self), *rest])

    @property
    def said(self) -> Said:
        """The findings: the scores beside their null."""
        from arithprobe.analysis.states.said import said_of

        return said_of(self)

    def scores(self) -> Iterator[Score]:
        """The held-out R2 of each target and site, and the R2 on the rows that the probes were fitted on."""
        for one in self.ridge:
            for cell in one.cells():
                place = (str(cell["site"]), "", one.target)
                yield Score(*place, "r2", *(float(cell[key]) for key in ("r2", "low", "high", "null_high", "n_test")))
                yield Score(*place, "p", float(cell["p"]), n=float(cell["n_test"]))
                yield Score(*place, "r2_in_sample", float(cell["r2_in_sample"]), n=float(cell["n_train"]))


def probe_states(
    states: object,
    targets: object,
    groups: object = None,
    *,
    alphas: float | Sequence[float] = ALPHAS,
    folds: int = 5,
    permutations: int = FEWEST_DRAWS,
    seed: int = 0,
    progress: ProgressOption = None,
) -> StatesReport:
    """Fit ridge probes to any states: held-out R2 with its 95 % interval, and a permutation null.

    The probes are those of ``arithprobe probe``: they use float64, choose the penalty on the training rows, hold out
    each fold in turn, and permute labels between groups for the null. States are read in batches, without gradients.

    **Which rows are held out together** decides what a score means. Rows of one group share what a probe could
    memorise, so a group is never in both parts of a split. Without ``groups``, a group is the rows of equal target
    value, separately for each target: no probe is scored on a value that it was fitted on. Give ``groups`` if rows
    share more than that: the same problem asked twice, tokens of one text, frames of one film. ``range(n)`` holds out
    each row on its own: this is right if rows are independent, and a leak if they are not. A target with few values,
    such as 0 and 1, has too few of them for groups, and needs ``groups``.

    >>> generator = torch.Generator().manual_seed(0)
    >>> states, targets = torch.randn(400, 8, generator=generator), torch.arange(400) % 40
    >>> states[:, 0] += targets
    >>> found = probe_states({"planted": states, "noise": states[:, 1:]}, {"place": targets})
    >>> [found.ridge[0].at(site)["r2"] > 0.9 for site in ("planted", "noise")]
    [True, False]

    Args:
        states: (n, d) or (n, sites, d) states, or a mapping from the name of a site to (n, d) states, where d may
            differ: tensors of any type on any device, or arrays.
        targets: (n,) numbers; or several by name, as a mapping or a data frame.
        groups: (n,) numbers or words; rows of one group are held out together. By default the value of each target.
        alphas: Ridge penalties to choose from by generalised cross-validation, of states of unit variance in each
            dimension.
        folds: Folds of groups, each held out in turn.
        permutations: Label permutations of the null, at least 19; p is at least ``1 / (1 + permutations)``.
        seed: Seed of the permutations.
        progress: True shows the steps as they start; a function is called with the name of each.

    Returns:
        The scores: ``ridge`` holds them by target, and ``to_frame()`` returns a data frame; a notebook shows a table
        and a picture. There is no interval with fewer than 15 groups.

    Raises:
        ArithprobeError: If shapes do not agree, a number is not finite, a target does not vary or consists of words,
            there are fewer groups than folds, or an option is out of range.
    """
    for name, value in {"folds": folds, "permutations": permutations, "seed": seed}.items():
        several(name, [value], int)
    require_at_least("", folds=(folds, 2), permutations=(permutations, FEWEST_DRAWS), seed=(seed, 0))
    require_within("", folds=folds, permutations=permutations, seed=seed)
    chosen, sites = penalties("alphas", alphas), sites_of(states)
    n = len(next(iter(sites.values())))
    columns = targets_of(targets, n)
    split = Split(GIVEN if groups is not None else BY_VALUE, folds, None, permutations, seed, chosen)
    parts = _by_labels(columns, groups, n, folds)
    widest = max(one.shape[1] for one in sites.values())
    require_memory(f"states: to probe {widest} dimensions", 8.0 * folds * widest * (widest + 1) * len(parts))
    counter = Progress.by_name(progress)
    counter.expect(len(sites))
    found = [
        [scores for labels, some in parts for scores in _probed(name, sites[name], labels, some, split)]
        for name in counter.over(sites, str)
    ]
    by_target = {one.target: one for one in map(_joined, zip(*found, strict=True))}
    ridge = tuple(by_target[name] for name in columns)
    return StatesReport(n, split.group, folds, permutations, seed, chosen, ridge)


def _by_labels(
    columns: Mapping[str, Tensor], groups: object, n: int, folds: int
) -> list[tuple[StateRows, dict[str, Tensor]]]:
    """Targets that are held out by the same labels; two targets of the same values are."""
    if groups is not None:
        return [(StateRows(labels_of(groups, n, folds)), dict(columns))]
    return [
        (StateRows(labels_of(values, n, folds, f"target {name!r}")), {name: values}) for name, values in columns.items()
    ]


def _probed(
    site: str, states: Tensor, rows: StateRows, columns: Mapping[str, Tensor], split: Split
) -> list[CellScores]:
    """Scores of some targets at one site."""
    n = len(states)
    here = PositionTable((_HERE,), torch.zeros(n, 1, dtype=torch.int64), torch.ones(n, 1, dtype=torch.bool))
    targets = [Target(name, values[:, None]) for name, values in columns.items()]
    survey = RidgeSurvey(rows, [site], here, targets, split, states.shape[1])
    for start in range(0, n, _BATCH):
        part = slice(start, min(start + _BATCH, n))
        try:
            survey.update({site: batch_of(states, part)}, torch.arange(part.start, part.stop))
        except ArithprobeError as error:
            raise ArithprobeError(f"states {site!r}: {error}") from None
    return survey.scores("ridge")[0]


def _joined(parts: Sequence[CellScores]) -> CellScores:
    """One target at several sites, from its scores at each."""
    joined: dict[str, Any] = {"sites": tuple(site for one in parts for site in one.sites)}
    for name in (field.name for field in fields(CellScores)):
        if isinstance(getattr(parts[0], name), Tensor):
            joined[name] = torch.cat([getattr(one, name) for one in parts])
    return replace(parts[0], **joined)
