"""Pictures of attention heads: what each looks at, and how sharply, beside uniform attention."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from arithprobe.attention.heads import HeadStatistics, group_entropy, operand_imbalance, operand_mass
from arithprobe.attention.records import head_name, head_names
from arithprobe.attention.roles import GROUPS, Group
from arithprobe.behaviour import Behaviour
from arithprobe.plotting.attention import annotate, heat, lowest, mark_uniform, name_axes
from arithprobe.plotting.steering import panels_below_a_title
from arithprobe.plotting.titles import set_title

_COLOURS: dict[Group, str] = {
    "x": "#0072b2", "y": "#d55e00", "plus": "#009e73", "mod": "#cc79a7", "others": "#999999"
}  # fmt: skip # Okabe and Ito, colour-blind safe
_IN_WORDS: dict[Group, str] = {
    "x": "digits of x", "y": "digits of y", "plus": "'+'", "mod": "'(mod k)'", "others": "others (spaces, '=', '?')"
}  # fmt: skip
_MANY = 36  # roles; beyond, only one panel a line has room for their names
_NOISE = 0.05  # of the answers' standard deviation


class _Score(NamedTuple):
    """One quantity of every head."""

    name: str
    note: str
    values: Tensor
    limits: tuple[float, float]
    colours: str
    uniform: float | None = None


def category_bars(statistics: HeadStatistics, behaviour: Behaviour | None) -> Figure:
    """Attention of each head from the last token to each group of characters, a panel a layer.

    Dashes: uniform attention. Circles: the share of the group in the norm of what the head moves.

    Args:
        statistics: Means over rows.
        behaviour: The model's behaviour, for the title.
    """
    layers, heads = statistics.mass.shape[:2]
    groups = groups_present(statistics)
    width = max(1.15 + 0.23 * len(groups) * heads, 6.8)
    figure = Figure(figsize=(min(width, 9.4), 1.75 * layers + 1.6), layout="constrained", dpi=110)
    panels = figure.subplots(layers, 1, squeeze=False, sharey=True)[:, 0]
    breadth = 0.84 / len(groups)
    for layer, panel in enumerate(panels):
        for place, group in enumerate(groups):
            at, column = np.arange(heads) + (place - (len(groups) - 1) / 2) * breadth, GROUPS.index(group)
            mass, moved = statistics.mass[layer, :, column].numpy(), statistics.moved_share[layer, :, column].numpy()
            uniform = np.full(heads, float(statistics.uniform_mass[column]))
            panel.bar(at, mass, 0.9 * breadth, color=_COLOURS[group], label=group)
            panel.hlines(uniform, at - 0.44 * breadth, at + 0.44 * breadth, color="black", linewidth=1.6)
            panel.plot(
                at, moved, "o", color="black", markerfacecolor="white", markersize=4, markeredgewidth=0.9, gid=group
            )
        panel.set_xticks(range(heads), [head_name(layer, head) for head in range(heads)])
        panel.tick_params(axis="x", length=0)
        panel.set_xlim(-0.55, heads - 0.45)
        panel.set_ylim(0, 1.04)
        panel.set_ylabel(f"layer {layer}\nshare from '?'", fontsize=9)
    panels[-1].set_xlabel("head")
    figure.legend(handles=_bar_legend(groups), loc="outside lower center", ncols=4, fontsize=8)
    set_title(panels[0], f"What heads look at from the last token, mean over {statistics.n} rows", behaviour)
    return figure


def _bar_legend(groups: Sequence[Group]) -> list[Artist]:
    """What bars, dashes and circles are."""
    bars = [Patch(color=_COLOURS[group], label=_IN_WORDS[group]) for group in groups]
    circle = Line2D(
        [], [], linestyle="none", marker="o", color="black", markerfacecolor="white", markersize=4,
        label="value-weighted share",
    )  # fmt: skip
    return [*bars, Line2D([], [], color="black", linewidth=1.6, label="uniform attention"), circle]


def head_scores(
    statistics: HeadStatistics,
    copying: Tensor,
    delta_rmse: Tensor | None,
    direct: Tensor | None,
    behaviour: Behaviour | None,
    step: int | None = None,
    kind: str = "mean",
) -> Figure:
    """One number a head, heads to the right and layers upwards, a panel a quantity.

    The colour scales are fixed where a quantity has bounds, so that pictures of different steps compare; an arrow
    beside a scale is where uniform attention is.

    Args:
        statistics: Means over rows.
        copying: (L, H) OV copying scores.
        delta_rmse: (L, H) increase of the RMSE without each head, in answer units; None where it was not measured.
        direct: (L, H) share of each head in the variance of the output, written to the readout directly; or None.
        behaviour: The model's behaviour, for the title.
        step: Training step, for the title; None outside a fit.
        kind: The ablation.
    """
    scores = [
        *_of_attention(statistics),
        _Score("OV copying score", "1: writes what it reads", copying, (-1, 1), "RdBu_r"),
    ]
    if delta_rmse is not None:
        scores.append(_of_ablation(delta_rmse, behaviour, kind))
    if direct is not None:
        scores.append(_Score("direct share of the output", "of its variance", direct, (-1, 1), "RdBu_r"))
    layers, heads = copying.shape
    lines = math.ceil(len(scores) / (4 if heads <= 4 else 3))
    columns = math.ceil(len(scores) / lines)
    size = (9.4, lines * (0.85 + max(0.33 * layers, 0.5)) + 1.1)
    figure = Figure(figsize=size, layout="constrained", dpi=110)
    strip, grid = panels_below_a_title(figure, lines, columns)
    shown = [panel for line in grid for panel in line][: len(scores)]
    for panel, score in zip(shown, scores, strict=True):
        _draw(panel, score)
        panel.tick_params(labelsize=8, length=2, labelbottom=panel in lowest(grid, shown))
    shown[0].set_xticks(range(heads))
    shown[0].set_yticks(range(layers))
    name_axes(grid, shown, "head", "layer")
    text = "Attention heads" + ("" if step is None else f" at step {step}")
    set_title(strip, f"{text}, from the last token, {statistics.n} rows (arrow: uniform attention)", behaviour)
    return figure


def _draw(panel: Axes, score: _Score) -> None:
    """One quantity, with its own scale."""
    image = heat(panel, score.values, score.limits, score.colours, lowest_first=True)
    annotate(panel, image, score.values)
    panel.set_title(f"{score.name}\n{score.note}", fontsize=8.5, pad=3)
    figure = panel.get_figure(root=True)
    if figure is not None:
        bar = figure.colorbar(image, ax=panel, fraction=0.06, aspect=max(14, 4 * len(score.values)), pad=0.03)
        bar.ax.tick_params(labelsize=7, length=2)
        bar.ax.locator_params(nbins=3)
        if score.uniform is not None:
            mark_uniform(bar, score.uniform)


def _of_attention(statistics: HeadStatistics) -> list[_Score]:
    """What follows from the patterns, and the same of uniform attention."""
    mass, uniform, kinds = statistics.mass, statistics.uniform_mass, len(groups_present(statistics))
    on_both, apart, over_groups, over_tokens = (
        float(value)
        for value in (
            operand_mass(uniform), operand_imbalance(uniform), group_entropy(uniform), statistics.uniform_entropy
        )
    )  # fmt: skip
    moved, evenly = (operand_mass(share) for share in (statistics.moved_share, statistics.uniform_moved_share))
    ends = " to ".join(dict.fromkeys(f"{float(end):.2f}" for end in evenly.aminmax()))
    return [
        _Score("attention to x and y", f"uniform {on_both:.2f}", operand_mass(mass), (0, 1), "viridis", on_both),
        _Score("imbalance |x - y|", f"uniform {apart:.2f}", operand_imbalance(mass), (0, 1), "viridis", apart),
        _Score(
            "entropy over groups (nats)", f"uniform {over_groups:.2f}, most {math.log(kinds):.2f}", group_entropy(mass),
            (0, math.log(kinds)), "viridis", over_groups,
        ),
        _Score(
            "entropy over tokens (nats)", f"uniform {over_tokens:.2f}, the most", statistics.entropy, (0, over_tokens),
            "viridis", over_tokens,
        ),
        _Score("value-weighted share of x, y", f"uniform {ends}", moved, (0, 1), "viridis"),
    ]  # fmt: skip


def _of_ablation(delta_rmse: Tensor, behaviour: Behaviour | None, kind: str) -> _Score:
    """The scale has no bounds of its own: it goes to the largest, or to a little of the answers' spread."""
    found = delta_rmse[delta_rmse.isfinite()].tolist()
    largest = max([noise(behaviour), *found]) or 1.0
    return _Score("increase of the RMSE", f"{kind} ablation (answer units)", delta_rmse, (0, largest), "viridis")


