"""The two protocols of a network that all other layers rely on.

Probes and interventions need a :class:`Network`; the analysis of attention heads also needs a :class:`HeadedNetwork`.
:class:`~arithprobe.models.transformer.TinyTransformer` is both,
:class:`~arithprobe.models.hooked.HookedNetwork` makes the first from any ``torch.nn.Module``, and
:func:`~arithprobe.models.check.check` verifies what they promise.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor, nn

from arithprobe.errors import ArithprobeError, did_you_mean
from arithprobe.models.blocks import Activations
from arithprobe.problems.rows import Inputs

Side = Literal["output", "input"]
_MOST_NAMES = 40  # sites that an error lists


class Site(NamedTuple):
    """The place of a state: the output of a module, or its input."""

    module: str
    """Name of the module, as in ``named_modules()``."""
    side: Side = "output"
    """Of a tuple that is returned, or of many arguments, the first is meant."""
    n_heads: int | None = None
    """H, where the state holds the outputs of H heads, side by side or, as (B, T, H, D / H), one behind another; it is
    read as (B, T, D) either way."""


@runtime_checkable
class Network(Protocol):
    """A network whose states can be read and edited; a ``torch.nn.Module``."""

    @property
    def training(self) -> bool:
        """Whether the network is in training mode; two passes must agree, so nothing is measured in that mode."""

    @property
    def d_model(self) -> int:
        """Width D of the residual stream."""

    @property
    def max_len(self) -> int | None:
        """Tokens of the longest prompt that it reads; None if there is no limit."""

    @property
    def n_layers(self) -> int:
        """Number of layers."""

    @property
    def sites(self) -> Mapping[str, Site]:
        """All sites, from the embedding on."""

    @property
    def residual_sites(self) -> tuple[str, ...]:
        """The sites along the residual stream, of width D; the readout reads the last."""

    def width(self, site: str) -> int:
        """Width of the states of a site; D along the residual stream."""

    def __call__(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """(B, K) outputs for (B, T) token ids of (B,) lengths."""

    def run_with_cache(self, inputs: Inputs, *, patterns: bool = False) -> tuple[Tensor, Activations]:
        """Return (B, K) outputs and the states of all sites; with ``patterns`` also any attention probabilities."""

    def run_from(
        self, site: str, cells: Tensor, token: Tensor, valid: Tensor, states: dict[str, Tensor], inputs: Inputs
    ) -> Tensor:
        """Return the outputs with the states of some cells replaced, M replacements at once; gradients flow.

        Args:
            site: Any site.
            cells: (M, B, P, D) new states at P positions of B prompts.
            token: (B, P) token index of each position; if a token is named twice, the last counts.
            valid: (B, P) False where a prompt has no such position; nothing is replaced there.
            states: (B, T, D) by site, of the unedited pass: the residual sites and this one at least.
            inputs: The prompts.

        Returns:
            (M, B, K) outputs.

        Raises:
            ArithprobeError: If there is no such site.
        """

    def only_readout_remains(self, site: str) -> bool:
        """Whether only the last norm and the readout follow this site."""

    def untrained(self, seed: int) -> "Network":
        """Return an untrained network of the same architecture, in evaluation mode, without gradients.

        The global random state does not change.

        Raises:
            ArithprobeError: If it cannot be made.
        """

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """The weights."""

    def state_dict(self) -> dict[str, Any]:
        """The weights, by name."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Load weights."""

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """The inner modules, to which hooks attach."""


