"""Shipped configurations are found by name from any folder, listed, and copied out; the wheel holds them."""

import shutil
import subprocess
import sys
import zipfile

import pytest
import yaml
from conftest import ROOT, assert_refused

from arithprobe import __version__
from arithprobe.cli.shipped import config_file, shipped
from arithprobe.errors import ArithprobeError

NAMES = {path.stem for path in (ROOT / "configs").glob("*.yaml")}


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("given", ["reg_sum", "reg_sum.yaml", "reg_sum.yml", "configs/reg_sum.yaml"])
def test_a_name_is_the_shipped_file_in_any_folder(given, elsewhere):
    assert config_file(given) == str(ROOT / "configs" / "reg_sum.yaml")


def test_a_file_here_wins_over_the_shipped_one_of_its_name(elsewhere):
    (elsewhere / "reg_sum.yaml").write_text("name: mine\n")
    assert config_file("reg_sum") == config_file("reg_sum.yaml") == "reg_sum.yaml"
    assert config_file("configs/reg_sum.yaml") != "reg_sum.yaml"  # the control: another path
    (elsewhere / "reg_modk").mkdir()  # a folder is no configuration
    assert config_file("reg_modk") == str(ROOT / "configs" / "reg_modk.yaml")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("reg_summ", "did you mean 'reg_sum'.*shipped: emergence, reg_modk"),
        ("elsewhere/reg_sum.yaml", "elsewhere/reg_sum.yaml: there is no such file$"),
        (".", "is a folder"),
    ],
)
def test_an_unknown_one_is_refused_in_one_line_that_lists_them(given, message, elsewhere, run):
    with pytest.raises(ArithprobeError, match=message):
        config_file(given)
    assert_refused(run("fit", "--config", given), message)
    assert_refused(run("sweep", "--config", given), message)


@pytest.mark.filterwarnings("default::arithprobe.errors.SharedRowsWarning")
def test_commands_take_the_name_and_later_files_add_up(elsewhere, run, capsys):
    (elsewhere / "more.yaml").write_text("name: wide\nmodel: {d_model: 64}\n")
    with pytest.raises(SystemExit):
        run(
            "fit", "--config=reg_sum", "--config", "more.yaml", "--config", "trainer: {max_epochs: 3}", "--print_config"
        )
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["name"] == "wide" and printed["model"]["d_model"] == 64 and printed["trainer"]["max_epochs"] == 3
    assert printed["data"]["train_file"] == "data/REG-SUM_train.tsv"  # of the shipped one
    code, out, _ = run("sweep", "--config", "scale_reg_modk", "--dry_run")
    assert code == 0 and "parameters" in out  # its base is shipped too


def test_they_are_listed_with_what_they_train_and_printed(elsewhere, run):
    code, out, _ = run("configs")
    assert code == 0 and {line for line in out.splitlines() if line in NAMES} == NAMES == set(shipped())
    assert "    Expected: PARTLY LEARNED, R2 0.998" in out
    assert run("configs", "reg_sum")[1] == (ROOT / "configs" / "reg_sum.yaml").read_text()


def test_one_is_copied_out_and_nothing_is_replaced(elsewhere, run):
    assert run("configs", "reg_sum", "--copy", ".")[0] == 0
    assert (elsewhere / "reg_sum.yaml").read_text() == (ROOT / "configs" / "reg_sum.yaml").read_text()
    (elsewhere / "reg_sum.yaml").write_text("name: edited\n")
    assert_refused(run("configs", "reg_sum", "--copy", "."), "reg_sum.yaml: exists")
    assert (elsewhere / "reg_sum.yaml").read_text() == "name: edited\n"
    assert run("configs", "reg_sum", "--copy", "new/other.yaml")[0] == 0 and (elsewhere / "new/other.yaml").is_file()
    assert_refused(run("configs", "reg_su"), "no shipped configuration 'reg_su'; did you mean 'reg_sum'")
    assert_refused(run("configs", "--copy", "."), "--copy needs the name")


@pytest.mark.slow(seconds=4)
def test_the_wheel_holds_the_configurations_as_they_are(tmp_path):
    """Built from a copy without what is ignored, by the installed setuptools."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "arithprobe", source / "arithprobe", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "configs", source / "configs")
    for name in ("pyproject.toml", "setup.py", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    build = "from setuptools import build_meta; build_meta.build_wheel('out')"
    (source / "out").mkdir()
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = (source / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as held:
        found = {name: held.read(name) for name in held.namelist() if name.startswith("arithprobe/configs/")}
        top = {name.partition("/")[0] for name in held.namelist()}
    assert found == {f"arithprobe/configs/{name}.yaml": (ROOT / f"configs/{name}.yaml").read_bytes() for name in NAMES}
    assert top == {"arithprobe", f"arithprobe-{__version__}.dist-info"}  # no tests, scripts or data at the top


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == __version__ and cited["license"] == "MIT"


BASH = """
source completion
try() {
    COMP_WORDS=($1)
    [ "${1: -1}" = " " ] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _shtab_arithprobe 2> /dev/null
    echo "${COMPREPLY[*]}"
}
"""


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("arithprobe int", "intervene"),
        ("arithprobe fit --config reg_modk_", "reg_modk_circular reg_modk_residue"),
        ("arithprobe fit --model.d_", "--model.d_model --model.d_ff"),
        ("arithprobe probe --alpha_by ", "gcv folds"),
        ("arithprobe configs scale", "scale_reg_modk"),
        ("arithprobe probe runs/", "runs/one"),
        ("arithprobe nothing", ""),
    ],
)
def test_bash_completes_commands_options_choices_names_and_folders(typed, expected, elsewhere, run):
    (elsewhere / "runs" / "one").mkdir(parents=True)
    (elsewhere / "completion").write_text(run("completion", "bash")[1])
    script = BASH + f'try "{typed}"\n'
    done = subprocess.run(["bash", "-c", script], cwd=elsewhere, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == expected, done.stderr


def test_another_shell_is_refused(run):
    assert_refused(run("completion", "fish"), "SHELL is fish; expected one of bash, zsh, tcsh")
    assert_refused(run("completion"), "SHELL is missing")
