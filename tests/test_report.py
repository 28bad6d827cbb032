"""One page about a run: everything that is stored is on it, nothing else, and what is missing is said."""

import hashlib
import json
import random
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from browser import started, visited
from conftest import SMALL, assert_refused, read_jsonl
from rendered import white_figures

from arithprobe import cli, report
from arithprobe.behaviour import NOT_LEARNED_WARNING
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import write_tsv
from arithprobe.errors import ArithprobeError
from arithprobe.reports.answer_sections import unchanged
from arithprobe.reports.blocks import Missing, Table, Words
from arithprobe.reports.causal_sections import heads, lost_share, p_beside
from arithprobe.reports.findings import costliest, of_interventions
from arithprobe.reports.histories import curves, ridge_maps
from arithprobe.reports.origin_sections import origin
from arithprobe.reports.page import SECTIONS
from arithprobe.reports.probe_sections import ladder as evidence
from arithprobe.reports.run import read_run

pytestmark = pytest.mark.slow
LARGEST_MB = 8
MODEL = SMALL | {"n_layers": 1}
CALLBACKS = [
    {"class_path": "RidgeProbing", "init_args": {"targets": ["sum", "residue"], "positions": ["last", "role"]}},
    {"class_path": "FourierProbing", "init_args": {"frequencies": 3}},
    {"class_path": "MLPProbing", "init_args": {"targets": ["residue"], "every": 2, "max_epochs": 2, "shuffles": 1}},
    {"class_path": "DirectionAblation", "init_args": {"targets": ["sum"], "every": 2, "draws": 19}},
    {"class_path": "HeadAnalysis", "init_args": {"every": 2}},
    {"class_path": "EmergenceProbing", "init_args": {"targets": ["sum"], "frequencies": 2}},
]


def fit(folder: Path, task: str, callbacks: object, name: str) -> Path:
    """A fit of three validations, in the folder."""
    recipe = DataRecipe(task=task, modulus=11, rows=500, split="sum", val_fraction=0.3, max_operand=120)
    parts = sample(recipe)
    files = {part: write_tsv(folder / f"{task}_{part}.tsv", parts[part].problems(recipe)) for part in parts}
    words = [
        "fit",
        *("--name", name, "--data.train_file", files["train"], "--data.val_file", files["val"]),
        *("--data.recipe.split", "sum", "--data.recipe.task", task, "--data.recipe.modulus", 11),
        *(word for option, value in MODEL.items() for word in (f"--model.{option}", value)),
        *("--trainer.max_epochs", 3, "--trainer.default_root_dir", folder, "--trainer.accelerator", "cpu"),
        *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
        *("--trainer.log_every_n_steps", 1, f"--trainer.callbacks={json.dumps(callbacks)}", "--data.batch_size", 128),
    ]
    assert cli.main([str(word) for word in words]) == 0
    return folder / "lightning_logs" / name / "version_0"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with the run 'whole' of residues with every callback, and the run 'bare' of sums without any."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch, white_figures():  # the page has figures of its own
        patch.setattr("sys.argv", ["arithprobe"])
        fit(folder, "mod", CALLBACKS, "whole")
        fit(folder, "sum", [], "bare")
    return folder / "lightning_logs"


@pytest.fixture
def whole(made, tmp_path) -> Path:
    """A copy of the whole run, to be spoiled."""
    return Path(shutil.copytree(made / "whole" / "version_0", tmp_path / "whole" / "version_0"))


