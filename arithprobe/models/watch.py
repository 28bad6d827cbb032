"""What a forward pass comes by, and in which order."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from torch import nn

from arithprobe.models.network import Side


@contextmanager
def watched(modules: Iterable[tuple[str, nn.Module, Side]]) -> Iterator[list[str]]:
    """Note when some modules begin (side ``input``) or end (side ``output``).

    Args:
        modules: A name, the module, and its side.

    Yields:
        The names, one for every time that a pass comes by; filled by the passes.
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
