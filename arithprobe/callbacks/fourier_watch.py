"""Fourier probes of one circle at one validation."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import Tensor

from arithprobe.callbacks.watch import Watch
from arithprobe.probes.circles import FourierScores
from arithprobe.probes.decode import AngleDecoding, decode_angles
from arithprobe.probes.fourier import FourierSurvey
from arithprobe.probes.sample import StateSample
from arithprobe.probes.tags import Tag

METRICS = ("r2", "null_low", "null_high", "r2_max", "null_max", "neighbour", "accuracy")
"""Metrics that are logged for each site, in the order of :attr:`FourierFound.logged`."""


class FourierFound(NamedTuple):
    """The result of one validation for one circle, at the last token of S residual sites."""

    scores: FourierScores
    """Scores of each frequency at each site."""
    decoding: AngleDecoding
    """Values decoded from all frequencies together, at each site."""

    @property
    def logged(self) -> list[tuple[float, ...]]:
        """The (S,) values of each of :data:`METRICS`."""
        scores = self.scores
        return [
            (
                float(scores.macro[row, 0]),
                *(float(scores.macro_null[row, 0].quantile(q)) for q in (0.05, 0.95)),
                float(scores.r2[:, row, 0].max()),
                float(scores.max_null[row, 0].quantile(0.95)),
                float(scores.neighbour[scores.r2[:, row, 0].argmax(), row, 0]),
                float(self.decoding.accuracy[row]),
            )
            for row in range(len(scores.sites))
        ]


class FourierWatch(Watch[FourierFound]):
    """Collects second moments of the states and the waves, and a sample of states to decode values from.

    Args:
        survey: The survey of one circle, at the position ``last``.
        name: First word of its tags.
        d_model: Width of the states.
        max_examples: Rows of the sample.
    """

    def __init__(self, survey: FourierSurvey, name: str, d_model: int, max_examples: int) -> None:
        self._survey, self._d_model, self._max_examples = survey, d_model, max_examples
        circle = survey.parts[0].circle.name
        self.tags = tuple(str(Tag(name, circle, site, "last", one)) for site in survey.ridge.sites for one in METRICS)
        self._sample = self._empty()

    def _empty(self) -> StateSample:
        ridge = self._survey.ridge
        return StateSample(self._survey.rows.lengths, ridge.sites, self._d_model, self._max_examples)

    def start(self) -> None:
        """Begin with empty moments and an empty sample."""
        self._survey.start()
        self._sample = self._empty()

    def update(self, states: Mapping[str, Tensor], rows: Tensor) -> None:
        """Add a batch to the moments and the sample."""
        self._survey.update(states, rows)
        self._sample.update(states, rows)

    @property
    def state(self) -> Iterable[Tensor]:
        """The moments and the sample."""
        return (*self._survey.state, *self._sample.state)

    def result(self) -> FourierFound:
        """Fit, score and decode."""
        (scores,), _ = self._survey.scores()
        return FourierFound(scores, decode_angles(self._survey, self._sample))