class Page(HTMLParser):
    """What is on a page: ids, labels of pictures, links, words."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids, self.labels, self.links, self.tags, self.headings = [], [], [], [], []
        self.text = path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.labels += [found["aria-label"]] if found.get("role") == "img" else []
        self.links += [found[name] for name in ("src", "href", "xlink:href") if name in found]
        self.headings += [found["id"]] if tag == "section" else []

    def cubes(self) -> list[dict]:
        return [json.loads(one) for one in re.findall(r'<script type="application/json">(\{.*?\})</script>', self.text)]


@pytest.fixture(scope="module")
def page(made) -> Page:
    """The page of the two runs, side by side."""
    path = made / "page.html"
    path.write_text(report([made / "whole" / "version_0", made / "bare" / "version_0"]))
    return Page(path)


@pytest.fixture(scope="module")
def judged(made, tmp_path_factory) -> dict[str, str]:
    """The page of three copies of the bare run, by the verdicts of best and last: what stands on it of each, and all.

    Without what the answers are computed from: a verdict is said in every section, whatever is in it.
    """
    verdicts = {"good": ("LEARNED",) * 2, "failed": ("NOT LEARNED",) * 2, "ended": ("PARTLY LEARNED", "NOT LEARNED")}
    folders = []
    for name, (best, last) in verdicts.items():
        folders.append(Path(shutil.copytree(made / "bare" / "version_0", tmp_path_factory.mktemp("judged") / name)))
        shutil.rmtree(folders[-1] / "checkpoints")
        (folders[-1] / "predictions.tsv").unlink()
        path = folders[-1] / "behaviour.json"
        found = json.loads(path.read_text())
        path.write_text(
            json.dumps(found | {"best": found["best"] | {"verdict": best}, "last": found["last"] | {"verdict": last}})
        )
    text = report(folders)
    parts = text.split('<div class="run">')[1:]
    assert len(parts) == len(verdicts) * len(SECTIONS)
    return {name: "".join(parts[at :: len(verdicts)]) for at, name in enumerate(verdicts)} | {"all": text}


def test_every_section_is_there_and_the_gate_is_first(page):
    assert page.headings == [section.name for section in SECTIONS]
    assert page.headings[0] == "gate"
    assert {f"#{name}" for name in page.headings} < set(page.links)


def test_every_picture_says_what_it_found(page):
    assert len(page.labels) == page.text.count("<svg ") > 8
    assert all(len(label.partition(". ")[2]) > 20 for label in page.labels)
    assert len(set(page.labels)) == len(page.labels)


def test_the_page_needs_nothing_but_itself(page):
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert not {"link", "iframe", "object", "embed"} & set(page.tags)
    assert "url(http" not in page.text and "@import" not in page.text


def test_no_id_is_there_twice_and_every_reference_leads_somewhere(page):
    assert len(page.ids) == len(set(page.ids))
    references = {link[1:] for link in page.links if link.startswith("#")}
    references |= set(re.findall(r"url\(#([^)]+)\)", page.text))
    assert len(references) > 50 and references <= set(page.ids)


def test_a_model_that_has_not_learned_is_said_to_in_every_section(judged):
    assert judged["failed"].count("NOT LEARNED: what is shown here") == len(SECTIONS) - 2  # but gate and origin
    assert NOT_LEARNED_WARNING in judged["failed"]
    assert "what is shown here" not in judged["good"] and NOT_LEARNED_WARNING not in judged["good"]


def test_a_run_that_had_not_learned_at_its_end_is_warned_of(judged):
    """Maps and curves are of the last validation, whatever the best was."""
    said = "NOT LEARNED at the last validation: what is shown here"
    assert judged["ended"].count(said) == judged["all"].count(said) == len(SECTIONS) - 2
    assert '<span class="verdict partly-learned">PARTLY LEARNED</span>' in judged["ended"]


def test_the_maps_hold_what_the_run_recorded(page, made):
    lines = read_jsonl(made / "whole" / "version_0" / "probes" / "ridge.jsonl")
    cubes = page.cubes()
    assert len(cubes) == 3  # two targets, one circle
    assert cubes[0]["steps"] == [line["step"] + 1 for line in lines] and len(lines) == 3
    cells = [cell for cell in lines[1]["cells"] if cell["target"] == "sum"]
    sites = list(dict.fromkeys(cell["site"] for cell in cells))
    width = len(cells) // len(sites)
    for number, cell in enumerate(cells):
        row, column = divmod(number, width)
        up = len(sites) - 1 - row  # the last layer is on top
        shown = cubes[0]["values"][1][up][column]
        assert shown == (None if cell["r2"] is None else pytest.approx(cell["r2"], abs=6e-4))
        assert cubes[0]["beaten"][1][up][column] == int(cell["p"] is not None and cell["p"] <= 0.05 and cell["r2"] > 0)


def test_what_was_not_measured_names_its_command(made):
    bare = read_run(made / "bare" / "version_0")
    missing = {section.name: [one for one in section.of(bare) if isinstance(one, Missing)] for section in SECTIONS[5:]}
    named = {name: one[0].command.split()[1] for name, one in missing.items() if one and one[0].command}
    assert named == {"fourier": "probe", "interventions": "intervene", "heads": "heads", "reproduction": "reproduce"}
    assert "RidgeProbing" in missing["curves"][0].text and "EmergenceProbing" in missing["emergence"][0].text


def test_results_in_the_folder_are_on_the_page(whole, run):
    """Before the command has run its section asks for it; afterwards it holds the pictures."""
    data = json.loads((whole / "provenance.json").read_text())["data"]["val"]["path"]
    before = heads(read_run(whole))
    (asked,) = (one.command.split() for one in before if isinstance(one, Missing))
    assert asked[asked.index("--data") + 1] == data and asked[asked.index("--output_dir") + 1] == str(whole / "heads")
    with white_figures():
        code, _, err = run(*asked[1:], "--twins", 1, "--draws", 19, "--max_examples", 60, "--sample_idx", 0)
    assert code == 0, err
    after = heads(read_run(whole))
    assert not any(isinstance(one, Missing) for one in after)
    assert len(after) > len(before) and not any(isinstance(one, Words) for one in after)
    assert any("ablation of one head costs most for L" in one.finding for one in after)


def test_a_result_of_another_model_is_said_to_be_one(whole, made):
    """The same file in the folder of the run it was measured on is not."""
    ladder = {"behaviour": {}, "checkpoint": str(whole / "checkpoints" / "best.ckpt"), "rungs": [], "claims": []}
    (whole / "probe").mkdir()
    for path, warned in ((ladder["checkpoint"], False), (str(made / "bare" / "version_0" / "best.ckpt"), True)):
        (whole / "probe" / "ladder.json").write_text(json.dumps(ladder | {"checkpoint": path}))
        said = [one.text for one in evidence(read_run(whole)) if isinstance(one, Words)]
        assert [path in text for text in said] == [True] * warned


def test_a_validation_in_the_folder_of_a_fit_is_no_part_of_its_curves(whole):
    before, maps = list(curves(read_run(whole))), ridge_maps(read_run(whole))
    ridge = whole / "probes" / "ridge.jsonl"
    extra = read_jsonl(ridge)[-1] | {"stage": "validate", "step": None}
    ridge.write_text(ridge.read_text() + json.dumps(extra) + "\n")
    table = (whole / "metrics.csv").read_text().splitlines()
    column = table[0].split(",").index("ridge_sum/final@last/r2")
    row = [""] * len(table[0].split(","))
    row[column], row[table[0].split(",").index("step")] = "0.77", str(before[0].steps[-1] + 1)
    (whole / "metrics.csv").write_text("\n".join([*table, ",".join(row)]) + "\n")
    assert [one.steps for one in curves(read_run(whole))] == [one.steps for one in before]
    assert ridge_maps(read_run(whole))["sum"].steps == maps["sum"].steps == (3, 6, 9)


def test_the_curve_says_when_the_checkpoint_is_of_another_moment(page, whole):
    assert "does not give the answers" not in page.text  # the control: it is of this one
    predictions = whole / "predictions.tsv"
    heading, *rows = predictions.read_text().splitlines()
    moved = [[*row.split("\t")[:2], *(str(float(value) + 30) for value in row.split("\t")[2:])] for row in rows]
    predictions.write_text("\n".join([heading, *map("\t".join, moved)]) + "\n")
    (warning,) = (one for one in unchanged(read_run(whole)) if isinstance(one, Words))
    assert warning.bad and "best.ckpt does not give the answers" in warning.text


def test_findings_know_gaps():
    assert costliest([[None, 2.0], [5.0, None]], "mean") == "mean ablation of one head costs most for L1H0: RMSE +5."
    assert costliest([[-3.0, None]], "mean").endswith("L0H0: RMSE -3.")
    assert "no cost" in costliest([[None]], "mean")
    rows = [ledger_row("embed", None, 9.0), ledger_row("resid_mid.1", None, 18.0)]
    said = of_interventions(rows, {"interchange": [], "patching": None, "symmetry": []}, "mean")
    assert "no skill to lose" in said["decodable_against_used"]
    assert "resid_mid.1@last" in said["ablation_against_random"] and "+18" in said["ablation_against_random"]
    rows = [ledger_row("embed", 0.1, 9.0), ledger_row("resid_mid.1", 0.4, 3.0)]
    said = of_interventions(rows, {"interchange": [], "patching": None, "symmetry": []}, "mean")
    assert "resid_mid.1@last" in said["decodable_against_used"] and "40%" in said["decodable_against_used"]
    assert "embed@last" in said["ablation_against_random"]


def test_the_page_says_why_a_p_and_a_loss_of_skill_cannot_be_told():
    rows = [ledger_row("embed", None, 9.0), ledger_row("resid_mid.1", 0.5, 9.0)]
    why = {"p": None, "is_null": True, "note": "there is nothing to take out", "removed": []}
    rows[0]["effects"]["mean"]["random"]["matched"] = why
    lost, p = _cells_of(rows[0])
    assert lost == "cannot be told: there was no skill to lose"
    shown = "displacing 20 %: permuted 0.05 (displacing 10 % to 40 %)"
    assert p == f"{shown}, matched cannot be told: there is nothing to take out"
    assert _cells_of(rows[1]) == ("50%", shown)  # the control; blind subspaces are a description
    del rows[1]["effects"]["mean"]["random"]["permuted"]
    assert _cells_of(rows[1])[1] == "cannot be told: it stands beside no fit on permuted labels"


def _cells_of(row: dict) -> tuple[str, str]:
    return lost_share(row["effects"]["mean"]["skill_lost"]), p_beside(row["effects"]["mean"])


def ledger_row(site: str, lost: float | None, rise: float) -> dict:
    effect = {
        "skill_lost": lost,
        "delta_rmse": rise,
        "displaced": 0.2,
        "random": {
            "isotropic": {"p": None, "is_null": False, "note": "a description", "removed": [0.1]},
            "permuted": {"p": 0.05, "is_null": True, "note": "", "removed": [0.5, 2.0]},
        },
    }
    return {
        "site": site,
        "position": "last",
        "target": "sum",
        "subspace": "probe",
        "held_out_r2": 0.5,
        "steering_slope": None,
        "effects": {"mean": effect},
    }


def test_the_origin_has_the_hashes_of_the_files_and_says_what_changed(whole):
    kept = json.loads((whole / "provenance.json").read_text())
    data = Path(kept["data"]["val"]["path"])
    content = data.read_bytes()
    assert kept["data"]["val"]["sha256"] == hashlib.sha256(content).hexdigest()
    checkpoint = hashlib.sha256((whole / "checkpoints" / "best.ckpt").read_bytes()).hexdigest()
    hashes = {kept["data"][part]["sha256"] for part in ("train", "val")} | {kept["split"]["sha256"], kept["code"]}
    hashes |= {kept["initial"]["weights"]}
    shown = {row[2]: row[0] for row in hashes_of(whole)}
    assert hashes | {checkpoint} == set(shown) and not any("CHANGED" in name for name in shown.values())
    assert kept["split"]["shared_pairs"] == kept["split"]["shared_sums"] == 0  # split by sum
    data.write_bytes(content + b"1 + 1 (mod 11) = ?\t2\n")
    try:
        assert [row[0] for row in hashes_of(whole) if "CHANGED" in row[0]] == ["val rows now, CHANGED since the fit"]
    finally:
        data.write_bytes(content)


def hashes_of(folder: Path) -> list:
    tables = [one for one in origin(read_run(folder)) if isinstance(one, Table)]
    return next(one for one in tables if one.caption.startswith("Hashes")).rows


def test_runs_of_different_tasks_stand_side_by_side_and_it_is_said(page, judged):
    assert 'id="tasks"' in page.text and page.headings == [section.name for section in SECTIONS]
    assert 'id="tasks"' not in judged["all"]  # the control: three of one task


def test_a_run_without_a_table_is_read_from_its_events(whole):
    """As of a Trainer in Python with TensorBoard only; its options are in hparams.yaml, with tuples."""
    (whole / "config.yaml").unlink()
    options = whole / "hparams.yaml"
    options.write_text(options.read_text().replace("betas:", "betas: !!python/tuple"))
    assert read_run(whole).config["betas"] == [0.9, 0.999]
    with_table = list(curves(read_run(whole)))
    (whole / "metrics.csv").unlink()
    from_events = list(curves(read_run(whole)))
    assert [one.target for one in from_events] == [one.target for one in with_table] and len(with_table) == 4
    for ours, theirs in zip(from_events, with_table, strict=True):
        assert ours.steps == theirs.steps and ours.sites == theirs.sites
        torch.testing.assert_close(ours.score, theirs.score, rtol=1e-5, atol=1e-6, equal_nan=True)


def test_bad_input_is_one_line_and_nothing_is_written(run, whole, made, tmp_path):
    (tmp_path / "empty").mkdir()
    assert_refused(run("report", tmp_path / "empty"), "empty: is no run folder.*lightning_logs/NAME/version_N")
    assert_refused(run("report", tmp_path / "nowhere"), "nowhere: is no folder")
    assert_refused(run("report", whole.parent), "did you mean .*whole/version_0")
    assert_refused(run("report", whole, whole), "is named twice")
    assert_refused(run("report"), "runs")
    ridge = whole / "probes" / "ridge.jsonl"
    text = ridge.read_text()
    ridge.write_text(text[: len(text) // 2])
    number = ridge.read_text().count("\n") + 1
    assert_refused(run("report", whole), rf"ridge\.jsonl:{number}: is no whole JSON.*fit again")
    ridge.write_text(text)
    behaviour = (whole / "behaviour.json").read_text()
    (whole / "behaviour.json").write_text(behaviour[:-30])
    assert_refused(run("report", whole), r"behaviour\.json: is no whole JSON.*delete it")
    (whole / "behaviour.json").unlink()
    assert_refused(run("report", whole), "nobody has kept the verdict.*arithprobe validate")
    assert not (whole / "report.html").exists()
    (whole / "behaviour.json").write_text(behaviour)
    assert_refused(run("report", whole, "-o", tmp_path), "is a folder; expected a file")
    assert_refused(run("report", whole, "-o", whole / "metrics.csv"), "expected one that ends in .html")


def test_a_run_that_kept_no_verdict_is_told_how_to_keep_one(whole):
    (whole / "behaviour.json").unlink()
    with pytest.raises(ArithprobeError, match=r"nobody has kept the verdict.*callback BehaviourReport\(\)"):
        report(whole)
    shutil.rmtree(whole / "probes")
    (whole / "metrics.csv").unlink()
    for events in whole.glob("events.out.*"):
        events.unlink()
    with pytest.raises(ArithprobeError, match="has no validation"):
        report(whole)


def spoil(folder, rng):
    """One of its files, or a value in it, becomes something else; what, in words."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in SPOILT)
    path = rng.choice(files)
    kind = rng.choice(["value", "value", "value", "text", "bytes", "cut", "folder", "link"])
    if kind == "value" and path.suffix in (".json", ".jsonl"):
        lines = path.read_text().splitlines()
        number = rng.randrange(len(lines))
        lines[number] = json.dumps(other_value(json.loads(lines[number]), rng)).replace('"HUGE"', "9" * 5000)
        path.write_text("\n".join(lines))
    elif kind in ("value", "text"):
        path.write_text(
            rng.choice(["", "[]", "{}", "null", "1", '"\\ud800"', "a: [", "[" * 100_000, "step,val/loss\n1,x\n"])
        )
    elif kind == "bytes":
        path.write_bytes(rng.randbytes(40))
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])
    else:
        path.unlink()
        path.mkdir() if kind == "folder" else path.symlink_to("nowhere")
    return f"{kind} in {path.relative_to(folder)}"


