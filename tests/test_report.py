"""One page about a run: everything that is stored is on it, nothing else, and what is missing is said."""

import hashlib
import json
import os
import random
import re
import shutil
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from browser import started, visited
from conftest import SMALL, assert_refused, read_jsonl
from markupsafe import escape
from rendered import white_figures
from said_by_hand import say_by_hand

from arithprobe import cli, report
from arithprobe.analysis.progress import Progress
from arithprobe.analysis.study import STUDIES
from arithprobe.behaviour import NOT_LEARNED_WARNING
from arithprobe.behaviour.verdict import UNTOLD_WARNING
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import write_tsv
from arithprobe.errors import ArithprobeError
from arithprobe.plotting.probe_curves import ProbeHistory
from arithprobe.reports.answer_sections import unchanged
from arithprobe.reports.blocks import Drawing, Missing
from arithprobe.reports.histories import cube_of, history, of_the_fit
from arithprobe.reports.measured import _curve_finding
from arithprobe.reports.origin_sections import origin
from arithprobe.reports.page import page_of, read_runs, sections_of
from arithprobe.reports.run import read_run
from arithprobe.said.content import CellMap, Chart, Column, Picture, Said, Table, Words
from arithprobe.said.folder import write_said
from arithprobe.said.page_file import page_record

pytestmark = pytest.mark.slow
LARGEST_MB = 4
OWN = ["gate", "training", "answers", "invariance", "unmeasured", "origin"]
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
        say_by_hand(fit(folder, "mod", CALLBACKS, "whole"))
        fit(folder, "sum", [], "bare")
    return folder / "lightning_logs"


@pytest.fixture
def whole(white, made, tmp_path) -> Path:
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
    assert len(parts) == len(verdicts) * len(OWN)
    return {name: "".join(parts[at :: len(verdicts)]) for at, name in enumerate(verdicts)} | {"all": text}


def test_every_section_is_there_and_the_gate_is_first(page):
    """A study and a live probe of one name have a section each; small ranks stand before the page's own sections."""
    early, late = ["gate", "ladder", "training", "answers", "invariance"], ["unmeasured", "origin"]
    live = [f"live-{name}" for name in ("ridge", "fourier", "mlp", "emergence", "ablation", "heads")]
    assert page.headings == [*early, *live, "heads", *late]
    assert {f"#{name}" for name in page.headings} < set(page.links)
    titles = re.findall(r"<h2 [^>]*>(.*?)</h2>", page.text)
    assert len(titles) == len(set(titles))


def test_what_a_page_file_says_is_on_the_page_of_its_run_and_the_other_run_lacks_it(page):
    parts = {name: part.split('<div class="run">')[1:] for name, part in sections_in(page.text).items()}
    for name in ("ladder", "heads", "live-ridge", "live-heads"):
        theirs, none = parts[name]
        assert 'class="missing"' not in theirs and 'class="missing"' in none
    assert "arithprobe probe --checkpoint" in parts["ladder"][1] and "did not watch" in parts["live-heads"][1]
    for said in ("Rungs &amp; claims", "first line\nsecond line", "what nobody should conclude", "a note on the marks"):
        assert said in parts["ladder"][0]


def sections_in(text: str) -> dict[str, str]:
    return {part.partition('"')[0]: part for part in text.split('<section id="')[1:]}


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
    assert judged["failed"].count("NOT LEARNED: what is shown here") == len(OWN) - 3  # of its own answers
    assert NOT_LEARNED_WARNING in judged["failed"]
    assert "what is shown here" not in judged["good"] and NOT_LEARNED_WARNING not in judged["good"]


def test_a_run_that_had_not_learned_at_its_end_is_warned_of(judged):
    """Maps and curves are of the last validation, whatever the best was."""
    said = "NOT LEARNED at the last validation: what is shown here"
    assert judged["ended"].count(said) == judged["all"].count(said) == len(OWN) - 3
    assert '<span class="verdict partly-learned">PARTLY LEARNED</span>' in judged["ended"]


