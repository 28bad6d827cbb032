"""The figures of a report show what they were given, and say whether the model has learned."""

import functools
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from rendered import rendered, title_of

from arithprobe.behaviour import judge_rows
from arithprobe.interventions.invariance import Invariance
from arithprobe.plotting.answers import BINS, parity, residual_histogram, residuals_against_truth
from arithprobe.plotting.invariance import invariance_chart
from arithprobe.plotting.probe_curves import ProbeHistory, probe_curves
from arithprobe.plotting.r2 import HIGHEST
from arithprobe.plotting.render import to_svg
from arithprobe.plotting.training import TrainingCurves, training_curves

pytestmark = pytest.mark.slow(seconds=0.2)

NAN = math.nan
SITES = ("embed@last", "resid_mid.0@last", "resid_post.0@last", "resid_mid.1@last", "resid_post.1@last", "final@last")


def drawn(n, spread=17.0, seed=0):
    """Sums of two numbers, and answers that are off by about as much as the spread."""
    generator = torch.Generator().manual_seed(seed)
    answers = torch.randint(0, 1000, (2, n), generator=generator).sum(dim=0)
    return answers, answers.double() + spread * torch.randn(n, generator=generator).double()


ANSWERS, PREDICTIONS = drawn(300)
RESIDUES = ANSWERS % 97
GUESSED = torch.roll(RESIDUES, 1).double()
LEARNED = judge_rows(ANSWERS.double(), ANSWERS, 999.0)
FAILED = judge_rows(torch.full_like(PREDICTIONS, 990.0), ANSWERS, 999.0)


def column(*values):
    return torch.tensor(values, dtype=torch.float64)


def changed(shifts=(-5, 0, 1), **more):
    k = len(shifts)
    found = {
        "mse": column(900.0, 340.0, 500.0)[:k],
        "out_of_range": (21, 0, 4)[:k],
        "changed_length": (57, 0, 15)[:k],
        "kept": (1941, 2000, 1985)[:k],
        "kept_mse": column(380.0, 340.0, 345.0)[:k],
        "kept_own_mse": column(330.0, 340.0, 339.0)[:k],
        "index": column(0.03, 0.0, 0.012)[:k],
    }
    return Invariance(
        **{"shifts": shifts, "n": 2000, "operands": (0, 999), "circle": None, "own_mse": 340.0, "unrelated": 470.0}
        | found
        | more
    )


def trained(steps=3, losses=6, circle=None, **more):
    at = np.arange(1, steps + 1) * 100.0
    curves = TrainingCurves(
        train_step=np.linspace(10, at[-1], losses).tolist(),
        train_loss=np.geomspace(0.1, 1e-3, losses).tolist(),
        val_step=at.tolist(),
        val_loss=np.geomspace(0.08, 2e-3, steps).tolist(),
        skill=np.linspace(-0.3, 0.9, steps).tolist(),
        exact_match=np.linspace(0.0, 0.5, steps).tolist(),
        circular_error=circle and np.linspace(circle, 1.0, steps).tolist(),
    )
    return curves._replace(**more)


def history(steps=4, sites=SITES, **more):
    score = torch.linspace(-0.02, 0.9, steps * len(sites), dtype=torch.float64).view(steps, len(sites))
    known = {"analysis": "ridge", "target": "sum", "metric": "held-out R2", "note": "Null: permuted labels"}
    return ProbeHistory(
        **known
        | {
            "steps": tuple(range(100, 100 * steps + 1, 100)),
            "sites": sites,
            "score": score,
            "null_high": torch.full_like(score, 0.03),
        }
        | more
    )


