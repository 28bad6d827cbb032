"""The command line: every mistake is one line, exit code 2, and nothing written."""

import functools
import gc
import json
import pickle
import re
import subprocess
import sys

import pytest
import torch
import yaml
from conftest import ROOT, SMALL, assert_refused
from short_fits import command, files_in, fit_words, run_of
from test_transformer import Original

from arithprobe import cli
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.tsv import read_tsv

LONG = "5 + 7 = ?\t12\n9 + 30 = ?\t39\n"


def refused(outcome, folder, before):
    """The one line on stderr of a command that was refused and left nothing behind."""
    code, _, err = outcome
    lines = err.splitlines()
    assert code == 2
    assert len(lines) == 1, err
    assert lines[0].startswith("arithprobe: error: ")
    assert sorted(folder.rglob("*")) == before
    return lines[0].removeprefix("arithprobe: error: ")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """The folder of the checkpoints of the small fit, which is done once and left as it is."""
    folder = tmp_path_factory.mktemp("trained")
    code, _, err = command(*fit_words(files_in(folder), folder))
    assert code == 0, err
    return run_of(folder) / "checkpoints"


@pytest.fixture
def fails(run, small_fit, tmp_path):
    """Run the small fit with further words, and expect to be refused."""

    def call(*words):
        before = sorted(tmp_path.rglob("*"))
        return refused(run(*small_fit, *words), tmp_path, before)

    return call


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("", "the file is empty"),
        ("\n\n\n", "the file has only blank lines"),
        ("5 + 7 (mod 97) = ?\t12\n", "holds (mod 97) problems, expected plain sums"),
        (LONG + "5 + 7 = ?\n", ":3: expected 'problem<TAB>answer', got 1 field"),
        (LONG + "5 + 7 = ?\t12\t\n", ":3: expected 'problem<TAB>answer', got 3 fields"),
        (LONG + "5 + 7 = ?\tx\n", ":3: expected a finite number as the answer, got 'x'"),
        (LONG + "5 + 7 = ?\tnan\n", ":3: expected a finite number"),
        (LONG + "5 + 7 = ?\t-inf\n", ":3: expected a finite number"),
        (LONG + "5 + 7 = !\t12\n", ":3:9: character '!' (U+0021) is outside the vocabulary"),
        (LONG + "5 + 7 = \t12\n", ":3: '5 + 7 = ' is neither"),
        (LONG + "5 + 7 = ?\t13\n", ":3: the answer to '5 + 7 = ?' is 12, the file says 13"),
        (b"5 + 7 = ?\t12\n5 \xe9 7 = ?\t12\n", ":2:3: not UTF-8 (byte 0xE9)"),
    ],
)
@pytest.mark.slow(seconds=0.2)
def test_bad_files(fails, tmp_path, content, message):
    path = tmp_path / "bad.tsv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert fails("--data.train_file", path).startswith(
        f"{path}{message if message.startswith(':') else ': ' + message}"
    )


def test_mixed_moduli(fails, tmp_path):
    path = tmp_path / "bad.tsv"
    path.write_text("5 + 7 (mod 97) = ?\t12\n5 + 7 (mod 13) = ?\t12\n")
    said = fails("--data.train_file", path, "--data.recipe.task", "mod")
    assert said == f"{path}:2: modulus 13 here, modulus 97 on line 1; expected one task a file"


