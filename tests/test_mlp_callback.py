"""Live MLP probes: the same numbers as outside the run, at every n-th validation, and nothing disturbed."""

import pytest
import torch
from conftest import SMALL, read_jsonl
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from arithprobe.callbacks.mlp import MLPProbing
from arithprobe.callbacks.watch import Observed
from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.sampling import DataRecipe
from arithprobe.data.tsv import read_tsv
from arithprobe.errors import ArithprobeError
from arithprobe.probes.mlp import MLPSettings
from arithprobe.probes.nonlinear import mlp_scores
from arithprobe.problems.rows import Inputs
from arithprobe.said.content import Chart, Words
from arithprobe.training.module import ArithmeticModule

pytestmark = pytest.mark.slow(seconds=0.1)

LEAN = {"hidden": 8, "max_epochs": 3, "shuffles": 2}


class Finite(Callback):
    """Losses of a run."""

    def __init__(self):
        self.losses = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(outputs["loss"].item())


def fit(callbacks, files, folder, epochs=2, batch_size=64, **options):
    seed_everything(3, verbose=False)
    data = ArithmeticDataModule(
        str(files["train"]), str(files["val"]), batch_size=batch_size, recipe=DataRecipe(split="sum")
    )
    module, losses = ArithmeticModule(**SMALL, dropout=0.1), Finite()
    module.lr = options.pop("lr", module.lr)  # also one that no option may be
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[*callbacks, losses],
        logger=TensorBoardLogger(folder, "run"),
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        enable_checkpointing=False,
        **options,
    )
    trainer.fit(module, datamodule=data)
    return trainer, module, data, losses.losses


def records(folder):
    return read_jsonl(folder / "run" / "version_0" / "probes" / "mlp.jsonl")


def test_scores_are_those_of_the_pure_function_on_the_final_weights(small_data, tmp_path):
    probe = MLPProbing(["sum", "sum1"], sites=["embed", "final"], every=2, max_examples=120, **LEAN)
    _, module, _, _ = fit([probe], small_data, tmp_path)
    line = records(tmp_path)[-1]
    assert (line["epoch"], line["skipped"], line["settings"]["hidden"]) == (1, [], 8)
    rows = ArithmeticDataset(read_tsv(small_data["val"]))
    with torch.no_grad():
        _, cache = module.eval().model.run_with_cache(Inputs(rows.ids.long(), rows.lengths))
    at = torch.arange(120), rows.lengths[:120] - 1
    states = torch.stack([cache.states[site][at] for site in ("embed", "final")])
    x, y = rows.x[:120], rows.y[:120]
    settings = MLPSettings(hidden=8, max_epochs=3, patience=10)
    for target, values, kind in (("sum", x + y, "regression"), ("sum1", (x + y) % 10, "classification")):
        expected = mlp_scores(
            states,
            ["embed", "final"],
            target,
            values.double(),
            x + y,
            x * 1000 + y,
            kind,
            settings=settings,
            shuffles=2,
        )
        cells = {cell["site"]: cell for cell in line["cells"] if cell["target"] == target}
        for row, site in enumerate(("embed", "final")):
            assert cells[site]["score"] == pytest.approx(expected.score[row].item(), abs=1e-3)
            assert cells[site]["null_max"] == pytest.approx(expected.null_max[row].item(), abs=1e-3)
            assert (cells[site]["n_test"], cells[site]["position"]) == (expected.n_test, "last")


@pytest.mark.parametrize(("epochs", "late"), [(1, False), (2, False), (3, True)])
def test_findings_of_an_earlier_validation_name_their_step(epochs, late, small_data, tmp_path):
    probe = MLPProbing(every=2, **LEAN)
    trainer, *_ = fit([probe], small_data, tmp_path, epochs=epochs)
    looked = trainer.global_step * 2 // 3
    assert probe.findings() and all(f"(after {looked} steps)" in line for line in probe.findings()) == late


def test_it_runs_now_and_then_and_logs_its_tags(small_data, tmp_path):
    probe = MLPProbing(["sum", "carry1"], every=2, **LEAN)
    trainer, module, data, _ = fit([probe], small_data, tmp_path, epochs=5)
    events = EventAccumulator(str(tmp_path / "run" / "version_0")).Reload()
    logged = {tag for tag in events.Tags()["scalars"] if tag.startswith("mlp_")}
    assert {"mlp_sum/final@last/r2", "mlp_sum/embed@last/null_max", "mlp_carry1/final@last/accuracy"} <= logged
    assert logged <= set(probe.tags())
    assert len(probe.tags()) == 2 * 6 * 2
    lines = records(tmp_path)
    assert [line["epoch"] for line in lines] == [0, 1, 3]
    curve = events.Scalars("mlp_sum/final@last/r2")
    cell = next(cell for cell in lines[-1]["cells"] if (cell["target"], cell["site"]) == ("sum", "final"))
    assert curve[-1].value == pytest.approx(cell["score"], abs=1e-6)
    assert [point.step for point in curve] == [line["step"] for line in lines]
    assert lines[-1]["verdict"] == module.behaviour.verdict
    found = "\n".join(probe.summary())
    assert "mlp probe of 'sum' at final@last: held-out R2" in found
    assert "mlp probing took" in found
    trainer.validate(module, datamodule=data, verbose=False)  # outside a fit: always
    assert [line["stage"] for line in records(tmp_path)] == ["fit", "fit", "fit", "validate"]


