"""The heatmap says what it shows."""

import numpy as np
import torch

from arithprobe.behaviour import judge_rows
from arithprobe.plotting.heatmap import probe_heatmap
from arithprobe.plotting.r2 import HIGHEST, SCALE
from arithprobe.plotting.style import GREY
from arithprobe.probes.scores import CellScores


def figure_of(r2, high, behaviour=None):
    r2 = torch.tensor(r2, dtype=torch.float64)
    names = ("low", "high", "r2_in_sample", "n_train", "n_test", "n_groups", "edf", "alpha")
    names += ("alpha_at_smallest", "alpha_at_largest")
    filled = {name: torch.full_like(r2, 100.0) for name in names} | {"null": torch.full((*r2.shape, 20), high)}
    scores = CellScores("ridge", "sum", "sum", ("embed", "final"), ("last", "0"), r2, skill=r2, **filled)
    return probe_heatmap(scores, behaviour, 141)


def test_only_cells_above_their_null_have_a_colour_and_nothing_is_drawn_over_a_number():
    axes = figure_of([[0.9, 0.04], [-20.0, float("nan")]], high=0.05).axes[0]
    coloured = ~np.ma.getmaskarray(axes.images[0].get_array())
    assert coloured.tolist() == [[True, False], [False, False]]
    assert [text.get_text() for text in axes.texts] == [".900", ".040", "<-10", "-"]
    assert [text.get_color() == GREY for text in axes.texts] == [False, True, True, True]
    assert [line.get_xdata()[0] for line in axes.lines] == [0.5], "the gap beside 'last' is all"


def test_a_map_parts_982_from_999_by_number_and_by_colour():
    axes = figure_of([[0.982, 0.999], [0.0, 0.5]], high=-1.0).axes[0]
    assert [text.get_text() for text in axes.texts][:2] == [".982", ".9990"]
    (first, second), (low, middle) = axes.images[0].norm(axes.images[0].get_array())
    assert second - first > 0.15 and middle - low > 0.25  # of the scale
    assert 0.999 - 0.982 < 0.02  # the control: of a straight one


def test_axes_have_names_and_the_scale_is_fixed():
    axes, colours = figure_of([[0.1, 0.2], [0.3, 0.4]], high=0.0).axes
    assert axes.get_ylabel().startswith("site") and colours.get_ylabel().startswith("held-out R2")
    assert SCALE in colours.get_ylabel()
    assert "held-out rows" in axes.get_xlabel()
    assert axes.images[0].get_clim() == (0, HIGHEST)
    assert "after 142 steps" in axes.get_title(loc="left")


def test_a_model_that_has_not_learned_is_said_in_red():
    answers = torch.arange(100)
    failed = figure_of([[0.9, 0.9], [0.9, 0.9]], 0.0, judge_rows(answers.flip(0).double(), answers, 49.5)).axes[0]
    plain = figure_of([[0.9, 0.9], [0.9, 0.9]], 0.0).axes[0]
    assert "NOT LEARNED" in failed.get_title(loc="left")
    assert "not about the task" in " ".join(failed.get_title(loc="left").split())
    assert failed._left_title.get_color() == "firebrick" != plain._left_title.get_color()
