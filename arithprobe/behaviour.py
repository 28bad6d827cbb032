"""Has the model learned the task? The gate that every probe result stands behind.

A probe can find a quantity in a network that does nothing with it, or in one that was never trained. So the first
question is about behaviour: are the model's answers better than one constant, and are they right?

*Skill* is ``1 - MSE / MSE of the constant predictor``, the constant being the mean training answer. Its 95 % interval
is the normal one of a ratio of means (delta method over rows): with ``e`` the error of the model and ``b`` that of the
constant, the standard error is ``sqrt(sum((e^2 - (1 - skill) b^2)^2)) / sum(b^2)``. The interval of the exact-match
rate is Wilson's (https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval).

Of a model that answers residues, and not numbers, errors go round the circle the shorter way, -k/2 to k/2: a wrong
residue is then no further off than a guess, and of a model that knows a share of the answers and guesses the rest, that
share is the skill. A constant residue and a guess both have skill 0, about.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError
from arithprobe.logic import CANNOT_BE_TOLD, FAILS, HOLDS, State

Verdict = Literal["NOT LEARNED", "PARTLY LEARNED", "LEARNED"]

SKILL_FLOOR = 0.05
"""NOT LEARNED while the lower 95 % bound of skill is not above this. Neither may R2 be: on rows unlike the training
rows a model can beat the training mean and still know nothing."""
MIN_ROWS = 20
"""Fewer rows than this are NOT LEARNED: the interval cannot be trusted."""
EXACT_MATCH_LEARNED = 0.99
"""LEARNED from this exact-match rate on."""
NOT_LEARNED_WARNING = (
    "What follows is read from a model that has not learned the task. Whatever it shows is not about the task: "
    "an untrained network can score as high."
)
"""What stands between that verdict and results of probes."""
_FAR_BELOW = 0.1  # skill this far below zero is more than noise about the mean
_CONSTANT = 0.1  # predictions that vary less than this, as a share of what the answers do, are one residue
_Z = 1.959963984540054  # 97.5 % quantile of the normal distribution


class ErrorSums(NamedTuple):
    """Sums over rows, in answer units: e is prediction - answer, b answer - train mean, p prediction - train mean.

    If the model answers residues, e and b go round the circle; p never does.
    """

    n: float
    """Number of rows."""
    e: float
    """Sum of e."""
    e2: float
    """Sum of e^2."""
    b: float
    """Sum of b."""
    b2: float
    """Sum of b^2."""
    p: float
    """Sum of p."""
    p2: float
    """Sum of p^2."""
    e4: float
    """Sum of e^4."""
    b4: float
    """Sum of b^4."""
    e2b2: float
    """Sum of e^2 b^2."""
    exact: float
    """Number of rows whose rounded prediction is the answer."""
    circular: float = 0.0
    """Sum of the distances of prediction and answer round the circle of residues; 0 without a modulus."""
    loss: float = 0.0
    """Sum of the training loss, in its own units; 0 where nobody counts it."""


def difference(after: Tensor, before: Tensor | float, circle: int | None) -> Tensor:
    """``after - before``, elementwise; round the circle of ``circle`` residues, if given, the shorter way.

    >>> difference(torch.tensor([96.0, 3.0]), 0.0, 97)
    tensor([-1.,  3.])
    """
    change = after - before
    return change if circle is None else (change + circle / 2) % circle - circle / 2


def sums_over_rows(
    predictions: Tensor, answers: Tensor, constant: float, modulus: int | None = None, *, residues: bool = False
) -> Tensor:
    """The fields of :class:`ErrorSums`, all but the loss.

    Args:
        predictions: (B,) float64.
        answers: (B,).
        constant: The train mean.
        modulus: That of the answers, None for plain sums.
        residues: Whether the model answers residues, and not numbers.
    """
    answers = answers.to(predictions)
    circle = modulus if residues else None
    e, b, p = difference(predictions, answers, circle), difference(answers, constant, circle), predictions - constant
    exact = (predictions.round() == answers).to(e)
    around = torch.zeros_like(e) if modulus is None else difference(predictions, answers, modulus).abs()
    columns = [torch.ones_like(e), e, e**2, b, b**2, p, p**2, e**4, b**4, e**2 * b**2, exact, around]
    return torch.stack(columns).sum(dim=1)


@dataclass(frozen=True)
class Behaviour:
    """How well the answers are, and the verdict."""

    verdict: Verdict
    """NOT LEARNED, PARTLY LEARNED or LEARNED."""
    reason: str
    """The verdict in words, with the figures that decided it."""
    n: int
    """Rows judged."""
    skill: float
    """``1 - MSE / MSE of the train-mean constant``, round the circle for a model that answers residues; NaN where the
    constant makes no error."""
    skill_low: float
    """Lower bound of its 95 % interval."""
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
    """Lower bound of its 95 % interval."""
    exact_match_high: float
    """Upper bound."""
    circular_error: float = math.nan
    """Mean distance of prediction and answer round the circle of residues, in answer units: about k / 4 for a guess.
    NaN without a modulus k."""

    @property
    def state(self) -> State:
        """Whether the gate is passed; NOT LEARNED is also what cannot be told."""
        if self.verdict != "NOT LEARNED":
            return HOLDS
        return CANNOT_BE_TOLD if self.reason.startswith(CANNOT_BE_TOLD) else FAILS

    def __str__(self) -> str:
        """The verdict and its reason, as shown above every probe result."""
        return f"{self.verdict}: {self.reason}"


def judge(sums: ErrorSums, modulus: int | None = None, *, residues: bool = False) -> Behaviour:
    """Turn sums over rows into a verdict.

    Args:
        sums: What the rows added up to.
        modulus: That of the answers, as the sums were made with.
        residues: Whether the model answers residues, as the sums were made with.

    Raises:
        ArithprobeError: If there are no rows.
    """
    n = sums.n
    if n < 1:
        raise ArithprobeError("no rows to judge the model by")
    mse, r2_denominator = sums.e2 / n, sums.b2 - sums.b**2 / n
    ratio = sums.e2 / sums.b2 if sums.b2 > 0 else math.nan
    spread = sums.e4 - 2 * ratio * sums.e2b2 + ratio**2 * sums.b4
    margin = _Z * math.sqrt(max(spread, 0.0)) / sums.b2 if sums.b2 > 0 else math.nan
    low, high = _wilson(sums.exact, n)
    skill, exact_match = 1 - ratio, sums.exact / n
    behaviour = Behaviour(
        verdict="NOT LEARNED",
        reason="",
        n=round(n),
        skill=skill,
        skill_low=skill - margin,
        skill_high=skill + margin,
        r2=1 - sums.e2 / r2_denominator if r2_denominator > 0 else math.nan,
        rmse=math.sqrt(mse),
        bias=sums.e / n,
        prediction_sd=math.sqrt(max(sums.p2 / n - (sums.p / n) ** 2, 0.0)),
        answer_sd=math.sqrt(max(r2_denominator / n, 0.0)),
        exact_match=exact_match,
        exact_match_low=low,
        exact_match_high=high,
        circular_error=math.nan if modulus is None else sums.circular / n,
    )
    behaviour = replace(behaviour, verdict=_verdict(behaviour, residues))
    return replace(behaviour, reason=_reason(behaviour, modulus, residues))


def judge_rows(
    predictions: Tensor, answers: Tensor, constant: float, modulus: int | None = None, *, residues: bool = False
) -> Behaviour:
    """The verdict over rows that are all at hand; arguments as in :func:`sums_over_rows`."""
    sums = sums_over_rows(predictions, answers, constant, modulus, residues=residues)
    return judge(ErrorSums(*sums.tolist()), modulus, residues=residues)


def _verdict(of: Behaviour, residues: bool) -> Verdict:
    # a skill of NaN is not learned either
    if of.n < MIN_ROWS or not of.skill_low > SKILL_FLOOR or of.r2 <= SKILL_FLOOR:
        return "NOT LEARNED"
    if residues and of.prediction_sd < _CONSTANT * of.answer_sd:  # one residue can be nearer to uneven answers
        return "NOT LEARNED"
    return "LEARNED" if of.exact_match >= EXACT_MATCH_LEARNED else "PARTLY LEARNED"


def _reason(of: Behaviour, modulus: int | None, residues: bool) -> str:
    exact = f"{of.exact_match:.1%} of answers exact"
    if modulus is not None:
        exact += f", off by {of.circular_error:.3g} round the circle (a guess: {modulus / 4:.3g})"
    skill = f"skill {of.skill:.2f} [{of.skill_low:.2f}, {of.skill_high:.2f}]"
    if of.verdict != "NOT LEARNED":
        figures = f"skill {of.skill:.3f}, {exact}" if residues else f"R2 {of.r2:.3f}, RMSE {of.rmse:.3g}, {exact}"
        part = "in part" if residues else "coarse"
        return f"{part}: {figures}" if of.verdict == "PARTLY LEARNED" else figures
    if math.isnan(of.skill_low):
        return f"{CANNOT_BE_TOLD}: the answers are all the train mean, or the predictions are not numbers; {exact}"
    if of.n < MIN_ROWS:
        return f"{CANNOT_BE_TOLD}: too few rows ({of.n}): {skill}, {exact}"
    spread = f"predictions vary by sd {of.prediction_sd:.3g}, answers by {of.answer_sd:.3g}"
    if residues and of.prediction_sd < _CONSTANT * of.answer_sd:
        return f"answers one residue: {skill}, {spread}, {exact}"
    if of.skill_low > SKILL_FLOOR:
        return (
            f"no better than the mean of these answers, which are unlike the training answers: R2 {of.r2:.2f}, {exact}"
        )
    return f"{_against_the_baseline(of, residues)}: {skill}, {spread}, {exact}"


def _against_the_baseline(of: Behaviour, residues: bool) -> str:
    baseline = "a guess" if residues else "predicting the mean"
    if of.skill_high > SKILL_FLOOR and (of.skill > SKILL_FLOOR or of.skill_high - of.skill_low > 1):
        return f"{CANNOT_BE_TOLD}: too few rows ({of.n})"
    if of.skill < -_FAR_BELOW:
        return f"worse than {baseline}"
    if of.skill_low > 0:
        return f"barely better than {baseline}"
    if not residues and of.prediction_sd < 0.5 * of.answer_sd:
        return "predicts the mean"
    return f"no better than {baseline}"


def _wilson(successes: float, n: float) -> tuple[float, float]:
    rate = successes / n
    centre = (rate + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    margin = _Z / (1 + _Z**2 / n) * math.sqrt(rate * (1 - rate) / n + _Z**2 / (4 * n**2))
    return max(centre - margin, 0.0), min(centre + margin, 1.0)