def test_shared_rows(fails, small_data):
    said = fails("--data.val_file", small_data["train"])
    assert said.endswith("split 'sum' forbids it")
    assert said.startswith("350 of 350 rows")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.max_len", "9"], "13 tokens, the position table holds 9; pass --model.max_len 13"),
        (["--model.d_modle", "8"], "unknown option --model.d_modle; did you mean --model.d_model?"),
        (["--model.lr", "fast"], "--model.lr: expected float, got 'fast'"),
        (["--trainer.max_epochs", "few"], "--trainer.max_epochs: expected int or null, got 'few'"),
        (["--model.n_heads", "3"], "n_heads is 3; expected a divisor of d_model, 16"),
        (["--trainer.callbacks", "RidgeProbe"], "unknown class 'RidgeProbe'; did you mean 'RidgeProbing'?"),
        (["--trainer.callbacks", "nowhere.Probe"], "--trainer.callbacks: unknown class 'nowhere.Probe'"),
        (
            ["--trainer.callbacks", "RidgeProbing", "--trainer.callbacks.alhpa", "3"],
            "--trainer.callbacks: RidgeProbing has no option 'alhpa'; did you mean 'alphas'?",
        ),
        (
            ["--trainer.callbacks", "RidgeProbing", "--trainer.callbacks.alphas", "0"],
            "RidgeProbing: alphas is 0.0; expected a positive penalty",
        ),
        (["--data.recipe.task", "modd"], "--data.recipe.task: expected one of 'sum', 'mod', got 'modd'"),
        (["--data.recipe.rows", "1"], "rows is 1; expected 2 to"),
        (["--config", "nowhere.yaml"], "--config nowhere.yaml: there is no such file"),
        (["--trainer.max_epoch", "3"], "unknown option --trainer.max_epoch; did you mean --trainer.max_epochs?"),
        (["--trainer.devices", "x"], "devices"),
        (["--trainer.accumulate_grad_batches", "0"], "--trainer.accumulate_grad_batches is 0; expected 1 or more"),
        (["--trainer.callbacks", "RidgeProbing", "--trainer.callbacks.seed", "-3"], "seed is -3"),
        (["--checkpoint.monitor", "ridge_sum/final@last/r2"], "monitor 'ridge_sum/final@last/r2' is not logged"),
        (["--checkpoint.dirpath", "/proc/none"], "output folder cannot be written"),
        (["--model.objective.scale", "1e-300"], "scale is 1e-300"),
        (["--seed_everything", "-1"], "-1"),
        (["--trainer.val_check_interval", "100"], "val_check_interval is 100; expected 1 to 11"),
        (["--trainer.accelerator", "abacus"], "You selected an invalid accelerator name"),
        (["--ckpt_path", "nowhere.ckpt"], "nowhere.ckpt: no such file"),
        (["--model.weights", "nowhere.pt"], "nowhere.pt: no such file"),
    ],
)
@pytest.mark.slow(seconds=0.2)
def test_bad_options(fails, words, message):
    assert message in fails(*words)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("model: {d_modle: 8}", "unknown option --model.d_modle; did you mean --model.d_model?"),
        ("modle: {d_model: 8}", "unknown option --modle.d_model; did you mean --model.d_model?"),
        ("model: {lr: [1]}", "--model.lr: expected float, got '[1]'"),
        (
            "trainer: {callbacks: [{class_path: RidgeProbin}]}",
            "unknown class 'RidgeProbin'; did you mean 'RidgeProbing'?",
        ),
        (
            "trainer: {callbacks: [{class_path: RidgeProbing, init_args: {fold: 3}}]}",
            "no option 'fold'; did you mean 'folds'?",
        ),
        ("trainer: {callbacks: [{class_path: RidgeProbing, init_args: {folds: x}}]}", "RidgeProbing: "),
        ("model: {lr: 3", "is no YAML: while parsing"),
        ("model: [1]", "model is [1]; expected the options of model"),
        ("", "holds nothing; expected options, such as"),
        ("- a", "holds ['a']; expected options, such as"),
        ("{name: grid, set: {model.lr: 0.1}}", "is a configuration of 'arithprobe sweep'"),
        ("model: {lr: .inf}", "lr is inf"),
        ("data: {recipe: null}", ""),
    ],
)
def test_bad_configurations(fails, tmp_path, yaml, message):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml)
    assert message in fails("--config", path)