FIGURES = {
    "parity": lambda behaviour: parity(ANSWERS, PREDICTIONS, behaviour, constant=999.0),
    "parity, residues": lambda behaviour: parity(RESIDUES, GUESSED, behaviour, 97, 47.0),
    "parity, NaN": lambda behaviour: parity(ANSWERS, PREDICTIONS * NAN, behaviour),
    "parity, one row": lambda behaviour: parity(ANSWERS[:1], PREDICTIONS[:1], behaviour),
    "histogram": lambda behaviour: residual_histogram(ANSWERS, PREDICTIONS, behaviour, constant=999.0),
    "histogram, residues": lambda behaviour: residual_histogram(RESIDUES, GUESSED, behaviour, 97, 47.0),
    "histogram, exact": lambda behaviour: residual_histogram(ANSWERS, ANSWERS.double(), behaviour),
    "histogram, NaN": lambda behaviour: residual_histogram(ANSWERS, PREDICTIONS * NAN, behaviour),
    "residuals": lambda behaviour: residuals_against_truth(ANSWERS, PREDICTIONS, behaviour, constant=999.0),
    "residuals, residues": lambda behaviour: residuals_against_truth(RESIDUES, GUESSED, behaviour, 97, 20.0),
    "residuals, NaN": lambda behaviour: residuals_against_truth(ANSWERS, PREDICTIONS * NAN, behaviour),
    "training": lambda behaviour: training_curves(trained(), behaviour),
    "training, one validation": lambda behaviour: training_curves(trained(1), behaviour),
    "training, long": lambda behaviour: training_curves(trained(30, 1500, 24.0), behaviour),
    "training, nothing": lambda behaviour: training_curves(TrainingCurves([], [], [], [], [], []), behaviour),
    "training, NaN": lambda behaviour: training_curves(trained(val_loss=[NAN] * 3, skill=[NAN] * 3), behaviour),
    "probes": lambda behaviour: probe_curves(history(30), behaviour),
    "probes, one validation": lambda behaviour: probe_curves(history(1), behaviour),
    "probes, one site": lambda behaviour: probe_curves(history(3, SITES[:1]), behaviour),
    "probes, four sites": lambda behaviour: probe_curves(history(3, SITES[:4]), behaviour),
    "probes, NaN": lambda behaviour: probe_curves(
        history(2, score=torch.full((2, 6), NAN), null_high=torch.full((2, 6), NAN)), behaviour
    ),
    "probes, none": lambda behaviour: probe_curves(history(2, ()), behaviour),
    "invariance": lambda behaviour: invariance_chart(changed(), behaviour),
    "invariance, one": lambda behaviour: invariance_chart(changed((1,), circle=97), behaviour),
    "invariance, exact": lambda behaviour: invariance_chart(
        changed(
            mse=column(0.0, 0.0, 0.0),
            kept_mse=column(0.0, 0.0, 0.0),
            kept_own_mse=column(0.0, 0.0, 0.0),
            index=column(0.0, 0.0, 0.0),
            own_mse=0.0,
        ),
        behaviour,
    ),
    "invariance, NaN": lambda behaviour: invariance_chart(
        changed(
            mse=column(NAN, NAN, NAN),
            kept_mse=column(NAN, NAN, NAN),
            kept_own_mse=column(NAN, NAN, NAN),
            index=column(NAN, NAN, NAN),
            unrelated=NAN,
            own_mse=NAN,
        ),
        behaviour,
    ),
}


@functools.cache
def seen(name):
    """The figure of a model that has not learned, drawn."""
    return rendered(FIGURES[name](FAILED))


def panels(figure):
    return [axes for axes in figure.axes if axes.axison]


def named(axes, name):
    (found,) = [one for one in (*axes.lines, *axes.patches, *axes.collections) if one.get_gid() == name]
    return found


def texts(axes):
    return [text.get_text() for text in axes.texts]


def labels(legend):
    return [" ".join(text.get_text().split()) for text in legend.get_texts()]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws_without_warnings_and_names_its_axes(name):
    figure = seen(name)
    for axes in figure.axes:
        if axes.axison and axes.has_data():
            shared = [other for other in figure.axes if other is not axes]
            assert axes.get_ylabel() or any(axes.get_shared_y_axes().joined(axes, other) for other in shared)
            assert axes.get_xlabel() or any(axes.get_shared_x_axes().joined(axes, other) for other in shared)


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_lies_over_anything_else(name):
    figure = seen(name)
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    titles = [axes._left_title for axes in figure.axes if axes.get_title(loc="left")]
    boxes = [one.get_window_extent() for one in (*panels(figure), *legends, *titles)]
    boxes += [one.yaxis.label.get_window_extent() for one in panels(figure) if one.get_ylabel()]
    boxes += [one.xaxis.label.get_window_extent() for one in panels(figure) if one.get_xlabel()]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    width, height = figure.bbox.size
    assert all(min(box.x0, box.y0, width - box.x1, height - box.y1) >= -1 for box in boxes)
    for panel in panels(figure):
        box = panel.get_window_extent()
        ticks = [one.get_window_extent() for one in panel.get_xticklabels() if one.get_text() and one.get_visible()]
        inside = [one for one in ticks if box.x0 <= (one.x0 + one.x1) / 2 <= box.x1]
        assert all(first.x1 < second.x0 for first, second in itertools.pairwise(inside))


