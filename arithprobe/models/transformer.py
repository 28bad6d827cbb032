"""The tiny character-level transformer of the original project, with every intermediate state in reach.

Parameter names and computation are those of ``torch.nn.TransformerEncoder`` (post-norm, GELU, ``batch_first``) between
an embedding and a linear readout, so the original project's ``state_dict`` files load as they are. PyTorch's own
encoder is not used because its evaluation fast path skips hooks and overwrites the states of padding
(https://github.com/pytorch/pytorch/issues/128413).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arithprobe.errors import ArithprobeError
from arithprobe.tokenizer import VOCABULARY_SIZE


class Activations(NamedTuple):
    """What one forward pass computed, by site."""

    states: dict[str, Tensor]
    """``embed``, ``attn_out.l``, ``resid_mid.l``, ``mlp_out.l``, ``resid_post.l`` for each layer l, and ``final``
    (after the last LayerNorm): (B, T, D) each. States of padding are there, and mean nothing."""
    patterns: dict[str, Tensor]
    """``pattern.l``: (B, H, T, T) attention probabilities, from query to key; empty unless asked for."""


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
        self.out_proj = nn.Linear(d_model, d_model)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, x: Tensor, mask: Tensor, queries: Tensor | None = None, *, pattern: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from ``queries`` (``x`` itself by default) to ``x``.

        Args:
            x: (B, T, D) where keys and values come from.
            mask: (B, T) bool, True at real tokens; nothing attends to the others.
            queries: (B, Q, D), or None for ``x``.
            pattern: Also return the attention probabilities, (B, H, Q, T).
        """
        d_model = x.shape[-1]
        if queries is None:
            q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        else:
            q = F.linear(queries, self.in_proj_weight[:d_model], self.in_proj_bias[:d_model])
            k, v = F.linear(x, self.in_proj_weight[d_model:], self.in_proj_bias[d_model:]).chunk(2, dim=-1)
        q, k, v = (
            part.view(*part.shape[:2], self.n_heads, -1).transpose(1, 2) for part in (q, k, v)
        )  # (B, H, T, D / H)
        allowed = mask[:, None, None, :]
        dropout = self.dropout if self.training else 0.0
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=dropout)
        probabilities = None
        if pattern:
            scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
            probabilities = scores.masked_fill(~allowed, float("-inf")).softmax(dim=-1)
        return self.out_proj(z.transpose(1, 2).flatten(2)), probabilities


