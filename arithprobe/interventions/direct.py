r"""Direct contributions: the output as a sum of what each part of the model wrote to the last token's stream.

What a head, an MLP or the embedding writes goes on through the residual stream, and each LayerNorm on the way (with
pre-norm only the last) scales it. With the scales of the run itself held fixed a LayerNorm is linear, :math:`\gamma (u
- \bar u) / \sigma + \beta`, so the output is exactly the sum of the contributions (*direct logit attribution*; of a
model that answers a number, of that number). They say what a part writes for the readout directly, not what later parts
make of it: a head can matter through an MLP and write nothing to the readout itself.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from arithprobe.interventions.part import Part
from arithprobe.models.network import require_heads


@dataclass(frozen=True)
class DirectContributions:
    """What C parts of the model write to the output by themselves."""

    parts: tuple[str, ...]
    """``embed``, ``z.0.1`` (layer 0, head 1), ..., ``mlp_out.0``, ..., and ``biases``."""
    outputs: Tensor
    """(C, N, K) float64 contributions, in the units of the outputs; their sum over parts is the output, of an objective
    of which only differences count less the mean of each row's outputs."""

    @property
    def share(self) -> Tensor:
        """(C,) ``cov(contribution, output) / var(output)``; sums to 1, may be negative. NaN for a constant output."""
        whole = self.outputs.sum(dim=0)
        spread = whole - whole.mean(dim=0)
        centred = self.outputs - self.outputs.mean(dim=1, keepdim=True)
        total = spread.square().sum()
        constant = total <= 1e-20 * whole.square().sum()
        return (centred * spread).sum(dim=(1, 2)) / torch.where(constant, torch.nan, total)

    def of_heads(self, n_layers: int, n_heads: int) -> Tensor:
        """(L, H) shares of the heads."""
        share = dict(zip(self.parts, self.share.tolist(), strict=True))
        of_heads = [[share[f"z.{layer}.{head}"] for head in range(n_heads)] for layer in range(n_layers)]
        return torch.tensor(of_heads, dtype=torch.float64)


@torch.no_grad()
def direct_contributions(part: Part) -> DirectContributions:
    """Take the outputs of the unedited pass apart.

    Raises:
        ArithprobeError: If the network has no heads to take apart.
    """
    network = require_heads(part.network, "direct contributions")
    # what is common to all outputs changes no answer of an objective of which only differences count
    only_differences = part.objective.only_differences
    outputs = network.direct_outputs(part.states, part.inputs.lengths, only_differences=only_differences)
    return DirectContributions(tuple(outputs), torch.stack(list(outputs.values())).cpu())
