"""The options of ``arithprobe intervene``; no PyTorch is imported, so that its help is quick."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from arithprobe.errors import ArithprobeError, several
from arithprobe.interventions.kinds import AblationKind, ErasureKind, FamilyName, require_kind
from arithprobe.limits import require_ranges
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
    """Variables to erase: x, y, sum, residue, digits (x100), carries (carry1), planes of a circle (residuemod97f1, or
    f1to3 for three frequencies). all: the sum, and the residue where there is a modulus."""
    erasers: Sequence[ErasureKind] = ("probe", "leace")
    """Erasure methods: probe, mean_difference, leace, inlp."""
    inlp_rank: int = 4
    """Directions that inlp removes."""
    sites: Sequence[str] = ("residual",)
    """Sites to edit: residual (embed to final), or names such as resid_post.1, attn_out.0, z.0 (heads' outputs)."""
    positions: Sequence[str] = ("last", "all")
    """Positions to edit together, one set a row of the ledger: last, all (every token), plus, 5, x100+x10+x1."""
    ablations: Sequence[AblationKind] = ("zero", "mean", "resample")
    """What replaces the erased part: zero, mean, resample."""
    families: Sequence[FamilyName] = ("isotropic", "permuted", "matched")
    """Control subspaces: permuted (the same fit on permuted labels), matched (random, with as large a change of the
    states), outside (matched, and orthogonal to the erased one), isotropic (random). Only permuted has a p-value, and
    matched for oblique erasers (leace); the others describe."""
    draws: int = 200
    """Draws of each control family that has a p-value; the others have 20."""
    variables: Sequence[str] = ("x", "y", "sum", "carry1", "residue")
    """Variables to interchange between two problems at every site, at all tokens at once."""
    variable_draws: int = 20
    """Random subspaces for each interchange, and random directions for each steering curve."""
    eraser: str | None = None
    """A frozen eraser: a file of the folder erasers of an earlier run. It replaces targets and erasers."""
    max_examples: int = 2000
    """Largest number of rows to use: 3 in 5 (by sum) to fit on, the others to intervene on."""
    no_mlp: bool = False
    """Leave out the MLP certificate."""
    no_patching: bool = False
    """Leave out activation patching and the interchange of variables."""
    alphas: Sequence[float] = ALPHAS
    """Ridge penalties to choose from, for states scaled to unit variance. inlp has no penalty."""
    seed: int = 0
    """Seed of random subspaces, donors and MLPs."""

    least: ClassVar[Mapping[str, float]] = {
        "draws": FEWEST_DRAWS,
        "variable_draws": FEWEST_DRAWS,
        "inlp_rank": 1,
        "max_examples": 20,
        "seed": 0,
    }
    """The smallest value of each number."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", wanted_targets("targets", self.targets).options)
        for name in ("sites", "positions", "variables", *_CHOICES):
            object.__setattr__(self, name, several(name, getattr(self, name)))
        object.__setattr__(self, "alphas", penalties("alphas", self.alphas))
        require_ranges("", self, self.least)
        for name in ("targets", "sites", "positions", *_CHOICES):
            if not getattr(self, name):
                raise ArithprobeError(f"{name} is empty; expected at least one")
        for name, choices in _CHOICES.items():
            for one in getattr(self, name):
                require_kind(one, choices, f"choice among {name}")
