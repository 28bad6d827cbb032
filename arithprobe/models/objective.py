"""The base class of objectives: the contract of :mod:`arithprobe.models.objectives`."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from arithprobe.errors import ArithprobeError


class Objective(ABC):
    """The training target, its loss, and its decoding; an objective holds no weights.

    Attributes:
        n_outputs: Width K of the readout.
        metrics: The metrics that a validation logs under ``val/``; if the answers are residues, also
            ``circular_error``.
        residues: Whether its answers are residues rather than numbers; errors then go round the circle.
        only_differences: Whether only differences between outputs count, as in a softmax.
    """

    n_outputs: int
    metrics: tuple[str, ...] = ("loss", "exact_match", "skill")
    residues: bool = False
    only_differences: bool = False

    @property
    @abstractmethod
    def options(self) -> dict[str, Any]:
        """The arguments that make an equal objective, as plain values; part of every checkpoint."""

    @property
    def stored(self) -> dict[str, Any]:
        """Class name and options, from which :func:`objective_named` makes an equal objective."""
        return {"name": type(self).__name__, "options": self.options}

    @property
    def as_hyperparameter(self) -> dict[str, Any]:
        """Class and options in Lightning's form, from which ``load_from_checkpoint`` and LightningCLI make it."""
        named = {"class_path": f"{type(self).__module__}.{type(self).__qualname__}", "init_args": self.options}
        return {"objective": named, "_instantiator": "lightning.pytorch.cli.instantiate_module"}

    @abstractmethod
    def loss(self, outputs: Tensor, answers: Tensor) -> Tensor:
        """Return the scalar mean over rows that training minimises.

        Args:
            outputs: (B, K) model outputs.
            answers: (B,) int64.
        """

    def require_outputs(self, outputs: Tensor, rows: int) -> None:
        """Refuse the outputs of a network that was not made for this objective.

        Raises:
            ArithprobeError: If the shapes differ; the text names both.
        """
        if outputs.shape != (rows, self.n_outputs):
            raise ArithprobeError(
                f"the outputs of {rows} rows are {tuple(outputs.shape)}; {self!r} needs ({rows}, {self.n_outputs})"
            )

    @abstractmethod
    def decode(self, outputs: Tensor) -> Tensor:
        """Return (B,) float64 answers without gradients, from (B, K) outputs; NaN where an output is NaN.

        They are on the CPU if the device has no float64.
        """

    @abstractmethod
    def require_task(self, modulus: int | None) -> None:
        """Refuse data whose answers the objective cannot express.

        Args:
            modulus: The modulus of the data, None for plain sums.

        Raises:
            ArithprobeError: If it cannot; the text names both.
        """

    def __repr__(self) -> str:
        """The class with its arguments, ``CircularMSE(modulus=97, frequencies=[1])``."""
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.options.items())})"


def require_objective(objective: object) -> None:
    """Refuse a value that is not an objective.

    Raises:
        ArithprobeError: If it is not; the text shows it.
    """
    if not isinstance(objective, Objective):
        raise ArithprobeError(f"objective is {objective!r}; expected an Objective, such as ScaledMSE()")
