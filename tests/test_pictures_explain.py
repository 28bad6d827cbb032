"""Every picture can be read by itself: named axes that say their scale, letters of a size, no label over another."""

import itertools

import numpy as np
import pytest
import test_intervention_figures as interventions
import test_report_figures as reports
import test_style as others
from made_up_results import circle
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from rendered import rendered

from arithprobe.plotting.frequencies import frequency_step_map, small_periods
from arithprobe.plotting.r2 import HIGHEST, SCALE, place, r2_axis, r2_bar, r2_heat, r2_text
from arithprobe.plotting.render import thumbnail
from arithprobe.plotting.style import SMALL, new_figure
from arithprobe.probes.circles import best_periods
from arithprobe.problems.circles import Circle

pytestmark = pytest.mark.slow(seconds=0.2)

SEEN = {
    **others.FIGURES,
    **{f"intervene {name}": draw for name, draw in interventions.FIGURES.items() if "," not in name},
    **{f"report {name}": draw for name, draw in reports.FIGURES.items() if "," not in name or "one" in name},
}
"""Those of heads have tests of their own."""


def figure_named(name):
    return SEEN[name]() if name in others.FIGURES else SEEN[name](others.LEARNED)


def shown(figure: Figure) -> list[Text]:
    """The texts that are seen."""
    every = [one for one in figure.findobj(Text) if one.get_visible() and one.get_text().strip()]
    return [one for one in every if all(parent.get_visible() for parent in [one.axes] if parent is not None)]


def ticks_of(axes):
    """Labels of ticks within the axes, by axis."""
    low, high = sorted(axes.get_xlim())
    across = [one for one in axes.get_xticklabels() if low <= one.get_position()[0] <= high]
    low, high = sorted(axes.get_ylim())
    upwards = [one for one in axes.get_yticklabels() if low <= one.get_position()[1] <= high]
    return [[one for one in side if one.get_visible() and one.get_text().strip()] for side in (across, upwards)]


def overlap(one, other):
    """By how many pixels, both ways."""
    first, second = one.get_window_extent(), other.get_window_extent()
    return min(min(first.x1, second.x1) - max(first.x0, second.x0), min(first.y1, second.y1) - max(first.y0, second.y0))


@pytest.mark.parametrize("name", SEEN)
def test_no_letter_is_too_small_and_no_two_labels_of_an_axis_overlap(name):
    figure = rendered(figure_named(name))
    assert min(text.get_fontsize() for text in shown(figure)) >= SMALL
    for axes in figure.axes:
        if axes.axison and axes.get_visible():
            for side in ticks_of(axes):
                assert all(overlap(*pair) <= 2 for pair in itertools.pairwise(side)), [one.get_text() for one in side]


@pytest.mark.parametrize("name", SEEN)
def test_an_axis_or_colour_bar_of_an_r2_says_its_scale(name):
    figure = figure_named(name)
    for axes in figure.axes:
        for label in (axes.get_xlabel(), axes.get_ylabel()):
            if "R2" in label:
                assert SCALE in " ".join(label.split())


def test_two_labels_on_one_another_are_seen():
    """The control."""
    axes = new_figure(3, 2).add_subplot()
    axes.set_xticks([0.0, 0.01], ["first", "second"])
    rendered(axes.figure)
    first, second = ticks_of(axes)[0]
    assert overlap(first, second) > 2 and not isinstance(first, Annotation)


def test_the_scale_parts_scores_near_1_and_is_straight_below():
    near = place([0.982, 0.999])
    whole = float(place(HIGHEST) - place(0.0))
    assert (near[1] - near[0]) / whole > 0.15 > 5 * (0.999 - 0.982)
    below = place(np.linspace(-0.5, 0.9, 8))
    assert np.diff(below) == pytest.approx(np.diff(below)[0])
    before, at, after = place([0.9 - 1e-6, 0.9, 0.9 + 1e-6])
    assert at - before == pytest.approx(after - at, rel=1e-3), "no kink"
    assert np.isfinite(place([1.0, 1.5])).all() and np.isnan(place(np.nan))


