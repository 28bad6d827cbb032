"""FourierProbing in a fit: what it logs and writes, and what it refuses."""

import pytest
from conftest import read_jsonl
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import write_tsv

PROBE = ("--trainer.callbacks", "FourierProbing", "--trainer.callbacks.frequencies", 3)


@pytest.fixture
def modular_fit(small_fit, tmp_path):
    """The words of a short fit on (mod 7) problems."""
    recipe = DataRecipe(task="mod", modulus=7, rows=500, split="sum", val_fraction=0.3, max_operand=120)
    parts = sample(recipe)
    files = {part: write_tsv(tmp_path / f"mod_{part}.tsv", parts[part].problems(recipe)) for part in parts}
    words = list(small_fit)
    for part in ("train", "val"):
        words[words.index(f"--data.{part}_file") + 1] = files[part]
    return [*words, "--data.recipe.task", "mod", "--data.recipe.modulus", 7]


def test_it_logs_curves_writes_records_and_draws_the_map(run, modular_fit, tmp_path):
    code, out, err = run(*modular_fit, *PROBE)
    assert code == 0, err
    assert "fourier probes of 'residue' mod 7 at final@last: mean R2" in out
    assert "decoded (chance " in out
    folder = tmp_path / "lightning_logs" / "run" / "version_0"
    lines = read_jsonl(folder / "probes" / "fourier.jsonl")
    assert [line["epoch"] for line in lines] == [0, 1]
    assert [line["verdict"] for line in lines] == ["NOT LEARNED"] * 2
    cells = [cell for cell in lines[-1]["cells"] if cell["site"] == "final"]
    assert [cell["frequency"] for cell in cells] == [1, 2, 3]
    assert all(cell["r2"] < 1 and 0 < cell["p_max"] <= 1 for cell in cells)
    assert (folder / "figures" / "fourier_residuemod7.png").stat().st_size > 5000
    events = EventAccumulator(str(folder)).Reload().Tags()
    for metric in ("r2", "null_high", "r2_max", "null_max", "accuracy"):
        assert f"fourier_residuemod7/resid_post.1@last/{metric}" in events["scalars"]
    assert "fourier_residuemod7/frequency x step" in events["images"]


def test_a_checkpoint_can_be_best_in_a_fourier_score(run, modular_fit, tmp_path):
    tag = "fourier_residuemod7/final@last/r2_max"
    code, _, err = run(*modular_fit, *PROBE, "--checkpoint.monitor", tag, "--checkpoint.mode", "max")
    assert code == 0, err
    assert (tmp_path / "lightning_logs" / "run" / "version_0" / "checkpoints" / "best.ckpt").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trainer.callbacks.frequencies", 0], "frequencies is 0; expected 1 or more"),
        (["--trainer.callbacks.figure_site", "resid_post.9"], "no site 'resid_post.9' (sites: embed, resid_mid.0"),
        (["--trainer.callbacks.frequencies", "[4]"], "residuemod7: no frequency can be probed"),
    ],
)
def test_options_that_do_not_fit_are_one_line_before_any_training(run, modular_fit, tmp_path, words, message):
    code, _, err = run(*modular_fit, *PROBE, *words)
    assert code == 2
    assert message in err and err.count("\n") == 1
    assert not (tmp_path / "lightning_logs").exists()


def test_k_is_unknown_for_sums_until_a_period_is_given(run, small_fit):
    code, _, err = run(*small_fit, *PROBE)
    assert code == 2
    assert "k is unknown" in err and "give a quantity (sum, x, y) and a period" in err
    code, out, err = run(*small_fit, *PROBE, "--trainer.callbacks.quantity", "x", "--trainer.callbacks.period", 10)
    assert code == 0, err
    assert "fourier probes of 'x' mod 10" in out