@pytest.mark.usefixtures("white")
def test_a_model_of_which_it_cannot_be_told_is_not_called_one_that_has_not_learned(made, tmp_path):
    """Too few rows, say: its verdict is NOT LEARNED, and the reason says why that is not known."""
    folder = Path(shutil.copytree(made / "bare" / "version_0", tmp_path / "bare"))
    path = folder / "behaviour.json"
    found = json.loads(path.read_text())
    for reason, warned, shown in (
        ("cannot be told: too few rows (9)", UNTOLD_WARNING, "cannot be told: what is shown here may not be about it"),
        ("predicts the mean", NOT_LEARNED_WARNING, "NOT LEARNED: what is shown here is not about the task"),
    ):
        of = {"verdict": "NOT LEARNED", "reason": reason}
        path.write_text(json.dumps({name: one | of for name, one in found.items()}))
        text = report(folder)
        assert text.count(shown) == len(OWN) - 3
        assert [one in text for one in (UNTOLD_WARNING, NOT_LEARNED_WARNING)] == [
            one == warned for one in (UNTOLD_WARNING, NOT_LEARNED_WARNING)
        ]


def test_the_maps_hold_what_the_run_recorded(page, made):
    lines = read_jsonl(made / "whole" / "version_0" / "probes" / "ridge.jsonl")
    cubes = page.cubes()
    assert len(cubes) == 3  # two targets, one circle
    assert cubes[0]["steps"] == [line["step"] + 1 for line in lines] and len(lines) == 3
    (of,) = (one for one in blocks_of(made / "whole" / "version_0", "ridge", CellMap) if one.where == {"target": "sum"})
    cells = [cell for cell in lines[1]["cells"] if cell["target"] == "sum"]
    sites = list(dict.fromkeys(cell["site"] for cell in cells))
    width = len(cells) // len(sites)
    for number, cell in enumerate(cells):
        row, column = divmod(number, width)
        up = len(sites) - 1 - row  # the last layer is on top
        shown = cubes[0]["values"][1][up][column]
        assert shown == (None if cell["r2"] is None else pytest.approx(cell["r2"], abs=6e-4))
        assert cubes[0]["beaten"][1][up][column] == int(cell[of.mark])
    marks = [cell[of.mark] for cell in cells]
    assert {True, False} == set(marks)  # else nothing is told apart here


def blocks_of(folder: Path, name: str, kind: type) -> list:
    (page,) = (one for one in read_run(folder).pages if one.said.name == name and one.live)
    return [block for block in page.said.blocks if isinstance(block, kind)]


def test_what_was_not_measured_names_its_command(made):
    bare = read_run(made / "bare" / "version_0")
    missing = {one.name: [block for block in one.of(bare) if isinstance(block, Missing)] for one in sections_of([bare])}
    named = [one.command.split()[:2] for one in missing["unmeasured"] if one.command]
    assert named == [["arithprobe", name] for name in STUDIES]
    (watched,) = (one.text for one in missing["unmeasured"] if not one.command)
    assert "RidgeProbing" in watched and "EmergenceProbing" in watched
    assert not any(found for name, found in missing.items() if name != "unmeasured")


def of_section(folder: Path, name: str) -> list:
    """The blocks of a section of a run's page; none without the section."""
    run = read_run(folder)
    return [block for one in sections_of([run]) if one.name == name for block in one.of(run)]


def test_results_in_the_folder_are_on_the_page(whole, run):
    """Before the command has run the page asks for it; afterwards it says what the command said."""
    data = json.loads((whole / "provenance.json").read_text())["data"]["val"]["path"]
    assert not of_section(whole, "reproduce")
    (asked,) = (one.command.split() for one in of_section(whole, "unmeasured") if " reproduce " in one.command)
    assert asked[asked.index("--data") + 1] == data and asked[asked.index("--output_dir") + 1] == str(
        whole / "reproduce"
    )
    with white_figures():
        code, out, err = run(*asked[1:], "--twins", 1, "--shuffles", 2, "--no_mlp", "true")
    assert code == 0, err
    after = of_section(whole, "reproduce")
    assert not any(" reproduce " in one.command for one in of_section(whole, "unmeasured"))
    assert [type(one) for one in after] == [Words, Table, Table]  # and no warning that it is of other weights
    assert " ".join(after[0].text.split()) in " ".join(out.split()) and escape(after[1].title) in report(whole)


