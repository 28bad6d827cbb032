"""The layers of the transformer, under the names of PyTorch's encoder."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Literal["post", "pre"]
"""Where a layer's LayerNorms stand: after each residual sum (the original project's), or before each branch."""


class Activations(NamedTuple):
    """The states that one forward pass computed, by site."""

    states: dict[str, Tensor]
    """``embed``, ``z.l``, ``attn_out.l``, ``resid_mid.l``, ``mlp_act.l``, ``mlp_out.l``, ``resid_post.l`` for each
    layer l, and ``final`` (after the last LayerNorm): (B, T, D) each, but for the neurons ``mlp_act.l``, (B, T, d_ff).
    ``z.l`` holds what each head read, head after head, D / H dimensions each. States of padding mean nothing."""
    patterns: dict[str, Tensor]
    """``pattern.l``: (B, H, T, T) attention probabilities, from query to key; empty unless asked for."""


class Attended(NamedTuple):
    """The result of attention for Q queries."""

    out: Tensor
    """(B, Q, D) the outputs of all heads, summed: ``attn_out``."""
    z: Tensor
    """(B, Q, D) what each head read, head after head."""
    pattern: Tensor | None
    """(B, H, Q, T) attention probabilities, if asked for."""


class Attention(nn.Module):
    """Multi-head self-attention with the parameters of ``torch.nn.MultiheadAttention``.

    Args:
        d_model: Width D.
        n_heads: Number of heads H; divides D.
        dropout: Dropout of the attention probabilities.
    """

    def __init__(self, d_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * d_model, d_model))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * d_model))
        self.z = nn.Identity()  # no weights: the site of that name, for hooks
        self.out_proj = nn.Linear(d_model, d_model)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, mask: Tensor, queries: Tensor | None = None, *, pattern: bool = False) -> Attended:
        """Attend from ``queries`` (``x`` itself by default) to ``x``.

        Args:
            x: (B, T, D) where keys and values come from.
            mask: (B, T) bool, True at real tokens; nothing attends to the others.
            queries: (B, Q, D), or None for ``x``.
            pattern: Also return the attention probabilities.
        """
        q, k, v = self.project(x, queries)
        dropout = self.dropout if self.training else 0.0
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :], dropout_p=dropout)
        z = self.z(z.transpose(1, 2).flatten(2))
        return Attended(self.out_proj(z), z, self.probabilities(q, k, mask) if pattern else None)

    def project(self, x: Tensor, queries: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries (B, H, Q, D / H), and keys and values (B, H, T, D / H), of (B, T, D) states."""
        d_model = x.shape[-1]
        if queries is None:
            q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        else:
            q = F.linear(queries, self.in_proj_weight[:d_model], self.in_proj_bias[:d_model])
            k, v = F.linear(x, self.in_proj_weight[d_model:], self.in_proj_bias[d_model:]).chunk(2, dim=-1)
        q, k, v = (part.view(*part.shape[:2], self.n_heads, -1).transpose(1, 2) for part in (q, k, v))
        return q, k, v

    @property
    def values_by_head(self) -> Tensor:
        """The (H, D / H, D) weights by which each head reads values."""
        weight = self.in_proj_weight.chunk(3)[2]
        return weight.view(self.n_heads, -1, weight.shape[1])

    @property
    def out_by_head(self) -> Tensor:
        """The (H, D, D / H) weights by which each head writes."""
        weight = self.out_proj.weight
        return weight.view(weight.shape[0], self.n_heads, -1).transpose(0, 1)

    @staticmethod
    def probabilities(q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
        """The (B, H, Q, T) attention probabilities, from query to key, for queries and keys of :meth:`project`."""
        scores: Tensor = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        return scores.masked_fill(~mask[:, None, None, :], float("-inf")).softmax(dim=-1)


class Block(nn.Module):
    """One encoder layer: attention, then the MLP, each added to the residual stream.

    With ``norm="post"`` a LayerNorm follows each sum; with ``"pre"`` a LayerNorm precedes each branch.

    Args:
        d_model: Width D.
        n_heads: Number of heads H.
        d_ff: Width of the MLP.
        dropout: Dropout of attention, MLP and both branches.
        norm: Where the LayerNorms stand.
    """

    def __init__(self, d_model: int, n_heads: int, d_ff: int, dropout: float, norm: Norm = "post") -> None:
        super().__init__()
        self.pre_norm = norm == "pre"
        self.self_attn = Attention(d_model, n_heads, dropout)
        self.linear1 = nn.Linear(d_model, d_ff)
        self.linear2 = nn.Linear(d_ff, d_model)
        self.norm1 = nn.LayerNorm(d_model)
        self.norm2 = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)
        # no weights: the sites of those names
        self.resid_mid, self.mlp_act, self.resid_post = nn.Identity(), nn.Identity(), nn.Identity()

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        at: Tensor | None = None,
        *,
        layer: int = 0,
        record: Activations | None = None,
        pattern: bool = False,
    ) -> Tensor:
        """Run the layer.

        Args:
            x: (B, T, D) the residual stream.
            mask: (B, T) bool, True at real tokens.
            at: (B,) compute the output at this position only, or None for all.
            layer: The layer's number, for the names of what is recorded.
            record: Where to store the layer's states, or None to store nothing.
            pattern: Also store the attention probabilities.

        Returns:
            (B, T, D), or (B, 1, D) where ``at`` is given.
        """
        read = self.read_by_attention(x)
        queries = None if at is None else pick(read, at)
        attn_out, z, probabilities = self.self_attn(read, mask, queries, pattern=pattern)
        resid_mid = self.add_attention(x if at is None else pick(x, at), self.dropout(attn_out))
        mlp_act = self.neurons(resid_mid)
        mlp_out = self.linear2(self.dropout(mlp_act))
        resid_post = self.add_mlp(resid_mid, self.dropout(mlp_out))
        if record is not None:
            branches = {"z": z, "attn_out": attn_out, "resid_mid": resid_mid, "mlp_act": mlp_act}
            computed = branches | {"mlp_out": mlp_out} | {"resid_post": resid_post}
            record.states.update({f"{site}.{layer}": state for site, state in computed.items()})
            if probabilities is not None:
                record.patterns[f"pattern.{layer}"] = probabilities
        return resid_post

    def read_by_attention(self, x: Tensor) -> Tensor:
        """The (..., D) input of attention, from the (..., D) residual stream."""
        read: Tensor = self.norm1(x) if self.pre_norm else x
        return read

    def add_attention(self, x: Tensor, attn_out: Tensor) -> Tensor:
        """``resid_mid`` (..., D), from the (..., D) residual stream and the output of attention."""
        resid_mid: Tensor = self.resid_mid(x + attn_out if self.pre_norm else self.norm1(x + attn_out))
        return resid_mid

    def mlp(self, resid_mid: Tensor) -> Tensor:
        """``mlp_out`` (..., D), from (..., D) ``resid_mid``."""
        mlp_out: Tensor = self.linear2(self.dropout(self.neurons(resid_mid)))
        return mlp_out

    def neurons(self, resid_mid: Tensor) -> Tensor:
        """``mlp_act`` (..., d_ff), the activations of the MLP's neurons, from (..., D) ``resid_mid``."""
        read = self.norm2(resid_mid) if self.pre_norm else resid_mid
        mlp_act: Tensor = self.mlp_act(F.gelu(self.linear1(read)))
        return mlp_act

    def add_mlp(self, resid_mid: Tensor, mlp_out: Tensor) -> Tensor:
        """``resid_post`` (..., D), from (..., D) ``resid_mid`` and the output of the MLP."""
        added = resid_mid + mlp_out
        resid_post: Tensor = self.resid_post(added if self.pre_norm else self.norm2(added))
        return resid_post


class Encoder(nn.Module):
    """The blocks, under the names of ``torch.nn.TransformerEncoder``."""

    def __init__(
        self, n_layers: int, d_model: int, n_heads: int, d_ff: int, dropout: float, norm: Norm = "post"
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(d_model, n_heads, d_ff, dropout, norm) for _ in range(n_layers))

    @property
    def blocks(self) -> list[Block]:
        """The layers, from the embedding on."""
        return [layer for layer in self.layers if isinstance(layer, Block)]


def pick(x: Tensor, at: Tensor) -> Tensor:
    """Return (B, 1, D): the state of each row at one position."""
    return x.gather(1, at[:, None, None].expand(-1, 1, x.shape[-1]))
