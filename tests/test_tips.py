"""A figure's SVG carries what it shows: each cell, point and bar with its names and its value, where it is drawn."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from test_heatmap import figure_of

from arithprobe.plotting.panels import heat
from arithprobe.plotting.render import to_svg
from arithprobe.plotting.style import new_figure
from arithprobe.plotting.tips import set_tips, tips_of

NAN = float("nan")
SVG = "{http://www.w3.org/2000/svg}"


def panel_of(draw):
    """A figure with one panel, laid out."""
    figure = new_figure(4, 3)
    draw(figure.add_subplot())
    to_svg(figure)
    return figure


def test_every_cell_of_a_map_has_its_names_and_its_value_also_beyond_the_scale():
    values = torch.tensor([[0.5, -3.0], [NAN, 7.0]])

    def draw(panel):
        panel.get_figure().colorbar(heat(panel, values, lowest_first=True), label="held-out R2 (of 1)")
        panel.set_xticks(range(2), ["last\n396", "x100\n390"])
        panel.set_yticks(range(2), ["embed", "final"])

    (area,) = tips_of(panel_of(draw))
    assert (area["rows"], area["columns"], area["name"]) == (["embed", "final"], ["last", "x100"], "held-out R2")
    assert area["words"] == [["0.5", "-3"], ["-", "7"]]
    assert area["x"] == sorted(area["x"]) and area["y"] == sorted(area["y"], reverse=True)  # the first row is below


def test_the_places_are_those_of_the_picture():
    """A bar is where the SVG has its rectangle."""
    figure = panel_of(lambda panel: panel.bar([0, 1], [2.0, 5.0], label="cost"))
    (area,) = tips_of(figure)
    paths = [one for one in ElementTree.fromstring(to_svg(figure)).iter(f"{SVG}path") if one.get("clip-path")]
    drawn = [one.get("d").replace("z", "").replace("M", "L").split("L")[1:] for one in paths]
    for box, path in zip(area["boxes"], drawn, strict=True):
        corners = np.array([[float(part) for part in point.split()] for point in path])
        assert box == pytest.approx([*corners.min(axis=0), *corners.max(axis=0)], abs=0.1)
    assert area["name"] == "cost" and [one.split()[-1] for one in area["words"]] == ["2", "5"]


def test_a_point_has_the_names_of_its_axes_and_its_interval():
    def draw(panel):
        panel.errorbar([0, 1], [0.5, 0.75], yerr=[[0.1, 0.25], [0.2, 0.0]], fmt="o", label="mean")
        panel.set_xticks(range(2), ["embed", "final"])
        panel.set_ylabel("held-out R2\n(log)")
        panel.axhline(0.5)  # no point of a curve
        panel.plot([0, 1], [0, 1], "-")  # nor the ends of a line
        panel.plot([0.0], [0.5], "x", label="the same place")

    (area,) = tips_of(panel_of(draw))
    assert area["name"] == "mean"
    assert area["words"] == ["embed, held-out R2 0.5 [0.4, 0.7]", "final, held-out R2 0.75 [0.5, 0.75]"]


@pytest.mark.parametrize(
    ("at", "names", "found"),
    [
        ([0, 1], ["10", "50"], ["d 10", "d 50"]),  # places of things that have numbers
        ([0, 1], ["0", "1"], ["d 0", "d 1.25"]),  # an axis of numbers
        ([0, 3], ["0.5", "0.9"], ["d 0.5", ""]),  # places that are not even: between them nobody knows
        ([0, 1], ["embed", "final"], ["embed", "final"]),
    ],
)
def test_a_number_that_the_axis_does_not_say_is_not_said(at, names, found):
    def draw(panel):
        panel.plot([0, 1.25], [1, 2], "o")
        panel.set_xticks(at, names)
        panel.set(xlabel="d", ylabel="up")

    (area,) = tips_of(panel_of(draw))
    assert area["words"] == [
        ", ".join(filter(None, (name, f"up {up}"))) for name, up in zip(found, (1, 2), strict=True)
    ]


def test_a_figure_says_more_than_it_draws_where_it_was_told_to():
    (area,) = tips_of(figure_of([[0.9, 0.04], [-20.0, NAN]], 0.05))
    assert area["words"] == [
        ["0.9000 (null 0.050, 100 rows)", "0.0400 (null 0.050, 100 rows)"],
        ["-20.0000 (null 0.050, 100 rows)", "-"],
    ]
    figure = panel_of(lambda panel: set_tips(panel.plot([0, 1], [0, 1], "o")[0], ["a", "b"], name="mine"))
    (area,) = tips_of(figure)
    assert (area["name"], area["words"]) == ("mine", ["a", "b"])


def test_clouds_that_nobody_can_point_into_carry_nothing():
    def cloud(n):
        return tips_of(panel_of(lambda panel: panel.scatter(np.linspace(0, 1, n), np.linspace(0, 1, n))))

    assert cloud(301) == [] and len(cloud(300)[0]["words"]) > 100


def test_words_that_look_like_markup_are_carried_as_words():
    evil = "</metadata><script>&"
    figure = panel_of(lambda panel: panel.plot([0, 1], [0, 1], "o", label=evil))
    (carried,) = (one.text for one in ElementTree.fromstring(to_svg(figure)).iter(f"{SVG}metadata"))
    assert json.loads(carried)[0]["name"] == evil
