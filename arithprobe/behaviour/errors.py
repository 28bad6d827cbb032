"""Errors of answers, summed by group of rows; batches, ranks and files add up, and verdicts are made from the sums."""

from typing import NamedTuple

import torch
from torch import Tensor


class Errors(NamedTuple):
    """Sums over the rows of each of G groups, in answer units; all are (G,) float64 except the labels.

    e is prediction - answer, b is answer - train mean, and p is prediction - train mean. If the model answers residues,
    e and b go round the circle; p never does.
    """

    group: Tensor
    """(G,) int64 label of each, once and in order."""
    n: Tensor
    """Number of rows."""
    e: Tensor
    """Sum of e."""
    e2: Tensor
    """Sum of e^2."""
    b: Tensor
    """Sum of b."""
    b2: Tensor
    """Sum of b^2."""
    p: Tensor
    """Sum of p."""
    p2: Tensor
    """Sum of p^2."""
    exact: Tensor
    """Number of rows whose rounded prediction is the answer."""
    circular: Tensor
    """Sum of the distances of prediction and answer round the circle of residues; 0 without a modulus."""
    loss: Tensor
    """Sum of the training loss, in its own units; 0 where nobody counts it."""

    @classmethod
    def summed(cls, group: Tensor, columns: Tensor) -> "Errors":
        """Sum by group the (N,) labels and (N, 10) other fields of rows, or of groups that come in several pieces."""
        labels, index = torch.unique(group, return_inverse=True)
        sums = columns.new_zeros(len(labels), columns.shape[1]).index_add_(0, index, columns)
        return cls(labels, *sums.unbind(dim=1))

    @property
    def columns(self) -> Tensor:
        """(G, 10) fields, all except the labels."""
        return torch.stack(self[1:], dim=1)

    def total(self, name: str) -> float:
        """The sum of a field over all rows."""
        return float(getattr(self, name).sum())


def difference(after: Tensor, before: Tensor | float, circle: int | None) -> Tensor:
    """``after - before``, elementwise; if ``circle`` is given, the shorter way round the circle of so many residues.

    >>> difference(torch.tensor([96.0, 3.0]), 0.0, 97)
    tensor([-1.,  3.])
    """
    change = after - before
    return change if circle is None else (change + circle / 2) % circle - circle / 2


def errors_of(
    predictions: Tensor,
    answers: Tensor,
    constant: float,
    modulus: int | None = None,
    *,
    residues: bool = False,
    loss: Tensor | float = 0.0,
) -> Tensor:
    """The (B, 10) fields of :class:`Errors` for each row, all except the label of its group.

    Args:
        predictions: (B,) float64.
        answers: (B,).
        constant: The train mean.
        modulus: The modulus of the answers, None for plain sums.
        residues: Whether the model answers residues rather than numbers.
        loss: The mean training loss of these rows.
    """
    answers = answers.to(predictions)
    circle = modulus if residues else None
    e, b, p = difference(predictions, answers, circle), difference(answers, constant, circle), predictions - constant
    exact = (predictions.round() == answers).to(e)
    around = torch.zeros_like(e) if modulus is None else difference(predictions, answers, modulus).abs()
    each = torch.zeros_like(e) + (loss.to(e) if isinstance(loss, Tensor) else loss)
    return torch.stack([torch.ones_like(e), e, e**2, b, b**2, p, p**2, exact, around, each], dim=1)
