"""``arithprobe probe``: everything beside its control, from one command."""

import json
import re
import shutil

import pytest
import torch
from conftest import SMALL, assert_refused, read_jsonl
from short_fits import command

from arithprobe.analysis.probe import ProbeStudy
from arithprobe.analysis.probe.options import ProbeOptions
from arithprobe.analysis.probe.run import probe
from arithprobe.analysis.progress import Progress
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import write_tsv
from arithprobe.models.checkpoints import load_model
from arithprobe.models.transformer import TinyTransformer
from arithprobe.said.page_file import read_page

QUICK = (
    "--n_heads",
    2,
    "--permutations",
    19,
    "--fourier_permutations",
    19,
    "--twins",
    2,
    "--mlp_shuffles",
    2,
    "--mlp_hidden",
    8,
    "--subspace_draws",
    3,
    "--frequencies",
    3,
    "--small_periods",
    2,
    3,
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("plain") / "plain.pt"
    torch.save(TinyTransformer(**SMALL).state_dict(), path)
    return path


def problems(tmp_path, **options):
    recipe = DataRecipe(rows=600, val_fraction=0.5, max_operand=150, **options)
    return write_tsv(tmp_path / "rows.tsv", sample(recipe)["val"].problems(recipe))


@pytest.fixture(scope="module")
def whole(plain, tmp_path_factory):
    """A run with everything in it: its folder, and what it said."""
    folder = tmp_path_factory.mktemp("whole")
    data = problems(folder, task="mod", modulus=11)
    code, out, err = command("probe", "--checkpoint", plain, "--data", data, "--output_dir", folder / "out", *QUICK)
    assert code == 0, err
    return folder / "out", out


@pytest.mark.slow
def test_a_network_that_was_never_trained_is_said_to_have_learned_nothing(whole):
    folder, out = whole
    assert out.startswith("NOT LEARNED: ")
    assert "an untrained network can score as high" in out.splitlines()[1]
    for part in (
        "ridge probes at final@last",
        "untrained",
        "explained",
        "Fourier probes of 'residue' mod 11",
        "decoded from the angles",
        "small periods",
        "refitted readout",
        "MLP regression of 'residue'",
        "MLP classification of 'residue'",
        "cells x",
        "probe.json",
    ):
        assert part in out
    figures = sorted(path.name for path in (folder / "figures").iterdir())
    names = (
        "fourier_residuemod11",
        "frequencies_by_site",
        "ladder",
        "mlp_against_ridge",
        "refitted_readout",
        "ridge_residue",
        "ridge_sum",
        "ridge_x",
        "ridge_y",
        "small_periods",
    )
    assert figures == [f"{name}.{ending}" for name in names for ending in ("png", "svg")]
    found = json.loads((folder / "probe.json").read_text())
    assert next(iter(found["behaviour"])) == "verdict"
    assert found["behaviour"]["constant_from"] == "these rows"  # a plain file cannot say
    cell = next(c for c in found["ridge"] if (c["target"], c["site"], c["position"]) == ("sum", "final", "last"))
    assert cell["group"] == "sum"
    for name in ("r2", "low", "high", "null_high", "p", "n_test", "edf", "alpha", "random_init_r2"):
        assert isinstance(cell[name], float)
    assert {c["features"] for c in found["surface"]} == {"lengths", "characters"}
    assert [f["frequency"] for f in found["fourier"]["sites"]["final"]["frequencies"]] == [1, 2, 3]
    periods = {(one["quantity"], one["period"]) for one in found["small_periods"]}
    assert periods == {(quantity, k) for quantity in ("sum", "x", "y", "residue") for k in (2, 3)}
    assert "summod2sin1 (constant)" in [name for one in found["small_periods"] for name in one["refused"]]
    assert {one["kind"] for one in found["mlp"]} == {"regression", "classification"}


@pytest.mark.slow
def test_each_of_the_two_questions_has_a_page_file_of_its_own(whole):
    """With every picture that lies there, and a sentence for each."""
    folder, out = whole
    pages = {name: read_page(folder / f"{name}.page.json") for name in ("probe", "ladder")}
    assert [list(page.records) for page in pages.values()] == [["probe"], ["ladder"]]
    assert [one.name for one in pages["ladder"].said.pictures] == ["ladder"]
    pictures = [one for page in pages.values() for one in page.said.pictures]
    assert sorted(one.name for one in pictures) == sorted(path.stem for path in (folder / "figures").glob("*.png"))
    assert all(one.finding.endswith(".") and one.caption for one in pictures)
    for block in (block for page in pages.values() for block in page.said.blocks if block.kind == "words"):
        assert all(line in out for line in block.text.splitlines())
    assert pages["ladder"].said.rank < pages["probe"].said.rank


@pytest.fixture(scope="module")
def found(plain, tmp_path_factory):
    """A report of everything but the ladder, and what counted its steps."""
    data = problems(tmp_path_factory.mktemp("found"), task="mod", modulus=11)
    progress = Progress()
    few = {"twins": 1, "mlp_shuffles": 1, "mlp_hidden": 8, "subspace_draws": 2, "frequencies": 3}
    options = ProbeOptions(no_ladder=True, fourier_permutations=19, small_periods=(2, 3), **few)
    return probe(load_model(plain, 2, None), ArithmeticDataset.from_tsv(data), options, progress), progress


@pytest.mark.slow
def test_every_step_of_a_probe_is_expected_and_made(found):
    report, progress = found
    assert progress.done == progress.total == 6 + 1 + len(report.mlp)


@pytest.mark.slow
def test_the_scores_of_a_report_are_those_of_its_record(found):
    report, _ = found
    record, rows = report.said.records["probe"], list(report.scores())
    assert len({row[:4] for row in rows}) == len(rows)
    by_name = {row[:4]: row for row in rows}
    for cell in record["ridge"]:
        row = by_name[cell["site"], cell["position"], cell["target"], "r2"]
        expected = [cell[name] for name in ("r2", "low", "high", "null_high", "n_test")]
        assert [row.value, row.low, row.high, row.null_high, row.n] == pytest.approx(expected, nan_ok=True)
    for site, one in record["fourier"]["sites"].items():
        key = [n for n in (1, 2, 3) if by_name[site, "last", f"residuemod11f{n}", "key"].value == 1]
        assert key == sorted(one["key_frequencies"])
        assert by_name[site, "last", "residuemod11", "decoded"].value == one["decoding"]["accuracy"]
    for cell in record["mlp"]:
        assert by_name[cell["site"], "last", cell["target"], f"mlp_{cell['metric']}"].value == cell["score"]
    assert len(report.to_frame()) == len(rows)


@pytest.mark.usefixtures("white")
@pytest.mark.slow
def test_a_report_is_short_in_a_notebook_and_shows_everything_when_asked(found):
    report, _ = found
    lines = repr(report).splitlines()
    assert lines[0] == "ProbeReport: What can be read, with controls" and lines[1].startswith("NOT LEARNED: ")
    assert "fourier_residuemod11" in lines[2] and len(lines) == 4
    page = report._repr_html_()
    assert "ridge probes at final@last" in page and page.count("<img ") == len(list(report.said.pictures))
    assert "left out: the ladder of evidence, as no_ladder asks" in page


def test_the_memory_of_many_rows_is_said_before_they_are_probed():
    class Many:
        circle = 97

        def __init__(self, count):
            self.count = count

        def __len__(self):
            return self.count

    said = [ProbeStudy().warned(Many(count), ProbeOptions()) for count in (10**3, 10**6)]
    assert said == ["", "memory:      about 2.8 GB for 1000000 rows"]


@pytest.mark.slow
def test_the_part_that_needs_no_training_is_a_part_or_words(whole):
    folder, out = whole
    cells = json.loads((folder / "probe.json").read_text())["ridge"]
    for cell in cells:
        if (share := cell["explained_by_init"]) is None:
            assert cell["explained_by_init_reason"].startswith(("untrained reads more", "cannot be told: "))
        else:
            assert 0 <= share <= 1 and share == pytest.approx(max(cell["random_init_r2"], 0) / cell["r2"])
            assert "explained_by_init_reason" not in cell
    more = [cell for cell in cells if cell.get("explained_by_init_reason") == "untrained reads more"]
    assert more and all(cell["random_init_r2"] > max(cell["r2"], cell["null_high"], 0) for cell in more)
    last = {cell["target"] for cell in more if (cell["site"], cell["position"]) == ("final", "last")}
    assert {line.split()[0] for line in out.splitlines() if "  reads more  " in line} == last
    assert "(reads more: untrained reads more" in out


@pytest.mark.usefixtures("white")
@pytest.mark.slow
def test_the_same_probe_gives_the_same_numbers_live_and_afterwards(run, small_fit, small_data, tmp_path):
    probes = (
        "--trainer.callbacks",
        "RidgeProbing",
        "--trainer.callbacks.cross_validate",
        "true",
        "--trainer.callbacks.permutations",
        19,
        "--trainer.callbacks.targets",
        "[sum,x1]",
        "--trainer.callbacks.alphas",
        10.0,
    )
    code, _, err = run(*small_fit, "--trainer.max_epochs", 1, *probes)
    assert code == 0, err
    folder = tmp_path / "lightning_logs" / "run" / "version_0"
    live = read_jsonl(folder / "probes" / "ridge.jsonl")[-1]
    code, out, err = run(
        "probe",
        "--checkpoint",
        folder / "checkpoints" / "last.ckpt",
        "--data",
        small_data["val"],
        "--output_dir",
        tmp_path / "out",
        "--alphas",
        10.0,
        "--permutations",
        19,
        "--targets",
        "sum",
        "x1",
        "--twins",
        0,
        "--no_mlp",
        "--no_ladder",
        "--small_periods",
        2,
        "--subspace_draws",
        1,
        "--fourier_permutations",
        19,
    )
    assert code == 0, err
    assert "untrained, explained: cannot be told, no untrained network was probed (twins is 0)." in out
    after = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert after["behaviour"]["skill"] == pytest.approx(live["skill"])
    assert after["behaviour"]["constant_from"] == "the training rows"
    for name in ("r2", "r2_in_sample", "null_high", "low"):
        ours = {(c["target"], c["site"], c["position"]): c[name] for c in after["ridge"]}
        for cell in live["cells"]:
            expected = cell[name]
            found = ours[cell["target"], cell["site"], cell["position"]]
            assert found == (None if expected is None else pytest.approx(expected, abs=1e-4))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--sites", "resid_pst.1"],
            "no site 'resid_pst.1' in .*; did you mean 'resid_post.1'.*sites: residual, embed",
        ),
        (["--positions", "40"], "no position '40' in this data .positions: last, all, index, role; 0 to 12; x100"),
        (["--targets", "residue"], "target 'residue': k is unknown"),
        (["--targets", "x1000"], "no target 'x1000' in this data"),
        (["--targets", "summod2sin1"], "target 'summod2sin1' is 0 in every row; a constant cannot be probed"),
        (["--folds", 500], "different values of 'sum', fewer than the 500 folds"),
        (["--folds", 1], "folds is 1; expected 3 or more"),
        (["--period", 1], "a period is 1; expected 2 to 10000"),
        (["--small_periods", 2, 1000], "a period is 1000; expected 2 to 100"),
        (["--fourier_permutations", 5], "fourier_permutations is 5; expected 19 or more"),
        (["--seed", 10**20], "seed is 100000000000000000000; expected at most 4294967295"),
        (["--alpha_by", "luck"], "--alpha_by: expected one of 'gcv', 'folds', got 'luck'"),
        (["--n_heads", 3], "n_heads is 3; expected a divisor of d_model, 16"),
        (["--scale", 0], "scale is 0"),
        (["--data", "nowhere.tsv"], "nowhere.tsv: no such file"),
        (["--checkpoint", "nowhere.pt"], "nowhere.pt: no such file"),
        (["--twinz", 3], "unknown option --twinz; did you mean --twins"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(run, plain, tmp_path, words, message):
    data = problems(tmp_path)
    given = {"--checkpoint": plain, "--data": data, "--output_dir": tmp_path / "out", "--n_heads": 2}
    given = {name: value for name, value in given.items() if name not in words}
    code, _, err = run("probe", *(word for pair in given.items() for word in pair), *words, "--no_mlp", "--twins", 0)
    assert code == 2
    assert re.search(message, err), err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("checkpoint", "name a run, as in: arithprobe probe lightning_logs/reg_sum/version_0$"),
        ("data", "--data is missing, and .* is in no run folder that says its validation rows$"),
        ("output_dir", "--output_dir is missing, and .* is in no run folder$"),
    ],
)
def test_what_is_needed_is_asked_for(missing, message, run, plain, tmp_path):
    given = {"checkpoint": plain, "data": problems(tmp_path), "output_dir": tmp_path / "out"}
    words = [word for name, value in given.items() if name != missing for word in (f"--{name}", value)]
    assert_refused(run("probe", *words), message)


