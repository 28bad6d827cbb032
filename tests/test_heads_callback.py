"""``HeadAnalysis``: the live figures are those of the pure functions on the same rows."""

import pytest
import torch
from conftest import SMALL, read_jsonl
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from micro import one_thread  # noqa: F401
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from arithprobe.attention.heads import HeadSums, operand_mass
from arithprobe.callbacks import HeadAnalysis
from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.sampling import DataRecipe
from arithprobe.errors import ArithprobeError
from arithprobe.interventions.heads import ablate_heads
from arithprobe.interventions.part import Part
from arithprobe.interventions.patching import same_layout_donors
from arithprobe.probes.tags import Tag
from arithprobe.problems.rows import Inputs
from arithprobe.training.module import ArithmeticModule


def trained(files, tmp_path, callback, epochs=None, change=lambda module: None, logger=None, **options):
    """A validation of an untrained model, or a fit."""
    torch.manual_seed(0)
    module = ArithmeticModule(**SMALL)
    change(module)
    data = ArithmeticDataModule(str(files["train"]), str(files["val"]), batch_size=32, recipe=DataRecipe(split="sum"))
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[callback],
        logger=logger or CSVLogger(tmp_path),
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=epochs or 1,
        log_every_n_steps=1,
        enable_checkpointing=False,
        **options,
    )
    if epochs is None:
        trainer.validate(module, datamodule=data, verbose=False)
    else:
        trainer.fit(module, datamodule=data)
    return module, trainer, ArithmeticDataset.from_tsv(files["val"])


@pytest.mark.slow
def test_what_is_logged_is_what_the_pure_functions_find(small_data, tmp_path):
    callback = HeadAnalysis(ablation="zero", max_examples=40)
    module, trainer, rows = trained(small_data, tmp_path, callback)
    model = module.model.eval()
    with torch.no_grad():
        _, cache = model.run_with_cache(Inputs(rows.ids.long(), rows.lengths))
    statistics = HeadSums(rows.layout, rows.roles, 2, 2).update(model, cache.states, torch.arange(len(rows))).fit()
    bench = Part(model, module.objective, rows, torch.arange(40), module.train_mean)
    ablation = ablate_heads(bench, "zero", same_layout_donors(bench, 0))
    expected = {
        "operandmass": operand_mass(statistics.mass),
        "entropy": statistics.entropy,
        "zeroablation": ablation.delta_rmse,
    }
    logged = {tag: value.item() for tag, value in trainer.callback_metrics.items() if tag.startswith("heads_")}
    assert set(logged) == set(callback.tags()) and len(logged) == 12
    for tag, value in logged.items():
        one = Tag.parse(tag)
        layer, head = int(one.site[-1]), int(one.metric[1:])
        assert value == pytest.approx(float(expected[one.target][layer, head]), rel=1e-4), tag
    assert ablation.delta_rmse.abs().max() > 1e-3  # the control: there is something to see
    (record,) = read_jsonl(next(tmp_path.glob("lightning_logs/version_*/probes/heads.jsonl")))
    assert (record["verdict"], record["rows"]) == ("NOT LEARNED", len(rows))
    mass = [head["operand_mass"] for layer in record["heads"] for head in layer]
    assert mass == pytest.approx(operand_mass(statistics.mass).flatten().tolist(), abs=1e-6)
    assert len(record["ablation"]["delta_rmse"]) == 2
    assert record["uniform"]["operand_mass"] == pytest.approx(float(operand_mass(statistics.uniform_mass)))
    assert next(tmp_path.glob("lightning_logs/version_*/figures/heads_scores.png")).stat().st_size > 5000
    assert "ablation costs most for head L" in callback.findings()[0]


def test_states_that_overflow_after_the_last_attention_are_no_reason_to_stop(small_data, tmp_path):
    def broken(module):
        module.model.enc.blocks[-1].linear2.weight.data[0, 0] = torch.nan

    callback = HeadAnalysis()
    _, trainer, _ = trained(small_data, tmp_path, callback, change=broken)
    assert callback.findings() == []
    assert not any(tag.startswith("heads_") for tag in trainer.callback_metrics)


@pytest.mark.usefixtures("white")
@pytest.mark.slow
def test_only_rows_that_were_validated_are_ablated(small_data, tmp_path):
    trained(small_data, tmp_path, HeadAnalysis(), limit_val_batches=2)
    (record,) = read_jsonl(next(tmp_path.glob("lightning_logs/version_*/probes/heads.jsonl")))
    assert record["rows"] == record["ablation"]["n"] == 64


@pytest.mark.usefixtures("white")
@pytest.mark.slow
def test_the_first_and_every_second_validation_of_a_fit_is_looked_at_and_drawn_at_the_step_of_the_curves(
    small_data, tmp_path
):
    """In a file, and among the images of TensorBoard."""
    callback = HeadAnalysis(every=2)
    trained(small_data, tmp_path, callback, epochs=5, logger=TensorBoardLogger(tmp_path, "board"))
    folder = tmp_path / "board" / "version_0"
    records = read_jsonl(folder / "probes" / "heads.jsonl")
    assert [record["epoch"] for record in records] == [0, 1, 3]
    assert callback._watch is None  # nothing of the model is kept between validations
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    images, curve = (
        events.Images("heads_scores/Scores of the heads by layer"),
        events.Scalars("heads_operandmass/pattern.1@last/h0"),
    )
    assert [image.step for image in images] == [point.step for point in curve] and len(curve) == 3
    assert 0 < curve[0].step < curve[1].step < curve[2].step


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "HeadAnalysis: every is 0; expected 1 or more"),
        ({"max_examples": 1}, "max_examples is 1; expected 2 or more"),
        ({"ablation": "median"}, "no ablation 'median'"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_a_bad_option_is_refused_at_once(options, message):
    with pytest.raises(ArithprobeError, match=message):
        HeadAnalysis(**options)
