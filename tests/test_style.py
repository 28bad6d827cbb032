"""All figures have one look: no windows, colours that the colour-blind tell apart, and SVG that any page can show."""

import ast
import importlib
import inspect
import itertools
import pkgutil
import typing
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib import rcParams
from matplotlib.colors import to_rgb as colour_of
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from test_heatmap import figure_of
from test_intervention_figures import FAILED, LEARNED, LEDGER, TESTS, curve, patched, swap

from arithprobe import plotting
from arithprobe.plotting import style
from arithprobe.plotting.ablations import ablation_against_random
from arithprobe.plotting.ladder import ladder_chart
from arithprobe.plotting.ledger import decodable_against_used
from arithprobe.plotting.panels import annotate, heat
from arithprobe.plotting.patching import interchange_chart, patching_heatmap, symmetry_chart
from arithprobe.plotting.render import to_png, to_rgb, to_svg
from arithprobe.plotting.spectrum import PlaneLosses, plane_losses
from arithprobe.plotting.steering import empty_figure, steering_curves
from arithprobe.plotting.titles import set_title

pytestmark = pytest.mark.slow(seconds=0.2)

NAN = float("nan")
MODULES = [f"arithprobe.plotting.{one.name}" for one in pkgutil.iter_modules(plotting.__path__)]
PLANES = PlaneLosses("final", (1, 2), (1,), (5.0, 0.1), (0.1, 0.2), {"intact": 0.1, "without": 9.0, "only": 0.5})
FIGURES = {
    "heatmap": lambda: figure_of([[0.9, 0.04], [-20.0, NAN]], 0.05, FAILED),
    "patching": lambda: patching_heatmap(patched(), LEARNED),
    "used": lambda: decodable_against_used(LEDGER[:2], FAILED),
    "random": lambda: ablation_against_random(LEDGER[:1], LEARNED),
    "steering": lambda: steering_curves([curve()], LEARNED),
    "interchange": lambda: interchange_chart([("embed", "x", swap())], None),
    "symmetry": lambda: symmetry_chart(TESTS[:1], LEARNED),
    "planes": lambda: plane_losses([PLANES], LEARNED),
    "ladder": lambda: ladder_chart([("sum at final", [("decodable", "holds", "R2 0.9")])], ["decodable", "used"], None),
    "empty": lambda: empty_figure("Nothing", "nothing to see", None),
}
# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
APART = 10.0  # CIE76; about 2.3 is just seen side by side


def linear(colour):
    part = np.array(colour_of(colour))
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE L*a*b* of linear RGB, white D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = to_xyz @ np.clip(rgb, 0, 1) / to_xyz.sum(axis=1)
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distance(one, other, blindness):
    seen = (lab(BLINDNESS[blindness] @ linear(colour)) for colour in (one, other))
    return float(np.linalg.norm(np.subtract(*seen)))


def figure_functions():
    """The public functions of all modules that return a figure, perhaps."""
    for name in MODULES:
        module = importlib.import_module(name)
        for function in vars(module).values():
            if inspect.isfunction(function) and function.__module__ == name and not function.__name__.startswith("_"):
                kinds = typing.get_type_hints(function).get("return")
                if Figure in (kinds, *typing.get_args(kinds)):
                    yield function


def cells(figure):
    """The letters on heatmaps and on coloured cells, with the value below them where there is one."""
    for axes in figure.axes:
        image = next((one for one in axes.get_children() if isinstance(one, AxesImage)), None)
        for text in axes.texts if image is not None else ():
            column, row = (round(part) for part in text.get_position())
            yield text, image.to_rgba(image.get_array())[row, column]


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_the_colours_of_curves_are_told_apart(blindness):
    for one, other in itertools.combinations((*style.CYCLE, style.LIGHT), 2):
        assert distance(one, other, blindness) > APART, (one, other)


@pytest.mark.parametrize("blindness", ["protanopia", "deuteranopia"])
def test_the_measure_of_colours_fails_red_and_green(blindness):
    """The control: a red and a green that are as bright, and that everybody else tells apart."""
    pair = {"protanopia": ("#e00000", "#5a5200"), "deuteranopia": ("#c04000", "#7c7000")}[blindness]
    assert distance(*pair, "none") > 3 * APART > APART > distance(*pair, blindness)
    assert distance("white", "black", blindness) == pytest.approx(100, abs=0.5)