@runtime_checkable
class HeadedNetwork(Network, Protocol):
    """A network whose attention heads can be taken apart; ``z.l`` is what the heads of layer l read, side by side."""

    @property
    def n_heads(self) -> int:
        """Heads H of each layer."""

    def patterns_and_norms(self, layer: int, states: Mapping[str, Tensor], lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What the heads of a layer attend to, and what they could add.

        Args:
            layer: The layer.
            states: (B, T, D) by site.
            lengths: (B,) real tokens.

        Returns:
            (B, H, T, T) attention from query to key, 0 at padded keys, and (B, H, T) norms of what each token would add
            to the residual stream if a head attended to it alone.
        """

    def ov_circuits(self, layer: int) -> tuple[Tensor, Tensor]:
        """The (H, D / H, D) weights by which each head reads values, and (H, D, D / H) weights by which it writes."""

    def direct_outputs(
        self, states: Mapping[str, Tensor], lengths: Tensor, *, only_differences: bool
    ) -> dict[str, Tensor]:
        """(B, K) float64 contributions of each part, with the scales of the norms held fixed; they sum to the outputs.

        Args:
            states: (B, T, D) by site.
            lengths: (B,) real tokens.
            only_differences: Leave out what is common to all outputs of a row.
        """

    def last_norm(self, state: Tensor) -> Tensor:
        """The (..., D) input of the readout, from (..., D) states of the last residual sum."""


def no_such_site(site: str, known: Iterable[str]) -> ArithprobeError:
    """Return the error that lists the sites there are."""
    names = list(known)
    listed = names[:_MOST_NAMES]
    more = f", and {len(names) - len(listed)} more" if len(names) > len(listed) else ""
    return ArithprobeError(f"no site {site!r}{did_you_mean(site, names)} (sites: {', '.join(listed)}{more})")


def uncompiled(network: object) -> object:
    """Return a network without the wrapper of ``torch.compile``."""
    return getattr(network, "_orig_mod", network)


def device_of(network: Network) -> torch.device:
    """The device of a network's weights; the CPU if it has none."""
    first = next(network.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def frozen_copy(network: Network) -> Network:
    """Return a copy of a network as it is now, on the CPU, in evaluation mode, without gradients.

    Raises:
        ArithprobeError: If it cannot be copied.
    """
    try:
        copied = copy.deepcopy(network)
    except RuntimeError as error:  # a tensor with a graph, kept from an earlier pass
        raise ArithprobeError(
            f"this {type(network).__name__} cannot be copied: {str(error).splitlines()[0]}"
        ) from error
    if isinstance(copied, nn.Module):
        copied.cpu().eval().requires_grad_(False)
    return copied


def common_width(network: Network, sites: Iterable[str]) -> int:
    """Width of the states of some sites.

    Raises:
        ArithprobeError: If their widths differ.
    """
    widths = {site: network.width(site) for site in sites}
    if len(set(widths.values())) > 1:
        shown = ", ".join(f"{site} {width}" for site, width in widths.items())
        raise ArithprobeError(f"sites of several widths ({shown}) cannot be read together; ask for those of one width")
    return next(iter(widths.values()), network.d_model)


def require_network(network: object) -> None:
    """Refuse an object that does not keep the protocol.

    Raises:
        ArithprobeError: If it does not; the text names what is missing.
    """
    if isinstance(network, Network) and isinstance(network, nn.Module):
        return
    if not isinstance(network, nn.Module):
        raise ArithprobeError(f"expected a network, a torch.nn.Module; got a {type(network).__name__}")
    names = [name for name in _PROPERTIES + _METHODS if not hasattr(network, name)]
    raise ArithprobeError(
        f"a {type(network).__name__} has no {', '.join(names)}; HookedNetwork(module, sites, read, example=...) makes "
        "a Network of any module"
    )


def require_evaluation(network: Network) -> None:
    """Refuse a network in training mode.

    Raises:
        ArithprobeError: If it is in training mode; the text says what to do.
    """
    if network.training:
        raise ArithprobeError(
            f"the {type(network).__name__} is in training mode, where two passes may differ; call its eval() first"
        )


def has_heads(network: Network) -> TypeGuard[HeadedNetwork]:
    """Whether a network's attention heads can be taken apart."""
    return isinstance(network, HeadedNetwork)


def require_heads(network: Network, what: str) -> HeadedNetwork:
    """Return the network, if its heads can be taken apart.

    Raises:
        ArithprobeError: If they cannot; the text says what cannot be done.
    """
    if not has_heads(network):
        raise ArithprobeError(f"{what}: a {type(network).__name__} has no heads to take apart (it is no HeadedNetwork)")
    return network


_PROPERTIES = ("d_model", "max_len", "n_layers", "sites", "residual_sites")
_METHODS = ("width", "run_with_cache", "run_from", "only_readout_remains", "untrained")