def other_value(value, rng):
    if isinstance(value, (dict, list)) and value and rng.random() < 0.85:
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        value[key] = other_value(value[key], rng)
        return value
    others = [
        None,
        "",
        "\ud800",
        -1,
        0,
        1e308,
        float("nan"),
        float("inf"),
        [],
        {},
        [[]],
        {"a": 1},
        True,
        "HUGE",
        10**30,
    ]
    return rng.choice(others)


SPOILT = {".json", ".jsonl", ".csv", ".yaml", ".tsv", ".ckpt"}


@pytest.mark.parametrize(("seed", "times"), [(0, 12), pytest.param(1, 500, marks=pytest.mark.long)])
@pytest.mark.slow(seconds=6)
def test_no_spoilt_file_gives_a_traceback(made, tmp_path, white, seed, times):
    rng, told = random.Random(seed), Counter()
    for number in range(times):
        folder = Path(shutil.copytree(made / "whole" / "version_0", tmp_path / str(number)))
        what = spoil(folder, rng)
        try:
            report(folder).encode()
            told["page"] += 1
        except ArithprobeError as error:
            assert "\n" not in str(error), what
            told["line"] += 1
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}") from error
        shutil.rmtree(folder)
    assert min(told["page"], told["line"]) > 0


def test_one_path_is_one_run_and_a_page_can_always_be_written(whole):
    """A lone surrogate, which JSON can hold and UTF-8 cannot, stands there as an escape."""
    kept = json.loads((whole / "provenance.json").read_text())
    assert "\\ud800" not in report(str(whole))
    (whole / "provenance.json").write_text(json.dumps(kept | {"device": "\ud800"}))
    assert "\\ud800" in report(whole).encode().decode()


