"""TensorBoard's overview: a layout of what was logged, one row of HPARAMS a fit, and a summary."""

import json
import re
from types import SimpleNamespace

import pytest
from conftest import SMALL, read_jsonl
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from arithprobe.behaviour import NOT_LEARNED_WARNING
from arithprobe.callbacks import DirectionAblation, FourierProbing, MLPProbing, RidgeProbing, TensorBoardOverview
from arithprobe.callbacks.board_logger import BoardLogger
from arithprobe.callbacks.custom_scalars import overview
from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.data.sampling import DataRecipe
from arithprobe.probes.tags import metric_of
from arithprobe.said.content import Chart, Said
from arithprobe.training.module import ArithmeticModule

RECIPE = DataRecipe(rows=500, split="sum", val_fraction=0.3, max_operand=120)


def python_fit(folder, callbacks, epochs=1):
    """A fit without the command line, with TensorBoard as Lightning makes it."""
    module, data = ArithmeticModule(**SMALL), ArithmeticDataModule(recipe=RECIPE, data_dir=str(folder), batch_size=64)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=callbacks,
        logger=TensorBoardLogger(folder, "run"),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
    )
    trainer.fit(module, datamodule=data)
    return SimpleNamespace(
        trainer=trainer,
        module=module,
        data=data,
        folder=folder / "run" / "version_0",
        events=events_of(folder / "run" / "version_0"),
    )


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    """A fit with probes, and Lightning's own logger; all look at its first validation, the ablation at no other."""
    probes = [
        RidgeProbing(),
        FourierProbing("sum", 10, 3),
        MLPProbing(every=2, max_epochs=2, shuffles=1),
        DirectionAblation(every=3),
        TensorBoardOverview(),
    ]
    return python_fit(tmp_path_factory.mktemp("probed"), probes, epochs=2)


def events_of(folder):
    return EventAccumulator(str(folder)).Reload()


def run_of(tmp_path):
    return tmp_path / "lightning_logs" / "run" / "version_0"


def layouts_of(events):
    tensors = events.Tensors("custom_scalars__config__")
    return [Layout.FromString(tensor.tensor_proto.string_val[0]) for tensor in tensors]


def patterns_of(chart):
    bands = [tag for one in chart.margin.series for tag in (one.value, one.lower, one.upper)]
    return [*chart.multiline.tag, *(f"{re.escape(tag)}$" for tag in bands)]


def astray(layout, logged):
    """What a layout draws that is not exactly one logged scalar, as TensorBoard matches them."""
    drawn = [pattern for category in layout.category for chart in category.chart for pattern in patterns_of(chart)]
    assert len(drawn) == len(set(drawn)) > 0
    return [pattern for pattern in drawn if sum(re.match(pattern, tag) is not None for tag in logged) != 1]


def row_of(events):
    """Hyperparameters and names of the figures of the one row that a run has in HPARAMS."""
    contents = events.PluginTagToContent("hparams")
    parts = {name: HParamsPluginData.FromString(content) for name, content in contents.items()}
    columns = parts["_hparams_/experiment"].experiment
    given = parts["_hparams_/session_start_info"].session_start_info.hparams
    assert {column.name for column in columns.hparam_infos} == set(given)
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in given.items()}
    return values, [metric.name.tag for metric in columns.metric_infos]


@pytest.mark.slow
def test_the_layout_has_what_is_logged_and_never_more(probed):
    """Its control: a misspelt tag."""
    (last,) = layouts_of(probed.events)
    logged = probed.events.Tags()["scalars"]
    assert astray(last, logged) == []
    assert [category.title.split(":")[0] for category in last.category] == [
        "Has it learned?",
        "ridge sum",
        "fourier summod10",
        "fourier summod10",
        "mlp sum",
        "ablation sum",
    ]
    sites = ["embed@last", "resid_post.0@last", "resid_post.1@last", "final@last"]
    assert [chart.title for chart in last.category[1].chart] == sites
    last.category[1].chart[0].margin.series[0].lower += "er"
    assert astray(last, logged) == ["ridge_sum/embed@last/null_lower$"]


