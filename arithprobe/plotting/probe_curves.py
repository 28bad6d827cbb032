"""What a probe read at every site, over the course of training."""

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
from arithprobe.plotting.sheets import empty_figure, panels_below_a_title
from arithprobe.plotting.style import BLUE, GREY, LIGHT, new_figure, zero_line
from arithprobe.plotting.tips import set_tips
from arithprobe.plotting.titles import set_title

_BOTTOM, _TOP = -0.05, 1.05  # of all panels, so that noise looks like what it is
_LOWEST = -0.5  # the bottom is not below: what is stands there, as a triangle with its value
_COLUMNS = 3


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
    """(T) training steps, ascending."""
    sites: tuple[str, ...]
    """(S) where it reads, in order of depth."""
    score: Tensor
    """(T, S) float64; NaN where there is none."""
    null_high: Tensor
    """(T, S) float64: 95 % quantile of the null; NaN where there is none."""
    note: str = ""
    """Words that the title ends with; may be empty."""


def probe_curves(history: ProbeHistory, behaviour: Behaviour | None) -> Figure:
    """Score by training step, a panel a site, all with the same axes; shaded below the null's 95 % quantile.

    Scores that are not above the null are hollow and grey, as are those without a null.

    Args:
        history: The scores.
        behaviour: The model's behaviour, for the title.
    """
    by = "by training step and site" if len(history.steps) != 1 else f"at step {history.steps[0]}, by site"
    title = f"{history.analysis.capitalize()} probe of '{history.target}': {history.metric} {by}"
    title += f". {history.note}" if history.note else ""
    if not history.sites or not history.steps:
        return empty_figure(title, "nothing was probed", behaviour)
    columns = min(_COLUMNS, len(history.sites))
    rows = -(-len(history.sites) // columns)
    figure = new_figure(max(2.9 * columns + 0.5, 6.8), 2.05 * rows + 1.6)
    strip, grid = panels_below_a_title(figure, rows, columns)
    shown = [panel for line in grid for panel in line][: len(history.sites)]
    score, null = (np.asarray(one, dtype=np.float64) for one in (history.score, history.null_high))
    finite = score[np.isfinite(score)]
    bottom = max(min(_BOTTOM, finite.min(initial=0.0) - 0.05), _LOWEST)
    ends = _ends(history.steps)
    for column, (panel, site) in enumerate(zip(shown, history.sites, strict=True)):
        _draw(panel, history.steps, score[:, column], null[:, column], bottom, ends)
        _tell(panel, history, column)
        panel.set_title(site, fontsize=9, loc="left", pad=3)
    shown[0].set_ylim(bottom, _TOP)
    shown[0].set_xlim(*ends)
    if len(history.steps) == 1:
        shown[0].set_xticks(history.steps)
    else:
        shown[0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    labelled = lowest(grid, shown)
    for panel in shown:
        panel.tick_params(labelbottom=panel in labelled, labelsize=8)
    name_axes(grid, shown, "training step", history.metric)
    figure.legend(handles=_legend(score, null), loc="outside lower center", ncols=3, fontsize=8)
    set_title(strip, title, behaviour)
    return figure


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
                f"{value:.2g}", (place, bottom), (4, 4), textcoords="offset points", fontsize=7, color="black"
            )
    zero_line(panel)


def _tell(panel: Axes, history: ProbeHistory, column: int) -> None:
    """Say the score and the null of one site to who points at it."""
    found = zip(history.steps, history.score[:, column].tolist(), history.null_high[:, column].tolist(), strict=True)
    words = [f"step {step}: {history.metric} {score:.4f} (null {null:.3f})" for step, score, null in found]
    for line in panel.lines:
        if line.get_gid() == "score":
            set_tips(line, words, name="")


def _ends(steps: tuple[int, ...]) -> tuple[float, float]:
    """Left and right end of the axis."""
    margin = 0.06 * (steps[-1] - steps[0]) or 0.5
    return steps[0] - margin, steps[-1] + margin


def _legend(score: npt.NDArray[np.float64], null: npt.NDArray[np.float64]) -> list[Artist]:
    """What is drawn."""

    def mark(label: str, colour: str, face: str, marker: str = "o") -> Line2D:
        return Line2D([], [], linestyle="none", marker=marker, color=colour, markerfacecolor=face, label=label)

    known = np.isfinite(null)
    hollow = "not above it, or no null" if known.any() and not known.all() else "not above it"
    found: list[Artist] = [
        mark("above the null", BLUE, BLUE),
        mark(hollow, GREY, "white"),
        Patch(color=LIGHT, label="below the 95 % quantile of the null"),
    ]
    if not known.any():
        found = [mark("no null to compare with", GREY, "white")]
    if (score < _LOWEST).any():
        found.append(mark(f"below {_LOWEST}", GREY, GREY, "v"))
    return found