@pytest.mark.parametrize("name", [name for name in FIGURES if "," not in name])
def test_a_model_that_has_not_learned_is_said_in_red(name):
    assert (LEARNED.verdict, FAILED.verdict) == ("LEARNED", "NOT LEARNED")
    failed, good, unknown = map(title_of, (seen(name), FIGURES[name](LEARNED), FIGURES[name](None)))
    assert "NOT LEARNED" in failed.get_text()
    assert failed.get_color() == "firebrick" != good.get_color() == unknown.get_color()
    assert "behaviour unknown" in unknown.get_text()


def test_a_point_stands_at_its_answers():
    (axes,) = parity(ANSWERS, PREDICTIONS, LEARNED, constant=999.0).axes
    points = named(axes, "rows").get_offsets()
    assert np.array_equal(points, np.stack([ANSWERS.numpy(), PREDICTIONS.numpy()], axis=1))
    identity = named(axes, "identity")
    assert np.array_equal(identity.get_xdata(), identity.get_ydata())
    assert identity.get_xdata()[0] < ANSWERS.min() and ANSWERS.max() < identity.get_xdata()[1]
    assert set(named(axes, "constant").get_ydata()) == {999.0}
    assert not [line for line in parity(ANSWERS, PREDICTIONS, LEARNED).axes[0].lines if line.get_gid() == "constant"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("right answer (answer units)", "model's answer (answer units)")


def test_residuals_are_prediction_minus_answer():
    (axes,) = residuals_against_truth(ANSWERS, PREDICTIONS, LEARNED, constant=999.0).axes
    points = named(axes, "rows").get_offsets()
    assert points[:, 0].tolist() == ANSWERS.tolist()
    assert np.asarray(points[:, 1]) == pytest.approx((PREDICTIONS - ANSWERS).numpy())
    flat = named(axes, "constant")
    assert flat.get_ydata() == pytest.approx(999.0 - flat.get_xdata())
    low, high = axes.get_ylim()
    assert low == -high and high < 200  # the line of the constant does not make the model's own errors small


def test_residuals_of_residues_go_round_the_circle_and_those_of_numbers_do_not():
    answers, predictions = torch.tensor([0, 96, 50, 0]), column(96.0, 1.0, 47.0, 40.0)
    around, plain = (
        named(residuals_against_truth(answers, predictions, LEARNED, modulus).axes[0], "rows").get_offsets()[:, 1]
        for modulus in (97, None)
    )
    assert around.tolist() == [-1, 2, -3, 40]
    assert plain.tolist() == [96, -95, -3, 40]
    (axes,) = residuals_against_truth(RESIDUES, GUESSED, LEARNED, 97, 20.0).axes
    flat = named(axes, "constant").get_ydata()
    assert np.nanmax(np.abs(flat)) <= 48.5 and np.isnan(flat).sum() == 1  # broken where it comes round
    assert axes.get_ylim() == pytest.approx((-50.44, 50.44))
    assert "round the circle of 97" in axes.get_ylabel()


def test_the_histogram_has_40_bars_that_hold_every_row():
    (axes,) = residual_histogram(ANSWERS, PREDICTIONS, LEARNED, constant=999.0).axes
    counts, edges, _ = named(axes, "model").get_data()
    expected = np.histogram((PREDICTIONS - ANSWERS).numpy(), edges)[0]
    assert len(counts) == BINS == 40 and counts.tolist() == expected.tolist() and counts.sum() == 300
    flat, _, _ = named(axes, "constant").get_data()
    assert flat.tolist() == np.histogram(999.0 - ANSWERS.numpy(), edges)[0].tolist()
    assert 0 < flat.sum() < 300  # most of them are further off than the model ever is
    (legend,) = axes.figure.legends
    assert any(f"{flat.sum() / 300:.0%} of its rows" in text for text in labels(legend))


@pytest.mark.parametrize(("modulus", "width"), [(7, 1), (40, 1), (41, 3), (97, 3), (113, 3), (200, 5)])
def test_bars_of_residues_hold_the_same_number_of_them(modulus, width):
    residuals = torch.arange(modulus)
    (axes,) = residual_histogram(torch.zeros(modulus), residuals.double(), LEARNED, modulus).axes
    counts, edges, _ = named(axes, "model").get_data()
    assert counts.sum() == modulus and set(counts[1:-1]) == {width} and len(counts) <= BINS + 1
    assert edges == pytest.approx(-edges[::-1])  # the right answers are in the middle of a bar


@pytest.mark.parametrize("draw", [parity, residual_histogram, residuals_against_truth])
def test_predictions_that_are_no_numbers_are_left_out_and_counted(draw):
    predictions = PREDICTIONS.clone()
    predictions[:3] = column(NAN, math.inf, -math.inf)
    title = " ".join(title_of(draw(ANSWERS, predictions, LEARNED)).get_text().split())
    assert "left out: 3 of 300 rows, whose prediction is not a number" in title
    assert "left out" not in title_of(draw(ANSWERS, PREDICTIONS, LEARNED)).get_text()
    (axes,) = draw(ANSWERS, predictions * NAN, LEARNED).axes
    assert texts(axes) == ["no prediction is a number"]
    if draw is not residual_histogram:
        (axes,) = draw(ANSWERS, predictions, LEARNED).axes
        assert len(named(axes, "rows").get_offsets()) == 297


@pytest.mark.parametrize("n", [2000, 20000])
@pytest.mark.parametrize("draw", [parity, residuals_against_truth])
def test_many_rows_stay_a_small_file(draw, n):
    figure = draw(*drawn(n), FAILED, constant=999.0)
    assert len(to_svg(figure)) < 150_000
    if n == 2000:  # the control
        named(figure.axes[0], "rows").set_rasterized(False)
        assert len(to_svg(figure)) > 150_000


def test_training_shows_what_was_logged():
    curves = trained(5, 8, 24.0)
    loss, shares, circle = training_curves(curves, LEARNED).axes
    for axes, name, at, values in (
        (loss, "training", curves.train_step, curves.train_loss),
        (loss, "validation", curves.val_step, curves.val_loss),
        (shares, "skill", curves.val_step, curves.skill),
        (shares, "exact answers", curves.val_step, curves.exact_match),
        (circle, "circular error", curves.val_step, curves.circular_error),
    ):
        line = named(axes, name)
        assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == ([step + 1 for step in at], values)  # made
    assert loss.get_yscale() == "log" and len(training_curves(trained(), LEARNED).axes) == 2
    assert [line.get_ydata()[0] for line in shares.lines if line.get_gid() is None or line.get_gid()[0] == "_"][:3] == [
        0,
        0.05,
        0.99,
    ]
    assert "gate: skill above 0.05" in labels(shares.get_legend())
    assert "running mean" not in " ".join(labels(loss.get_legend()))


def test_a_long_training_loss_is_thin_and_has_its_running_mean():
    curves = trained(30, 1500)
    axes = training_curves(curves, LEARNED).axes[0]
    line, mean = named(axes, "training"), named(axes, "running mean")
    assert line.get_linewidth() < mean.get_linewidth() and line.get_alpha() < 0.5 and line.get_rasterized()
    width = 38  # a fortieth
    places = [
        curves.train_step.index(min(curves.train_step, key=lambda step: abs(step - at))) for at in mean.get_xdata() - 1
    ]
    for place, at, value in list(zip(places, mean.get_xdata() - 1, mean.get_ydata(), strict=True))[5:-5:7]:
        first = next(
            start
            for start in range(place - width, place)
            if np.mean(curves.train_step[start : start + width]) == pytest.approx(at)
        )
        assert value == pytest.approx(np.mean(curves.train_loss[first : first + width]))
    assert len(mean.get_xdata()) < 200


def test_losses_that_a_logarithm_has_no_place_for_are_left_out():
    axes = training_curves(trained(3, 4, train_loss=[1.0, 0.0, NAN, 0.1], val_loss=[-1.0, 0.5, math.inf]), None).axes[0]
    assert named(axes, "training").get_ydata().tolist() == [1.0, 0.1]
    assert (named(axes, "validation").get_xdata().tolist(), named(axes, "validation").get_ydata().tolist()) == (
        [201.0],
        [0.5],
    )


def test_skill_far_below_zero_stands_at_the_end_of_the_axis_with_its_value():
    axes = training_curves(trained(3, skill=[-40.0, -0.7, 0.9]), FAILED).axes[1]
    assert axes.get_ylim()[0] > -1 and axes.get_ylim()[1] < 1.1
    assert named(axes, "skill").get_ydata().tolist() == [-0.5, -0.5, 0.9]
    assert named(axes, "skill below").get_xdata().tolist() == [101.0, 201.0]
    assert texts(axes) == ["-40"]
    assert texts(training_curves(trained(3), FAILED).axes[1]) == []


@pytest.mark.parametrize("steps", [2, 4])
def test_every_site_has_a_panel_with_its_scores_and_its_null(steps):
    found = history(steps)
    found.null_high[:, 2] = torch.linspace(0.03, 0.4, steps)
    shown = panels(probe_curves(found, LEARNED))
    assert [axes.get_title(loc="left") for axes in shown] == list(SITES)
    for site, axes in enumerate(shown):
        assert named(axes, "score").get_xdata().tolist() == [step + 1 for step in found.steps]
        assert named(axes, "score").get_ydata().tolist() == found.score[:, site].tolist()
        outline = named(axes, "null").get_paths()[0].vertices
        assert outline[:, 1].max() == pytest.approx(found.null_high[:, site].max().item())
        assert outline[:, 1].min() == axes.get_ylim()[0]
        assert (outline[:, 0].min(), outline[:, 0].max()) == pytest.approx(axes.get_xlim())
        assert axes.get_xlim()[0] < found.steps[0] <= found.steps[-1] < axes.get_xlim()[1]
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in shown}) == 1


