"""Training objectives: the outputs that a model learns, the loss, and the decoding to an answer.

======================= ============================== =======================================================
objective               outputs for the answer r       decoded as
======================= ============================== =======================================================
``ScaledMSE``           1: (r - center) / scale        the number itself, not rounded
``CircularMSE``         2 F: cos and sin of 2 pi f r/k the residue whose points on the circles are nearest
``ResidueCrossEntropy`` k: one score a residue         the residue of the highest score
======================= ============================== =======================================================

Your own objective is a subclass of :class:`~arithprobe.models.objective.Objective`; configurations name it by its
class, and :func:`~arithprobe.models.checkpoints.load_model` finds it if its module has been imported.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from arithprobe.errors import ArithprobeError, did_you_mean, several
from arithprobe.models.objective import Objective
from arithprobe.problems.grammar import task_title

_LARGEST_MODULUS = 100_000  # residues are outputs, or points to compare with


class ScaledMSE(Objective):
    """Mean squared error of ``(answer - center) / scale``: with 2000 and 0 the original project's objective.

    Args:
        scale: S, in answer units.
        center: What is subtracted first, in answer units; with the mean and the standard deviation of the answers the
            target is standardised.

    Raises:
        ArithprobeError: If the scale is not positive and finite, or the center not finite.
    """

    n_outputs = 1
    metrics = ("loss", "rmse", "r2", "exact_match", "skill")

    def __init__(self, scale: float = 2000.0, center: float = 0.0) -> None:
        if not (_is_number(scale) and 1e-9 <= scale <= 1e18):
            raise ArithprobeError(f"scale is {scale}; expected a positive number, 1e-9 to 1e18")
        if not (_is_number(center) and abs(center) <= 1e18):
            raise ArithprobeError(f"center is {center}; expected a number, -1e18 to 1e18")
        self.scale, self.center = scale, center

    @property
    def options(self) -> dict[str, Any]:
        """Scale and center."""
        return {"scale": self.scale, "center": self.center}

    def loss(self, outputs: Tensor, answers: Tensor) -> Tensor:
        """Mean over rows of ``(output - (answer - center) / S) ** 2``."""
        precise = torch.promote_types(outputs.dtype, torch.float32)  # half precision would round the answers
        return F.mse_loss(outputs.squeeze(1).to(precise), (answers.to(precise) - self.center) / self.scale)

    def decode(self, outputs: Tensor) -> Tensor:
        """``center + S output``."""
        return _precise(outputs).squeeze(1) * self.scale + self.center

    def require_task(self, modulus: int | None) -> None:
        """Accept any task: a number can express any answer."""


class ResidueObjective(Objective):
    """The common base of objectives that answer the residues of a modulus.

    Args:
        modulus: k, that of the data.

    Raises:
        ArithprobeError: If the modulus is below 2, or too large for one output or point per residue.
    """

    residues = True

    def __init__(self, modulus: int) -> None:
        _require_integers("modulus", modulus)
        if not 2 <= modulus <= _LARGEST_MODULUS:
            raise ArithprobeError(f"modulus is {modulus}; expected 2 to {_LARGEST_MODULUS}")
        self.modulus = modulus

    def require_task(self, modulus: int | None) -> None:
        """Refuse data with another modulus."""
        if modulus != self.modulus:
            raise ArithprobeError(
                f"the model answers {task_title(self.modulus)!r} ({self!r}), the data is {task_title(modulus)!r}; "
                "--model.objective or --data.recipe is another task's"
            )


class ResidueCrossEntropy(ResidueObjective):
    """Cross-entropy over the residues of a modulus; neither their order nor their circle is supervised.

    Args:
        modulus: k, that of the data; one output a residue.

    Raises:
        ArithprobeError: If the modulus is below 2, or too large for one output per residue.
    """

    only_differences = True

    def __init__(self, modulus: int) -> None:
        super().__init__(modulus)
        self.n_outputs = modulus

    @property
    def options(self) -> dict[str, Any]:
        """The modulus."""
        return {"modulus": self.modulus}

    def loss(self, outputs: Tensor, answers: Tensor) -> Tensor:
        """Mean over rows of ``-log softmax(outputs)[answer]``, in nats."""
        return F.cross_entropy(outputs.to(torch.promote_types(outputs.dtype, torch.float32)), answers)

    def decode(self, outputs: Tensor) -> Tensor:
        """The residue of the highest score."""
        return _highest(_precise(outputs))


class CircularMSE(ResidueObjective):
    """Squared distance to the answer's points on circles: cos and sin of ``2 pi f r / k`` for each frequency f.

    The circle is supervised: finding it in a model trained this way is a positive control, not a discovery.

    Args:
        modulus: k, that of the data.
        frequencies: F frequencies f, 1 to k / 2, each once.

    Raises:
        ArithprobeError: If a frequency is out of range or repeated, or the frequencies cannot tell two residues apart.
    """

    def __init__(self, modulus: int, frequencies: Sequence[int] = (1,)) -> None:
        super().__init__(modulus)
        self.frequencies: tuple[int, ...] = several("frequencies", frequencies, int)
        if not self.frequencies:
            raise ArithprobeError("frequencies is empty; expected one at least")
        for frequency in self.frequencies:
            if not 1 <= frequency <= modulus / 2:
                raise ArithprobeError(f"frequency {frequency} is outside 1 to k / 2 = {modulus / 2:g}")
            if self.frequencies.count(frequency) > 1:
                raise ArithprobeError(f"frequency {frequency} is there {self.frequencies.count(frequency)} times")
        alike = math.gcd(modulus, *self.frequencies)
        if alike > 1:
            raise ArithprobeError(
                f"frequencies {list(self.frequencies)} cannot tell r from r + {modulus // alike}; "
                f"expected one that does not share the divisor {alike} with {modulus}"
            )
        self.n_outputs = 2 * len(self.frequencies)
        angles = torch.arange(modulus)[:, None] * torch.tensor(self.frequencies) % modulus * (2 * math.pi / modulus)
        self._points = torch.cat([angles.cos(), angles.sin()], dim=1)  # (k, 2 F)

    @property
    def options(self) -> dict[str, Any]:
        """Modulus and frequencies."""
        return {"modulus": self.modulus, "frequencies": list(self.frequencies)}

    def loss(self, outputs: Tensor, answers: Tensor) -> Tensor:
        """Mean over rows and outputs of the squared error."""
        precise = torch.promote_types(outputs.dtype, torch.float32)
        return F.mse_loss(outputs.to(precise), self._points.to(outputs.device, precise)[answers])

    def decode(self, outputs: Tensor) -> Tensor:
        """The residue whose points are nearest, over all frequencies; all residues' points have the same norm."""
        precise = _precise(outputs)
        return _highest(precise @ self._points.to(precise).T)


