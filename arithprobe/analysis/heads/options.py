"""The options of ``arithprobe heads``; no PyTorch is imported, so that its help is quick."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from arithprobe.errors import ArithprobeError, several
from arithprobe.interventions.kinds import AblationKind, require_kind
from arithprobe.limits import require_ranges


@dataclass(frozen=True)
class HeadOptions:
    """Which pictures, which ablations, and against which controls.

    Raises:
        ArithprobeError: If an option is out of range.
    """

    sample_idx: Sequence[int] | None = None
    """Rows whose attention maps to draw, counted from 0; the first three if not given."""
    ablations: Sequence[AblationKind] = ("zero", "mean", "resample")
    """What replaces the output of a head: zero, mean (by role), resample (the output for another row)."""
    draws: int = 99
    """Random subspaces of z, of the dimension of a head, as controls for the heads of each layer; under mean ablation,
    or the first ablation asked for."""
    twins: int = 3
    """Untrained networks of the same architecture to compare with; 0 for none."""
    max_examples: int = 2000
    """Largest number of rows to ablate and patch, from the first; attention statistics are of all rows."""
    no_causal: bool = False
    """Leave out ablation, patching and direct contributions."""
    seed: int = 0
    """Seed of donors, random subspaces and untrained networks."""

    least: ClassVar[Mapping[str, float]] = {"draws": 0, "twins": 0, "max_examples": 1, "seed": 0}
    """The smallest value of each number."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ablations", several("ablations", self.ablations))
        if self.sample_idx is not None:
            object.__setattr__(self, "sample_idx", several("sample_idx", self.sample_idx, int))
        require_ranges("", self, self.least)
        if not self.ablations and not self.no_causal:
            raise ArithprobeError("ablations is empty; expected at least one, or no_causal")
        for one in self.ablations:
            require_kind(one, AblationKind, "choice among ablations")

    @property
    def main(self) -> AblationKind:
        """The main ablation, compared with random subspaces and shown in the scatter: ``mean``, if requested."""
        return "mean" if "mean" in self.ablations else self.ablations[0]