class Block(nn.Module):
    """One post-norm encoder layer: attention, then the MLP, each followed by a residual sum and a LayerNorm.

    Args:
        d_model: Width D.
        n_heads: Number of heads H.
        d_ff: Width of the MLP.
        dropout: Dropout of attention, MLP and both branches.
    """

    def __init__(self, d_model: int, n_heads: int, d_ff: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(d_model, n_heads, dropout)
        self.linear1 = nn.Linear(d_model, d_ff)
        self.linear2 = nn.Linear(d_ff, d_model)
        self.norm1 = nn.LayerNorm(d_model)
        self.norm2 = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

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
        queries = None if at is None else _pick(x, at)
        attn_out, probabilities = self.self_attn(x, mask, queries, pattern=pattern)
        resid_mid = self.norm1((x if queries is None else queries) + self.dropout(attn_out))
        mlp_out = self.linear2(self.dropout(F.gelu(self.linear1(resid_mid))))
        resid_post: Tensor = self.norm2(resid_mid + self.dropout(mlp_out))
        if record is not None:
            computed = {"attn_out": attn_out, "resid_mid": resid_mid, "mlp_out": mlp_out, "resid_post": resid_post}
            record.states.update({f"{site}.{layer}": state for site, state in computed.items()})
            if probabilities is not None:
                record.patterns[f"pattern.{layer}"] = probabilities
        return resid_post


class Encoder(nn.Module):
    """The blocks, under the names of ``torch.nn.TransformerEncoder``."""

    def __init__(self, n_layers: int, d_model: int, n_heads: int, d_ff: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(d_model, n_heads, d_ff, dropout) for _ in range(n_layers))


class TinyTransformer(nn.Module):
    """Embedding, encoder, LayerNorm, linear readout of the last real token.

    >>> model = TinyTransformer(d_model=16, n_heads=2, d_ff=32).eval()
    >>> ids, lengths = torch.tensor([[2, 11, 3], [4, 0, 0]]), torch.tensor([3, 1])
    >>> model(ids, lengths).shape
    torch.Size([2, 1])

    Args:
        d_model: Width D of the residual stream.
        n_layers: Number of layers L.
        n_heads: Number of heads H; divides D.
        d_ff: Width of the MLPs.
        dropout: Dropout while training.
        max_len: Positions in the position table; no prompt may be longer.
        n_outputs: Width K of the readout.

    Raises:
        ArithprobeError: If a size is not positive, H does not divide D, or dropout is outside [0, 1).
    """

    def __init__(
        self,
        d_model: int = 128,
        n_layers: int = 2,
        n_heads: int = 4,
        d_ff: int = 256,
        dropout: float = 0.1,
        max_len: int = 512,
        n_outputs: int = 1,
    ) -> None:
        super().__init__()
        self.sizes = {"d_model": d_model, "n_layers": n_layers, "n_heads": n_heads, "d_ff": d_ff, "max_len": max_len}
        self.sizes["n_outputs"] = n_outputs  # what a twin of the same architecture is made from
        for name, size in self.sizes.items():
            if size < 1:
                raise ArithprobeError(f"{name} is {size}; expected 1 or more")
        if d_model % n_heads:
            raise ArithprobeError(f"n_heads is {n_heads}; expected a divisor of d_model, {d_model}")
        if not 0 <= dropout < 1:
            raise ArithprobeError(f"dropout is {dropout}; expected a probability below 1")
        self.d_model, self.max_len = d_model, max_len
        self.tok = nn.Embedding(VOCABULARY_SIZE, d_model)
        self.pos = nn.Embedding(max_len, d_model)
        self.enc = Encoder(n_layers, d_model, n_heads, d_ff, dropout)
        self.ln = nn.LayerNorm(d_model)
        self.readout = nn.Linear(d_model, n_outputs)

    @property
    def residual_sites(self) -> tuple[str, ...]:
        """The sites along the residual stream, from ``embed`` to ``final``."""
        layers = range(len(self.enc.layers))
        return ("embed", *(f"{site}.{layer}" for layer in layers for site in ("resid_mid", "resid_post")), "final")

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Predict.

        In training mode the last block computes only what the readout needs: keys and values everywhere, the rest at
        the last real token. Losses and gradients are the same.

        Args:
            ids: (B, T) token ids, padded right.
            lengths: (B,) number of real tokens, at least 1.

        Returns:
            (B, K) outputs, in the units of the training target.

        Raises:
            ArithprobeError: If T exceeds the position table.
        """
        last = lengths - 1
        x, mask = self._embed(ids, lengths)
        *blocks, top = self.enc.layers
        for block in blocks:
            x = block(x, mask)
        x = top(x, mask, last) if self.training else _pick(top(x, mask), last)
        output: Tensor = self.readout(self.ln(x)).squeeze(1)
        return output

    def run_with_cache(self, ids: Tensor, lengths: Tensor, *, patterns: bool = False) -> tuple[Tensor, Activations]:
        """Predict, and keep every state on the way; asking for them does not change the outputs.

        Args:
            ids: (B, T) token ids, padded right.
            lengths: (B,) number of real tokens.
            patterns: Keep the attention probabilities as well.

        Returns:
            The (B, K) outputs of :meth:`forward`, and the states at all positions.
        """
        x, mask = self._embed(ids, lengths)
        cache = Activations({"embed": x}, {})
        for layer, block in enumerate(self.enc.layers):
            x = block(x, mask, layer=layer, record=cache, pattern=patterns)
        cache.states["final"] = self.ln(x)
        output: Tensor = self.readout(_pick(cache.states["final"], lengths - 1)).squeeze(1)
        return output, cache

    def _embed(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings (B, T, D) and the mask (B, T) of real tokens."""
        length = ids.shape[1]
        if length > self.max_len:
            raise ArithprobeError(
                f"a prompt has {length} tokens, the position table holds {self.max_len}; raise max_len to {length}"
            )
        positions = torch.arange(length, device=ids.device)
        return self.tok(ids) + self.pos(positions), positions < lengths[:, None]


def _pick(x: Tensor, at: Tensor) -> Tensor:
    """(B, 1, D): the state of each row at one position."""
    return x.gather(1, at[:, None, None].expand(-1, 1, x.shape[-1]))
