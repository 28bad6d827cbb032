"""A network that has moved as far as another since its beginning, but nowhere in particular."""

import torch
from torch import nn

from arithprobe.errors import ArithprobeError
from arithprobe.models.network import Network, frozen_copy


def drifted(beginning: Network, now: Network, seed: int) -> Network:
    """The beginning, every weight moved as far as it is from it now, up or down by the toss of a coin.

    Where weights wander with no aim, each as likely up as down and each by itself, the path of the network and the
    paths with the signs of a seed are draws from one distribution (a sign-flip test, in the space of weights): what a
    probe reads differs by chance only. The signs of a seed are the same at every step, so they make one path.

    Args:
        beginning: The network before its first step, on the CPU.
        now: The same network later, on any device; its buffers are kept.
        seed: Of the signs.

    Raises:
        ArithprobeError: If it cannot be copied, has no weights, or other ones than at its beginning.
    """
    moved = frozen_copy(now)
    if not isinstance(moved, nn.Module) or not isinstance(beginning, nn.Module):
        raise ArithprobeError(f"this {type(now).__name__} has no weights to move")
    start = dict(beginning.named_parameters())
    generator = torch.Generator().manual_seed(seed)
    if {name: one.shape for name, one in start.items()} != {name: one.shape for name, one in moved.named_parameters()}:
        raise ArithprobeError(f"this {type(now).__name__} has other weights than at its beginning")
    for name, weight in moved.named_parameters():
        sign = torch.randint(0, 2, weight.shape, generator=generator) * 2 - 1
        weight.data = start[name].data + sign * (weight.data - start[name].data)
    return moved
