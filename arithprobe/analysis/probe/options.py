"""What ``arithprobe probe`` can be asked for; without PyTorch, so that its help is quick."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from arithprobe.errors import ArithprobeError, require_at_least, several
from arithprobe.limits import LARGEST_PERIOD, require_within
from arithprobe.logic import FEWEST_DRAWS
from arithprobe.probes.moments import ALPHAS, ChosenBy, penalties
from arithprobe.probes.wanted import Targets, wanted_targets

_LARGEST_SMALL_PERIOD = 100


@dataclass(frozen=True)
class ProbeOptions:
    """What to probe for, where, and against which controls.

    Raises:
        ArithprobeError: If an option is out of range.
    """

    targets: Targets = ("all",)
    """Targets of the ridge probes: x, y, sum, residue, digits (x100), carries (carry1), periods (summod4); or all."""
    sites: Sequence[str] = ("residual",)
    """Sites: residual (embed to final), or names such as resid_post.1, attn_out.0 and z.0 (what the heads read)."""
    positions: Sequence[str] = ("last", "index")
    """Positions of the ridge probes: last, index (all), role (all), or single ones such as 5 or plus."""
    period: int | None = None
    """Period of the Fourier probes; the modulus of the problems by default."""
    frequencies: int = 48
    """Largest frequency of the Fourier probes; half the period is the end (48 for 97)."""
    small_periods: Sequence[int] = (2, 3, 4, 5, 7, 8, 10)
    """Small periods to look for, in the sum, x, y and the residue."""
    folds: int = 5
    """Folds of groups, each held out in turn."""
    alphas: Sequence[float] = ALPHAS
    """Ridge penalties to choose from, of states of unit variance in each dimension; 1e-6 to 1e6."""
    alpha_by: ChosenBy = "gcv"
    """How the ridge penalty is chosen inside the training folds."""
    permutations: int = 19
    """Label permutations for each ridge probe."""
    fourier_permutations: int = 39
    """Label permutations for the Fourier probes."""
    twins: int = FEWEST_DRAWS
    """Untrained networks of the same architecture; of fewer than 19 the ladder cannot tell what is selective."""
    subspace_draws: int = 20
    """Random subspaces beside each probe subspace that is removed."""
    claims: Sequence[str] = ("all",)
    """Variables to climb the ladder of evidence with: sum, x, digits, ... (lines), residue, planes such as summod10f1
    (circles); all is the sum, and the residue where there is a modulus."""
    no_ladder: bool = False
    """Leave the ladder of evidence out, and the frequencies taken out of the forward pass."""
    no_mlp: bool = False
    """Leave the MLP probes out."""
    mlp_hidden: int = 128
    """Their hidden units."""
    mlp_depth: int = 1
    """Their hidden layers."""
    mlp_shuffles: int = 19
    """Label permutations of the MLP probes, each trained anew."""
    mlp_within: float = 1.0
    """MLP predictions at most this far off count as close."""
    max_examples: int = 2000
    """Rows kept for MLP probes and for decoding angles; the others see all rows."""
    seed: int = 0
    """Seed of permutations, untrained networks, random subspaces and MLPs."""

    def __post_init__(self) -> None:
        numbers: dict[str, type[int] | type[float]] = {"small_periods": int}
        kinds = dict.fromkeys(("sites", "positions", "claims"), str) | numbers
        object.__setattr__(self, "targets", wanted_targets("targets", self.targets).options)
        for name, kind in kinds.items():
            object.__setattr__(self, name, several(name, getattr(self, name), kind))
        object.__setattr__(self, "alphas", penalties("alphas", self.alphas))
        least = {
            "permutations": FEWEST_DRAWS,
            "fourier_permutations": FEWEST_DRAWS,
            "frequencies": 1,
            "folds": 3,
            "twins": 0,
            "subspace_draws": 1,
            "mlp_hidden": 1,
            "mlp_depth": 1,
            "mlp_shuffles": 1,
            "mlp_within": 0,
            "max_examples": 100,
            "seed": 0,
        }
        require_at_least("", **{name: (getattr(self, name), lowest) for name, lowest in least.items()})
        require_within("", **{name: getattr(self, name) for name in least})
        for name in ("targets", "sites", "positions", "claims"):
            if not getattr(self, name):
                raise ArithprobeError(f"{name} is empty; expected at least one")
        limits = [(period, _LARGEST_SMALL_PERIOD) for period in self.small_periods]
        limits += [] if self.period is None else [(self.period, LARGEST_PERIOD)]
        for period, largest in limits:
            if not 2 <= period <= largest:
                raise ArithprobeError(f"a period is {period}; expected 2 to {largest}")
        if self.alpha_by not in get_args(ChosenBy):
            raise ArithprobeError(f"alpha_by is {self.alpha_by!r}; expected one of {', '.join(get_args(ChosenBy))}")
