"""The figures of attention heads show the numbers themselves, beside uniform attention, and the model's verdict."""

import functools
import itertools
import math
import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import SMALL
from matplotlib.colors import to_rgba
from matplotlib.text import Text
from micro import one_thread, workbench  # noqa: F401
from rendered import title_of
from test_ablation import SHORT, transformer
from test_intervention_figures import FAILED, LEARNED, texts

from arithprobe.attention.heads import (
    HeadStatistics,
    HeadSums,
    group_entropy,
    operand_imbalance,
    operand_mass,
    ov_copying,
)
from arithprobe.attention.records import head_names
from arithprobe.attention.roles import GROUPS
from arithprobe.interventions.direct import direct_contributions
from arithprobe.interventions.heads import HeadPatching, ablate_heads, patch_heads
from arithprobe.interventions.patching import same_layout_donors
from arithprobe.plotting.attention import attention_maps, last_token_roles, role_grid, role_sweeps
from arithprobe.plotting.head_effects import ablation_bars, mass_against_effect, patching_grid
from arithprobe.plotting.heads import category_bars, head_scores
from arithprobe.plotting.render import to_rgb
from arithprobe.plotting.tokens import token_character
from arithprobe.probes.rank import Agreement, RankCorrelation, rank_correlation

pytestmark = pytest.mark.slow(seconds=0.2)

NAN = math.nan
SIZES = [(1, 1), (2, 4)]
KINDS = ("zero", "mean", "resample")
PROMPTS = {None: "12 + 5 = ?", 97: "12 + 5 (mod 97) = ?"}


class Found(NamedTuple):
    """What is known of the heads of one model."""

    statistics: HeadStatistics
    copying: torch.Tensor
    ablations: list
    patching: HeadPatching
    direct: torch.Tensor
    patterns: torch.Tensor
    text: str


def found(size=(2, 4), modulus=None):
    return found_once(size, modulus)


@functools.cache
def found_once(size, modulus):
    layers, heads = size
    bench = workbench(transformer(**SMALL | {"n_layers": layers, "n_heads": heads}), SHORT, modulus, constant=40.0)
    sums = HeadSums(bench.dataset.layout, bench.dataset.roles, layers, heads)
    sums.update(bench.network, bench.states, torch.arange(len(bench)))
    donors = same_layout_donors(bench, 0)
    ablations = [ablate_heads(bench, kind, donors, draws=20 if kind == "mean" else 0) for kind in KINDS]
    row, text = bench.dataset.texts().index(PROMPTS[modulus]), PROMPTS[modulus]
    one = slice(row, row + 1)
    with torch.no_grad():
        _, cache = bench.network.run_with_cache(bench.dataset.inputs(one), patterns=True)
    patterns = torch.stack(list(cache.patterns.values()), dim=1)[0, ..., : len(text), : len(text)]
    direct = direct_contributions(bench).of_heads(layers, heads)
    return Found(sums.fit(), ov_copying(bench.network), ablations, patch_heads(bench, donors), direct, patterns, text)


def measures(one):
    effect = one.ablations[1].delta_rmse
    pairs = (
        ("mass on x and y", operand_mass(one.statistics.mass), float(operand_mass(one.statistics.uniform_mass))),
        ("norm moved", operand_mass(one.statistics.norm), None),
    )
    return [
        Agreement(name, values, uniform, rank_correlation(values.flatten(), effect.flatten()))
        for name, values, uniform in pairs
    ]


FIGURES = {
    "maps": lambda one, behaviour: attention_maps(one.text, one.patterns, 3, behaviour),
    "roles": lambda one, behaviour: role_grid(one.statistics, 0, behaviour),
    "bars": lambda one, behaviour: category_bars(one.statistics, behaviour),
    "scores": lambda one, behaviour: head_scores(one.statistics, one.copying, one.ablations[1], one.direct, behaviour),
    "last": lambda one, behaviour: last_token_roles(one.statistics, behaviour),
    "sweeps": lambda one, behaviour: role_sweeps(one.statistics, behaviour),
    "ablation": lambda one, behaviour: ablation_bars(one.ablations, behaviour),
    "patching": lambda one, behaviour: patching_grid(one.patching, behaviour),
    "against": lambda one, behaviour: mass_against_effect(measures(one), one.ablations[1], behaviour),
}


