"""What a model is trained to output, the loss, and the way back to an answer."""

import torch
from torch import Tensor
from torch.nn import functional as F

from arithprobe.errors import ArithprobeError


class ScaledMSE:
    """Mean squared error of ``answer / scale``: the original project's objective.

    Args:
        scale: S, in answer units; 2000 in the original project.

    Raises:
        ArithprobeError: If the scale is not positive and finite.
    """

    n_outputs = 1

    def __init__(self, scale: float = 2000.0) -> None:
        if not 1e-9 <= scale <= 1e18:
            raise ArithprobeError(f"scale is {scale}; expected a positive number, 1e-9 to 1e18")
        self.scale = scale

    def loss(self, outputs: Tensor, answers: Tensor) -> Tensor:
        """Scalar mean over the batch of ``(output - answer / S) ** 2``.

        Args:
            outputs: (B, 1) model outputs.
            answers: (B,) int64.
        """
        precise = torch.promote_types(outputs.dtype, torch.float32)  # half precision would round the answers
        return F.mse_loss(outputs.squeeze(1).to(precise), answers.to(precise) / self.scale)

    def decode(self, outputs: Tensor) -> Tensor:
        """(B,) float64 predictions in answer units, from (B, 1) outputs; on the CPU where the device has no float64."""
        outputs = outputs.detach()
        if outputs.device.type == "mps":
            outputs = outputs.cpu()
        return outputs.squeeze(1).to(torch.float64) * self.scale
