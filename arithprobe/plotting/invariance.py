"""The figure of invariance: the change of the answer under changes of the problem that keep ``x + y``."""

import math

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from arithprobe.behaviour import Behaviour
from arithprobe.interventions.invariance import Invariance
from arithprobe.logic import CANNOT_BE_TOLD
from arithprobe.plotting.panels import logarithmic_over
from arithprobe.plotting.sheets import panels_below_a_title
from arithprobe.plotting.style import BLUE, GREY, SMALL, VERMILION, new_figure, row_lines, zero_line
from arithprobe.plotting.titles import set_title

_EXACT = 1e-3  # answer units squared; what is below is rounding, and the axis goes on to 0 in a straight line
_SMALL = 0.001  # of the index
_LEAST = 1.15  # of the axis of the index: unrelated problems are at 1, and noise stays small


def invariance_chart(found: Invariance, behaviour: Behaviour | None) -> Figure:
    """Error of the answers to ``(x + d, y - d)`` by d on the left, and their difference I_d on the right.

    The squares are the original notebook's curve, of all problems, with the share of them that is out of the range of
    the data below each d. The circles are the problems that stay in range and keep their digit counts; the dashes the
    same problems before the shift.

    Args:
        found: The errors and distances.
        behaviour: The model's behaviour, for the title.
    """
    figure = new_figure(9.4, 4.6)
    strip, ((left, right),) = panels_below_a_title(figure, 1, 2, shared=False)
    order = np.argsort(found.shifts)
    names = [f"{found.shifts[column]:+d}" if found.shifts[column] else "0" for column in order]
    _errors(left, found, order, names)
    _index(right, found, order, names)
    for panel in (left, right):
        panel.set_xlim(-0.5, len(names) - 0.5)
        row_lines(panel)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=SMALL)
    low, high = found.operands
    beyond = max(found.out_of_range) / found.n
    seen = f"operands that no row of the data has, outside {low} to {high}"
    some = f"Up to {beyond:.1%} of all shifted problems have {seen}" if beyond else f"None of the problems has {seen}"
    text = f"Does the answer stay the same under (x + d, y - d)? {some}"
    set_title(strip, text, behaviour)
    return figure


def _errors(panel: Axes, found: Invariance, order: npt.NDArray[np.intp], names: list[str]) -> None:
    """Mean squared errors by shift."""
    at = np.arange(len(names))
    curves = (
        (found.mse, "s-", VERMILION, "all problems, also out of range, with a '-', or longer"),
        (found.kept_mse, "o-", BLUE, "problems that stay in range and keep their digit counts"),
        (found.kept_own_mse, "_--", GREY, "the same problems, not shifted"),
    )
    for values, style, colour, label in curves:
        size = 11 if style.startswith("_") else 5
        panel.plot(at, _array(values)[order], style, color=colour, linewidth=1.1, markersize=size, label=label)
    panel.axhline(found.own_mse, color="black", linewidth=0.8, linestyle=":", label="all problems, not shifted")
    shown = np.array([found.own_mse, *(value for values, *_ in curves for value in values.tolist())])
    shown = shown[np.isfinite(shown)]
    lowest, highest = shown.min(initial=math.inf), shown.max(initial=_EXACT)
    if highest <= 10 * max(lowest, _EXACT):
        panel.set_ylim(0, 1.1 * highest)
    elif lowest > _EXACT:
        logarithmic_over(panel, shown)
    else:
        panel.set_yscale("symlog", linthresh=_EXACT, linscale=0.3)
        panel.set_ylim(-0.3 * _EXACT, 3 * highest)
    round_the_circle = "" if found.circle is None else ",\nround the circle"
    panel.set_ylabel(f"mean squared error\n(answer units squared{round_the_circle})", fontsize=9)
    shares = [found.out_of_range[column] / found.n for column in order]
    panel.set_xticks(at, [f"{name}\n{share:.1%}" for name, share in zip(names, shares, strict=True)], fontsize=SMALL)
    panel.set_xlabel("d; below, share of all problems out of range", fontsize=9)


def _index(panel: Axes, found: Invariance, order: npt.NDArray[np.intp], names: list[str]) -> None:
    """Distance of the two answers by shift, as a share of that of unrelated problems."""
    at, values = np.arange(len(names)), _array(found.index)[order]
    panel.plot(at, values, "o-", color=BLUE, linewidth=1.1, markersize=5)
    top = max(_LEAST, 1.15 * np.nanmax(values, initial=0.0))
    for place, value in zip(at, values, strict=True):
        if math.isfinite(value):
            panel.annotate(
                _shown(value),
                (place, value),
                (0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=SMALL,
                color="black",
            )
    panel.axhline(1, color="black", linestyle="--", linewidth=0.8)
    panel.annotate(
        f"unrelated problems ({found.unrelated:.3g} answer units)",
        (0.02, 1),
        (0, 3),
        va="bottom",
        fontsize=SMALL,
        xycoords=panel.get_yaxis_transform(),
        textcoords="offset points",
        color="black",
    )
    if not np.isfinite(values).any():
        reason = f"{CANNOT_BE_TOLD}: all answers are alike,\nor too few problems stay in range"
        panel.text(0.5, 0.5, reason, ha="center", va="center", transform=panel.transAxes, fontsize=9)
    zero_line(panel)
    panel.set_ylim(-0.06 * top, top)
    panel.set_ylabel("I: distance of the two answers,\nover that of unrelated problems", fontsize=9)
    kept = [found.kept[column] for column in order]
    panel.set_xticks(at, [f"{name}\n{n}" for name, n in zip(names, kept, strict=True)], fontsize=SMALL)
    panel.set_xlabel("d; below, problems compared", fontsize=9)


def _shown(value: float) -> str:
    return f"{value:.2g}" if value >= _SMALL or value == 0 else f"< {_SMALL}"


def _array(values: Tensor) -> npt.NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)
