"""The tiny character-level transformer of the original project, with access to every intermediate state.

Parameter names and computation are those of ``torch.nn.TransformerEncoder`` (GELU, ``batch_first``; post-norm unless
asked otherwise) between an embedding and a linear readout, so the original project's ``state_dict`` files load as they
are. PyTorch's own encoder is not used because its evaluation fast path skips hooks and overwrites the states of padding
(https://github.com/pytorch/pytorch/issues/128413).
"""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from arithprobe.errors import ArithprobeError
from arithprobe.limits import require_memory, require_within
from arithprobe.models.blocks import Activations, Encoder, Norm, pick
from arithprobe.models.network import Site
from arithprobe.models.resume import ResumableEncoder
from arithprobe.models.seeded import seeded
from arithprobe.problems.rows import Inputs
from arithprobe.tokenizer import VOCABULARY_SIZE, place_values

_BYTES = 4  # of a weight
Positions = Literal["absolute", "place"]
"""What a token's position embedding stands for: its index in the prompt, or, of a digit, its place value."""


class TinyTransformer(ResumableEncoder):
    """Transformer with embedding, encoder, LayerNorm and linear readout of the last real token; a ``HeadedNetwork``.

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
        norm: ``post`` (the original project's) puts a LayerNorm after each residual sum, ``pre`` before each branch.
        positions: ``absolute`` (the original project's) numbers the tokens from the left; ``place`` gives each digit
            the number of its place, units 1, tens 2, ..., in every number alike, that of the modulus too, and all other
            tokens 0. The model then cannot tell ``x + y`` from ``y + x``, nor ``12 + 34`` from ``14 + 32``.
        embedding_sd: Standard deviation of the initial token and position embeddings; 1 in the original project.

    Raises:
        ArithprobeError: If a size is not positive or takes more memory than the machine has, H does not divide D,
            dropout is outside [0, 1), or ``norm`` or ``positions`` is none of its choices.
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
        norm: Norm = "post",
        positions: Positions = "absolute",
        embedding_sd: float = 1.0,
    ) -> None:
        super().__init__()
        self.sizes = {"d_model": d_model, "n_layers": n_layers, "n_heads": n_heads, "d_ff": d_ff, "max_len": max_len}
        self.sizes["n_outputs"] = n_outputs
        self.norm, self.positions, self.embedding_sd = norm, positions, embedding_sd
        for name, size in self.sizes.items():
            if size < 1:
                raise ArithprobeError(f"{name} is {size}; expected 1 or more")
        require_within("", n_layers=n_layers)
        if d_model % n_heads:
            raise ArithprobeError(f"n_heads is {n_heads}; expected a divisor of d_model, {d_model}")
        if not 0 <= dropout < 1:
            raise ArithprobeError(f"dropout is {dropout}; expected a probability below 1")
        for name, choice, choices in (("norm", norm, Norm), ("positions", positions, Positions)):
            if choice not in get_args(choices):
                raise ArithprobeError(f"{name} is {choice!r}; expected one of {', '.join(get_args(choices))}")
        if not 0 < embedding_sd < float("inf"):
            raise ArithprobeError(f"embedding_sd is {embedding_sd}; expected a positive number")
        require_within("", embedding_sd=embedding_sd)
        parameters = self._parameters_of(**self.sizes)
        require_memory(f"a model of {parameters:.2g} weights", _BYTES * parameters)
        self.d_model, self.max_len = d_model, max_len
        self.tok = nn.Embedding(VOCABULARY_SIZE, d_model)
        self.pos = nn.Embedding(max_len, d_model)
        with torch.no_grad():
            for table in (self.tok, self.pos):
                table.weight.mul_(embedding_sd)
        self.embed = nn.Identity()  # no weights: the site of that name, for hooks
        self.enc = Encoder(n_layers, d_model, n_heads, d_ff, dropout, norm)
        self.ln = nn.LayerNorm(d_model)
        self.readout = nn.Linear(d_model, n_outputs)

    @staticmethod
    def _parameters_of(d_model: int, n_layers: int, n_heads: int, d_ff: int, max_len: int, n_outputs: int) -> int:
        """How many weights a model of these sizes has."""
        attention, mlp, norms = 4 * (d_model + 1) * d_model, (2 * d_model + 1) * d_ff + d_model, 4 * d_model
        tables = (VOCABULARY_SIZE + max_len) * d_model
        return tables + n_layers * (attention + mlp + norms) + 2 * d_model + (d_model + 1) * n_outputs

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments that make a twin of the same architecture; dropout is not one of them."""
        return {**self.sizes, "norm": self.norm, "positions": self.positions, "embedding_sd": self.embedding_sd}

    @property
    def residual_sites(self) -> tuple[str, ...]:
        """The sites along the residual stream, from ``embed`` to ``final``."""
        layers = range(self.n_layers)
        return ("embed", *(f"{site}.{layer}" for layer in layers for site in ("resid_mid", "resid_post")), "final")

    @property
    def sites(self) -> dict[str, Site]:
        """The module whose output each site is, to which :mod:`arithprobe.models.hooks` attaches."""
        inside = {"z": Site("self_attn.z", n_heads=self.n_heads), "attn_out": Site("self_attn")}
        inside |= {name: Site(name) for name in ("resid_mid", "mlp_act")}
        inside |= {"mlp_out": Site("linear2"), "resid_post": Site("resid_post")}
        found = {
            f"{name}.{layer}": site._replace(module=f"enc.layers.{layer}.{site.module}")
            for layer in range(self.n_layers)
            for name, site in inside.items()
        }
        return {"embed": Site("embed"), **found, "final": Site("ln")}

    def width(self, site: str) -> int:
        """Width of the states of a site: d_ff for ``mlp_act.l``, D for all others."""
        return self.sizes["d_ff" if site.startswith("mlp_act.") else "d_model"]

    def untrained(self, seed: int) -> "TinyTransformer":
        """Return an untrained model of the same architecture; the global random state does not change."""
        with seeded(seed):
            twin = TinyTransformer(**self.architecture, dropout=0.0)
        return twin.eval().requires_grad_(False)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Predict the outputs of a batch.

        In training mode the last block computes only what the readout needs: keys and values everywhere, the rest at
        the last real token. Losses and gradients are the same, except for the dropout drawn. With a hook on it, the
        last block always computes everything.

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
        *blocks, top = self.enc.blocks
        for block in blocks:
            x = block(x, mask)
        if self.training and not _hooked(top, self.ln):
            output: Tensor = self.readout(self.ln(top(x, mask, last))).squeeze(1)
            return output
        output = self.readout(pick(self.ln(top(x, mask)), last)).squeeze(1)
        return output

    def run_with_cache(self, inputs: Inputs, *, patterns: bool = False) -> tuple[Tensor, Activations]:
        """Predict, and keep every intermediate state; this does not change the outputs.

        Args:
            inputs: B prompts.
            patterns: Keep the attention probabilities as well.

        Returns:
            The (B, K) outputs of :meth:`forward`, and the states at all positions.
        """
        ids, lengths = inputs
        x, mask = self._embed(ids, lengths)
        cache = Activations({"embed": x}, {})
        for layer, block in enumerate(self.enc.blocks):
            x = block(x, mask, layer=layer, record=cache, pattern=patterns)
        cache.states["final"] = self.ln(x)
        output: Tensor = self.readout(pick(cache.states["final"], lengths - 1)).squeeze(1)
        return output, cache

    def _embed(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings (B, T, D) and the mask (B, T) of real tokens."""
        length = ids.shape[1]
        if length > self.max_len:
            raise ArithprobeError(
                f"a prompt has {length} tokens, the position table holds {self.max_len}; raise max_len to {length}"
            )
        index = torch.arange(length, device=ids.device)
        positions = place_values(ids) if self.positions == "place" else index
        embedded: Tensor = self.embed(self.tok(ids) + self.pos(positions))
        return embedded, index < lengths[:, None]


def _hooked(*parts: nn.Module) -> bool:
    """Whether somebody looks at, or edits, what a module inside one of these computes."""
    return any(module._forward_hooks or module._forward_pre_hooks for part in parts for module in part.modules())
