"""Recipes: the notebook's data to the byte, and splits that keep their word."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from conftest import ROOT

from arithprobe.data.sampling import DataRecipe, sample, split_group
from arithprobe.data.tsv import write_tsv
from arithprobe.errors import ArithprobeError

# Of the original project's files: its first 9000 training and first 1000 validation rows, without the last newline.
ORIGINAL = {
    "REG-SUM_train": (9000, "aea6e1e7b7d06ee10825f37b5187785d1267025d21e9b7b5746713d402d252f5"),
    "REG-SUM_val": (1000, "ebe5bc103a14e868fc660e81df9d5cc67fd7fab8ce22f2d4682b51c28ed3b809"),
    "REG-MODK_train": (9000, "d76bf353fcf589ac6b91aa59d6591b644feaf9d8e7314feec2051fb8e89890be"),
    "REG-MODK_val": (1000, "15d92f8a6bacd5f7ee62e1b5f06155872f7f3a51235109f6c7c8e35bbc65b86c"),
}


@pytest.mark.parametrize("name", ORIGINAL)
def test_the_committed_data_begins_like_the_original(name):
    rows, digest = ORIGINAL[name]
    lines = (ROOT / "data" / f"{name}.tsv").read_bytes().split(b"\n")[:rows]
    assert hashlib.sha256(b"\n".join(lines)).hexdigest() == digest


@pytest.mark.parametrize("task", ["sum", "mod"])
def test_the_default_recipe_makes_the_committed_data(task, tmp_path):
    recipe = DataRecipe(task=task)
    parts = sample(recipe)
    assert {part: len(pairs.x) for part, pairs in parts.items()} == {"train": 18000, "val": 2000}
    for part, pairs in parts.items():
        made = write_tsv(tmp_path / recipe.file_name(part), pairs.problems(recipe))
        assert made.read_bytes() == (ROOT / "data" / recipe.file_name(part)).read_bytes()


@pytest.mark.parametrize("split", ["unordered_pair", "sum"])
def test_a_split_shares_nothing_it_forbids(split):
    def shared(recipe):
        groups = [set(split_group(pairs.x, pairs.y, split).tolist()) for pairs in sample(recipe).values()]
        return sum(len(a & b) for a, b in pairwise([*groups, groups[0]]))

    options = {"rows": 3000, "max_operand": 40, "test_fraction": 0.1}
    assert shared(DataRecipe(split=split, **options)) == 0
    assert shared(DataRecipe(split="pair", **options)) > 0  # the control: rows as drawn do share


def test_a_split_only_deals_out_the_rows_drawn():
    def rows(split):
        parts = sample(DataRecipe(rows=1000, split=split)).values()
        return sorted((x, y) for pairs in parts for x, y in zip(pairs.x.tolist(), pairs.y.tolist(), strict=True))

    assert rows("sum") == rows("unordered_pair") == rows("pair")


def test_shares_are_about_right_and_seeds_matter():
    parts = sample(DataRecipe(split="sum", val_fraction=0.2, test_fraction=0.1))
    assert [len(parts[part].x) / 20000 for part in ("train", "val", "test")] == pytest.approx(
        [0.7, 0.2, 0.1], abs=0.002
    )
    first, again, other = (sample(DataRecipe(rows=50, split="sum", seed=seed))["train"].x for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "add"}, "task is 'add'; expected one of sum, mod"),
        ({"split": "x"}, "split is 'x'; expected one of pair, unordered_pair, sum"),
        ({"task": "mod", "modulus": 1}, "modulus is 1; expected 2 or more"),
        ({"rows": 1}, "rows is 1; expected 2 to"),
        ({"min_operand": 5, "max_operand": 4}, "operands run from 5 to 4"),
        ({"min_operand": -1}, "operands run from -1"),
        ({"val_fraction": 0.0}, "val_fraction is 0.0"),
        ({"val_fraction": 0.6, "test_fraction": 0.4}, "expected shares that leave something to train on"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_impossible_recipes_are_refused(options, message):
    with pytest.raises(ArithprobeError, match=message.replace("(", r"\(")):
        DataRecipe(**options)


def test_an_empty_part_is_refused():
    with pytest.raises(ArithprobeError, match="the train part is empty"):
        sample(DataRecipe(rows=50, max_operand=0, split="sum"))
