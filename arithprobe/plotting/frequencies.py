"""Pictures of Fourier probes: R2 by frequency, by frequency and step, and by small period."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from arithprobe.behaviour import Behaviour
from arithprobe.plotting.panels import heat, ink
from arithprobe.plotting.style import BLUE, GREEN, GREY, INK, LABEL, ORANGE, SMALL, new_figure, zero_line
from arithprobe.plotting.tips import set_tips
from arithprobe.plotting.titles import set_title
from arithprobe.probes.circles import FourierScores, PeriodScore

MARKS = "dots: key frequencies; crosses: not told from neighbouring periods"
"""What :func:`mark_frequencies` draws, for titles."""


def frequency_spectrum(
    scores: FourierScores, site: str, behaviour: Behaviour | None, twin: FourierScores | None = None
) -> Figure:
    """Decode R2 by frequency above, share of the states' variance (encode FVE) below, at one site's last token.

    Args:
        scores: Scores of one circle.
        site: The site.
        behaviour: The model's behaviour, for the title.
        twin: Scores of a random-init twin, drawn beside.
    """
    frequencies = np.array(scores.circle.frequencies)
    row, column = scores.sites.index(site), scores.positions.index("last")
    figure = new_figure(max(7.0, 0.22 * len(frequencies) + 3), 6.0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.4])
    r2 = scores.r2[:, row, column].numpy()
    cells = [one.at(site) for one in scores.frequencies]
    low, high = (np.array([cell[name] for cell in cells]) for name in ("low", "high"))
    margins = np.nan_to_num(np.stack([r2 - low, high - r2])).clip(min=0)
    above.errorbar(frequencies, r2, yerr=margins, fmt="o", color=BLUE, markersize=4, capsize=2, label="held out")
    threshold = float(scores.max_null[row, column].quantile(0.95))
    above.axhline(threshold, color=GREY, linewidth=1, linestyle="--", label="95 % of the largest null score")
    above.plot(frequencies, scores.relabelled[:, row, column].numpy(), "x", color=ORANGE, label="relabelled circle")
    beside = scores.neighbour[:, row, column].numpy()
    above.plot(frequencies, beside, "_", color=INK, markersize=7, label="neighbouring periods")
    if twin is not None:
        above.plot(frequencies, twin.r2[:, row, column].numpy(), "^", color=GREEN, markersize=4, label="random init")
    zero_line(above)
    above.set_ylabel("decode R2")
    highest, lowest = float(np.nanmax(r2, initial=0.0)), float(np.nanmin(r2, initial=0.0))
    above.set_ylim(min(1.2 * lowest, -0.05), 1.05 if highest > 0.5 else max(1.3 * highest, 0.1))  # noise stays small
    above.legend(fontsize=SMALL, loc="best", ncols=2)
    fve = scores.encode_fve[:, row, column].numpy()
    below.bar(frequencies, fve, color=BLUE, width=0.6)
    below.set_ylim(top=max(0.02, 1.1 * float(np.nanmax(fve, initial=0.0))))
    below.set_ylabel("encode FVE")
    below.set_xlabel(f"frequency n (turns per {scores.circle.period})")
    below.set_xticks(frequencies if len(frequencies) <= 16 else frequencies[::3])
    text = f"Fourier probes of '{scores.circle.quantity}' with period {scores.circle.period} at {site}@last"
    set_title(above, text, behaviour)
    return figure


def frequency_step_map(
    steps: Sequence[int | None], scores: Sequence[FourierScores], site: str, behaviour: Behaviour | None
) -> Figure:
    """Decode R2 by frequency (upwards) and training step (to the right) at one site's last token.

    Dots mark the key frequencies of that step; crosses those above the null that are of another period, or cannot be
    told from one.

    Args:
        steps: Training step of each validation; None outside a fit.
        scores: Scores of the same circle, one a validation.
        site: The site.
        behaviour: The model's behaviour now, for the title.
    """
    first = scores[0]
    row, column = first.sites.index(site), first.positions.index("last")
    r2 = np.stack([one.r2[:, row, column].numpy() for one in scores], axis=1)  # (F, steps)
    key, above = (
        torch.stack([getattr(one, name)[:, row, column] for one in scores], 1) for name in ("key", "above_null")
    )
    frequencies = first.circle.frequencies
    size = (max(6.5, 0.42 * len(scores) + 3), max(3.6, 0.16 * len(frequencies) + 2.2))
    figure = new_figure(*size)
    axes = figure.add_subplot()
    image = heat(axes, r2, lowest_first=True)
    mark_frequencies(axes, key, above, 10)
    every = max(1, len(steps) // 12)
    axes.set_xticks(range(0, len(steps), every), [str(step) for step in list(steps)[::every]])
    every = 1 if len(frequencies) <= 16 else 4
    axes.set_yticks(range(0, len(frequencies), every), [str(n) for n in frequencies[::every]])
    set_tips(image, r2, columns=[f"step {step}" for step in steps])
    axes.set_xlabel("training step")
    axes.set_ylabel("frequency n")
    figure.colorbar(image, ax=axes, label="held-out decode R2", fraction=0.05)
    circle = first.circle
    text = f"Fourier probes of '{circle.quantity}' with period {circle.period} at {site}@last ({MARKS})"
    set_title(axes, text, behaviour)
    return figure


def mark_frequencies(axes: Axes, key: Tensor, above: Tensor, size: float) -> None:
    """Mark cells of a map of frequencies: a dot on a key frequency, a cross on others above the null.

    Args:
        axes: The map.
        key: (rows, columns) bool, key frequencies.
        above: (rows, columns) bool, frequencies above the null.
        size: Of a dot.
    """
    dots, crosses = key.nonzero(), (above & ~key).nonzero()
    axes.scatter(dots[:, 1], dots[:, 0], s=size, color="white", edgecolors=INK, linewidths=0.5)
    axes.scatter(crosses[:, 1], crosses[:, 0], s=size, marker="x", color="white", linewidths=0.8)


def small_periods(scores: Sequence[PeriodScore], site: str, behaviour: Behaviour | None) -> Figure:
    """Held-out R2 of each quantity's small periods, at one site's last token.

    In brackets: the relabelled circle. Struck out: not above permuted labels at any small period, or not above
    neighbouring periods. Empty: not probed.

    Args:
        scores: The best frequency of each circle.
        site: The site.
        behaviour: The model's behaviour, for the title.
    """
    quantities = list(dict.fromkeys(one.circle.quantity for one in scores))
    periods = sorted({one.circle.period for one in scores})
    best = np.full((len(quantities), len(periods)), np.nan)
    size = (max(6.5, 0.95 * len(periods) + 2.6), 0.62 * len(quantities) + 2.2)
    figure = new_figure(*size)
    axes = figure.add_subplot()
    cells = [(quantities.index(one.circle.quantity), periods.index(one.circle.period)) for one in scores]
    for cell, one in zip(cells, scores, strict=True):
        best[cell] = one.r2
    image = heat(axes, best)
    for (row, column), one in zip(cells, scores, strict=True):
        text = f"{one.r2:.2f}" + ("" if np.isnan(one.relabelled) else f"\n({one.relabelled:.2f})")
        axes.text(column, row, text, ha="center", va="center", fontsize=LABEL, color=ink(image, one.r2))
        if not one.found:
            axes.plot([column - 0.35, column + 0.35], [row - 0.35, row + 0.35], color="white", linewidth=1.2)
    axes.set_xticks(range(len(periods)), [str(period) for period in periods])
    axes.set_yticks(range(len(quantities)), quantities)
    axes.set_xlabel("period")
    axes.set_ylabel("quantity")
    figure.colorbar(image, ax=axes, label="held-out R2", fraction=0.05)
    text = (
        f"Small periods at {site}@last (in brackets: relabelled circle; struck out: not above the null and neighbours)"
    )
    set_title(axes, text, behaviour)
    return figure
