"""A network whose state is any function of two operands that you write down, and whose reader you write down too.

It plants the cases that an instrument must not fall for: a decoy (decodable, read by nothing), a correlate (decodable,
and correlated with what is read), a copy (used, but held twice). Tokens are ``x``, ``y`` and ``=``; only the last one
has a state. Sites: ``resid_post.0``, and behind a LayerNorm, if there is one, ``final``.

>>> u, v = directions(2, 8)
>>> x, y = torch.cartesian_prod(torch.arange(20), torch.arange(20)).T
>>> loaded, rows = planted_states(x, y, lambda x, y: torch.outer(x + y, u) + torch.outer(x, v), u)
>>> float((loaded.model(*rows.inputs(torch.arange(len(rows))))[:, 0] - rows.answers).abs().max()) < 1e-9
True
"""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from arithprobe.data.tokens import TokenDataset
from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.models.hooked import HookedNetwork
from arithprobe.models.objective import Objective
from arithprobe.models.objectives import ScaledMSE

States = Callable[[Tensor, Tensor], Tensor]
"""Makes (N, D) float64 states of (N,) float64 first and second operands."""
_SEEDS = 2**31  # of the random states of untrained networks


class PlantedStates(nn.Module):
    """Tokens x, y, =; a state at the last, a LayerNorm or none, and a reader.

    Args:
        states: The state of the last token.
        reader: From (B, D) to the (B, K) outputs.
        d_model: The width D.
        norm: Whether a LayerNorm without weights stands before the reader.
    """

    def __init__(self, states: States, reader: nn.Module, d_model: int, norm: bool) -> None:
        super().__init__()
        self.states, self.reader = states, reader
        self.stream = nn.Identity()
        self.norm = nn.LayerNorm(d_model, elementwise_affine=False) if norm else nn.Identity()

    def forward(self, ids: Tensor) -> Tensor:
        """(B, K) outputs, from (B, 3) tokens."""
        last = self.states(ids[:, 0].double(), ids[:, 1].double())
        stream = torch.stack([torch.zeros_like(last), torch.zeros_like(last), last], dim=1)
        outputs: Tensor = self.reader(self.norm(self.stream(stream))[:, -1])
        return outputs


def planted_states(
    x: Tensor,
    y: Tensor,
    states: States,
    reader: Tensor | nn.Module,
    *,
    modulus: int | None = None,
    objective: Objective | None = None,
    norm: bool = False,
    name: str = "planted states",
) -> tuple[LoadedModel, TokenDataset]:
    """A network and its rows.

    Its untrained twins have random functions of the operands as states, additive in x and y, and a random reader.

    Args:
        x: (N,) int64 first operands, none negative.
        y: (N,) int64 second operands.
        states: The (N, D) states of operands, also of others than these: some tests change them.
        reader: (D,) or (D, K) weights of a linear reader, or a module from (B, D) to (B, K); it reads states behind the
            LayerNorm, if there is one.
        modulus: k of the task, None for plain sums.
        objective: The way from outputs to answers; by default the output is the answer.
        norm: Whether a LayerNorm stands before the reader.
        name: What to call them.

    Raises:
        ArithprobeError: If states are not (N, D) float64.
    """
    equals = torch.zeros(1, dtype=torch.int64)
    rows = TokenDataset(
        x, y, modulus, lambda x, y: torch.stack([x, y, equals.expand_as(x)], dim=1), ("x", "y", "equals"), name
    )
    example = states(x[:2].double(), y[:2].double())
    if example.ndim != 2 or example.dtype != torch.float64 or len(example) != len(x[:2]):
        raise ArithprobeError(f"{name}: states gave {example.dtype} {tuple(example.shape)}; expected float64 (N, D)")
    d, read = example.shape[1], _linear(reader) if isinstance(reader, Tensor) else reader.double()

    def untrained() -> nn.Module:
        fresh = copy.deepcopy(read)
        for parameter in fresh.parameters():
            nn.init.normal_(parameter, std=1 / math.sqrt(d))
        seed = int(torch.randint(_SEEDS, ()))
        return PlantedStates(lambda x, y: noise(x, 0 * x, d, seed) + noise(y, 0 * y, d, seed + 1), fresh, d, norm)

    module = PlantedStates(states, read, d, norm).double().requires_grad_(False).eval()
    sites = {"resid_post.0": "stream"} | ({"final": "norm"} if norm else {})
    network = HookedNetwork(module, sites, example=rows.ids[:2], factory=untrained)
    mean = float(rows.answers.double().mean())
    return LoadedModel(name, "planted", network.eval(), objective or ScaledMSE(1.0, 0.0), mean, rows.task), rows


def directions(count: int, d: int, seed: int = 0) -> Tensor:
    """(count, D) orthonormal directions, none along an axis, orthogonal to ``(1, ..., 1)``: a LayerNorm keeps them.

    Raises:
        ArithprobeError: If there are not so many.
    """
    if not 1 <= count < d:
        raise ArithprobeError(f"there are {d - 1} such directions in {d} dimensions; got {count}")
    columns = torch.randn(d, 1 + count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    columns[:, 0] = 1.0
    frame: Tensor = torch.linalg.qr(columns)[0].T[1:].contiguous()
    return frame


def noise(x: Tensor, y: Tensor, width: int, seed: int = 0) -> Tensor:
    """(N, width) float64 standard normal numbers that depend on the pair and the seed, and on nothing else.

    >>> torch.equal(noise(torch.tensor([3]), torch.tensor([4]), 5), noise(torch.tensor([3.0]), torch.tensor([4.0]), 5))
    True

    By the SplitMix64 finaliser (Steele, Lea and Flood 2014, https://doi.org/10.1145/2660193.2660195).
    """
    key = _mixed(_mixed(_mixed(x.long()) + y.long()) + seed)[:, None]
    bits = _mixed(key + 0x9E3779B97F4A7C1 * torch.arange(1, width + 1))
    uniform = ((bits & (2**53 - 1)).double() + 0.5) / 2**53
    normal: Tensor = torch.special.ndtri(uniform)
    return normal


def _linear(weights: Tensor) -> nn.Linear:
    columns = weights[:, None] if weights.ndim == 1 else weights
    linear = nn.Linear(columns.shape[0], columns.shape[1], bias=False).double()
    with torch.no_grad():
        linear.weight.copy_(columns.T)
    return linear


def _mixed(z: Tensor) -> Tensor:
    """The finaliser; int64 wraps round."""
    z = z + 0x1E3779B97F4A7C15
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        z = (z ^ ((z >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return z ^ ((z >> 31) & ((1 << 33) - 1))
