"""``arithprobe heads``: the statistics and effects of a checkpoint's heads, its files, and its complaints."""

import io
import itertools
import json
import re
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from conftest import SMALL, assert_refused
from looped import looped_statistics
from micro import one_thread  # noqa: F401
from rendered import white_figures

from arithprobe import cli
from arithprobe.analysis.heads.options import HeadOptions
from arithprobe.analysis.heads.record import record_of
from arithprobe.analysis.heads.run import analyse_heads
from arithprobe.analysis.progress import Progress
from arithprobe.attention.heads import operand_mass
from arithprobe.cli.terminal import print_said
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import write_tsv
from arithprobe.models.checkpoints import load_model
from arithprobe.models.transformer import TinyTransformer
from arithprobe.plotting.render import to_rgb
from arithprobe.problems.rows import Inputs

NOTEBOOK = [
    "layer",
    "head",
    "mass_x",
    "mass_y",
    "mass_plus",
    "mass_mod",
    "mass_others",
    "copy_score",
    "balance_score",
    "entropy",
]
QUICK = HeadOptions(draws=5, twins=1)


def untrained(path, **sizes):
    """A checkpoint of a model that was never trained."""
    torch.manual_seed(0)
    torch.save(TinyTransformer(**SMALL | sizes).state_dict(), path)
    return path


def words_of(**given):
    given |= {"n_heads": 2, "draws": 5, "twins": 1}
    return ["heads", *(str(word) for name, value in given.items() for word in (f"--{name}", value))]


def names_of(report):
    """Of its pictures."""
    return {picture.name for picture in report.said.pictures}