def test_it_changes_nothing(small_data, tmp_path):
    alone = fit([], small_data, tmp_path / "a", epochs=3)
    watched = fit([MLPProbing(every=1, **LEAN)], small_data, tmp_path / "b", epochs=3)
    assert alone[3] == watched[3]
    weights = alone[1].state_dict()
    assert all(torch.equal(weights[name], value) for name, value in watched[1].state_dict().items())
    assert not any(part._forward_hooks for part in watched[1].modules())


def test_a_model_that_diverges_is_observed_to_its_end(small_data, tmp_path):
    probe = MLPProbing(every=1, **LEAN)
    fit([probe], small_data, tmp_path, lr=1e30)
    assert "final: its states overflow" in records(tmp_path)[-1]["skipped"]
    assert any("left out: final" in line for line in probe.findings())


def test_each_target_has_a_chart_and_what_was_left_out_is_said(small_data):
    """Also where nothing could be scored; and scores stand beside their null, by kind of probe."""
    rows, module = ArithmeticDataset.from_tsv(small_data["val"]), ArithmeticModule(**SMALL)
    probe = MLPProbing(["sum", "carry1"], sites=["embed", "final"], name="hidden", **LEAN)
    watch = probe.prepare(module, rows)
    shape = (len(rows), int(rows.lengths.max()), module.model.d_model)
    for overflow in (False, True):
        states = {site: torch.randn(shape, generator=torch.Generator().manual_seed(0)) for site in ("embed", "final")}
        for one in states.values() if overflow else ():
            one.fill_(torch.inf)
        watch.start()
        watch.update(states, torch.arange(len(rows)))
        said = probe.said([Observed(3, watch.result())])
        charts = {one.target: one for one in said.blocks if isinstance(one, Chart)}
        assert {name: one.metrics for name, one in charts.items()} == {
            "sum": ("r2", "null_max"),
            "carry1": ("accuracy", "null_max"),
        }
        assert [one.score for one in charts.values()] == ["held-out R2", "held-out accuracy"]
        words = [one.text for one in said.blocks if isinstance(one, Words)]
        if overflow:
            assert words == [f"hidden probing left out: {site}: its states overflow" for site in ("embed", "final")]
            assert not said.scalars and not said.line["cells"]
        else:
            assert [text.split(":")[0] for text in words] == [
                f"hidden probe of '{name}' at final@last" for name in charts
            ]
            assert set(said.scalars) == set(watch.tags)


@pytest.mark.parametrize(("batch_size", "probed"), [(64, True), (8, False)])
def test_a_limited_validation_is_probed_on_what_it_saw_and_is_never_the_end(batch_size, probed, small_data, tmp_path):
    fit([MLPProbing(every=1, **LEAN)], small_data, tmp_path, 1, batch_size, limit_val_batches=1)
    (line,) = records(tmp_path)
    assert {cell["n_train"] + cell["n_stop"] + cell["n_test"] for cell in line["cells"]} == ({64} if probed else set())
    assert [reason for reason in line["skipped"] if "groups make" not in reason] == []
    assert bool(line["skipped"]) is not probed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "MLPProbing: every is 0; expected 1 or more"),
        ({"shuffles": 0}, "shuffles is 0"),
        ({"max_examples": 10}, "max_examples is 10; expected 100 or more"),
        ({"kind": "both"}, "expected 'auto', 'regression' or 'classification'"),
        ({"targets": []}, "at least one target"),
        ({"hidden": 0}, "hidden is 0; expected 1 or more"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ArithprobeError, match=message):
        MLPProbing(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sites": ["finale"]}, r"no site 'finale'; did you mean 'final'\? \(sites: embed, resid_mid.0, "),
        ({"targets": ["summ"]}, "no target 'summ'"),
    ],
)
def test_a_mistake_shows_before_any_training(options, message, small_data, tmp_path):
    with pytest.raises(ArithprobeError, match=message):
        fit([MLPProbing(**options)], small_data, tmp_path)
    assert not list(tmp_path.rglob("mlp.jsonl"))
