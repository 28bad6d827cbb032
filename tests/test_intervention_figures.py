"""The figures of interventions show what was found, where it was found, and whether the model has learned."""

import functools

import numpy as np
import pytest
from made_up_results import FAILED, LEARNED, NAN, NO_MATCH, change, curve, draws, family, patched, row, swap, unlearned
from rendered import rendered, title_of

from arithprobe.plotting.ablations import ablation_against_random
from arithprobe.plotting.ledger import decodable_against_used
from arithprobe.plotting.patching import interchange_chart, patching_heatmap, symmetry_chart
from arithprobe.plotting.r2 import place
from arithprobe.plotting.render import to_rgb
from arithprobe.plotting.steering import steering_curves

pytestmark = pytest.mark.slow(seconds=0.2)

LEDGER = [
    row("embed", r2=0.2, lost=0.02),
    row("embed", "all", r2=0.2, lost=0.4, families=(family(note=NO_MATCH, p=NAN),)),
    row("final", r2=0.999, lost=5.5, rmse=900.0, near=True),
    row("final", subspace="sum:leace", r2=0.999, lost=-2.0, rmse=-0.3, near=True),
    row("final", "plus", subspace="residue:inlp", r2=-7.0, lost=0.0, rmse=0.0, families=()),
]
TESTS = [change(d=d) for d in (-50, 1)] + [change("x + d, y", 50, -47.0), change("x + k, y", 97)]
FIGURES = {
    "used": lambda behaviour: decodable_against_used(LEDGER, behaviour),
    "used, unlearned": lambda behaviour: decodable_against_used([unlearned(one) for one in LEDGER], behaviour),
    "used, one row": lambda behaviour: decodable_against_used(LEDGER[:1], behaviour),
    "used, NaN": lambda behaviour: decodable_against_used([row(r2=NAN), row(lost=NAN, rmse=NAN)], behaviour),
    "used, no such kind": lambda behaviour: decodable_against_used(LEDGER, behaviour, "zero"),
    "random": lambda behaviour: ablation_against_random(LEDGER, behaviour),
    "random, one row": lambda behaviour: ablation_against_random(LEDGER[:1], behaviour),
    "random, NaN": lambda behaviour: ablation_against_random([row(lost=NAN, rmse=NAN)], behaviour),
    "random, nothing": lambda behaviour: ablation_against_random([row(rmse=0.0, families=())], behaviour),
    "random, no such kind": lambda behaviour: ablation_against_random(LEDGER, behaviour, "zero"),
    "steering": lambda behaviour: steering_curves([curve(), curve("final", "x", ("1", "2"))], behaviour),
    "steering, one": lambda behaviour: steering_curves([curve()], behaviour),
    "steering, nothing": lambda behaviour: steering_curves([], behaviour),
    "steering, no response": lambda behaviour: steering_curves([curve(response=0.0, random=0)], behaviour),
    "steering, NaN": lambda behaviour: steering_curves([curve(response=NAN)], behaviour),
    "patching": lambda behaviour: patching_heatmap(patched(), behaviour),
    "patching, one cell": lambda behaviour: patching_heatmap(patched(((0.5,),)), behaviour),
    "interchange": lambda behaviour: interchange_chart(
        [(site, name, swap()) for site in ("embed", "final") for name in ("x", "y", "sum", "carry1")], behaviour
    ),
    "interchange, one": lambda behaviour: interchange_chart([("embed", "x", swap(random=1))], behaviour),
    "interchange, NaN": lambda behaviour: interchange_chart([("embed", "x", swap(NAN, NAN, NAN, NAN))], behaviour),
    "interchange, none": lambda behaviour: interchange_chart([], behaviour),
    "symmetry": lambda behaviour: symmetry_chart(TESTS, behaviour),
    "symmetry, one": lambda behaviour: symmetry_chart(TESTS[-1:], behaviour),
    "symmetry, NaN": lambda behaviour: symmetry_chart([change(share=NAN, distance=NAN, unrelated=NAN)], behaviour),
    "symmetry, exact": lambda behaviour: symmetry_chart([change(share=0.0, distance=0.0, hidden=0.0)], behaviour),
    "symmetry, constant": lambda behaviour: symmetry_chart([change(distance=0.0, unrelated=0.0)], behaviour),
    "symmetry, none": lambda behaviour: symmetry_chart([], behaviour),
}


@functools.cache
def seen(name):
    """The figure of a model that has not learned, drawn."""
    return rendered(FIGURES[name](FAILED))


