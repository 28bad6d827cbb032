"""Colours of the heatmaps, for pages that draw their own."""

from matplotlib import colormaps
from matplotlib.colors import to_hex


def colour_scale(n: int, name: str = "viridis") -> list[str]:
    """Return colours from the lowest to the highest value.

    >>> colour_scale(2)
    ['#440154', '#fde725']

    Args:
        n: The number of colours, two or more.
        name: Name of the scale.
    """
    return [to_hex(colormaps[name](at / (n - 1))) for at in range(n)]
