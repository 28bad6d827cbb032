"""The first weights of a run: the seed that drew them, and the hash that identifies them when rebuilt.

Every checkpoint keeps a seed and a hash instead of the weights: they stay with the file wherever it is copied, cost
nothing, and cannot mislead, since rebuilt weights count only if their hash is the one that was kept.
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
        """Return the record of a checkpoint, or None if it has none.

        Raises:
            ArithprobeError: If the record is malformed.
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
        """The origin of the weights, in words."""
        return f"seed {self.seed}" if self.file is None else self.file

    def rebuilt(self, network: Network) -> Network:
        """Rebuild the network with its first weights from the seed or file; their hash tells whether they are equal.

        Raises:
            ArithprobeError: If there is no way to make them.
        """
        if self.file is None:
            return network.untrained(self.seed)
        other = copy.deepcopy(network)
        if isinstance(other, nn.Module):
            load_plain_weights(other, self.file)
        return other
