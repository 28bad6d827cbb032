r"""Direct contributions: the output as the sum of what each part of the model writes to the last token's stream.

The output of a head, an MLP or the embedding passes through the residual stream, and each LayerNorm on the way (with
pre-norm only the last) scales it. If the scales of the run are held fixed, a LayerNorm is linear, :math:`\gamma (u
- \bar u) / \sigma + \beta`, so the output is exactly the sum of the contributions (*direct logit attribution*; for a
model that answers a number, attribution of that number). They show what a part writes to the readout directly, not how
later parts use it: a head can matter through an MLP and write nothing to the readout itself.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from arithprobe.interventions.part import Part
from arithprobe.models.network import require_heads


@dataclass(frozen=True)
class DirectContributions:
    """The direct contributions of C parts of the model to the output."""

    parts: tuple[str, ...]
    """``embed``, ``z.0.1`` (layer 0, head 1), ..., ``mlp_out.0``, ..., and ``biases``."""
    outputs: Tensor
    """(C, N, K) float64 contributions, in the units of the outputs; their sum over parts is the output, of an objective
    of which only differences count less the mean of each row's outputs."""

    @property
    def share(self) -> Tensor:
        """The (C,) shares ``cov(contribution, output) / var(output)``; they sum to 1. NaN for a constant output."""
        whole = self.outputs.sum(dim=0)
        spread = whole - whole.mean(dim=0)
        centred = self.outputs - self.outputs.mean(dim=1, keepdim=True)
        total = spread.square().sum()
        constant = total <= 1e-20 * whole.square().sum()
        return (centred * spread).sum(dim=(1, 2)) / torch.where(constant, torch.nan, total)

    def of_heads(self, n_layers: int, n_heads: int) -> Tensor:
        """The (L, H) shares of the heads."""
        share = dict(zip(self.parts, self.share.tolist(), strict=True))
        of_heads = [[share[f"z.{layer}.{head}"] for head in range(n_heads)] for layer in range(n_layers)]
        return torch.tensor(of_heads, dtype=torch.float64)


@torch.no_grad()
def direct_contributions(part: Part) -> DirectContributions:
    """Decompose the outputs of the unedited pass.

    Raises:
        ArithprobeError: If the network has no heads that can be taken apart.
    """
    network = require_heads(part.network, "direct contributions")
    # what is common to all outputs changes no answer of an objective of which only differences count
    only_differences = part.objective.only_differences
    outputs = network.direct_outputs(part.states, part.inputs.lengths, only_differences=only_differences)
    return DirectContributions(tuple(outputs), torch.stack(list(outputs.values())).cpu())
