"""Figures of pairs of problems: patched states, swapped subspaces, and changed problems."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from arithprobe.behaviour import Behaviour
from arithprobe.interventions.interchange import Interchange
from arithprobe.interventions.intervals import fit_words
from arithprobe.interventions.patching import PatchingMap
from arithprobe.interventions.symmetry import SymmetryTest
from arithprobe.logic import LEVEL
from arithprobe.plotting.panels import annotate, heat, shown
from arithprobe.plotting.sheets import empty_figure, panels_below_a_title, site_colours
from arithprobe.plotting.style import BLUE, GREEN, GREY, LIGHT, SMALL, VERMILION, new_figure, zero_line
from arithprobe.plotting.titles import set_title
from arithprobe.plotting.tokens import token_axis

_CELL = (0.5, 0.4)  # width and height of a cell, inches
_CLIP = (-1.0, 2.0)  # recovered shares beyond are marked
_CHANGES = {"x + d, y - d": (BLUE, "o"), "x + d, y": (VERMILION, "s"), "x + k, y": (GREEN, "D")}
_SAME_SUM = "x + d, y - d"


def patching_heatmap(found: PatchingMap, behaviour: Behaviour | None) -> Figure:
    """Share of the gap between two answers that the state of one cell carries, sites upwards from the embedding.

    The colour scale is fixed at 0 to 1; cells with too few pairs are empty.

    Args:
        found: The map.
        behaviour: The model's behaviour, for the title.
    """
    rows, columns = len(found.sites), len(found.positions)
    size = (max(columns * _CELL[0] + 2.4, 6.5), rows * _CELL[1] + 2.7)
    figure = new_figure(*size)
    axes = figure.add_subplot()
    image = heat(axes, found.recovered, lowest_first=True)
    annotate(axes, image, found.recovered, form=lambda value: shown(value) or "-")
    token_axis(axes, found.positions, found.n, "pairs of problems", "token patched")
    axes.set_yticks(range(rows), found.sites)
    axes.set_ylabel("site (input below)")
    figure.colorbar(image, ax=axes, label="recovered share of the gap (1: all)", fraction=0.05)
    text = "Where does a state from another problem carry the answer over?"
    note = f"One state patched; root mean square gap between the two answers: {found.gap:.3g}"
    set_title(axes, text, behaviour, note)
    return figure


def interchange_chart(variables: Sequence[tuple[str, str, Interchange]], behaviour: Behaviour | None) -> Figure:
    """Share of the demanded shift of the answer under a swap of one quantity, by site, one panel per quantity.

    Points are the subspace, filled if above 95 % of the random ones. Dashes are the whole state. Crosses are the part
    of the subspace that the rest of the model sees. The band holds 95 % of the random subspaces.

    Args:
        variables: Site, quantity and result of each interchange, sites in order of depth.
        behaviour: The model's behaviour, for the title.
    """
    title = "Does the answer follow one quantity of another problem? Its subspace swapped at all tokens"
    if not variables:
        return empty_figure(title, "no quantity was swapped", behaviour)
    names = list(dict.fromkeys(name for _, name, _ in variables))
    sites = list(dict.fromkeys(site for site, _, _ in variables))
    columns = min(len(names), 3)
    lines = math.ceil(len(names) / columns)
    size = (max(2.75 * columns + 0.3, 6.5), 2.7 * lines + 1.7)
    figure = new_figure(*size)
    strip, grid = panels_below_a_title(figure, lines, columns)
    panels = [panel for line in grid for panel in line]
    for panel, name in zip(panels, names, strict=False):
        own = [(sites.index(site), one) for site, of, one in variables if of == name]
        for place, one in own:
            _swap(panel, place, one)
        zero_line(panel)
        panel.axhline(1, color="black", linewidth=0.8, linestyle=":")
        panel.set_xticks(range(len(sites)), sites, rotation=50, ha="right", rotation_mode="anchor")
        panel.set_xlim(-0.6, len(sites) - 0.4)
        panel.set_ylim(_CLIP[0] - 0.1, _CLIP[1] + 0.1)
        panel.set_xlabel(f"site, '{name}' swapped\n({own[0][1].n} pairs, shift {own[0][1].shift:.3g})")
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    for panel in panels[::columns]:
        panel.set_ylabel("recovered share of\nthe demanded shift")
    figure.legend(
        handles=_swap_legend(fit_words(one.fit_blocks for _, _, one in variables)),
        loc="outside lower center",
        ncols=3,
        fontsize=SMALL,
    )
    set_title(strip, title, behaviour)
    return figure


def _swap(panel: Axes, place: float, one: Interchange) -> None:
    """One site and quantity."""
    random = _array(one.random)
    random = random[np.isfinite(random)]
    if len(random):
        low, high = np.quantile(random, [0.025, 0.975])
        panel.bar([place], [high - low], 0.8, [low], color=LIGHT, edgecolor=LIGHT)
    share, low, high = one.recovered
    _mark(panel, place - 0.27, one.whole_state, "_", color="black", markersize=8, markeredgewidth=1.5)
    _mark(panel, place + 0.27, one.row_space, "x", color=VERMILION, markersize=5)
    if _CLIP[0] <= share <= _CLIP[1] and math.isfinite(low):
        panel.vlines(place, low, high, color=BLUE, linewidth=1.5)
    face = BLUE if one.p <= LEVEL else "white"
    _mark(panel, place, share, "o", color=BLUE, markerfacecolor=face, markersize=5.5, gid="subspace")


def _mark(panel: Axes, place: float, value: float, marker: str, **style: Any) -> None:
    """A marker, or an arrow at the edge with the value beside it."""
    low, high = _CLIP
    if math.isfinite(value) and not low <= value <= high:
        style |= {"markersize": 5, "markeredgewidth": 1.0}
        shown, marker, away, side = (high, "^", -5, "top") if value > high else (low, "v", 5, "bottom")
        panel.annotate(
            f"{value:.1f}",
            (place, shown),
            (0, away),
            textcoords="offset points",
            ha="center",
            va=side,
            fontsize=SMALL,
            color=style["color"],
            rotation=90,
        )
        value = shown
    panel.plot([place], [value], marker, **style)


def _swap_legend(fit: str) -> list[Artist]:
    """What the marks of an interchange are, and whether its interval includes the fit."""

    def mark(marker: str, colour: str, label: str, face: str | None = None) -> Line2D:
        return Line2D(
            [], [], linestyle="none", marker=marker, color=colour, markerfacecolor=face or colour, label=label
        )

    return [
        mark("o", BLUE, f"subspace, p <= {LEVEL}; 95 %, {fit}"),
        mark("o", BLUE, "subspace, other p", "white"),
        mark("x", VERMILION, "its part that the rest of the model sees"),
        mark("_", "black", "whole state"),
        Patch(color=LIGHT, label="95 % of random subspaces"),
        mark("^", GREY, "beyond the axis, value beside it"),
    ]


def symmetry_chart(tests: Sequence[SymmetryTest], behaviour: Behaviour | None) -> Figure:
    """The response of answers and states to changes of a problem.

    The upper panels show the shift of the answer per unit of the change, with the one that arithmetic demands. The
    lower panels show the error of the answers, and the distance of the states of two problems with one sum, beside
    unrelated problems.

    Args:
        tests: The response to each change.
        behaviour: The model's behaviour, for the title.
    """
    title = "What does the answer do when the problem is changed?"
    if not tests:
        return empty_figure(title, "no change leaves enough problems in range", behaviour)
    figure = new_figure(8.4, 6.6)
    panels = figure.subplot_mosaic([["response", "response"], ["distance", "hidden"]])
    _responses(panels["response"], tests)
    _distances(panels["distance"], tests)
    _hidden(panels["hidden"], [one for one in tests if one.change == _SAME_SUM])
    set_title(panels["response"], title, behaviour)
    return figure


def _responses(panel: Axes, tests: Sequence[SymmetryTest]) -> None:
    """Shift of the answer per unit, by change and signed size."""
    sizes = sorted({one.d for one in tests})
    changes = list(dict.fromkeys(one.change for one in tests))
    for column, change in enumerate(changes):
        own, (colour, marker) = [one for one in tests if one.change == change], _CHANGES[change]
        at = np.array([sizes.index(one.d) for one in own]) + 0.22 * (column - (len(changes) - 1) / 2)
        share, low, high = np.array([one.response for one in own], dtype=np.float64).T
        margins = np.nan_to_num(np.stack([share - low, high - share])).clip(min=0)
        panel.errorbar(at, share, margins, fmt="none", ecolor=colour, capsize=2)
        for place, value in zip(at, share, strict=True):
            _mark(panel, place, value, marker, color=colour, markersize=5)
        panel.plot([], [], marker, color=colour, markersize=5, label=change)
        demanded = [one.demanded / one.d for one in own]
        panel.plot(at, demanded, "_", color="black", markersize=14, label="" if change != changes[-1] else "demanded")
    panel.plot([], [], "--", color="black", linewidth=1, label="below: unrelated\nproblems")
    zero_line(panel)
    lowest = min(one.demanded / one.d for one in tests)
    panel.set_ylim(min(_CLIP[0], lowest) - 0.1, _CLIP[1] + 0.1)
    panel.set_xticks(range(len(sizes)), [f"{size:+d}" for size in sizes])
    panel.set_xlabel("d, k")
    panel.set_ylabel("mean shift of the answer\nper unit of d or k")
    panel.legend(fontsize=SMALL, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _distances(panel: Axes, tests: Sequence[SymmetryTest]) -> None:
    """How far answers are from where they should be."""
    sizes = sorted({abs(one.d) for one in tests})
    for change in dict.fromkeys(one.change for one in tests):
        colour, marker = _CHANGES[change]
        at, values = _by_size([(one.d, one.distance) for one in tests if one.change == change], sizes)
        panel.plot(at, values, marker + "-", color=colour, markersize=5)
    unrelated = tests[0].unrelated
    panel.axhline(unrelated, color="black", linestyle="--", linewidth=1)
    _finish(panel, sizes, unrelated)
    panel.set_ylabel("mean distance of the answer from\nwhere it should be (answer units)")


def _hidden(panel: Axes, tests: Sequence[SymmetryTest]) -> None:
    """How far the states of two problems with one sum are apart."""
    sizes = sorted({abs(one.d) for one in tests})
    colours = site_colours([site for one in tests for site in one.hidden])
    for site, colour in colours.items():
        at, values = _by_size([(one.d, one.hidden.get(site, math.nan)) for one in tests], sizes)
        if len(at):
            panel.plot(at, values, "o-", color=colour, markersize=4, linewidth=1.2, label=site)
    panel.axhline(1, color="black", linestyle="--", linewidth=1)
    _finish(panel, sizes, 1.0)
    panel.set_ylabel(f"squared distance of last states,\n{_SAME_SUM} (1: unrelated)")
    if panel.get_legend_handles_labels()[0]:
        panel.legend(fontsize=SMALL, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _by_size(pairs: Sequence[tuple[int, float]], sizes: Sequence[int]) -> tuple[list[int], list[float]]:
    """Places of the sizes that have values, and the mean value of both signs."""
    found = {size: [value for d, value in pairs if abs(d) == size and math.isfinite(value)] for size in sizes}
    kept = {place: values for place, values in enumerate(found.values()) if values}
    return list(kept), [sum(values) / len(values) for values in kept.values()]


def _finish(panel: Axes, sizes: Sequence[int], unit: float) -> None:
    """Axes of distances: decades down to a hundredth of the unit, and from there on linear to 0."""
    unit = unit if unit > 0 else 1.0
    panel.set_yscale("symlog", linthresh=10.0 ** math.floor(math.log10(unit) - 2), linscale=0.3)
    panel.set_ylim(0, 2 * max(panel.dataLim.y1, unit))
    panel.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    panel.set_xlim(-0.4, len(sizes) - 0.6)
    panel.set_xlabel("size of d or k")


def _array(values: object) -> npt.NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)