def named(axes, name):
    (found,) = [line for line in axes.lines if line.get_gid() == name]
    return found


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def panel_named(figure, words):
    (found,) = [axes for axes in figure.axes if words in f"{axes.get_xlabel()} {axes.get_ylabel()}"]
    return found


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws_without_warnings_and_names_its_axes(name):
    figure = seen(name)
    for axes in figure.axes:
        if axes.axison and axes.has_data():
            named_by_another = any(
                axes.get_shared_y_axes().joined(axes, other) for other in figure.axes if other != axes
            )
            assert axes.get_ylabel() or named_by_another, "an axis without a name"
            assert axes.get_xlabel() or axes.get_label() == "<colorbar>", "an axis without a name"


@pytest.mark.parametrize("name", [*(name for name in FIGURES if "," not in name), "steering, nothing"])
def test_a_model_that_has_not_learned_is_said_in_red(name):
    assert (LEARNED.verdict, FAILED.verdict) == ("LEARNED", "NOT LEARNED")
    failed, good, unknown = map(title_of, (seen(name), FIGURES[name](LEARNED), FIGURES[name](None)))
    assert "NOT LEARNED" in failed.get_text()
    assert failed.get_color() == "firebrick" != good.get_color() == unknown.get_color()
    assert "behaviour unknown" in unknown.get_text()


@pytest.mark.slow
def test_titles_do_not_run_into_the_legend():
    """A title that is wider than its panels would push them aside or be written over."""
    for name in ("used", "used, one row", "random", "interchange", "symmetry"):
        figure = seen(name)
        title = title_of(figure).get_window_extent()
        assert title.x1 <= figure.bbox.x1, name
        for legend in figure.legends:
            assert not title.overlaps(legend.get_window_extent()), name


def test_a_point_stands_at_its_r2_and_its_loss():
    axes = decodable_against_used([row(r2=0.9, lost=0.5), row("final", r2=0.0, lost=0.1)], LEARNED).axes[1]
    first, second = named(axes, "embed@last sum:probe"), named(axes, "final@last sum:probe")
    assert (*first.get_xdata(), *first.get_ydata()) == pytest.approx((float(place(0.9)), 0.5))
    assert (*second.get_xdata(), *second.get_ydata()) == pytest.approx((0.0, 0.1))
    ticks = dict(zip([one.get_text() for one in axes.get_xticklabels()], axes.get_xticks(), strict=True))
    assert ticks["0.9"] == pytest.approx(float(place(0.9))) and ticks["0"] == pytest.approx(0.0)
    assert first.get_color() != second.get_color()


def test_points_of_one_r2_do_not_hide_each_other():
    rows = [row(f"site.{number}", r2=0.99, lost=0.5) for number in range(12)]
    axes = decodable_against_used(rows, LEARNED).axes[1]
    places = np.array([float(named(axes, f"site.{number}@last sum:probe").get_xdata()[0]) for number in range(12)])
    low, high = axes.get_xlim()
    assert np.diff(places).min() > 0.015 * (high - low)
    assert places.mean() == pytest.approx(float(place(0.99))) and low < places.min() and places.max() < high


def test_the_bar_beside_a_point_holds_what_it_is_tested_against():
    rows = [
        row(lost=0.5),
        row("final", families=(family(note=NO_MATCH, p=NAN),)),
        row("mid", families=(family(p=NAN),)),
        row("low", families=(family("isotropic"),)),  # a description
    ]
    axes = decodable_against_used(rows, LEARNED).axes[1]
    (bar,) = axes.collections  # none where they cannot be compared with
    (segment,) = bar.get_segments()
    assert segment[:, 1] == pytest.approx([0.005, 0.195])
    assert segment[:, 0] == pytest.approx(named(axes, "embed@last sum:probe").get_xdata()[0])


def test_points_beyond_the_axis_are_marked_with_their_value():
    figure = decodable_against_used(LEDGER, LEARNED)
    axes = panel_named(figure, "'sum', last token")
    low, high = axes.get_ylim()
    above, below = named(axes, "final@last sum:probe"), named(axes, "final@last sum:leace")
    assert (above.get_marker(), *above.get_ydata()) == ("^", high)
    assert (below.get_marker(), *below.get_ydata()) == ("v", low)
    assert {"5.5", "-2"} <= set(texts(figure))
    assert named(axes, "embed@last sum:probe").get_marker() == "o"
    assert any("beyond the axis" in text.get_text() for text in figure.legends[0].get_texts())


def test_what_is_worse_than_the_axis_of_r2_stands_at_its_end():
    axes = decodable_against_used([row(r2=-70.0), row("final", r2=1.0)], LEARNED).axes[1]
    to_rgb(axes.figure)
    ticks = dict(zip([one.get_text() for one in axes.get_xticklabels()], axes.get_xticks(), strict=True))
    places = [named(axes, f"{site}@last sum:probe").get_xdata()[0] for site in ("embed", "final")]
    assert places == pytest.approx([ticks["≤-0.5"], ticks["≥0.9999"]])


