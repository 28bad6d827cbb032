"""Where is it decodable: held-out R2 by site and position."""

import math

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from arithprobe.behaviour import Behaviour
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
    figure = Figure(figsize=(columns * _CELL[0] + 2.6, rows * _CELL[1] + 2.3), layout="constrained", dpi=110)
    axes = figure.add_subplot()
    r2 = scores.r2.numpy()
    colours = colormaps["viridis"].with_extremes(bad="white")
    image = axes.imshow(np.clip(r2, 0, 1), cmap=colours, vmin=0, vmax=1, aspect="auto", origin="lower")
    for row in range(rows):
        for column in range(columns):
            value = float(r2[row, column])
            ink = "black" if math.isnan(value) or value > 0.6 else "white"
            axes.text(column, row, _shown(value), ha="center", va="center", fontsize=8, color=ink)
            if not scores.skill[row, column] > scores.null_high[row, column] and not math.isnan(value):
                axes.plot([column - 0.4, column + 0.4], [row - 0.3, row + 0.3], color="white", linewidth=1.2)
    smallest = scores.n_test.amin(dim=0).int().tolist()
    ticks = [f"{position}\n{n}" for position, n in zip(scores.positions, smallest, strict=True)]
    longest = max(len(position) for position in scores.positions)
    axes.set_xticks(range(columns), ticks, fontsize=8, rotation=90 if longest > 5 else 0)
    axes.set_yticks(range(rows), scores.sites, fontsize=9)
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
