"""The options of ``arithprobe reproduce``; no PyTorch is imported, so that its help is quick."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from arithprobe.errors import ArithprobeError, several
from arithprobe.limits import require_ranges, require_within

NotebookTask = Literal["REG-SUM", "REG-MODK"]
_SETTING = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]?)")


@dataclass(frozen=True)
class ReproduceOptions:
    """How many controls, and which networks.

    Raises:
        ArithprobeError: If an option is out of range.
    """

    task: NotebookTask | None = None
    """REG-SUM or REG-MODK; the task of the rows if not given."""
    mlp_settings: tuple[str, ...] = ("128x1",)
    """Hidden units x layers of the MLP probes. The notebook has 128x1 128x2 256x2 256x4 512x4."""
    no_mlp: bool = False
    """Leave out the MLP probes, which take most of the time."""
    shuffles: int = 30
    """Label permutations for the null."""
    mlp_shuffles: int = 5
    """Label permutations for the MLP probes; each trains a new probe."""
    twins: int = 3
    """Untrained networks of the same architecture."""
    seed: int = 0
    """Seed of permutations and untrained networks. The notebook's own seeds do not change."""
    mlp_epochs: int = 200
    """Largest number of epochs of an MLP probe; the notebook has 200."""

    least: ClassVar[Mapping[str, float]] = {"shuffles": 2, "mlp_shuffles": 2, "twins": 1, "seed": 0, "mlp_epochs": 1}
    """The smallest value of each number."""

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in get_args(NotebookTask):
            raise ArithprobeError(f"task is {self.task!r}; expected one of {', '.join(get_args(NotebookTask))}")
        object.__setattr__(self, "mlp_settings", several("mlp_settings", self.mlp_settings))
        require_ranges("", self, self.least)
        for hidden, depth in self.layers():
            require_within("mlp_settings: ", hidden=hidden, depth=depth)

    def layers(self) -> list[tuple[int, int]]:
        """The hidden units and depth of each requested MLP probe.

        Raises:
            ArithprobeError: If a setting does not have the form 128x1, or there is none.
        """
        if not self.mlp_settings:
            raise ArithprobeError("mlp_settings is empty; expected settings such as 128x1, or no_mlp true")
        found = [_SETTING.fullmatch(setting) for setting in self.mlp_settings]
        for setting, match in zip(self.mlp_settings, found, strict=True):
            if match is None:
                raise ArithprobeError(f"mlp_settings has {setting!r}; expected hidden units x layers, such as 128x1")
        return [(int(match[1]), int(match[2])) for match in found if match is not None]
