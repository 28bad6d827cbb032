"""Where is it decodable: held-out R2 by site and position."""

import math

from matplotlib.figure import Figure

from arithprobe.behaviour import Behaviour
from arithprobe.plotting.panels import annotate, heat
from arithprobe.plotting.style import SMALL, new_figure
from arithprobe.plotting.tips import set_tips
from arithprobe.plotting.titles import set_title
from arithprobe.probes.scores import CellScores

_CELL = (0.52, 0.42)  # width and height of a cell, inches


def probe_heatmap(scores: CellScores, behaviour: Behaviour | None, step: int | None) -> Figure:
    """A heatmap of held-out R2, sites upwards from the embedding, positions from left to right.

    The colour scale is fixed at 0 to 1, so that pictures of different steps compare. Cells that do not exceed the 95 %
    quantile of their null are struck out; cells with too few rows are empty.

    Args:
        scores: Scores of one target.
        behaviour: The model's behaviour, for the title: a probe of a model that did not learn says so, in red.
        step: Training step, for the title; None outside a fit.
    """
    rows, columns = len(scores.sites), len(scores.positions)
    figure = new_figure(columns * _CELL[0] + 2.6, rows * _CELL[1] + 2.3)
    axes = figure.add_subplot()
    image = heat(axes, scores.r2, lowest_first=True)
    annotate(axes, image, scores.r2, size=SMALL, form=_shown)
    set_tips(image, _tips(scores), name="held-out R2")
    struck = ~(scores.skill > scores.null_high) & ~scores.r2.isnan()
    for row, column in struck.nonzero().tolist():
        axes.plot([column - 0.4, column + 0.4], [row - 0.3, row + 0.3], color="white", linewidth=1.2)
    smallest = scores.n_test.amin(dim=0).int().tolist()
    ticks = [f"{position}\n{n}" for position, n in zip(scores.positions, smallest, strict=True)]
    longest = max(len(position) for position in scores.positions)
    axes.set_xticks(range(columns), ticks, rotation=90 if longest > 5 else 0)
    axes.set_yticks(range(rows), scores.sites)
    axes.set_xlabel("token position (below it: held-out rows)")
    axes.set_ylabel("site")
    figure.colorbar(image, ax=axes, label="held-out R2", fraction=0.05)
    text = f"{scores.analysis} probes of '{scores.target}'"
    text += "" if step is None else f" at step {step}"
    set_title(axes, f"{text} (struck out: not above the permutation null)", behaviour)
    return figure


def _shown(value: float) -> str:
    if math.isnan(value):
        return "-"
    if value < -9.95:
        return "<-10"
    return f"{value:.2f}" if value > -0.995 else f"{value:.1f}"


def _tips(scores: CellScores) -> list[list[str]]:
    """What is said of each cell: its score, null and rows."""
    parts = (one.tolist() for one in (scores.r2, scores.null_high, scores.n_test))
    return [
        [
            "-" if math.isnan(r2) else f"{r2:.3f} (null {null:.3f}, {n:.0f} rows)"
            for r2, null, n in zip(*row, strict=True)
        ]
        for row in zip(*parts, strict=True)
    ]
