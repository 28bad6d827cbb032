"""Names of places on the axes of a figure, from ticks or numbers."""

import math
import re
from collections.abc import Sequence

from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator

_BESIDE = re.compile(r"\s*[(;].*", re.DOTALL)


def name_on(axis: Axis, value: float) -> str:
    """Return the name of a place on an axis: that of its tick, or else the axis and the number.

    Args:
        axis: The axis.
        value: The place, in the units of the data.
    """
    label, locator = label_of(axis), axis.get_major_locator()
    if not isinstance(locator, FixedLocator):
        return f"{label} {in_words(value)}".strip()
    at = [float(one) for one in axis.get_majorticklocs()]
    names = [str(one).partition("\n")[0] for one in axis.get_major_formatter().format_ticks(at)]
    if any(_number(name) is None for name in names if name):  # words, each at the middle of what it names
        return _nearest(names, at, value, 0.5)
    if axis.get_scale() == "linear" and any(_number(name) != one for name, one in zip(names, at, strict=True) if name):
        is_counted = at == list(range(len(at)))  # places of things that have numbers
        name = _nearest(names, at, value, 0.5 if is_counted else 1e-9)
        return f"{label} {name}".strip() if name else ""  # elsewhere nobody knows the number
    return f"{label} {in_words(value)}".strip()


def _nearest(names: Sequence[str], at: Sequence[float], value: float, reach: float) -> str:
    """The name of the nearest tick; empty where none is within reach."""
    nearest = min(range(len(at)), key=lambda index: abs(at[index] - value), default=None)
    return "" if nearest is None or abs(at[nearest] - value) > reach else names[nearest]


def label_of(axis: Axis) -> str:
    """Return the label of an axis, from its own panel or another panel that shares it.

    Args:
        axis: The axis.
    """
    axes = axis.axes
    is_across = axis is axes.xaxis
    shared = (axes.get_shared_x_axes() if is_across else axes.get_shared_y_axes()).get_siblings(axes)
    every = [axes, *(one for one in shared if one is not axes)]
    labels = (one.get_xlabel() if is_across else one.get_ylabel() for one in every)
    return next((cleaned for label in labels if (cleaned := one_line(label))), "")


def one_line(label: str) -> str:
    """Return a label in one line, without any part in brackets or after a semicolon.

    >>> one_line("loss (log; answer units)")
    'loss'

    Args:
        label: The label of an axis or a curve.
    """
    return _BESIDE.sub("", " ".join(label.split()))


def _number(name: str) -> float | None:
    """The number that a tick says; None of one that says a word."""
    try:
        return float(name.lstrip("<>=≤≥ ").replace("\N{MINUS SIGN}", "-"))
    except ValueError:
        return None


def in_words(value: object) -> str:
    """Return a word as it is, a number in four digits, and a dash for NaN.

    >>> in_words("above"), in_words(0.98765), in_words(float("nan"))
    ('above', '0.9877', '-')

    Args:
        value: A word or a number.
    """
    if isinstance(value, str):
        return str(value)
    number = float(value) + 0.0  # type: ignore[arg-type]  # no -0
    return f"{number:.4g}" if math.isfinite(number) else "-"
