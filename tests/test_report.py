"""One page about a run: everything that is stored is on it, nothing else, and what is missing is said."""

import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import SMALL, assert_refused, read_jsonl

from arithprobe import cli
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import write_tsv
from arithprobe.reports.page import SECTIONS

CALLBACKS = [
    {"class_path": "RidgeProbing", "init_args": {"targets": ["sum", "residue"], "positions": ["last", "role"]}},
    {"class_path": "FourierProbing", "init_args": {"frequencies": 3}},
    {"class_path": "MLPProbing", "init_args": {"targets": ["residue"], "every": 2, "max_epochs": 2, "shuffles": 1}},
    {"class_path": "DirectionAblation", "init_args": {"targets": ["sum"], "every": 2, "draws": 19}},
    {"class_path": "HeadAnalysis", "init_args": {"every": 2}},
    {"class_path": "EmergenceProbing", "init_args": {"targets": ["sum"], "frequencies": 2}},
]


def fit(folder: Path, task: str, callbacks: object, name: str) -> Path:
    """A fit of a second or two, in the folder."""
    recipe = DataRecipe(task=task, modulus=11, rows=500, split="sum", val_fraction=0.3, max_operand=120)
    parts = sample(recipe)
    files = {part: write_tsv(folder / f"{task}_{part}.tsv", parts[part].problems(recipe)) for part in parts}
    words = [
        "fit", *("--name", name, "--data.train_file", files["train"], "--data.val_file", files["val"]),
        *("--data.recipe.split", "sum", "--data.recipe.task", task, "--data.recipe.modulus", 11),
        *(word for option, value in SMALL.items() for word in (f"--model.{option}", value)),
        *("--trainer.max_epochs", 4, "--trainer.default_root_dir", folder, "--trainer.accelerator", "cpu"),
        *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
        *("--trainer.log_every_n_steps", 1, f"--trainer.callbacks={json.dumps(callbacks)}", "--data.batch_size", 128),
    ]  # fmt: skip
    assert cli.main([str(word) for word in words]) == 0
    return folder / "lightning_logs" / name / "version_0"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with the run 'whole' of residues with every callback, and the run 'bare' of sums without any."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
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


@pytest.fixture
def page(run):
    def call(*words) -> Page:
        code, out, err = run("report", *words)
        assert code == 0, err
        path = re.search(r"report: (\S+)", out)
        return Page(Path(path[1]))

    return call


def test_every_section_is_there_and_the_gate_is_first(page, whole):
    found = page(whole)
    assert found.headings == [section.name for section in SECTIONS]
    assert found.headings[0] == "gate"
    assert {f"#{name}" for name in found.headings} < set(found.links)
    assert len(found.labels) == found.text.count("<svg ") > 8  # every picture says what it found
    assert all(len(label.partition(". ")[2]) > 20 for label in found.labels)


def test_the_page_needs_nothing_but_itself(page, whole):
    found = page(whole)
    assert all(link.startswith(("#", "data:")) for link in found.links)
    assert not {"link", "iframe", "object", "embed"} & set(found.tags)
    assert "url(http" not in found.text and "@import" not in found.text


def test_no_id_is_there_twice_and_every_reference_leads_somewhere(page, made):
    found = page(made / "whole" / "version_0", made / "bare" / "version_0", "-o", made / "both.html")
    assert len(found.ids) == len(set(found.ids))
    references = {link[1:] for link in found.links if link.startswith("#")}
    references |= set(re.findall(r"url\(#([^)]+)\)", found.text))
    assert references and references <= set(found.ids)


def test_a_model_that_has_not_learned_is_said_to_in_every_section(page, whole):
    verdicts = json.loads((whole / "behaviour.json").read_text())
    assert verdicts["best"]["verdict"] == "NOT LEARNED"  # a second of training
    found = page(whole)
    assert "not about the task" in found.text
    assert found.text.count("NOT LEARNED: what is shown here") == len(SECTIONS) - 2  # but the gate and the origin
    for one in verdicts.values():
        one |= {"verdict": "LEARNED"}
    (whole / "behaviour.json").write_text(json.dumps(verdicts))
    assert "NOT LEARNED: what is shown here" not in page(whole).text


