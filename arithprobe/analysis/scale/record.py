"""What is measured of each trial of a sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from arithprobe.behaviour import Behaviour

_RANGE = (0.025, 0.975)  # of random subspaces


@dataclass(frozen=True)
class ProbeValues:
    """A ridge probe beside its controls; R2 is the mean over its columns, each cosine and sine a column."""

    r2: float
    """R2 on sums that the probe was not fitted on."""
    null: float
    """95 % quantile of the same on labels permuted between sums, against the mean of the training rows instead of all
    rows, and so a little higher."""
    untrained: float
    """R2 of untrained networks of the same architecture, mean."""
    untrained_max: float
    """R2 of the untrained network with the highest."""
    in_sample: float
    """R2 on the rows it was fitted on, by the original notebook's protocol: all rows, each dimension of unit variance,
    penalty 1. About D / n of nothing; never a result by itself."""


@dataclass(frozen=True)
class Cost:
    """What it costs to take a subspace out, and random ones of the same rank."""

    probe: float
    """Cost of taking the subspace out."""
    random: float
    """Cost of taking a random one out, mean over draws."""
    random_low: float
    """2.5 % quantile of the draws."""
    random_high: float
    """97.5 % quantile of the draws."""

    @property
    def excess(self) -> float:
        """What it costs more than a random one."""
        return self.probe - self.random

    @classmethod
    def of(cls, probe: float, draws: Sequence[float]) -> "Cost":
        """From the cost without each of the random subspaces."""
        low, high = (float(end) for end in np.quantile(draws, _RANGE))
        return cls(probe, float(np.mean(draws)), low, high)


@dataclass(frozen=True)
class MLPValues:
    """An MLP probe of the answer beside its controls, all scored on the same rows."""

    kind: str
    """What the scores are: ``accuracy`` of residues, or ``r2``."""
    score: float
    """On sums that it was not fitted on."""
    linear: float
    """Ridge on the same rows."""
    null: float
    """The highest on labels permuted between sums."""
    untrained: float
    """The same MLP on untrained networks, mean."""


@dataclass(frozen=True)
class ScaleMeasures:
    """A trial of a sweep, measured at the readout: ``final``, last token."""

    parameters: int
    """Weights of the model."""
    rows: int
    """Rows measured on."""
    probe_dimension: int
    """Principal components that the probes of equal dimension read; a narrower model is read whole."""
    behaviour: Behaviour
    """Has the model learned the task: what every number below stands behind."""
    probes: Mapping[str, ProbeValues | None]
    """By name: ``fourier6`` (cosine and sine of frequencies 1 to 6) and ``sum``, and the same at equal dimension,
    ``fourier6_k`` and ``sum_k``. None where a frequency is above half the modulus."""
    ablated: str
    """What is taken out, as ``arithprobe intervene`` names it."""
    ablated_rank: int
    """Its dimensions."""
    refit: Cost
    """Increase of the held-out squared error of a refitted readout without the directions that ridge probes read, as a
    share of the answers' variance."""
    forward: Cost | None
    """Skill that the model's own answers lose without what LEACE takes out, as a share of the intact skill; None where
    that cannot be told."""
    forward_shuffled: float | None
    """The same without what LEACE takes out for labels permuted between sums, mean over permutations."""
    forward_matched: float | None
    """The same for random subspaces outside of it that change the states as much, mean; None where there are none."""
    mlp: MLPValues | None
    """MLP probes of the answer; None where not asked for, or not possible."""
    left_out: tuple[str, ...]
    """What these rows do not allow, with the reason."""

    @property
    def forward_excess(self) -> float | None:
        """What it loses more than without what LEACE takes out for permuted labels."""
        if self.forward is None or self.forward_shuffled is None:
            return None
        return self.forward.probe - self.forward_shuffled
