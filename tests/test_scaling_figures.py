"""The figures of a sweep show every trial by its verdict, beside its controls, against the size of the models."""

import functools
import itertools
import math
import warnings

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from scipy import stats

from arithprobe.plotting.r2 import LOWEST, SCALE
from arithprobe.plotting.render import to_rgb
from arithprobe.plotting.scaling import ablation_scaling, mlp_scaling, probe_scaling

pytestmark = pytest.mark.slow(seconds=0.2)

FACET = "model.n_layers"
FIGURES = {"probe": probe_scaling, "ablation": ablation_scaling, "mlp": mlp_scaling}
MARKS = {"NOT LEARNED": ("x", None), "PARTLY LEARNED": ("o", "white"), "LEARNED": ("o", "colour")}
SIX = (1, 2, 3, 4, 6, 8)
FIRST = {"probe": "fourier1_r2", "ablation": "refit_probe", "mlp": "mlp_score"}


def trial(layers=2, width=128, seed=0, verdict="NOT LEARNED", modulus=True, **more):
    """One row; every measure is another number, and seeds differ by 0.01."""
    row = {
        "trial": f"{layers}-{width}-{seed}",
        FACET: layers,
        "model.d_model": width,
        "seed_everything": seed,
        "parameters": 8 * layers * width**2,
        "probe_dimension": 64,
        "verdict": verdict,
        "ablated": "sum",
    }
    step = 0.01 * seed
    for index, name in enumerate([f"fourier{n}" for n in (1, 3, 6, 12)] if modulus else ["sum"]):
        for part in ("", "_k"):
            row |= {
                f"{name}{part}_r2": 0.4 - 0.05 * index + step,
                f"{name}{part}_null": 0.05 + 0.001 * index + step,
                f"{name}{part}_untrained": 0.01 * index,
                f"{name}{part}_in_sample": 0.6 + 0.001 * index,
            }
    for kind, base in (("refit", 0.2), ("forward", 0.3)):
        row |= {
            f"{kind}_probe": base + step,
            f"{kind}_random": 0.1,
            f"{kind}_random_low": 0.05 - step,
            f"{kind}_random_high": 0.15 + step,
            f"{kind}_excess": base + step - 0.1,
        }
    scores = {"mlp_score": 0.3 + step, "mlp_linear": 0.2, "mlp_null": 0.02, "mlp_untrained": 0.03}
    return row | scores | {"forward_matched": 0.12, "mlp_kind": "accuracy"} | more


def grid(depths=(2, 4, 6), widths=(128, 256, 512), seeds=3, **more):
    return [trial(layers, width, seed, **more) for layers in depths for width in widths for seed in range(seeds)]


@functools.cache
def usual(name):
    """The figure of the usual grid; tests only look at it."""
    return FIGURES[name](grid(), FACET)


def panels(figure):
    return [axes for axes in figure.axes if axes.axison]


def lines_of(figure, gid):
    """Lines with this name, by panel."""
    return [[line for line in axes.lines if line.get_gid() == gid] for axes in panels(figure)]


def title_of(figure):
    return " ".join(figure.axes[0].get_title(loc="left").split())


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def points_of(panel, column):
    """x, y and verdict of the trials of one column."""
    return sorted(
        (float(x), round(float(y), 9), line.get_gid().removeprefix(f"{column} "))
        for line in panel.lines
        if line.get_gid() in {f"{column} {verdict}" for verdict in (*MARKS, "verdict unknown")}
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    )


@pytest.mark.parametrize("name", FIGURES)
def test_there_is_a_panel_a_value_of_the_facet_in_its_order(name):
    rows = [*grid(depths=(12,)), *grid(depths=(1, 2))]
    figure, lines = FIGURES[name](rows, FACET), 1 if name == "mlp" else 2
    assert [axes.get_title() for axes in panels(figure)] == ["1 layer", "2 layers", "12 layers"] + [""] * 3 * (
        lines - 1
    )
    assert len(panels(FIGURES[name](rows, None))) == lines
    widths = FIGURES[name](rows, "model.d_model")
    assert [axes.get_title() for axes in panels(widths)][:3] == ["d_model 128", "d_model 256", "d_model 512"]


