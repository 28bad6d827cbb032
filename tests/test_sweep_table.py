"""The table of a sweep reads back as it was written; seeds are summarised as statistics demands."""

import csv
import io
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from arithprobe.errors import ArithprobeError
from arithprobe.probes.metrics import mean_over_seeds
from arithprobe.sweeps.table import over_seeds, to_csv

NAN = math.nan
ROWS = [
    {"trial": 'a, "b"\nc', "model.d_model": 64, "skill": 0.1 + 0.2, "verdict": "LEARNED", "flag": True},
    {"trial": "d", "model.d_model": 128, "skill": None, "verdict": "NOT LEARNED", "late": 1e-300},
    {"trial": "e", "model.d_model": 256, "skill": NAN, "late": -5e-324, "frequencies": [1, 3, NAN], "of": {"k": 97}},
]


def grid(values, seeds=None, **cell):
    seeds = range(len(values)) if seeds is None else seeds
    return [
        {"trial": f"t{seed}", "seed_everything": seed, **cell, "r2": r2} for seed, r2 in zip(seeds, values, strict=True)
    ]


def read(rows, **options):
    return list(csv.DictReader(io.StringIO(to_csv(rows, **options), newline="")))


def test_columns_are_the_trial_the_parameters_and_the_others_as_first_seen():
    rows = [{"skill": 1.0, "model.d_model": 2, "trial": "a"}, {"trial": "b", "late": 1, "seed_everything": 3}]
    assert to_csv(rows).splitlines()[0] == "trial,skill,model.d_model,late,seed_everything"
    ordered = to_csv(rows, parameters=["seed_everything", "model.d_model", "nowhere"])
    assert ordered.splitlines()[0] == "trial,seed_everything,model.d_model,skill,late"


def test_every_number_and_text_reads_back_equal():
    first, second, third = read(ROWS)
    assert first["trial"] == ROWS[0]["trial"] and first["verdict"] == "LEARNED"  # commas, quotes and line ends
    assert float(first["skill"]) == 0.1 + 0.2 != 0.3
    assert (float(second["late"]), float(third["late"])) == (1e-300, -5e-324)
    assert [row["model.d_model"] for row in (first, second, third)] == ["64", "128", "256"]


def test_pandas_reads_it_as_it_was():
    table = pd.read_csv(io.StringIO(to_csv(ROWS)))
    expected = pd.DataFrame(ROWS)
    assert list(table) == list(expected)
    for name in ("trial", "model.d_model", "skill", "verdict", "late"):
        assert [None if pd.isna(one) else one for one in table[name]] == [
            None if pd.isna(one) else one for one in expected[name]
        ]


def test_what_is_missing_is_empty_and_zero_is_not():
    assert [row["skill"] for row in read(ROWS)[1:]] == ["", ""]
    assert [row["verdict"] for row in read(ROWS)] == ["LEARNED", "NOT LEARNED", ""]
    (row,) = read([{"trial": "a", "zero": 0.0, "none": None, "no": False}])
    assert (row["zero"], row["none"], row["no"]) == ("0.0", "", "False")


def test_lists_and_mappings_are_json():
    row = read(ROWS)[2]
    assert json.loads(row["frequencies"]) == [1, 3, None]
    assert json.loads(row["of"]) == {"k": 97}


def test_numbers_of_arrays_are_written_as_numbers():
    made = {"a": np.float64(0.1), "b": torch.tensor(3), "c": np.array([1.0, 2.0]), "d": np.float64("nan")}
    assert to_csv([made]) == 'a,b,c,d\n0.1,3,"[1.0, 2.0]",\n'


def test_no_trials_are_an_empty_text():
    assert to_csv([]) == to_csv([{}]) == ""


def test_the_interval_is_students():
    values = np.random.default_rng(0).normal(0.3, 0.1, 5)
    found = mean_over_seeds(values.tolist())
    assert (found.n, found.missing) == (5, 0)
    assert (found.mean, found.sd) == pytest.approx((values.mean(), values.std(ddof=1)))
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 4, values.mean(), stats.sem(values)))
    normal = stats.norm.interval(0.95, values.mean(), stats.sem(values))
    assert found.high - found.low > 1.3 * (normal[1] - normal[0])


def test_the_interval_of_three_seeds_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(1).normal(size=(2000, 3))
    found = [mean_over_seeds(three) for three in draws.tolist()]
    assert 0.935 <= np.mean([one.low <= 0 <= one.high for one in found]) <= 0.965
    normal = [abs(one.mean) <= 1.96 * one.sd / math.sqrt(3) for one in found]
    assert np.mean(normal) < 0.9


def test_one_seed_has_a_mean_and_no_interval():
    assert mean_over_seeds([0.5])[:3] == (1, 0, 0.5)
    assert all(math.isnan(one) for one in mean_over_seeds([0.5])[3:])
    assert all(math.isfinite(one) for one in mean_over_seeds([0.5, 0.6])[3:])


def test_missing_values_are_left_out_and_counted():
    found = mean_over_seeds([0.1, None, 0.3, NAN, math.inf])
    assert (found.n, found.missing) == (2, 3)
    assert found[2:] == mean_over_seeds([0.1, 0.3])[2:]
    nothing = mean_over_seeds([None, NAN])
    assert nothing[:2] == (0, 2) and all(math.isnan(one) for one in nothing[2:])


def test_trials_that_differ_in_the_seed_only_are_one_cell_in_the_order_of_the_rows():
    wide, narrow = grid([0.5, 0.7], **{"model.d_model": 256}), grid([0.1, None, 0.3], **{"model.d_model": 64})
    rows = [wide[0], narrow[0], wide[1], *narrow[1:]]
    found = over_seeds(rows, ["model.d_model"], ["r2", "nowhere"])
    assert [one.cell for one in found] == [{"model.d_model": 256}, {"model.d_model": 64}]
    assert [one.seeds for one in found] == [(0, 1), (0, 1, 2)]
    assert [one.columns["r2"].mean for one in found] == pytest.approx([0.6, 0.2])
    assert [one.columns["r2"].missing for one in found] == [0, 1]
    assert found[0].columns["r2"] == mean_over_seeds([0.5, 0.7])
    assert (found[0].columns["nowhere"].n, found[0].columns["nowhere"].missing) == (0, 2)


def test_cells_may_be_told_apart_by_lists_and_by_what_is_missing():
    rows = grid([1.0], betas=[0.9, 0.99]) + grid([2.0], betas=[0.9, 0.95]) + grid([3.0])
    assert [one.columns["r2"].mean for one in over_seeds(rows, ["betas"], ["r2"])] == [1.0, 2.0, 3.0]


def test_trials_that_differ_in_more_than_the_seed_are_not_repeats():
    rows = grid([0.1, 0.2], width=64) + grid([0.8, 0.9], width=256)
    with pytest.raises(ArithprobeError, match=r"^trial 't0' and trial 't0' are equal in seed_everything: .* as well$"):
        over_seeds(rows, [], ["r2"])
    assert len(over_seeds(rows, ["width"], ["r2"])) == 2
    assert len(over_seeds(rows, [], ["r2"], seed="r2")) == 1


def test_only_numbers_are_summarised():
    rows = [{"trial": "a", "verdict": "LEARNED", "r2": torch.tensor(0.5)}]
    assert over_seeds(rows, [], ["r2"])[0].columns["r2"].mean == 0.5
    with pytest.raises(ArithprobeError, match=r"^trial 'a': column 'verdict' is 'LEARNED'; expected a number$"):
        over_seeds(rows, [], ["verdict"])