@pytest.mark.usefixtures("white")
@pytest.mark.slow
def test_what_the_rows_do_not_allow_is_left_out_and_said_unless_it_was_asked_for(run, plain, tmp_path):
    """Even operands of few values: no parity, and too few y to hold any out."""
    rows = "".join(f"{x} + {y} = ?\t{x + y}\n" for x in range(0, 200, 2) for y in (100, 102, 104))
    (tmp_path / "even.tsv").write_text(rows)
    words = (
        "probe",
        "--checkpoint",
        plain,
        "--data",
        tmp_path / "even.tsv",
        "--output_dir",
        tmp_path / "out",
        *QUICK,
        "--no_mlp",
        "--no_ladder",
        "--twins",
        0,
        "--sites",
        "final",
        "--positions",
        "last",
    )
    code, out, err = run(*words)
    assert code == 0, err
    assert "left out: everything of y: " in out and "3 different values of 'y', fewer than the 5 folds" in out
    assert "left out: summod2: constant" in out and "left out: xmod2: constant" in out
    assert "y" not in {cell["target"] for cell in json.loads((tmp_path / "out" / "probe.json").read_text())["ridge"]}
    code, _, err = run(*words, "--targets", "y")
    assert code == 2 and "3 different values of 'y'" in err


@pytest.mark.usefixtures("white")
@pytest.mark.slow
def test_a_second_run_leaves_no_picture_of_the_first(whole, run, plain, tmp_path):
    """Of targets, circles and probes that the second does not have."""
    shutil.copytree(whole[0], tmp_path / "out")
    words = ("probe", "--checkpoint", plain, "--data", problems(tmp_path), "--output_dir", tmp_path / "out", *QUICK)
    assert run(*words, "--no_mlp", "--targets", "x", "--positions", "last")[0] == 0
    figures = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    names = ("ridge_x", "small_periods", "ladder")  # a readout without one direction is a number, and no curve
    assert figures == {f"{name}.{ending}" for name in names for ending in ("png", "svg")}
    assert {"ridge_sum.png", "fourier_residuemod11.svg"} <= {path.name for path in (whole[0] / "figures").iterdir()}
