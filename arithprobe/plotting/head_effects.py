"""Figures of the causal effects of attention heads: ablation of a head, and patching from another problem."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from arithprobe.attention.records import head_names
from arithprobe.behaviour import Behaviour
from arithprobe.interventions.heads import HeadAblation, HeadPatching
from arithprobe.interventions.kinds import AblationKind
from arithprobe.logic import LEVEL
from arithprobe.plotting.heads import least_axis
from arithprobe.plotting.labels import MARKER, name_points
from arithprobe.plotting.panels import annotate, heat
from arithprobe.plotting.sheets import empty_figure, panels_below_a_title, site_colours
from arithprobe.plotting.style import BLUE, GREEN, GREY, LABEL, LIGHT, ORANGE, SMALL, new_figure, zero_line
from arithprobe.plotting.titles import set_title
from arithprobe.plotting.tokens import token_axis
from arithprobe.probes.rank import Agreement, RankCorrelation

_KINDS: dict[AblationKind, str] = {"zero": BLUE, "mean": ORANGE, "resample": GREEN}
_IN_WORDS: dict[AblationKind, str] = {"zero": "nothing", "mean": "its mean", "resample": "another row's"}
_COST = "increase of the RMSE\n(answer units)"


def ablation_bars(ablations: Sequence[HeadAblation], behaviour: Behaviour | None) -> Figure:
    """Increase of the RMSE without each head, one colour per kind of ablation, heads of a layer side by side.

    Grey bands hold 95 % of ablations of as many random dimensions of the layer's heads; stars mark heads that cost more
    than nearly all of these.

    Args:
        ablations: One or more kinds, of the same heads.
        behaviour: The model's behaviour, for the title.
    """
    title = "What do the answers lose without one head?"
    if not ablations:
        return empty_figure(title, "no head was ablated", behaviour)
    layers, heads = ablations[0].delta_rmse.shape
    names = head_names(layers, heads)
    size = (min(max(0.42 * len(names) + 1.4, 7.4), 9.4), 4.4)
    figure = new_figure(*size)
    panel = figure.add_subplot()
    for place, one in enumerate(ablations):
        _bars(panel, one, place - (len(ablations) - 1) / 2, 0.8 / len(ablations))
        _random(panel, one)
    for layer in range(1, layers):
        panel.axvline(layer * heads - 0.5, color=GREY, linewidth=0.6, linestyle=":")
    zero_line(panel)
    panel.set_xticks(range(len(names)), names, rotation=90 * (len(names) > 16))
    panel.tick_params(axis="x", labelsize=SMALL)
    panel.set_xlim(-0.6, len(names) - 0.4)
    _keep_noise_small(panel, behaviour)
    panel.set_xlabel("head")
    panel.set_ylabel(_COST)
    _ablation_legend(figure, panel, ablations)
    set_title(panel, title, behaviour, f"{ablations[0].n} rows")
    return figure


def _bars(panel: Axes, one: HeadAblation, place: float, breadth: float) -> None:
    """One kind of ablation."""
    cost = one.delta_rmse.flatten().numpy()
    at = np.arange(len(cost)) + place * breadth
    panel.bar(at, cost, 0.92 * breadth, color=_KINDS[one.kind], label=f"{one.kind}: {_IN_WORDS[one.kind]} in its place")
    for x, y, p in zip(at, cost, one.p.flatten().tolist(), strict=True):
        if p <= LEVEL:
            panel.annotate(
                "*", (x, max(y, 0.0)), (0, -2), textcoords="offset points", ha="center", va="bottom", fontsize=12
            )


def _ablation_legend(figure: Figure, panel: Axes, ablations: Sequence[HeadAblation]) -> None:
    """Kinds first, then what they are compared with."""
    entries = sorted(zip(*panel.get_legend_handles_labels(), strict=True), key=lambda entry: "random" in entry[1])
    handles, labels = [handle for handle, _ in entries], [label for _, label in entries]
    if any(bool((one.p <= LEVEL).any()) for one in ablations):
        handles.append(Line2D([], [], linestyle="none", marker="$*$", color="black"))
        labels.append(f"p <= {LEVEL} against these, each head by itself")
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=SMALL)


def _random(panel: Axes, one: HeadAblation) -> None:
    """The band of the random dimensions of each layer, where there are any."""
    layers, heads = one.delta_rmse.shape
    label = f"{one.kind}, as many random dimensions of z: 95 % of {one.random.shape[1]}"
    for layer in range(layers):
        draws = one.random[layer].numpy()
        draws = draws[np.isfinite(draws)]
        if len(draws):
            low, high = np.quantile(draws, [0.025, 0.975])
            ends = (layer * heads - 0.45, (layer + 1) * heads - 0.55)
            panel.fill_between(ends, low, high, color=LIGHT, linewidth=0, zorder=0, label=label, gid="random")
            label = "_"


def patching_grid(patching: HeadPatching, behaviour: Behaviour | None) -> Figure:
    """Share of the gap between two answers that the output of one head carries, at all tokens and at one.

    The colour scale is fixed at 0 to 1; cells with too few pairs are empty.

    Args:
        patching: The shares.
        behaviour: The model's behaviour, for the title.
    """
    layers, heads, count = patching.by_position.shape
    names = head_names(layers, heads)
    width = max(min(max(0.42 * (count + 2) + 1.8, 6.8), 9.4), 0.29 * (count + 2) + 1.6)  # numbers and names need room
    figure = new_figure(width, max(0.21 * len(names), 1.0) + 2.5)
    panel = figure.add_subplot()
    gap = torch.full((len(names), 1), torch.nan)
    values = torch.cat([patching.recovered.reshape(-1, 1), gap, patching.by_position.flatten(0, 1)], dim=1)
    image = heat(panel, values)
    annotate(panel, image, values)
    for layer in range(1, layers):
        panel.axhline(layer * heads - 0.5, color="white", linewidth=1.5)
    roles, pairs = ("all tokens", "", *patching.positions), (patching.n, patching.n, *patching.n_by_position)
    token_axis(panel, roles, pairs, "pairs of problems", "token patched")
    panel.set_yticks(range(len(names)), names)
    panel.tick_params(length=2)
    panel.set_ylabel("head")
    figure.colorbar(image, ax=panel, label="recovered share of the gap (1: all)", fraction=0.025, aspect=25)
    text = "Which head carries the answer of another problem over?"
    note = f"One head patched; root mean square gap between the two answers: {patching.gap:.3g}"
    set_title(panel, text, behaviour, note)
    return figure


def mass_against_effect(agreements: Sequence[Agreement], ablation: HeadAblation, behaviour: Behaviour | None) -> Figure:
    """Cost of ablating each head (upwards) against its attention (to the right), one panel per attention measure.

    Args:
        agreements: Measures of the heads, (L, H) each, and how they agree with the effect.
        ablation: The ablation of each head.
        behaviour: The model's behaviour, for the title.
    """
    what = f"{ablation.kind} ablation at every token, {ablation.n} rows"
    title = f"Do heads that look most at the operands matter most? {what.capitalize()}"
    if not agreements:
        return empty_figure(title, "nothing to compare", behaviour)
    columns, effect = min(len(agreements), 3), ablation.delta_rmse
    lines = math.ceil(len(agreements) / columns)
    height = 3.6 + 0.06 * max(effect.numel() - 16, 0)
    size = (min(max(4.4 * columns + 0.6, 6.8), 9.4), height * lines + 1.2)
    figure = new_figure(*size)
    strip, grid = panels_below_a_title(figure, lines, columns, shared=False)
    panels = [panel for line in grid for panel in line]
    for panel in panels[len(agreements) :]:
        panel.set_axis_off()
    for place, (panel, one) in enumerate(zip(panels, agreements, strict=False)):
        _scatter(panel, one.values, effect)
        if one.uniform is not None:
            panel.axvline(one.uniform, color=GREY, linestyle="--", linewidth=1, gid="uniform")
        _keep_noise_small(panel, behaviour)
        panel.set_xlabel(one.measure)
        panel.set_ylabel(_COST if place % columns == 0 else "")
        panel.set_title(_in_words(one.correlation), fontsize=LABEL)
    _legend_of_layers(figure, panels[0], any(one.uniform is not None for one in agreements))
    set_title(strip, title, behaviour)
    figure.draw_without_rendering()  # from here on it is known where the points are
    for panel, one in zip(panels, agreements, strict=False):
        name_points(panel, head_names(*effect.shape), one.values.flatten(), effect.flatten(), one.uniform)
    return figure


def _legend_of_layers(figure: Figure, panel: Axes, with_uniform: bool) -> None:
    handles, labels = panel.get_legend_handles_labels()
    if with_uniform:
        handles.append(Line2D([], [], color=GREY, linestyle="--", linewidth=1))
        labels.append("uniform attention")
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5), fontsize=SMALL)


def _scatter(panel: Axes, values: Tensor, effect: Tensor) -> None:
    layers = len(values)
    for layer, colour in enumerate(site_colours([f"layer {layer}" for layer in range(layers)]).values()):
        panel.plot(
            values[layer].numpy(),
            effect[layer].numpy(),
            "o",
            color=colour,
            markersize=2 * MARKER - 1.5,
            zorder=3,
            label=f"layer {layer}",
        )
    zero_line(panel)
    panel.margins(0.12)


def _in_words(correlation: RankCorrelation) -> str:
    rho, p, n = correlation
    heads = f"{n} head" + "s" * (n != 1)
    return f"no rank correlation, {heads}" if math.isnan(rho) else f"rho = {rho:.2f}, p = {p:.2g}, {heads}"


def _keep_noise_small(panel: Axes, behaviour: Behaviour | None) -> None:
    """The axis goes up to some share of the answers' spread at least."""
    low, high = panel.get_ylim()
    high = max(high, least_axis(behaviour))
    panel.set_ylim(min(low, -0.05 * high), high)
