"""``arithprobe probe`` and the ladder of evidence: what is written, what is printed, what is refused."""

import json
import shutil

import pytest
import torch
from conftest import SMALL, assert_refused
from micro import one_thread  # noqa: F401
from rendered import white_figures
from short_fits import command
from test_ladder import strict

from arithprobe.analysis.ladder.rules import RUNGS
from arithprobe.analysis.probe.options import ProbeOptions
from arithprobe.analysis.probe.run import probe
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import format_tsv, parse_tsv, write_tsv
from arithprobe.errors import ArithprobeError
from arithprobe.models.transformer import TinyTransformer
from arithprobe.planted.circuits import adder
from arithprobe.problems.grammar import Problem

pytestmark = pytest.mark.usefixtures("white")
QUICK = (
    "--no_mlp",
    "--twins",
    1,
    "--fourier_permutations",
    19,
    "--frequencies",
    1,
    "--small_periods",
    2,
    "--subspace_draws",
    1,
    "--targets",
    "sum",
    "--sites",
    "final",
    "--positions",
    "last",
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("plain") / "plain.pt"
    torch.save(TinyTransformer(**SMALL).state_dict(), path)
    return path


def rows(tmp_path, count=300, **recipe):
    made = DataRecipe(rows=2 * count, val_fraction=0.5, max_operand=150, **recipe)
    return write_tsv(tmp_path / "rows.tsv", sample(made)["val"].problems(made))


def tens(tmp_path):
    """Operands of an odd number of tens: every sum is a multiple of 20."""
    path = tmp_path / "tens.tsv"
    path.write_text("".join(f"{x} + {y} = ?\t{x + y}\n" for x in range(10, 410, 20) for y in range(10, 410, 20)))
    return path


def of(plain, folder, data, *more):
    """Words of a probe that writes to a folder ``out``."""
    given = ("--checkpoint", plain, "--data", data, "--output_dir", folder / "out", "--n_heads", 2)
    return ("probe", *given, *QUICK, *more)


@pytest.fixture
def words(plain, tmp_path):
    return lambda data, *more: of(plain, tmp_path, data, *more)


@pytest.fixture(scope="module")
def accepted(plain, tmp_path_factory):
    """Runs that several tests look at: the folder, and what was said."""

    def call(data, *more):
        folder = tmp_path_factory.mktemp("accepted")
        with white_figures():
            code, out, err = command(*of(plain, folder, data(folder), *more))
        assert (code, err) == (0, "")
        return folder, out

    return call


@pytest.fixture(scope="module")
def usual(accepted):
    """Of 300 rows, with the usual claims."""
    return accepted(rows)


@pytest.fixture(scope="module")
def named(accepted):
    """Of 300 rows, all of which may be used, with claims by name, one of them twice."""
    return accepted(rows, "--claims", "x1", "sum", "x1", "summod10f1", "--max_examples", 300)


@pytest.fixture(scope="module")
def of_tens(accepted):
    return accepted(tens, "--claims", "sum10")


def written(folder):
    return strict((folder / "out" / "ladder.json").read_text())


def pictures(folder):
    return {path.stem for path in (folder / "out" / "figures").iterdir()}


def other(left_out):
    """But for rows of rare layouts, of which small data has some."""
    return [reason for reason in left_out if not reason.startswith("of ridge probes and erasers, ")]


@pytest.mark.slow
def test_the_file_has_the_behaviour_first_and_each_claim_with_its_rung(words, run, tmp_path):
    data = rows(tmp_path, task="mod", modulus=11)
    code, out, err = run(*words(data))
    assert (code, err) == (0, "")
    record = written(tmp_path)
    assert next(iter(record)) == "behaviour" and not other(record["left_out"])
    assert record["behaviour"]["verdict"] == "NOT LEARNED" and record["rungs"] == list(RUNGS)
    assert [one["variable"] for one in record["claims"]] == ["sum", "residue"]
    for one in record["claims"]:
        assert (one["rung"], one["stopped_by"].partition(":")[0]) == ("none", "behaviour")
        assert [step["rung"] for step in one["evidence"]] == list(RUNGS[1:5])
        assert all(site["causal"] is None for site in one["sites"])
    lines = out.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("ladder of evidence"))
    for name in ("sum", "residue"):
        (number,) = (n for n, line in enumerate(lines[begin:]) if line.startswith(f"{name} ") and "NONE at " in line)
        assert "  stopped by behaviour" in lines[begin + number :]
    assert str(tmp_path / "out" / "ladder.json") in out
    assert "ladder" in pictures(tmp_path)


