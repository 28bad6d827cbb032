"""The measures of a model's answers, and the verdict, one of three, that follows from them."""

import math
from dataclasses import dataclass
from typing import Literal

from arithprobe.logic import CANNOT_BE_TOLD, FAILS, HOLDS, State

Verdict = Literal["NOT LEARNED", "PARTLY LEARNED", "LEARNED"]

SKILL_FLOOR = 0.05
"""NOT LEARNED while the lower 95 % bound of skill is not above this. Neither may R2 be: on rows unlike the training
rows a model can beat the training mean and still know nothing."""
MIN_ROWS = 20
"""A sample of fewer rows than this is NOT LEARNED: the interval cannot be trusted."""
MIN_GROUPS = 10
"""So is a sample of fewer groups, for the same reason."""
EXACT_MATCH_LEARNED = 0.99
"""LEARNED from this exact-match rate on, ..."""
EXACT_MATCH_LOW = 0.98
"""... if the lower 95 % bound of it, over groups, is not below this; of a population the rate is enough."""
NOT_LEARNED_WARNING = (
    "The results below are from a model that has not learned the task. They say nothing about the task: an untrained "
    "network can score as high."
)
"""What stands between that verdict and results of probes."""
UNTOLD_WARNING = (
    "It cannot be told whether the results below are about the task, because it is not known whether this model has "
    "learned it: an untrained network can score as high."
)
"""What stands there where the verdict is NOT LEARNED because it cannot be told."""
_CONSTANT = 0.1  # predictions that vary less than this, as a share of what the answers do, are one residue


@dataclass(frozen=True, repr=False)
class Behaviour:
    """The quality of a model's answers, and the verdict on whether it has learned the task."""

    verdict: Verdict
    """NOT LEARNED, PARTLY LEARNED or LEARNED."""
    reason: str
    """The verdict in words, with the numbers that decided it."""
    n: int
    """Rows judged."""
    skill: float
    """``1 - MSE / MSE of the train-mean constant``, round the circle for a model that answers residues; NaN where the
    constant makes no error."""
    skill_low: float
    """Lower bound of its 95 % interval over groups, see :mod:`arithprobe.behaviour.skill`; skill itself of a
    population."""
    skill_high: float
    """Upper bound."""
    r2: float
    """``1 - MSE / variance of these answers``; NaN where they are all equal."""
    rmse: float
    """Root mean squared error, in answer units."""
    bias: float
    """Mean of prediction - answer, in answer units."""
    prediction_sd: float
    """Standard deviation of the predictions, in answer units: near 0 for a model that predicts a constant."""
    answer_sd: float
    """Standard deviation of the answers."""
    exact_match: float
    """Share of rows whose rounded prediction is the answer."""
    exact_match_low: float
    """Lower bound of its 95 % interval over groups, see :mod:`arithprobe.behaviour.exact`; the rate itself of a
    population."""
    exact_match_high: float
    """Upper bound."""
    circular_error: float = math.nan
    """Mean distance of prediction and answer round the circle of residues, in answer units: about k / 4 for a guess.
    NaN without a modulus k."""
    groups: int = 0
    """Groups of these rows, those of one value of the answer's quantity (of one sum): the observations of both
    intervals. 0 in a file of before they were counted."""
    population: str = ""
    """Which problems these rows are all of, so that there is no interval; empty for a sample."""

    @property
    def state(self) -> State:
        """Whether the gate is passed; a verdict of NOT LEARNED can also mean that it cannot be told."""
        if self.verdict != "NOT LEARNED":
            return HOLDS
        return CANNOT_BE_TOLD if self.reason.startswith(CANNOT_BE_TOLD) else FAILS

    @property
    def warning(self) -> str:
        """The warning to show before probe results; empty if the gate is passed."""
        return {HOLDS: "", FAILS: NOT_LEARNED_WARNING, CANNOT_BE_TOLD: UNTOLD_WARNING}[self.state]

    def __repr__(self) -> str:
        return f"Behaviour({self})"

    def __str__(self) -> str:
        """The verdict and its reason, as shown above every probe result."""
        return f"{self.verdict}: {self.reason}"

    @property
    def too_few(self) -> str:
        """The name and number of what is too few for a trusted interval; empty if enough, or for a population."""
        if self.population:
            return ""
        if self.n < MIN_ROWS:
            return f"rows ({self.n})"
        return f"groups of rows ({self.groups})" if self.groups < MIN_GROUPS else ""

    @property
    def at_the_edge(self) -> bool:
        """Whether enough answers are exact for LEARNED, but the interval does not confirm it."""
        return self.verdict == "PARTLY LEARNED" and self.exact_match >= EXACT_MATCH_LEARNED

    def answers_one_residue(self, residues: bool) -> bool:
        """Whether a model of residues always answers the same, which can be nearer to uneven answers than a guess."""
        return residues and self.prediction_sd < _CONSTANT * self.answer_sd


def verdict_of(found: Behaviour, residues: bool) -> Verdict:
    """Return the verdict that follows from the numbers."""
    has_skill = found.skill_low > SKILL_FLOOR and found.r2 > SKILL_FLOOR  # NaN is not learned either
    if found.too_few or not has_skill or found.answers_one_residue(residues):
        return "NOT LEARNED"
    for_sure = bool(found.population) or found.exact_match_low >= EXACT_MATCH_LOW
    return "LEARNED" if found.exact_match >= EXACT_MATCH_LEARNED and for_sure else "PARTLY LEARNED"
