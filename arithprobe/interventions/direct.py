r"""Direct contributions: the output as a sum of what each part of the model wrote to the last token's stream.

What a head, an MLP or the embedding writes goes on through the residual stream, and each LayerNorm on the way (with
pre-norm only the last) scales it. With the scales of the run itself held fixed a LayerNorm is linear, :math:`\gamma (u
- \bar u) / \sigma + \beta`, so the output is exactly the sum of the contributions (*direct logit attribution*; of a
model that answers a number, of that number). They say what a part writes for the readout directly, not what later parts
make of it: a head can matter through an MLP and write nothing to the readout itself.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arithprobe.interventions.workbench import Workbench


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
def direct_contributions(bench: Workbench) -> DirectContributions:
    """Take the outputs of the unedited pass apart."""
    model = bench.model
    last = torch.arange(len(bench)), bench.lengths - 1

    def at_last(site: str) -> Tensor:
        return bench.states[site][last].double()

    parts = {"embed": at_last("embed"), "biases": torch.zeros_like(at_last("embed"))}
    for layer, block in enumerate(model.enc.blocks):
        attention = block.self_attn
        z = at_last(f"z.{layer}").view(len(bench), attention.n_heads, -1)
        written = torch.einsum("nhe,hde->hnd", z, attention.out_by_head.double())
        parts |= {f"z.{layer}.{head}": one for head, one in enumerate(written)}
        parts["biases"] = parts["biases"] + attention.out_proj.bias.double()
        parts = parts if block.pre_norm else _through(block.norm1, parts)
        parts[f"mlp_out.{layer}"] = at_last(f"mlp_out.{layer}")
        parts = parts if block.pre_norm else _through(block.norm2, parts)
    parts = _through(model.ln, parts)
    weight, bias = model.readout.weight.double(), model.readout.bias.double()
    if bench.objective.only_differences:  # what is common to all outputs changes no answer
        weight, bias = weight - weight.mean(dim=0), bias - bias.mean()
    outputs = {name: part @ weight.T for name, part in parts.items()}
    outputs["biases"] = outputs["biases"] + bias
    return DirectContributions(tuple(outputs), torch.stack(list(outputs.values())).cpu())


def _through(norm: nn.LayerNorm | nn.Identity, parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """The (N, D) parts of a stream after a LayerNorm whose scale is that of their sum; or after none."""
    if isinstance(norm, nn.Identity):
        return parts
    stream = torch.stack(list(parts.values())).sum(dim=0)
    scale = (stream.var(dim=-1, correction=0, keepdim=True) + norm.eps).sqrt()
    found = {
        name: (part - part.mean(dim=-1, keepdim=True)) / scale * norm.weight.double() for name, part in parts.items()
    }
    found["biases"] = found["biases"] + norm.bias.double()
    return found
