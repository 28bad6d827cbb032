"""The trials of a grid: each combination once, named apart, with what follows by rule."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arithprobe.cli.run_folder import require_name
from arithprobe.errors import ArithprobeError
from arithprobe.sweeps.grid import trials_of

GRID = {"model.n_layers": [2, 4], "model.d_model": [64, 128], "seed_everything": [0]}


def test_every_combination_in_the_grids_order():
    trials = trials_of(GRID, {}, {})
    assert [tuple(one.parameters.values()) for one in trials] == [(2, 64, 0), (2, 128, 0), (4, 64, 0), (4, 128, 0)]
    assert trials[0].name == "n_layers2-d_model64-seed0"
    assert trials[0].settings == trials[0].parameters


def test_several_grids_share_what_they_share():
    more = {**GRID, "model.n_layers": [2], "seed_everything": [0, 1]}
    trials = trials_of([GRID, more], {}, {})
    assert len(trials) == 4 + 2  # two of the second are there already
    assert len({one.name for one in trials}) == 6
    apart = trials_of([{"model.d_model": [8]}, {"model.lr": [0.1]}], {}, {})
    assert [one.parameters for one in apart] == [{"model.d_model": 8}, {"model.lr": 0.1}]


def test_rules_follow_the_trial_and_what_is_set():
    rules = {
        "model.d_ff": "4 * model.d_model",
        "model.n_heads": "model.d_model/model.width",
        "model.lr": "0.5 * model.n_layers",
    }
    trials = trials_of(GRID, {"model.width": 32}, rules)
    assert [one.settings["model.d_ff"] for one in trials] == [256, 512, 256, 512]
    assert [one.settings["model.n_heads"] for one in trials] == [2, 4, 2, 4]
    assert [one.settings["model.lr"] for one in trials] == [1.0, 1.0, 2.0, 2.0]
    assert all(isinstance(one.settings["model.d_ff"], int) for one in trials)
    assert "model.d_ff" not in trials[0].parameters
    assert trials_of(GRID, {}, {"model.n_heads": 2})[0].settings["model.n_heads"] == 2


@pytest.mark.parametrize(
    ("grid", "fixed", "rules", "message"),
    [
        ({}, {}, {}, "the grid is empty"),
        ([], {}, {}, "the grid is empty"),
        ([GRID, {}], {}, {}, "the grid is empty"),
        ({"model.d_model": []}, {}, {}, "model.d_model has no values"),
        ({"model.d_model": [8, 16, 8]}, {}, {}, "model.d_model has 8 twice"),
        (GRID, {"model.d_model": 3}, {}, "model.d_model is in grid and in set"),
        (GRID, {}, {"model.d_model": 3}, "model.d_model is in grid and in rules"),
        (GRID, {"model": {"d_model": 3}}, {}, "model.n_layers in grid and model in set set the same thing"),
        ({"data.recipe": [{}], "data.recipe.rows": [9]}, {}, {}, "set the same thing"),
        (GRID, {"model.lr": 3}, {"model.lr": 3}, "model.lr is in set and in rules"),
        (GRID, {}, {"model.d_ff": "4 * d_model"}, "d_model is neither in grid nor in set; did you mean"),
        (GRID, {}, {"model.n_heads": "model.d_model / 48"}, "64 is not a multiple of 48"),
        (GRID, {}, {"model.n_heads": "model.d_model / 0"}, "not a multiple of 0"),
        (GRID, {}, {"model.n_heads": "model.d_model + 1"}, "expected numbers and keys"),
        (GRID, {}, {"model.n_heads": "* 2"}, "expected numbers and keys"),
        (GRID, {}, {"model.n_heads": "2 2"}, "expected numbers and keys"),
        (GRID, {}, {"model.n_heads": "9" * 5000}, "expected numbers and keys"),
        ({"a": ["x"]}, {}, {"b": "2 * a"}, "a is 'x'; expected a number"),
    ],
)
def test_what_makes_no_grid_is_refused(grid, fixed, rules, message):
    with pytest.raises(ArithprobeError, match=re.escape(message)):
        trials_of(grid, fixed, rules)


values = st.one_of(
    st.integers(-5, 5),
    st.floats(allow_nan=False),
    st.text(max_size=80),
    st.booleans(),
    st.none(),
    st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(0, 3), max_size=2),
)


@settings(max_examples=40)
@given(st.lists(values, min_size=1, max_size=6, unique_by=repr))
def test_names_are_names_of_folders_and_all_different(chosen):
    chosen = [one for n, one in enumerate(chosen) if one not in chosen[:n] or isinstance(one, bool)]
    try:
        trials = trials_of({"model.some_key": chosen}, {}, {})
    except ArithprobeError:  # True beside 1 is told apart; equal numbers written in two ways are not
        return
    assert len({one.name.lower() for one in trials}) == len(trials)
    for one in trials:
        require_name(one.name)
        assert "/" not in one.name and len(one.name) < 100


def test_keys_that_end_alike_are_named_in_full():
    (trial,) = trials_of({"model.lr": [1], "other.lr": [2]}, {}, {})
    assert trial.name == "model.lr1-other.lr2"
