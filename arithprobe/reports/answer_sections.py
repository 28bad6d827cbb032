"""What the model does: the gate, training curves, answers, and what they keep when they should."""

import math
from collections.abc import Sequence

from arithprobe.analysis.invariance import invariance
from arithprobe.analysis.invariance_said import said_of
from arithprobe.behaviour import Behaviour, difference
from arithprobe.errors import ArithprobeError
from arithprobe.plotting.answers import parity, residual_histogram, residuals_against_truth
from arithprobe.plotting.training import TrainingCurves, training_curves
from arithprobe.probes.steps import steps_made
from arithprobe.reports.blocks import Block, Missing, drawing, table
from arithprobe.reports.histories import of_the_fit
from arithprobe.reports.run import Run
from arithprobe.said.content import Picture, Table, Words


def gate(run: Run) -> list[Block]:
    """The verdicts, before anything else."""
    header = ["moment", "verdict", "after steps", "epoch", "skill [95 %]", "R2", "RMSE", "exact [95 %]"]
    rows = [_verdict_row(name, one.behaviour, one.epoch, one.step) for name, one in run.judged.items()]
    if not all(math.isnan(one.behaviour.circular_error) for one in run.judged.values()):
        header.append("off round the circle")
        around = (one.behaviour.circular_error for one in run.judged.values())
        rows = [(*row, "" if math.isnan(error) else f"{error:.3g}") for row, error in zip(rows, around, strict=True)]
    blocks: list[Block] = [Words(run.doubt.warning, "bad")] if run.doubt is not None else []
    return [*blocks, table(f"Answers to {run.behaviour.n} rows, in the units of the answers", header, rows)]


def _verdict_row(name: str, one: Behaviour, epoch: int | None, step: int | None) -> tuple[str, ...]:
    return (
        name,
        one.verdict,
        "" if step is None else str(steps_made(step)),
        "" if epoch is None else str(epoch),  # from 0, as Lightning counts
        f"{one.skill:.3f} [{one.skill_low:.3f}, {one.skill_high:.3f}]",
        f"{one.r2:.4f}",
        f"{one.rmse:.4g}",
        f"{one.exact_match:.1%} [{one.exact_match_low:.1%}, {one.exact_match_high:.1%}]",
    )


def training(run: Run) -> list[Block]:
    """Loss, skill and exact answers over the fit."""
    if not run.is_fit:
        return [Missing("This folder holds one pass over some rows, not a fit.", "")]
    skill = of_the_fit(run, run.scalars.get("val/skill", []))
    if not skill:
        return [Missing("The run logged no skill that is a number. This happens when a model diverges.", "")]
    kept, exact_match, around = (_columns(run, f"val/{name}")[1] for name in ("skill", "exact_match", "circular_error"))
    losses = (*_columns(run, "train/loss"), *_columns(run, "val/loss"))
    curves = TrainingCurves(*losses, kept, exact_match, around or None)
    first, last = skill[0][1], skill[-1][1]
    exact = run.at_the_end.exact_match
    finding = (
        f"Skill goes from {first:.3f} at the first to {last:.3f} at the last of {len(skill)} validations, with "
        f"{exact:.1%} of the answers exact at the end."
    )
    return [drawing(training_curves(curves, run.at_the_end), finding, "Loss, skill and exact answers by training step")]


def _columns(run: Run, tag: str) -> tuple[Sequence[float], Sequence[float]]:
    points = run.scalars.get(tag, [])
    points = points if tag.startswith("train/") else of_the_fit(run, points)
    return [step for step, _ in points], [value for _, value in points]


def answers(run: Run) -> list[Block]:
    """Parity, residuals."""
    found = run.answers
    if found is None:
        why = "The run did not keep its answers (no predictions.tsv)."
        if run.is_foreign:
            why = "The page draws only answers of this library's own network. This run's are in predictions.tsv."
        return [Missing(why, "")]
    residues = run.loaded is not None and run.loaded.objective.residues
    modulus = found.dataset.modulus if residues else None
    given = found.dataset.answers.double(), found.predictions
    constant = None if run.loaded is None else run.loaded.train_mean
    one = run.behaviour
    spread = f"the predictions vary by {one.prediction_sd:.3g}, the answers by {one.answer_sd:.3g}"
    n = int(found.predictions.isfinite().sum())
    where = f"{found.moment} answers to {n} rows"
    doubt = f"predictions.tsv has {n} answers that are numbers, but the verdict is about {one.n} rows."
    return [
        *([] if n == one.n else [Words(doubt, "bad")]),
        drawing(
            parity(*given, one, modulus, constant=constant),
            f"Predictions against the right answers: R2 {one.r2:.3f}; {spread}.",
            f"Parity: {where}",
        ),
        drawing(
            residual_histogram(*given, one, modulus),
            f"Errors of the answers: RMSE {one.rmse:.3g}, mean {one.bias:+.3g}, {one.exact_match:.1%} exact.",
            f"Residuals: {where}",
        ),
        drawing(
            residuals_against_truth(*given, one, modulus, constant=constant),
            f"Errors against the right answer: {spread}.",
            f"Residuals against the right answer: {where}",
        ),
    ]


def unchanged(run: Run) -> list[Block]:
    """The invariance curve, computed now from the best checkpoint."""
    if run.loaded is None or run.answers is None:
        return [
            Missing(
                "The page computes this only for this library's own network."
                if run.is_foreign
                else "The page needs a checkpoint and its validation rows for this, and one of them is missing.",
                "",
            )
        ]
    try:
        found = invariance(run.loaded, run.answers.dataset)
    except ArithprobeError as error:  # rows of another task than the checkpoint's
        return [Missing(f"Not computed: {error}", "")]
    kept = difference(run.answers.predictions, run.answers.dataset.answers.double(), found.circle)
    known, source = kept[kept.isfinite()], run.checkpoint.name if run.checkpoint is not None else ""
    off = len(known) == found.n and not math.isclose(float(known.square().mean()), found.own_mse, rel_tol=1e-2)
    doubt = f"{source} does not give the answers that the run kept ({run.answers.moment}): it has other weights."
    said = said_of(found, run.behaviour, source).blocks
    return [
        *([Words(doubt, "bad")] if off else []),
        *(drawing(one.draw(), one.finding, one.caption) for one in said if isinstance(one, Picture)),
        *(one for one in said if isinstance(one, Table)),
    ]
