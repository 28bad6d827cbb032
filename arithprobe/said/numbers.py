"""Numbers as people read them; a dash for what is not known."""

import math

_SMALL, _LARGE = 0.005, 1000  # changes of answers that are none; that need no decimals


def number(value: float) -> str:
    """Three decimals, or three digits where it is large.

    >>> number(0.12345), number(1234.5), number(float("nan"))
    ('0.123', '1.23e+03', '-')
    """
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}"


def interval(low: float, high: float) -> str:
    """Both ends of an interval; a dash where there is none.

    >>> interval(0.25, 0.5), interval(float("nan"), float("nan"))
    ('[0.250, 0.500]', '[-]')
    """
    return "[-]" if low != low else f"[{number(low)}, {number(high)}]"


def share(value: float) -> str:
    """A percentage.

    >>> share(0.5), share(-0.001), share(float("nan"))
    ('50%', '0%', '-')
    """
    if math.isnan(value):
        return "-"
    shown = f"{value:.0%}"
    return "0%" if shown == "-0%" else shown


def change(value: float) -> str:
    """With its sign.

    >>> change(12.345), change(-0.5), change(1e-5), change(1234.5)
    ('+12.3', '-0.5', '0', '+1234')
    """
    if math.isnan(value):
        return "-"
    return "0" if abs(value) < _SMALL else f"{value:+.0f}" if abs(value) >= _LARGE else f"{value:+.3g}"
