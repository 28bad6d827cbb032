"""The order in which a forward pass reaches modules and matrix products."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from arithprobe.models.network import Side


@contextmanager
def watched(modules: Iterable[tuple[str, nn.Module, Side]]) -> Iterator[list[str]]:
    """Record when some modules begin (side ``input``) or end (side ``output``).

    Args:
        modules: A name, the module, and its side.

    Yields:
        The names, one for every time that a pass reaches the module; filled by the passes.
    """
    seen, handles = list[str](), []
    for name, module, side in modules:
        note = partial(_note, seen, name)
        handles.append((module.register_forward_pre_hook if side == "input" else module.register_forward_hook)(note))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _note(seen: list[str], name: str, *_: object) -> None:
    seen.append(name)


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every matrix product, as an empty name.

    Args:
        seen: The list to record in.
    """

    _OF_MATRICES = ("mm", "mv", "dot", "conv", "attention", "rnn", "gru", "lstm", "linear")

    def __init__(self, seen: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and note it."""
        name = func.name()
        if any(part in name for part in self._OF_MATRICES):
            self._seen.append("")
        return func(*args, **(kwargs or {}))
