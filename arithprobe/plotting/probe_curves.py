"""The figure of probe scores at every site over the course of training."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from arithprobe.behaviour import Behaviour
from arithprobe.plotting.panels import lowest, name_axes
from arithprobe.plotting.r2 import HIGHEST, LOWEST, r2_axis, r2_text
from arithprobe.plotting.sheets import empty_figure, panels_below_a_title
from arithprobe.plotting.style import BLUE, GREY, LABEL, LIGHT, SMALL, new_figure, zero_line
from arithprobe.plotting.tips import set_tips
from arithprobe.plotting.titles import set_title
from arithprobe.probes.steps import after_steps, steps_made

_BOTTOM, _TOP = -0.05, 1.05  # of all panels, so that noise looks like what it is; an R2 has an axis of its own
_COLUMNS = 3
_PROBES = {"mlp": "MLP"}
_BAR = 0.6  # of the distance between two sites


@dataclass(frozen=True)
class ProbeHistory:
    """Scores of one probe at T validations and S sites."""

    analysis: str
    """Name of the live probe, first word of its tags, such as ``ridge``."""
    target: str
    """Name of what it reads, such as ``sum``."""
    metric: str
    """What the score is, ``held-out R2`` or ``accuracy``: 1 is perfect."""
    steps: tuple[int, ...]
    """(T) training steps as logged, from 0, ascending."""
    sites: tuple[str, ...]
    """(S) where it reads, in order of depth."""
    score: Tensor
    """(T, S) float64; NaN where there is none."""
    null_high: Tensor
    """(T, S) float64: 95 % quantile of the null; NaN where there is none."""
    note: str = ""
    """Words that the title ends with; may be empty."""


def probe_curves(history: ProbeHistory, behaviour: Behaviour | None) -> Figure:
    """Score by training step, one panel per site with the same axes; shaded below the null's 95 % quantile.

    Scores that are not above the null are hollow and grey, as are those without a null. The scores of a single
    validation are bars, side by side.

    Args:
        history: The scores.
        behaviour: The model's behaviour, for the title.
    """
    alone = len(history.steps) == 1
    title = f"Where can '{history.target}' be read" + (
        f" {after_steps(history.steps[0])}?" if alone else ", and since when?"
    )
    title += f" {_PROBES.get(history.analysis, history.analysis.capitalize())} probes at the last token"
    if not history.sites or not history.steps:
        return empty_figure(title, "nothing was probed", behaviour)
    score, null = (np.asarray(one, dtype=np.float64) for one in (history.score, history.null_high))
    score = np.minimum(score, HIGHEST) if _is_r2(history) else score
    finite = score[np.isfinite(score)]
    bottom = max(min(_BOTTOM, finite.min(initial=0.0) - 0.05), LOWEST)
    strip, figure = (_bars if alone else _panels)(history, score, null, bottom)
    figure.legend(
        handles=_legend(score, null, "s" if alone else "o"), loc="outside lower center", ncols=3, fontsize=SMALL
    )
    set_title(strip, title, behaviour, history.note)
    return figure


def _panels(
    history: ProbeHistory, score: npt.NDArray[np.float64], null: npt.NDArray[np.float64], bottom: float
) -> tuple[Axes, Figure]:
    """A panel a site, and where the title stands."""
    columns = min(_COLUMNS, len(history.sites))
    rows = -(-len(history.sites) // columns)
    figure = new_figure(max(2.9 * columns + 0.5, 6.8), 2.05 * rows + 1.6)
    strip, grid = panels_below_a_title(figure, rows, columns)
    shown = [panel for line in grid for panel in line][: len(history.sites)]
    steps = tuple(map(steps_made, history.steps))
    ends = _ends(steps)
    name = _scale(shown[0], history, bottom)
    for column, (panel, site) in enumerate(zip(shown, history.sites, strict=True)):
        _draw(panel, steps, score[:, column], null[:, column], bottom, ends)
        _tell(panel, history, column)
        panel.set_title(site, fontsize=LABEL, loc="left", pad=3)
    shown[0].set_xlim(*ends)
    shown[0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    labelled = lowest(grid, shown)
    for panel in shown:
        panel.tick_params(labelbottom=panel in labelled, labelsize=SMALL)
    name_axes(grid, shown, "training steps", name)
    return strip, figure


def _bars(
    history: ProbeHistory, score: npt.NDArray[np.float64], null: npt.NDArray[np.float64], bottom: float
) -> tuple[Axes, Figure]:
    """One validation: a bar a site, its score above, and its null over it."""
    figure = new_figure(max(1.1 * len(history.sites) + 1.6, 6.8), 3.9)
    panel = figure.add_subplot()
    name = _scale(panel, history, bottom)
    at, values, high = np.arange(len(history.sites)), score[0], null[0]
    for place, value, reached in zip(at, values, high, strict=True):
        above = value > reached
        height = max(value, bottom) if np.isfinite(value) else 0.0
        face, edge, name_of = (BLUE, BLUE, "above") if above else ("none", GREY, "not above")
        panel.bar([place], [height], _BAR, facecolor=face, edgecolor=edge, linewidth=1.2, gid=name_of)
        panel.bar([place], [max(reached, bottom) - bottom], 0.9, bottom=bottom, color=LIGHT, zorder=0, gid="null")
        above_all = (place, np.nanmax([height, reached, 0.0]))
        panel.annotate(r2_text(value), above_all, (0, 3), textcoords="offset points", ha="center", fontsize=SMALL)
    zero_line(panel)
    panel.set_xticks(at, history.sites)
    panel.set_xlim(-0.6, len(at) - 0.4)
    panel.set_xlabel("site, from the input on")
    panel.set_ylabel(name)
    return panel, figure


def _is_r2(history: ProbeHistory) -> bool:
    return "R2" in history.metric


def _scale(panel: Axes, history: ProbeHistory, bottom: float) -> str:
    """Give a panel its axis upwards; what it is called."""
    if _is_r2(history):
        r2_axis(panel, history.metric, bottom)
    else:
        panel.set_ylim(bottom, _TOP)
        panel.set_ylabel(history.metric)
    return panel.get_ylabel()


def _draw(
    panel: Axes,
    steps: tuple[int, ...],
    score: npt.NDArray[np.float64],
    null: npt.NDArray[np.float64],
    bottom: float,
    ends: tuple[float, float],
) -> None:
    """One site: (T,) scores over what the null reaches, to the ends of the axis."""
    at = np.array(steps, dtype=np.float64)
    across, up = np.array([ends[0], *at, ends[1]]), np.concatenate([null[:1], null, null[-1:]])
    panel.fill_between(across, bottom, up, where=up > bottom, color=LIGHT, linewidth=0, gid="null")
    panel.plot(at, score.clip(bottom), "-", color=BLUE, linewidth=1.0, alpha=0.6, gid="score")
    above = score > null
    for chosen, colour, face, name in ((above, BLUE, BLUE, "above"), (~above, GREY, "white", "not above")):
        kept = chosen & (score >= bottom)
        panel.plot(at[kept], score[kept], "o", color=colour, markerfacecolor=face, markersize=4, gid=name)
    for place, value in zip(at[score < bottom], score[score < bottom], strict=True):
        panel.plot([place], [bottom], "v", color=GREY, markersize=6, clip_on=False, gid="beyond")
        if len(steps) <= 8:
            panel.annotate(
                f"{value:.2g}", (place, bottom), (4, 4), textcoords="offset points", fontsize=SMALL, color="black"
            )
    zero_line(panel)


def _tell(panel: Axes, history: ProbeHistory, column: int) -> None:
    """Say the score and the null of one site to who points at it."""
    found = zip(history.steps, history.score[:, column].tolist(), history.null_high[:, column].tolist(), strict=True)
    words = [f"{after_steps(step)}: {history.metric} {score:.4f} (null {null:.3f})" for step, score, null in found]
    for line in panel.lines:
        if line.get_gid() == "score":
            set_tips(line, words, name="")


def _ends(steps: tuple[int, ...]) -> tuple[float, float]:
    """Left and right end of the axis."""
    margin = 0.06 * (steps[-1] - steps[0]) or 0.5
    return steps[0] - margin, steps[-1] + margin


def _legend(score: npt.NDArray[np.float64], null: npt.NDArray[np.float64], shape: str) -> list[Artist]:
    """What is drawn."""

    def mark(label: str, colour: str, face: str, marker: str = "") -> Line2D:
        return Line2D([], [], linestyle="none", marker=marker or shape, color=colour, markerfacecolor=face, label=label)

    known = np.isfinite(null)
    hollow = "not above it, or no null" if known.any() and not known.all() else "not above it"
    found: list[Artist] = [
        mark("above the null", BLUE, BLUE),
        mark(hollow, GREY, "white"),
        Patch(color=LIGHT, label="below the 95 % quantile of the null"),
    ]
    if not known.any():
        found = [mark("no null to compare with", GREY, "white")]
    if (score < LOWEST).any():
        found.append(mark(f"below {LOWEST}", GREY, GREY, "v"))
    return found