def test_a_result_of_another_model_is_said_to_be_one(whole, made):
    """The same file in the folder of the run it was measured on is not."""
    ours, theirs = str(whole / "checkpoints" / "best.ckpt"), str(made / "bare" / "version_0" / "best.ckpt")
    for path, warned in ((ours, False), (theirs, True), (None, True)):
        write_said(replace(LADDER, checkpoint=path), whole / "probe", STUDY)
        said = [one.text for one in of_section(whole, "ladder") if isinstance(one, Words) and one.tone == "bad"]
        assert [(path or "does not name the checkpoint") in text for text in said] == [True] * warned
    write_said(
        replace(LADDER, checkpoint=ours, weights="of another time"), whole / "probe", STUDY
    )  # under the same name
    assert any(isinstance(one, Words) and one.tone == "bad" for one in of_section(whole, "ladder"))


STUDY = STUDIES["probe"].replace(":", ".")
LADDER = Said("ladder", "Rungs", None, (Words("All of them."),), rank=10)


def test_a_live_probe_with_the_heading_of_a_study_says_that_it_is_of_the_training(whole):
    live = page_record(replace(LADDER, name="mine", title="How far the evidence reaches"), "my.Probe", live=True)
    (whole / "probes" / "mine.page.json").write_text(json.dumps(live))
    titles = {one.name: one.title for one in sections_of([read_run(whole)])}
    assert titles["live-mine"] == f"{titles['ladder']}, while training" and "," not in titles["live-ridge"]


def test_the_newest_of_two_page_files_is_shown_once(whole):
    for age, (name, text) in enumerate((("new", "the newer"), ("old", "the older"))):
        write_said(replace(LADDER, blocks=(Words(text),)), whole / name, STUDY)
        path = whole / name / "ladder.page.json"
        os.utime(path, (2e9 - age, 2e9 - age))
    texts = [one.text for one in of_section(whole, "ladder") if isinstance(one, Words)]
    assert "the newer" in texts and "the older" not in texts


def test_a_study_of_ones_own_has_its_section_and_command(whole, made):
    """Whatever it is called, and whatever is in it: names, markup, no picture file."""
    draw = pytest.fail
    table = Table("<b>", (Column("a & b", is_text=True), Column("n")), (("<i>", "1"),), ("<u>",))
    said = Said("gate", "Mine", None, (table, Words("careful", "bad"), Picture("mine", draw, "f", "c")), shows="x < y")
    (whole / "own").mkdir()
    (whole / "own" / "gate.page.json").write_text(json.dumps(page_record(said, "my.studies.Mine")))
    text = report([whole, made / "bare" / "version_0"])
    section = sections_in(text)["study-gate"]
    assert "&lt;b&gt;" in section and "&lt;u&gt;" in section and "x &lt; y" in section and "<b>" not in section
    assert "c: its file mine.svg is gone" in section and "Does not show" not in section
    assert "arithprobe my.studies:Mine --checkpoint" in section  # of the run that has none


def test_the_folder_of_an_earlier_version_makes_a_page_and_says_what_to_run_again(whole, made):
    assert "earlier version" not in report(whole)  # the control
    for path in whole.glob("**/*.page.json"):
        path.unlink()
    for name in ("probe/ladder.json", "probe/probe.json", "ledger.json", "reproduction.json"):
        (whole / name).write_text("whatever")
    text = report(whole)
    assert list(sections_in(text)) == OWN
    said = {one.text.partition(":")[0]: one.command for one in of_section(whole, "unmeasured") if "earlier" in one.text}
    assert list(said) == [
        " and ".join(f"probes/{name}.jsonl" for name in sorted(path.stem for path in whole.glob("probes/*.jsonl"))),
        *("probe/ladder.json and probe/probe.json", "ledger.json", "reproduction.json"),
    ]
    assert [command.split()[1:2] for command in said.values()] == [[], ["probe"], ["intervene"], ["reproduce"]]


