"""Context managers over PyTorch's forward hooks that read and edit the intermediate states of a model.

A *site* is the output of a module, by the module's name in ``model.named_modules()``. A model may give its sites other
names in a mapping ``sites``, as :class:`~arithprobe.models.transformer.TinyTransformer` does (``resid_post.0`` is the
output of ``enc.layers.0.resid_post``). A site may also be a module's input (:class:`~arithprobe.models.network.Site`).
If a module returns a tuple, or has several inputs, the site is the first of them. An edit of an input is written into
the tensor itself: other modules that read it, such as the residual stream past a norm, read the edited state too.

>>> import torch
>>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
>>> h = torch.ones(3, 4, 2)
>>> with capture(model, ["0"]) as states, edit(model, "0", torch.zeros_like):
...     output = model(h)
>>> states["0"].shape, bool((output == model[1].bias).all())
(torch.Size([3, 4, 2]), True)

Contexts nest: hooks run in the order in which they were entered, so an edit acts on the result of earlier edits, and a
capture sees the edits entered before it. On leaving a context, also by an exception, its hooks are removed, and other
hooks stay. A hook that never fired is an error: an edit that nothing noticed is not a result.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from arithprobe.errors import ArithprobeError, several
from arithprobe.models.cells import named_tokens
from arithprobe.models.network import Site, no_such_site

EditFunction = Callable[[Tensor], Tensor]


@contextmanager
def capture(model: nn.Module, sites: Sequence[str], *, copies: bool = False) -> Iterator[dict[str, Tensor]]:
    """Keep the states of some sites, with their graph; after several forward passes, those of the last.

    They are the model's own tensors: a later in-place write into one shows up here, unless ``copies`` is set.

    Args:
        model: Any module.
        sites: Names of sites.
        copies: Keep copies of the states as they are when the model reaches the site.

    Yields:
        The states by site, (B, T, D) each; filled by the forward pass.

    Raises:
        ArithprobeError: If there is no such site, or, on leaving, if the model never reached one of them.
    """
    states: dict[str, Tensor] = {}

    def keep(site: str) -> EditFunction:
        def look(state: Tensor) -> Tensor:
            states[site] = state.clone() if copies else state
            return state

        return look

    with ExitStack() as stack:
        for site in dict.fromkeys(several("sites", sites)):
            stack.enter_context(edit(model, site, keep(site)))
        yield states


@contextmanager
def edit(
    model: nn.Module, site: str, fn: EditFunction, positions: Tensor | None = None, *, head: int | None = None
) -> Iterator[None]:
    """Replace the state of a site by a function of it, in every forward pass inside the block.

    Args:
        model: Any module.
        site: Name of a site.
        fn: Takes the states, returns states of the same shape and type. Gradients flow through it.
        positions: Where to edit. None: the whole state, (B, T, D) or of any other shape. (B,) or (B, P) int64 token
            indices: ``fn`` gets (B, D) or (B, P, D); if a token is named twice, the last counts. (B, T) bool: ``fn``
            gets the (n, D) states where it is True.
        head: One head of a site that has heads; ``fn`` gets only its D / H dimensions.

    Raises:
        ArithprobeError: If there is no such site or head; if positions do not fit the batch or lie outside the prompt;
            if ``fn`` returns another shape, dtype or device; or, on leaving, if the model never reached the site.
    """
    module, found = module_of(model, site), site_of(model, site)
    _check_positions(positions, site)
    fn = fn if head is None else _of_head(fn, head, site, found.n_heads)
    calls = 0

    def changed(state: object) -> Tensor | None:
        """The edited state, or None where it is the same."""
        nonlocal calls
        calls += 1
        if not isinstance(state, Tensor):
            raise ArithprobeError(f"site {site!r} is a {type(state).__name__}; expected a tensor")
        if state.is_nested:
            raise ArithprobeError(f"site {site!r} is a nested tensor; make the encoder with enable_nested_tensor=False")
        split = found.n_heads is not None and state.ndim == 4
        joined = state.flatten(2) if split else state
        edited = _edited(joined, fn, positions, site)
        if edited is joined:
            return None
        return edited.view(state.shape) if split else edited

    def after(_: nn.Module, __: Any, output: Any) -> Any:
        edited = changed(output[0] if isinstance(output, tuple) else output)
        if edited is None or not isinstance(output, tuple):
            return edited
        parts = (edited, *output[1:])
        return type(output)(*parts) if hasattr(output, "_fields") else parts

    def before(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        state = args[0] if args else next(iter(named.values()), None)
        edited = changed(state)
        if edited is not None and isinstance(state, Tensor):
            _write(state, edited, model, site)

    if found.side == "input":
        handle = module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()
    if not calls:
        raise ArithprobeError(
            f"the hook at {site!r} never fired: the model was not run inside the block, or not past it"
        )


def sites_of(model: nn.Module) -> dict[str, Site]:
    """The sites of a model: those that it names, or else the outputs of all its modules."""
    named = getattr(model, "sites", None)
    if isinstance(named, Mapping) and all(isinstance(one, Site) for one in named.values()):
        return dict(named)
    return {name: Site(name) for name in _modules(model)}


def site_of(model: nn.Module, site: str) -> Site:
    """Return a site by its name, or else the output of the module of that name."""
    return sites_of(model).get(site, Site(site))


def module_of(model: nn.Module, site: str) -> nn.Module:
    """The module behind a site.

    Raises:
        ArithprobeError: If there is no such site; the text lists those there are.
    """
    if not isinstance(model, nn.Module):
        raise ArithprobeError(f"hooks go on a torch.nn.Module, got a {type(model).__name__}{_network_of(model)}")
    module = _modules(model).get(site_of(model, site).module)
    if module is None:
        raise no_such_site(site, sites_of(model))
    return module


def _network_of(model: object) -> str:
    """What was meant, of a loaded checkpoint."""
    return "; its network is its .model" if isinstance(getattr(model, "model", None), nn.Module) else ""


def _modules(model: nn.Module) -> dict[str, nn.Module]:
    """All modules inside by name; one that has two names is there twice."""
    return {name: module for name, module in model.named_modules(remove_duplicate=False) if name}


def _check_positions(positions: object, site: str) -> None:
    if positions is None:
        return
    kinds = {torch.int64: (1, 2), torch.bool: (2,)}
    if not isinstance(positions, Tensor) or positions.ndim not in kinds.get(positions.dtype, ()):
        found = f"of type {type(positions).__name__}"
        if isinstance(positions, Tensor):
            found = f"{positions.dtype} {tuple(positions.shape)}"
        raise ArithprobeError(
            f"positions of the edit at {site!r} are {found}; expected int64 (B,) or (B, P), or bool (B, T)"
        )


def _edited(state: Tensor, fn: EditFunction, positions: Tensor | None, site: str) -> Tensor:
    if positions is None:
        return _same_kind(fn(state), state, site)
    if state.ndim < 3 or len(positions) != len(state):
        raise ArithprobeError(
            f"positions of the edit at {site!r} are for {len(positions)} rows; the state is {tuple(state.shape)}"
        )
    positions = positions.to(state.device)
    if positions.dtype == torch.bool:
        if positions.shape != state.shape[:2]:
            raise ArithprobeError(
                f"positions of the edit at {site!r} are {tuple(positions.shape)}; expected {tuple(state.shape[:2])}"
            )
        index: tuple[Tensor, ...] = (positions,)
    else:
        outside = (positions < 0) | (positions >= state.shape[1])
        if bool(outside.any()):
            raise ArithprobeError(
                f"a position of the edit at {site!r} is {int(positions[outside][0])}; "
                f"the prompts have tokens 0 to {state.shape[1] - 1}"
            )
        rows = torch.arange(len(state), device=state.device)
        index = (rows if positions.ndim == 1 else rows[:, None], positions)
    chosen = state[index]
    edited = _same_kind(fn(chosen), chosen, site)
    if positions.ndim == 2 and positions.dtype != torch.bool:  # a token may be there twice
        rows, tokens, position = named_tokens(positions, torch.ones_like(positions, dtype=torch.bool), state.shape[1])
        index, edited = (rows, tokens), edited[rows, position]
    return state.index_put(index, edited)


def _write(state: Tensor, edited: Tensor, model: nn.Module, site: str) -> None:
    """Write into a tensor in place.

    Raises:
        ArithprobeError: If it cannot be written to, or is a weight of the model.
    """
    weights = (one.untyped_storage().data_ptr() for one in (*model.parameters(), *model.buffers()))
    if state.untyped_storage().data_ptr() in weights:
        raise ArithprobeError(f"site {site!r} is a weight of the model; map it to a module's output")
    try:
        state.copy_(edited)
    except RuntimeError as error:
        raise ArithprobeError(
            f"site {site!r}: the input of its module cannot be written to ({str(error).splitlines()[0]}); map the site "
            "to the output of a module"
        ) from error


def _of_head(fn: EditFunction, head: int, site: str, n_heads: int | None) -> EditFunction:
    """A function of whole states that changes the dimensions of one head."""
    if n_heads is None or type(head) is not int or not 0 <= head < n_heads:
        has = "has no heads" if n_heads is None else f"has heads 0 to {n_heads - 1}"
        raise ArithprobeError(f"head {head!r} of site {site!r}: the site {has}")

    def whole(state: Tensor) -> Tensor:
        parts = list(state.chunk(n_heads, dim=-1))
        parts[head] = _same_kind(fn(parts[head]), parts[head], site)
        return torch.cat(parts, dim=-1)

    return whole


def _same_kind(edited: object, state: Tensor, site: str) -> Tensor:
    if not isinstance(edited, Tensor):
        raise ArithprobeError(f"the edit at {site!r} returned a {type(edited).__name__}; expected a tensor")
    if (edited.shape, edited.dtype, edited.device) != (state.shape, state.dtype, state.device):
        raise ArithprobeError(f"the edit at {site!r} returned {_shown(edited)}; expected {_shown(state)}")
    return edited


def _shown(state: Tensor) -> str:
    return f"{state.dtype} {tuple(state.shape)} on {state.device}"
