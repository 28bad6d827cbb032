"""Pictures of attention patterns: of one prompt by character, and over all rows by role."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from arithprobe.attention.heads import HeadStatistics
from arithprobe.attention.records import head_name
from arithprobe.behaviour import Behaviour
from arithprobe.plotting.steering import panels_below_a_title
from arithprobe.plotting.titles import set_title

_WIDE, _NARROW = 9.4, 7.0  # of figures with more than two panels a line, and of others, inches
_BESIDE = 1.3  # width of labels and colour bar
_TITLE = 1.0  # height of the title
_LETTER, _ROLE = 0.088, 0.11  # room for one letter of the smallest size, and for a role beside the next
_MANY = 14  # roles; beyond, their names need wide panels
_BRIGHT = 0.45  # of a colour: above, letters on it are black
_TICKS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # of attention


def attention_maps(text: str, patterns: Tensor, row: int, behaviour: Behaviour | None) -> Figure:
    """Attention in one prompt from each character (upwards down) to each (to the right), a panel a head.

    The colour scale is fixed at 0 to 1, and drawn by square roots, so that what is near uniform attention is seen too.

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
            panel.set_title(head_name(layer, head), fontsize=8.5, pad=3)
            shown.append(panel)
    size = 8 if length <= 16 else 6.5
    _name_ticks(shown[0], letters, letters, size)
    for panel in shown:
        panel.tick_params(axis="both", length=0, pad=2)
    name_axes(grid, shown, "to character (key)", "from character (query)")
    bar = figure.colorbar(image, ax=shown, fraction=0.025, aspect=35)
    _name_bar(bar, f"attention (arrow: uniform, 1/{length})", 1 / length)
    set_title(strip, f"Attention in row {row}: {text}", behaviour)
    return figure


def role_grid(statistics: HeadStatistics, layer: int, behaviour: Behaviour | None) -> Figure:
    """Mean attention from role to role of each head of a layer, and of uniform attention in the last panel.

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
        panel.set_title(name, fontsize=8.5, pad=3)
    _name_ticks(shown[0], roles, roles, 7, rotation=90)
    for panel in shown:
        panel.tick_params(axis="both", length=2, labelbottom=panel in lowest(grid, shown))
    name_axes(grid, shown, "to role (key)", "from role (query)")
    bar = figure.colorbar(image, ax=shown, fraction=0.025, aspect=35)
    uniform = float(statistics.uniform_entropy.neg().exp())
    _name_bar(bar, f"mean attention (arrow: uniform, {uniform:.3f})", uniform)
    set_title(strip, f"Attention by role in layer {layer}, mean over {statistics.n} rows", behaviour)
    return figure


def heat(
    panel: Axes,
    values: object,
    limits: tuple[float, float] = (0.0, 1.0),
    colours: str = "viridis",
    gamma: float = 1.0,
    lowest_first: bool = False,
) -> AxesImage:
    """Draw a matrix in a fixed colour scale; what is beyond it has the colour of its ends, and NaN none.

    Args:
        panel: Where.
        values: (rows, columns).
        limits: Ends of the scale.
        colours: Its name.
        gamma: Power of the scale: 0.5 is by square roots.
        lowest_first: Row 0 below.
    """
    return panel.imshow(
        np.clip(_array(values), *limits), cmap=colormaps[colours].with_extremes(bad="white"),
        norm=PowerNorm(gamma, *limits), aspect="auto", origin="lower" if lowest_first else "upper",
    )  # fmt: skip


def annotate(panel: Axes, image: AxesImage, values: Tensor, size: float = 7) -> None:
    """Write each value into its cell, in black or white, whichever is seen; nothing for NaN.

    Args:
        panel: Where.
        image: The picture of the values.
        values: (rows, columns).
        size: Of the letters, in points.
    """
    colours = image.to_rgba(np.asarray(image.get_array()))
    for (row, column), value in np.ndenumerate(values.numpy()):
        if not math.isnan(value):
            bright = float(np.dot(colours[row, column, :3], (0.299, 0.587, 0.114))) > _BRIGHT
            ink = "black" if bright else "white"
            panel.text(column, row, _shown(value), ha="center", va="center", fontsize=size, color=ink)


def _shown(value: float) -> str:
    if abs(value) < 0.005:
        return "0"
    return f"{value:.2f}" if abs(value) < 9.95 else f"{value:.0f}" if abs(value) < 99999.5 else f"{value:.0e}"


def mark_uniform(bar: Colorbar, value: float) -> None:
    """An arrow beside a colour bar, where uniform attention is on it."""
    across = bar.ax.get_yaxis_transform()
    bar.ax.plot(
        [-0.35], [value], ">", color="black", markersize=4.5, clip_on=False, transform=across, gid="uniform"
    )  # fmt: skip


def lowest(grid: Sequence[Sequence[Axes]], shown: Sequence[Axes]) -> list[Axes]:
    """The panels to label below: those of the last line, and of the line before where the last is not full.

    Args:
        grid: Panels, line by line.
        shown: Those that are used.
    """
    full = all(panel in shown for panel in grid[-1])
    return [panel for line in grid[-1 if full else -2 :] for panel in line if panel in shown]


def name_axes(grid: Sequence[Sequence[Axes]], shown: Sequence[Axes], across: str, down: str) -> None:
    """Name the axes of panels that share them, and hide the panels that are not used.

    Args:
        grid: Panels, line by line.
        shown: Those that are used.
        across: What is to the right.
        down: What is upwards.
    """
    for panel in lowest(grid, shown):
        panel.set_xlabel(across, fontsize=8.5)
    for line in grid:
        line[0].set_ylabel(down, fontsize=8.5)
    for panel in (panel for line in grid for panel in line if panel not in shown):
        panel.set_axis_off()


def _a_line(most: int, room: float) -> int:
    """How many panels a line has that need so many inches each."""
    return min(max(int((_WIDE - _BESIDE) / room), 1), most)


def _square_panels(lines: int, columns: int, room: float, between: float) -> tuple[Figure, Axes, list[list[Axes]]]:
    """A figure, its strip for the title, and a grid of panels about as wide as high; two a line if they fit."""
    columns = max(columns, _a_line(2, room))
    width = _WIDE if columns > 2 or columns * room > _NARROW - _BESIDE else _NARROW
    height = (width - _BESIDE) / columns + between
    figure = Figure(figsize=(width, lines * height + _TITLE), layout="constrained", dpi=110)
    return figure, *panels_below_a_title(figure, lines, columns)


def _name_ticks(panel: Axes, across: Sequence[str], down: Sequence[str], size: float, rotation: int = 0) -> None:
    """Of panels that share their axes: one stands for all, but each has its own size of letters."""
    panel.set_xticks(range(len(across)), across)
    panel.set_yticks(range(len(down)), down)
    figure = panel.get_figure(root=True)
    for one in [] if figure is None else figure.axes:
        one.tick_params(axis="x", labelsize=size, labelrotation=rotation)
        one.tick_params(axis="y", labelsize=size)


def _name_bar(bar: Colorbar, label: str, uniform: float) -> None:
    bar.set_ticks(_TICKS, labels=[f"{tick:g}" for tick in _TICKS], fontsize=8)
    bar.set_label(label, fontsize=8.5)
    mark_uniform(bar, uniform)


def _array(values: object) -> npt.NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)