def objective_named(name: str, options: Mapping[str, Any]) -> Objective:
    """Make an objective from its class name and options, as a checkpoint stores them.

    Raises:
        ArithprobeError: If there is no such class, or it refuses the options.
    """
    known: dict[str, type[Objective]] = {}
    pending = Objective.__subclasses__()
    while pending:
        found = pending.pop()
        pending += found.__subclasses__()
        if not inspect.isabstract(found):
            known[found.__name__] = found
    if name not in known:
        raise ArithprobeError(
            f"no objective {name!r}{did_you_mean(name, known)} (objectives: {', '.join(sorted(known))}; "
            "one of your own is known once its module is imported)"
        )
    try:
        return known[name](**options)
    except TypeError as error:
        raise ArithprobeError(f"the options {dict(options)} are none of {name}: {error}") from error


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def _require_integers(name: str, *values: object) -> None:
    for value in values:
        if not isinstance(value, int):
            raise ArithprobeError(f"{name}: expected integers, got {value!r}")


def _precise(outputs: Tensor) -> Tensor:
    """Float64, without gradients; on the CPU where the device has none."""
    outputs = outputs.detach()
    return (outputs.cpu() if outputs.device.type == "mps" else outputs).to(torch.float64)


def _highest(scores: Tensor) -> Tensor:
    """(B,) the number of the highest of (B, k) scores; NaN where one of them is not a finite number."""
    found = scores.argmax(dim=1).to(torch.float64)
    return torch.where(scores.isfinite().all(dim=1), found, torch.nan)
