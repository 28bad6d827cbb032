"""Figures of emergence: when variables become readable, in one run and over several."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arithprobe.behaviour import Behaviour
from arithprobe.logic import CANNOT_BE_TOLD, HOLDS
from arithprobe.plotting.panels import logarithmic
from arithprobe.plotting.r2 import r2_bar, r2_norm, within
from arithprobe.plotting.style import BLUE, CYCLE, GREY, INK, LIGHT, SMALL, new_figure, row_lines
from arithprobe.plotting.titles import set_title
from arithprobe.probes.emergence import Emergence, Readings, circle_of, in_order
from arithprobe.probes.emergence_runs import EmergenceOverRuns
from arithprobe.probes.steps import steps_made


def emergence_map(
    history: Sequence[Readings], losses: Sequence[float], found: Sequence[Emergence], behaviour: Behaviour | None
) -> Figure:
    """Validation loss by step above; R2 of every variable at its best site by step below, after the untrained R2.

    A dot marks the step, and a name on the right the site, of each emergence; a cross marks one that cannot be told
    from drift. Variables are in order of emergence; those that never emerged come last, in grey. Frequencies that were
    never cleared are left out, and counted.

    Args:
        history: The validations, at least one.
        losses: (T,) validation loss of each.
        found: The emergence of each variable, in the order of the variables.
        behaviour: The model's behaviour now, for the title.
    """
    names = history[-1].variables
    ever = {
        name for one in history for name, cleared in zip(names, one.cleared.any(dim=1).tolist(), strict=True) if cleared
    }
    drawn = [one for one in in_order(found) if one.variable in ever or circle_of(one.variable) is None]
    best = np.stack([history[-1].before.numpy(), *(one.best.numpy() for one in history)], axis=1)  # (V, 1 + T)
    rows = best[[names.index(one.variable) for one in drawn]]
    steps = [number if one.step is None else steps_made(one.step) for number, one in enumerate(history)]
    height = max(0.17 * len(drawn) + 1.2, 3.4)  # room for the colour bar
    curve = len(history) > 1  # one loss is said in words
    figure = new_figure(9.5, (2.8 if curve else 1.4) + height)
    panels = figure.subplots(1 + curve, 1, sharex=True, squeeze=False, height_ratios=[1.7, height][1 - curve :])[:, 0]
    below = panels[-1]
    if curve:
        _draw_loss(panels[0], steps, losses)
    edges = _edges(steps)
    edges = np.concatenate([[2 * edges[0] - edges[1]], edges])
    colours, values = colormaps["viridis"].with_extremes(bad="none"), np.ma.masked_invalid(within(rows, 0.0))
    image = below.pcolormesh(edges, np.arange(len(drawn) + 1) - 0.5, values, cmap=colours, norm=r2_norm())
    below.axvline(edges[1], color="white", linewidth=2.5)
    dots, crosses = (
        np.array([(steps_made(one.step), row) for row, one in enumerate(drawn) if one.state == state]).reshape(-1, 2).T
        for state in (HOLDS, CANNOT_BE_TOLD)
    )
    below.scatter(*dots, s=16, color="white", edgecolors=INK, linewidths=0.7, zorder=3)
    for colour, width in ((INK, 2.4), ("white", 1.0)):
        below.scatter(*crosses, s=16, marker="x", color=colour, linewidths=width, zorder=3)
    below.set_ylim(len(drawn) - 0.5, -0.5)
    below.set_xlim(edges[0], edges[-1])
    _name_rows(below, drawn)
    _name_columns(below, (edges[0] + edges[1]) / 2, steps)
    note = "\n(grey: never above chance, that and drift, three times in a row;\n"
    note += f"cross: {CANNOT_BE_TOLD} from drift"
    hidden = len(found) - len(drawn)
    note += f";\nfrequencies left out, because they never were: {hidden})" if hidden else ")"
    below.set_xlabel(f"training steps{note}")
    below.set_ylabel("variable")
    r2_bar(below, image, "held-out R2 at the best site")
    text = "Since when (dot) and where (right) can each variable be read at the last token?"
    set_title(panels[0], text, behaviour, "" if curve else f"Validation loss {losses[0]:.3g} at the only validation")
    return figure


def emergence_runs(
    found: Sequence[EmergenceOverRuns], behaviours: Sequence[Behaviour | None], names: Sequence[str]
) -> Figure:
    """Step of emergence by variable: a dot per run, and a bar at the median.

    Variables that emerged in no run are left out, and counted. If a variable never emerged in a run, its dot is to the
    right of all steps.

    Args:
        found: The variables, in the order to draw them.
        behaviours: (R) the behaviour of the runs; the title has the worst.
        names: (R) names of the runs.
    """
    drawn = [one for one in found if one.count]
    finite = [step + 1 for one in drawn for step in one.known if math.isfinite(step)]  # steps made
    never = 1.12 * max([1.0, *finite])
    figure = new_figure(9.5, 2.6 + 0.26 * max(len(drawn), 4))
    axes = figure.add_subplot()
    for run, (name, behaviour) in enumerate(zip(names, behaviours, strict=True)):
        offset = (run + 1) / (len(names) + 1) - 0.5  # so that equal steps do not hide each other
        steps = np.nan_to_num(np.array([one.steps[run] + 1 for one in drawn]), nan=np.nan, posinf=never)
        verdict = "unknown" if behaviour is None else behaviour.verdict
        axes.plot(
            steps,
            np.arange(len(drawn)) + 0.7 * offset,
            "o",
            label=f"{name}: {verdict}",
            color=CYCLE[run % len(CYCLE)],
            markersize=5,
            alpha=0.9,
        )
    for row, one in enumerate(drawn):
        axes.plot([min(one.median + 1, never)] * 2, [row - 0.38, row + 0.38], color="black", linewidth=1.6)
    axes.axvspan(0.5 * (never + max(finite, default=1.0)), 1.06 * never, color=LIGHT, alpha=0.35, linewidth=0, zorder=0)
    axes.set_xlim(0, 1.06 * never)
    axes.set_xticks([*(tick for tick in axes.get_xticks() if tick <= max(finite, default=1.0)), never])
    axes.set_xticklabels([*(f"{tick:g}" for tick in axes.get_xticks()[:-1]), "never"])
    axes.set_yticks(range(len(drawn)), [one.variable for one in drawn])
    axes.set_ylim(max(len(drawn), 1) - 0.5, -0.5)
    row_lines(axes)
    hidden = sum(not one.count and not one.of_any_frequency for one in found)
    axes.set_xlabel(
        "training steps until it can be read"
        + (f"\n({hidden} variables that emerged in no run are left out)" if hidden else "")
    )
    axes.set_ylabel("variable")
    figure.legend(loc="outside lower center", ncols=min(3, len(names)), fontsize=SMALL)
    order = ("NOT LEARNED", "PARTLY LEARNED", "LEARNED")
    known = [one for one in behaviours if one is not None]
    worst = min(known, key=lambda one: (order.index(one.verdict), one.exact_match), default=None)
    text = f"Since when can each variable be read at the last token? {len(names)} runs (bar: median)"
    set_title(axes, f"{text}. Least learned:" if len(names) > 1 else text, worst)
    return figure


def _draw_loss(axes: Axes, steps: Sequence[int], losses: Sequence[float]) -> None:
    """The curve, on a logarithmic scale where it spans more than a decade."""
    axes.plot(steps, losses, "-o", color=BLUE, markersize=3, linewidth=1.2)
    positive = [loss for loss in losses if 0 < loss < math.inf]
    decades = len(positive) == len(losses) and max(positive) > 10 * min(positive)
    if decades:
        logarithmic(axes)
    axes.set_ylabel("validation loss" + (" (log)" if decades else ""))
    row_lines(axes)


def _name_rows(axes: Axes, drawn: Sequence[Emergence]) -> None:
    """Names of variables on the left, sites of emergence on the right."""
    axes.tick_params(axis="y", labelsize=SMALL)
    axes.set_yticks(range(len(drawn)), [one.variable for one in drawn])
    for label, one in zip(axes.get_yticklabels(), drawn, strict=True):
        label.set_color("black" if one.emerged else GREY)
    right = axes.secondary_yaxis("right")
    emerged = [(row, one.site) for row, one in enumerate(drawn) if one.emerged and one.site is not None]
    right.set_yticks([row for row, _ in emerged], [site for _, site in emerged], fontsize=SMALL)
    right.tick_params(length=0)
    for side in (axes, right):
        side.spines[:].set_visible(False)


def _name_columns(axes: Axes, untrained: float, steps: Sequence[int]) -> None:
    """What the first column is, and some steps, away from it."""
    every = max(1, -(-len(steps) // 8))
    shown = [step for step in steps[::every] if step - untrained > 0.11 * (steps[-1] - untrained)]
    axes.set_xticks([untrained, *shown], ["untrained", *map(str, shown)])


def _edges(steps: Sequence[int]) -> npt.NDArray[np.float64]:
    """(T + 1,) ends of the columns, half-way between steps."""
    at = np.array(steps, dtype=np.float64)
    if len(at) == 1:
        return np.array([at[0] - 0.5, at[0] + 0.5])
    middle = (at[1:] + at[:-1]) / 2
    return np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])
