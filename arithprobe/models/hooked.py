"""Any ``torch.nn.Module`` as a :class:`~arithprobe.models.network.Network`: by hooks, and by whole edited passes.

The caller says where the states are. There is no list of architectures: a site map is a few lines, in Python or YAML.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
import yaml
from torch import Tensor, nn

from arithprobe.errors import ArithprobeError
from arithprobe.models.blocks import Activations
from arithprobe.models.cells import placed
from arithprobe.models.hooks import capture, edit
from arithprobe.models.network import Side, Site, no_such_site
from arithprobe.problems.rows import Inputs

SiteMap = Mapping[str, "str | Site | Mapping[str, Any]"]
_INNER = "inner"  # the attribute that holds the module
_RESIDUAL = re.compile(r"embed|final|resid_(pre|mid|post)\.[0-9]+")
_TOKENS = 16_384  # that are run at a time


class HookedNetwork(nn.Module):
    """A module with a site map.

    >>> module = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 8), nn.Linear(8, 3))
    >>> network = HookedNetwork(module, {"embed": "0", "resid_post.0": "1"}, example=torch.tensor([[1, 2], [3, 4]]))
    >>> network.residual_sites, network.d_model, network(torch.tensor([[1, 2]]), torch.tensor([2])).shape
    (('embed', 'resid_post.0'), 8, torch.Size([1, 3]))

    Args:
        module: The module; its weights stay its own.
        sites: For each site the name of the module whose output it is, or a ``Site``, or ``{module: ..., side: input}``
            (with ``n_heads`` where it holds the outputs of heads); from the embedding on. Or a YAML file of these.
        read: What of the module's outputs the answers are read from: (B, K), or (B, T, K), of which the last real token
            counts. The outputs themselves by default.
        example: (B, T) token ids of a few prompts, or ``Inputs``: run once, to see what the sites hold.
        call: Runs the module on ``Inputs``; ``module(ids)`` by default.
        residual: The sites along the residual stream; by default those called ``embed``, ``resid_pre.l``,
            ``resid_mid.l``, ``resid_post.l`` and ``final``.
        factory: Makes an untrained module of the same architecture; without it there are no untrained twins.
        max_len: Tokens of the longest prompt that it reads.

    Raises:
        ArithprobeError: If a site names no module, is never reached, or holds no (B, T, D); if the residual sites are
            none or of several widths; or if what is read has another number of rows.
    """

    def __init__(
        self,
        module: nn.Module,
        sites: SiteMap | str | Path,
        read: Callable[[Any], Tensor] = lambda outputs: outputs,
        *,
        example: Tensor | Inputs,
        call: Callable[[nn.Module, Inputs], Any] = lambda module, inputs: module(inputs.ids),
        residual: Sequence[str] | None = None,
        factory: Callable[[], nn.Module] | None = None,
        max_len: int | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise ArithprobeError(f"expected a torch.nn.Module, got a {type(module).__name__}")
        self._sites = {name: _site(name, one) for name, one in _read_map(sites).items()}
        for name, site in self._sites.items():
            if dict(module.named_modules()).get(site.module) is None:
                error = no_such_site(site.module, [known for known, _ in module.named_modules() if known])
                raise ArithprobeError(f"site {name!r}: {str(error).replace('site', 'module')}")
        self.inner, self._read, self._call, self._factory = module, read, call, factory
        self._residual, self.max_len = residual, max_len
        self._example = example if isinstance(example, Inputs) else _whole(example)
        self._widths = self._measured()
        self.residual_sites = self._residual_sites()
        self.d_model = self._widths[self.residual_sites[-1]]
        self.train(module.training)

    @property
    def sites(self) -> dict[str, Site]:
        """The sites, by the names of modules inside this one."""
        return {name: site._replace(module=f"{_INNER}.{site.module}") for name, site in self._sites.items()}

    @property
    def n_layers(self) -> int:
        """One more than the largest number of a site."""
        return 1 + max(
            (int(found[0]) for site in self._sites if (found := re.findall(r"\.([0-9]+)$", site))), default=0
        )

    def width(self, site: str) -> int:
        """Width of the states of a site, as the example had it."""
        return self._widths[site]

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """(B, K) outputs.

        Raises:
            ArithprobeError: If what is read is no tensor (B, K) or (B, T, K).
        """
        found: object = self._read(self._call(self.inner, Inputs(ids, lengths)))
        if not isinstance(found, Tensor) or found.ndim not in (2, 3) or len(found) != len(ids):
            got = tuple(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise ArithprobeError(
                f"read gives {got} for {len(ids)} rows; expected ({len(ids)}, K), or ({len(ids)}, {ids.shape[1]}, K)"
            )
        outputs: Tensor = found
        return outputs if outputs.ndim == 2 else outputs[torch.arange(len(ids), device=outputs.device), lengths - 1]

    def run_with_cache(self, inputs: Inputs, *, patterns: bool = False) -> tuple[Tensor, Activations]:
        """The outputs, and the states of all sites; attention probabilities are not known here."""
        with capture(self, list(self._sites)) as states:
            outputs = self(*inputs)
        return outputs, Activations(states, {})

    def run_from(
        self, site: str, cells: Tensor, token: Tensor, valid: Tensor, states: dict[str, Tensor], inputs: Inputs
    ) -> Tensor:
        """The outputs with the states of some cells replaced, by whole passes; see ``Network``."""
        if site not in self._sites:
            raise no_such_site(site, self._sites)
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
        """Whether a site is ``final``, or the last layer's ``resid_post``."""
        return site in ("final", f"resid_post.{self.n_layers - 1}")

    def untrained(self, seed: int) -> "HookedNetwork":
        """The same of what the factory makes under a seed, in evaluation mode, without gradients.

        Raises:
            ArithprobeError: If there is no factory, or it makes another architecture.
        """
        if self._factory is None:
            raise ArithprobeError("this HookedNetwork was made without a factory=..., which makes untrained modules")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            module = self._factory().to(next(self.inner.parameters()))
        if module is self.inner:
            raise ArithprobeError("the factory gives this network's own module; expected a new one at every call")
        shapes, own = ({name: value.shape for name, value in one.state_dict().items()} for one in (module, self.inner))
        if shapes != own:
            raise ArithprobeError("the factory makes a module with other weights than this network's")
        twin = HookedNetwork(
            module.eval(), self._sites, self._read, example=self._example, call=self._call, residual=self._residual,
            factory=self._factory, max_len=self.max_len,
        )  # fmt: skip
        return twin.requires_grad_(False)

    def _measured(self) -> dict[str, int]:
        """Width of each site, from a pass over the example."""
        training, (ids, _) = self.inner.training, self._example
        device = next(self.inner.parameters()).device
        try:
            self.inner.eval()
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                _, (states, _) = self.run_with_cache(Inputs(*(one.to(device) for one in self._example)))
        finally:
            self.inner.train(training)
        for site, state in states.items():
            if state.ndim != 3 or state.shape[:2] != ids.shape:
                raise ArithprobeError(
                    f"site {site!r}: the {self._sites[site].side} of {self._sites[site].module!r} is "
                    f"{tuple(state.shape)}; expected (B, T, D), ({', '.join(map(str, ids.shape))}, D)"
                )
        return {site: state.shape[-1] for site, state in states.items()}

    def _residual_sites(self) -> tuple[str, ...]:
        """The sites along the residual stream, all of one width."""
        found = tuple(filter(_RESIDUAL.fullmatch, self._sites) if self._residual is None else self._residual)
        for site in found:
            if site not in self._sites:
                raise no_such_site(site, self._sites)
        widths = {self._widths[site] for site in found}
        if len(widths) != 1:
            what = f"of widths {sorted(widths)}" if widths else f"none of {', '.join(self._sites) or 'no sites'}"
            raise ArithprobeError(
                f"the residual sites are {what}; call them embed, resid_mid.0, resid_post.0, ..., final, or name them "
                "in residual=[...], all of one width"
            )
        return found


