"""The named choices of interventions; no PyTorch is imported, so that a command's help is quick."""

from typing import Any, Literal, get_args

from arithprobe.errors import ArithprobeError

ErasureKind = Literal["probe", "mean_difference", "leace", "inlp"]
"""How a quantity is taken out, see :mod:`arithprobe.interventions.erasure`."""
AblationKind = Literal["zero", "mean", "resample"]
"""What takes the place of what is taken out."""
FamilyName = Literal["isotropic", "permuted", "matched", "outside"]
"""What an ablation stands beside: subspaces drawn blindly; the same fit on permuted labels; such as
change the states as much; the same, of what shares nothing with it. See :mod:`arithprobe.interventions.controls`."""


def require_kind(name: str, choices: Any, what: str) -> None:
    """Check that a choice is one of those there are.

    >>> require_kind("mean", AblationKind, "ablation")

    Raises:
        ArithprobeError: If it is not; the text lists them.
    """
    if name not in get_args(choices):
        raise ArithprobeError(f"no {what} {name!r}; expected one of {', '.join(get_args(choices))}")
