"""Figures of attention patterns: for one prompt by character, and over all rows by role and by group."""

import math
from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from torch import Tensor

from arithprobe.attention.heads import HeadStatistics
from arithprobe.attention.records import head_name, head_names
from arithprobe.attention.roles import GROUPS, RoleGroup
from arithprobe.behaviour import Behaviour
from arithprobe.plotting.panels import annotate, heat, lowest, mark_uniform, name_axes
from arithprobe.plotting.sheets import panels_below_a_title
from arithprobe.plotting.style import SMALL, new_figure
from arithprobe.plotting.titles import set_title

_WIDE, _NARROW = 9.4, 7.0  # of figures with more than two panels a line, and of others, inches
_BESIDE = 1.3  # width of labels and colour bar
_TITLE = 1.0  # height of the title
_LETTER, _ROLE = 0.12, 0.125  # room for one letter of the smallest size, and for a role beside the next
_MANY = 14  # roles; beyond, their names need wide panels
_ALONE = 36  # roles; beyond, only one panel a line has room for their names
IN_WORDS: dict[RoleGroup, str] = {
    "x": "digits of x",
    "y": "digits of y",
    "plus": "'+'",
    "mod": "'(mod k)'",
    "others": "others (spaces, '=', '?')",
}
"""The groups, as figures name them."""
_TICKS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # of attention


def attention_maps(text: str, patterns: Tensor, row: int, behaviour: Behaviour | None) -> Figure:
    """Attention in one prompt from each character (downwards) to each (to the right), one panel per head.

    The colour scale is fixed at 0 to 1 and drawn by square roots, so that values near uniform attention are visible.

    Args:
        text: The prompt, T characters.
        patterns: (L, H, T, T) attention from query to key.
        row: Its row, for the title.
        behaviour: The model's behaviour, for the title.
    """
    layers, heads, length = patterns.shape[:3]
    wraps = math.ceil(heads / _a_line(4, length * _LETTER))
    columns = math.ceil(heads / wraps)
    figure, strip, grid = _square_panels(layers * wraps, columns, length * _LETTER, between=0.45)
    letters = ["␣" if letter == " " else letter for letter in text]
    shown: list[Axes] = []
    for layer in range(layers):
        free = [panel for line in grid[layer * wraps : (layer + 1) * wraps] for panel in line[:columns]]
        for head, panel in enumerate(free[:heads]):
            image = heat(panel, patterns[layer, head], gamma=0.5)
            panel.set_title(head_name(layer, head), fontsize=SMALL, pad=3)
            shown.append(panel)
    _name_ticks(shown[0], letters, letters)
    for panel in shown:
        panel.tick_params(axis="both", length=0, pad=2)
    name_axes(grid, shown, "to character (key)", "from character (query)")
    bar = figure.colorbar(image, ax=shown, fraction=0.025, aspect=35)
    _name_bar(bar, f"attention (arrow: uniform, 1/{length})", 1 / length)
    set_title(strip, f"Which characters look at which in '{text}'? Attention in row {row}", behaviour)
    return figure


def role_grid(statistics: HeadStatistics, layer: int, behaviour: Behaviour | None) -> Figure:
    """Mean attention from role to role for each head of a layer, with uniform attention in the last panel.

    The colour scale is that of :func:`attention_maps`.

    Args:
        statistics: Means over rows.
        layer: The layer.
        behaviour: The model's behaviour, for the title.
    """
    heads, roles = statistics.role_mass.shape[1], statistics.roles
    columns = min(_a_line(2 if len(roles) > _MANY else 3, len(roles) * _ROLE), heads + 1)
    lines = math.ceil((heads + 1) / columns)
    figure, strip, grid = _square_panels(lines, columns, len(roles) * _ROLE, between=0.3)
    shown = [panel for line in grid for panel in line[:columns]][: heads + 1]
    matrices = [*statistics.role_mass[layer], statistics.uniform_role_mass]
    names = [*(head_name(layer, head) for head in range(heads)), "uniform attention"]
    for panel, matrix, name in zip(shown, matrices, names, strict=True):
        image = heat(panel, matrix, gamma=0.5)
        panel.set_title(name, fontsize=SMALL, pad=3)
    _name_ticks(shown[0], roles, roles, rotation=90)
    for panel in shown:
        panel.tick_params(axis="both", length=2, labelbottom=panel in lowest(grid, shown))
    name_axes(grid, shown, "to role (key)", "from role (query)")
    bar = figure.colorbar(image, ax=shown, fraction=0.025, aspect=35)
    uniform = float(statistics.uniform_role_mass.nanmean())
    _name_bar(bar, f"mean attention (arrow: uniform, on average {uniform:.3f})", uniform)
    set_title(
        strip,
        f"Which tokens look at which in layer {layer}? Attention by role, mean over {statistics.n} rows",
        behaviour,
    )
    return figure