def _read_map(sites: SiteMap | str | Path) -> SiteMap:
    """A site map, read from a YAML file if it is one."""
    if isinstance(sites, Mapping):
        return sites
    try:
        found = yaml.safe_load(Path(sites).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ArithprobeError(f"{sites}: cannot be read as a site map: {str(error).splitlines()[0]}") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ArithprobeError(f"{sites}: holds no site map; expected lines such as 'resid_post.0: blocks.0'")
    return found


def _site(name: str, given: object) -> Site:
    """A site as it was given.

    Raises:
        ArithprobeError: If it has no module, or a side that there is not.
    """
    site = given if isinstance(given, Site) else Site(given) if isinstance(given, str) else None
    if site is None and isinstance(given, Mapping) and "module" in given and set(given) <= set(Site._fields):
        site = Site(**given)
    if site is None or type(site.module) is not str or site.side not in get_args(Side):
        raise ArithprobeError(
            f"site {name!r} is {given!r}; expected the name of a module, or module, side "
            f"({' or '.join(get_args(Side))}) and n_heads"
        )
    return site


def _whole(ids: object) -> Inputs:
    """Prompts without padding."""
    if not isinstance(ids, Tensor) or ids.ndim != 2 or not ids.numel():
        raise ArithprobeError("example: expected (B, T) token ids of a prompt or more, or Inputs(ids, lengths)")
    return Inputs(ids, torch.full((len(ids),), ids.shape[1]))
