"""What ``arithprobe heads`` can be asked for; without PyTorch, so that its help is quick."""

from collections.abc import Sequence
from dataclasses import dataclass

from arithprobe.errors import ArithprobeError, require_at_least, several
from arithprobe.interventions.kinds import AblationKind, require_kind
from arithprobe.limits import require_within


@dataclass(frozen=True)
class HeadOptions:
    """Which pictures, which ablations, and against which controls.

    Raises:
        ArithprobeError: If an option is out of range.
    """

    sample_idx: Sequence[int] | None = None
    """Rows whose attention maps are drawn, from 0; the first three if not given."""
    ablations: Sequence[AblationKind] = ("zero", "mean", "resample")
    """What takes the place of a head's output: zero, mean (by role), resample (that of another row)."""
    draws: int = 99
    """Random subspaces of z, as many dimensions as a head has, beside the heads of each layer; under mean ablation, or
    the first of those asked for."""
    twins: int = 3
    """Untrained networks of the same architecture; 0 for none."""
    max_examples: int = 2000
    """At most so many rows are ablated and patched, the first; the statistics are of all rows."""
    no_causal: bool = False
    """Leave ablation, patching and direct contributions out."""
    seed: int = 0
    """Seed of donors, random subspaces and untrained networks."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ablations", several("ablations", self.ablations))
        if self.sample_idx is not None:
            object.__setattr__(self, "sample_idx", several("sample_idx", self.sample_idx, int))
        least = {"draws": 0, "twins": 0, "max_examples": 1, "seed": 0}
        require_at_least("", **{name: (getattr(self, name), lowest) for name, lowest in least.items()})
        require_within("", **{name: getattr(self, name) for name in least})
        if not self.ablations and not self.no_causal:
            raise ArithprobeError("ablations is empty; expected at least one, or no_causal")
        for one in self.ablations:
            require_kind(one, AblationKind, "choice among ablations")

    @property
    def main(self) -> AblationKind:
        """The ablation that stands beside random subspaces and in the scatter: ``mean``, if asked for."""
        return "mean" if "mean" in self.ablations else self.ablations[0]
