"""A verdict in words."""

import math

from arithprobe.behaviour.verdict import SKILL_FLOOR, Behaviour
from arithprobe.logic import CANNOT_BE_TOLD

_FAR_BELOW = 0.1  # skill this far below zero is more than noise about the mean


def reason_of(of: Behaviour, modulus: int | None, residues: bool, more: float) -> str:
    """The verdict in words, with the numbers that decided it.

    Args:
        of: The numbers and the verdict.
        modulus: The modulus of the answers, None for plain sums.
        residues: Whether the model answers residues rather than numbers.
        more: The factor by which the number of groups must grow to settle a verdict at the edge.
    """
    exact = f"{of.exact_match:.1%} of answers exact"
    if of.verdict == "LEARNED" and not of.population:
        exact += f", at least {_down(of.exact_match_low)}"
    if modulus is not None:
        exact += f", off by {of.circular_error:.3g} round the circle (a guess: {modulus / 4:.3g})"
    if of.population:
        exact += f" (counted, not estimated: {of.population})"
    skill = f"skill {of.skill:.2f} [{of.skill_low:.2f}, {of.skill_high:.2f}]"
    if of.verdict != "NOT LEARNED":
        numbers = f"skill {of.skill:.3f}, {exact}" if residues else f"R2 {of.r2:.3f}, RMSE {of.rmse:.3g}, {exact}"
        if of.at_the_edge:
            return f"at the edge: {numbers}; {_what_would_settle_it(of, more)}"
        part = "in part" if residues else "coarse"
        return f"{part}: {numbers}" if of.verdict == "PARTLY LEARNED" else numbers
    if math.isnan(of.skill):
        return f"{CANNOT_BE_TOLD}: the answers are all the train mean, or the predictions are not numbers; {exact}"
    if math.isnan(of.r2):
        return f"{CANNOT_BE_TOLD}: the answers are all equal; {exact}"
    if of.too_few:
        return f"{CANNOT_BE_TOLD}: too few {of.too_few}: {skill}, {exact}"
    spread = f"predictions vary by sd {of.prediction_sd:.3g}, answers by {of.answer_sd:.3g}"
    if of.answers_one_residue(residues):
        return f"answers one residue: {skill}, {spread}, {exact}"
    if of.skill_low > SKILL_FLOOR:
        return (
            f"no better than the mean of these answers, which differ from the training answers: R2 {of.r2:.2f}, {exact}"
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


def _what_would_settle_it(of: Behaviour, more: float) -> str:
    return (
        f"but the lower 95 % bound over {of.groups} groups of rows is {_down(of.exact_match_low)}; "
        f"{math.ceil(more * of.groups)} such groups ({math.ceil(more * of.n)} rows) would settle it"
    )


def _down(share: float) -> str:
    """A lower bound, never rounded up."""
    return f"{math.floor(1000 * share) / 10:.1f}%"
