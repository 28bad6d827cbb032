"""Callbacks that a run may have only once: two that write to one place would overwrite, or mix with, each other."""

from collections.abc import Iterable

from lightning.pytorch import Callback, LightningModule, Trainer

from arithprobe.errors import ArithprobeError
from arithprobe.training.probed import ProbedModule


class SingleCallback(Callback):
    """A callback that names the place it writes to, and is refused beside another that writes there too."""

    @property
    def writes(self) -> str:
        """The place in a run that belongs to it alone."""
        raise NotImplementedError

    @property
    def remedy(self) -> str:
        """What to do about a second callback."""
        return "keep one of them"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module of another kind, and another callback that writes to the same place.

        Raises:
            ArithprobeError: If there is one; the text names the module's class, or both callbacks.
        """
        probed_module(pl_module)
        require_single(vars(trainer)["callbacks"])


def require_single(callbacks: Iterable[Callback]) -> None:
    """Refuse two callbacks of one run that write to one place; a curve of both would be the mean of two numbers.

    Raises:
        ArithprobeError: If there are two; the text names both.
    """
    seen: dict[str, SingleCallback] = {}
    for callback in callbacks:
        if not isinstance(callback, SingleCallback):
            continue
        other = seen.setdefault(callback.writes, callback)
        if other is not callback:
            names = list(dict.fromkeys(type(one).__name__ for one in (other, callback)))
            which = f"two {names[0]}" if len(names) == 1 else " and ".join(names)
            raise ArithprobeError(f"trainer.callbacks: {which} both write {callback.writes}; {callback.remedy}")


def probed_module(module: LightningModule) -> ProbedModule:
    """Return the module, if observers can read it.

    Raises:
        ArithprobeError: If it is not a :class:`~arithprobe.training.probed.ProbedModule`.
    """
    if not isinstance(module, ProbedModule):
        raise ArithprobeError(
            f"the callback observes a ProbedModule, such as an ArithmeticModule, got {type(module).__name__}"
        )
    return module
