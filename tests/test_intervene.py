"""``arithprobe intervene``: the ledger of a checkpoint, its files, and its complaints."""

import json
import shutil

import pytest
import torch
from conftest import SMALL, assert_refused
from micro import one_thread  # noqa: F401
from rendered import white_figures
from short_fits import command, files_in

from arithprobe.analysis.intervene.options import InterveneOptions
from arithprobe.analysis.intervene.run import intervene
from arithprobe.analysis.progress import Progress
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.interventions.erasure import load_eraser
from arithprobe.models.checkpoints import load_model
from arithprobe.models.transformer import TinyTransformer

BRIEF = ["--draws", 19, "--variable_draws", 19, "--n_heads", 2]
QUICK = ["--no_mlp", "--no_patching"]
ROW = {
    "site",
    "position",
    "subspace",
    "rank",
    "held_out_r2",
    "effects",
    "refit_delta_mse",
    "residual_r2_linear",
    "residual_r2_mlp",
    "steering_slope",
    "interchange",
    "near_tautological",
}


def plain(path, seed=0, **sizes):
    torch.manual_seed(seed)
    torch.save(TinyTransformer(**{**SMALL, **sizes}).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Words without a folder to write to."""
    folder = tmp_path_factory.mktemp("given")
    return ["intervene", "--checkpoint", plain(folder / "model.pt"), "--data", files_in(folder)["val"], *BRIEF]


@pytest.fixture
def words(given, tmp_path):
    return [*given, "--output_dir", tmp_path / "out"]


@pytest.fixture(scope="module")
def whole(given, tmp_path_factory):
    """A run with everything in it: its folder, and what it said."""
    folder = tmp_path_factory.mktemp("whole")
    with white_figures():
        code, out, err = command(*given, "--output_dir", folder)
    assert (code, err) == (0, "")
    return folder, out


@pytest.fixture(scope="module")
def ledger(whole):
    return ledger_in(whole[0])


def told(words, **options):
    """What is found without patching and MLPs; nothing is written and drawn."""
    checkpoint, data = (words[words.index(name) + 1] for name in ("--checkpoint", "--data"))
    options = InterveneOptions(**options, no_mlp=True, no_patching=True, draws=19, variable_draws=19)
    return intervene(load_model(checkpoint, 2, None), ArithmeticDataset.from_tsv(data), options)


@pytest.mark.parametrize("more", [{}, {"no_mlp": True}, {"no_patching": True}])
@pytest.mark.slow
def test_every_step_was_expected_before_it_came(words, more):
    checkpoint, data = (words[words.index(name) + 1] for name in ("--checkpoint", "--data"))
    totals = []
    progress = Progress(lambda name, done, total: totals.append(total))
    options = InterveneOptions(sites=("resid_post.0",), positions=("last",), draws=19, variable_draws=19, **more)
    intervene(load_model(checkpoint, 2, None), ArithmeticDataset.from_tsv(data), options, progress)
    assert progress.done == progress.total == len(totals) and set(totals) == {progress.total}


def ledger_in(folder):
    return json.loads((folder / "ledger.json").read_text())


@pytest.mark.slow
def test_the_ledger_has_a_row_for_every_site_position_and_subspace(whole, ledger):
    folder, out = whole
    assert out.startswith("NOT LEARNED")
    assert "the model's own head with" in out
    notes = {
        family["note"]
        for row in ledger
        for family in row["effects"]["mean"]["random"].values()
        if family["is_null"] or family["note"].startswith("a description")
    }
    said = " ".join(out.split())
    assert len(notes) > 1 and "no match" not in said
    assert "-: cannot be told: there is no skill to lose" in said
    assert all(note in said for note in notes if note) and ": cannot be told: " in said
    sites = ["embed", "resid_mid.0", "resid_post.0", "resid_mid.1", "resid_post.1", "final"]
    expected = [(s, p, k) for s in sites for p in ("last", "all") for k in ("sum:probe", "sum:leace")]
    assert [(row["site"], row["position"], row["subspace"]) for row in ledger] == expected
    assert all(set(row) >= ROW for row in ledger)
    assert {row["site"] for row in ledger if row["near_tautological"]} == {"resid_post.1", "final"}
    for row in ledger:
        assert set(row["effects"]) == {"zero", "mean", "resample"}
        for effect in row["effects"].values():
            assert effect["skill_lost"] is None  # there is no skill to lose
            for family in effect["random"].values():
                assert len(family["delta_rmse"]) == 19 or (family["p"] is None and family["note"])
    rest = json.loads((folder / "intervene.json").read_text())
    assert rest["behaviour"]["verdict"] == "NOT LEARNED"
    assert {one["variable"] for one in rest["interchange"]} == {"x", "y", "sum", "carry1"}
    assert len(list((folder / "figures").glob("*.png"))) >= 4


@pytest.mark.slow
def test_a_p_that_there_is_not_is_a_description_and_the_table_says_why(whole, words, run, tmp_path):
    brief = (*QUICK, "--sites", "resid_post.0", "--positions", "last", "--erasers", "leace")
    code, out, err = run(*words, *brief, "--families", "isotropic", "outside")
    assert (code, err) == (0, "")
    (row,) = ledger_in(tmp_path / "out")
    assert all(list(effect["random"]) == ["isotropic", "outside"] for effect in row["effects"].values())
    assert all(family["p"] is None for effect in row["effects"].values() for family in effect["random"].values())
    assert " against outside draws: a description: " in out
    assert (tmp_path / "out" / "figures" / "ablation_against_random.png").stat().st_size > 5000
    assert "against outside" not in whole[1]  # the control: not asked for


@pytest.mark.slow
def test_no_linear_probe_finds_what_leace_took_out_of_every_token(ledger):
    left = {row["subspace"]: row for row in ledger if (row["site"], row["position"]) == ("resid_post.0", "all")}
    assert left["sum:leace"]["residual_r2_linear"] < 0.1 < left["sum:leace"]["held_out_r2"]


@pytest.mark.slow
def test_positions_are_edited_together_that_are_named_together(words):
    few = {"sites": ("embed",), "erasers": ("leace",), "ablations": ("zero",), "positions": ("x1+y1", "x1", "3")}
    effect = {row.position: row.effect("zero").removed for row in told(words, **few).ledger}
    assert list(effect) == ["x1+y1", "x1", "3"]
    assert effect["x1+y1"] > effect["x1"]


@pytest.mark.usefixtures("white")
@pytest.mark.slow
def test_sum_and_residue_are_taken_out_of_a_model_of_residues_and_planes_when_asked_for(words, run, tmp_path):
    tsv = tmp_path / "mod.tsv"
    tsv.write_text("".join(f"{x} + {y} (mod 7) = ?\t{(x + y) % 7}\n" for x in range(10, 34, 2) for y in range(10, 24)))
    words[words.index("--data") + 1] = tsv
    few = {"sites": ("resid_post.0",), "positions": ("last",), "erasers": ("leace",), "ablations": ("mean",)}
    assert [row.target for row in told(words, **few).ledger] == ["sum", "residue"]
    chosen = [word for name, values in few.items() for word in (f"--{name}", *values)]
    code, _, err = run(*words, *QUICK, *chosen, "--targets", "residuemod7f1to3")
    assert (code, err) == (0, "")
    assert [(row["target"], row["rank"]) for row in ledger_in(tmp_path / "out")] == [("residuemod7f1to3", 6)]


@pytest.mark.usefixtures("white")
@pytest.mark.slow
def test_a_frozen_eraser_does_what_it_did_and_another_model_is_warned_of(whole, ledger, words, run, tmp_path):
    name = ("resid_mid.1", "all", "sum:leace")
    (before,) = (row for row in ledger if (row["site"], row["position"], row["subspace"]) == name)
    kept = shutil.copy(whole[0] / "erasers" / "resid_mid.1@all.sum.leace.pt", tmp_path / "kept.pt")
    (again,) = told(words, eraser=str(kept), ablations=("mean",)).ledger  # a warning would be an error
    assert again.position == "all"
    assert again.effect("mean").delta_rmse == pytest.approx(before["effects"]["mean"]["delta_rmse"], abs=1e-9)
    first = [*words, *QUICK, "--eraser", kept, "--ablations", "mean"]
    first[first.index("--checkpoint") + 1] = plain(tmp_path / "other.pt", seed=1)
    code, _, err = run(*first)
    assert code == 0
    assert err.startswith("arithprobe: warning:")
    assert "was fitted on other weights" in err
    assert err.count("\n") == 1
    assert load_eraser(kept).checkpoint in err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--sites", "resid_past.0"],
            "no site 'resid_past.0' in .*did you mean 'resid_post.0'.*sites: residual, embed",
        ),
        (["--positions", "plu"], "no position 'plu' in this data .positions: last, all, index, role; 0 to 12; x100"),
        (["--targets", "summ"], "no target 'summ' in this data; did you mean 'sum'"),
        (["--targets", "residue"], "k is unknown"),
        (["--targets", "summod4f9to2"], "expected frequencies like f1to3"),
        (
            ["--targets", "summod10f1to5", "--erasers", "inlp", "--inlp_rank", 40],
            "rank of a subspace is 40; the states have 16",
        ),
        (
            ["--erasers", "leasce"],
            "no choice among erasers 'leasce'; expected one of probe, mean_difference, leace, inlp",
        ),
        (["--ablations", "median"], "no choice among ablations 'median'"),
        (["--variables", "z"], "variables: no 'z'"),
        (["--draws", 5], "draws is 5; expected 19 or more"),
        (["--max_examples", 3], "max_examples is 3"),
        (["--eraser", "missing.pt"], "missing.pt: no such file"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(words, run, tmp_path, more, message):
    assert_refused(run(*words, *more), message)
    assert not (tmp_path / "out" / "ledger.json").exists()


def test_a_file_in_the_place_of_the_erasers_is_found_before_any_work(words, run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "erasers").write_text("")
    assert_refused(run(*words), "erasers: output folder cannot be written")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["erasers"]


@pytest.mark.usefixtures("white")
@pytest.mark.slow
def test_erasers_of_an_earlier_run_are_removed_and_nothing_outside_of_the_folder(words, run, tmp_path):
    brief = (*QUICK, "--sites", "resid_post.0", "--erasers", "probe", "--ablations", "mean", "--families", "isotropic")
    assert run(*words, *brief, "--positions", "last", "all")[0] == 0
    page, kept = tmp_path / "out" / "intervene.page.json", tmp_path / "kept.pt"
    kept.write_text("")
    record = json.loads(page.read_text())
    page.write_text(json.dumps(record | {"files": [*record["files"], str(kept), "../kept.pt"]}))
    assert run(*words, *brief, "--positions", "last")[0] == 0
    assert [path.name for path in (tmp_path / "out" / "erasers").iterdir()] == ["resid_post.0@last.sum.probe.pt"]
    assert kept.exists()


@pytest.mark.slow
def test_an_eraser_of_another_width_and_a_file_that_is_none_are_refused(whole, words, run, tmp_path):
    kept = whole[0] / "erasers" / "embed@last.sum.probe.pt"
    wider = list(words)
    wider[wider.index("--checkpoint") + 1] = plain(tmp_path / "wider.pt", d_model=32)
    assert "the eraser is for states of width 16" in run(*wider, "--eraser", kept)[2]
    assert "is no eraser" in run(*words, "--eraser", words[words.index("--checkpoint") + 1])[2]


def test_too_few_rows_are_refused(words, run, tmp_path):
    tsv = tmp_path / "few.tsv"
    tsv.write_text("1 + 2 = ?\t3\n2 + 1 = ?\t3\n")
    words[words.index("--data") + 1] = tsv
    code, _, err = run(*words)
    assert code == 2
    assert "expected two or more of each" in err