def test_a_single_validation_is_bars_with_their_numbers_and_no_dots():
    score = column(-0.8, 0.02, 0.982, 0.9991, NAN, 0.5)[None]
    (panel,) = panels(probe_curves(history(1, score=score), LEARNED))
    bars = [one for one in panel.patches if one.get_gid() in ("above", "not above")]
    assert [bar.get_gid() for bar in bars] == ["not above"] * 2 + ["above"] * 2 + ["not above", "above"]
    assert [bar.get_height() for bar in bars] == pytest.approx([-0.5, 0.02, 0.982, 0.9991, 0.0, 0.5])
    assert texts(panel) == ["-.800", ".020", ".982", ".9991", "-", ".500"]
    assert not any(line.get_marker() == "o" for line in panel.lines)
    (_, shares) = panels(training_curves(trained(2), LEARNED))
    assert named(shares, "skill") and len(panels(training_curves(trained(1), LEARNED))) == 1  # the rest is words
    assert "skill" in title_of(training_curves(trained(1), LEARNED)).get_text()


def test_scores_that_are_not_above_the_null_are_hollow_and_grey():
    found = history(4, ("final",), score=column(0.01, 0.03, 0.04, 0.9)[:, None])
    (axes,) = panels(probe_curves(found, LEARNED))
    above, others = named(axes, "above"), named(axes, "not above")
    assert (above.get_ydata().tolist(), others.get_ydata().tolist()) == ([0.04, 0.9], [0.01, 0.03])
    assert others.get_markerfacecolor() == "white" != above.get_markerfacecolor()
    assert above.get_color() != others.get_color()
    unknown = replace(found, null_high=torch.full_like(found.score, NAN))
    figure = probe_curves(unknown, LEARNED)
    assert len(named(panels(figure)[0], "not above").get_ydata()) == 4
    assert labels(figure.legends[0]) == ["no null to compare with"]