def test_the_command_writes_the_page_and_says_where(run, made, tmp_path):
    """The control of the refusals: nothing is wrong with this run."""
    bare = Path(shutil.copytree(made / "bare" / "version_0", tmp_path / "bare" / "version_0"))
    code, out, err = run("report", bare)
    assert code == 0, err
    assert f"report: {bare / 'report.html'}" in out and "LEARNED" in out
    one = Page(bare / "report.html")
    assert one.text.startswith("<!doctype html>") and one.headings == [section.name for section in SECTIONS]
    assert "<title>bare/version_0: NOT LEARNED" in one.text and 'id="tasks"' not in one.text


def luminance(colour: str) -> float:
    """Relative luminance of 'rgb(r, g, b)', after WCAG 2."""
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(seen, place: str) -> float:
    """Contrast of letters at a place with the page behind them."""
    ink = seen.eval_on_selector(place, "one => getComputedStyle(one).color")
    paper = seen.evaluate("getComputedStyle(document.body).backgroundColor")
    light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.fixture(scope="module")
def browser():
    """One for all visits."""
    with started() as found:
        yield found


def test_the_page_opens_whole_and_the_slider_moves_the_map(page, made, browser):
    one = made / "page.html"
    with visited(browser) as seen:
        seen.page.goto(one.as_uri())
        assert seen.page.title().startswith("whole/version_0, bare/version_0: NOT LEARNED, NOT LEARNED")
        for section in SECTIONS:
            assert seen.page.locator(f"section#{section.name} h2").is_visible()
        cube = seen.page.locator(".cube").first
        data = json.loads(cube.locator("script").text_content())
        slider, cell = cube.locator("input"), cube.locator("tbody td").first
        for key, step in (("Home", 0), ("ArrowRight", 1), ("End", len(data["steps"]) - 1)):
            slider.press(key)
            said = f"after {data['steps'][step]} steps"
            assert cube.locator("output").text_content() == said == slider.get_attribute("aria-valuetext")
            value = data["values"][step][0][0]
            assert cell.text_content().startswith("-" if value is None else f"{value:.2f}")
        assert not seen.errors and not seen.foreign
        took = seen.page.evaluate("performance.getEntriesByType('navigation')[0].duration")
        assert 0 < took < 10_000  # milliseconds; the number is in the guide
    assert one.stat().st_size < LARGEST_MB * 1e6


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_widths_and_themes_can_be_read(page, made, browser, width, theme):
    """Nothing is wider than the window, and letters stand out from the page."""
    with visited(browser, width=width) as seen:
        seen.page.emulate_media(color_scheme=theme)
        seen.page.goto((made / "page.html").as_uri())
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        for place in ("body", ".shows", "figcaption", "nav a", ".not-learned", ".missing p"):
            assert contrast(seen.page, place) > 4.5  # WCAG AA
        paper = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (luminance(paper) < 0.05) == (theme == "dark")
        assert not seen.errors


def test_the_theme_is_chosen_by_hand_too_and_paper_is_white(page, made, browser):
    with visited(browser) as seen:
        seen.page.goto((made / "page.html").as_uri())
        button, papers = seen.page.locator("#theme"), []
        for _ in range(2):
            button.press("Enter")
            papers.append(seen.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert luminance(papers[0]) > 0.9 and luminance(papers[1]) < 0.05  # light, then dark
        seen.page.emulate_media(media="print", color_scheme="dark")
        assert luminance(seen.page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.9
        assert not seen.page.locator("nav").is_visible()


def test_a_page_with_an_error_is_found_out(page, tmp_path, browser):
    """The control: a script that fails, and a picture from elsewhere."""
    broken = tmp_path / "broken.html"
    text = page.text.replace('"use strict";', "missing();", 1)
    broken.write_text(text.replace("</main>", '<img src="https://example.org/one.png" alt=""></main>'))
    with visited(browser) as seen:
        seen.page.goto(broken.as_uri())
        assert any("missing is not defined" in error for error in seen.errors)
        assert any("Content Security Policy" in error for error in seen.errors)  # the page forbids it
