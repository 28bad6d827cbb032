"""Site maps: where the sites of a module are, as the user says in Python or YAML."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from torch import Tensor, nn

from arithprobe.errors import ArithprobeError
from arithprobe.models.network import Side, Site, no_such_site

SiteMap = Mapping[str, "str | Site | Mapping[str, Any]"]
"""For each site a module's name, a ``Site``, or its fields."""


def read_site_map(given: object, module: nn.Module) -> dict[str, Site]:
    """Read a site map, from a YAML file if it is one, and check it against a module.

    Raises:
        ArithprobeError: If it is not a site map, or names no module; the text gives a near match.
    """
    sites = {name: _site(name, one) for name, one in _read(given).items()}
    known = [name for name, _ in module.named_modules() if name]
    for name, site in sites.items():
        if site.module not in known:
            error = no_such_site(site.module, known)
            raise ArithprobeError(f"site {name!r}: {str(error).replace('site', 'module')}")
    return sites


def width_of(name: str, site: Site, state: Tensor, ids: Tensor) -> int:
    """The width D of a site, from its state on (B, T) ``ids``: (B, T, D), or (B, T, H, D / H) with heads.

    Raises:
        ArithprobeError: If the state has neither shape, or heads cannot be told from tokens.
    """
    heads, shape = site.n_heads, tuple(state.shape)
    where = f"site {name!r}: the {site.side} of {site.module!r} is {shape}"
    if heads is not None and state.ndim == 4 and shape[2] == heads:
        if shape[1] == heads:
            raise ArithprobeError(
                f"{where}; tokens cannot be told from heads where there are {heads} of both: give an example of "
                "another length, or map the site to where heads lie side by side, (B, T, D)"
            )
        state = state.flatten(2)
    if state.ndim != 3 or state.shape[:2] != ids.shape:
        raise ArithprobeError(f"{where}; expected (B, T, D), ({', '.join(map(str, ids.shape))}, D)")
    width = state.shape[-1]
    if width % (heads or 1):
        raise ArithprobeError(f"site {name!r}: {heads} heads do not divide its width, {width}")
    return width


def _read(given: object) -> Mapping[str, object]:
    if isinstance(given, Mapping):
        return given
    if not isinstance(given, (str, Path)):
        raise ArithprobeError(
            f"sites is a {type(given).__name__}; expected a map such as {{'resid_post.0': 'blocks.0'}}, or a YAML file"
        )
    try:
        found = yaml.safe_load(Path(given).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ArithprobeError(f"{given}: cannot be read as a site map: {str(error).splitlines()[0]}") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ArithprobeError(f"{given}: holds no site map; expected lines such as 'resid_post.0: blocks.0'")
    return found


def _site(name: str, given: object) -> Site:
    """A site as it was given.

    Raises:
        ArithprobeError: If it has no module, a side that there is not, or no number of heads.
    """
    site = given if isinstance(given, Site) else Site(given) if isinstance(given, str) else None
    if site is None and isinstance(given, Mapping) and "module" in given and set(given) <= set(Site._fields):
        site = Site(**given)
    if site is None or type(site.module) is not str or site.side not in get_args(Side):
        raise ArithprobeError(
            f"site {name!r} is {given!r}; expected the name of a module, or module, side "
            f"({' or '.join(get_args(Side))}) and n_heads"
        )
    heads: object = site.n_heads
    if heads is not None and (type(heads) is not int or heads < 1):
        raise ArithprobeError(f"site {name!r}: n_heads is {heads!r}; expected a number of heads, 1 or more")
    return site
