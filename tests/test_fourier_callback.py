"""FourierProbing in a fit: what it logs and writes, and what it refuses."""

import pytest
import torch
from conftest import SMALL, read_jsonl
from short_fits import command, files_in, fit_words, run_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from arithprobe.callbacks import FourierProbing
from arithprobe.callbacks.watch import Observed
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.probes.tags import Tag
from arithprobe.probes.targets import target_values
from arithprobe.training.module import ArithmeticModule

PROBE = ("--trainer.callbacks", "FourierProbing", "--trainer.callbacks.frequencies", 3)
BEST_IN_IT = ("--checkpoint.monitor", "fourier_residuemod7/final@last/r2_max", "--checkpoint.mode", "max")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return files_in(tmp_path_factory.mktemp("mod"), task="mod", modulus=7)


def modular_words(files, folder):
    """The words of a short fit on (mod 7) problems."""
    return [*fit_words(files, folder), "--data.recipe.task", "mod", "--data.recipe.modulus", 7]


@pytest.fixture(scope="module")
def probed(files, tmp_path_factory):
    """The folder of a fit whose best checkpoint is best in a Fourier score, and what it said."""
    root = tmp_path_factory.mktemp("probed")
    code, out, err = command(*modular_words(files, root), *PROBE, *BEST_IN_IT)
    assert code == 0, err
    return run_of(root), out


@pytest.mark.slow
def test_it_logs_curves_writes_records_and_draws_the_map(probed):
    folder, out = probed
    assert "fourier probes of 'residue' mod 7 at final@last: mean R2" in out
    assert "decoded (chance " in out
    lines = read_jsonl(folder / "probes" / "fourier.jsonl")
    assert [line["epoch"] for line in lines] == [0, 1]
    assert [line["verdict"] for line in lines] == ["NOT LEARNED"] * 2
    cells = [cell for cell in lines[-1]["cells"] if cell["site"] == "final"]
    assert [cell["frequency"] for cell in cells] == [1, 2, 3]
    assert all(cell["r2"] < 1 and 0 < cell["p_max"] <= 1 for cell in cells)
    assert (folder / "figures" / "fourier_residuemod7.png").stat().st_size > 5000
    logged = (folder / "metrics.csv").read_text().splitlines()[0].split(",")
    for metric in ("r2", "null_high", "r2_max", "null_max", "accuracy"):
        assert f"fourier_residuemod7/resid_post.1@last/{metric}" in logged
    events = EventAccumulator(str(folder)).Reload().Tags()
    assert "2 fourier_residuemod7/Frequency by step, residuemod7" in events["images"]


@pytest.mark.slow
def test_a_checkpoint_can_be_best_in_a_fourier_score(probed):
    folder, _ = probed
    curve = EventAccumulator(str(folder)).Reload().Scalars("2 fourier_residuemod7/final@last/r2_max")
    r2 = [point.value for point in curve]
    best = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert len(r2) == 2 and best["epoch"] == r2.index(max(r2))


def test_what_is_planted_is_a_key_frequency_in_every_place_where_it_is_said(files):
    """In words, in the cells behind the map, and below the picture; at the other sites there is none."""
    rows, probing = ArithmeticDataset.from_tsv(files["val"]), FourierProbing(frequencies=3, figure_site="final")
    module = ArithmeticModule(**SMALL)
    watch = probing.prepare(module, rows)
    generator = torch.Generator().manual_seed(0)
    shape = (len(rows), int(rows.lengths.max()), module.model.d_model)
    states = {site: torch.randn(shape, generator=generator) for site in module.model.residual_sites}
    angle = 2 * torch.pi * 2 * target_values("residue", rows) / 7
    states["final"][:, :, :2] = 5 * torch.stack([angle.cos(), angle.sin()], dim=1)[:, None].float()
    watch.start()
    for part in torch.arange(len(rows)).split(40):
        watch.update({site: one[part] for site, one in states.items()}, part)
    said = probing.said([Observed(9, watch.result())])
    assert {(cell["site"], cell["frequency"]) for cell in said.line["cells"] if cell["key"]} == {("final", 2)}
    assert all(type(cell["key"]) is bool for cell in said.line["cells"])
    assert said.line["key_frequencies"]["final"] == [2]
    words, band, best, cells, picture = said.blocks
    assert "fourier probes of 'residue' mod 7 at final@last: mean R2" in words.text
    assert "key frequencies: 2" in words.text
    assert picture.finding.startswith("Key frequencies at final after 10 steps: 2")
    assert (picture.name, cells.mark, cells.column) == ("fourier_residuemod7", "key", "frequency")
    assert set(said.scalars) == set(watch.tags)
    for chart in (band, best):
        assert {str(Tag("fourier", chart.target, "final", "last", metric)) for metric in chart.metrics} <= set(
            watch.tags
        )
        assert set(chart.headlines) <= set(chart.metrics)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trainer.callbacks.frequencies", 0], "frequencies is 0; expected 1 or more"),
        (["--trainer.callbacks.figure_site", "resid_post.9"], "no site 'resid_post.9' (sites: embed, resid_mid.0"),
        (["--trainer.callbacks.frequencies", "[4]"], "residuemod7: no frequency can be probed"),
    ],
)
def test_options_that_do_not_fit_are_one_line_before_any_training(run, files, tmp_path, words, message):
    code, _, err = run(*modular_words(files, tmp_path), *PROBE, *words)
    assert code == 2
    assert message in err and err.count("\n") == 1
    assert not (tmp_path / "lightning_logs").exists()


@pytest.mark.slow
def test_k_is_unknown_for_sums_until_a_period_is_given(run, small_fit):
    once = [*small_fit, *PROBE, "--trainer.max_epochs", 1]
    code, _, err = run(*once)
    assert code == 2
    assert "k is unknown" in err and "give a quantity (sum, x, y) and a period" in err
    code, out, err = run(*once, "--trainer.callbacks.quantity", "x", "--trainer.callbacks.period", 10)
    assert code == 0, err
    assert "fourier probes of 'x' mod 10" in out
