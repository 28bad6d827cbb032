"""What a run began with: the seed that drew its first weights, and their hash, by which they are known when rebuilt.

A seed and a hash are kept in every checkpoint, not the weights themselves: they go with the file wherever it is copied,
cost nothing, and cannot mislead, since what is rebuilt counts only where its hash is the one that was kept.
"""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from arithprobe.errors import ArithprobeError
from arithprobe.models.network import Network
from arithprobe.models.weights import load_plain_weights


class Initial(NamedTuple):
    """The weights that a run began with."""

    weights: str
    """Their hash, see :func:`~arithprobe.models.checkpoints.weights_hash`."""
    seed: int
    """PyTorch's, when the network was made: what a network made first under it begins with, where nobody has set
    others."""
    file: str | None
    """The file of weights that the run began from; None where they were drawn."""

    @classmethod
    def of(cls, stored: object, path: object) -> "Initial | None":
        """What a checkpoint says; None of one that says nothing.

        Raises:
            ArithprobeError: If it says something else.
        """
        if stored is None:
            return None
        kinds: dict[str, Any] = {"weights": str, "seed": int, "file": str | None}
        if not isinstance(stored, Mapping) or set(stored) != set(kinds):
            raise ArithprobeError(f"{path}: its initial weights are {stored!r}; expected {', '.join(kinds)}")
        for name, kind in kinds.items():
            if not isinstance(stored[name], kind):
                raise ArithprobeError(f"{path}: {name} of its initial weights is {stored[name]!r}")
        return cls(**stored)

    @property
    def origin(self) -> str:
        """Where the weights come from, in words."""
        return f"seed {self.seed}" if self.file is None else self.file

    def rebuilt(self, network: Network) -> Network:
        """The network with weights as they were, as far as seed or file say; their hash tells whether they are.

        Raises:
            ArithprobeError: If there is no way to make them.
        """
        if self.file is None:
            return network.untrained(self.seed)
        other = copy.deepcopy(network)
        if isinstance(other, nn.Module):
            load_plain_weights(other, self.file)
        return other
