"""What ``arithprobe reproduce`` can be asked for; without PyTorch, so that its help is quick."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from arithprobe.errors import ArithprobeError, require_at_least, several
from arithprobe.limits import require_within

NotebookTask = Literal["REG-SUM", "REG-MODK"]
_SETTING = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]?)")


@dataclass(frozen=True)
class ReproduceOptions:
    """How many controls, and which networks.

    Raises:
        ArithprobeError: If an option is out of range.
    """

    task: NotebookTask | None = None
    """REG-SUM or REG-MODK; that of the rows by default."""
    mlp_settings: tuple[str, ...] = ("128x1",)
    """Hidden units x layers of the MLP probes; the notebook's are 128x1 128x2 256x2 256x4 512x4."""
    no_mlp: bool = False
    """Leave the MLP probes out; they take most of the time."""
    shuffles: int = 30
    """Permutations of the labels for the null."""
    mlp_shuffles: int = 5
    """The same for the MLP probes, each of them trained anew."""
    twins: int = 3
    """Untrained networks of the same architecture."""
    seed: int = 0
    """Seed of the permutations and of the untrained networks; the notebook's own seeds stay."""
    mlp_epochs: int = 200
    """Epochs of the MLP probes at most; the notebook's 200."""

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in get_args(NotebookTask):
            raise ArithprobeError(f"task is {self.task!r}; expected one of {', '.join(get_args(NotebookTask))}")
        object.__setattr__(self, "mlp_settings", several("mlp_settings", self.mlp_settings))
        least = {"shuffles": 2, "mlp_shuffles": 2, "twins": 1, "seed": 0, "mlp_epochs": 1}
        require_at_least("", **{name: (getattr(self, name), lowest) for name, lowest in least.items()})
        require_within("", **{name: getattr(self, name) for name in least})
        for hidden, depth in self.layers():
            require_within("mlp_settings: ", hidden=hidden, depth=depth)

    def layers(self) -> list[tuple[int, int]]:
        """Hidden units and depth of each MLP probe asked for.

        Raises:
            ArithprobeError: If a setting is not of the form 128x1, or there is none.
        """
        if not self.mlp_settings:
            raise ArithprobeError("mlp_settings is empty; expected settings such as 128x1, or no_mlp true")
        found = [_SETTING.fullmatch(setting) for setting in self.mlp_settings]
        for setting, match in zip(self.mlp_settings, found, strict=True):
            if match is None:
                raise ArithprobeError(f"mlp_settings has {setting!r}; expected hidden units x layers, such as 128x1")
        return [(int(match[1]), int(match[2])) for match in found if match is not None]