@pytest.mark.slow
def test_claims_are_those_named_each_once(named):
    found = {one["variable"]: one["shape"] for one in written(named[0])["claims"]}
    assert found == {"x1": "line", "sum": "line", "summod10f1": "circle"}
    assert len(written(named[0])["claims"]) == 3


@pytest.mark.slow
def test_without_a_ladder_there_are_no_claims_and_nothing_of_an_earlier_one_is_left(usual, words, run, tmp_path):
    assert written(usual[0])["claims"] and "ladder" in pictures(usual[0])  # the control
    shutil.copytree(usual[0] / "out", tmp_path / "out")
    code, out, err = run(*words(usual[0] / "rows.tsv", "--no_ladder"))
    assert (code, err) == (0, "")
    assert "ladder of evidence (" not in out and "left out: the ladder of evidence, as no_ladder asks" in out
    record = written(tmp_path)
    assert record["claims"] == [] and other(record["left_out"]) == ["the ladder of evidence, as no_ladder asks"]
    assert written(tmp_path)["behaviour"]["verdict"] == "NOT LEARNED"
    assert "ladder" not in pictures(tmp_path)


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        (["residue"], "target 'residue': k is unknown"),
        (["residuemod11f1"], "k is unknown"),
        (["summod4f9to2"], "target 'summod4f9to2': expected frequencies like f1to3 or f1to3.7, at most 48"),
        (["summod4f1+1"], "a frequency is named twice"),
        (["summod4f3"], "summod4: no frequency can be probed: .*repeats frequency 1"),
        (["summod194f2"], "claim 'summod194f2': goes round 97, its name is 'summod97f1'"),
        (["summod12f4+8"], "claim 'summod12f4.8': goes round 3, its name is 'summod3f1to2'"),
        (["summ"], "no target 'summ' in this data; did you mean 'sum'"),
        (["all", "x1000"], "no target 'x1000' in this data"),
        ([], "claims is empty; expected at least one"),
    ],
)
def test_a_claim_that_there_is_not_is_one_line_and_leaves_nothing(words, run, tmp_path, claims, message):
    assert_refused(run(*words(rows(tmp_path), "--claims", *claims)), message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ("sum1", "target 'sum1' is 0 in every row; a constant cannot be probed"),
        ("summod2f1", "summod2: no frequency can be probed: summod2cos1 .constant., summod2sin1 .constant."),
    ],
)
@pytest.mark.slow
def test_a_claim_that_does_not_vary_is_refused_and_one_that_does_is_not(of_tens, words, run, tmp_path, claim, message):
    assert_refused(run(*words(tens(tmp_path), "--claims", claim)), message)
    assert not (tmp_path / "out").exists()
    assert [one["variable"] for one in written(of_tens[0])["claims"]] == ["sum10"]  # the control


@pytest.mark.slow
def test_where_the_circles_one_longer_and_shorter_do_not_vary_a_circle_is_still_scored(words, run, tmp_path):
    """All sums are multiples of 3; a circle of period 2 has no such neighbour but that of 3."""
    data = tmp_path / "threes.tsv"
    data.write_text("".join(f"{x} + {y} = ?\t{x + y}\n" for x in range(10, 85, 3) for y in range(11, 86, 3)))
    code, _, err = run(*words(data, "--claims", "summod2f1"))
    assert (code, err) == (0, "")
    (claim,) = written(tmp_path)["claims"]
    assert isinstance(claim["sites"][0]["read"]["lead"], float)
    why = "cannot be told: two or three values are a circle anyhow; "
    assert claim["evidence"][3]["reason"].startswith(why) or claim["evidence"][3]["state"] == "does not hold"
    assert not claim["evidence"][3]["passed"]