def drawn(name, size=(2, 4), modulus=None, behaviour=LEARNED):
    return drawn_once(name, size, modulus, behaviour)


@functools.cache
def drawn_once(name, size, modulus, behaviour):
    return FIGURES[name](found(size, modulus), behaviour)


def panels(figure):
    """The panels with data, without colour bars."""
    return [axes for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>"]


def bars_of(figure):
    return [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]


def titled(figure, words):
    (one,) = [axes for axes in panels(figure) if words in axes.get_title()]
    return one


def labels(texts):
    return [text.get_text() for text in texts]


def ticks(axis):
    """The labels of an axis, also where they are left to another panel."""
    return axis.get_major_formatter().format_ticks(axis.get_majorticklocs())


def values_of(axes):
    """What a heatmap shows."""
    return np.ma.filled(axes.images[0].get_array().astype(float), NAN)


def written(axes):
    """The text of each cell, by column and row."""
    return {tuple(round(part) for part in text.get_position()): text.get_text() for text in axes.texts}


@pytest.mark.slow
@pytest.mark.parametrize(
    "about",
    [
        pytest.param(((1, 1), None, FAILED), id="failed", marks=pytest.mark.long),
        pytest.param(((2, 4), 97, LEARNED), id="learned"),
    ],
)
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_fits_a_page_names_its_axes_and_can_be_read(name, about):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = drawn(name, *about)
        assert to_rgb(figure).std() > 0
    assert figure.get_figwidth() <= 9.5
    assert title_of(figure).get_window_extent().x1 <= figure.bbox.x1
    own = panels(figure)
    for axes in own:
        beside = own if name == "against" else [one for one in own if together(axes.get_shared_y_axes(), axes, one)]
        below = own[-1:] if name == "bars" else [one for one in own if together(axes.get_shared_x_axes(), axes, one)]
        assert any(one.get_ylabel() for one in beside) and any(one.get_xlabel() for one in below)
        below, beside = axes.get_xticklabels(), axes.get_yticklabels()
        assert min(text.get_fontsize() for text in [*below, *beside, *axes.texts, axes.title]) >= 8
        for side in (below, beside):
            assert not run_together([one for one in side if one.get_visible() and one.get_text()])


def together(shared, axes, other):
    return axes is other or shared.joined(axes, other)


def run_together(texts):
    """Whether one is written over the next; two pixels of leading do not count."""
    extents = [text.get_window_extent() for text in texts]
    return any(
        min(one.x1, other.x1) - max(one.x0, other.x0) > 2 and min(one.y1, other.y1) - max(one.y0, other.y0) > 2
        for one, other in itertools.pairwise(extents)
    )


@pytest.mark.parametrize("name", FIGURES)
def test_a_model_that_has_not_learned_is_said_in_red(name):
    failed, good = (title_of(drawn(name, *about)) for about in (((1, 1), None, FAILED), ((2, 4), 97, LEARNED)))
    assert "NOT LEARNED" in failed.get_text() and "Model LEARNED" in good.get_text()
    assert failed.get_color() == "firebrick" != good.get_color()


def test_a_model_whose_behaviour_is_unknown_is_drawn_as_such():
    assert "behaviour unknown" in title_of(drawn("ablation", (1, 1), None, None)).get_text()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("modulus", PROMPTS)
def test_a_map_shows_the_pattern_of_its_head_with_the_characters_on_both_axes(size, modulus):
    one, figure = found(size, modulus), drawn("maps", size, modulus)
    letters = [letter.replace(" ", "␣") for letter in one.text]
    assert [axes.get_title() for axes in panels(figure)] == head_names(*size)
    for axes, pattern in zip(panels(figure), one.patterns.flatten(0, 1), strict=True):
        assert np.allclose(values_of(axes), pattern, atol=1e-12)
        assert axes.images[0].get_clim() == (0, 1) and axes.images[0].origin == "upper"
        assert ticks(axes.xaxis) == ticks(axes.yaxis) == letters
    assert one.text in title_of(figure).get_text() and "row 3" in title_of(figure).get_text()
    (bar,) = bars_of(figure)
    assert uniform_on(bar) == pytest.approx(1 / len(letters)) and f"1/{len(letters)}" in bar.get_ylabel()


def uniform_on(axes):
    (mark,) = [line for line in axes.lines if line.get_gid() == "uniform"]
    return float(mark.get_ydata()[0])


def test_a_line_of_the_map_is_a_query():
    """Attention from the last character to the first only: the lowest line, its first cell."""
    patterns = torch.zeros(1, 1, 9, 9)
    patterns[0, 0, 8, 0] = 1.0
    (axes,) = panels(attention_maps("1 + 2 = ?", patterns, 0, LEARNED))
    to_rgb(axes.figure)
    assert values_of(axes)[8, 0] == 1 and values_of(axes).sum() == 1
    assert axes.transData.transform((0, 8))[1] < axes.transData.transform((0, 0))[1]
    assert "query" in axes.get_ylabel() and "key" in axes.get_xlabel()


def test_heads_are_at_most_four_a_line_and_a_line_is_of_one_layer():
    lines = {}
    for axes in panels(attention_maps("1 + 2 = ?", torch.full((2, 6, 9, 9), 1 / 9), 0, LEARNED)):
        lines.setdefault(axes.get_subplotspec().rowspan.start, []).append(axes.get_title())
    assert [len(line) for line in lines.values()] == [3, 3, 3, 3]
    assert all(len({name[:2] for name in line}) == 1 for line in lines.values())


@pytest.mark.parametrize("modulus", PROMPTS)
def test_a_role_grid_has_every_head_of_its_layer_and_uniform_attention(modulus):
    one = found((2, 4), modulus)
    for layer in (0, 1):
        figure = role_grid(one.statistics, layer, LEARNED)
        assert [axes.get_title() for axes in panels(figure)] == [
            *(f"L{layer}H{head}" for head in range(4)),
            "uniform attention",
        ]
        matrices = [*one.statistics.role_mass[layer], one.statistics.uniform_role_mass]
        for axes, matrix in zip(panels(figure), matrices, strict=True):
            assert np.allclose(values_of(axes), matrix) and axes.images[0].get_clim() == (0, 1)
            assert ticks(axes.xaxis) == ticks(axes.yaxis) == list(one.statistics.roles)
        last = one.statistics.roles.index("query")
        row = one.statistics.uniform_role_mass[last]
        assert row.min() <= uniform_on(bars_of(figure)[0]) <= row.max() + 1e-9


@pytest.mark.parametrize("modulus", PROMPTS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_bar_is_a_mass_its_dash_uniform_attention_and_its_circle_the_share_moved(size, modulus):
    statistics, figure = found(size, modulus).statistics, drawn("bars", size, modulus)
    groups = [group for group in GROUPS if group != "mod" or modulus is not None]
    moved = statistics.norm / statistics.norm.sum(dim=-1, keepdim=True)
    assert len(panels(figure)) == size[0]
    for layer, axes in enumerate(panels(figure)):
        assert ticks(axes.xaxis) == [f"L{layer}H{head}" for head in range(size[1])]
        assert [part.get_label() for part in axes.containers] == groups
        for bars, dashes, group in zip(axes.containers, axes.collections, groups, strict=True):
            column = GROUPS.index(group)
            assert [bar.get_height() for bar in bars] == pytest.approx(statistics.mass[layer, :, column].tolist())
            for bar, dash in zip(bars, dashes.get_segments(), strict=True):
                assert dash[:, 1] == pytest.approx(float(statistics.uniform_mass[column]))
                assert dash[:, 0].mean() == pytest.approx(bar.get_x() + bar.get_width() / 2)
            (circles,) = [line for line in axes.lines if line.get_gid() == group]
            assert circles.get_ydata() == pytest.approx(moved[layer, :, column].numpy())
            assert circles.get_markerfacecolor() == "white"
        assert axes.get_ylim()[0] == 0 and axes.get_ylim()[1] >= 1
    named = labels(figure.legends[0].get_texts())
    assert ("'(mod k)'" in named) == (modulus is not None)
    assert {"uniform attention", "value-weighted share"} <= set(named)


def test_every_score_is_written_into_its_cell_in_a_scale_that_is_fixed_where_it_can_be():
    one, figure = found(), drawn("scores")
    mass, moved = one.statistics.mass, one.statistics.norm
    even, cost = float(one.statistics.uniform_entropy), one.ablations[1].delta_rmse
    largest = max(float(cost.abs().max()), 0.05 * LEARNED.answer_sd)
    assert cost.min() < 0 < cost.max()  # a scale with both signs; with one sign, below
    expected = {
        "attention to x and y": (operand_mass(mass), (0, 1), "viridis"),
        "imbalance": (operand_imbalance(mass), (0, 1), "viridis"),
        "entropy over groups": (group_entropy(mass), (0, math.log(4)), "viridis"),
        "entropy over tokens": (one.statistics.entropy, (0, even), "viridis"),
        "value-weighted": (operand_mass(moved) / moved.sum(dim=-1), (0, 1), "viridis"),
        "OV copying": (one.copying, (-1, 1), "RdBu_r"),
        "RMSE increase (answer units)": (one.ablations[1].delta_rmse, (-largest, largest), "RdBu_r"),
        "direct share": (one.direct, (-1, 1), "RdBu_r"),
    }
    assert len(panels(figure)) == len(expected)
    for name, (values, limits, colours) in expected.items():
        axes = titled(figure, name)
        low, high = axes.images[0].get_clim()
        assert limits is None or (low, high) == pytest.approx(limits), name
        assert np.allclose(values_of(axes), values.clip(low, high)), name
        assert axes.images[0].origin == "lower" and axes.images[0].get_cmap().name == colours
        for (head, layer), text in written(axes).items():
            assert float(text) == pytest.approx(float(values[layer, head]), rel=0.06, abs=0.0051), name
        assert len(written(axes)) == values.numel()
    assert [axes.get_xlabel() for axes in panels(figure)][-1] == "head"
    assert panels(figure)[0].get_ylabel() == "layer"


@pytest.mark.parametrize("modulus", PROMPTS)
def test_the_uniform_value_of_a_score_is_in_its_title_and_on_its_scale(modulus):
    statistics, figure = found((2, 4), modulus).statistics, drawn("scores", (2, 4), modulus)
    mass = statistics.uniform_mass
    known = {
        "attention to x and y": operand_mass(mass),
        "imbalance": operand_imbalance(mass),
        "entropy over groups": group_entropy(mass),
        "entropy over tokens": statistics.uniform_entropy,
    }
    for (name, value), bar in zip(known.items(), bars_of(figure), strict=False):
        assert f"uniform {float(value):.2f}" in titled(figure, name).get_title()
        assert uniform_on(bar) == pytest.approx(float(value))
    assert titled(figure, "entropy over groups").images[0].get_clim()[1] == pytest.approx(math.log(5 if modulus else 4))
    assert [bool(bar.lines) for bar in bars_of(figure)] == [True] * 4 + [False] * 4


@pytest.mark.slow
def test_live_scores_have_what_was_measured_and_nothing_for_nan():
    one = found((2, 2))
    figure = head_scores(one.statistics, one.copying, None, None, LEARNED, 1200)
    assert len(panels(figure)) == 6 and "After 1201 steps" in title_of(figure).get_text()
    assert "step" not in title_of(drawn("scores")).get_text()
    cost = torch.tensor([[NAN, 3.0], [12345.6, -2.0]], dtype=torch.float64)
    ablation = replace(one.ablations[2], delta_rmse=cost)
    axes = titled(head_scores(one.statistics, one.copying, ablation, None, LEARNED), "RMSE increase")
    assert "resample ablation" in axes.get_title()
    assert axes.images[0].get_cmap().name == "RdBu_r"
    helps = replace(ablation, delta_rmse=cost.abs())
    axes_of = titled(head_scores(one.statistics, one.copying, helps, None, LEARNED), "RMSE increase")
    assert axes_of.images[0].get_cmap().name == "viridis" and axes_of.images[0].get_clim()[0] == 0
    assert written(axes) == {(1, 0): "3.00", (0, 1): "12346", (1, 1): "-2.00"}
    assert np.isnan(values_of(axes)).tolist() == [[True, False], [False, False]]
    ablation = replace(ablation, delta_rmse=torch.full((2, 2), NAN))
    figure = head_scores(one.statistics, one.copying, ablation, None, None)
    assert to_rgb(figure).std() > 0 and not titled(figure, "RMSE increase").texts


def test_small_increases_of_the_rmse_look_small():
    one, faint = found((2, 2)), torch.full((2, 2), 0.01, dtype=torch.float64)
    ablation = replace(one.ablations[0], delta_rmse=faint)
    axes = titled(head_scores(one.statistics, one.copying, ablation, None, LEARNED), "RMSE increase")
    assert axes.images[0].get_clim()[1] == pytest.approx(0.05 * LEARNED.answer_sd) and LEARNED.answer_sd > 1
    (axes,) = ablation_bars([ablation], LEARNED).axes
    assert axes.get_ylim()[1] >= 0.05 * LEARNED.answer_sd


@pytest.mark.parametrize("modulus", PROMPTS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_sweep_has_a_line_a_head_their_mean_and_uniform_attention(size, modulus):
    statistics, figure = found(size, modulus).statistics, drawn("sweeps", size, modulus)
    layers, heads = size
    groups = [group for group in GROUPS if group != "mod" or modulus is not None]
    names = [
        name for layer in range(layers) for name in [*(f"L{layer}H{head}" for head in range(heads)), f"L{layer} mean"]
    ]
    assert len(panels(figure)) == len(groups)
    for axes, group in zip(panels(figure), groups, strict=True):
        shown, column = values_of(axes), statistics.groups[:, GROUPS.index(group)]
        assert ticks(axes.yaxis) == [*names, "uniform"]
        assert ticks(axes.xaxis) == list(statistics.roles)
        assert axes.images[0].get_clim() == (0, 1)
        by_head = statistics.role_mass @ column
        for layer in range(layers):
            block = shown[layer * (heads + 1) :][: heads + 1]
            assert np.allclose(block[:-1], by_head[layer]) and np.allclose(block[-1], by_head[layer].mean(dim=0))
        assert np.allclose(shown[-1], statistics.uniform_role_mass @ column)
        assert [line.get_ydata()[0] for line in axes.lines] == [(n + 1) * (heads + 1) - 0.5 for n in range(layers)]
    assert any("(mod k)" in axes.get_title() for axes in panels(figure)) == (modulus is not None)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_bar_of_an_ablation_is_what_the_head_costs_beside_the_random_dimensions(size):
    ablations = found(size).ablations
    (axes,) = drawn("ablation", size).axes
    assert ticks(axes.xaxis) == head_names(*size)
    for bars, one in zip(axes.containers, ablations, strict=True):
        assert [bar.get_height() for bar in bars] == pytest.approx(one.delta_rmse.flatten().tolist())
    assert len({bars.patches[0].get_facecolor() for bars in axes.containers}) == len(KINDS)
    bands = [band.get_paths()[0].vertices for band in axes.collections if band.get_gid() == "random"]
    drawn_beside = [draws for draws in ablations[1].random if len(draws)]  # none beside a single head
    assert len(bands) == len(drawn_beside) == (size[0] if size[1] > 1 else 0)  # of the one kind that has any
    for layer, (band, draws) in enumerate(zip(bands, drawn_beside, strict=True)):
        assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))
        assert layer * size[1] - 0.5 <= band[:, 0].min() < band[:, 0].max() <= (layer + 1) * size[1] - 0.5
    marked = sum(text.get_text() == "*" for text in axes.texts)
    assert marked == sum(int((one.p <= 0.05).sum()) for one in ablations)
    assert f"{ablations[0].n} rows" in title_of(axes.figure).get_text()
    assert "answer units" in axes.get_ylabel() and axes.get_xlabel() == "head"


def test_heads_that_cost_more_than_random_dimensions_are_marked():
    one = replace(found((2, 2)).ablations[1], p=torch.tensor([[0.04, 0.06], [NAN, 0.05]], dtype=torch.float64))
    figure = ablation_bars([one], LEARNED)
    (axes,) = figure.axes
    assert [round(text.xy[0]) for text in axes.texts] == [0, 3]
    assert any("p <= 0.05" in text for text in labels(figure.legends[0].get_texts()))
    figure = ablation_bars([replace(one, p=torch.full((2, 2), NAN), random=one.random[:, :0])], LEARNED)
    assert not texts(figure) and not figure.axes[0].collections
    assert len(figure.legends[0].get_texts()) == 1


def test_without_an_ablation_the_figure_says_so():
    assert "no head was ablated" in texts(ablation_bars([], LEARNED))
    assert "nothing to compare" in texts(mass_against_effect([], found((2, 2)).ablations[1], LEARNED))


@pytest.mark.parametrize("modulus", PROMPTS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_patching_grid_has_all_tokens_first_and_then_each(size, modulus):
    patching, figure = found(size, modulus).patching, drawn("patching", size, modulus)
    axes, bar = figure.axes
    shown, count = values_of(axes), len(patching.positions)
    assert shown.shape == (size[0] * size[1], count + 2)
    assert np.allclose(shown[:, 0], patching.recovered.flatten().clip(0, 1), equal_nan=True)
    assert np.isnan(shown[:, 1]).all()  # a gap
    assert np.allclose(shown[:, 2:], patching.by_position.flatten(0, 1).clip(0, 1), equal_nan=True)
    assert axes.images[0].get_clim() == (0, 1) and bar.get_ylabel() == "recovered share of the gap (1: all)"
    assert ticks(axes.yaxis) == head_names(*size)
    below = zip(("all tokens", *patching.positions), (patching.n, *patching.n_by_position), strict=True)
    for label, (role, n) in zip(ticks(axes.xaxis), below, strict=True):
        assert label.split() == [
            *role.split(),
            *([token_character(role)] if token_character(role) else []),
            *f"{n}".split(),
        ]
    assert axes.get_xticks().tolist() == [0, *range(2, count + 2)]
    for (column, line), text in written(axes).items():
        head = divmod(line, size[1])
        value = patching.recovered[head] if column == 0 else patching.by_position[*head, column - 2]
        assert float(text) == pytest.approx(float(value), rel=0.06, abs=0.0051)
    assert f"{patching.gap:.3g}" in title_of(figure).get_text().replace("\n", " ")


def test_cells_without_pairs_are_empty():
    patching = found().patching
    by_position = patching.by_position.clone()
    by_position[..., 0] = NAN
    axes = patching_grid(replace(patching, by_position=by_position), LEARNED).axes[0]
    assert np.isnan(values_of(axes)[:, 2]).all()
    assert {column for column, _ in written(axes)} == {0, *range(3, len(patching.positions) + 2)}


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_head_stands_at_its_measure_and_its_cost_in_the_colour_of_its_layer(size):
    one, figure = found(size), drawn("against", size)
    effect = one.ablations[1].delta_rmse
    for axes, (name, values, uniform, correlation) in zip(panels(figure), measures(one), strict=True):
        points = [line for line in axes.lines if line.get_marker() == "o"]
        assert len({line.get_color() for line in points}) == len(points) == size[0]
        for line, own, cost in zip(points, values, effect, strict=True):
            assert np.allclose(line.get_xdata(), own) and np.allclose(line.get_ydata(), cost)
        dashes = [line.get_xdata()[0] for line in axes.lines if line.get_gid() == "uniform"]
        assert dashes == ([] if uniform is None else [uniform])
        assert axes.get_xlabel() == name and f"{correlation.n} head" in axes.get_title()
    assert "Mean ablation" in title_of(figure).get_text()
    assert "answer units" in panels(figure)[0].get_ylabel()


def test_the_rank_correlation_is_above_its_panel():
    values = torch.tensor([[0.1, 0.2], [0.3, 0.4]], dtype=torch.float64)
    several = [
        Agreement("one", values, 0.25, RankCorrelation(0.31, 0.46, 8)),
        Agreement("two", values, None, RankCorrelation(NAN, NAN, 2)),
    ]
    figure = mass_against_effect(several, found((2, 2)).ablations[0], LEARNED)
    assert [axes.get_title() for axes in panels(figure)] == [
        "rho = 0.31, p = 0.46, 8 heads",
        "no rank correlation, 2 heads",
    ]
    assert "Zero ablation" in title_of(figure).get_text()
    assert "uniform attention" in labels(figure.legends[0].get_texts())
    figure = mass_against_effect(several[1:], found((2, 2)).ablations[0], LEARNED)
    assert "uniform attention" not in labels(figure.legends[0].get_texts())


@pytest.mark.slow
@pytest.mark.parametrize("size", [(2, 4), (3, 8)], ids=str)
def test_names_cover_neither_points_nor_each_other(size):
    figure = drawn("against", size)
    to_rgb(figure)
    for axes in panels(figure):
        extents = [Text.get_window_extent(text).padded(-1) for text in axes.texts]  # without the line to the point
        assert labels(axes.texts) == head_names(*size)
        assert not any(one.overlaps(other) for one, other in itertools.combinations(extents, 2))
        points = np.concatenate([line.get_xydata() for line in axes.lines if line.get_marker() == "o"])
        for place in axes.transData.transform(points):
            assert not any(extent.contains(*place) for extent in extents)


def test_what_is_written_on_dark_cells_is_white():
    axes = titled(drawn("scores"), "attention to x and y")
    image = axes.images[0]
    for text in axes.texts:
        column, row = (round(part) for part in text.get_position())
        behind = image.to_rgba(image.get_array())[row, column, :3]
        assert abs(np.mean(to_rgba(text.get_color())[:3]) - behind.mean()) > 0.3


@pytest.mark.parametrize("modulus", PROMPTS)
def test_attention_of_the_last_token_is_written_in_percent_above_uniform_attention(modulus):
    statistics, figure = found((2, 4), modulus).statistics, drawn("last", (2, 4), modulus)
    (axes,) = panels(figure)
    assert ticks(axes.xaxis) == list(statistics.roles)
    assert ticks(axes.yaxis) == [*head_names(2, 4), "uniform"]
    last = statistics.roles.index("query")
    shown = torch.cat([statistics.role_mass[:, :, last].flatten(0, 1), statistics.uniform_role_mass[last][None]])
    assert np.allclose(values_of(axes), shown.numpy())
    expected = {(column, row): f"{100 * value:.0f}" for (row, column), value in np.ndenumerate(shown.numpy())}
    assert written(axes) == expected
