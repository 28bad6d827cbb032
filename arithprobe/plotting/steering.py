"""The figure of steering: the response of the answer when a quantity is moved inside the model."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arithprobe.behaviour import Behaviour
from arithprobe.interventions.intervals import fit_words
from arithprobe.interventions.steering_curve import SteeringCurve
from arithprobe.plotting.sheets import empty_figure, site_colours
from arithprobe.plotting.style import LIGHT, SMALL, TITLE, new_figure, zero_line
from arithprobe.plotting.titles import set_title

_LAST = ("last",)
_TITLE = "How far does the answer follow a quantity that is moved inside the model?"


def steering_curves(curves: Sequence[SteeringCurve], behaviour: Behaviour | None) -> Figure:
    """Mean shift of the answer against the intended shift; a panel per target and positions, a line per site.

    Bands hold 95 % over the moved rows, for this pattern; the intervals of the slopes include the effect of another
    fit. Dashed lines are what arithmetic demands. Grey lines are the slopes of the random patterns of all sites of a
    panel, measured near 0 and extended. The axis is cut if the demanded line would make the curves too flat to read.

    Args:
        curves: Responses, sites in order of depth; a curve that is given twice is drawn once.
        behaviour: The model's behaviour, for the title.
    """
    unique = list({(one.target, one.site, one.positions): one for one in curves}.values())
    if not unique:
        return empty_figure(_TITLE, "nothing could be read well enough to be moved", behaviour)
    targets = list(dict.fromkeys(one.target for one in unique))
    unique.sort(key=lambda one: (targets.index(one.target), one.positions != _LAST))
    groups: dict[str, list[SteeringCurve]] = {}
    for one in unique:
        groups.setdefault(_heading(one), []).append(one)
    colours = site_colours([one.site for one in curves])
    figure = new_figure(8.6, 3.1 * len(groups) + 0.9)
    panels = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
    for panel, (heading, own) in zip(panels, groups.items(), strict=True):
        _panel(panel, own, colours)
        panel.set_title(heading, fontsize=TITLE, loc="left")
    note = f"{next(iter(groups))}; control: random patterns of the same size"
    set_title(panels[0], _TITLE, behaviour, note)
    return figure


def _heading(curve: SteeringCurve) -> str:
    """Of the panel that a curve is drawn in."""
    where = "at the last token" if curve.positions == _LAST else "at every token where it can be read"
    return f"'{curve.target}' moved {where}"


def _panel(panel: Axes, curves: Sequence[SteeringCurve], colours: dict[str, str]) -> None:
    """One target and set of positions."""
    expected, deltas = curves[0].expected, _array(curves[0].deltas)
    ends = np.array([deltas.min(), deltas.max()])
    low, high = _random(curves)
    edges = np.sort(expected * ends * np.array([[low], [high]]), axis=0)
    fan = "random patterns, all sites: 95 %" if math.isfinite(low) else "no random patterns"
    panel.fill_between(np.insert(ends, 1, 0.0), *np.insert(edges, 1, 0.0, axis=1), color=LIGHT, label=fan)
    panel.plot(ends, expected * ends, "--", color="black", linewidth=1, label="demanded: slope 1")
    for one in curves:
        at, colour = _array(one.deltas), colours[one.site]
        panel.fill_between(at, _array(one.low), _array(one.high), color=colour, alpha=0.25, linewidth=0)
        panel.plot(at, _array(one.response), "o-", color=colour, markersize=3, linewidth=1.3, label=_label(one, curves))
    zero_line(panel)
    reach = max(_reach(curves), abs(expected) * float(np.median(np.abs(deltas))))
    panel.set_ylim(-reach, reach)
    panel.set_xlabel(f"shift of '{curves[0].target}' asked for (units of it)")
    panel.set_ylabel("mean shift of the answer\n(answer units)")
    title = f"slope near 0 [95 %, {fit_words(one.fit_blocks for one in curves)}]"
    panel.legend(fontsize=SMALL, loc="upper left", bbox_to_anchor=(1.0, 1.0), title=title, title_fontsize=SMALL)


def _label(curve: SteeringCurve, beside: Sequence[SteeringCurve]) -> str:
    """Site and slope, and the positions where the site alone does not tell."""
    shared = sum(one.site == curve.site for one in beside) > 1
    where = f"@{'+'.join(curve.positions)}" if shared else ""
    fraction, low, high = curve.slope
    margins = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    random = " to ".join(f"{end:.2f}" for end in _random([curve]))
    return f"{curve.site}{where}: {fraction:.2f}{margins}\nrandom {random}"


def _random(curves: Sequence[SteeringCurve]) -> tuple[float, float]:
    """Where 95 % of the slopes of the random patterns are; NaN without any."""
    slopes = np.concatenate([_array(one.random_slopes) for one in curves])
    slopes = slopes[np.isfinite(slopes)]
    low, high = np.quantile(slopes, [0.025, 0.975]) if len(slopes) else (math.nan, math.nan)
    return float(low), float(high)


def _reach(curves: Sequence[SteeringCurve]) -> float:
    """How far the axis has to go for the curves."""
    values = np.concatenate([_array(part) for one in curves for part in (one.response, one.low, one.high)])
    return 1.1 * float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def _array(values: object) -> npt.NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)