@pytest.mark.slow
def test_the_commands_show_few_curves_behaviour_first_and_keep_all_the_rest(run, small_fit, tmp_path):
    """Every metric is in metrics.csv; the controls are a metric of somebody else, and a run with Lightning's logger."""
    probes = ["--trainer.callbacks", "RidgeProbing", "--trainer.callbacks+", "HeadAnalysis"]
    assert run(*small_fit, *probes)[0] == 0
    events, folder = events_of(run_of(tmp_path)), run_of(tmp_path)
    shown = sorted(events.Tags()["scalars"])
    kept = set((folder / "metrics.csv").read_text().splitlines()[0].split(","))
    assert [tag.partition("/")[0] for tag in shown if tag[0] == "1"] == ["1 train", *["1 val"] * 5]
    sites = ("embed", "final", "resid_post.0", "resid_post.1")
    expected = [f"2 ridge_sum/{site}@last/r2" for site in sites] + ["2 ridge_sum/final@last/null_high"]
    assert [tag for tag in shown if tag[0] == "2"] == sorted(expected)
    assert {tag.partition("/")[0] for tag in shown if tag[0] == "3"} == {"3 heads_meanablation"}
    assert {metric_of(tag) for tag in shown} < kept and "ridge_sum/resid_mid.0@last/null_low" in kept
    assert astray(layouts_of(events)[-1], shown) == []
    assert row_of(events)[1][:4] == ["1 val/skill", "1 val/exact_match", "1 val/loss", "2 ridge_sum/final@last/r2"]
    board = BoardLogger(tmp_path, "mine")
    board.shown = {"theirs": "theirs", "epoch": None}.get
    board.log_metrics({"theirs": 1.0, "epoch": 2.0}, 3)
    board.finalize("success")
    assert events_of(board.log_dir).Tags()["scalars"] == ["theirs"]


def test_everybody_looks_at_the_first_validation_of_a_fit_and_then_at_every_nth(probed):
    lines = [len(read_jsonl(probed.folder / "probes" / f"{one.name}.jsonl")) for one in probed.trainer.callbacks[:4]]
    assert lines == [2, 2, 2, 1]  # every 1, 1, 2 and 3 of two validations


@pytest.mark.slow
def test_a_score_is_drawn_over_the_band_of_its_null(probed):
    layout, scalars = layouts_of(probed.events)[-1], probed.events.Scalars
    bands = [chart.margin.series[0] for category in layout.category for chart in category.chart if chart.margin.series]
    assert len(bands) == 2 * 4
    for band in bands:
        score, low, high = ([one.value for one in scalars(tag)] for tag in (band.value, band.lower, band.upper))
        assert len(score) == len(low) == len(high) == 2
        assert all(a < b for a, b in zip(low, high, strict=True))


def test_a_loss_that_was_never_logged_is_not_in_the_layout(run, small_fit, tmp_path):
    """Lightning logs the training loss every 50 steps; this fit has 22."""
    with pytest.warns(UserWarning, match="smaller than the logging interval"):
        assert run(*small_fit, "--trainer.log_every_n_steps", 50)[0] == 0
    events = events_of(run_of(tmp_path))
    (layout,) = layouts_of(events)
    (learned,) = layout.category
    assert [list(chart.multiline.tag) for chart in learned.chart] == [
        ["1\\ val/skill$", "1\\ val/exact_match$"],
        ["1\\ val/loss$"],
    ]
    assert astray(layout, events.Tags()["scalars"]) == []


def test_tensorboard_reads_tags_as_patterns():
    """``final@last/r2`` alone would draw ``final@last/r2_max`` too, and a dot any character."""
    tags = [f"fourier_sum/resid_post.1@last/{name}" for name in ("r2", "null_low", "null_high", "r2_max", "null_max")]
    band = Chart("sum", "mean", ("r2", "null_low", "null_high"), is_band=True)
    said = [
        Said(
            "fourier", "", None, (band, Chart("sum", "best", ("r2_max", "null_max"))), scalars=dict.fromkeys(tags, 0.5)
        )
    ]
    (_, _, lines) = overview(said, tags).values()
    patterns = [rf"fourier_sum/resid_post\.1@last/{name}$" for name in ("r2_max", "null_max")]
    assert lines == {"resid_post.1@last": ["Multiline", patterns]}
    assert list(overview(said, tags[:2])) == ["Has it learned?"]  # half a band is none


