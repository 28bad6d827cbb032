"""Figures that several test files draw and read, and how they are left white."""

import contextlib
import warnings
from collections.abc import Iterator
from unittest import mock

from matplotlib.figure import Figure

from arithprobe.plotting.render import to_rgb


@contextlib.contextmanager
def white_figures() -> Iterator[None]:
    """Within the block, figures are made and saved but stay white.

    To lay them out and to draw them takes most of the time; they have tests of their own.
    """
    nothing = mock.patch.object(Figure, "draw", lambda figure, renderer: None)
    with nothing, mock.patch.object(Figure, "get_layout_engine", lambda figure: None):
        yield


def rendered(figure):
    """The figure, drawn; a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert to_rgb(figure).std() > 0
    return figure


def title_of(figure):
    """The title that has the verdict."""
    return next(axes._left_title for axes in figure.axes if "Model" in axes.get_title(loc="left"))
