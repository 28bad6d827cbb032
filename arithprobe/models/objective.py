"""What an objective is: the contract of :mod:`arithprobe.models.objectives`."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from arithprobe.errors import ArithprobeError


class Objective(ABC):
    """What is predicted, its loss, and its decoding; it holds no weights.

    Attributes:
        n_outputs: Width K of the readout.
        metrics: What a validation logs under ``val/``; ``circular_error`` besides, where the answers are residues.
        residues: Whether its answers are residues, and not numbers; errors then go round the circle.
        only_differences: Whether only differences between outputs count, as in a softmax.
    """

    n_outputs: int
    metrics: tuple[str, ...] = ("loss", "exact_match", "skill")
    residues: bool = False
    only_differences: bool = False

    @property
    @abstractmethod
    def options(self) -> dict[str, Any]:
        """The arguments that make an equal one, as plain values; part of every checkpoint."""

    @property
    def stored(self) -> dict[str, Any]:
        """Class name and options, from which :func:`objective_named` makes an equal one."""
        return {"name": type(self).__name__, "options": self.options}

    @property
    def as_hyperparameter(self) -> dict[str, Any]:
        """The same for Lightning's checkpoints: what ``load_from_checkpoint`` and LightningCLI make it from."""
        named = {"class_path": f"{type(self).__module__}.{type(self).__qualname__}", "init_args": self.options}
        return {"objective": named, "_instantiator": "lightning.pytorch.cli.instantiate_module"}

    @abstractmethod
    def loss(self, outputs: Tensor, answers: Tensor) -> Tensor:
        """The scalar mean over rows that training lowers.

        Args:
            outputs: (B, K) model outputs.
            answers: (B,) int64.
        """

    def require_outputs(self, outputs: Tensor, rows: int) -> None:
        """Refuse outputs of another network than one for this objective.

        Raises:
            ArithprobeError: Naming both shapes.
        """
        if outputs.shape != (rows, self.n_outputs):
            raise ArithprobeError(
                f"the outputs of {rows} rows are {tuple(outputs.shape)}; {self!r} needs ({rows}, {self.n_outputs})"
            )

    @abstractmethod
    def decode(self, outputs: Tensor) -> Tensor:
        """(B,) float64 answers without gradients, from (B, K) outputs; NaN where an output is no number.

        On the CPU where the device has no float64.
        """

    @abstractmethod
    def require_task(self, modulus: int | None) -> None:
        """Refuse data whose answers it cannot say.

        Args:
            modulus: That of the data, None for plain sums.

        Raises:
            ArithprobeError: Naming both.
        """

    def __repr__(self) -> str:
        """The class with its arguments, ``CircularMSE(modulus=97, frequencies=[1])``."""
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.options.items())})"


def require_objective(objective: object) -> None:
    """Refuse what is no objective.

    Raises:
        ArithprobeError: Showing it.
    """
    if not isinstance(objective, Objective):
        raise ArithprobeError(f"objective is {objective!r}; expected an Objective, such as ScaledMSE()")
