"""The options of ``arithprobe probe``; no PyTorch is imported, so that its help is quick."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, get_args

from arithprobe.errors import ArithprobeError, several
from arithprobe.limits import LARGEST_PERIOD, require_ranges
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
    """Variables of the ridge probes: x, y, sum, residue, digits (x100), carries (carry1), periods (summod4), all."""
    sites: Sequence[str] = ("residual",)
    """Sites to probe: residual (embed to final), or names such as resid_post.1, attn_out.0, z.0 (heads' outputs)."""
    positions: Sequence[str] = ("last", "role")
    """Positions for the ridge probes: last, role (every role), index (every index), or single ones (5, plus)."""
    period: int | None = None
    """Period of the Fourier probes; the modulus of the problems if not given."""
    frequencies: int = 48
    """Highest frequency of the Fourier probes, at most half the period (48 for 97)."""
    small_periods: Sequence[int] = (2, 3, 4, 5, 7, 8, 10)
    """Small periods to look for in the sum, x, y and the residue."""
    folds: int = 5
    """Folds of groups (sums); each is held out once."""
    alphas: Sequence[float] = ALPHAS
    """Ridge penalties to choose from, for states scaled to unit variance."""
    alpha_by: ChosenBy = "gcv"
    """How to choose the penalty inside the training folds: gcv (generalised cross-validation) or folds."""
    permutations: int = 19
    """Label permutations for each ridge probe."""
    fourier_permutations: int = 39
    """Label permutations for the Fourier probes."""
    twins: int = FEWEST_DRAWS
    """Untrained networks of the same architecture. The rung selective needs 19."""
    subspace_draws: int = 20
    """Random subspaces as controls for each probe subspace that is removed."""
    claims: Sequence[str] = ("all",)
    """Variables for the ladder of evidence: sum, x, digits, ... (lines); residue, planes such as summod10f1 (circles).
    all: the sum, and the residue where there is a modulus."""
    no_ladder: bool = False
    """Leave out the ladder of evidence and the ablation of frequencies."""
    no_mlp: bool = False
    """Leave out the MLP probes."""
    mlp_hidden: int = 128
    """Hidden units of the MLP probes."""
    mlp_depth: int = 1
    """Hidden layers of the MLP probes."""
    mlp_shuffles: int = 19
    """Label permutations for the MLP probes; each trains a new probe."""
    mlp_within: float = 1.0
    """An MLP prediction counts as close if it is off by at most this much."""
    max_examples: int = 2000
    """Largest number of rows for MLP probes and for decoding angles. Other probes see all rows."""
    seed: int = 0
    """Seed of permutations, untrained networks, random subspaces and MLPs."""

    least: ClassVar[Mapping[str, float]] = {
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
    """The smallest value of each number."""

    def __post_init__(self) -> None:
        numbers: dict[str, type[int] | type[float]] = {"small_periods": int}
        kinds = dict.fromkeys(("sites", "positions", "claims"), str) | numbers
        object.__setattr__(self, "targets", wanted_targets("targets", self.targets).options)
        for name, kind in kinds.items():
            object.__setattr__(self, name, several(name, getattr(self, name), kind))
        object.__setattr__(self, "alphas", penalties("alphas", self.alphas))
        require_ranges("", self, self.least)
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
