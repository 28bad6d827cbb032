"""What a live probe does with the batches of a validation."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from torch import Tensor

ResultT = TypeVar("ResultT")


class Watch(ABC, Generic[ResultT]):
    """Sums over the rows of a validation, made for one network and its rows.

    It folds each batch into something of bounded size, never keeps states, and draws randomness from generators of its
    own. Its sums are added over the processes of a run before it is asked for its result.
    """

    tags: tuple[str, ...] = ()
    """Every tag that it may log, known before the first validation: a monitor can be one of them."""

    @abstractmethod
    def start(self) -> None:
        """Begin a pass over the rows with nothing."""

    @abstractmethod
    def update(self, states: Mapping[str, Tensor], rows: Tensor) -> None:
        """Add a batch.

        Args:
            states: (B, T, D) states by site.
            rows: (B,) numbers of the rows.
        """

    @property
    @abstractmethod
    def state(self) -> Iterable[Tensor]:
        """The sums so far, tensors that are added over processes in place."""

    @abstractmethod
    def result(self) -> ResultT | None:
        """What the pass found; None where nothing can be said, as of a model that has diverged."""


class Observed(NamedTuple, Generic[ResultT]):
    """What one validation found."""

    step: int | None
    """Training step under which it is logged; None outside a fit."""
    result: ResultT
    """What the watch found."""
