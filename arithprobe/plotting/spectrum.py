"""Figures of all frequencies of a circle at all sites: their R2, their share of variance, and their ablation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arithprobe.behaviour import Behaviour
from arithprobe.plotting.frequencies import MARKS, mark_frequencies
from arithprobe.plotting.panels import frame_bare, heat, logarithmic
from arithprobe.plotting.r2 import r2_bar, r2_heat
from arithprobe.plotting.style import BLUE, GREEN, GREY, LIGHT, SMALL, VERMILION, new_figure
from arithprobe.plotting.titles import set_title
from arithprobe.probes.circles import FourierScores

_LEAST = 0.005  # share of the states' variance that has a colour


def frequency_site_map(scores: FourierScores, behaviour: Behaviour | None) -> Figure:
    """Held-out decode R2 (top) and encode FVE (bottom) by frequency and site (upwards), at the last token.

    Dots mark key frequencies: read better than a constant, above the largest null, and above neighbouring periods.
    Crosses mark those above the null that are of another period, or cannot be told from one.

    Args:
        scores: Scores of one circle.
        behaviour: The model's behaviour, for the title.
    """
    frequencies, last = scores.circle.frequencies, scores.positions.index("last")
    key, above = (one[:, :, last].T for one in (scores.key, scores.above_null))
    r2, fve = (one[:, :, last].T.numpy() for one in (scores.r2, scores.encode_fve))  # (S, F)
    size = (max(7.0, 0.17 * len(frequencies) + 2.4), 0.5 * len(scores.sites) + 3.2)
    figure = new_figure(*size)
    panels = figure.subplots(2, 1, sharex=True)
    r2_bar(panels[0], r2_heat(panels[0], np.where(above, r2, np.nan)), "held-out decode R2", fraction=0.04)
    fve = np.where(fve >= _LEAST, fve, np.nan)
    shares = heat(panels[1], fve, gamma=0.5, lowest_first=True)
    frame_bare(panels[1], fve)
    name = f"held-out encode FVE\n(no colour: below {_LEAST};\nsquare roots)"
    figure.colorbar(shares, ax=panels[1], label=name, fraction=0.04)
    for panel in panels:
        panel.set_yticks(range(len(scores.sites)), scores.sites)
        panel.set_ylabel("site (input below)")
    mark_frequencies(panels[0], key, above, 9)
    every = 1 if len(frequencies) <= 24 else 2 if len(frequencies) <= 48 else 4
    panels[1].set_xticks(range(0, len(frequencies), every), [str(n) for n in frequencies[::every]])
    panels[1].set_xlabel(f"frequency n (turns per {scores.circle.period})")
    text = f"Which frequencies of '{scores.circle.quantity}' mod {scores.circle.period} can be read where? Last token"
    set_title(panels[0], text, behaviour, MARKS)
    return figure


@dataclass(frozen=True)
class PlaneLosses:
    """Losses at one site's last token."""

    site: str
    """Name of the site, such as ``resid_post.1``."""
    frequencies: tuple[int, ...]
    """The F frequencies."""
    key: tuple[int, ...]
    """The key frequencies among them."""
    excluded: tuple[float, ...]
    """(F,) loss without each frequency's plane."""
    shuffled: tuple[float, ...]
    """Losses without planes of labels that say nothing."""
    levels: dict[str, float]
    """Further losses, by name: intact, without all key planes, with nothing but them."""


def plane_losses(sites: Sequence[PlaneLosses], behaviour: Behaviour | None) -> Figure:
    """The model's loss without the plane of each frequency, one panel per site; logarithmic.

    The grey band is the cost of planes of permuted labels: bars that end in it are no evidence.

    Args:
        sites: The losses.
        behaviour: The model's behaviour, for the title.
    """
    count = max((len(one.frequencies) for one in sites), default=1)
    size = (max(7.5, 0.15 * count + 2.8), 1.75 * len(sites) + 1.3)
    figure = new_figure(*size)
    panels: list[Axes] = list(figure.subplots(len(sites), 1, sharex=True, squeeze=False)[:, 0])
    for panel, one in zip(panels, sites, strict=True):
        losses = np.array(one.excluded)
        floor = 0.7 * min([*one.excluded, *one.levels.values(), *one.shuffled])
        colours = [BLUE if n in one.key else LIGHT for n in one.frequencies]
        panel.bar(one.frequencies, losses - floor, bottom=floor, color=colours, width=0.7)
        if one.shuffled:
            panel.axhspan(
                min(one.shuffled),
                max(one.shuffled),
                color=GREY,
                alpha=0.3,
                linewidth=0,
                label="planes of shuffled labels",
            )
        for (name, level), colour in zip(one.levels.items(), ("black", VERMILION, GREEN), strict=False):
            panel.axhline(level, color=colour, linewidth=1.2, linestyle="--", label=name)
        logarithmic(panel)
        panel.set_ylim(bottom=floor)
        panel.set_ylabel(f"{one.site}\nloss (log)")
    panels[-1].set_xlabel("frequency n whose plane is taken out (blue: key frequencies)")
    panels[-1].set_xlim(min(sites[0].frequencies) - 1, max(sites[0].frequencies) + 1)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=SMALL)
    text = "Which frequencies of the residue do the answers need? Loss without one of them, at the last token"
    set_title(panels[0], text, behaviour)
    return figure
