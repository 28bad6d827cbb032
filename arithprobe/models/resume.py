r"""The rest of a forward pass, from edited states at one site to the outputs; only what can change is computed.

Running the whole model for every edit repeats the layers before the site, and computes positions in the last block
that nothing reads. Here the states before the edit come from one pass that all edits share. Up to the next attention,
only the edited cells are computed. The last block is computed only at the readout position, where one query needs no
keys and values of its own: :math:`q \cdot W_K x = (W_K^T q) \cdot x` and :math:`\sum_t p_t W_V x_t = W_V \sum_t
p_t x_t`.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from arithprobe.models.blocks import Attention, Block, pick
from arithprobe.models.cells import placed
from arithprobe.models.headed import HeadedEncoder
from arithprobe.models.hooks import sites_of
from arithprobe.models.network import no_such_site
from arithprobe.problems.rows import Inputs

_TOKENS = 3328  # that the blocks run at a time: what they compute of them fits the cache of a core


class ResumableEncoder(HeadedEncoder):
    """The part of a transformer that continues a forward pass from edited states."""

    def run_from(
        self, site: str, cells: Tensor, token: Tensor, valid: Tensor, states: dict[str, Tensor], inputs: Inputs
    ) -> Tensor:
        """Return the outputs with the states of some cells replaced, M replacements at once.

        They equal, up to rounding, those of a forward pass with the same :func:`~arithprobe.models.hooks.edit`, if the
        model is in evaluation mode: some of its dropout is skipped here.

        Args:
            site: Any site of the model.
            cells: (M, B, P, D) new states at P positions of B prompts.
            token: (B, P) token index of each position; if a token is named twice, the last counts.
            valid: (B, P) False where a prompt has no such position; nothing is replaced there.
            states: (B, T, D) by site, of the unedited pass.
            inputs: The prompts; only their (B,) real tokens count.

        Returns:
            (M, B, K) outputs.

        Raises:
            ArithprobeError: If there is no such site.
        """
        if site not in sites_of(self):
            raise no_such_site(site, sites_of(self))
        lengths = inputs.lengths
        token = token.where(valid, 0)
        size = max(1, _TOKENS // (len(lengths) * states[site].shape[1]))
        parts = [_run(self, site, part, token, valid, states, lengths) for part in torch.split(cells, size)]
        return torch.cat(parts)

    def only_readout_remains(self, site: str) -> bool:
        """Whether only the last LayerNorm and the linear readout follow this site."""
        return site in (f"resid_post.{self.n_layers - 1}", "final")


def _run(
    model: HeadedEncoder,
    site: str,
    cells: Tensor,
    token: Tensor,
    valid: Tensor,
    states: dict[str, Tensor],
    lengths: Tensor,
) -> Tensor:
    blocks = model.enc.blocks
    layer = {"embed": -1, "final": len(blocks)}.get(site)
    layer = int(site.partition(".")[2]) if layer is None else layer
    last = lengths - 1
    if layer >= len(blocks) - 1:  # from here on the readout sees one position
        cells = _only(states[site], cells, token, valid, last)
        token, valid = last[:, None], torch.ones_like(valid[:, :1])
    site, cells = _to_block_end(model, site, cells, token, states)
    if layer >= len(blocks) - 1:
        return _read(model, site, cells[:, :, 0])
    m, b = cells.shape[:2]
    x = placed(states[site].expand(m, -1, -1, -1), cells, token, valid).flatten(0, 1)
    mask = (torch.arange(x.shape[1], device=x.device) < lengths[:, None]).repeat(m, 1)
    for block in blocks[layer + 1 : -1]:
        x = block(x, mask)
    return _read(model, site, _top(blocks[-1], x, mask, last.repeat(m)).view(m, b, -1))


def _read(model: HeadedEncoder, site: str, state: Tensor) -> Tensor:
    """(..., K) outputs, from the (..., D) last states of the residual stream."""
    outputs: Tensor = model.readout(state if site == "final" else model.ln(state))
    return outputs


def _to_block_end(
    model: HeadedEncoder, site: str, cells: Tensor, token: Tensor, states: dict[str, Tensor]
) -> tuple[str, Tensor]:
    """Carry cells to the end of their block, token by token; there other tokens begin to see them."""
    name, _, number = site.partition(".")
    if name in ("embed", "resid_post", "final"):
        return site, cells
    layer = int(number)
    block = model.enc.blocks[layer]
    if name == "z":
        name, cells = "attn_out", block.self_attn.out_proj(cells)
    if name == "attn_out":
        before = states[model.layer_inputs[layer]]
        name, cells = "resid_mid", block.add_attention(_gathered(before, token), cells)
    if name == "mlp_act":
        name, cells = "mlp_out", block.linear2(cells)
    if name == "resid_mid":
        return f"resid_post.{layer}", block.add_mlp(cells, block.mlp(cells))
    return f"resid_post.{layer}", block.add_mlp(_gathered(states[f"resid_mid.{layer}"], token), cells)


def _gathered(state: Tensor, token: Tensor) -> Tensor:
    """(B, P, D) states at the (B, P) tokens, from (B, T, D)."""
    return state.gather(1, token[..., None].expand(-1, -1, state.shape[-1]))


def _only(state: Tensor, cells: Tensor, token: Tensor, valid: Tensor, at: Tensor) -> Tensor:
    """(M, B, 1, D) the state at one token of each prompt, with the cell put in that is there, if any."""
    chosen = pick(state, at)[:, 0].expand(len(cells), -1, -1)
    for position in range(token.shape[1]):
        hit = (token[:, position] == at) & valid[:, position]
        chosen = torch.where(hit[:, None], cells[:, :, position], chosen)
    return chosen[:, :, None]


def _top(block: Block, x: Tensor, mask: Tensor, at: Tensor) -> Tensor:
    """(R, D) the block's output at one token of each of R prompts."""
    read = block.read_by_attention(x)
    attn_out = _attend_once(block.self_attn, read, mask, pick(read, at)[:, 0])
    resid_mid = block.add_attention(pick(x, at)[:, 0], attn_out)
    return block.add_mlp(resid_mid, block.mlp(resid_mid))


def _attend_once(attention: Attention, x: Tensor, mask: Tensor, query: Tensor) -> Tensor:
    """(R, D) attention output of one query a prompt, (R, D), over (R, T, D); keys and values are never formed."""
    d, heads = x.shape[-1], attention.n_heads
    (w_q, w_k, _), (b_q, _, b_v) = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    q = F.linear(query, w_q, b_q).view(-1, heads, d // heads)  # (R, H, D / H)
    looks_for = torch.einsum("rhe,hed->rhd", q, w_k.view(heads, -1, d))  # the key's bias shifts all scores alike
    scores = torch.bmm(looks_for, x.transpose(1, 2)) / (d / heads) ** 0.5  # (R, H, T)
    pattern = scores.masked_fill(~mask[:, None], float("-inf")).softmax(dim=-1)
    seen = torch.bmm(pattern, x)  # (R, H, D)
    z = torch.einsum("rhd,hed->rhe", seen, attention.values_by_head).flatten(1) + b_v
    out: Tensor = attention.out_proj(z)
    return out
