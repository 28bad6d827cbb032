"""How each trial of a sweep is measured; without PyTorch, so that help is quick."""

from collections.abc import Sequence
from dataclasses import dataclass

from arithprobe.errors import ArithprobeError, require_at_least, require_at_most, several
from arithprobe.limits import require_within
from arithprobe.logic import FEWEST_DRAWS

_LARGEST_FREQUENCY = 48  # as far as other Fourier probes look unless asked for more; all there are of 97


@dataclass(frozen=True)
class ScaleOptions:
    """How each trial is measured, at the readout (``final``, last token), on the validation rows.

    Raises:
        ArithprobeError: If an option is out of range.
    """

    frequencies: Sequence[int] = (1, 3, 6, 12)
    """Fourier probes of the residue: of the frequencies 1 to N, for each N up to half the modulus."""
    ablate: int = 6
    """The planes of the frequencies 1 to so many, up to half the modulus, are taken out; without one the sum is."""
    probe_dimension: int = 64
    """Leading principal components that the probes of equal dimension read; a narrower model is read whole."""
    folds: int = 5
    """Folds of sums, each held out in turn."""
    permutations: int = 39
    """Label permutations of each probe."""
    twins: int = 3
    """Untrained networks of the same architecture."""
    draws: int = 20
    """Random subspaces beside the one that is taken out."""
    no_mlp: bool = False
    """Leave the MLP probes out."""
    mlp_hidden: int = 128
    """Their hidden units."""
    mlp_depth: int = 1
    """Their hidden layers."""
    mlp_shuffles: int = 9
    """Label permutations of the MLP probes, each trained anew."""
    max_examples: int = 2000
    """Rows for MLP probes and ablation, from all over the file; the other probes see all rows."""
    seed: int = 0
    """Seed of permutations, untrained networks, random subspaces and MLPs."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "frequencies", several("measure: frequencies", self.frequencies, int))
        least = {
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
        require_at_least("measure: ", **{name: (getattr(self, name), lowest) for name, lowest in least.items()})
        require_at_most("measure: ", ablate=(self.ablate, _LARGEST_FREQUENCY))
        require_within("measure: ", **{name: getattr(self, name) for name in least if name != "ablate"})
        wanted = list(self.frequencies)
        if not wanted or wanted != sorted(set(wanted)) or not 1 <= wanted[0] <= wanted[-1] <= _LARGEST_FREQUENCY:
            raise ArithprobeError(
                f"measure: frequencies are {wanted}; expected numbers from 1 to {_LARGEST_FREQUENCY}, ascending"
            )