def test_noise_stays_small():
    faint = history(4, score=torch.full((4, 6), 0.002, dtype=torch.float64))
    low, high = panels(probe_curves(faint, FAILED))[0].get_ylim()
    assert low == -0.05 and high > HIGHEST
    index = panels(invariance_chart(changed(index=column(0.001, 0.0, 0.002)), LEARNED))[1]
    assert index.get_ylim()[1] > 1
    (axes,) = residual_histogram(ANSWERS, ANSWERS + 1e-9 * PREDICTIONS, LEARNED).axes
    assert np.diff(axes.get_xlim()) >= 1


def test_scores_far_below_zero_stand_at_the_end_of_the_axis_with_their_value():
    score = torch.full((2, 6), 0.5, dtype=torch.float64)
    score[0, 1] = -4.2
    figure = probe_curves(history(2, score=score), LEARNED)
    axes = panels(figure)[1]
    assert axes.get_ylim()[0] == -0.5 and named(axes, "beyond").get_ydata() == [-0.5]
    assert texts(axes) == ["-4.2"] and "below -0.5" in labels(figure.legends[0])
    assert [named(axes, "above").get_ydata().tolist(), named(axes, "not above").get_ydata().tolist()] == [[0.5], []]


def test_the_note_and_the_step_are_in_the_title():
    one, many = (" ".join(title_of(probe_curves(history(n), None)).get_text().split()) for n in (1, 4))
    assert "Where can 'sum' be read after 101 steps?" in one and "Null: permuted labels" in one
    assert "Where can 'sum' be read, and since when?" in many and "Null: permuted labels" in many


