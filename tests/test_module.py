"""The LightningModule: what it trains on, what it logs, what its checkpoints hold."""

from functools import partial

import pytest
import torch
from conftest import SMALL
from lightning.pytorch import Trainer
from sklearn.metrics import r2_score

from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.data.sampling import DataRecipe
from arithprobe.errors import ArithprobeError
from arithprobe.models.objectives import ScaledMSE
from arithprobe.models.weights import read_checkpoint
from arithprobe.training.module import ArithmeticModule


@pytest.fixture
def data(small_data):
    return ArithmeticDataModule(str(small_data["train"]), str(small_data["val"]), recipe=DataRecipe(split="sum"))


@pytest.fixture
def trainer(tmp_path):
    return Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        enable_checkpointing=False,
    )


def test_the_objective_is_the_notebooks():
    objective = ScaledMSE(2000.0)
    outputs, answers = torch.tensor([[0.5], [0.1]]), torch.tensor([1000, 400])
    assert objective.loss(outputs, answers).item() == pytest.approx((0.0**2 + 0.1**2) / 2)
    assert objective.decode(outputs).tolist() == pytest.approx([1000, 200], rel=1e-6)
    assert objective.decode(outputs).dtype == torch.float64
    with pytest.raises(ArithprobeError, match="scale is 0"):
        ScaledMSE(0)


def test_logged_figures_are_in_answer_units_and_over_all_rows(data, trainer):
    module = ArithmeticModule(**SMALL)
    trainer.fit(module, datamodule=data)
    rows = data.dataset("val")
    with torch.no_grad():
        predictions = module.eval()(rows.ids.long(), rows.lengths)
    mse = (predictions - rows.answers).square().mean().item()
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert logged["val/loss"] == pytest.approx(mse / 2000**2, rel=1e-5)
    assert logged["val/rmse"] == pytest.approx(mse**0.5, rel=1e-5)
    assert logged["val/r2"] == pytest.approx(r2_score(rows.answers, predictions), rel=1e-5)
    baseline = (rows.answers - data.dataset("train").answers.double().mean()).square().mean().item()
    assert logged["val/skill"] == pytest.approx(1 - mse / baseline, rel=1e-5)
    assert logged["val/exact_match"] == pytest.approx((predictions.round() == rows.answers).double().mean().item())
    assert set(logged) >= {"train/loss"}


def test_a_checkpoint_decodes_by_itself(data, trainer, tmp_path):
    module = ArithmeticModule(**SMALL, objective=ScaledMSE(300.0, 20.0))
    trainer.fit(module, datamodule=data)
    path = tmp_path / "model.ckpt"
    trainer.save_checkpoint(path)
    stored = {"name": "ScaledMSE", "options": {"scale": 300.0, "center": 20.0}}
    assert read_checkpoint(path)["arithprobe"]["objective"] == stored
    again = ArithmeticModule.load_from_checkpoint(path)
    assert again.train_mean == data.train_mean
    rows = data.dataset("val")
    with torch.no_grad():
        assert torch.equal(again.eval()(rows.ids.long(), rows.lengths), module.eval()(rows.ids.long(), rows.lengths))


def test_a_checkpoint_of_another_objective_is_refused(data, trainer, tmp_path):
    trainer.fit(ArithmeticModule(**SMALL), datamodule=data)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    with pytest.raises(ArithprobeError, match=r"the checkpoint's objective is .*2000.0.*, here it is .*100.0"):
        ArithmeticModule.load_from_checkpoint(tmp_path / "model.ckpt", objective=ScaledMSE(100.0))


def test_a_model_of_constants_is_told_from_one_that_knows(data, trainer):
    """The notebook's mistake: a network that answers the mean. Its control: one that answers the problem, nearly."""
    module = ArithmeticModule(**SMALL)
    data.setup("fit")
    torch.nn.init.zeros_(module.model.readout.weight)
    torch.nn.init.constant_(module.model.readout.bias, data.train_mean / 2000)
    trainer.validate(module, datamodule=data, verbose=False)
    assert module.behaviour.verdict == "NOT LEARNED"
    assert module.behaviour.reason.startswith("predicts the mean: skill ")
    assert module.behaviour.prediction_sd < 0.01
    for noise, verdict in ((3.0, "PARTLY LEARNED"), (0.1, "PARTLY LEARNED")):
        answers = data.dataset("val").answers
        knowing = answers + noise * torch.randn(len(answers), generator=torch.Generator().manual_seed(0))
        batches = iter(knowing.double().split(128))
        module.objective.decode = partial(lambda batches, outputs: next(batches), batches)
        trainer.validate(module, datamodule=data, verbose=False)
        assert module.behaviour.verdict == verdict
    assert module.behaviour.reason.startswith("at the edge") and module.behaviour.exact_match == 1.0  # of so few sums


def test_options_of_the_optimizer_reach_it():
    options = {"lr": 0.5, "weight_decay": 0.25, "betas": (0.5, 0.75)}
    (group,) = ArithmeticModule(**SMALL, **options).configure_optimizers().param_groups
    assert {name: group[name] for name in options} == options


def test_a_few_rows_of_the_sanity_check_are_no_verdict(data, tmp_path):
    module = ArithmeticModule(**SMALL)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        check_val_every_n_epoch=5,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, datamodule=data)
    assert module.behaviour is None


def test_prompts_must_fit_and_options_be_possible(data):
    with pytest.raises(
        ArithprobeError, match=r"longest prompt has 13 tokens, the position table holds 9; pass --model.max_len 13"
    ):
        ArithmeticModule(**SMALL, max_len=9).check_data(None, 13)
    with pytest.raises(ArithprobeError, match="lr is 0"):
        ArithmeticModule(lr=0)


def test_the_data_module_is_asked_for(data, trainer):
    with pytest.raises(ArithprobeError, match="datamodule=ArithmeticDataModule"):
        trainer.fit(ArithmeticModule(**SMALL), [0], [0])
