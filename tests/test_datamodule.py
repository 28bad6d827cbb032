"""The data module: the right files, read once, of the right task, that keep the split's word."""

import pytest

from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.data.sampling import DataRecipe
from arithprobe.errors import ArithprobeError, SharedRowsWarning


def test_missing_files_of_the_recipe_are_made(tmp_path):
    recipe = DataRecipe(task="mod", modulus=13, rows=300, split="sum", test_fraction=0.2)
    data = ArithmeticDataModule(recipe=recipe, data_dir=str(tmp_path))
    data.prepare_data()
    data.setup("fit")
    assert data.dataset("test").modulus == 13
    assert sorted(path.name for path in tmp_path.iterdir()) == [recipe.file_name(part) for part in ("train", "val")]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    ArithmeticDataModule(recipe=recipe, data_dir=str(tmp_path)).prepare_data()
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_validating_makes_no_training_file(tmp_path, monkeypatch, small_data):
    monkeypatch.chdir(tmp_path)
    data = ArithmeticDataModule(val_file=str(small_data["val"]))
    data.setup("validate")
    assert data.train_mean > 0  # asked for, so drawn
    assert not (tmp_path / "data").exists()
    data.prepare_data()  # without a trainer: all that a fit needs
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["REG-SUM_train.tsv"]


def test_other_missing_files_are_not_made(tmp_path):
    data = ArithmeticDataModule(train_file=str(tmp_path / "typo.tsv"), data_dir=str(tmp_path))
    data.prepare_data()
    with pytest.raises(ArithprobeError, match=r"typo.tsv: no such file"):
        data.setup("fit")
    assert not (tmp_path / "typo.tsv").exists()


def test_files_are_read_once(small_data):
    data = ArithmeticDataModule(str(small_data["train"]), str(small_data["val"]), recipe=DataRecipe(split="sum"))
    data.setup("fit")
    first = data.dataset("val")
    data.setup("fit")
    assert data.dataset("val") is first
    assert data.train_mean == data.dataset("train").answers.double().mean()


def test_a_file_of_the_other_task_is_refused(small_data):
    data = ArithmeticDataModule(str(small_data["train"]), str(small_data["val"]), recipe=DataRecipe(task="mod"))
    with pytest.raises(
        ArithprobeError, match=r"holds plain sums, expected \(mod 97\) problems; .* --data.recipe.task sum"
    ):
        data.setup("fit")


def test_shared_rows_are_counted_or_refused(small_data):
    train = str(small_data["train"])
    with pytest.warns(SharedRowsWarning, match=r"350 of 350 rows .* share their pair with a row of"):
        ArithmeticDataModule(train, train).setup("fit")
    for split in ("unordered_pair", "sum"):
        with pytest.raises(ArithprobeError, match=f"350 of 350 rows .*split '{split}' forbids it"):
            ArithmeticDataModule(train, train, recipe=DataRecipe(split=split)).setup("fit")


def test_there_is_no_test_file_unless_one_is_named(small_data):
    with pytest.raises(ArithprobeError, match=r"pass --data.test_file FILE"):
        ArithmeticDataModule().setup("test")
    ArithmeticDataModule(test_file=str(small_data["val"])).setup("test")


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(ArithprobeError, match="batch_size is 0"):
        ArithmeticDataModule(batch_size=0)
