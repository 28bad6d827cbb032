"""The heatmap says what it shows."""

import torch

from arithprobe.behaviour import judge_rows
from arithprobe.plotting.heatmap import probe_heatmap
from arithprobe.probes.scores import CellScores


def figure_of(r2, high, behaviour=None):
    r2 = torch.tensor(r2, dtype=torch.float64)
    names = ("low", "high", "r2_in_sample", "n_train", "n_test", "n_groups", "edf", "alpha")
    names += ("alpha_at_smallest", "alpha_at_largest")
    filled = {name: torch.full_like(r2, 100.0) for name in names} | {"null": torch.full((*r2.shape, 20), high)}
    scores = CellScores("ridge", "sum", "sum", ("embed", "final"), ("last", "0"), r2, skill=r2, **filled)
    return probe_heatmap(scores, behaviour, 141)


def test_cells_not_above_their_null_are_struck_out_and_empty_ones_are_not():
    axes = figure_of([[0.9, 0.04], [-20.0, float("nan")]], high=0.05).axes[0]
    struck = sorted((round(sum(line.get_xdata()) / 2), round(sum(line.get_ydata()) / 2)) for line in axes.lines)
    assert struck == [(0, 1), (1, 0)]
    assert [text.get_text() for text in axes.texts] == ["0.90", "0.04", "<-10", "-"]


def test_axes_have_names_and_the_scale_is_fixed():
    axes, colours = figure_of([[0.1, 0.2], [0.3, 0.4]], high=0.0).axes
    assert (axes.get_ylabel(), colours.get_ylabel()) == ("site", "held-out R2")
    assert "held-out rows" in axes.get_xlabel()
    assert axes.images[0].get_clim() == (0, 1)
    assert "at step 141" in axes.get_title(loc="left")


def test_a_model_that_has_not_learned_is_said_in_red():
    answers = torch.arange(100)
    failed = figure_of([[0.9, 0.9], [0.9, 0.9]], 0.0, judge_rows(answers.flip(0).double(), answers, 49.5)).axes[0]
    plain = figure_of([[0.9, 0.9], [0.9, 0.9]], 0.0).axes[0]
    assert "NOT LEARNED" in failed.get_title(loc="left")
    assert "not about the task" in " ".join(failed.get_title(loc="left").split())
    assert failed._left_title.get_color() == "firebrick" != plain._left_title.get_color()