@pytest.mark.slow
def test_a_fit_is_one_row_with_its_last_figures(probed, tmp_path):
    """Its control: without the callback Lightning writes a row with a placeholder."""
    given, figures = row_of(probed.events)
    changed = {"d_model 16", "d_ff 32", "n_heads 2", "split sum", "batch_size 64", "max_epochs 2"}
    assert given["d_model"] == 16 and set(given) == {"d_model", "lr", "changed"}
    assert set(given["changed"].split(", ")) == changed
    assert figures == [
        "val/skill",
        "val/exact_match",
        "val/loss",
        "ridge_sum/final@last/r2",
        "ridge_sum/final@last/null_high",
        "fourier_summod10/final@last/r2_max",
        "fourier_summod10/final@last/null_max",
        "mlp_sum/final@last/r2",
        "mlp_sum/final@last/null_max",
    ]
    for name in figures:
        value = probed.trainer.callback_metrics[name].item()
        assert probed.events.Scalars(name)[-1].value == pytest.approx(value, rel=1e-6)
    assert row_of(python_fit(tmp_path, []).events)[1] == ["hp_metric"]


def test_a_trial_of_a_sweep_leaves_the_row_to_the_sweep(tmp_path):
    events = python_fit(tmp_path, [TensorBoardOverview(hparams=False)]).events
    assert row_of(events)[1] == ["hp_metric"]  # Lightning's, which a sweep turns off itself
    assert "custom_scalars__config__" in events.Tags()["tensors"]


@pytest.mark.slow
def test_the_summary_opens_with_the_verdict_and_says_what_was_found(probed):
    (point,) = probed.events.Tensors("summary/text_summary")
    verdict, warning, findings, facts = point.tensor_proto.string_val[0].decode().split("\n\n")
    assert verdict == f"**{probed.module.behaviour}**"
    assert verdict.startswith("**NOT LEARNED: ")
    assert warning == NOT_LEARNED_WARNING
    found = [line for probe in probed.trainer.callbacks[:4] for line in probe.findings()]
    assert findings.splitlines() == [f"- {line}" for line in found]
    assert len(found) == 4
    parameters = sum(parameter.numel() for parameter in probed.module.parameters())
    for fact in (
        "| task | x + y |",
        f"| train rows | 350 of `{probed.data.files['train']}` |",
        f"| parameters | {parameters} |",
        f"`arithprobe report {probed.folder}`",
    ):
        assert fact in facts


@pytest.mark.slow
def test_a_checkpoint_is_summarised_without_a_layout(run, small_fit, small_data, tmp_path):
    code, out, _ = run(*small_fit)
    assert code == 0
    assert "/#custom_scalars" in out and f"arithprobe report {run_of(tmp_path)}" in out
    checkpoint = run_of(tmp_path) / "checkpoints" / "last.ckpt"
    for command, part in (("validate", "val"), ("test", "test")):
        place = tmp_path / command
        words = [command, "--ckpt_path", checkpoint, f"--data.{part}_file", small_data["val"]]
        code, out, err = run(*words, "--trainer.default_root_dir", place, "--trainer.enable_progress_bar", "false")
        assert code == 0, err
        assert "/#custom_scalars" not in out
        events = events_of(run_of(place))
        assert sorted(events.Tags()["tensors"]) == ["behaviour/text_summary", "summary/text_summary"]
        (point,) = events.Tensors("summary/text_summary")
        said = point.tensor_proto.string_val[0].decode()
        assert said.startswith(f"**{json.loads((run_of(place) / 'behaviour.json').read_text())[command]['verdict']}: ")
        assert f"| {part} rows | 150 of `{small_data['val']}` |" in said


@pytest.mark.parametrize("words", [["--trainer.logger", "false"], ["--trainer.fast_dev_run", "true"]])
def test_without_tensorboard_it_does_nothing(run, small_fit, tmp_path, words):
    code, _, err = run(*small_fit, "--trainer.callbacks", "RidgeProbing", *words)
    assert code == 0, err
    assert not list(tmp_path.rglob("events.*"))
