"""The protocol of a live probe for the batches of a validation."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from torch import Tensor

ResultT = TypeVar("ResultT")


class Watch(ABC, Generic[ResultT]):
    """A collector of sums over the rows of a validation, made for one network and its rows.

    It folds each batch into sums of bounded size, never keeps states, and draws random numbers from its own generators.
    Its sums are added over the processes of a run before it is asked for its result.
    """

    tags: tuple[str, ...] = ()
    """Every tag that it may log, known before the first validation: a monitor can be one of them."""

    @abstractmethod
    def start(self) -> None:
        """Begin a pass over the rows with empty sums."""

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
        """The sums so far, as tensors that are added over processes in place."""

    @abstractmethod
    def result(self) -> ResultT | None:
        """The result of the pass; None if nothing can be said, for example for a model that has diverged."""


class Observed(NamedTuple, Generic[ResultT]):
    """The result of one validation."""

    step: int | None
    """Training step under which it is logged; None outside a fit."""
    result: ResultT
    """What the watch found."""
