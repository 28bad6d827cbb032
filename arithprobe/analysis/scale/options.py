"""The options of the measures of a sweep; no PyTorch is imported, so that help is quick."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from arithprobe.errors import ArithprobeError, require_at_most, several
from arithprobe.limits import require_ranges
from arithprobe.logic import FEWEST_DRAWS

_LARGEST_FREQUENCY = 48  # as far as other Fourier probes look unless asked for more; all there are of 97


@dataclass(frozen=True)
class ScaleOptions:
    """How each trial is measured, at the readout (``final``, last token), on the validation rows.

    Raises:
        ArithprobeError: If an option is out of range.
    """

    frequencies: Sequence[int] = (1, 3, 6, 12)
    """Fourier probes of the residue use the frequencies 1 to N, for each of these N up to half the modulus."""
    ablate: int = 6
    """Highest frequency whose plane is ablated, up to half the modulus. Without a modulus the sum is ablated."""
    probe_dimension: int = 64
    """Principal components that probes of equal dimension read. A narrower model is read whole."""
    folds: int = 5
    """Folds of sums, each held out in turn."""
    permutations: int = 39
    """Label permutations of each probe."""
    twins: int = 3
    """Untrained networks of the same architecture."""
    draws: int = 20
    """Random subspaces as controls for the ablation."""
    no_mlp: bool = False
    """Leave out the MLP probes."""
    mlp_hidden: int = 128
    """Hidden units of the MLP probes."""
    mlp_depth: int = 1
    """Hidden layers of the MLP probes."""
    mlp_shuffles: int = 9
    """Label permutations for the MLP probes; each trains a new probe."""
    max_examples: int = 2000
    """Largest number of rows for MLP probes and ablation, from all over the file. Other probes see all rows."""
    seed: int = 0
    """Seed of permutations, untrained networks, random subspaces and MLPs."""

    least: ClassVar[Mapping[str, float]] = {
        "permutations": FEWEST_DRAWS,
        "draws": FEWEST_DRAWS,
        "folds": 3,
        "twins": 1,
        "ablate": 1,
        "probe_dimension": 1,
        "mlp_hidden": 1,
        "mlp_depth": 1,
        "mlp_shuffles": 1,
        "max_examples": 100,
        "seed": 0,
    }
    """The smallest value of each number."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "frequencies", several("measure: frequencies", self.frequencies, int))
        require_ranges("measure: ", self, self.least)
        require_at_most("measure: ", ablate=(self.ablate, _LARGEST_FREQUENCY))
        wanted = list(self.frequencies)
        if not wanted or wanted != sorted(set(wanted)) or not 1 <= wanted[0] <= wanted[-1] <= _LARGEST_FREQUENCY:
            raise ArithprobeError(
                f"measure: frequencies are {wanted}; expected numbers from 1 to {_LARGEST_FREQUENCY}, ascending"
            )