def last_token_roles(statistics: HeadStatistics, behaviour: Behaviour | None) -> Figure:
    """Attention of each head from the last token (a line) to each role (to the right), in percent.

    The last line is uniform attention. The colour scale is fixed at 0 to 1, and drawn by square roots.

    Args:
        statistics: Means over rows.
        behaviour: The model's behaviour, for the title.
    """
    layers, heads, roles = statistics.last_role_mass.shape
    table = torch.cat([statistics.last_role_mass.flatten(0, 1), statistics.uniform_last_role_mass[None]])
    figure = new_figure(9.4, 0.24 * len(table) + 1.9)
    panel = figure.add_subplot()
    annotate(panel, heat(panel, table, gamma=0.5), 100 * table, form="{:.0f}".format)
    for layer in range(layers):
        panel.axhline((layer + 1) * heads - 0.5, color="white", linewidth=1.5)
    upright = max(len(role) for role in statistics.roles) > 6
    panel.set_xticks(range(roles), statistics.roles, rotation=90 if upright else 0)
    panel.set_yticks(range(len(table)), [*head_names(layers, heads), "uniform"])
    panel.tick_params(length=2)
    panel.set_xlabel("to role (key)")
    panel.set_ylabel("head")
    text = f"What do heads look at from the last token? Attention in percent, mean over {statistics.n} rows"
    set_title(panel, text, behaviour)
    return figure


def role_sweeps(statistics: HeadStatistics, behaviour: Behaviour | None) -> Figure:
    """Attention of every head (downwards) to each group of characters (a panel), by the query position.

    The mean is shown below the heads of a layer, and uniform attention below all layers.

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
        for name in [*(head_name(layer, head) for head in range(heads)), f"L{layer} mean"]
    ]
    groups = statistics.groups_present
    columns = 2 if len(statistics.roles) <= _ALONE else 1
    lines = math.ceil(len(groups) / columns)
    height = max(0.15 * len(table), 0.9) + 0.25
    figure = new_figure(9.4, lines * height + 2.1)
    strip, grid = panels_below_a_title(figure, lines, columns)
    shown = [panel for line in grid for panel in line][: len(groups)]
    for panel, group in zip(shown, groups, strict=True):
        image = heat(panel, table[..., GROUPS.index(group)])
        for layer in range(layers):
            panel.axhline((layer + 1) * (heads + 1) - 0.5, color="white", linewidth=1.5)
        panel.set_title(f"attention to {IN_WORDS[group]}", fontsize=SMALL, pad=3)
        panel.tick_params(
            axis="x", labelrotation=90, labelsize=SMALL, length=2, labelbottom=panel in lowest(grid, shown)
        )
        panel.tick_params(axis="y", labelsize=SMALL, length=2)
    shown[0].set_xticks(range(len(statistics.roles)), statistics.roles)
    shown[0].set_yticks(range(len(table)), [*names, "uniform"])
    name_axes(grid, shown, "from role (query)", "head")
    bar = figure.colorbar(image, ax=shown, fraction=0.025, aspect=35)
    bar.set_label("attention to the group")
    text = f"From where do heads look at each group of characters? Mean over {statistics.n} rows"
    set_title(strip, text, behaviour)
    return figure


def _a_line(most: int, room: float) -> int:
    """How many panels a line has that need so many inches each."""
    return min(max(int((_WIDE - _BESIDE) / room), 1), most)


def _square_panels(lines: int, columns: int, room: float, between: float) -> tuple[Figure, Axes, list[list[Axes]]]:
    """A figure, its strip for the title, and a grid of panels about as wide as high; two a line if they fit."""
    columns = max(columns, _a_line(2, room))
    width = _WIDE if columns > 2 or columns * room > _NARROW - _BESIDE else _NARROW
    height = (width - _BESIDE) / columns + between
    figure = new_figure(width, lines * height + _TITLE)
    return figure, *panels_below_a_title(figure, lines, columns)


def _name_ticks(panel: Axes, across: Sequence[str], down: Sequence[str], rotation: int = 0) -> None:
    """Of panels that share their axes: one stands for all, but each has its own letters."""
    panel.set_xticks(range(len(across)), across)
    panel.set_yticks(range(len(down)), down)
    figure = panel.get_figure(root=True)
    for one in [] if figure is None else figure.axes:
        one.tick_params(axis="x", labelsize=SMALL, labelrotation=rotation)
        one.tick_params(axis="y", labelsize=SMALL)


def _name_bar(bar: Colorbar, label: str, uniform: float) -> None:
    bar.set_ticks(_TICKS, labels=[f"{tick:g}" for tick in _TICKS], fontsize=SMALL)
    bar.set_label(label)
    mark_uniform(bar, uniform)