def test_hollow_points_have_only_the_readout_after_them():
    axes = panel_named(decodable_against_used(LEDGER, LEARNED), "'sum', last token")
    assert named(axes, "final@last sum:probe").get_markerfacecolor() == "white"
    assert named(axes, "embed@last sum:probe").get_markerfacecolor() != "white"


def test_without_skill_the_loss_is_in_answer_units():
    plain = decodable_against_used([row(rmse=0.4)], LEARNED).axes[1]
    axes = decodable_against_used([unlearned(row(rmse=0.4))], FAILED).axes[1]
    assert plain.get_ylabel() == "share of the skill lost"
    assert axes.get_ylabel() == "increase of the RMSE (answer units);\nthere is no skill to lose"
    assert named(axes, "embed@last sum:probe").get_ydata()[0] == 0.4


def test_noise_stays_small():
    faint = row(lost=0.001, rmse=0.001, r2=0.001, families=())
    axes = decodable_against_used([faint], LEARNED).axes[1]
    assert axes.get_ylim()[1] >= 0.2 and axes.get_xlim()[1] >= 1  # R2 of 0.9
    axes = decodable_against_used([unlearned(faint)], FAILED).axes[1]
    assert axes.get_ylim()[1] >= 0.2 * FAILED.answer_sd
    (axes,) = steering_curves([curve(response=0.001)], LEARNED).axes
    assert axes.get_ylim()[1] >= 1.0
    axes = interchange_chart([("embed", "x", swap(0.001, 0.001, 0.001))], LEARNED).axes[1]
    assert axes.get_ylim()[1] >= 1.0