def test_the_maps_hold_what_the_run_recorded(page, whole):
    lines = read_jsonl(whole / "probes" / "ridge.jsonl")
    cubes = page(whole).cubes()
    assert len(cubes) == 3  # two targets, one circle
    assert cubes[0]["steps"] == [line["step"] + 1 for line in lines] and len(lines) == 4
    cells = [cell for cell in lines[1]["cells"] if cell["target"] == "sum"]
    sites = list(dict.fromkeys(cell["site"] for cell in cells))
    width = len(cells) // len(sites)
    for number, cell in enumerate(cells):
        row, column = divmod(number, width)
        at = len(sites) - 1 - row, column  # the last layer is on top
        shown = cubes[0]["values"][1][at[0]][at[1]]
        assert shown == (None if cell["r2"] is None else pytest.approx(cell["r2"], abs=6e-4))
        assert cubes[0]["beaten"][1][at[0]][at[1]] == int(cell["p"] is not None and cell["p"] <= 0.05)


def test_what_was_not_measured_names_its_command(page, made):
    found = page(made / "bare" / "version_0")
    for command in ("probe", "intervene", "heads", "reproduce"):
        assert f"arithprobe {command} " in found.text
    assert "RidgeProbing" in found.text and not found.cubes()
    assert found.headings == [section.name for section in SECTIONS]


def test_results_in_the_folder_are_on_the_page(page, whole, run):
    """Before the command has run its section asks for it; afterwards it holds its table and picture."""
    data = json.loads((whole / "provenance.json").read_text())["data"]["val"]["path"]
    before = page(whole)
    asked = re.search(r"arithprobe heads [^<]*", before.text)[0].split()
    assert asked[asked.index("--data") + 1] == data and asked[asked.index("--output_dir") + 1] == str(whole / "heads")
    code, _, err = run(*asked[1:], "--twins", 1, "--draws", 19, "--patch_rows", 40, "--max_examples", 60)
    assert code == 0, err
    after = page(whole)
    assert "arithprobe heads " not in after.text
    assert len(after.labels) > len(before.labels)


def test_the_origin_has_the_hashes_of_the_files_and_says_what_changed(page, whole):
    kept = json.loads((whole / "provenance.json").read_text())
    data = Path(kept["data"]["val"]["path"])
    content = data.read_bytes()
    assert kept["data"]["val"]["sha256"] == hashlib.sha256(content).hexdigest()
    found = page(whole)
    checkpoint = hashlib.sha256((whole / "checkpoints" / "best.ckpt").read_bytes()).hexdigest()
    for one in (kept["data"]["val"]["sha256"], kept["data"]["train"]["sha256"], kept["split"]["sha256"], kept["code"]):
        assert one in found.text
    assert checkpoint in found.text and "CHANGED" not in found.text
    assert kept["split"]["shared_pairs"] == kept["split"]["shared_sums"] == 0  # split by sum
    data.write_bytes(content + b"1 + 1 (mod 11) = ?\t2\n")
    try:
        assert "CHANGED since the fit" in page(whole).text
    finally:
        data.write_bytes(content)


def test_runs_of_different_tasks_stand_side_by_side_and_it_is_said(run, made, tmp_path):
    both = made / "whole" / "version_0", made / "bare" / "version_0"
    code, out, err = run("report", *both, "-o", tmp_path / "both.html")
    assert code == 0, err
    assert "different tasks" in out and 'id="tasks"' in (tmp_path / "both.html").read_text()
    again = shutil.copytree(both[1], tmp_path / "again")
    code, out, err = run("report", both[1], again, "-o", tmp_path / "same.html")
    assert code == 0, err
    assert "different tasks" not in out and 'id="tasks"' not in (tmp_path / "same.html").read_text()


def test_a_run_without_a_configuration_or_a_table_is_read_from_its_events(page, whole):
    """As of a Trainer in Python with TensorBoard only."""
    with_table = page(whole)
    (whole / "config.yaml").unlink()
    (whole / "metrics.csv").unlink()
    from_events = page(whole)
    assert from_events.labels == with_table.labels


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
    assert_refused(run("report", whole), "has no validation.*arithprobe validate")
    assert not (whole / "report.html").exists()
    (whole / "behaviour.json").write_text(behaviour)
    assert_refused(run("report", whole, "-o", tmp_path), "is a folder; expected a file")
    assert run("report", whole, "-o", tmp_path / "out.html")[0] == 0  # the control: nothing is wrong with it now
