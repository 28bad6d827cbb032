"""Has the model learned the task? The gate that every probe result stands behind.

A probe can find a quantity in a network that does nothing with it, or in one that was never trained. So the first
question is about behaviour: are the model's answers better than one constant, and are they right?

*Skill* is ``1 - MSE / MSE of the constant predictor``, the constant being the mean training answer. Its 95 % interval
is the normal one of a ratio of means (delta method over rows): with ``e`` the error of the model and ``b`` that of the
constant, the standard error is ``sqrt(sum((e^2 - (1 - skill) b^2)^2)) / sum(b^2)``. The interval of the exact-match
rate is Wilson's (https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval).
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError

Verdict = Literal["NOT LEARNED", "PARTLY LEARNED", "LEARNED"]

SKILL_FLOOR = 0.05
"""NOT LEARNED while the lower 95 % bound of skill is not above this. Neither may R2 be: on rows unlike the training
rows a model can beat the training mean and still know nothing."""
MIN_ROWS = 20
"""Fewer rows than this are NOT LEARNED: the interval cannot be trusted."""
EXACT_MATCH_LEARNED = 0.99
"""LEARNED from this exact-match rate on."""
_FAR_BELOW = 0.1  # skill this far below zero is more than noise about the mean
_Z = 1.959963984540054  # 97.5 % quantile of the normal distribution


class ErrorSums(NamedTuple):
    """Sums over rows, in answer units, of ``e = prediction - answer`` and ``b = answer - train mean``."""

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
    eb: float
    """Sum of e b."""
    e4: float
    """Sum of e^4."""
    b4: float
    """Sum of b^4."""
    e2b2: float
    """Sum of e^2 b^2."""
    exact: float
    """Number of rows whose rounded prediction is the answer."""
    circular: float = 0.0
    """Sum of the distances around the circle of residues; 0 without a modulus."""
    loss: float = 0.0
    """Sum of the training loss, in its own units; 0 where nobody counts it."""


def sums_over_rows(predictions: Tensor, answers: Tensor, constant: float, modulus: int | None = None) -> Tensor:
    """The first 11 fields of :class:`ErrorSums`, of (B,) float64 predictions and (B,) answers."""
    answers = answers.to(predictions)
    e, b = predictions - answers, answers - constant
    exact = (predictions.round() == answers).to(e)
    around = torch.zeros_like(e) if modulus is None else torch.minimum(e % modulus, -e % modulus)
    columns = [torch.ones_like(e), e, e**2, b, b**2, e * b, e**4, b**4, e**2 * b**2, exact, around]
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
    """``1 - MSE / MSE of the train-mean constant``; NaN where the constant makes no error."""
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
    """Mean distance of prediction and answer around the circle of residues, in answer units: about k / 4 for a guess.
    NaN without a modulus k."""

    def __str__(self) -> str:
        """The verdict and its reason, as shown above every probe result."""
        return f"{self.verdict}: {self.reason}"


def judge(sums: ErrorSums, modulus: int | None = None) -> Behaviour:
    """Turn sums over rows into a verdict.

    Args:
        sums: What the rows added up to.
        modulus: That of the answers, if they are residues; the one the sums were made with.

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
    prediction_variance = (sums.e2 + 2 * sums.eb + sums.b2) / n - ((sums.e + sums.b) / n) ** 2
    low, high = _wilson(sums.exact, n)
    skill, exact_match = 1 - ratio, sums.exact / n
    r2 = 1 - sums.e2 / r2_denominator if r2_denominator > 0 else math.nan
    verdict = _verdict(n, skill - margin, r2, exact_match)
    behaviour = Behaviour(
        verdict=verdict,
        reason="",
        n=round(n),
        skill=skill,
        skill_low=skill - margin,
        skill_high=skill + margin,
        r2=r2,
        rmse=math.sqrt(mse),
        bias=sums.e / n,
        prediction_sd=math.sqrt(max(prediction_variance, 0.0)),
        answer_sd=math.sqrt(max(r2_denominator / n, 0.0)),
        exact_match=exact_match,
        exact_match_low=low,
        exact_match_high=high,
        circular_error=math.nan if modulus is None else sums.circular / n,
    )
    return replace(behaviour, reason=_reason(behaviour, modulus))


def _verdict(n: float, skill_low: float, r2: float, exact_match: float) -> Verdict:
    if n < MIN_ROWS or not skill_low > SKILL_FLOOR or r2 <= SKILL_FLOOR:  # a skill of NaN is not learned either
        return "NOT LEARNED"
    return "LEARNED" if exact_match >= EXACT_MATCH_LEARNED else "PARTLY LEARNED"


def _reason(of: Behaviour, modulus: int | None) -> str:
    exact = f"{of.exact_match:.1%} of answers exact"
    if modulus is not None:
        exact += f", off by {of.circular_error:.3g} around the circle of {modulus}"
    skill = f"skill {of.skill:.2f} [{of.skill_low:.2f}, {of.skill_high:.2f}]"
    if of.verdict != "NOT LEARNED":
        figures = f"R2 {of.r2:.3f}, RMSE {of.rmse:.3g}" if modulus is None else f"skill {of.skill:.3f}"
        figures += f", {exact}"
        return f"coarse: {figures}" if of.verdict == "PARTLY LEARNED" else figures
    if math.isnan(of.skill_low):
        return f"cannot be told: the answers are all the train mean, or the predictions are not numbers; {exact}"
    if of.n < MIN_ROWS:
        return f"too few rows to tell ({of.n}): {skill}, {exact}"
    if of.skill_low > SKILL_FLOOR:
        return (
            f"no better than the mean of these answers, which are unlike the training answers: R2 {of.r2:.2f}, {exact}"
        )
    spread = f"predictions vary by sd {of.prediction_sd:.3g}, answers by {of.answer_sd:.3g}"
    return f"{_against_the_mean(of)}: {skill}, {spread}, {exact}"


def _against_the_mean(of: Behaviour) -> str:
    if of.skill_high > SKILL_FLOOR and (of.skill > SKILL_FLOOR or of.skill_high - of.skill_low > 1):
        return f"too few rows to tell ({of.n})"
    if of.skill < -_FAR_BELOW:
        return "worse than predicting the mean"
    if of.skill_low > 0:
        return "barely better than predicting the mean"
    return "predicts the mean" if of.prediction_sd < 0.5 * of.answer_sd else "no better than predicting the mean"


def _wilson(successes: float, n: float) -> tuple[float, float]:
    rate = successes / n
    centre = (rate + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    margin = _Z / (1 + _Z**2 / n) * math.sqrt(rate * (1 - rate) / n + _Z**2 / (4 * n**2))
    return max(centre - margin, 0.0), min(centre + margin, 1.0)
