"""The step from errors to a verdict."""

import math
from dataclasses import replace

from torch import Tensor

from arithprobe.behaviour.errors import Errors, errors_of
from arithprobe.behaviour.exact import Numbers, share_interval, to_settle
from arithprobe.behaviour.reason import reason_of
from arithprobe.behaviour.skill import ratio_interval
from arithprobe.behaviour.verdict import EXACT_MATCH_LOW, Behaviour, verdict_of
from arithprobe.errors import ArithprobeError

_ONE_ANSWER = 0.25  # a sum of squares about the mean below this: whole numbers that are not all equal have 0.5 or more
_ROUNDING = 1e-12  # of sums of squares, as a share of them


def judge(errors: Errors, modulus: int | None = None, *, residues: bool = False, population: str = "") -> Behaviour:
    """Turn errors into a verdict.

    Args:
        errors: The sums over the rows of each group.
        modulus: The modulus of the answers, the one that the sums were made with.
        residues: Whether the model answers residues, as in the sums.
        population: Which problems the rows are all of, in words; empty for a sample.

    Raises:
        ArithprobeError: If there are no rows.
    """
    errors = Errors(*(one.cpu().reshape(-1) for one in errors))  # torchmetrics makes scalars of a single group
    total = {name: errors.total(name) for name in Errors._fields[1:]}
    n, e2, b2 = total["n"], total["e2"], total["b2"]
    if n < 1:
        raise ArithprobeError("no rows to judge the model by")
    r2_denominator = b2 - total["b"] ** 2 / n
    if r2_denominator < max(_ONE_ANSWER, _ROUNDING * b2):
        r2_denominator = 0.0
    skill, exact_match = 1 - e2 / b2 if b2 > 0 else math.nan, total["exact"] / n
    exact_low = exact_high = exact_match
    skill_low = skill_high = skill
    if not population:
        exact_low, exact_high = share_interval(*_counts(errors))
        skill_low, skill_high = _skill_interval(errors, exact_low, residues)
    behaviour = Behaviour(
        verdict="NOT LEARNED",
        reason="",
        n=round(n),
        skill=skill,
        skill_low=skill_low,
        skill_high=skill_high,
        r2=1 - e2 / r2_denominator if r2_denominator > 0 else math.nan,
        rmse=math.sqrt(e2 / n),
        bias=total["e"] / n,
        prediction_sd=math.sqrt(max(total["p2"] / n - (total["p"] / n) ** 2, 0.0)),
        answer_sd=math.sqrt(max(r2_denominator / n, 0.0)),
        exact_match=exact_match,
        exact_match_low=exact_low,
        exact_match_high=exact_high,
        circular_error=math.nan if modulus is None else total["circular"] / n,
        groups=len(errors.group),
        population=population,
    )
    behaviour = replace(behaviour, verdict=verdict_of(behaviour, residues))
    more = to_settle(*_counts(errors), EXACT_MATCH_LOW) if behaviour.at_the_edge else math.nan
    return replace(behaviour, reason=reason_of(behaviour, modulus, residues, more))


def judge_rows(
    predictions: Tensor,
    answers: Tensor,
    constant: float,
    modulus: int | None = None,
    *,
    residues: bool = False,
    group: Tensor | None = None,
    population: str = "",
) -> Behaviour:
    """Return the verdict over rows that are all in memory.

    Args:
        predictions: (N,) float64.
        answers: (N,) int64.
        constant: The train mean.
        modulus: The modulus of the answers, None for plain sums.
        residues: Whether the model answers residues rather than numbers.
        group: (N,) int64 labels of rows that may be right or wrong together; by default the answers.
        population: Which problems the rows are all of, in words; empty for a sample.
    """
    columns = errors_of(predictions, answers, constant, modulus, residues=residues)
    errors = Errors.summed(answers if group is None else group, columns)
    return judge(errors, modulus, residues=residues, population=population)


def _counts(errors: Errors) -> tuple[Numbers, Numbers]:
    return errors.exact.numpy(), errors.n.numpy()


def _skill_interval(errors: Errors, exact_low: float, residues: bool) -> tuple[float, float]:
    """Of skill; a model of residues may be wrong about groups of which none was drawn."""
    low, high = (1 - float(end) for end in reversed(ratio_interval(errors.e2, errors.b2)))
    if residues:  # rows that are right have no error, so what is wrong is as large as it is seen to be, or a guess
        wrong = errors.total("n") - errors.total("exact")
        each = errors.total("e2") / wrong * errors.total("n") / errors.total("b2") if wrong else 1.0
        low = min(low, 1 - (1 - exact_low) * each)
    return low, high
