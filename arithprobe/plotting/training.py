"""The figure of loss, skill and exact answers over the course of training."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arithprobe.behaviour import EXACT_MATCH_LEARNED, SKILL_FLOOR, Behaviour
from arithprobe.plotting.panels import logarithmic_over
from arithprobe.plotting.sheets import empty_figure
from arithprobe.plotting.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SMALL, new_figure, row_lines
from arithprobe.plotting.titles import set_title
from arithprobe.probes.steps import after_steps

_MANY = 100  # training losses; beyond, their running mean is drawn over them
_WINDOWS = 40  # of the running mean, one after another
_LOWEST = -0.5  # of the axis of skill: what is worse stands at its end
_Column = npt.NDArray[np.float64]


class TrainingCurves(NamedTuple):
    """The logged curves of a run, over U training steps and T validations."""

    train_step: Sequence[float]
    """(U,) steps at which the training loss was logged, from 0."""
    train_loss: Sequence[float]
    """(U,) in units of the objective."""
    val_step: Sequence[float]
    """(T,) steps of the validations, from 0."""
    val_loss: Sequence[float]
    """(T,) in units of the objective."""
    skill: Sequence[float]
    """(T,) over the best constant, on the validation rows."""
    exact_match: Sequence[float]
    """(T,) share of the validation rows."""
    circular_error: Sequence[float] | None = None
    """(T,) mean distance round the circle, in answer units; None without a modulus."""


def training_curves(curves: TrainingCurves, behaviour: Behaviour | None) -> Figure:
    """Loss above, skill and exact answers below, and the distance round the circle if there is one.

    The loss has a logarithmic axis; values that are NaN or not above 0 are left out. The axis of skill goes from -0.5,
    or higher, to 1; lower values are triangles at its end. The results of a single validation are given in words.

    Args:
        curves: The logged curves of the run.
        behaviour: The model's behaviour, for the title.
    """
    circle, validations = curves.circular_error, len(curves.val_step)
    text = (
        f"How did training go? Loss, and how good the answers are ({validations} validation{'s' * (validations != 1)})"
    )
    rows = 1 if validations <= 1 else 2 if circle is None else 3
    if rows == 1 and len(curves.train_step) <= 1:
        return empty_figure(text, _in_words(curves) or "nothing was logged", behaviour)
    figure = new_figure(8.2, 2.1 + 1.9 * rows)
    panels = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    _losses(panels[0], curves)
    if rows > 1:
        _shares(panels[1], curves)
    if rows > 2 and circle is not None:
        at, off = _finite(curves.val_step, circle)
        panels[2].plot(at, off, "o-", color=PURPLE, markersize=4, linewidth=1.2, gid="circular error")
        panels[2].set_ylim(0, 1.1 * max(off.max(initial=0.0), 1.0))
        panels[2].set_ylabel("mean distance\nround the circle\n(answer units)", fontsize=9)
    for panel in panels:
        row_lines(panel)
    for panel in panels[:2]:
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=SMALL, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    panels[-1].set_xlabel("training steps")
    set_title(panels[0], text, behaviour, _in_words(curves) if rows == 1 else "")
    return figure


def _in_words(curves: TrainingCurves) -> str:
    """What a single validation found: a dot is no curve."""
    if len(curves.val_step) != 1:
        return ""
    (step,), (loss,), (skill,), (exact,) = curves.val_step, curves.val_loss, curves.skill, curves.exact_match
    off = "" if curves.circular_error is None else f", off by {curves.circular_error[0]:.3g} round the circle"
    when = after_steps(int(step)).capitalize()
    return f"{when}: validation loss {loss:.3g}, skill {skill:.3g}, {exact:.1%} of answers exact{off}"


def _losses(panel: Axes, curves: TrainingCurves) -> None:
    """Training loss, thin, with its running mean where it is long, and validation loss."""
    at, loss = _finite(curves.train_step, curves.train_loss, positive=True)
    long = len(loss) > _MANY
    if len(loss):
        (line,) = panel.plot(at, loss, "-" if len(loss) > 1 else ".", color=BLUE, label="training", gid="training")
        line.set(linewidth=0.7 if long else 1.2, alpha=0.35 if long else 1.0, rasterized=long)
    if long:
        width = -(-len(loss) // _WINDOWS)
        weights, every = np.full(width, 1 / width), max(width // 4, 1)  # more points than that would not be seen
        means = [np.convolve(one, weights, "valid")[::every] for one in (at, loss)]
        panel.plot(*means, color=BLUE, linewidth=1.5, label=f"training, running\nmean of {width}", gid="running mean")
    where, validation = _finite(curves.val_step, curves.val_loss, positive=True)
    if len(validation):
        panel.plot(where, validation, "o", color=ORANGE, markersize=4, label="validation", gid="validation")
    drawn = np.concatenate([loss, validation])
    if len(drawn):
        logarithmic_over(panel, drawn)
    panel.set_ylabel("loss (log; units of\nthe objective)", fontsize=9)


def _shares(panel: Axes, curves: TrainingCurves) -> None:
    """Skill and exact match, with what a constant reaches and what the gate asks for."""
    for values, colour, name in ((curves.skill, BLUE, "skill"), (curves.exact_match, GREEN, "exact answers")):
        at, shares = _finite(curves.val_step, values)
        label = name if name == "skill" else f"{name}\n(share of rows)"
        panel.plot(at, shares.clip(_LOWEST), "o-", color=colour, markersize=4, linewidth=1.2, label=label, gid=name)
        low = shares < _LOWEST
        if low.any():
            panel.plot(at[low], np.full(low.sum(), _LOWEST), "v", color=colour, markersize=7, gid=f"{name} below")
            worst = np.argmin(shares)
            place, text = (at[worst], _LOWEST), f"{shares[worst]:.2g}"
            panel.annotate(text, place, (0, 6), textcoords="offset points", ha="center", fontsize=SMALL, color="black")
    panel.axhline(0, color="black", linewidth=0.8, label="skill of the\nbest constant (0)")
    panel.axhline(SKILL_FLOOR, color="black", linewidth=0.9, linestyle="--", label=f"gate: skill above {SKILL_FLOOR}")
    label = f"LEARNED: exact\nfrom {EXACT_MATCH_LEARNED}"
    panel.axhline(EXACT_MATCH_LEARNED, color=GREY, linewidth=0.9, linestyle=":", label=label)
    lowest = min(_finite(curves.val_step, curves.skill)[1].min(initial=0.0), 0.0)
    panel.set_ylim(max(lowest, _LOWEST) - 0.08, 1.06)
    panel.set_ylabel("skill, exact answers", fontsize=9)


def _finite(steps: Sequence[float], values: Sequence[float], *, positive: bool = False) -> tuple[_Column, _Column]:
    """Steps and values where the values are finite numbers, and, if asked for, above 0."""
    at, found = (np.asarray(one, dtype=np.float64) for one in (steps, values))
    kept = np.isfinite(found) & ((found > 0) if positive else True)
    return at[kept] + 1, found[kept]  # steps made
