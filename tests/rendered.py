"""Figures that several test files draw and read."""

import warnings

from arithprobe.plotting.render import to_rgb


def rendered(figure):
    """The figure, drawn; a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert to_rgb(figure).std() > 0
    return figure


def title_of(figure):
    """The title that has the verdict."""
    return next(axes._left_title for axes in figure.axes if "Model" in axes.get_title(loc="left"))
