"""Figures of attention heads: what each attends to, and how sharply, beside uniform attention."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from arithprobe.attention.heads import HeadStatistics, group_entropy, operand_imbalance, operand_mass
from arithprobe.attention.records import head_name
from arithprobe.attention.roles import GROUPS, RoleGroup
from arithprobe.behaviour import Behaviour
from arithprobe.interventions.heads import HeadAblation
from arithprobe.plotting.attention import IN_WORDS
from arithprobe.plotting.panels import annotate, heat, lowest, mark_uniform, name_axes
from arithprobe.plotting.sheets import panels_below_a_title
from arithprobe.plotting.style import BLUE, GREEN, GREY, INK, PURPLE, SMALL, VERMILION, new_figure
from arithprobe.plotting.titles import set_title
from arithprobe.probes.steps import after_steps

_COLOURS: dict[RoleGroup, str] = {"x": BLUE, "y": VERMILION, "plus": GREEN, "mod": PURPLE, "others": GREY}
_CROWDED = 10  # heads; beyond, numbers and names would lie over each other
_LEAST = 0.05  # of the answers' standard deviation


class _Score(NamedTuple):
    """One quantity of every head."""

    name: str
    note: str
    values: Tensor
    limits: tuple[float, float]
    colours: str
    uniform: float | None = None


def category_bars(statistics: HeadStatistics, behaviour: Behaviour | None) -> Figure:
    """Attention of each head from the last token to each group of characters, one panel per layer.

    Dashes are uniform attention. Circles are the share of the group in the summed value-weighted norms.

    Args:
        statistics: Means over rows.
        behaviour: The model's behaviour, for the title.
    """
    layers, heads = statistics.mass.shape[:2]
    groups = statistics.groups_present
    width = max(1.15 + 0.23 * len(groups) * heads, 6.8)
    figure = new_figure(min(width, 9.4), 1.75 * layers + 1.6)
    panels = figure.subplots(layers, 1, squeeze=False, sharey=True)[:, 0]
    breadth, masses, shares = 0.84 / len(groups), statistics.mass, statistics.norm_share
    for layer, panel in enumerate(panels):
        for place, group in enumerate(groups):
            at, column = np.arange(heads) + (place - (len(groups) - 1) / 2) * breadth, GROUPS.index(group)
            mass, share = masses[layer, :, column].numpy(), shares[layer, :, column].numpy()
            uniform = np.full(heads, float(statistics.uniform_mass[column]))
            panel.bar(at, mass, 0.9 * breadth, color=_COLOURS[group], label=group)
            panel.hlines(uniform, at - 0.44 * breadth, at + 0.44 * breadth, color="black", linewidth=1.6)
            panel.plot(at, share, "o", color=INK, markerfacecolor="white", markersize=4, markeredgewidth=0.9, gid=group)
        panel.set_xticks(range(heads), [head_name(layer, head) for head in range(heads)])
        panel.tick_params(axis="x", length=0, labelrotation=0 if heads <= _CROWDED else 90)
        panel.set_xlim(-0.55, heads - 0.45)
        panel.set_ylim(0, 1.04)
        panel.set_ylabel(f"layer {layer}\nshare from '?'")
    panels[-1].set_xlabel("head")
    figure.legend(handles=_bar_legend(groups), loc="outside lower center", ncols=4, fontsize=SMALL)
    set_title(panels[0], f"What do heads look at from the last token? Mean over {statistics.n} rows", behaviour)
    return figure


def _bar_legend(groups: Sequence[RoleGroup]) -> list[Artist]:
    """What bars, dashes and circles are."""
    bars = [Patch(color=_COLOURS[group], label=IN_WORDS[group]) for group in groups]
    circle = Line2D(
        [],
        [],
        linestyle="none",
        marker="o",
        color=INK,
        markerfacecolor="white",
        markersize=4,
        label="value-weighted share",
    )
    return [*bars, Line2D([], [], color="black", linewidth=1.6, label="uniform attention"), circle]


def head_scores(
    statistics: HeadStatistics,
    copying: Tensor,
    ablation: HeadAblation | None,
    direct: Tensor | None,
    behaviour: Behaviour | None,
    step: int | None = None,
) -> Figure:
    """One number per head, with heads to the right and layers upwards, one panel per quantity.

    The colour scales are fixed if a quantity has bounds, so that figures of different steps compare; an arrow beside a
    scale marks uniform attention.

    Args:
        statistics: Means over rows.
        copying: (L, H) OV copying scores.
        ablation: The ablation of each head; None if it was not measured.
        direct: (L, H) share of each head in the variance of the output, written to the readout directly; or None.
        behaviour: The model's behaviour, for the title.
        step: Training step, for the title; None outside a fit.
    """
    scores = [
        *_of_attention(statistics),
        _Score("OV copying score", "1: writes what it reads", copying, (-1, 1), "RdBu_r"),
    ]
    if ablation is not None:
        scores.append(_of_ablation(ablation, behaviour))
    if direct is not None:
        scores.append(_Score("direct share of the output", "of its variance", direct, (-1, 1), "RdBu_r"))
    layers, heads = copying.shape
    lines = math.ceil(len(scores) / (4 if heads <= 4 else 3))
    columns = math.ceil(len(scores) / lines)
    size = (9.4, lines * (0.85 + max(0.33 * layers, 0.5)) + 1.1)
    figure = new_figure(*size)
    strip, grid = panels_below_a_title(figure, lines, columns)
    shown = [panel for line in grid for panel in line][: len(scores)]
    for panel, score in zip(shown, scores, strict=True):
        _draw(panel, score)
        panel.tick_params(labelsize=SMALL, length=2, labelbottom=panel in lowest(grid, shown))
    shown[0].set_xticks(range(0, heads, 1 if heads <= _CROWDED else 4))
    shown[0].set_yticks(range(layers))
    name_axes(grid, shown, "head", "layer")
    text = "What does each head look at from the last token, and what does it cost to lose it?"
    note = f"{'' if step is None else f'{after_steps(step)}, '}{statistics.n} rows; arrow: uniform attention"
    set_title(strip, text, behaviour, note[0].upper() + note[1:])
    return figure


def _draw(panel: Axes, score: _Score) -> None:
    """One quantity, with its own scale."""
    image = heat(panel, score.values, score.limits, score.colours, lowest_first=True)
    if score.values.shape[1] <= _CROWDED:
        annotate(panel, image, score.values)
    panel.set_title(f"{score.name}\n{score.note}", fontsize=SMALL, pad=3)
    figure = panel.get_figure(root=True)
    if figure is not None:
        bar = figure.colorbar(image, ax=panel, fraction=0.06, aspect=max(14, 4 * len(score.values)), pad=0.03)
        bar.ax.tick_params(labelsize=SMALL, length=2)
        bar.ax.locator_params(nbins=3)
        if score.uniform is not None:
            mark_uniform(bar, score.uniform)


def _of_attention(statistics: HeadStatistics) -> list[_Score]:
    """What follows from the patterns, and the same of uniform attention."""
    mass, uniform, kinds = statistics.mass, statistics.uniform_mass, len(statistics.groups_present)
    on_both, apart, over_groups, over_tokens = (
        float(value)
        for value in (
            operand_mass(uniform),
            operand_imbalance(uniform),
            group_entropy(uniform),
            statistics.uniform_entropy,
        )
    )
    moved, evenly = (operand_mass(share) for share in (statistics.norm_share, statistics.uniform_norm_share))
    ends = " to ".join(dict.fromkeys(f"{float(end):.2f}" for end in evenly.aminmax()))
    return [
        _Score("attention to x and y", f"uniform {on_both:.2f}", operand_mass(mass), (0, 1), "viridis", on_both),
        _Score("imbalance |x - y|", f"uniform {apart:.2f}", operand_imbalance(mass), (0, 1), "viridis", apart),
        _Score(
            "entropy over groups (nats)",
            f"uniform {over_groups:.2f}, most {math.log(kinds):.2f}",
            group_entropy(mass),
            (0, math.log(kinds)),
            "viridis",
            over_groups,
        ),
        _Score(
            "entropy over tokens (nats)",
            f"uniform {over_tokens:.2f}, the most",
            statistics.entropy,
            (0, over_tokens),
            "viridis",
            over_tokens,
        ),
        _Score("value-weighted share of x, y", f"uniform {ends}", moved, (0, 1), "viridis"),
    ]


def _of_ablation(ablation: HeadAblation, behaviour: Behaviour | None) -> _Score:
    """The scale has no bounds of its own: it goes to the largest, or to a little of the answers' spread."""
    cost = ablation.delta_rmse
    known = cost[cost.isfinite()]
    largest = max([least_axis(behaviour), *known.abs().tolist()]) or 1.0
    note = f"{ablation.kind} ablation, {ablation.n} rows"
    if bool((known < 0).any()):  # some answers are better without a head
        return _Score("RMSE increase (answer units)", note, cost, (-largest, largest), "RdBu_r")
    return _Score("RMSE increase (answer units)", note, cost, (0, largest), "viridis")


def least_axis(behaviour: Behaviour | None) -> float:
    """The least extent of an axis of RMSE increases, so that noise looks small; 0 if nothing is known."""
    return _LEAST * behaviour.answer_sd if behaviour is not None and behaviour.answer_sd > 0 else 0.0
