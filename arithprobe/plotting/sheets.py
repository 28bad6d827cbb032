"""How a figure is laid out: panels below a title, a figure that says why it is empty, and a colour for each site."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from arithprobe.behaviour import Behaviour
from arithprobe.plotting.style import new_figure
from arithprobe.plotting.titles import set_title


def site_colours(sites: Sequence[str]) -> dict[str, str]:
    """A colour for each site, dark to light in the order given; all are seen on white, and on a dark page.

    Args:
        sites: Names, in order of depth; repeats do not count.
    """
    names = list(dict.fromkeys(sites))
    shades = colormaps["viridis"](np.linspace(0.2, 0.9, len(names)))
    return {name: to_hex(shade) for name, shade in zip(names, shades, strict=True)}


def empty_figure(title: str, text: str, behaviour: Behaviour | None) -> Figure:
    """A figure that says why there is nothing to see.

    Args:
        title: What it would show.
        text: Why it does not.
        behaviour: The model's behaviour, for the title.
    """
    figure = new_figure(8.2, 2.4)
    axes = figure.add_subplot()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
    axes.set_axis_off()
    set_title(axes, title, behaviour)
    return figure


def panels_below_a_title(
    figure: Figure, lines: int, columns: int, *, shared: bool = True
) -> tuple[Axes, list[list[Axes]]]:
    """A strip for the title, which spans all columns, and a grid of panels.

    Args:
        figure: The figure, empty so far.
        lines: How many lines of panels.
        columns: How many panels a line.
        shared: Whether the panels share their axes.
    """
    grid = figure.add_gridspec(lines + 1, columns, height_ratios=[1e-3, *[1.0] * lines])
    strip = figure.add_subplot(grid[0, :])
    strip.set_axis_off()
    panels = [[figure.add_subplot(grid[line + 1, column]) for column in range(columns)] for line in range(lines)]
    for line in panels if shared else ():
        for panel in line:
            if panel is not panels[0][0]:
                panel.sharex(panels[0][0])
                panel.sharey(panels[0][0])
            panel.tick_params(labelleft=panel is line[0])
    return strip, panels