class Made(NamedTuple):
    """What the command did."""

    code: int
    out: str
    err: str
    stats: dict
    pictures: set


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The command, with everything that it does by itself, on the rows of the fixture ``small_data``."""
    folder = tmp_path_factory.mktemp("heads")
    recipe = DataRecipe(rows=500, split="sum", val_fraction=0.3, max_operand=120)
    data = write_tsv(folder / "val.tsv", sample(recipe)["val"].problems(recipe))
    words = words_of(checkpoint=untrained(folder / "model.pt"), data=data, output_dir=folder / "out")
    with white_figures(), redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = cli.main(words)
    stats = json.loads((folder / "out" / "head_stats.json").read_text())
    pictures = {path.stem for path in (folder / "out" / "figures").iterdir()}
    return Made(code, out.getvalue(), err.getvalue(), stats, pictures)


@pytest.fixture
def checkpoint(tmp_path):
    return untrained(tmp_path / "model.pt")


@pytest.fixture
def words(checkpoint, small_data, tmp_path):
    return words_of(checkpoint=checkpoint, data=small_data["val"], output_dir=tmp_path / "out")


@pytest.fixture
def loaded(checkpoint):
    return load_model(checkpoint, n_heads=2)


@pytest.fixture
def shallow(tmp_path):
    """Of one layer."""
    return load_model(untrained(tmp_path / "shallow.pt", n_layers=1), n_heads=2)


@pytest.fixture
def rows(small_data):
    return ArithmeticDataset.from_tsv(small_data["val"])


@pytest.mark.slow
def test_every_head_has_the_notebooks_figures_and_the_honest_ones(made):
    assert (made.code, made.err) == (0, "")
    assert made.out.startswith("NOT LEARNED")
    assert all(f"L{layer}H{head} " in made.out for layer in (0, 1) for head in (0, 1))
    assert "p against random dimensions of z: cannot be told, because 5 draws are too few." in " ".join(
        made.out.split()
    )
    stats = made.stats
    assert stats["behaviour"]["verdict"] == "NOT LEARNED"
    for layer in (0, 1):
        for head in (0, 1):
            notebook, honest = stats["per_head"][layer][head], stats["heads"][layer][head]
            assert list(notebook) == NOTEBOOK
            assert (notebook["layer"], notebook["head"]) == (layer, head) == (honest["layer"], honest["head"])
            masses = [notebook[name] for name in NOTEBOOK if name.startswith("mass")]
            assert sum(masses) == pytest.approx(1)
            assert notebook["copy_score"] == honest["operand_mass"] == pytest.approx(masses[0] + masses[1])
            assert notebook["balance_score"] == honest["operand_imbalance"] == pytest.approx(abs(masses[0] - masses[1]))
            assert set(honest["delta_rmse"]) == {"zero", "mean", "resample"}
            assert honest["skill_lost"]["mean"] is None  # there is no skill to lose
            assert 0 < honest["p"] <= 1
    assert stats["uniform"]["mass"]["mod"] == 0
    assert sum(stats["causal"]["direct"].values()) == pytest.approx(1)
    assert len(stats["by_role"]["role_mass"][0][0]) == len(stats["by_role"]["roles"]) == 13
    assert made.pictures == {
        "attention_0",
        "attention_1",
        "attention_2",
        "head_ablation",
        "head_categories",
        "head_effects",
        "head_patching",
        "head_roles",
        "head_scores",
        "head_sweeps",
        "roles_layer0",
        "roles_layer1",
    }


@pytest.mark.slow
def test_the_statistics_are_those_of_a_plain_loop_and_the_record_and_the_table_show_them(loaded, rows, made):
    report = analyse_heads(loaded, rows, replace(QUICK, no_causal=True))
    found = report.statistics
    loop = looped_statistics(loaded.model, rows.texts(), rows.ids.long(), rows.lengths, found.roles)
    torch.testing.assert_close(found.mass, loop.mass, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.norm, loop.norm, atol=1e-5, rtol=0)
    stats = made.stats
    lines = [line.split() for line in made.out.splitlines() if re.match(r" ?L\dH\d ", line)]
    attention, effects = ({line[0]: line[1:] for line in part} for part in (lines[:4], lines[4:]))
    share = loop.norm / loop.norm.sum(dim=-1, keepdim=True)
    for layer, head in itertools.product(range(2), range(2)):
        name, own = f"L{layer}H{head}", stats["heads"][layer][head]
        x, y, plus = (f"{value:.0%}" for value in loop.mass[layer, head, :3].tolist())
        last = loop.role_mass[layer, head, found.roles.index("query")]
        most = [found.roles[int(last.argmax())], f"{float(last.max()):.0%}"]
        entropy, weighted = f"{float(loop.entropy[layer, head]):.2f}", f"{float(operand_mass(share)[layer, head]):.0%}"
        assert attention[name][:7] == [x, y, plus, *most, entropy, weighted]
        costs = [own["delta_rmse"][kind] for kind in ("zero", "mean", "resample")]
        assert [float(cell.rstrip("*")) for cell in effects[name][:3]] == pytest.approx(costs, rel=0.01, abs=0.006)
        assert "*" not in effects[name][1]  # with 5 draws no p is so small
        assert effects[name][-1] == f"{own['direct_share']:.0%}".replace("-0%", "0%")
        assert own["value_weighted_operand_share"] == pytest.approx(float(operand_mass(share)[layer, head]), abs=1e-5)
        assert own["direct_share"] == pytest.approx(stats["causal"]["direct"][f"z.{layer}.{head}"])
        assert own["recovered"] == stats["causal"]["patching"]["recovered"][layer][head]
    assert [one["measure"] for one in stats["causal"]["attention_against_effect"]] == [
        "attention from '?' to the operands",
        "value-weighted norm from '?' to the operands",
    ]
    values = [one["values"] for one in stats["causal"]["attention_against_effect"]]
    torch.testing.assert_close(torch.tensor(values[0]).double(), operand_mass(loop.mass), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.tensor(values[1]).double(), operand_mass(loop.norm), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_heads_that_cost_nothing_are_not_ranked(shallow, tmp_path, capsys):
    """Of equal prompts every head writes its mean: what is left is rounding, and no order."""
    tsv = tmp_path / "same.tsv"
    tsv.write_text("12 + 30 = ?\t42\n" * 30)
    report = analyse_heads(shallow, ArithmeticDataset.from_tsv(tsv), QUICK)
    print_said(report.said)
    out = capsys.readouterr().out
    assert "no head costs anything under mean ablation" in out
    assert "nothing to compare (2 heads)" in out
    cost = record_of(report)["heads"][0][0]["delta_rmse"]
    assert cost["mean"] == 0.0
    assert abs(cost["zero"]) > 0  # the control
    assert {"head_ablation", "head_effects", "head_patching"} < names_of(report)
    assert to_rgb(report.figure("head_ablation")).std() > 0 < to_rgb(report.figure("head_effects")).std()


@pytest.mark.slow
def test_scores_and_findings_are_those_of_the_report(loaded, rows):
    report = analyse_heads(loaded, rows, replace(QUICK, draws=19))
    found = {(one.site, one.target, one.score): one for one in report.scores()}
    assert len(found) == len(list(report.scores()))  # no two rows of one name
    main = report.causal.main
    for layer, head in itertools.product(range(2), range(2)):
        name = f"L{layer}H{head}"
        cost, mass = found[f"z.{layer}", name, "mean_delta_rmse"], found[f"pattern.{layer}", name, "operand_mass"]
        assert cost.value == float(main.delta_rmse[layer, head]) and cost.n == main.n
        assert cost.null_high == pytest.approx(float(main.random[layer].quantile(0.95)))
        assert mass.value == float(operand_mass(report.statistics.mass)[layer, head]) and mass.n == len(rows)
    said = {picture.name: picture.finding for picture in report.said.pictures}
    layer, head = divmod(int(operand_mass(report.statistics.mass).argmax()), 2)
    assert said["head_categories"].startswith(f"L{layer}H{head} gives the operands most of its attention, ")
    last = report.samples[0].patterns[..., -1, :]
    layer, head, key = (int(one) for one in (last == last.max()).nonzero()[0])
    assert f"L{layer}H{head} to character {key + 1}, " in said["attention_0"]
    assert all(finding.endswith(".") and "nan" not in finding for finding in said.values())


@pytest.mark.parametrize("name", ["head_scores.png", "head_scores.svg"])
def test_a_folder_in_the_place_of_a_picture_is_found_before_any_work(name, words, run, tmp_path):
    (tmp_path / "out" / "figures" / name).mkdir(parents=True)
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert f"{name}: is a folder" in err and err.count("\n") == 1
    assert [path.name for path in (tmp_path / "out" / "figures").iterdir()] == [name]


@pytest.mark.usefixtures("white")
@pytest.mark.slow
def test_the_rows_asked_for_are_drawn_and_those_of_an_earlier_run_are_gone(words, run, tmp_path):
    words[2] = untrained(tmp_path / "shallow.pt", n_layers=1)
    figures = tmp_path / "out" / "figures"
    figures.mkdir(parents=True)
    (figures / "head_shot.png").write_bytes(b"")  # nobody's
    assert run(*words)[0] == 0
    assert {"attention_0", "head_ablation"} < {path.stem for path in figures.iterdir()}
    code, _, err = run(*words, "--sample_idx", 7, 7, 3, "--no_causal")
    assert (code, err) == (0, "")
    pictures = {path.stem for path in figures.iterdir()}
    assert {name for name in pictures if name.startswith("attention")} == {"attention_7", "attention_3"}
    assert "head_ablation" not in pictures and "head_shot" in pictures
    stats = json.loads((tmp_path / "out" / "head_stats.json").read_text())
    assert [one["row"] for one in stats["samples"]] == [7, 3]
    assert stats["causal"] is None


def test_a_sample_has_the_pattern_of_its_prompt_alone(loaded, rows):
    """Without padding, and equal to what the model computes for that prompt by itself."""
    row = int(rows.lengths.argmin())
    (sample,) = analyse_heads(loaded, rows, replace(QUICK, sample_idx=(row,), no_causal=True)).samples
    assert (sample.row, sample.text) == (row, rows.texts()[row])
    length = len(sample.text)
    with torch.no_grad():
        _, cache = loaded.model.run_with_cache(
            Inputs(rows.ids[row : row + 1, :length].long(), rows.lengths[row : row + 1]), patterns=True
        )
    alone = torch.stack(list(cache.patterns.values()), dim=1)[0]
    assert sample.patterns.shape == (2, 2, length, length)
    torch.testing.assert_close(sample.patterns, alone, atol=1e-6, rtol=0)


def test_progress_is_told_as_often_as_announced_and_the_seed_decides_the_draws(loaded, rows):
    totals = []
    progress = Progress(lambda name, done, total: totals.append(total))
    one = analyse_heads(loaded, rows, QUICK, progress)
    assert progress.done == progress.total == len(totals) and set(totals) == {progress.total}
    same, other = (analyse_heads(loaded, rows, replace(QUICK, seed=seed)) for seed in (0, 1))
    assert torch.equal(one.causal.main.random, same.causal.main.random)
    assert not torch.equal(one.causal.main.random, other.causal.main.random)
    assert torch.equal(one.statistics.role_mass, other.statistics.role_mass)  # the control: no chance in these
    assert not torch.equal(one.untrained[0].copying, other.untrained[0].copying)


def test_attention_is_compared_with_the_effect_of_the_ablation_asked_for(loaded, rows):
    report = analyse_heads(loaded, rows, replace(QUICK, ablations=("zero", "resample"), twins=0))
    assert report.untrained == ()
    assert [one.kind for one in report.causal.ablations] == ["zero", "resample"]
    assert report.causal.main.kind == "zero"
    assert report.causal.ablations[1].random.shape == (2, 0)
    agreement = report.causal.agreements[0]
    assert torch.equal(agreement.values, operand_mass(report.statistics.mass))
    assert agreement.correlation.n == 4


@pytest.mark.slow
def test_rows_that_are_alone_in_their_layout_have_no_partner_to_be_patched_with(shallow, tmp_path, capsys):
    tsv = tmp_path / "few.tsv"
    tsv.write_text("1 + 2 = ?\t3\n10 + 2 = ?\t12\n")
    report = analyse_heads(shallow, ArithmeticDataset.from_tsv(tsv), QUICK)
    print_said(report.said)
    said = "left out: patching and resample ablation: fewer than 2 rows have another of the same layout"
    assert said in capsys.readouterr().out
    names = names_of(report)
    assert {name for name in names if name.startswith("attention")} == {"attention_0", "attention_1"}
    assert "head_patching" not in names and "head_ablation" in names


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--sample_idx", 0, 150], "sample_idx has 150; .*small_val.tsv has 150 rows, expected 0 to 149"),
        (["--sample_idx", -1], "sample_idx has -1"),
        (["--sample_idx", "one"], "sample_idx"),
        (["--ablations", "median"], "no choice among ablations 'median'; expected one of zero, mean, resample"),
        (["--ablations"], "ablations is empty"),
        (["--draws", -1], "draws is -1; expected 0 or more"),
        (["--max_examples", 0], "max_examples is 0; expected 1 or more"),
        (["--sample_id", 1], "unknown option --sample_id; did you mean --sample_idx"),
        (["--n_heads", 3], "n_heads is 3; expected a divisor of d_model"),
        (["--checkpoint", "missing.pt"], "missing.pt: no such file"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(words, run, tmp_path, more, message):
    assert_refused(run(*words, *more), message)
    assert not (tmp_path / "out" / "head_stats.json").exists()


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (lambda key: ".self_attn." not in key, "no attention: none of its 22 weights is an enc.layers"),
        (lambda key: key.startswith("readout"), "'tok.weight' is missing, and there is no attention"),
        (lambda key: "self_attn.out_proj" not in key, "'enc.layers.0.self_attn.out_proj.weight' is missing"),
    ],
)
def test_a_checkpoint_without_attention_is_refused(words, run, tmp_path, checkpoint, kept, message):
    weights = torch.load(checkpoint, weights_only=True)
    torch.save({key: value for key, value in weights.items() if kept(key)}, checkpoint)
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "out" / "head_stats.json").exists()


def test_a_prompt_whose_roles_cannot_be_parsed_is_named_by_its_line(words, run, tmp_path):
    tsv = tmp_path / "odd.tsv"
    tsv.write_text("1 + 2 = ?\t3\n3 - 2 = ?\t1\n")
    words[4] = tsv
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "odd.tsv:2: '3 - 2 = ?' is neither 'x + y = ?' nor" in err