def test_invariance_shows_both_curves_in_the_order_of_the_shifts():
    found = changed((1, -5, 0), mse=column(500.0, 900.0, 340.0), kept=(1985, 1941, 2000), out_of_range=(4, 21, 0))
    figure = invariance_chart(found, LEARNED)
    errors, index = panels(figure)
    curves = [list(line.get_ydata()) for line in errors.lines]
    assert curves == [[900, 340, 500], [340, 345, 380], [340, 339, 330], [340, 340]]
    assert [tick.get_text() for tick in errors.get_xticklabels()] == ["-5\n1.1%", "0\n0.0%", "+1\n0.2%"]
    assert [tick.get_text() for tick in index.get_xticklabels()] == ["-5\n1941", "0\n2000", "+1\n1985"]
    assert index.lines[0].get_ydata().tolist() == [0.0, 0.012, 0.03]
    assert texts(index)[:3] == ["0", "0.012", "0.03"] and "470 answer units" in texts(index)[3]
    assert "Up to 1.1% of all shifted problems" in title_of(figure).get_text()
    assert "outside 0 to 999" in " ".join(title_of(figure).get_text().split())


def test_the_axis_of_errors_shows_small_and_large_ones():
    for values, scale in (
        ((900.0, 340.0, 500.0), "linear"),
        ((9e5, 340.0, 500.0), "log"),
        ((9e5, 0.0, 5.0), "symlog"),
        ((9e5, 1e-21, 5.0), "symlog"),
        ((0.0, 0.0, 0.0), "linear"),
    ):
        found = changed(mse=column(*values), kept_mse=column(*values), kept_own_mse=column(*values), own_mse=values[1])
        axes = panels(invariance_chart(found, LEARNED))[0]
        assert axes.get_yscale() == scale
        assert axes.get_ylim()[0] <= min(values) and max(values) < axes.get_ylim()[1]


def test_where_nothing_can_be_told_the_figure_says_so():
    nothing = panels(invariance_chart(changed(index=column(NAN, NAN, NAN)), LEARNED))[1]
    assert any("cannot be told" in text for text in texts(nothing))
    partly = panels(invariance_chart(changed(index=column(NAN, 0.0, 0.5)), LEARNED))[1]
    assert not any("cannot be told" in text for text in texts(partly))
    assert texts(partly)[:2] == ["0", "0.5"]
