"""The figure of live ablation: its cost at every site over the course of training."""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arithprobe.behaviour import Behaviour
from arithprobe.interventions.ablation import AblationEffect
from arithprobe.plotting.style import BLUE, GREY, LABEL, ORANGE, SMALL, new_figure, zero_line
from arithprobe.plotting.titles import set_title
from arithprobe.probes.steps import after_steps, steps_made

_OWN = "without it"
_BESIDE = (
    ("isotropic", GREY, "without blind subspaces, 95 % (no test)"),
    ("permuted", ORANGE, "without fits on permuted labels, 95 %"),
)
_COST = "increase of the RMSE\n(answer units)"


def ablation_curves(
    history: Sequence[tuple[int | None, str, AblationEffect]],
    target: str,
    behaviour: Behaviour | None,
    at_the_head: Collection[str] = (),
) -> Figure:
    """Increase of the RMSE without the target's directions by training step, one panel per site, with controls.

    For a single validation, it shows a bar per site instead of curves.

    Args:
        history: Step as logged, from 0 (None outside a fit), site and effect.
        target: The erased target.
        behaviour: The model's behaviour now, for the title.
        at_the_head: Sites that only the last LayerNorm and the readout follow.
    """
    sites = list(dict.fromkeys(site for _, site, _ in history))
    kind, rows, steps = history[0][2].kind, history[-1][2].n, {step for step, _, _ in history}
    draw = _bars if len(steps) == 1 else _panels
    figure, first = draw(history, sites, {site: " (only the head follows)" * (site in at_the_head) for site in sites})
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=SMALL)
    title = f"What do the answers lose without '{target}' at the last token?"
    note = f"{kind.capitalize()} ablation; control: 95 % of fits on permuted labels; {rows} held-out rows"
    set_title(first, title, behaviour, note)
    return figure


def _panels(
    history: Sequence[tuple[int | None, str, AblationEffect]], sites: Sequence[str], notes: Mapping[str, str]
) -> tuple[Figure, Axes]:
    """A panel a site, with one axis for all."""
    columns = min(3, len(sites))
    rows = -(-len(sites) // columns)
    figure = new_figure(3.4 * columns + 0.8, 2.5 * rows + 1.6)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for panel, site in zip(panels, sites, strict=False):
        own = [(steps_made(step), effect) for step, at, effect in history if at == site]
        steps = np.array([step for step, _ in own])
        panel.plot(steps, [effect.delta_rmse for _, effect in own], "o-", color=BLUE, markersize=4, label=_OWN)
        for name, colour, label in _BESIDE:
            highs = [one.high for _, effect in own for one in effect.families if one.name == name]
            panel.plot(steps, highs, "s--", color=colour, markersize=3, linewidth=1, label=label)
        zero_line(panel)
        panel.text(0.03, 0.03, site + notes[site], transform=panel.transAxes, fontsize=LABEL)
    low, top = panels[0].get_ylim()
    top = max(top, 1.0)  # noise stays small
    panels[0].set_ylim(min(low, -0.18 * top), top)
    for panel in panels[len(sites) :]:
        panel.set_visible(False)
    for panel in panels[: len(sites)][-columns:]:
        panel.set_xlabel("training steps")
        panel.tick_params(labelbottom=True)  # also above a panel that is left empty
    for panel in panels[::columns]:
        panel.set_ylabel(_COST)
    return figure, panels[0]


def _bars(
    history: Sequence[tuple[int | None, str, AblationEffect]], sites: Sequence[str], notes: Mapping[str, str]
) -> tuple[Figure, Axes]:
    """One validation: a bar a site, with the ends of its controls as lines."""
    figure = new_figure(max(1.25 * len(sites) + 1.6, 7.0), 4.2)
    panel = figure.add_subplot()
    effects = [next(effect for _, at, effect in history if at == site) for site in sites]
    at = np.arange(len(sites))
    panel.bar(at, [one.delta_rmse for one in effects], 0.6, color=BLUE, label=_OWN)
    for name, colour, label in _BESIDE:
        known = {place: one.high for place, effect in enumerate(effects) for one in effect.families if one.name == name}
        places = np.array(list(known), dtype=np.float64)
        panel.hlines(list(known.values()), places - 0.4, places + 0.4, color=colour, linewidth=2, label=label)
    for place, one in zip(at, effects, strict=True):
        highest = max([0.0, one.delta_rmse, *(family.high for family in one.families if math.isfinite(family.high))])
        text = f"{one.delta_rmse:+.3g}"
        panel.annotate(text, (place, highest), (0, 3), textcoords="offset points", ha="center", fontsize=SMALL)
    zero_line(panel)
    low, top = panel.get_ylim()
    panel.set_ylim(low, max(1.05 * top, 1.0))  # noise stays small
    panel.set_xticks(at, [site + notes[site].replace(" (", "\n(") for site in sites])
    panel.set_xlabel(f"site ({after_steps(history[0][0])})" if history[0][0] is not None else "site")
    panel.set_ylabel(_COST)
    return figure, panel
