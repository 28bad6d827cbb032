"""Pictures of Fourier probes: R2 by frequency, by frequency and step, and by small period."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from arithprobe.behaviour import Behaviour
from arithprobe.plotting.panels import ink
from arithprobe.plotting.r2 import LOWEST, r2_axis, r2_bar, r2_heat, r2_text, within
from arithprobe.plotting.sheets import empty_figure
from arithprobe.plotting.style import BLUE, GREEN, GREY, INK, LABEL, ORANGE, SMALL, new_figure, zero_line
from arithprobe.plotting.tips import set_tips
from arithprobe.plotting.titles import set_title
from arithprobe.probes.circles import FourierScores, PeriodScore
from arithprobe.probes.steps import after_steps, steps_made

MARKS = "No colour: not above permuted labels; dots: key frequencies; crosses: above, but not told from other periods"
"""What :func:`mark_frequencies` draws, for titles."""


def frequency_spectrum(
    scores: FourierScores, site: str, behaviour: Behaviour | None, twin: FourierScores | None = None
) -> Figure:
    """Decode R2 by frequency above, and the share of state variance (encode FVE) below, at one site's last token.

    Args:
        scores: Scores of one circle.
        site: The site.
        behaviour: The model's behaviour, for the title.
        twin: Scores of a random-init twin, drawn beside.
    """
    frequencies = np.array(scores.circle.frequencies)
    row, column = scores.sites.index(site), scores.positions.index("last")
    figure = new_figure(max(7.0, 0.13 * len(frequencies) + 3), 6.0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.4])
    r2 = scores.r2[:, row, column].numpy()
    cells = [one.at(site) for one in scores.frequencies]
    low, high = (np.array([cell[name] for cell in cells]) for name in ("low", "high"))
    margins = np.nan_to_num(np.stack([r2 - low, within(high) - r2])).clip(min=0)
    above.errorbar(
        frequencies, within(r2), yerr=margins, fmt="o", color=BLUE, markersize=4, capsize=2, label="held out"
    )
    threshold = float(scores.max_null[row, column].quantile(0.95))
    above.axhline(
        threshold, color=GREY, linewidth=1, linestyle="--", label="null: 95 % of the largest of permuted labels"
    )
    above.plot(frequencies, scores.relabelled[:, row, column].numpy(), "x", color=ORANGE, label="relabelled circle")
    beside = scores.neighbour[:, row, column].numpy()
    above.plot(frequencies, beside, "_", color=INK, markersize=7, label="neighbouring periods")
    if twin is not None:
        above.plot(frequencies, twin.r2[:, row, column].numpy(), "^", color=GREEN, markersize=4, label="random init")
    zero_line(above)
    r2_axis(above, "held-out decode R2", min(1.2 * max(float(np.nanmin(r2, initial=0.0)), LOWEST), -0.05))
    above.legend(fontsize=SMALL, loc="best", ncols=2)
    fve = scores.encode_fve[:, row, column].numpy()
    below.bar(frequencies, fve, color=BLUE, width=0.6)
    below.set_ylim(top=max(0.02, 1.1 * float(np.nanmax(fve, initial=0.0))))
    below.set_ylabel("encode FVE\n(share of the\nstates' variance)")
    below.set_xlabel(f"frequency n (turns per {scores.circle.period})")
    below.set_xticks(frequencies if len(frequencies) <= 16 else frequencies[::3])
    circle, rows = scores.circle, float(scores.frequencies[0].n_test[row, column])
    text = f"Which frequencies of '{circle.quantity}' mod {circle.period} can be read at {site}@last?"
    set_title(above, text, behaviour, f"Bars: 95 % intervals; {rows:.0f} held-out rows")
    return figure


def frequency_step_map(
    steps: Sequence[int | None], scores: Sequence[FourierScores], site: str, behaviour: Behaviour | None
) -> Figure:
    """Decode R2 by frequency (upwards) and training step (to the right) at one site's last token.

    Dots mark the key frequencies of that step; crosses mark those above the null that are of another period, or cannot
    be told from one.

    Args:
        steps: Step of each validation as logged, from 0; None outside a fit.
        scores: Scores of the same circle, one for each validation.
        site: The site.
        behaviour: The model's behaviour now, for the title.
    """
    first, circle = scores[0], scores[0].circle
    row, column = first.sites.index(site), first.positions.index("last")
    text = f"Since when can the frequencies of '{circle.quantity}' mod {circle.period} be read at {site}@last?"
    r2 = np.stack([one.r2[:, row, column].numpy() for one in scores], axis=1)  # (F, steps)
    key, above = (
        torch.stack([getattr(one, name)[:, row, column] for one in scores], 1) for name in ("key", "above_null")
    )
    if not above.any():
        return empty_figure(text, _none_read(r2, scores[-1].max_null[row, column]), behaviour)
    if len(scores) == 1:
        return frequency_spectrum(first, site, behaviour)
    shown = _reached(above.any(dim=1))
    frequencies = circle.frequencies[shown]
    figure = new_figure(max(6.8, 0.5 * len(scores) + 3), max(3.8, 0.17 * len(frequencies) + 2.6))
    axes = figure.add_subplot()
    image = r2_heat(axes, np.where(above, r2, np.nan)[shown])
    mark_frequencies(axes, key[shown], above[shown], 10)
    every = max(1, -(-len(steps) // 12))
    axes.set_xticks(range(0, len(steps), every), [str(steps_made(step)) for step in list(steps)[::every]])
    every = 1 if len(frequencies) <= 24 else 4
    axes.set_yticks(range(0, len(frequencies), every), [str(n) for n in frequencies[::every]])
    set_tips(image, r2, columns=[after_steps(step) for step in steps])
    axes.set_xlabel("training steps")
    axes.set_ylabel(f"frequency n (turns per {circle.period})")
    r2_bar(axes, image, "held-out decode R2")
    rows = float(first.frequencies[0].n_test[row, column])
    left_out = len(circle.frequencies) - len(frequencies)
    more = f"; {left_out} further frequencies never above" if left_out else ""
    set_title(axes, text, behaviour, f"{MARKS}; {rows:.0f} held-out rows{more}")
    return figure


def _reached(ever: Tensor) -> slice:
    """The frequencies from the first to the last that was ever above its null, and one on either side."""
    places = ever.nonzero()[:, 0].tolist()
    return slice(max(places[0] - 1, 0), places[-1] + 2)


def _none_read(r2: npt.NDArray[np.float64], null: Tensor) -> str:
    """That no frequency was above its null, with the numbers."""
    best = r2_text(float(np.nanmax(r2, initial=-np.inf)))
    times = f"at any of {r2.shape[1]} validations" if r2.shape[1] > 1 else "at the only validation"
    high = r2_text(float(null.quantile(0.95))) if null.numel() else "unknown"
    return f"None of them is above its null {times}.\nThe highest held-out R2 is {best}; the null reaches {high}."


def mark_frequencies(axes: Axes, key: Tensor, above: Tensor, size: float) -> None:
    """Mark cells of a map of frequencies: a dot on a key frequency, a cross on others above the null.

    Args:
        axes: The map.
        key: (rows, columns) bool, key frequencies.
        above: (rows, columns) bool, frequencies above the null.
        size: Size of a dot.
    """
    dots, crosses = key.nonzero(), (above & ~key).nonzero()
    axes.scatter(dots[:, 1], dots[:, 0], s=size, color="white", edgecolors=INK, linewidths=0.5)
    for colour, width in ((INK, 2.4), ("white", 1.0)):  # seen on bright and on dark cells
        axes.scatter(crosses[:, 1], crosses[:, 0], s=size, marker="x", color=colour, linewidths=width)


def small_periods(scores: Sequence[PeriodScore], site: str, behaviour: Behaviour | None) -> Figure:
    """Held-out R2 of each quantity's small periods, at one site's last token.

    Scores of the relabelled circle are in brackets. A cell without a colour is not above permuted labels at any small
    period, or not above neighbouring periods; one with a dash was not probed.

    Args:
        scores: The best frequency of each circle.
        site: The site.
        behaviour: The model's behaviour, for the title.
    """
    quantities = list(dict.fromkeys(one.circle.quantity for one in scores))
    periods = sorted({one.circle.period for one in scores})
    found = {(quantities.index(one.circle.quantity), periods.index(one.circle.period)): one for one in scores}
    best = np.full((len(quantities), len(periods)), np.nan)
    for cell, one in found.items():
        best[cell] = one.r2 if one.found else np.nan
    figure = new_figure(max(6.8, 0.95 * len(periods) + 2.6), 0.62 * len(quantities) + 2.7)
    axes = figure.add_subplot()
    image = r2_heat(axes, best, lowest_first=False)
    for (row, column), value in np.ndenumerate(best):
        text = _with_control(found.get((row, column)))
        axes.text(column, row, text, ha="center", va="center", fontsize=LABEL, color=ink(image, value))
    axes.set_xticks(range(len(periods)), [str(period) for period in periods])
    axes.set_yticks(range(len(quantities)), quantities)
    axes.set_xlabel("period")
    axes.set_ylabel("quantity")
    r2_bar(axes, image, "held-out R2")
    text = f"Which small periods of the numbers can be read at {site}@last?"
    note = "No colour: not above permuted labels and neighbouring periods. In brackets: control, values renamed"
    set_title(axes, text, behaviour, note)
    return figure


def _with_control(one: PeriodScore | None) -> str:
    """A cell: its R2, and in brackets that of the relabelled circle."""
    if one is None:
        return "-"
    return r2_text(one.r2) + ("" if np.isnan(one.relabelled) else f"\n({r2_text(one.relabelled)})")
