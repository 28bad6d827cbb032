"""The figure of decodability: held-out R2 by site and position."""

import math

import torch
from matplotlib.figure import Figure

from arithprobe.behaviour import Behaviour
from arithprobe.plotting.r2 import r2_bar, r2_heat, r2_numbers, r2_text
from arithprobe.plotting.style import new_figure
from arithprobe.plotting.tips import set_tips
from arithprobe.plotting.titles import set_title
from arithprobe.plotting.tokens import token_axis
from arithprobe.probes.scores import CellScores
from arithprobe.probes.steps import after_steps

_CELL = (0.45, 0.42)  # width and height of a cell, inches
_NARROWEST = 6.5


def probe_heatmap(scores: CellScores, behaviour: Behaviour | None, step: int | None) -> Figure:
    """A heatmap of held-out R2, sites upwards from the embedding, positions from left to right.

    The colour scale is fixed, so that figures of different steps compare, and separates values near 1. A cell that is
    not above the 95 % quantile of its null has its number in grey and no colour; one with too few rows has a dash.

    Args:
        scores: Scores of one target.
        behaviour: The model's behaviour, for the title: a probe of a model that did not learn says so, in red.
        step: Training step, for the title; None outside a fit.
    """
    rows, columns = len(scores.sites), len(scores.positions)
    figure = new_figure(max(columns * _CELL[0] + 2.6, _NARROWEST), rows * _CELL[1] + 2.7)
    axes = figure.add_subplot()
    above = scores.skill > scores.null_high
    image = r2_heat(axes, torch.where(above, scores.r2, torch.nan))
    r2_numbers(axes, image, scores.r2)
    set_tips(image, _tips(scores), name="held-out R2")
    if scores.positions[0] == "last" and columns > 1:
        axes.axvline(0.5, color="white", linewidth=4)  # it is one of the others again
    token_axis(axes, scores.positions, scores.n_test.amin(dim=0).tolist(), "held-out rows", "token")
    axes.set_yticks(range(rows), scores.sites)
    axes.set_ylabel("site (input below)")
    r2_bar(axes, image, "held-out R2")
    text = f"Where can '{scores.target}' be read? {scores.analysis.capitalize()} probes"
    text += "" if step is None else f" {after_steps(step)}"
    set_title(axes, text, behaviour, _null(scores))
    return figure


def _null(scores: CellScores) -> str:
    """What the scores are compared with."""
    high = scores.null_high
    known = high[high.isfinite()]
    if not len(known):
        return "There is no null to compare with"
    fits = scores.null.shape[-1]
    most = r2_text(float(known.max()))
    return f"No colour: not above its null, 95 % of {fits} fits on permuted labels (at most {most} in any cell)"


def _tips(scores: CellScores) -> list[list[str]]:
    """What is said of each cell: its score, null and rows."""
    parts = (one.tolist() for one in (scores.r2, scores.null_high, scores.n_test))
    return [
        [
            "-" if math.isnan(r2) else f"{r2:.4f} (null {null:.3f}, {n:.0f} rows)"
            for r2, null, n in zip(*row, strict=True)
        ]
        for row in zip(*parts, strict=True)
    ]