@pytest.mark.parametrize("verdict", MARKS)
@pytest.mark.parametrize("name", FIGURES)
def test_every_trial_is_a_point_with_the_marker_of_its_verdict(name, verdict):
    rows = grid(verdict="LEARNED")
    rows[4] = trial(2, 256, 1, verdict)
    column = FIRST[name]
    panel = panels(FIGURES[name](rows, FACET))[0]
    expected = [(row["parameters"], round(row[column], 9), row["verdict"]) for row in rows if row[FACET] == 2]
    assert points_of(panel, column) == sorted(expected)
    (line,) = [line for line in panel.lines if line.get_gid() == f"{column} {verdict}"]
    shape, face = MARKS[verdict]
    assert line.get_marker() == shape
    if face is not None:
        assert to_rgba(line.get_markerfacecolor()) == to_rgba(line.get_color() if face == "colour" else face)


def test_all_frequencies_have_their_points_and_colours():
    panel = panels(probe_scaling(grid(seeds=1), FACET))[0]
    assert [points_of(panel, f"fourier{n}_r2")[0][1] for n in (1, 3, 6, 12)] == [0.4, 0.35, 0.3, 0.25]
    means = [line for line in panel.lines if str(line.get_gid()).endswith(" mean")]
    assert len({line.get_color() for line in means}) == len(means) == 4


def test_the_title_is_the_gate():
    none = usual("probe")
    assert "27 of 27 trials NOT LEARNED. What is found here is not about the task" in title_of(none)
    assert none.axes[0]._left_title.get_color() == "firebrick"
    mixed = probe_scaling([*grid(seeds=1, verdict="LEARNED"), trial(seed=1), trial(seed=2, verdict=None)], FACET)
    assert "11 trials: 1 NOT LEARNED (not about the task), 9 LEARNED, 1 verdict unknown" in title_of(mixed)
    assert mixed.axes[0]._left_title.get_color() == "black"


@pytest.mark.parametrize("name", FIGURES)
def test_the_legend_names_the_verdicts_there_are(name):
    rows = [*grid(verdict="LEARNED"), trial(seed=7, verdict=None)]
    assert [one for one in legend_of(FIGURES[name](rows, FACET)) if one in {*MARKS, "verdict unknown"}] == [
        "LEARNED",
        "verdict unknown",
    ]


def test_seeds_have_a_mean_and_students_interval_and_one_seed_has_none():
    panel = panels(usual("mlp"))[0]
    values = [0.3, 0.31, 0.32]
    (mean,) = [line for line in panel.lines if line.get_gid() == "mlp_score mean"]
    assert mean.get_ydata() == pytest.approx([0.31] * 3)
    assert list(mean.get_xdata()) == [8 * 2 * width**2 for width in (128, 256, 512)]
    bars = [line for line in panel.lines if line.get_gid() == "mlp_score interval"]
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert [tuple(bar.get_ydata()) for bar in bars] == [pytest.approx(expected)] * 3
    single = mlp_scaling(grid(seeds=1), FACET)
    assert lines_of(single, "mlp_score interval") == [[]] * 3
    assert ("intervals" in title_of(single), "intervals" in title_of(usual("mlp"))) == (False, True)


def test_trials_that_differ_in_more_than_the_seed_are_not_averaged():
    apart = [trial(seed=0, **{"model.n_heads": heads}) for heads in (2, 4)]
    assert lines_of(mlp_scaling(apart, FACET), "mlp_score interval") == [[]]
    assert lines_of(mlp_scaling(apart, FACET), "mlp_score mean") == [[]]  # no curve: they are at the same place
    same = [trial(seed=seed, **{"model.n_heads": 2}) for seed in (0, 1)]
    assert len(lines_of(mlp_scaling(same, FACET), "mlp_score interval")[0]) == 1


@pytest.mark.parametrize("part", ["", "_k"])
def test_the_null_is_shaded_up_to_its_largest(part):
    rows = [trial(seed=0), trial(seed=1)]
    rows[1] |= {"fourier3_k_null": 0.09}
    figure = probe_scaling(rows, FACET)
    panel = panels(figure)[0 if part == "" else 1]
    (band,) = [one for one in panel.collections if one.get_gid() == "null"]
    vertices = band.get_paths()[0].vertices
    assert vertices[:, 1].max() == pytest.approx(0.063 if part == "" else 0.09)  # N = 12 and seed 1; N = 3
    assert vertices[:, 1].min() == panel.get_ylim()[0]
    assert vertices[:, 0].min() < rows[0]["parameters"] < vertices[:, 0].max()  # also a single place has some width