@pytest.mark.parametrize("live", [False, True])
def test_a_page_file_that_is_cut_or_has_an_unknown_block_is_one_line_and_nothing_is_written(run, whole, live):
    path = whole / ("probes/ridge.page.json" if live else "probe/ladder.page.json")
    text = path.read_text()
    record = json.loads(text)
    for content, said in (
        (text[: len(text) // 2], "is no whole JSON.*write it again"),
        (json.dumps(record | {"blocks": [{"kind": "hologram"}]}), "has a block 'hologram'; this version knows words"),
        (json.dumps(record | {"version": 99}), "is of version 99.*write it again"),
        (json.dumps(record | {"name": "../../x"}), "'../../x' is no name"),
        (json.dumps(record | {"title": 10**1000}), "is no page file of this version"),
        (json.dumps(record | {"blocks": [{"kind": "words", "text": 5, "tone": "plain"}]}), "text of a block is 5"),
        (
            json.dumps(record | {"blocks": [{"kind": "words", "text": "a", "tone": "loud"}]}),
            "tone of a block is 'loud'",
        ),
    ):
        path.write_text(content)
        refused = run("report", whole)
        assert_refused(refused, rf"{path.name}: .*{said}")
        assert refused[2].count(path.name) == 1 and len(refused[2]) < 600  # said once, whatever the file holds
        assert not (whole / "report.html").exists()
    path.write_text(text)
    code, _, err = run("report", whole)
    assert code == 0, err


def test_a_stored_picture_that_is_cut_or_would_run_is_one_line(run, whole):
    picture = whole / "probe" / "figures" / "ladder.svg"
    text = picture.read_text()
    picture.write_text(text[: len(text) // 2])
    assert_refused(run("report", whole), r"ladder\.svg: is no whole picture")
    for added in ("<script>alert(1)</script>", '<g onload="alert(1)"/>', '<a href="JavaScript:alert(1)"/>'):
        picture.write_text(text.replace("</svg>", f"{added}</svg>"))
        assert_refused(run("report", whole), r"ladder\.svg: is more than a picture")
    picture.unlink()  # the PNG beside it is as good
    assert "data:image/png" in next(one for one in of_section(whole, "ladder") if isinstance(one, Drawing)).markup


def test_the_page_counts_its_sections(whole):
    runs, told = read_runs([whole]), []
    counter = Progress(lambda name, done, total: told.append((name, done, total)))
    page_of(runs, counter)
    titles = [one.title for one in sections_of(runs)]
    assert told == [(title, at, len(titles)) for at, title in enumerate(titles)] and counter.done == counter.total


def histories(folder: Path) -> list:
    """The curves of the live ridge probes."""
    return [history(read_run(folder), "ridge", one) for one in blocks_of(folder, "ridge", Chart) if one.score]


def test_a_validation_in_the_folder_of_a_fit_is_no_part_of_its_curves(whole):
    before, (of, *_) = histories(whole), blocks_of(whole, "ridge", CellMap)
    ridge = whole / "probes" / "ridge.jsonl"
    extra = read_jsonl(ridge)[-1] | {"stage": "validate", "step": None}
    ridge.write_text(ridge.read_text() + json.dumps(extra) + "\n")
    table = (whole / "metrics.csv").read_text().splitlines()
    names = table[0].split(",")
    for step in (before[0].steps[-1] + 1, before[0].steps[0] + 1):  # after the fit, and between two validations
        row = [""] * len(names)
        row[names.index("ridge_sum/final@last/r2")], row[names.index("val/skill")] = "0.77", "0.77"
        row[names.index("step")] = str(step)
        table.append(",".join(row))
    (whole / "metrics.csv").write_text("\n".join(table) + "\n")
    assert [one.steps for one in histories(whole)] == [one.steps for one in before]
    assert cube_of(read_run(whole), "ridge", of).steps == [3, 6, 9]
    run = read_run(whole)
    assert len(run.scalars["val/skill"]) == 5
    assert [step + 1 for step, _ in of_the_fit(run, run.scalars["val/skill"])] == [3, 6, 9]
    for path in whole.glob(
        "probes/*.jsonl"
    ):  # the control: those of a probe that looks now and then say nothing of others
        path.write_text(path.read_text().splitlines()[0] + "\n")
    run = read_run(whole)
    assert len(of_the_fit(run, run.scalars["val/skill"])) == 4


def test_cells_of_which_nobody_said_what_stands_out_are_not_drawn(whole):
    """As earlier versions recorded them, in a fit that went on with this one."""
    ridge, (of, *_) = whole / "probes" / "ridge.jsonl", blocks_of(whole, "ridge", CellMap)
    first, *rest = read_jsonl(ridge)
    for cell in first["cells"]:
        del cell[of.mark]
    ridge.write_text("".join(json.dumps(line) + "\n" for line in (first, *rest)))
    assert cube_of(read_run(whole), "ridge", of).steps == [6, 9]
    ridge.write_text(json.dumps(first) + "\n")
    assert cube_of(read_run(whole), "ridge", of) is None and "the run recorded nothing for it" in report(whole)


def test_the_curve_says_when_the_checkpoint_is_of_another_moment(page, whole):
    assert "does not give the answers" not in page.text  # the control: it is of this one
    predictions = whole / "predictions.tsv"
    heading, *rows = predictions.read_text().splitlines()
    moved = [[*row.split("\t")[:2], *(str(float(value) + 30) for value in row.split("\t")[2:])] for row in rows]
    predictions.write_text("\n".join([heading, *map("\t".join, moved)]) + "\n")
    (warning,) = (one for one in unchanged(read_run(whole)) if isinstance(one, Words))
    assert warning.tone == "bad" and "best.ckpt does not give the answers" in warning.text


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
    return next(one for one in tables if one.title.startswith("Hashes")).rows


def test_runs_of_different_tasks_stand_side_by_side_and_it_is_said(page, judged):
    assert 'id="tasks"' in page.text
    assert 'id="tasks"' not in judged["all"]  # the control: three of one task


def test_a_run_without_a_table_is_read_from_its_events(whole):
    """As of a Trainer in Python with TensorBoard only; its options are in hparams.yaml, with tuples."""
    (whole / "config.yaml").unlink()
    options = whole / "hparams.yaml"
    options.write_text(options.read_text().replace("betas:", "betas: !!python/tuple"))
    assert read_run(whole).config["betas"] == [0.9, 0.999]
    with_table = histories(whole)
    (whole / "metrics.csv").unlink()
    from_events = histories(whole)
    assert [one.target for one in from_events] == [one.target for one in with_table] and len(with_table) == 2
    for ours, theirs in zip(from_events, with_table, strict=True):
        assert ours.steps == theirs.steps and 3 <= len(ours.sites) < len(theirs.sites)  # TensorBoard shows few
        shown = [theirs.sites.index(site) for site in ours.sites]
        torch.testing.assert_close(ours.score, theirs.score[:, shown], rtol=1e-5, atol=1e-6, equal_nan=True)


def test_bad_input_is_one_line_and_nothing_is_written(run, whole, made, tmp_path):
    (tmp_path / "empty").mkdir()
    assert_refused(run("report", tmp_path / "empty"), "empty: is no run folder.*lightning_logs/NAME/version_N")
    assert_refused(run("report", tmp_path / "nowhere"), "nowhere: is no folder")
    assert_refused(run("report", whole.parent), "did you mean .*whole/version_0")
    assert_refused(run("report", whole, whole), "is named twice")
    assert_refused(run("report"), "RUN is missing")
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


SPOILT = {".json", ".jsonl", ".csv", ".yaml", ".tsv", ".ckpt", ".svg"}


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
    assert one.text.startswith("<!doctype html>") and one.headings == OWN
    assert "<title>bare/version_0: NOT LEARNED" in one.text and 'id="tasks"' not in one.text


def test_the_page_opens_whole_in_a_browser(page, made):
    one = made / "page.html"
    with started() as browser, visited(browser) as seen:
        seen.page.goto(one.as_uri())
        assert seen.page.title().startswith("whole/version_0, bare/version_0: NOT LEARNED, NOT LEARNED")
        for name in page.headings:
            assert seen.page.locator(f"section#{name} h2").is_visible()
        assert not seen.errors and not seen.foreign
        took = seen.page.evaluate("performance.getEntriesByType('navigation')[0].duration")
        assert 0 < took < 10_000  # milliseconds; the number is in the guide
    assert one.stat().st_size < LARGEST_MB * 1e6


@pytest.mark.parametrize(("score", "said"), [(0.2, "steps, above its null"), (-0.01, "steps, not above its null")])
def test_a_score_below_zero_is_not_called_above_its_null(score, said):
    values = torch.tensor([[score]], dtype=torch.float64)
    found = ProbeHistory("ridge", "sum", "held-out R2", (4,), ("final",), values, torch.full((1, 1), -0.05))
    assert said in _curve_finding(found)
