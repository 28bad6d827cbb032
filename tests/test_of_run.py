"""A run folder is enough for a command: it says the checkpoint, the rows and where results go."""

import json
import os
import shutil

import pytest
from conftest import assert_refused
from jsonargparse import Namespace

from arithprobe.cli.judged_run import with_its_run
from arithprobe.cli.of_run import complete
from arithprobe.errors import ArithprobeError
from arithprobe.files import sha256_of
from arithprobe.models.checkpoint_files import checkpoint_in


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A run folder with two empty checkpoints, and its rows."""
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "lightning_logs" / "run" / "version_0"
    (made / "checkpoints").mkdir(parents=True)
    for name in ("best", "last"):
        (made / "checkpoints" / f"{name}.ckpt").write_text(name)
    (tmp_path / "val.tsv").write_text("1 + 2 = ?\t3\n")
    rows = {"path": "val.tsv", "sha256": sha256_of(tmp_path / "val.tsv")}
    (made / "provenance.json").write_text(json.dumps({"folder": str(tmp_path), "data": {"val": rows}}))
    return made.relative_to(tmp_path)


def completed(**given):
    options = Namespace(**({"run": None, "checkpoint": None, "data": None, "output_dir": None} | given))
    complete(options, "heads")
    return options.checkpoint, options.data, options.output_dir


@pytest.mark.parametrize("option", ["run", "checkpoint"])
def test_a_run_says_its_best_checkpoint_its_rows_and_its_folder(option, folder, capsys):
    expected = (str(folder / "checkpoints/best.ckpt"), "val.tsv", str(folder / "heads"))
    assert completed(**{option: str(folder)}) == expected
    assert "best.ckpt" in capsys.readouterr().out  # which file it took
    assert completed(**{option: str(folder / "checkpoints/last.ckpt")}) == (
        str(folder / "checkpoints/last.ckpt"),
        *expected[1:],
    )


def test_what_is_given_stands(folder):
    assert completed(run=str(folder), data="mine.tsv", output_dir="out")[1:] == ("mine.tsv", "out")


def test_rows_are_found_from_another_folder(folder, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert completed(run=str(tmp_path / folder))[1] == str(tmp_path / "val.tsv")


def test_rows_that_are_gone_or_have_changed_are_not_taken(folder, tmp_path):
    (tmp_path / "val.tsv").write_text("1 + 2 = ?\t4\n")
    with pytest.raises(ArithprobeError, match=r"val\.tsv has changed since the run; pass --data val\.tsv to use it"):
        completed(run=str(folder))
    (tmp_path / "val.tsv").unlink()
    with pytest.raises(ArithprobeError, match=r"the validation rows of the run, val\.tsv, are not here"):
        completed(run=str(folder))
    shutil.copy(folder / "checkpoints/best.ckpt", "alone.ckpt")
    with pytest.raises(ArithprobeError, match=r"alone\.ckpt is in no run folder"):
        completed(run="alone.ckpt")


def test_two_models_are_refused(folder):
    with pytest.raises(ArithprobeError, match="both name a model; give one"):
        completed(run=str(folder), checkpoint="other.ckpt")


def test_of_several_runs_one_has_to_be_named(folder):
    for number in (2, 10):
        shutil.copytree(folder, folder.parent / f"version_{number}")
    with pytest.raises(ArithprobeError, match=f"or a run: {folder.parent}{os.sep}version_10"):
        completed(run=str(folder.parent))


def test_a_fit_goes_on_from_the_last_checkpoint_of_a_run_and_is_judged_by_the_best(folder, run):
    assert checkpoint_in(folder, "last").name == "last.ckpt" and checkpoint_in(folder).name == "best.ckpt"
    (folder / "checkpoints/last.ckpt").unlink()
    assert checkpoint_in(folder, "last").name == "best.ckpt"
    assert_refused(run("validate", "--ckpt_path", folder), "best.ckpt: not a checkpoint")
    assert_refused(run("validate", "--model.weights", folder), "is a folder; expected a file of weights .*--ckpt_path")


DATA = {"data": {"val_file": "val.tsv", "batch_size": 7}, "name": "mine", "model": {"lr": 1.0}}


def data_of(words):
    assert words[1] == "--config"
    return json.loads(words[2]), words[3:]


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
@pytest.mark.parametrize("option", [[], ["--ckpt_path"]])
def test_commands_that_judge_take_the_data_of_the_run(command, option, folder, capsys):
    (folder / "config.yaml").write_text(json.dumps(DATA))
    config, rest = data_of(with_its_run([command, *option, str(folder), "--threads", "1"], print))
    assert config == {"data": DATA["data"], "name": "mine"}  # not the model: that is the checkpoint's
    assert rest == ["--ckpt_path", str(folder), "--threads", "1"]
    assert "config.yaml" in capsys.readouterr().out


def test_the_data_of_the_run_are_found_from_another_folder(folder, tmp_path, monkeypatch):
    (folder / "config.yaml").write_text(json.dumps(DATA))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config, _ = data_of(with_its_run(["validate", str(tmp_path / folder)], print))
    assert config["data"]["val_file"] == str(tmp_path / "val.tsv")


def test_what_is_given_to_commands_that_judge_stands(folder, tmp_path):
    (folder / "config.yaml").write_text(json.dumps(DATA))
    run = ["--ckpt_path", str(folder)]
    for words in (["fit", *run], ["validate", *run, "--config", "x"], ["validate", *run, "-c", "x"], ["predict"]):
        assert with_its_run(words, print) == words
    assert with_its_run(["validate", "--ckpt_path", "best"], print) == ["validate", "--ckpt_path", "best"]  # of --name
    (tmp_path / "val.tsv").write_text("1 + 2 = ?\t4\n")
    with pytest.raises(ArithprobeError, match=r"val\.tsv has changed since the run; pass --data\.val_file val\.tsv"):
        with_its_run(["validate", str(folder)], print)
    _, rest = data_of(with_its_run(["validate", str(folder), "--data.val_file", "val.tsv"], print))
    assert rest[-2:] == ["--data.val_file", "val.tsv"]
    (folder / "provenance.json").unlink()  # a folder with a file of that name is no run
    assert with_its_run(["validate", str(folder)], print) == ["validate", "--ckpt_path", str(folder)]


def test_a_run_is_judged_on_its_own_rows(run, small_fit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*small_fit)[0] == 0
    fitted = next((tmp_path / "lightning_logs").glob("*/version_0"))
    code, out, err = run("validate", fitted, "--trainer.enable_progress_bar", "false")
    assert code == 0, err
    judged = fitted.with_name("version_1")
    assert f"data:        as in {fitted / 'config.yaml'}" in out and judged.name in out
    trained, again = (json.loads((one / "behaviour.json").read_text()) for one in (fitted, judged))
    moment = {"epoch": None, "step": None}
    assert again["validate"] | moment == trained["best"] | moment
