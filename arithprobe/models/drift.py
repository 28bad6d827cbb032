"""A drifted network: one that has moved as far from its beginning as the trained one, but in random directions."""

import torch
from torch import nn

from arithprobe.errors import ArithprobeError
from arithprobe.models.network import Network, frozen_copy


def drifted(beginning: Network, now: Network, seed: int) -> Network:
    """Return the network at its beginning, with every weight moved as far as in training, but with a random sign.

    If weights wander with no aim, each as likely up as down and independently, the path of the network and the paths
    with the signs of a seed are draws from one distribution (a sign-flip test in the space of weights), and probe
    scores differ by chance only. The signs of a seed are the same at every step, so they make one path.

    Args:
        beginning: The network before its first step, on the CPU.
        now: The same network later, on any device; its buffers are kept.
        seed: Seed of the signs.

    Raises:
        ArithprobeError: If the network cannot be copied, has no weights, or has other weights than at its beginning.
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