def test_an_ablation_stands_in_its_own_row_beside_its_random_subspaces():
    figure = ablation_against_random(LEDGER, LEARNED)
    (axes,) = figure.axes
    own = [line for line in axes.lines if line.get_marker() == "D"]
    assert [(*line.get_xdata(), *line.get_ydata()) for line in own] == [(10, 0), (10, 1), (900, 2), (-0.3, 3), (0, 4)]
    isotropic, matched = [line for line in axes.lines if line.get_marker() == "o"][:2]
    assert isotropic.get_xdata() == pytest.approx(draws(-1.0, 1.0).numpy())
    assert matched.get_xdata() == pytest.approx(draws(0.0, 2.0).numpy())
    assert set(isotropic.get_ydata()) != set(matched.get_ydata())
    assert axes.get_yticklabels()[3].get_text() == "final@last sum:leace (25%)"
    told = "0.050 (25-25 %)"  # none for blind subspaces
    assert texts(figure) == [told, "no match", told, told, "p against\nmatched\n(displaced)"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row is the uppermost


def test_p_values_are_written_row_by_row_only_where_they_differ():
    """24 rows of 0.050 say once what they say: no draw cost as much, and 19 draws cannot say more."""
    several = [row(families=(family(p=p),)) for p in (1 / 21, 0.2, 1 / 21)]
    assert [text.split()[0] for text in texts(ablation_against_random(several, LEARNED))][:3] == [
        "0.048",
        "0.200",
        "0.048",
    ]
    alike = [row(families=(family(p=1 / 21),)) for _ in range(3)]
    assert "0.048" in (said := texts(ablation_against_random(alike, LEARNED)))[-1]
    assert not any("0.048" in text for text in said[:-1])


def test_the_axis_of_ablations_shows_small_and_large_effects():
    (axes,) = ablation_against_random([row(rmse=0.2, families=()), row(rmse=900.0, families=())], LEARNED).axes
    low, small, large, high = (
        axes.transData.transform((value, 0))[0] for value in (axes.get_xlim()[0], 0.2, 900.0, axes.get_xlim()[1])
    )
    assert low < small < large < high and (large - small) / (high - low) > 0.5


def test_why_there_is_no_p():
    notes = {
        NO_MATCH: "no match",
        "the subspaces drawn are mostly this one itself: they overlap by 1": "itself",
        "there is nothing to take out": "no change",
        "it displaces 0.25 of the variance": "all less",
    }
    rows = [row(families=(family(note=note, p=NAN),)) for note in notes]
    *shown, column = texts(ablation_against_random(rows, LEARNED))
    assert [text.split(" (")[0] for text in shown] == list(notes.values()) and column.startswith("p against")


def test_steering_has_a_panel_a_target_and_place_and_a_line_a_site():
    curves = [curve("embed", positions=("1", "2")), curve("final"), curve("final"), curve("final", "x")]
    figure = steering_curves([*curves, curve("final", positions=("2",))], LEARNED)
    headings = ("'sum' moved at the last token", "'sum' moved at every token where", "'x' moved at the last token")
    for axes, heading in zip(figure.axes, headings, strict=True):
        assert heading in axes.get_title(loc="left")
    lines = [[line for line in axes.lines if line.get_marker() == "o"] for axes in figure.axes]
    assert [len(part) for part in lines] == [1, 2, 1]  # the curve given twice is drawn once
    assert lines[0][0].get_ydata() == pytest.approx(0.5 * lines[0][0].get_xdata())
    assert lines[0][0].get_color() == lines[2][0].get_color() != lines[1][0].get_color()


def test_steering_shows_what_is_demanded_and_what_random_patterns_do():
    (axes,) = steering_curves([curve(response=0.9)], LEARNED).axes
    (demanded,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert demanded.get_ydata() == pytest.approx(demanded.get_xdata()) and max(demanded.get_xdata()) == 3
    fan = axes.collections[0].get_paths()[0].vertices
    slope_low, slope_high = np.quantile(draws(-0.1, 0.2).numpy(), [0.025, 0.975])
    at_end = fan[fan[:, 0] == 3, 1]
    assert (at_end.min(), at_end.max()) == pytest.approx((3 * slope_low, 3 * slope_high))
    (site,) = [text.get_text() for text in axes.get_legend().get_texts() if "embed" in text.get_text()]
    assert site.startswith("embed: 0.90 [0.40, 0.60]")


def test_the_patching_map_is_fixed_at_0_to_1_with_the_embedding_below():
    axes, colours = patching_heatmap(patched(), LEARNED).axes
    assert axes.images[0].get_clim() == (0, 1) and axes.images[0].origin == "lower"
    assert [text.get_text() for text in axes.texts] == ["0.50", "-", "-0.04", "12"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["x10\ndigit\n5", "last\n?\n7"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["embed", "final"]
    assert colours.get_ylabel() == "recovered share of the gap (1: all)"


def test_an_interchange_stands_at_its_site_filled_where_it_is_more_than_random():
    swaps = [("embed", "x", swap(0.8)), ("final", "x", swap(0.3, p=0.4)), ("final", "y", swap(0.1))]
    figure = interchange_chart(swaps, LEARNED)
    axes = panel_named(figure, "'x' swapped")
    found = [line for line in axes.lines if line.get_gid() == "subspace"]
    assert [(*line.get_xdata(), *line.get_ydata()) for line in found] == [(0, 0.8), (1, 0.3)]
    assert [line.get_markerfacecolor() == "white" for line in found] == [False, True]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["embed", "final"]
    band = axes.patches[0]
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((-0.095, 0.095))
    (other,) = [line for line in panel_named(figure, "'y'").lines if line.get_gid() == "subspace"]
    assert other.get_xdata()[0] == 1  # its own site, though it is the only one


def test_interchanges_beyond_the_axis_are_marked_with_their_value():
    figure = interchange_chart([("embed", "carry1", swap(-3.0, 2.94, 6.93))], LEARNED)
    axes = panel_named(figure, "carry1")
    low, high = axes.get_ylim()
    arrows = [(line.get_marker(), *line.get_ydata()) for line in axes.lines if line.get_marker() in ("^", "v")]
    assert sorted(marker for marker, _ in arrows) == ["^", "^", "v"]
    assert all(low < value < high for _, value in arrows)
    assert sorted(texts(figure)) == ["-3.0", "2.9", "6.9"]


def test_symmetries_show_response_demand_and_distances():
    figure = symmetry_chart([change(d=-1), change(d=1, distance=4.0), change("x + d, y", 1, 1.0, 0.9)], LEARNED)
    response, distance, hidden = figure.axes
    demanded = [
        line.get_ydata()[0] for line in response.lines if line.get_marker() == "_" and line.get_color() == "black"
    ]
    assert demanded == [0.0, 1.0]
    points = [line.get_ydata()[0] for line in response.lines if line.get_marker() in "os" and len(line.get_xdata())]
    assert points == [0.1, 0.1, 0.9]
    assert [list(line.get_ydata()) for line in distance.lines] == [[3.0], [2.0], [40.0, 40.0]]  # -1 and 1 together
    assert [line.get_label() for line in hidden.lines if line.get_marker() == "o"] == ["final"]  # embed is NaN
    assert hidden.lines[0].get_ydata()[0] == pytest.approx(0.2)


def test_a_shift_the_other_way_round_the_circle_is_demanded_as_such():
    response = symmetry_chart([change("x + d, y", 50, -47.0, -0.9)], LEARNED).axes[0]
    assert response.get_ylim()[0] < -0.94
    (demanded,) = [line for line in response.lines if line.get_label() == "demanded"]
    assert demanded.get_ydata()[0] == pytest.approx(-0.94)