def test_every_figure_is_a_function_of_values_with_a_docstring():
    found = list(figure_functions())
    assert len({function.__name__ for function in found}) == len(found) > 25
    for function in found:
        assert function.__doc__ and "Args" in function.__doc__, function


@pytest.mark.parametrize("name", MODULES)
def test_no_module_opens_windows_or_has_a_palette_of_its_own(name):
    source = inspect.getsource(importlib.import_module(name))
    tree = ast.parse(source)
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
    ]
    assert not any("pyplot" in one or "pylab" in one for one in imported)
    called = [node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    assert name.endswith(".style") or "Figure" not in called, "new_figure has the layout and the resolution"
    assert name.endswith(".style") or not any(colour in source for colour in style.CYCLE)


@pytest.mark.parametrize("name", ["heatmap", "used"])
def test_svg_is_the_same_each_time_also_after_pixels(name):
    figure, again = FIGURES[name](), FIGURES[name]()
    before = dict(rcParams)
    pixels, text = to_rgb(figure), to_svg(figure)
    assert text == to_svg(figure) == to_svg(again)
    assert np.array_equal(to_rgb(figure), pixels) and to_png(pixels) == to_png(to_rgb(again))
    assert pixels.shape == (*(style.DPI * figure.get_size_inches()[::-1]).astype(int), 3)
    assert dict(rcParams) == before
    assert text != to_svg(empty_figure("Another", "figure", None))  # the control


@pytest.mark.parametrize("name", ["patching", "interchange", "planes", "ladder"])
def test_svg_fits_any_page(name):
    figure = FIGURES[name]()
    text = to_svg(figure)
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    width, height = (float(root.get(side).removesuffix("pt")) for side in ("width", "height"))
    assert (width, height) == pytest.approx(tuple(72 * figure.get_size_inches()))
    names = [one.get("id") for one in root.iter() if one.get("id")]
    assert len(set(names)) == len(names)
    tags = {one.tag.rsplit("}", 1)[-1].lower() for one in root.iter()}
    assert "date" not in tags and "text" in tags, "letters are letters, which can be found"
    assert "Verdana" in root.get("font-family") and text.count("font-family") == 1, "of the widths of the layout"
    patches = {one.get("id"): one[0].get("style") for one in root.iter() if (one.get("id") or "").startswith("patch_")}
    assert patches["patch_1"] == "fill: none", "a background of its own"


@pytest.mark.parametrize("name", ["heatmap", "patching"])
def test_letters_on_cells_are_seen_and_never_pure_black(name):
    found = list(cells(FIGURES[name]()))
    assert found
    for text, (*behind, alpha) in found:
        assert colour_of(text.get_color()) != (0, 0, 0)
        if alpha:
            assert abs(np.subtract(colour_of(text.get_color()), behind) @ (0.299, 0.587, 0.114)) > 0.3
        else:
            assert text.get_color() == style.GREY, "on no cell: any page may be behind"
    assert f"fill: {style.INK}" in to_svg(FIGURES[name]())


def test_letters_on_a_value_are_dark_only_where_the_cell_is_bright():
    panel = style.new_figure(3, 1).add_subplot()
    values = torch.tensor([[0.0, 1.0, 7.0, NAN]])
    annotate(panel, heat(panel, values), values)
    assert [text.get_color() for text in panel.texts] == ["white", style.INK, style.INK]


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_tidy(name):
    figure = FIGURES[name]()
    assert figure.dpi == style.DPI
    for axes in figure.axes:
        assert not any(axes.spines[side].get_visible() for side in ("top", "right"))
        assert {axes.xaxis.label.get_fontsize(), axes.yaxis.label.get_fontsize()} == {style.LABEL}
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    assert not any(one.get_frame_on() for one in legends if one is not None)


def test_a_figure_that_is_not_tidied_has_boxes():
    """The control: what Matplotlib draws by itself."""
    figure = style.new_figure(3, 2)
    axes = figure.add_subplot()
    axes.plot([0, 1], label="curve")
    assert axes.legend().get_frame_on() and axes.spines["top"].get_visible()
    set_title(axes, "Curve", FAILED)
    assert not axes.get_legend().get_frame_on() and not axes.spines["top"].get_visible()
    assert axes._left_title.get_color() == style.WARNING