@pytest.mark.slow
def test_checkpoints_that_do_not_fit(checkpoints, tmp_path, fails):
    best = checkpoints / "best.ckpt"
    said = fails("--ckpt_path", best, "--model.d_model", 32)
    assert "another architecture: 'model.tok.weight' has shape (21, 16), the model expects (21, 32)" in said
    plain = tmp_path / "plain.pt"
    torch.save(torch.load(best, weights_only=True)["state_dict"], plain)
    assert "is no Lightning checkpoint; pass a plain state_dict as --model.weights" in fails("--ckpt_path", plain)
    assert "is a Lightning checkpoint; pass it as --ckpt_path" in fails("--model.weights", best)
    torch.save(Original(), tmp_path / "code.pt")
    assert "nothing else is loaded (weights_only=True)" in fails("--model.weights", tmp_path / "code.pt")
    assert "nothing else is loaded (weights_only=True)" in fails("--ckpt_path", tmp_path / "code.pt")
    with (tmp_path / "raw.pkl").open("wb") as file:
        pickle.dump({"a": 1}, file, protocol=4)
    for option in ("--model.weights", "--ckpt_path"):
        assert "nothing else is loaded (weights_only=True)" in fails(option, tmp_path / "raw.pkl")
    assert "not both" in fails("--model.weights", tmp_path / "code.pt", "--ckpt_path", best)
    content = torch.load(best, weights_only=True)
    torch.save({k: v for k, v in content.items() if k != "optimizer_states"}, tmp_path / "light.ckpt")
    assert "has weights only; a fit cannot go on from it" in fails("--ckpt_path", tmp_path / "light.ckpt")
    torch.save(content | {"arithprobe": {"task": "x + y (mod 97)"}}, tmp_path / "mod.ckpt")
    said = fails("--ckpt_path", tmp_path / "mod.ckpt")
    assert said.endswith("mod.ckpt: the checkpoint's task is 'x + y (mod 97)', here it is 'x + y'")
    for word in ("best", "last"):
        assert f"--ckpt_path is {word}; there is no" in fails("--ckpt_path", word)
    assert "hpc_ckpt_*.ckpt" in fails("--ckpt_path", "hpc")


