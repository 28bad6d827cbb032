"""Test whether the answer stays the same under ``(x + d, y - d)``, which leaves ``x + y`` the same.

The original notebook formatted the shifted problems of all rows and compared the answers with the right one. So its
curve includes negative numbers, with a sign that the model never saw, numbers beyond the largest of the data, and
prompts of another length. Here that curve is shown beside a curve of the problems that stay in range and keep their
layout, with the error of the same problems before the shift, and beside the distance of the two answers as a share of
that between unrelated problems. :mod:`arithprobe.interventions.symmetry` tests more changes, and the hidden states.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from arithprobe.analysis.forward import check_rows
from arithprobe.behaviour import difference
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.rewriting import rewritten
from arithprobe.errors import ArithprobeError, several
from arithprobe.interventions.invariance import Invariance
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.said.content import Said
from arithprobe.said.notebook import Score, Spoken
from arithprobe.tokenizer import encode_column

SHIFTS = (-5, -2, -1, 0, 1, 2, 5)
"""Values of d, 0 being the problem itself."""
FEWEST = 10
"""Problems kept, without which nothing is said of them."""
_ROUNDING = 1e-6  # of the largest answer: a model whose answers differ less answers everything alike


@dataclass(frozen=True)
class _Shifted:
    """What one shift did; fields as those of :class:`Invariance`."""

    mse: float
    out_of_range: int
    changed_length: int
    kept: int
    kept_mse: float
    kept_own_mse: float
    index: float


@dataclass(frozen=True, repr=False)
class InvarianceCurve(Spoken, Invariance):
    """The invariance curve with its findings."""

    @property
    def said(self) -> Said:
        """The findings: a picture, and the table behind it."""
        from arithprobe.analysis.invariance_said import said_of

        return said_of(self)

    def scores(self) -> Iterator[Score]:
        """The scores by shift: the errors of all and of kept rows, and the share of the distance of unrelated ones."""
        for at, d in enumerate(self.shifts):
            yield Score("", "", f"d = {d:+d}", "mse", float(self.mse[at]), n=self.n)
            yield Score("", "", f"d = {d:+d}", "kept_mse", float(self.kept_mse[at]), n=self.kept[at])
            yield Score("", "", f"d = {d:+d}", "index", float(self.index[at]), n=self.kept[at])


def invariance(
    loaded: LoadedModel,
    dataset: ArithmeticDataset,
    shifts: Sequence[int] = SHIFTS,
    *,
    batch_size: int = 128,
    seed: int = 0,
) -> InvarianceCurve:
    """Answer the problems shifted by each d, in one pass over the rows per shift.

    Args:
        loaded: The model.
        dataset: N problems.
        shifts: K values of d; 0 is the problem itself.
        batch_size: Problems per batch.
        seed: Seed of the pairs of unrelated problems.

    Raises:
        ArithprobeError: If there are no shifts, a shift is repeated, or the model was trained on another task.
    """
    shifts = several("shifts", shifts, int)
    if not shifts or len(set(shifts)) < len(shifts):
        raise ArithprobeError(f"shifts are {list(shifts)}; expected at least one, and each once")
    check_rows(loaded, dataset)
    circle = dataset.modulus if loaded.objective.residues else None
    own = _answers(loaded, dataset.ids, dataset.lengths, batch_size)
    unrelated = _unrelated(own, circle, seed)
    scale = unrelated if unrelated > _ROUNDING * float(own.abs().max()) else math.nan
    found = [_shifted(loaded, dataset, d, own, scale, batch_size) for d in shifts]
    every = torch.cat([dataset.x, dataset.y])
    return InvarianceCurve(
        shifts=shifts,
        n=len(dataset),
        operands=(int(every.min()), int(every.max())),
        circle=circle,
        own_mse=_mean(_squares(own, dataset.answers, circle), 1),
        mse=_column([one.mse for one in found]),
        out_of_range=tuple(one.out_of_range for one in found),
        changed_length=tuple(one.changed_length for one in found),
        kept=tuple(one.kept for one in found),
        kept_mse=_column([one.kept_mse for one in found]),
        kept_own_mse=_column([one.kept_own_mse for one in found]),
        unrelated=unrelated,
        index=_column([one.index for one in found]),
    )


def _shifted(
    loaded: LoadedModel, dataset: ArithmeticDataset, d: int, own: Tensor, unrelated: float, batch_size: int
) -> _Shifted:
    """One shift.

    Args:
        loaded: The model.
        dataset: N problems.
        d: The shift.
        own: (N,) answers to them.
        unrelated: Distance to compare with; NaN where there is none.
        batch_size: Problems a batch.
    """
    circle = dataset.modulus if loaded.objective.residues else None
    ids, lengths = _prompts(dataset, d)
    answers = own if d == 0 else _answers(loaded, ids, lengths, batch_size)
    x, y = dataset.x + d, dataset.y - d
    same_length = lengths == dataset.lengths
    kept = dataset.comparable(torch.arange(len(dataset)), x, y)
    errors, before = (_squares(one, dataset.answers, circle) for one in (answers, own))
    apart = difference(answers, own, circle).abs()
    return _Shifted(
        mse=_mean(errors, 1),
        out_of_range=int((~dataset.in_range(x, y)).sum()),
        changed_length=int((~same_length).sum()),
        kept=int(kept.sum()),
        kept_mse=_mean(errors[kept], FEWEST),
        kept_own_mse=_mean(before[kept], FEWEST),
        index=_mean(apart[kept], FEWEST) / unrelated,
    )


def _prompts(dataset: ArithmeticDataset, d: int) -> tuple[Tensor, Tensor]:
    """(N, T) ids and (N,) lengths of the shifted problems, also of those that the grammar has no words for."""
    if d == 0:
        return dataset.ids, dataset.lengths
    texts = rewritten(dataset, torch.arange(len(dataset)), dataset.x + d, dataset.y - d)
    characters = np.array(texts, dtype=np.bytes_).view(np.uint8).reshape(len(texts), -1)
    return torch.from_numpy(encode_column(characters)), torch.tensor([len(text) for text in texts])


def _answers(loaded: LoadedModel, ids: Tensor, lengths: Tensor, batch_size: int) -> Tensor:
    """(N,) float64 answers; NaN where a prompt does not fit into the position table."""
    found = torch.full((len(ids),), math.nan, dtype=torch.float64)
    with torch.no_grad():
        for rows in torch.split((lengths <= (loaded.model.max_len or lengths.max())).nonzero()[:, 0], batch_size):
            longest = int(lengths[rows].max())
            outputs = loaded.model(ids[rows, :longest].long(), lengths[rows])
            found[rows] = loaded.objective.decode(outputs).cpu()
    return found


def _unrelated(own: Tensor, circle: int | None, seed: int) -> float:
    """Mean distance of (N,) answers to those of other rows, every row with one drawn at random; NaN of one row."""
    if len(own) < 2:
        return math.nan
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(own)))
    return float(difference(own[order.roll(1)], own[order], circle).abs().mean())


def _squares(predictions: Tensor, answers: Tensor, circle: int | None) -> Tensor:
    """(N,) squared errors."""
    return difference(predictions, answers.double(), circle).square()


def _mean(values: Tensor, fewest: int) -> float:
    """The mean; NaN of fewer values."""
    return float(values.mean()) if len(values) >= fewest else math.nan


def _column(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
