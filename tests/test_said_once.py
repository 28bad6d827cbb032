"""A study and a live probe that exist only here: terminal, JSON, page, TensorBoard and notebook say what they found."""

import importlib
import json
import pickle
import re
import sys
from dataclasses import dataclass
from io import StringIO

import pytest
import torch
from conftest import SMALL, assert_refused, read_jsonl
from filelock import FileLock
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from arithprobe import ArithmeticDataModule, ArithmeticModule, run_over
from arithprobe.analysis.emergence.run import EmergenceComparison
from arithprobe.analysis.invariance import InvarianceCurve
from arithprobe.analysis.states.run import StatesReport
from arithprobe.analysis.study import STUDIES, Study
from arithprobe.behaviour import judge_rows
from arithprobe.callbacks import BehaviourReport, TensorBoardOverview
from arithprobe.callbacks.base import ValidationProbe
from arithprobe.callbacks.telling import named, write_run
from arithprobe.callbacks.watch import Watch
from arithprobe.cli.terminal import print_said
from arithprobe.data.sampling import DataRecipe
from arithprobe.errors import ArithprobeError
from arithprobe.plotting.style import new_figure
from arithprobe.probes.tags import Tag
from arithprobe.reports.page import report
from arithprobe.said.content import Column, Picture, Said, Table, Words
from arithprobe.said.folder import FILES_OF_THE_RUN, claimed, pages_in, write_said
from arithprobe.said.notebook import Score, Spoken

WORDS = "a third of the answers are <too high> here"


def bars():
    figure = new_figure(3, 2)
    figure.subplots().bar(["low", "high"], [1, 2])
    return figure


@dataclass(frozen=True)
class CountOptions:
    """What to count."""

    margin: float = 0.5
    """Answers so much above the right one count."""


@dataclass(frozen=True, repr=False)
class Count(Spoken):
    """What was counted."""

    checkpoint: str
    behaviour: object
    share: float

    @property
    def said(self):
        return Said(
            name="count",
            title="Answers that are too high",
            behaviour=self.behaviour,
            blocks=(
                Words(WORDS),
                Table("Both", (Column("which", is_text=True), Column("share")), (("too high", f"{self.share:.3f}"),)),
                Picture("count_bars", bars, "High is higher.", "Low and high"),
            ),
            records={"count": {"share": self.share}},
            checkpoint=self.checkpoint,
        )

    def scores(self):
        yield Score("final", "last", "answers", "too_high", self.share, n=9)


class CountStudy(Study[CountOptions, Count]):
    """Only in this test."""

    name = "count"
    summary = "how many are too high"
    description = "Counts."
    options = CountOptions

    def run(self, loaded, rows, options, progress):
        progress("answers")
        found = run_over(loaded, rows)
        return Count(loaded.path, found.behaviour, float((found.predictions > rows.answers).double().mean()))


class Nameless(Study[CountOptions, Count]):
    """One that does not say what it is called."""

    def run(self, loaded, rows, options, progress):
        raise NotImplementedError


class Rival(CountStudy):
    """Another with the same file."""

    name, records = "rival", ("count",)


class Widths(Watch[float]):
    """The mean size of the last state."""

    tags = (str(Tag("width", "state", "final", "last", "size")),)

    def start(self):
        self._sum = torch.zeros(2, dtype=torch.float64)

    def update(self, states, rows):
        self._sum += torch.tensor([float(states["final"].square().mean()) * len(rows), len(rows)], dtype=torch.float64)

    @property
    def state(self):
        return [self._sum]

    def result(self):
        return float(self._sum[0] / self._sum[1])


