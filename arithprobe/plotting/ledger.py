"""The figure of the ledger: decodable against used."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator
from sklearn.isotonic import isotonic_regression

from arithprobe.behaviour import Behaviour
from arithprobe.interventions.ledger_row import LedgerRow
from arithprobe.interventions.words import no_skill
from arithprobe.plotting.r2 import KNEE, LOWEST, name_of_axis, place, ticks, within
from arithprobe.plotting.sheets import empty_figure, panels_below_a_title, site_colours
from arithprobe.plotting.style import GREY, LIGHT, SMALL, new_figure, zero_line
from arithprobe.plotting.titles import set_title

_MARKERS = ("o", "D", "s", "p")
_APART = 0.028  # of a panel's width, between points


class _Point(NamedTuple):
    """A row, and its loss as it is drawn."""

    row: LedgerRow
    value: float
    bar: tuple[float, float] | None  # 95 % of the random subspaces, if they can be compared with


class _Style(NamedTuple):
    """What all panels share."""

    colours: dict[str, str]
    markers: dict[str, str]
    sides: tuple[float, float]
    limits: tuple[float, float]
    lost: bool  # whether the loss is one of skill


def decodable_against_used(rows: Sequence[LedgerRow], behaviour: Behaviour | None, kind: str = "mean") -> Figure:
    """Decodability (to the right) against the loss of the answers without it (upwards), one point per row.

    There is one panel for each target and set of positions. Grey bars hold 95 % of the draws that a point is tested
    against (those that change the states as much, or else permuted labels). If there was no skill to lose, the loss is
    in answer units.

    Args:
        rows: Rows of the ledger, sites in order of depth.
        behaviour: The model's behaviour, for the title.
        kind: The ablation.
    """
    title = f"Is what can be read also used? Held-out R2 against what {kind} ablation costs"
    points, lost = _found(rows, kind)
    if not points:
        return empty_figure(title, f"no {kind} ablation of anything that can be probed", behaviour)
    targets = list(dict.fromkeys(one.row.target for one in points))
    sets = list(dict.fromkeys(one.row.position for one in points))
    figure = new_figure(max(3.2 * len(sets) + 2.0, 6.5), 3.3 * len(targets) + 1.2)
    strip, panels = panels_below_a_title(figure, len(targets), len(sets))
    style = _style(points, lost, behaviour)
    for target, line in zip(targets, panels, strict=True):
        for position, panel in zip(sets, line, strict=True):
            _panel(panel, [one for one in points if (one.row.target, one.row.position) == (target, position)], style)
            where = {"all": "all tokens", "last": "last token"}.get(position, f"token '{position}'")
            panel.set_xlabel(name_of_axis(f"held-out R2 of '{target}', {where}", upright=False))
        line[0].set_ylabel(_upwards(lost, behaviour))
    note = "points of equal R2\nstand side by side"
    figure.legend(
        handles=_legend(points, style), loc="outside right lower", fontsize=SMALL, title=note, title_fontsize=SMALL
    )
    judged = max(effect.n for one in points if (effect := one.row.effect(kind)) is not None)
    set_title(
        strip, title, behaviour, f"{judged} held-out rows; bars: 95 % of the controls that a point is tested against"
    )
    return figure


def _found(rows: Sequence[LedgerRow], kind: str) -> tuple[list[_Point], bool]:
    """The points there are, and whether their losses are of skill."""
    pairs = [(row, effect) for row in rows if (effect := row.effect(kind)) is not None]
    lost, found = any(math.isfinite(effect.skill_lost) for _, effect in pairs), []
    for row, effect in pairs:
        value = effect.skill_lost if lost else effect.delta_rmse
        null = effect.null
        bar = None if null is None else np.quantile(null.skill_lost if lost else null.delta_rmse, (0.025, 0.975))
        if math.isfinite(value) and math.isfinite(row.held_out_r2):
            found.append(_Point(row, value, None if bar is None else (float(bar[0]), float(bar[1]))))
    return found, lost


def _upwards(lost: bool, behaviour: Behaviour | None) -> str:
    """What the axis of losses shows; of no share of the skill, why."""
    if lost:
        return "share of the skill lost"
    why = "" if behaviour is None else no_skill(behaviour.state)
    return "increase of the RMSE (answer units)" + (f";\n{why}" if why else "")


def _style(points: Sequence[_Point], lost: bool, behaviour: Behaviour | None) -> _Style:
    """Colours, markers and axes; noise stays small, and what is far off is not what the axes are made for."""
    places = [_place(one.row.held_out_r2) for one in points]
    values = [value for one in points for value in (one.value, *(one.bar or ())) if math.isfinite(value)]
    unit = 1.0 if lost or behaviour is None or not behaviour.answer_sd > 0 else behaviour.answer_sd
    top = min(max(1.12 * max(values), 0.2 * unit), 1.6 * unit)
    erasers = dict.fromkeys(_eraser(one.row) for one in points)
    return _Style(
        colours=site_colours([one.row.site for one in points]),
        markers={name: _MARKERS[index % len(_MARKERS)] for index, name in enumerate(erasers)},
        sides=(min(-0.4, *places), max(_place(KNEE), *places)),
        limits=(max(1.12 * min(*values, 0.0), -0.5 * unit) - 0.05 * top, top),
        lost=lost,
    )


def _place(r2: float) -> float:
    """On the axis of R2; what is beyond stands at its end."""
    return float(place(within(r2)))


def _eraser(row: LedgerRow) -> str:
    return row.subspace.rsplit(":", 1)[-1]


def _panel(panel: Axes, points: Sequence[_Point], style: _Style) -> None:
    """One target and set of positions; points at the same place stand side by side."""
    zero_line(panel)
    if style.lost:
        panel.axhline(1, color="black", linewidth=0.8, linestyle=":")
    low, high = style.limits
    points = sorted(points, key=lambda one: _place(one.row.held_out_r2))
    steps = np.arange(len(points)) * _APART * np.ptp(style.sides)
    places = [_place(one.row.held_out_r2) for one in points]
    if points:
        places = isotonic_regression(places - steps) + steps  # the nearest that are far enough apart
    for index, (at, (row, value, bar)) in enumerate(zip(places, points, strict=True)):
        colour, shown = style.colours[row.site], min(max(value, low), high)
        if bar is not None:
            panel.vlines(at, *bar, color=LIGHT, linewidth=4, zorder=1, capstyle="round")
        panel.plot(
            [at],
            [shown],
            style.markers[_eraser(row)] if shown == value else "^" if value > high else "v",
            color=colour,
            markerfacecolor="white" if row.near_tautological else colour,
            markeredgewidth=1.3,
            markersize=5.5,
            clip_on=False,
            gid=f"{row.site}@{row.position} {row.subspace}",
        )
        if shown != value:
            away, side = -6 - 18 * (index % 2), "top" if value > high else "bottom"
            panel.annotate(
                f"{value:.2g}",
                (at, shown),
                (0, away if value > high else -away),
                textcoords="offset points",
                ha="center",
                va=side,
                rotation=90,
                fontsize=SMALL,
            )
    panel.set_ylim(low, high)
    panel.update_datalim([(side, 0.0) for side in style.sides])
    panel.autoscale_view(scaley=False)
    numbers, names = ticks(LOWEST)
    panel.xaxis.set_major_locator(FixedLocator([_place(tick) for tick in (LOWEST, *numbers)]))
    panel.xaxis.set_major_formatter(FixedFormatter([f"≤{LOWEST}", *names]))


def _legend(points: Sequence[_Point], style: _Style) -> list[Line2D]:
    """Entries for sites, erasers, bars and whatever else is drawn."""
    entries = [("o", colour, colour, site) for site, colour in style.colours.items()]
    entries += [(marker, "black", "black", name) for name, marker in style.markers.items()]
    if any(one.row.near_tautological for one in points):
        entries.append(("o", GREY, "white", "hollow: only the\nreadout comes after"))
    if any(not style.limits[0] <= one.value <= style.limits[1] for one in points):
        entries.append(("^", GREY, GREY, "beyond the axis,\nvalue beside it"))
    found = [
        Line2D([], [], linestyle="none", marker=marker, color=edge, markerfacecolor=face, label=label)
        for marker, edge, face, label in entries
    ]
    found.append(Line2D([], [], color=LIGHT, linewidth=4, label="95 % of what\nit is tested\nagainst"))
    return found + ([Line2D([], [], color="black", linestyle=":", label="as bad as a\nconstant")] if style.lost else [])
