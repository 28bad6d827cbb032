"""The behaviour gate as a torchmetrics Metric."""

import torch
from torch import Tensor
from torchmetrics import Metric

from arithprobe.behaviour import Behaviour, Errors, errors_of, judge
from arithprobe.problems.rows import Rows, population_of

_PIECES = 256  # batches that are kept before they are summed: every sum waits for the device


class AnswerErrors(Metric):
    """Errors in answer units by group of rows; skill, R2, RMSE, exact match and their intervals follow from them.

    Its states are labels of groups and float64 sums over their rows, so batches and ranks merge exactly.

    Args:
        train_mean: The constant predictor: mean answer of the training rows.
        modulus: The modulus of the answers, None for plain sums.
        residues: Whether the model answers residues rather than numbers.
        rows: The rows that the row numbers of batches refer to, if they are known.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    group: list[Tensor]
    sums: list[Tensor]

    def __init__(
        self, train_mean: float, modulus: int | None = None, *, residues: bool = False, rows: Rows | None = None
    ) -> None:
        super().__init__()
        self.train_mean, self.modulus, self.residues, self._rows = train_mean, modulus, residues, rows
        self._labels = None if rows is None else rows.group(rows.answer).cpu()
        self.add_state("group", [], dist_reduce_fx="cat")
        self.add_state("sums", [], dist_reduce_fx="cat")
        self.group.append(torch.zeros(0, dtype=torch.int64))  # a rank without rows merges, too
        self.sums.append(torch.zeros(0, len(Errors._fields) - 1, dtype=torch.float64))

    def update(
        self, predictions: Tensor, answers: Tensor, loss: Tensor | None = None, group: Tensor | None = None
    ) -> None:
        """Add rows.

        Args:
            predictions: (B,) float64 in answer units.
            answers: (B,) int64.
            loss: The mean training loss of these rows, if it is to be counted.
            group: (B,) int64 labels of rows that may be right or wrong together; by default the answers.
        """
        options = (self.train_mean, self.modulus)
        lost = 0.0 if loss is None else loss
        columns = errors_of(predictions, answers, *options, residues=self.residues, loss=lost)
        device = self.sums[0].device
        self.sums.append(columns.to(device))
        self.group.append((answers if group is None else group).to(device))
        if len(self.sums) > _PIECES:
            errors = self._summed()
            self.group, self.sums = [errors.group], [errors.columns]

    def labels_of(self, rows: Tensor) -> Tensor | None:
        """The (B,) group labels of (B,) row numbers; None if the rows are not known."""
        return None if self._labels is None else self._labels[rows.cpu()]

    def judged(self) -> tuple[Behaviour, float]:
        """The verdict over all rows of all ranks, and their mean training loss."""
        errors: Errors = self.compute()
        n = errors.total("n")
        population = "" if self._rows is None else population_of(self._rows, round(n))
        verdict = judge(errors, self.modulus, residues=self.residues, population=population)
        return verdict, errors.total("loss") / n

    def compute(self) -> Errors:
        """The sums over all rows of all ranks."""
        return self._summed()

    def _summed(self) -> Errors:
        states: tuple[Tensor | list[Tensor], ...] = (self.group, self.sums)  # tensors once ranks are merged
        group, sums = (one if isinstance(one, Tensor) else torch.cat(one) for one in states)
        return Errors.summed(group, sums)
