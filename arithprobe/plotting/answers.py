"""Figures of a model's answers against the correct ones: parity and residuals."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from torch import Tensor

from arithprobe.behaviour import Behaviour, difference
from arithprobe.plotting.sheets import empty_figure
from arithprobe.plotting.style import BLUE, ORANGE, SMALL, new_figure
from arithprobe.plotting.titles import set_title

BINS = 40
"""Bars of the histogram of a model that answers numbers."""
_MANY = 3000  # places; if there are more, points are pixels, whose density shows how many there are
_Column = npt.NDArray[np.float64]
_SIZE = (6.8, 4.6)
_CONSTANT = "the best constant (mean of the training answers)"


class _Answers(NamedTuple):
    """Those that are numbers."""

    truth: _Column
    predicted: _Column
    residual: _Column
    """Prediction - answer, round the circle for residues."""
    left_out: str
    """How many rows are not drawn, for the title."""


def parity(
    answers: Tensor,
    predictions: Tensor,
    behaviour: Behaviour | None,
    modulus: int | None = None,
    constant: float | None = None,
) -> Figure:
    """The model's answers against the correct ones, one point per row; correct answers are on the line.

    Args:
        answers: (N,) correct answers.
        predictions: (N,) the model's answers; rows whose prediction is not finite are left out, and counted.
        behaviour: The model's behaviour, for the title.
        modulus: k, if the model answers residues: residues k - 1 and 0 are then neighbours, and dotted lines mark where
            they meet.
        constant: The constant predictor, drawn as a line; None where it is unknown.
    """
    title, of = "The model's answers against the right ones", _finite(answers, predictions, modulus)
    if not len(of.truth):
        return empty_figure(title + of.left_out, "no prediction is a number", behaviour)
    figure = new_figure(*_SIZE)
    axes = figure.add_subplot()
    _points(axes, of.truth, of.predicted)
    low, high = float(of.truth.min()), float(of.truth.max())
    margin = 0.04 * max(high - low, 1.0)
    ends = np.array([low - margin, high + margin])
    axes.plot(ends, ends, color="black", linewidth=0.9, label="right answers", gid="identity")
    if modulus is not None:
        for number, turn in enumerate((-modulus, modulus)):
            label = f"right answers, a turn of {modulus} away" if not number else None
            axes.plot(ends, ends + turn, ":", color="black", linewidth=0.9, label=label)
        axes.set_ylim(*ends)
    if constant is not None:
        axes.axhline(constant, color=ORANGE, linewidth=1.4, linestyle="--", label=_CONSTANT, gid="constant")
    axes.set_xlim(*ends)
    axes.set_xlabel(f"right answer ({_units(modulus)})")
    axes.set_ylabel(f"model's answer ({_units(modulus)})")
    _finish(figure, axes, title + of.left_out, behaviour)
    return figure


def residual_histogram(
    answers: Tensor,
    predictions: Tensor,
    behaviour: Behaviour | None,
    modulus: int | None = None,
    constant: float | None = None,
) -> Figure:
    """Histogram of the model's residuals, beside those of the constant predictor on the same rows.

    It has 40 bars over the model's residuals or, for residues, over all possible ones. All bars have the same
    whole-number width, since bars of fractional width would hold varying numbers of integers. (The outermost two may
    hold fewer.)

    Args and returns as :func:`parity`.
    """
    title, of = "How far the model's answers are off", _finite(answers, predictions, modulus)
    if not len(of.truth):
        return empty_figure(title + of.left_out, "no prediction is a number", behaviour)
    edges = _edges(of.residual, modulus)
    counts = np.histogram(of.residual, edges)[0]
    figure = new_figure(*_SIZE)
    axes = figure.add_subplot()
    axes.stairs(counts, edges, fill=True, color=BLUE, alpha=0.85, label="the model", gid="model")
    if constant is not None:
        flat = _residuals(np.full_like(of.truth, constant), of.truth, modulus)
        inside = np.histogram(flat, edges)[0]
        share = f"{inside.sum() / len(flat):.0%} of its rows are on this axis"
        label = f"{_CONSTANT}: {share}"
        axes.stairs(inside, edges, color=ORANGE, linewidth=1.4, linestyle="--", label=label, gid="constant")
    axes.axvline(0, color="black", linewidth=0.9, label="right answers")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel(f"{_residual_name(modulus)}; bars {edges[1] - edges[0]:.3g} wide")
    axes.set_ylabel("rows")
    _finish(figure, axes, title + of.left_out, behaviour)
    return figure


def residuals_against_truth(
    answers: Tensor,
    predictions: Tensor,
    behaviour: Behaviour | None,
    modulus: int | None = None,
    constant: float | None = None,
) -> Figure:
    """How far each answer is off, against what is right; a model that answers the mean lies on the falling line.

    Args and returns as :func:`parity`.
    """
    title, of = "How far the answers are off, by the right answer", _finite(answers, predictions, modulus)
    if not len(of.truth):
        return empty_figure(title + of.left_out, "no prediction is a number", behaviour)
    figure = new_figure(*_SIZE)
    axes = figure.add_subplot()
    _points(axes, of.truth, of.residual)
    axes.axhline(0, color="black", linewidth=0.9, label="right answers", gid="identity")
    low, high = axes.get_ylim()
    if constant is not None:
        ends = np.linspace(of.truth.min(), of.truth.max(), 400)
        flat = _residuals(np.full_like(ends, constant), ends, modulus)
        flat[1:][np.abs(np.diff(flat)) > 0.5 * (modulus or math.inf)] = np.nan  # where it comes round the circle
        axes.plot(ends, flat, "--", color=ORANGE, linewidth=1.4, label=_CONSTANT, gid="constant")
    least = max(abs(low), abs(high)) if modulus is None else 0.52 * modulus
    axes.set_ylim(-least, least)
    axes.set_xlabel(f"right answer ({_units(modulus)})")
    axes.set_ylabel(_residual_name(modulus).replace(" (", "\n("))
    _finish(figure, axes, title + of.left_out, behaviour)
    return figure


def _finite(answers: Tensor, predictions: Tensor, modulus: int | None) -> _Answers:
    """The rows whose prediction is a number."""
    kept = predictions.isfinite()
    truth, predicted = (one[kept].double().numpy() for one in (answers, predictions))
    missing = len(kept) - len(truth)
    left_out = f" (left out: {missing} of {len(kept)} rows, whose prediction is not a number)" if missing else ""
    return _Answers(truth, predicted, _residuals(predicted, truth, modulus), left_out)


def _residuals(predicted: _Column, truth: _Column, modulus: int | None) -> _Column:
    """(N,) prediction - answer, round the circle of residues."""
    found: _Column = difference(torch.from_numpy(predicted), torch.from_numpy(truth), modulus).numpy()
    return found


def _edges(residual: _Column, modulus: int | None) -> _Column:
    """Ends of the bars: 40 of them, that reach to 0 and over one unit at least; of residues, with 0 in the middle."""
    if modulus is None:
        low, high = min(residual.min(), 0.0), max(residual.max(), 0.0)
        spare = max(0.5 * (1.0 - (high - low)), 0.0)
        return np.linspace(low - spare, high + spare, BINS + 1)
    width = -(-modulus // BINS) | 1  # odd, so that no whole number lies between two bars
    beside = -(-(modulus // 2 - width // 2) // width)  # bars on either side of the middle one
    ends: _Column = (np.arange(2 * beside + 2, dtype=np.float64) - beside - 0.5) * width
    return ends


def _points(axes: Axes, across: _Column, up: _Column) -> None:
    """A point a row, as one picture: a file of so many circles would be large, and one of so many shades too."""
    many = len(np.unique(np.stack([across, up]), axis=1).T) > _MANY
    axes.scatter(
        across,
        up,
        s=1 if many else 7,
        alpha=1.0 if many else 0.5,
        color=BLUE,
        linewidths=0,
        antialiaseds=not many,
        rasterized=True,
        label="a row",
        gid="rows",
    )


def _finish(figure: Figure, axes: Axes, title: str, behaviour: Behaviour | None) -> None:
    axes.grid(linewidth=0.4, alpha=0.5)
    axes.set_axisbelow(True)
    handles, labels = axes.get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=SMALL)
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([12.0])
            handle.set_alpha(1.0)
    set_title(axes, title, behaviour)


def _units(modulus: int | None) -> str:
    return "answer units" if modulus is None else f"residue of {modulus}"


def _residual_name(modulus: int | None) -> str:
    """Name of an axis of residuals."""
    way = "answer units" if modulus is None else f"round the circle of {modulus}"
    return f"model's answer - right answer ({way})"
