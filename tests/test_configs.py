"""Every shipped configuration runs, through the same ``main`` that the shell calls."""

import json

import pytest
import yaml
from conftest import ROOT, read_jsonl
from documented_settings import BRIEF, SMALL
from micro import one_thread  # noqa: F401

ON_TOP = ROOT / "configs" / "emergence.yaml"  # of another configuration
SWEEP = ROOT / "configs" / "scale_reg_modk.yaml"
CONFIGS = sorted(path for path in (ROOT / "configs").glob("*.yaml") if path not in (ON_TOP, SWEEP))
IN_BRIEF = [*BRIEF, *SMALL]
ROWS, RESIDUE_ROWS = 3000, 12000  # of a recipe

# Both notebook recipes split by rows, so a few validation pairs are training pairs; the command line says so.
NOTEBOOKS = ("reg_sum", "reg_modk")
pytestmark = pytest.mark.filterwarnings("default::arithprobe.errors.SharedRowsWarning")


@pytest.fixture(autouse=True)
def _in_the_repository(white, monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_config_is_short_and_prints_whole(config, run):
    assert config.read_text().count("\n") <= 30
    with pytest.raises(SystemExit) as stopped:
        run("fit", "--config", config, "--print_config")
    assert stopped.value.code in (0, None)


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_config_trains_probes_and_judges(config, run, tmp_path):
    """Three steps of it, with a small model; the notebook's rows, or a few that the recipe makes.

    The classification of residues keeps its own size and more rows: of few, a model at chance gets too many right.
    """
    is_residue = config.stem == "reg_modk_residue"
    rows = RESIDUE_ROWS if is_residue else ROWS
    made = ["--data.data_dir", tmp_path / "data", "--data.recipe.rows", rows]
    common = ["--config", config, *(BRIEF if is_residue else IN_BRIEF), *made, "--trainer.default_root_dir", tmp_path]
    brief = ["--trainer.max_steps", 3, "--trainer.limit_train_batches", 3, "--trainer.val_check_interval", 3]
    code, out, err = run("fit", *common, *brief, "--trainer.log_every_n_steps", 1)
    assert code == 0, err
    assert ("of data/REG-" in err and "rows of" in err) == (config.stem in NOTEBOOKS)
    folder = tmp_path / "lightning_logs" / config.stem / "version_0"
    last = json.loads((folder / "behaviour.json").read_text())["last"]
    share = yaml.safe_load(config.read_text())["data"].get("recipe", {}).get("val_fraction", 0)
    expected = 2000 if config.stem in NOTEBOOKS else share * rows
    assert 0.9 * expected < last["n"] < 1.1 * expected  # whole sums
    assert last["verdict"] == "NOT LEARNED"  # three steps teach nothing
    assert read_jsonl(folder / "probes" / "ridge.jsonl")
    assert "look next:" in out
    for command in ("validate" if config.stem in NOTEBOOKS else "test", "predict"):
        code, _, err = run(command, *common, "--ckpt_path", folder / "checkpoints" / "best.ckpt")
        assert code == 0, err


@pytest.mark.slow
def test_the_sweep_is_the_notebooks_grid(run, tmp_path):
    assert SWEEP.read_text().count("\n") <= 30
    code, out, err = run("sweep", "--config", SWEEP, "--output_dir", tmp_path / "out", "--dry_run")
    assert code == 0, err
    trials = [line.split(":")[0] for line in out.splitlines() if line.endswith("parameters")]
    cells = {f"n_layers{depth}-d_model{width}-seed0" for depth in (2, 4, 6) for width in (128, 256, 512)}
    assert cells < set(trials) and len(trials) == len(set(trials)) == 15
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_emergence_goes_on_top_of_a_configuration(run, tmp_path):
    """It validates every 200 steps; here every step, three of them. In the suite, docs/guide/emergence.md does so."""
    brief = ["--trainer.max_steps", 3, "--trainer.val_check_interval", 1, "--trainer.default_root_dir", tmp_path]
    words = ["--config", ROOT / "configs" / "reg_modk.yaml", "--config", ON_TOP, *IN_BRIEF, *brief]
    code, out, err = run("fit", *words)
    assert code == 0, err
    folder = tmp_path / "lightning_logs" / "reg_modk" / "version_0"
    found = json.loads((folder / "emergence.json").read_text())
    assert found["steps"] == [0, 1, 2] and len(found["loss"]) == 3
    assert {"x", "sum", "residue", "carry10", "residuemod97f48"} <= {one["variable"] for one in found["variables"]}
    emerged = {one["variable"] for one in found["variables"] if one["step"] is not None}
    assert not {name for name in emerged if name.startswith("residue")}  # three steps teach nothing of it
    assert found["behaviour"]["verdict"] == "NOT LEARNED" and "emerged: " in out
    code, out, err = run("emergence", "--runs", folder, "--output_dir", tmp_path / "out")
    assert code == 0, err
    assert (tmp_path / "out" / "figures" / "emergence_runs.png").stat().st_size > 0


def test_later_configurations_win(run, capsys, tmp_path):
    small = tmp_path / "small.yaml"
    small.write_text("model: {d_model: 16}\n")
    with pytest.raises(SystemExit):
        run("fit", "--config", ROOT / "configs" / "reg_modk.yaml", "--config", small, "--print_config")
    printed = capsys.readouterr().out
    assert "d_model: 16" in printed
    assert "task: mod" in printed
