"""A probe is an observer: a run with all callbacks has, bit for bit, the weights and losses of a run with none."""

from functools import partial

import pytest
import torch
from conftest import SMALL
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import TensorBoardLogger
from short_fits import files_in

from arithprobe import callbacks
from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.data.sampling import DataRecipe
from arithprobe.training.module import ArithmeticModule

OPTIONS = {
    "DirectionAblation": {"every": 2, "targets": ["sum", "summod10f1"], "sites": ["resid_mid.1", "final"], "draws": 19},
    "FourierProbing": {"quantity": "sum", "period": 10},  # the small data has no modulus
    "EmergenceProbing": {"targets": ["sum", "sum1"]},
    "HeadAnalysis": {"every": 2},
    "MLPProbing": {"every": 2, "max_epochs": 3, "shuffles": 1},
    "RidgeProbing": {"positions": ["last"]},
}
ALL = [partial(getattr(callbacks, name), **OPTIONS.get(name, {})) for name in callbacks.__all__]


class Losses(Callback):
    """Every training loss and every validation number of a run."""

    def __init__(self):
        self.train, self.val = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.train.append(outputs["loss"].item())

    def on_validation_end(self, trainer, pl_module):
        ours = {name: value.item() for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        self.val.append(ours)


class Meddler(Callback):
    """The control: an observer that is none, because it draws from the global random state."""

    def on_validation_end(self, trainer, pl_module):
        torch.rand(1)


def fit(observers, files, tmp_path, lr=2e-3):
    seed_everything(3, verbose=False)
    losses = Losses()
    data = ArithmeticDataModule(str(files["train"]), str(files["val"]), batch_size=32, recipe=DataRecipe(split="sum"))
    module = ArithmeticModule(**SMALL, dropout=0.1)
    module.lr = lr  # also one that no option may be
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=3,
        callbacks=[*observers, losses],
        logger=TensorBoardLogger(tmp_path, "run"),
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        enable_checkpointing=any(isinstance(one, Checkpoint) for one in observers),
    )
    trainer.fit(module, datamodule=data)
    return module.state_dict(), losses


def same(first, second):
    weights = all(torch.equal(first[0][name], second[0][name]) for name in first[0])
    return weights and first[1].train == second[1].train and first[1].val == second[1].val


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return files_in(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def alone(files, tmp_path_factory):
    return fit([], files, tmp_path_factory.mktemp("alone"))


@pytest.mark.slow
def test_all_callbacks_together_change_nothing(alone, files, tmp_path):
    observers = [callback() for callback in ALL]
    assert same(alone, fit(observers, files, tmp_path))
    assert len(alone[1].train) == 3 * 11


@pytest.mark.slow
def test_a_model_that_diverges_is_observed_to_its_end(files, tmp_path):
    """States that overflow have no probe, and the run goes on as it would alone."""
    fits = [fit(observers, files, tmp_path, lr=1e30) for observers in ([], [callback() for callback in ALL])]
    assert [len(losses.train) for _, losses in fits] == [33, 33]
    assert not all(torch.isfinite(value).all() for value in fits[1][0].values())


def test_the_test_can_fail(alone, files, tmp_path):
    assert not same(alone, fit([Meddler()], files, tmp_path))


@pytest.mark.parametrize("callback", ALL, ids=callbacks.__all__)
def test_a_callback_leaves_no_hook_and_no_gradient(callback, files, tmp_path):
    data = ArithmeticDataModule(str(files["train"]), str(files["val"]), recipe=DataRecipe(split="sum"))
    module = ArithmeticModule(**SMALL)
    trainer = Trainer(
        accelerator="cpu", callbacks=[callback()], logger=False, enable_progress_bar=False, default_root_dir=tmp_path
    )
    trainer.validate(module, datamodule=data, verbose=False)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in module.parameters())
