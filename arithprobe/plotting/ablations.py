"""The figure of ablations beside random subspaces."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from arithprobe.behaviour import Behaviour
from arithprobe.interventions.ablation import AblationEffect
from arithprobe.interventions.intervals import fit_words
from arithprobe.interventions.ledger_row import LedgerRow
from arithprobe.interventions.words import p_in_short
from arithprobe.logic import CANNOT_BE_TOLD
from arithprobe.plotting.sheets import empty_figure
from arithprobe.plotting.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SMALL, new_figure, row_lines
from arithprobe.plotting.titles import set_title

_FAMILIES = {  # colour, and how far below the row
    "isotropic": (GREY, -0.17),
    "permuted": (ORANGE, 0.17),
    "matched": (PURPLE, 0.3),
    "outside": (GREEN, -0.3),
}
_COLUMN = 98  # points, of the p-values beside the axes
_DECADES = 3.5  # of an axis of ablations; nearer to 0 it is linear


def ablation_against_random(rows: Sequence[LedgerRow], behaviour: Behaviour | None, kind: str = "mean") -> Figure:
    """Increase of the RMSE under each ablation (diamonds), beside every random draw (dots).

    Args:
        rows: Rows of the ledger.
        behaviour: The model's behaviour, for the title.
        kind: The ablation.
    """
    title = "What do the answers lose without what is read, and without controls in its place?"
    found = [(row, effect) for row in rows if (effect := row.effect(kind)) is not None]
    if not found:
        return empty_figure(title, f"no {kind} ablation", behaviour)
    columns = max(sum(one.is_null for one in effect.families) for _, effect in found)
    figure = new_figure(8.4 + 1.3 * columns, 0.26 * len(found) + 2.0)
    axes = figure.add_subplot()
    floors = _floors([effect for _, effect in found])
    largest = max(_strip(axes, line, effect, floors) for line, (_, effect) in enumerate(found))
    _name_columns(axes, [effect for _, effect in found], floors)
    linear = 10.0 ** math.floor(math.log10(largest or 1.0) - _DECADES)
    axes.set_xscale("symlog", linthresh=linear, linscale=0.5)
    axes.axvline(0, color="black", linewidth=0.6, zorder=1.6)
    row_lines(axes)
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.set_yticks(range(len(found)), [_named(row, effect) for row, effect in found])
    axes.set_xlabel(f"increase of the RMSE (answer units; the scale is linear within {linear:g} of 0)")
    axes.set_ylabel("site@token, what was taken out (share of the variance displaced)")
    entries = [("D", BLUE, f"the subspace itself; 95 %, {fit_words(effect.fit_blocks for _, effect in found)}")]
    drawn = dict.fromkeys(one.name for _, effect in found for one in effect.families)
    tested = {one.name for _, effect in found for one in effect.families if one.is_null}
    words = {name: "its p is at the right" if name in tested else "a description, no p" for name in drawn}
    entries += [("o", _FAMILIES[name][0], f"{name}: {said}") for name, said in words.items()]
    handles = [Line2D([], [], ls="none", marker=mark, color=colour, label=text) for mark, colour, text in entries]
    untold = any(one.untold for _, effect in found for one in effect.families)
    note = f"words for a p: why it {CANNOT_BE_TOLD}" if untold else None
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, fontsize=SMALL, title=note, title_fontsize=SMALL
    )
    judged = max(effect.n for _, effect in found)
    set_title(
        axes, title, behaviour, f"{kind.capitalize()} ablation, {judged} held-out rows; a dot is a draw of a control"
    )
    return figure


def _floors(effects: Sequence[AblationEffect]) -> dict[str, float]:
    """By control, the smallest p its draws allow, where there are several p and none is larger."""
    found: dict[str, list[tuple[float, float]]] = {}
    for family in (one for effect in effects for one in effect.nulls if math.isfinite(one.p)):
        found.setdefault(family.name, []).append((family.p, 1 / (len(family.delta_rmse) + 1)))
    return {
        name: pairs[0][1]
        for name, pairs in found.items()
        if len(pairs) > 1 and all(math.isclose(p, floor) for p, floor in pairs)
    }


def _name_columns(axes: Axes, effects: Sequence[AblationEffect], floors: Mapping[str, float]) -> None:
    """What stands at the right, below it; of p-values that are all at their floor, that, once."""
    tested: dict[int, dict[str, None]] = {}
    for effect in effects:
        for column, family in enumerate(effect.nulls):
            tested.setdefault(column, {})[family.name] = None
    for column, names in tested.items():
        lines = [
            f"all p at the floor,\n{floors[name]:.2g}, of {name}" if name in floors else f"p against\n{name}"
            for name in names
        ]
        axes.annotate(
            "\n".join([*lines, "(displaced)"]),
            (1, 0),
            (8 + _COLUMN * column, -4),
            xycoords="axes fraction",
            textcoords="offset points",
            va="top",
            fontsize=SMALL,
            annotation_clip=False,
        )


def _strip(axes: Axes, line: int, effect: AblationEffect, floors: Mapping[str, float]) -> float:
    """One row of the picture; returns the largest size in it."""
    sizes = [effect.delta_rmse]
    column = 0
    for family in effect.families:
        colour, below = _FAMILIES[family.name]
        draws = np.asarray(family.delta_rmse, dtype=np.float64)
        axes.plot(
            draws, np.full(len(draws), line + below), "o", color=colour, alpha=0.4, markersize=3, markeredgewidth=0
        )
        if family.is_null:
            axes.annotate(
                p_in_short(effect, family, told=family.name not in floors),
                (1, line),
                (8 + _COLUMN * column, 0),
                xycoords=axes.get_yaxis_transform(),
                textcoords="offset points",
                color="black",
                va="center",
                fontsize=SMALL,
                annotation_clip=False,
            )
            column += 1
        sizes += draws.tolist()
    axes.plot([effect.delta_rmse], [line], "D", color=BLUE, markersize=5, zorder=3)
    if math.isfinite(effect.interval[0]):
        axes.hlines(line, *effect.interval, color=BLUE, linewidth=1.5, zorder=2.5)
    return max(abs(size) for size in [0.0, *sizes] if math.isfinite(size))


def _named(row: LedgerRow, effect: AblationEffect) -> str:
    """A row's label."""
    return f"{row.site}@{row.position} {row.subspace} ({effect.displaced:.0%})"