@pytest.mark.slow
def test_the_largest_period_has_neighbours(words, run, tmp_path):
    """Longer ones than any that can be asked for among them."""
    code, _, err = run(*words(rows(tmp_path), "--claims", "summod9999f1", "summod10000f1"))
    assert (code, err) == (0, "")
    claims = written(tmp_path)["claims"]
    assert [one["variable"] for one in claims] == ["summod9999f1", "summod10000f1"]
    assert all(isinstance(one["sites"][0]["read"]["neighbour"], float) for one in claims)


@pytest.mark.slow
def test_a_checkpoint_of_another_task_is_refused(small_fit, words, run, tmp_path):
    code, _, err = run(*small_fit, "--trainer.max_epochs", 1)
    assert code == 0, err
    checkpoint = tmp_path / "lightning_logs" / "run" / "version_0" / "checkpoints" / "last.ckpt"

    def on(data, *more):
        given = list(words(data, *more))
        given[given.index("--checkpoint") + 1] = checkpoint
        return run(*given)

    assert_refused(
        on(rows(tmp_path, task="mod", modulus=11)), r"last.ckpt: was trained on 'x \+ y = \?'.*\(mod k\)|mod"
    )
    assert not (tmp_path / "out").exists()
    assert on(rows(tmp_path), "--no_ladder")[0] == 0  # the control
    assert written(tmp_path)["checkpoint"] == str(checkpoint)


FEW = (
    r"rows.tsv: \d+ rows to fit on and \d+ to intervene on \(by sum\); .* need 17 and 100: give about 250 rows or more"
)


@pytest.mark.slow
def test_too_few_rows_for_a_claim_that_is_named_are_refused_and_how_many_it_takes_is_said(named, words, run, tmp_path):
    data = rows(tmp_path, count=150)
    assert_refused(run(*words(data, "--claims", "sum")), FEW)
    assert not (tmp_path / "out").exists()
    assert "sum" in {one["variable"] for one in written(named[0])["claims"]}  # the control


@pytest.mark.slow
def test_too_few_rows_for_the_usual_claims_leave_the_ladder_out_and_say_why(usual, words, run, tmp_path):
    code, out, err = run(*words(rows(tmp_path, count=150)))
    assert (code, err) == (0, "")
    assert "left out: the ladder of evidence: " in out and "ladder of evidence (" not in out
    assert "250 rows or more" in " ".join(out.split())
    assert written(tmp_path)["claims"] == []
    (reason,) = (one for one in written(tmp_path)["left_out"] if one.startswith("the ladder of evidence: "))
    assert reason.endswith("250 rows or more, of different values of sum")
    assert json.loads((tmp_path / "out" / "probe.json").read_text())["ridge"]
    assert "left out: the ladder" not in usual[1] and "ladder of evidence (" in usual[1]  # the control


@pytest.mark.parametrize("kind", [tuple, list])
def test_the_usual_claims_are_the_usual_ones_in_a_list_too(kind):
    loaded, every = adder()
    pairs = zip(every.x[:150].tolist(), every.y[:150].tolist(), strict=True)
    few = ArithmeticDataset(parse_tsv(format_tsv(Problem(x, y) for x, y in pairs).encode(), "few"))
    quick = {"targets": ["sum"], "positions": ["last"], "no_mlp": True, "twins": 0, "small_periods": (2,)}
    found = probe(loaded, few, ProbeOptions(claims=kind(["all"]), **quick))
    assert found.ladder == () and found.left_out[0].startswith("the ladder of evidence: few: ")
    with pytest.raises(ArithprobeError, match=r"few: .* give about 250 rows"):  # the control
        probe(loaded, few, ProbeOptions(claims=kind(["sum"]), **quick))


@pytest.mark.slow
def test_rows_that_max_examples_leaves_out_are_not_what_is_missing(named, words, run, tmp_path):
    """300 rows are enough; that only 100 of them may be used is what has to be said."""
    data = rows(tmp_path)
    refused = (
        r"rows\.tsv: \d+ rows to fit on and \d+ to intervene on \(by sum\); .* need 17 and 100: max_examples is 100, "
        "raise it to about 250 rows or more, of different values of sum"
    )
    assert_refused(run(*words(data, "--claims", "sum", "--max_examples", 100)), refused)
    assert not (tmp_path / "out").exists()
    assert "sum" in {one["variable"] for one in written(named[0])["claims"]}  # the control: 300 of the same
    assert data.read_bytes() == (named[0] / "rows.tsv").read_bytes()