def test_an_output_folder_that_cannot_be_written(run, small_fit, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    before = sorted(tmp_path.rglob("*"))
    said = refused(run(*small_fit, "--trainer.default_root_dir", blocked), tmp_path, before)
    assert "output folder cannot be written: Not a directory" in said


@pytest.mark.filterwarnings("default::arithprobe.errors.SharedRowsWarning")  # the notebook's rows
def test_a_refused_run_makes_no_data_either(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (
        ["--model.max_len", 5],
        ["--trainer.callbacks", "RidgeProbing", "--trainer.callbacks.targets", "[foo]"],
    ):
        refused(run("fit", *words), tmp_path, [])


def test_training_rows_that_judging_needs_are_read_first(run, small_data, tmp_path):
    torch.save(Original(16, 2, 2, 32).state_dict(), tmp_path / "plain.pt")
    sizes = [word for name, value in SMALL.items() for word in (f"--model.{name}", value)]
    files = ["--data.val_file", small_data["val"], "--data.train_file", tmp_path / "none.tsv"]
    words = [
        "validate",
        *sizes,
        *files,
        "--model.weights",
        tmp_path / "plain.pt",
        "--trainer.default_root_dir",
        tmp_path,
    ]
    before = sorted(tmp_path.rglob("*"))
    assert "none.tsv: no such file" in refused(run(*words), tmp_path, before)


@pytest.mark.parametrize("name", ["../x", "..", "/tmp/x", "", "a//b", "a/../../b", "a\nb"])
def test_a_name_stays_in_the_log_folder(fails, name):
    assert "expected letters, digits" in fails("--name", name)


def test_without_a_logger_nothing_of_the_users_is_overwritten(run, small_fit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("# mine\nmodel: {dropout: 0.2}\n")
    assert run(*small_fit, "--config", "config.yaml", "--trainer.logger", "false")[0] == 0
    assert (tmp_path / "config.yaml").read_text().startswith("# mine")


@pytest.mark.slow
def test_last_is_the_last_epoch_and_best_the_best(run, small_fit, tmp_path):
    """A fit whose best epoch, by an odd taste, is its first: what has one name comes from one epoch."""
    assert run(*small_fit, "--trainer.max_epochs", 4, "--checkpoint.mode", "max")[0] == 0
    folder = tmp_path / "lightning_logs" / "run" / "version_0"
    reports = json.loads((folder / "behaviour.json").read_text())
    epochs = {name: torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["epoch"] for name in reports}
    assert epochs == {name: report["epoch"] for name, report in reports.items()}
    assert epochs == {"last": 3, "best": 0}
    for name in reports:
        words = ["--data.val_file", tmp_path / "small_val.tsv", "--trainer.default_root_dir", tmp_path / name]
        checkpoint = folder / "checkpoints" / f"{name}.ckpt"
        assert run("validate", *words, "--ckpt_path", checkpoint, "--trainer.enable_progress_bar", "false")[0] == 0
        again = tmp_path / name / "lightning_logs" / "run" / "version_0" / "behaviour.json"
        assert json.loads(again.read_text())["validate"]["rmse"] == pytest.approx(reports[name]["rmse"], rel=1e-5)


@pytest.mark.slow
def test_the_verdict_comes_first_and_the_checkpoint_decides_the_model(run, small_fit, tmp_path):
    assert run(*small_fit)[0] == 0
    folder = tmp_path / "lightning_logs" / "run" / "version_0"
    words = ["--trainer.default_root_dir", tmp_path / "again", "--trainer.enable_progress_bar", "false"]
    _, out, err = run("validate", folder, *words, "--model.d_model", 64)
    assert "--model.d_model changes nothing; the checkpoint decides the model" in err
    assert "val/loss" not in out and "LEARNED" in out  # Lightning's own table would come before the verdict
    assert "changes nothing" not in run("validate", folder, *words)[2]
    (folder / "checkpoints" / "last.ckpt").unlink()
    _, out, _ = run(*small_fit, "--trainer.max_epochs", 3, "--ckpt_path", folder)
    assert "best.ckpt (there is no last.ckpt: the fit may go on from an earlier step)" in out


TO_FIT = ("max_epochs", "--model.lr", "--checkpoint.monitor", "train_file")


def test_commands_and_their_near_match(run):
    assert run("--help")[0] == run("--version")[0] == run()[0] == 0
    assert run("--help")[1] == run()[1]
    code, _, err = run("fti")
    assert (code, err.count("\n")) == (2, 1)
    assert "no command 'fti'; did you mean 'fit'?" in err


@pytest.mark.parametrize(
    ("command", "least", "never"), [("fit", 25, ()), ("validate", 9, TO_FIT), ("predict", 9, TO_FIT)]
)
def test_the_short_help_names_options_as_they_are(command, least, never, run, capsys):
    """Each option of the quick help, and its default, is the parser's; what only a fit uses is only in its help."""
    code, out, _ = run(command, "--help")
    example = "--config reg_sum" if command == "fit" else "lightning_logs/reg_sum/version_0"
    assert code == 0 and f"  arithprobe {command} {example}" in out
    assert run(command, "--config", "reg_sum", "--help")[1] == out
    assert not [one for one in never if one in out] and all(one in run("fit", "--help")[1] for one in TO_FIT)
    with pytest.raises(SystemExit):
        run(command, "--print_config")
    defaults = yaml.safe_load(capsys.readouterr().out)
    with pytest.raises(SystemExit):
        run(command, "--help_all")
    everything = capsys.readouterr().out
    named = re.findall(r"^  --(\S+) (\S+)", out, flags=re.MULTILINE)
    assert len(named) > least
    for option, default in named:
        assert (
            f"--{option.removesuffix('.scale')}" in everything
        )  # the options of a class are listed by --help_all CLASS
        if default not in ("FILE", "DIR", "N", "RUN", "RidgeProbing") and option != "print_config":
            path = option.replace("objective.", "objective.init_args.").split(".")
            value = functools.reduce(lambda tree, key: tree[key], path, defaults)
            value = value["class_path"].rpartition(".")[2] if isinstance(value, dict) else value
            assert str(value).replace(" ", "").lower() == default.lower(), option


@pytest.mark.slow
def test_the_process_ends_with_the_same_code(tmp_path):
    words = [sys.executable, "-m", "arithprobe", "generate", "--rows", "1"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == "arithprobe: error: rows is 1; expected 2 to 100000000, one at least to train and to validate\n"
    )


def test_a_process_of_its_own_never_looks_through_its_imports_for_garbage(monkeypatch, tmp_path, capsys):
    """The control: called from Python, a command leaves the collector as it is."""
    monkeypatch.chdir(tmp_path)
    words = ["generate", "--rows", "1"]
    assert cli.main(words) == 2 and (gc.get_freeze_count(), gc.isenabled()) == (0, True)
    monkeypatch.setattr("sys.argv", ["arithprobe", *words])
    assert cli.main() == 2 and gc.get_freeze_count() == 0  # nor a second time
    monkeypatch.delitem(sys.modules, "arithprobe.cli.generate")
    try:
        assert cli.main() == 2 and gc.get_freeze_count() > 10_000 and gc.isenabled()
    finally:
        gc.unfreeze()
    assert capsys.readouterr().err.count("rows is 1") == 3


def test_generate_makes_the_committed_data(run, tmp_path):
    code, out, _ = run("generate", "--task", "mod", "--output_dir", tmp_path)
    assert code == 0
    for part in ("train", "val"):
        made = tmp_path / f"REG-MODK_{part}.tsv"
        assert f"{made}: " in out
        assert made.read_bytes() == (ROOT / "data" / made.name).read_bytes()
    code, _, err = run("generate", "--task", "mod", "--output_dir", tmp_path)
    assert code == 2
    assert "exists; pass --overwrite" in err
    assert run("generate", "--task", "mod", "--output_dir", tmp_path, "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "add"], "--task: expected"),
        (["--rows", "5x"], "--rows: expected int, got '5x'"),
        (["--size", "5"], "unknown option --size"),
        (["--split", "summ"], "--split: expected"),
        (["--output_dir", "/proc/none"], "cannot be written"),
    ],
)
def test_generate_refuses(run, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused(run("generate", *words), tmp_path, [])


@pytest.mark.slow
def test_a_run_leaves_what_the_design_promises(run, small_fit, tmp_path):
    code, out, _ = run(*small_fit, "--name", "mine", "--trainer.callbacks", "RidgeProbing")
    assert code == 0
    folder = tmp_path / "lightning_logs" / "mine" / "version_0"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    events = {name for name in files if name.startswith("events.")}
    assert len(events) == 1
    assert files - events == {
        "config.yaml",
        "hparams.yaml",
        "metrics.csv",
        "behaviour.json",
        "predictions.tsv",
        "provenance.json",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "probes/ridge.jsonl",
        "probes/ridge.page.json",
        "figures/ridge_sum.png",
        "figures/ridge_sum.svg",
    }
    assert f"tensorboard --logdir {tmp_path / 'lightning_logs'}" in out
    assert "NOT LEARNED" in out
    header, first, *_ = (folder / "predictions.tsv").read_text().splitlines()
    assert header == "problem\tanswer\tlast\tbest"
    assert len(first.split("\t")) == 4
    assert run(*small_fit, "--name", "mine")[0] == 0
    assert (folder.parent / "version_1" / "metrics.csv").exists()


@pytest.mark.slow
def test_validate_test_and_predict_take_a_checkpoint(run, checkpoints, small_data, tmp_path):
    best = checkpoints / "best.ckpt"
    rows = small_data["val"]
    options = [
        *("--ckpt_path", best, "--trainer.default_root_dir", tmp_path, "--trainer.enable_progress_bar", "false"),
        *("--data.val_file", rows, "--data.test_file", rows),
    ]
    answers = []
    for version, stage in enumerate(("validate", "test", "predict")):
        assert run(stage, *options, "--trainer.callbacks", "RidgeProbing")[0] == 0
        folder = tmp_path / "lightning_logs" / "run" / f"version_{version}"
        answers.append((folder / "predictions.tsv").read_text())
        assert (folder / "behaviour.json").exists() == (stage != "predict")
        assert (folder / "probes" / "ridge.jsonl").exists() == (stage == "validate")
    assert answers[0] == answers[1] == answers[2]
    assert "\tprediction\n" in answers[0]


def test_an_original_checkpoint_gives_the_original_predictions(run, small_data, tmp_path):
    torch.manual_seed(0)
    original = Original(d_model=16, n_layers=2, n_heads=2, d_ff=32)
    torch.save(original.state_dict(), tmp_path / "REG-SUM_best.pt")
    sizes = [word for name, value in SMALL.items() for word in (f"--model.{name}", value)]
    code, out, err = run(
        "validate",
        *sizes,
        *("--model.weights", tmp_path / "REG-SUM_best.pt"),
        *("--data.val_file", small_data["val"]),
        *("--data.train_file", small_data["train"]),
        *("--trainer.default_root_dir", tmp_path),
        *("--trainer.enable_progress_bar", "false"),
    )
    assert code == 0, err
    assert "NOT LEARNED" in out
    written = (tmp_path / "lightning_logs" / "run" / "version_0" / "predictions.tsv").read_text().splitlines()[1:]
    rows = ArithmeticDataset(read_tsv(small_data["val"]))
    with torch.no_grad():
        expected = original.eval()(rows.ids.long(), rows.lengths)[0].squeeze(1)
    found = torch.tensor([float(line.split("\t")[2]) for line in written]) / 2000
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_to_fit_the_command_line_beats_the_checkpoint_and_to_validate_it_does_not(
    run, small_fit, checkpoints, tmp_path
):
    logs = tmp_path / "lightning_logs" / "run"
    last = checkpoints / "last.ckpt"
    assert run(*small_fit, "--ckpt_path", last, "--model.dropout", 0.5, "--trainer.max_epochs", 3)[0] == 0
    assert "dropout: 0.5" in (logs / "version_0" / "config.yaml").read_text()
    words = [
        "validate",
        *small_fit[1:7],
        "--trainer.default_root_dir",
        tmp_path,
        "--trainer.enable_progress_bar",
        "false",
    ]
    assert run(*words, "--ckpt_path", last, "--model.d_model", 8)[0] == 0
    assert "d_model: 16" in (logs / "version_1" / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("option", "value", "stored"),
    [
        ("norm", "pre", "'post'"),
        ("positions", "place", "'absolute'"),
        ("n_heads", 4, "2"),
        ("lr", 0.5, "0.002"),
        ("schedule", "cosine", "'constant'"),
        ("betas", "[0.5, 0.5]", r"[\(\[]0.9, 0.999[\)\]]"),
    ],
)
@pytest.mark.slow(seconds=0.2)
def test_a_fit_goes_on_as_it_began(option, value, stored, run, small_fit, checkpoints):
    """What a checkpoint restores, or the shapes of its weights do not tell, cannot be changed on the way."""
    done = run(*small_fit, "--ckpt_path", checkpoints / "last.ckpt", f"--model.{option}", value)
    assert_refused(done, rf"last.ckpt: has {option} {stored}, here it is .*; a run goes on as it began")


def test_a_trial_run_leaves_nothing(run, small_fit, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert run(*small_fit, "--trainer.fast_dev_run", "true", "--trainer.callbacks", "RidgeProbing")[0] == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_rows_left_out_have_no_prediction(run, small_fit, tmp_path):
    assert run(*small_fit, "--trainer.limit_val_batches", 2)[0] == 0
    lines = (tmp_path / "lightning_logs" / "run" / "version_0" / "predictions.tsv").read_text().splitlines()[1:]
    assert sum(line.endswith("\t\t") for line in lines) == 150 - 2 * 32


def test_a_monitor_that_nobody_logs_is_a_mistake_not_a_bug(run, small_fit):
    code, _, err = run(*small_fit, "--checkpoint.monitor", "val/los")
    assert code == 2
    assert "monitor 'val/los' is not logged; did you mean 'val/loss'?" in err
