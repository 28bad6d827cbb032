"""Any ``torch.nn.Module`` as a :class:`~arithprobe.models.network.Network`, through hooks and whole edited passes.

The caller says where the states are. There is no list of architectures: a site map takes a few lines of Python or YAML.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from arithprobe.errors import OF_OTHER_CODE, ArithprobeError, require_at_least, several
from arithprobe.models.blocks import Activations
from arithprobe.models.cells import placed
from arithprobe.models.hooks import capture, edit
from arithprobe.models.network import device_of, no_such_site
from arithprobe.models.seeded import seeded
from arithprobe.models.site_map import SiteMap, read_site_map, width_of
from arithprobe.models.watch import Products, watched
from arithprobe.problems.rows import Inputs

_INNER = "inner"  # the attribute that holds the module
_RESIDUAL = re.compile(r"embed|final|resid_(pre|mid|post)\.[0-9]+")
_NUMBERED = re.compile(r".*\.([0-9]+)")
_TOKENS = 16_384  # that are run at a time


def all_of(outputs: Any) -> Any:
    """Return the outputs as they are."""
    return outputs


def with_ids(module: nn.Module, inputs: Inputs) -> Any:
    """Run a module on token ids alone."""
    return module(inputs.ids)


class HookedNetwork(nn.Module):
    """A ``torch.nn.Module`` with a site map, as a network that probes and interventions can use.

    >>> module = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 8), nn.Linear(8, 3))
    >>> network = HookedNetwork(module, {"embed": "0", "resid_post.0": "1"}, example=torch.tensor([[1, 2], [3, 4]]))
    >>> network.residual_sites, network.d_model, network(torch.tensor([[1, 2]]), torch.tensor([2])).shape
    (('embed', 'resid_post.0'), 8, torch.Size([1, 3]))

    Attributes:
        sites: The sites, by the names of modules inside this one.

    Args:
        module: The module; its weights stay its own.
        sites: For each site, from the embedding on, the name of the module whose output it is, or a ``Site``, or
            ``{module: ..., side: input}`` (with ``n_heads`` if it holds the outputs of heads). Or a YAML file of these.
        read: Picks the outputs that answers are decoded from: (B, K), or (B, T, K), of which the last real token is
            used. By default the module's outputs as they are. Weights that only ``read`` uses are not the network's.
        example: (B, T) token ids of a few prompts, or ``Inputs``; run once to find what the sites hold.
        call: Runs the module on ``Inputs``; ``module(ids)`` by default.
        residual: The sites along the residual stream; by default those called ``embed``, ``resid_pre.l``,
            ``resid_mid.l``, ``resid_post.l`` and ``final``.
        factory: Makes an untrained module of the same architecture; without it there are no untrained twins.
        max_len: Tokens of the longest prompt that the module reads.

    Raises:
        ArithprobeError: If a site names no module, is never reached, or does not hold (B, T, D); if there are no
            residual sites, or they have several widths; or if the module cannot be run, or ``read`` returns another
            number of rows.
    """

    def __init__(
        self,
        module: nn.Module,
        sites: SiteMap | str | Path,
        read: Callable[[Any], Tensor] = all_of,
        *,
        example: Tensor | Inputs,
        call: Callable[[nn.Module, Inputs], Any] = with_ids,
        residual: Sequence[str] | None = None,
        factory: Callable[[], nn.Module] | None = None,
        max_len: int | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise ArithprobeError(f"expected a torch.nn.Module, got a {type(module).__name__}")
        given: dict[str, object] = {"read": read, "call": call, "factory": factory or all_of}
        for name, function in given.items():
            if not callable(function):
                raise ArithprobeError(f"{name} is a {type(function).__name__}; expected a function")
        if isinstance(factory, nn.Module):
            raise ArithprobeError(f"factory is a {type(factory).__name__}; expected a function that makes one")
        require_at_least("", max_len=(1 if max_len is None else max_len, 1))
        self._given = read_site_map(sites, module)
        self.sites = {name: site._replace(module=f"{_INNER}.{site.module}") for name, site in self._given.items()}
        self.inner, self._read, self._call, self._factory = module, read, call, factory
        self._residual, self.max_len = residual, max_len
        self.training = module.training
        self._example = example if isinstance(example, Inputs) else _whole(example)
        self._widths, self._before_readout = self._measured()
        self.residual_sites = self._residual_sites()
        self.d_model = self._widths[self.residual_sites[-1]]

    @property
    def n_layers(self) -> int:
        """Number of layers: one more than the largest layer number of a site."""
        return 1 + max((int(found[1]) for found in map(_NUMBERED.fullmatch, self.sites) if found), default=0)

    def width(self, site: str) -> int:
        """Width of the states of a site, as found with the example.

        Raises:
            ArithprobeError: If there is no such site.
        """
        if site not in self._widths:
            raise no_such_site(site, self._widths)
        return self._widths[site]

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return the (B, K) outputs.

        Raises:
            ArithprobeError: If ``read`` does not return a (B, K) or (B, T, K) tensor.
        """
        found: object = self._read(self._call(self.inner, Inputs(ids, lengths)))
        shape = found.shape if isinstance(found, Tensor) else torch.Size()
        if not isinstance(found, Tensor) or len(shape) not in (2, 3) or shape[:-1] != ids.shape[: len(shape) - 1]:
            got = tuple(shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise ArithprobeError(
                f"read gives {got} for {len(ids)} rows; expected ({len(ids)}, K), or ({len(ids)}, {ids.shape[1]}, K)"
            )
        if not found.is_floating_point():
            raise ArithprobeError(f"read gives {found.dtype}; expected outputs that the loss can be taken of")
        outputs: Tensor = found
        return outputs if outputs.ndim == 2 else outputs[torch.arange(len(ids), device=outputs.device), lengths - 1]

    def run_with_cache(self, inputs: Inputs, *, patterns: bool = False) -> tuple[Tensor, Activations]:
        """Return the outputs, and copies of the states of all sites; attention probabilities are not available."""
        with capture(self, list(self.sites), copies=True) as states:
            outputs = self(*inputs)
        return outputs, Activations(states, {})

    def run_from(
        self, site: str, cells: Tensor, token: Tensor, valid: Tensor, states: dict[str, Tensor], inputs: Inputs
    ) -> Tensor:
        """Return the outputs with the states of some cells replaced, by whole passes; see ``Network``."""
        if site not in self.sites:
            raise no_such_site(site, self.sites)
        ids, lengths = inputs
        token, found = token.where(valid, 0), []
        for part in torch.split(cells, max(1, _TOKENS // ids.numel())):

            def edited(state: Tensor, new: Tensor = part) -> Tensor:
                return placed(state.view(len(new), len(ids), *state.shape[1:]), new, token, valid).flatten(0, 1)

            with edit(self, site, edited):
                outputs = self(ids.repeat(len(part), 1), lengths.repeat(len(part)))
            found.append(outputs.view(len(part), len(ids), -1))
        return torch.cat(found)

    def only_readout_remains(self, site: str) -> bool:
        """Whether at most one matrix product follows a residual site."""
        return site in self._before_readout and site in self.residual_sites

    def untrained(self, seed: int) -> "HookedNetwork":
        """Return an untrained twin that the factory makes under a seed, in evaluation mode, without gradients.

        Raises:
            ArithprobeError: If there is no factory, or it makes another architecture.
        """
        if self._factory is None:
            raise ArithprobeError("this HookedNetwork was made without a factory=..., which makes untrained modules")
        with seeded(seed):
            try:
                module: object = self._factory()
            except OF_OTHER_CODE as error:
                raise ArithprobeError(f"the factory raised {error!r}; expected a function of no arguments") from error
        if module is self.inner or not isinstance(module, nn.Module):
            what = "this network's own module" if module is self.inner else f"a {type(module).__name__}"
            raise ArithprobeError(f"the factory gives {what}; expected a new module at every call")
        own = self.inner.state_dict()
        if {name: value.shape for name, value in module.state_dict().items()} != {
            name: value.shape for name, value in own.items()
        }:
            raise ArithprobeError("the factory makes a module with other weights than this network's")
        kinds = {value.dtype for value in own.values() if value.is_floating_point()}
        module.to(device_of(self), *kinds if len(kinds) == 1 else ())
        twin = HookedNetwork(
            module.eval(),
            self._given,
            self._read,
            example=self._example,
            call=self._call,
            residual=self._residual,
            factory=self._factory,
            max_len=self.max_len,
        )
        return twin.requires_grad_(False)

    def _measured(self) -> tuple[dict[str, int], set[str]]:
        """Width of each site, and the sites after which at most one product of matrices is made, from a pass."""
        modes = {module: module.training for module in self.modules()}
        ids, lengths = (one.to(device_of(self)) for one in self._example)
        if ids.shape[0] == ids.shape[1]:  # so that rows are not taken for tokens
            ids, lengths = torch.cat([ids, ids[:1]]), torch.cat([lengths, lengths[:1]])
        sites, self.sites = self.sites, {name: site._replace(n_heads=None) for name, site in self.sites.items()}
        modules = [(name, self.get_submodule(site.module), site.side) for name, site in sites.items()]
        try:
            self.eval()
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                _, (states, _) = self.run_with_cache(Inputs(ids, lengths))
                with watched(modules) as ran, Products(ran):
                    self(ids, lengths)
        except OF_OTHER_CODE as error:
            raise ArithprobeError(
                f"the module cannot be run on the example {tuple(ids.shape)}: {str(error).splitlines()[0]}"
            ) from error
        finally:
            self.sites = sites
            for module, mode in modes.items():
                module.training = mode
        widths = {name: width_of(name, site, states[name], ids) for name, site in self._given.items()}
        return widths, {name for name in sites if ran[ran.index(name) :].count("") <= 1}

    def _residual_sites(self) -> tuple[str, ...]:
        """The sites along the residual stream, all of one width."""
        named = filter(_RESIDUAL.fullmatch, self.sites) if self._residual is None else self._residual
        found = tuple(dict.fromkeys(several("residual", named)))
        for site in found:
            if site not in self.sites:
                raise no_such_site(site, self.sites)
        widths = {self._widths[site] for site in found}
        if len(widths) != 1:
            what = f"of widths {sorted(widths)}" if widths else f"none of {', '.join(self.sites) or 'no sites'}"
            raise ArithprobeError(
                f"the residual sites are {what}; call them embed, resid_mid.0, resid_post.0, ..., final, or name them "
                "in residual=[...], all of one width"
            )
        return found


def _whole(ids: object) -> Inputs:
    """Prompts without padding."""
    if not isinstance(ids, Tensor) or ids.ndim != 2 or not ids.numel() or ids.is_floating_point():
        raise ArithprobeError("example: expected (B, T) token ids of a prompt or more, or Inputs(ids, lengths)")
    return Inputs(ids, torch.full((len(ids),), ids.shape[1]))