def test_untrained_networks_are_dashed_and_in_sample_is_dotted_at_one_n():
    figure = usual("probe")
    for part, panel in zip(("", "_k"), (panels(figure)[0], panels(figure)[3]), strict=True):
        controls = {line.get_gid(): line for line in panel.lines}
        for index, n in enumerate((1, 3, 6, 12)):
            line = controls[f"fourier{n}{part}_untrained"]
            assert line.get_linestyle() == "--" and line.get_ydata() == pytest.approx([0.01 * index] * 5)
            assert line.get_color() == controls[f"fourier{n}{part}_r2 mean"].get_color()
        dotted = [line for line in panel.lines if line.get_linestyle() == ":"]
        assert [line.get_gid() for line in dotted] == [f"fourier12{part}_in_sample"]
        assert dotted[0].get_ydata() == pytest.approx([0.603] * 5)


def test_lines_of_panels_are_all_dimensions_and_equally_many_on_the_same_axis():
    rows = [row | {"fourier1_k_r2": -0.5} for row in grid()]
    figure = probe_scaling(rows, FACET)
    names = [axes.get_ylabel() for axes in panels(figure)[::3]]
    for name, which in zip(names, ("all dimensions", "64 components"), strict=True):
        assert name.startswith(f"held-out R2,\n{which}\n") and " ".join(name.split()).endswith(f"({SCALE})")
    assert len({axes.get_ylim() for axes in panels(figure)}) == 1
    ablation = [row | {"forward_probe": 0.9} for row in grid()]  # in other units: each line has its own
    assert len({axes.get_ylim() for axes in panels(ablation_scaling(ablation, FACET))}) == 2
    without = [{key: value for key, value in row.items() if "_k_" not in key} for row in grid()]
    assert [axes.get_ylabel() for axes in panels(probe_scaling(without, FACET))] == [names[0], "", ""]


def test_a_task_without_a_modulus_has_the_sum():
    figure = probe_scaling(grid(modulus=False), FACET)
    assert points_of(panels(figure)[0], "sum_r2")[0][1] == 0.4
    assert "the sum" in title_of(figure) and "sum" in legend_of(figure)
    both = [row | {"sum_r2": 0.9} for row in grid()]
    assert points_of(panels(probe_scaling(both, FACET))[0], "sum_r2") == []
    unknown = [row | {"fourier1_r2": None} for row in grid(modulus=False)]  # as a table of both tasks has it
    assert len(points_of(panels(probe_scaling(unknown, FACET))[0], "sum_r2")) == 9


@pytest.mark.parametrize(("line", "kind"), [(0, "refit"), (1, "forward")])
def test_ablation_has_the_range_of_random_subspaces_and_the_excess(line, kind):
    panel = panels(usual("ablation"))[3 * line]
    named = {line.get_gid(): line for line in panel.lines}
    bars = [line for line in panel.lines if line.get_gid() == f"{kind}_random_low range"]
    assert len(bars) == 3 and all(tuple(bar.get_ydata()) == pytest.approx((0.03, 0.17)) for bar in bars)
    assert named[f"{kind}_random"].get_ydata() == pytest.approx([0.1] * 5)
    assert named[f"{kind}_excess"].get_ydata() == pytest.approx([0.11 if kind == "refit" else 0.21] * 5)
    assert ("forward_matched" in named) == (kind == "forward")


def test_a_model_without_skill_to_lose_has_no_line_for_it():
    none = [row | {"forward_probe": None} for row in grid()]
    assert len(panels(usual("ablation"))) == 6
    assert len(panels(ablation_scaling(none, FACET))) == 3


@pytest.mark.parametrize(("kind", "label"), [("accuracy", "accuracy, held out"), ("r2", "R2, held out")])
def test_mlp_probes_stand_beside_linear_ones_and_their_nulls(kind, label):
    panel = panels(mlp_scaling(grid(mlp_kind=kind), FACET))[0]
    assert panel.get_ylabel() == label
    named = {line.get_gid(): line.get_ydata()[0] for line in panel.lines if line.get_gid()}
    assert (named["mlp_linear"], named["mlp_null"], named["mlp_untrained"]) == pytest.approx((0.2, 0.02, 0.03))


@pytest.mark.parametrize("name", FIGURES)
def test_sizes_are_on_a_logarithmic_axis_with_short_names(name):
    figure = FIGURES[name](grid(), FACET)
    axes = panels(figure)[-1]
    assert all(panel.get_xscale() == "log" for panel in panels(figure))
    assert axes.get_xlabel() == "parameters of the model"
    to_rgb(figure)
    low, high = axes.get_xlim()
    assert low < min(row["parameters"] for row in grid()) < max(row["parameters"] for row in grid()) < high
    names = [tick.get_text() for tick in axes.get_xticklabels() if low <= tick.get_position()[0] <= high]
    assert names == ["300k", "1M", "3M", "10M"]


