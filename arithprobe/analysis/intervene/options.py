"""What ``arithprobe intervene`` can be asked for; without PyTorch, so that its help is quick."""

from collections.abc import Sequence
from dataclasses import dataclass

from arithprobe.errors import ArithprobeError, require_at_least, several
from arithprobe.interventions.kinds import AblationKind, ErasureKind, FamilyName, require_kind
from arithprobe.limits import require_within
from arithprobe.logic import FEWEST_DRAWS
from arithprobe.probes.moments import ALPHAS, penalties
from arithprobe.probes.wanted import Targets, wanted_targets

_CHOICES = {"erasers": ErasureKind, "ablations": AblationKind, "families": FamilyName}


@dataclass(frozen=True)
class InterveneOptions:
    """What to take out where, and against which controls.

    Raises:
        ArithprobeError: If an option is out of range.
    """

    targets: Targets = ("all",)
    """What to erase: x, y, sum, residue, digits (x100), carries (carry1), planes of a circle (residuemod97f1, or f1to3
    for three frequencies); all is the sum, and the residue where there is a modulus."""
    erasers: Sequence[ErasureKind] = ("probe", "leace")
    """How: probe, mean_difference, leace, inlp."""
    inlp_rank: int = 4
    """Directions that inlp takes out."""
    sites: Sequence[str] = ("residual",)
    """Sites: residual (embed to final), or names such as resid_post.1, attn_out.0 and z.0 (what the heads read)."""
    positions: Sequence[str] = ("last", "all")
    """Sets of positions edited together, a row each: last, all (every token), plus, 5, x100+x10+x1."""
    ablations: Sequence[AblationKind] = ("zero", "mean", "resample")
    """What takes the place of the erased part: zero, mean, resample."""
    families: Sequence[FamilyName] = ("isotropic", "permuted", "matched")
    """What each stands beside: permuted (the same fit on permuted labels), matched (random ones that change the states
    as much), outside (the same, without a part in it), isotropic (blind). Only permuted has a p, and
    for oblique erasers (leace) matched; the others are descriptions."""
    draws: int = 200
    """Draws of each family that has a p; 20 of the others."""
    variables: Sequence[str] = ("x", "y", "sum", "carry1", "residue")
    """Quantities to interchange between two problems at every site, all tokens at once."""
    variable_draws: int = 20
    """Random subspaces beside each of these, and random patterns beside each steering curve."""
    eraser: str | None = None
    """A frozen eraser, a file of an earlier run's folder erasers, in the place of targets and erasers."""
    max_examples: int = 2000
    """At most so many rows are used: 3 in 5 (by sum) to fit on, the others to intervene on."""
    no_mlp: bool = False
    """Leave the MLP certificate out."""
    no_patching: bool = False
    """Leave the patching map and the interchange of variables out."""
    alphas: Sequence[float] = ALPHAS
    """Ridge penalties to choose from, of states of unit variance in each dimension; 1e-6 to 1e6. INLP takes none."""
    seed: int = 0
    """Seed of random subspaces, donors and MLPs."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", wanted_targets("targets", self.targets).options)
        for name in ("sites", "positions", "variables", *_CHOICES):
            object.__setattr__(self, name, several(name, getattr(self, name)))
        object.__setattr__(self, "alphas", penalties("alphas", self.alphas))
        draws = dict.fromkeys(("draws", "variable_draws"), FEWEST_DRAWS)
        least = draws | {"inlp_rank": 1, "max_examples": 20, "seed": 0}
        require_at_least("", **{name: (getattr(self, name), lowest) for name, lowest in least.items()})
        require_within("", **{name: getattr(self, name) for name in least})
        for name in ("targets", "sites", "positions", *_CHOICES):
            if not getattr(self, name):
                raise ArithprobeError(f"{name} is empty; expected at least one")
        for name, choices in _CHOICES.items():
            for one in getattr(self, name):
                require_kind(one, choices, f"choice among {name}")