def role_sweeps(statistics: HeadStatistics, behaviour: Behaviour | None) -> Figure:
    """Attention to each group of characters (a panel) of every head (downwards), by where it looks from.

    Below the heads of a layer stands their mean, and below all layers uniform attention.

    Args:
        statistics: Means over rows.
        behaviour: The model's behaviour, for the title.
    """
    layers, heads = statistics.role_mass.shape[:2]
    by_group = statistics.role_mass @ statistics.groups  # (L, H, R, 5)
    with_mean = torch.cat([by_group, by_group.mean(dim=1, keepdim=True)], dim=1).flatten(0, 1)
    table = torch.cat([with_mean, (statistics.uniform_role_mass @ statistics.groups)[None]])
    names = [
        name
        for layer in range(layers)
        for name in [*head_names(layers, heads)[layer * heads :][:heads], f"L{layer} mean"]
    ]
    groups = groups_present(statistics)
    columns = 2 if len(statistics.roles) <= _MANY else 1
    lines = math.ceil(len(groups) / columns)
    height = max(0.15 * len(table), 0.9) + 0.25
    figure = Figure(figsize=(9.4, lines * height + 2.1), layout="constrained", dpi=110)
    strip, grid = panels_below_a_title(figure, lines, columns)
    shown = [panel for line in grid for panel in line][: len(groups)]
    for panel, group in zip(shown, groups, strict=True):
        image = heat(panel, table[..., GROUPS.index(group)])
        for layer in range(layers):
            panel.axhline((layer + 1) * (heads + 1) - 0.5, color="white", linewidth=1.5)
        panel.set_title(f"attention to {_IN_WORDS[group]}", fontsize=8.5, pad=3)
        panel.tick_params(axis="x", labelrotation=90, labelsize=7, length=2, labelbottom=panel in lowest(grid, shown))
        panel.tick_params(axis="y", labelsize=7, length=2)
    shown[0].set_xticks(range(len(statistics.roles)), statistics.roles)
    shown[0].set_yticks(range(len(table)), [*names, "uniform"])
    name_axes(grid, shown, "from role (query)", "head")
    bar = figure.colorbar(image, ax=shown, fraction=0.025, aspect=35)
    bar.set_label("attention to the group", fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    text = f"Attention to groups of characters by where it comes from, mean over {statistics.n} rows"
    set_title(strip, text, behaviour)
    return figure


def noise(behaviour: Behaviour | None) -> float:
    """An increase of the RMSE that shall look small, in answer units; 0 where the spread of the answers is unknown."""
    return _NOISE * behaviour.answer_sd if behaviour is not None and behaviour.answer_sd > 0 else 0.0


def groups_present(statistics: HeadStatistics) -> list[Group]:
    """The groups that some character of the prompts is of."""
    return [group for group, mass in zip(GROUPS, statistics.uniform_mass.tolist(), strict=True) if mass > 0]