def test_an_axis_has_the_numbers_of_the_scale_where_the_scores_stand():
    panel = new_figure(4, 3).add_subplot()
    r2_axis(panel, "held-out R2", -0.1)
    labels = {one.get_text(): one.get_position()[1] for one in panel.get_yticklabels()}
    assert labels["0.9"] == 0.9 and labels["0.999"] == 0.999 and labels["0"] == 0
    pixels = panel.transData.transform([(0, 0.982), (0, 0.999), (0, 0.0), (0, 0.017)])[:, 1]
    assert pixels[1] - pixels[0] > 3 * (pixels[3] - pixels[2])


def test_a_null_and_a_score_below_0_still_show():
    panel = new_figure(4, 2).add_subplot()
    image = r2_heat(panel, [[-0.3, 0.05, np.nan]])
    bar = r2_bar(panel, image, "held-out R2")
    assert image.norm(0.05) > image.norm(0.0) == 0
    assert image.to_rgba(image.get_array())[0, 2, 3] == 0, "no colour"
    assert [one.get_text() for one in bar.ax.get_yticklabels()][:2] == ["0", "0.3"]
    assert r2_text(-0.3) == "-.300"


def test_no_picture_of_one_purple_box():
    """Where no frequency was ever above its null, it says so; the control has a map."""
    nothing = circle(r2=(-0.01, -0.02, -0.01), p=(0.9, 0.9, 0.9))
    figure = frequency_step_map([10, 20], [nothing] * 2, "final", others.LEARNED)
    assert not any(axes.images for axes in figure.axes)
    (text,) = figure.axes[0].texts
    assert "None of them is above its null at any of 2 validations" in text.get_text() and "-.010" in text.get_text()
    assert any(axes.images for axes in frequency_step_map([10, 20], [circle()] * 2, "final", others.LEARNED).axes)


def test_frequencies_never_above_their_null_are_counted_and_not_drawn():
    found = circle((0.9, -0.1, -0.1, -0.1), (0.01, 0.9, 0.9, 0.9), (5.0, 0.0, 0.0, 0.0))
    axes = frequency_step_map([10, 20], [found] * 2, "final", others.LEARNED).axes[0]
    assert [one.get_text() for one in axes.get_yticklabels()] == ["1", "2"]  # and one beside
    assert "2 further frequencies never above" in " ".join(axes.get_title(loc="left").split())


def test_frequencies_of_one_validation_are_a_spectrum_and_no_column():
    figure = frequency_step_map([10], [circle()], "final", others.LEARNED)
    assert not any(axes.images for axes in figure.axes) and "frequency n" in figure.axes[1].get_xlabel()


def test_no_stroke_lies_over_a_number_of_the_small_periods():
    found = best_periods([circle(period=5, r2=(0.8, 0.3)[:2], p=(0.01, 0.9), lead=(5.0, 0.0))], "final")
    failed = [one._replace(circle=Circle("x", 5, (1, 2)), p=0.9, r2=0.01) for one in found]
    axes = small_periods([*found, *failed], "final", others.LEARNED).axes[0]
    assert not axes.lines
    assert [one.get_text().splitlines()[0] for one in axes.texts] == [".800", ".010"]
    assert [bool(one) for one in np.ma.getmaskarray(axes.images[0].get_array())[:, 0]] == [False, True]


def test_a_thumbnail_says_the_finding_in_letters_that_are_left_at_a_third_of_the_width():
    """The control: the letters of the figure itself, which are gone there."""
    pixels = np.full((300, 980, 3), 255, dtype=np.uint8)
    shown = thumbnail(pixels, "NOT LEARNED. The best cell is final at last, held-out R2 0.92, above its null.")
    head = shown[: len(shown) - len(pixels)]
    assert shown.shape[1] == 980 and np.array_equal(shown[-300:], pixels) and 60 < len(head) < 200
    small = head[::3, ::3, 0]  # as a browser shows it
    assert 0.02 < (small < 128).mean() < 0.3
    assert len(thumbnail(pixels, "word " * 400)) - 300 < 250  # four lines at most