class WidthProbing(ValidationProbe[float]):
    """Only in this test."""

    name = "width"

    def prepare(self, module, dataset):
        return Widths()

    def said(self, history):
        size = history[-1].result
        return Said(
            name=self.name,
            title="How large the states are",
            behaviour=self.behaviour,
            blocks=(Words(f"the last state has size {size:.3f}"), Picture("width_state", bars, "Bars.", "Sizes")),
            scalars={Widths.tags[0]: size},
            line={"size": size},
        )


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A run with the probe, and its folder."""
    folder = tmp_path_factory.mktemp("once")
    data = ArithmeticDataModule(
        recipe=DataRecipe(rows=300, split="sum", val_fraction=0.3, max_operand=60), data_dir=str(folder), batch_size=64
    )
    probe = WidthProbing()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=[BehaviourReport(), probe, TensorBoardOverview()],
        logger=TensorBoardLogger(folder, "run"),
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(ArithmeticModule(**SMALL), datamodule=data)
    run = folder / "run" / "version_0"
    return probe, trainer, run, data.files["val"], next(run.rglob("*.ckpt"))


def ran(run, fitted, study=CountStudy, folder="count"):
    *_, place, rows, checkpoint = fitted
    name = f"{study.__module__}:{study.__qualname__}"
    return run(name, "--checkpoint", checkpoint, "--data", rows, "--output_dir", place / folder)


@pytest.mark.slow
def test_a_study_of_ones_own_reaches_terminal_files_page_and_notebook(run, fitted, monkeypatch):
    place = fitted[2]
    code, out, err = ran(run, fitted)
    assert code == 0, err
    assert out.splitlines()[0].startswith("NOT LEARNED") and WORDS in out and "too high" in out
    assert set(json.loads((place / "count" / "count.json").read_text())) == {"share"}
    assert {path.name for path in (place / "count").rglob("*") if path.is_file()} == {
        "count.json",
        "count.page.json",
        "count_bars.png",
        "count_bars.svg",
    }
    page = report(place)
    section = page[page.index('<section id="count"') :]
    section = section[: section.index("</section>")]
    assert (
        "a third of the answers are &lt;too high&gt; here" in section
        and "<svg" in section
        and "High is higher." in section
    )
    assert page.count("Answers that are too high") == 2  # in the list of sections, and above its own
    found = Count("here", None, 0.25)
    assert len(repr(found)) < 300 and "count_bars" in repr(found)
    shown = found._repr_html_()
    assert "&lt;too high&gt;" in shown and "data:image/png;base64," in shown
    unlearned = judge_rows(torch.zeros(30), torch.arange(30.0), 15.0)  # a constant: it has learned nothing
    assert unlearned.warning and unlearned.warning in Count("here", unlearned, 0.25)._repr_html_()
    assert unlearned.warning not in shown
    frame = found.to_frame()
    assert list(frame.columns) == ["site", "position", "target", "score", "value", "low", "high", "null_high", "n"]
    assert frame.value.tolist() == [0.25] and frame.low.isna().all()
    assert found.figure("count_bars")._repr_png_().startswith(b"\x89PNG")  # shown without %matplotlib inline
    with pytest.raises(ArithprobeError, match=r"no picture 'count_bar'; did you mean 'count_bars'\?"):
        found.show("count_bar")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ArithprobeError, match=r"needs pandas: pip install 'arithprobe\[notebook\]'"):
        found.to_frame()


@pytest.mark.slow
def test_a_live_probe_of_ones_own_reaches_tensorboard_summary_files_and_page(fitted):
    probe, _, place, *_ = fitted
    (tag,) = Widths.tags
    events = EventAccumulator(str(place), size_guidance={"images": 0}).Reload()
    assert [point.value for point in events.Scalars(tag)][-1] == pytest.approx(probe.history[-1].result)
    (text,) = events.Tensors("custom_scalars__config__")[-1].tensor_proto.string_val
    charts = {chart.title: chart for one in Layout.FromString(text).category for chart in one.chart}
    assert charts["final@last"].multiline.tag == [f"{re.escape(tag)}$"]
    columns = HParamsPluginData.FromString(events.PluginTagToContent("hparams")["_hparams_/experiment"]).experiment
    assert "width_state/final@last/size" in {one.name.tag for one in columns.metric_infos}
    summary = events.Tensors("summary/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert probe.findings()[0] in summary and probe.findings() == probe.summary()[:1]
    assert "width_state/Sizes" in events.Tags()["images"]
    lines = read_jsonl(place / "probes" / "width.jsonl")
    assert [line["size"] for line in lines] == [one.result for one in probe.history] and len(lines) == 2
    assert {"verdict", "skill", "step"} <= set(lines[0])
    page = report(place)
    section = page[page.index('id="live-width"') :] if 'id="live-width"' in page else page[page.index('id="width"') :]
    section = section[: section.index("</section>")]
    assert "the last state has size" in section and section.count("<svg") == 2  # its curve and its picture


@pytest.mark.slow
def test_a_validation_after_the_fit_adds_a_line_and_leaves_what_the_fit_said(fitted, tmp_path):
    probe, trainer, place, *_ = fitted
    written = [place / "probes" / "width.page.json", *(place / "figures").glob("width*")]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in written}
    lines = len(read_jsonl(place / "probes" / "width.jsonl"))
    trainer.validate(ArithmeticModule(**SMALL), datamodule=trainer.datamodule, verbose=False)
    assert len(before) == 3 and before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in written}
    assert len(read_jsonl(place / "probes" / "width.jsonl")) == lines + 1
    alone = Trainer(
        callbacks=[probe], logger=TensorBoardLogger(tmp_path), enable_progress_bar=False, default_root_dir=tmp_path
    )
    alone.validate(ArithmeticModule(**SMALL), datamodule=trainer.datamodule, verbose=False)
    assert list(tmp_path.rglob("width.page.json")) and list(tmp_path.rglob("width_state.png"))  # the control


@pytest.mark.parametrize("width", [10, 40, 80, 200])
def test_no_line_is_so_short_that_rows_cannot_be_told_apart(width):
    names = ("resid_mid.1@last", "resid_mid.1@12", "z.0@all")
    columns = (Column("where", is_text=True), Column("R2"), Column("p", optional=True))
    text = StringIO()
    table = Table("Scores", columns, tuple((name, "0.980", "0.050") for name in names))
    print_said(Said("count", "Title", None, (table,)), Console(file=text, width=width))
    shown = "".join(line.replace("0.980", "").replace("0.050", "").strip() for line in text.getvalue().splitlines())
    assert all(name in shown for name in names)


def test_a_probe_that_has_said_something_can_be_pickled(fitted):
    """As processes that are spawned ask for; what it says has pictures that are not drawn yet."""
    probe = fitted[0]
    assert list(probe.last.pictures)  # the control
    copied = pickle.loads(pickle.dumps(probe))
    assert copied.findings() == probe.findings() and copied.history == probe.history
    assert list(probe.last.pictures) and not list(copied.last.pictures)


@pytest.mark.slow
def test_two_studies_into_one_folder_are_refused_where_a_file_would_be_of_both(run, fitted):
    place = fitted[2]
    ran(run, fitted)
    before = {path: path.read_bytes() for path in (place / "count").rglob("*") if path.is_file()}
    assert_refused(
        ran(run, fitted, Rival), r"its count.json is of test_said_once.CountStudy; choose another --output_dir"
    )
    assert_refused(ran(run, fitted, folder="probes"), "has what live probes wrote during a fit; choose another")
    assert {path: path.read_bytes() for path in (place / "count").rglob("*") if path.is_file()} == before
    assert ran(run, fitted)[0] == 0  # the control: the same study again


def test_every_result_has_the_short_text_of_what_is_said():
    for module in STUDIES.values():
        importlib.import_module(module.partition(":")[0] + ".run")
    kinds = {*Spoken.__subclasses__(), InvarianceCurve, EmergenceComparison}
    assert len(kinds) > len(STUDIES)
    others = [one for one in kinds if one.__repr__ is not Spoken.__repr__]
    assert others == [StatesReport]  # of any states: its few scores stand in the text too


NAMES = ("a/b", "../up", "my study", "", ".hidden", "[bold]x", "a\nb", "<b>", "x" * 300)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_has_names_that_files_can_have_and_the_page_reads(name, tmp_path):
    with pytest.raises(ArithprobeError, match="is no name of a file"):
        Said(name, "Title", None)
    with pytest.raises(ArithprobeError, match="is no name of a file"):
        Said("count", "Title", None, records={name: {}})
    with pytest.raises(ArithprobeError, match="is no name of a file"):
        Picture(name, bars, "finding", "caption")
    for names, records in (([name], ["count"]), (["count"], [name])):
        with pytest.raises(ArithprobeError, match="is no name of a file"), claimed(tmp_path, "a.B", names, records):
            pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["count", "größe", "z.1@all.sum", "1", "a-b+c_d"])
def test_every_name_that_can_be_said_is_read_again(name, tmp_path):
    write_said(Said(name, "Title", None, (Picture(name, bars, "finding", "caption"),), {name: {}}), tmp_path, "a.B")
    (page,) = pages_in(tmp_path)
    assert page.said.name == name and page.picture(name).with_name(f"{name}.svg").is_file()


@pytest.mark.parametrize(
    "said",
    [
        Said("count", "Title", None, (Table("t", (Column("a"), Column("b")), (("x", 0.5),)),), {"count": [1]}),
        Said("count", "Title", None, (Table("t", (Column("a"),), (("x", "y"),)),), {"count": [1]}),
        Said("count", "Title", None, (Words(5),), {"count": [1]}),
        Said("count", "Title", None, (Words("w", "loud"),), {"count": [1]}),
        Said("count", None, None, records={"count": [1]}),
        Said("count", "Title", None, records={"count": [1]}, rank=1.5),
    ],
)
def test_what_the_page_could_not_read_again_is_refused_and_nothing_is_written(said, tmp_path):
    with pytest.raises(ArithprobeError, match="count: what it says makes no page"):
        write_said(said, tmp_path, "a.B")
    with pytest.raises(ArithprobeError, match="count: what it says makes no page"):
        write_run(tmp_path, said, WidthProbing, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", FILES_OF_THE_RUN)
def test_no_live_probe_writes_over_another_file_of_its_run(name, tmp_path):
    with pytest.raises(ArithprobeError, match=f"{name}.json is another file of the run"):
        write_run(tmp_path, Said("width", "Title", None, records={"sizes": {}, name: {}}), WidthProbing, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", FILES_OF_THE_RUN)
def test_no_study_writes_over_a_file_of_the_run(name, tmp_path):
    (tmp_path / f"{name}.json").write_text("{}")
    with (
        pytest.raises(ArithprobeError, match=f"its {name}.json is of the run; choose another --output_dir"),
        claimed(tmp_path, "a.B", ["count"], [name]),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.json"]
    for _ in range(2):  # the control: its own, twice
        with claimed(tmp_path / "own", "a.B", ["count"], [name]):
            write_said(Said("count", "Title", None, records={name: [1]}), tmp_path / "own", "a.B")


def test_what_a_live_probe_says_stands_under_its_own_name():
    said = Said("other", "Title", None)
    assert (named(said, "width", "width").name, named(said, "width", "width").title) == ("width", "Title")
    assert (named(said, "second", "width").name, named(said, "second", "width").title) == ("second", "Title (second)")


def test_what_a_study_says_under_a_name_of_another_is_not_written_over_it(tmp_path):
    write_said(Said("count", "Title", None, records={"numbers": [1]}), tmp_path, "a.B")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for said in (Said("count", "Title", None), Said("other", "Title", None, records={"numbers": [2]})):
        with pytest.raises(ArithprobeError, match=r"is of a\.B; choose another --output_dir"):
            write_said(said, tmp_path, "c.D")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.slow
def test_two_of_one_study_at_once_into_one_folder_are_refused(run, fitted):
    place = fitted[2] / "at_once"
    place.mkdir(exist_ok=True)
    with FileLock(place / ".count.lock"):
        assert_refused(ran(run, fitted, folder="at_once"), "another process writes count there now; wait, or choose")
    assert ran(run, fitted, folder="at_once")[0] == 0 and not (place / ".count.lock").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere:Study", "nowhere:Study: cannot be imported"),
        ("test_said_once:CountStudi", "has no 'CountStudi'; did you mean 'CountStudy'"),
        ("test_said_once:Count", "is no subclass of arithprobe.analysis.study.Study"),
        ("test_said_once:Nameless", "test_said_once:Nameless: does not say its name"),
        ("..test_said_once:CountStudy", "..test_said_once:CountStudy: is relative; expected package.module:Class"),
    ],
)
def test_what_is_no_study_is_one_line(run, name, message):
    assert_refused(run(name, "--checkpoint", "x"), message)