def test_other_columns_may_be_to_the_right():
    rows = [trial(**{"model.dropout": rate}) for rate in (0.1, 0.2, 0.3)]
    figure = mlp_scaling(rows, None, "model.dropout")
    (axes,) = panels(figure)
    assert (axes.get_xscale(), axes.get_xlabel()) == ("linear", "model.dropout")
    rates = mlp_scaling([trial(**{"model.lr": rate}) for rate in (1e-4, 1e-3)], None, "model.lr")
    assert panels(rates)[0].get_xscale() == "log"
    (axes,) = panels(mlp_scaling([trial(**{"model.norm": norm}) for norm in ("pre", "post")], None, "model.norm"))
    assert [(tick.get_text(), tick.get_position()[0]) for tick in axes.get_xticklabels()] == [("pre", 0), ("post", 1)]
    assert [x for x, _, _ in points_of(axes, "mlp_score")] == [0, 1]


@pytest.mark.parametrize("name", FIGURES)
def test_a_trial_without_the_columns_is_left_out_and_without_any_there_is_no_figure(name):
    failed = {"trial": "failed", FACET: 2, "model.d_model": 64, "parameters": 9000, "verdict": "LEARNED"}
    unplaced = [trial(parameters=None), trial() | {FACET: None}]
    assert all(FIGURES[name](rows, FACET) is None for rows in ([], [failed], [failed, *unplaced]))
    figure = FIGURES[name]([failed, *unplaced, *grid()], FACET)
    assert "27 of 27 trials" in title_of(figure)
    column = FIRST[name]
    partly = [trial(seed=0), trial(seed=1, **{column: math.nan}), trial(seed=2, **{column: None})]
    assert len(points_of(panels(FIGURES[name](partly, FACET))[0], column)) == 1


def test_what_is_far_off_stands_at_the_end_of_the_axis_with_its_value():
    rows = grid()
    rows[0] |= {"fourier1_r2": -40.0}
    rows[1] |= {"fourier1_r2": -0.4}
    panel = panels(probe_scaling(rows, FACET))[0]
    low = panel.get_ylim()[0]
    assert low == LOWEST
    assert sorted(y for _, y, _ in points_of(panel, "fourier1_r2"))[:2] == pytest.approx([low, -0.4])
    assert [text.get_text() for text in panel.texts] == ["-40"]


def test_noise_stays_small():
    faint = [row | {key: 1e-4 for key in row if key.startswith("mlp_") and key != "mlp_kind"} for row in grid()]
    assert panels(mlp_scaling(faint, FACET))[0].get_ylim()[1] == pytest.approx(0.1)
    assert panels(usual("mlp"))[0].get_ylim()[1] > 0.3


@pytest.mark.parametrize(("depths", "widths"), [((2,), (128,)), pytest.param(SIX, (110, 1000), marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FIGURES)
def test_nothing_overlaps_for_one_panel_and_for_six(name, depths, widths):
    assert_nothing_overlaps(name, depths, widths)


@pytest.mark.long
@pytest.mark.parametrize("depths", [SIX[:count] for count in range(1, 7)])
@pytest.mark.parametrize("widths", [(128,), (110, 1000), (16, 64, 256, 1024)])
@pytest.mark.parametrize("name", FIGURES)
def test_nothing_overlaps_for_any_number_of_panels(name, depths, widths):
    assert_nothing_overlaps(name, depths, widths)
    print(f"{name}: {len(depths)} panels of {len(widths)} widths")


def assert_nothing_overlaps(name, depths, widths):
    figure = FIGURES[name](grid(depths, widths, 2), FACET)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_rgb(figure)
    shown = [*panels(figure), figure.legends[0], figure.axes[0]._left_title]
    boxes = [one.get_window_extent() for one in shown]
    for panel, box in zip(panels(figure), boxes, strict=False):
        assert box.width > 150 and box.height > 150
        ticks = [one.get_window_extent() for one in panel.get_xticklabels() if one.get_text() and one.get_visible()]
        inside = [one for one in ticks if box.x0 <= (one.x0 + one.x1) / 2 <= box.x1]
        assert all(first.x1 < second.x0 for first, second in itertools.pairwise(inside))
    assert not any(one.overlaps(other) for index, one in enumerate(boxes) for other in boxes[:index])
    width, height = figure.bbox.size
    assert all(min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0 for box in boxes)
