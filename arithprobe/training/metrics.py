"""The behaviour gate as a torchmetrics Metric."""

import torch
from torch import Tensor
from torchmetrics import Metric

from arithprobe.behaviour import ErrorSums, sums_over_rows


class AnswerErrors(Metric):
    """Sums of errors in answer units, from which skill, R2, RMSE, exact match and their intervals follow.

    The states are float64 sums over rows, so batches and ranks merge exactly.

    Args:
        train_mean: The constant predictor: mean answer of the training rows.
        modulus: That of the answers, None for plain sums.
        residues: Whether the model answers residues, and not numbers.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    sums: Tensor

    def __init__(self, train_mean: float, modulus: int | None = None, *, residues: bool = False) -> None:
        super().__init__()
        self.train_mean, self.modulus, self.residues = train_mean, modulus, residues
        self.add_state("sums", torch.zeros(len(ErrorSums._fields), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, answers: Tensor, loss: Tensor | None = None) -> None:
        """Add rows.

        Args:
            predictions: (B,) float64 in answer units.
            answers: (B,) int64.
            loss: The mean training loss of these rows, if it is to be counted.
        """
        sums = sums_over_rows(predictions, answers, self.train_mean, self.modulus, residues=self.residues)
        lost = torch.zeros_like(sums[:1]) if loss is None else (loss * len(answers)).to(sums).view(1)
        self.sums = self.sums + torch.cat([sums, lost]).to(self.sums.device)

    def compute(self) -> ErrorSums:
        """The sums over all rows of all ranks."""
        return ErrorSums(*self.sums.tolist())
