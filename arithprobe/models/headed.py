r"""The parts of attention heads: what they attend to, what they could add, and what they write to the output.

*Direct contributions*: the output of a head, an MLP or the embedding passes through the residual stream, and each
LayerNorm on the way (with pre-norm only the last) scales it. If the scales of the run are held fixed, a LayerNorm is
linear, :math:`\gamma (u - \bar u) / \sigma + \beta`, so the output is exactly the sum of the contributions (*direct
logit attribution*; for a model that answers a number, attribution of that number).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from arithprobe.models.blocks import Encoder


def head_name(layer: int, head: int) -> str:
    """The name of a head in tables and figures.

    >>> head_name(0, 2)
    'L0H2'
    """
    return f"L{layer}H{head}"


def head_names(layers: int, heads: int) -> list[str]:
    """The names of all heads, layer by layer."""
    return [head_name(layer, head) for layer in range(layers) for head in range(heads)]


class HeadedEncoder(nn.Module):
    """The part of a transformer that takes its heads apart; it implements what ``HeadedNetwork`` adds.

    Attributes:
        enc: The blocks.
        ln: The last LayerNorm.
        readout: The linear readout.
    """

    enc: Encoder
    ln: nn.LayerNorm
    readout: nn.Linear

    @property
    def n_heads(self) -> int:
        """Heads H of each layer."""
        return self.enc.blocks[0].self_attn.n_heads

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self.enc.layers)

    @property
    def layer_inputs(self) -> tuple[str, ...]:
        """The site that each layer reads, from the embedding on."""
        return ("embed", *(f"resid_post.{layer}" for layer in range(self.n_layers - 1)))

    def last_norm(self, state: Tensor) -> Tensor:
        """The (..., D) input of the readout, from (..., D) states of the last residual sum."""
        found: Tensor = self.ln(state)
        return found

    def patterns_and_norms(self, layer: int, states: Mapping[str, Tensor], lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The (B, H, T, T) attention, and (B, H, T) norms of what each token would add, from the layer's input."""
        block = self.enc.blocks[layer]
        x = block.read_by_attention(states[self.layer_inputs[layer]])
        mask = torch.arange(x.shape[1], device=x.device) < lengths.to(x.device)[:, None]
        q, k, v = block.self_attn.project(x)
        out = block.self_attn.out_by_head
        metric = out.transpose(1, 2) @ out
        squares = torch.einsum("bhte,hef,bhtf->bht", v, metric, v)
        return block.self_attn.probabilities(q, k, mask), squares.clamp(min=0).sqrt()

    def ov_circuits(self, layer: int) -> tuple[Tensor, Tensor]:
        """The (H, D / H, D) weights by which each head reads values, and (H, D, D / H) weights by which it writes."""
        attention = self.enc.blocks[layer].self_attn
        return attention.values_by_head, attention.out_by_head

    def direct_outputs(
        self, states: Mapping[str, Tensor], lengths: Tensor, *, only_differences: bool
    ) -> dict[str, Tensor]:
        """(B, K) float64 contributions of ``embed``, ``z.0.1`` (layer 0, head 1), ..., ``mlp_out.0``, ..., ``biases``.

        Args:
            states: (B, T, D) by site.
            lengths: (B,) real tokens.
            only_differences: Leave out what is common to all outputs of a row.
        """
        last = torch.arange(len(lengths)), lengths - 1

        def at_last(site: str) -> Tensor:
            return states[site][last].double()

        parts = {"embed": at_last("embed"), "biases": torch.zeros_like(at_last("embed"))}
        for layer, block in enumerate(self.enc.blocks):
            attention = block.self_attn
            z = at_last(f"z.{layer}").view(len(lengths), attention.n_heads, -1)
            written = torch.einsum("nhe,hde->hnd", z, attention.out_by_head.double())
            parts |= {f"z.{layer}.{head}": one for head, one in enumerate(written)}
            parts["biases"] = parts["biases"] + attention.out_proj.bias.double()
            parts = parts if block.pre_norm else _through(block.norm1, parts)
            parts[f"mlp_out.{layer}"] = at_last(f"mlp_out.{layer}")
            parts = parts if block.pre_norm else _through(block.norm2, parts)
        parts = _through(self.ln, parts)
        weight, bias = self.readout.weight.double(), self.readout.bias.double()
        if only_differences:
            weight, bias = weight - weight.mean(dim=0), bias - bias.mean()
        outputs = {name: part @ weight.T for name, part in parts.items()}
        outputs["biases"] = outputs["biases"] + bias
        return outputs


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
