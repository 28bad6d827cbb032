"""The learning rate by steps: PyTorch's own schedulers in one formula, and the module that follows it."""

import itertools
import math

import pytest
import torch
from conftest import SMALL
from lightning.pytorch import Callback, Trainer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.data.sampling import DataRecipe
from arithprobe.errors import ArithprobeError
from arithprobe.training.module import ArithmeticModule
from arithprobe.training.schedule import lr_factor


def pytorchs(warmup, final, total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    rise = LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
    fall = CosineAnnealingLR(optimizer, T_max=total - warmup, eta_min=final)
    both = SequentialLR(optimizer, [rise, fall], milestones=[warmup])
    for _ in range(total):
        yield optimizer.param_groups[0]["lr"]
        optimizer.step()
        both.step()


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step:UserWarning")  # PyTorch's, about itself
@pytest.mark.parametrize(("warmup", "final", "total"), [(5, 0.05, 40), (2, 0.0, 3), (10, 0.5, 11), (3, 1.0, 9)])
def test_warm_up_and_cosine_are_pytorchs(warmup, final, total):
    factor = lr_factor("cosine", warmup, final, total)
    assert [factor(step) for step in range(total)] == pytest.approx(list(pytorchs(warmup, final, total)), abs=1e-9)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize(("warmup", "total"), [(0, 10), (4, 10), (10, 10), (20, 10)])
def test_the_rate_is_never_above_its_highest_and_ends_where_it_should(schedule, warmup, total):
    factor = lr_factor(schedule, warmup, 0.1, total)
    rates = [factor(step) for step in range(max(warmup, total) + 1)]
    assert max(rates) == pytest.approx(1.0) and min(rates) > 0
    assert all(later > earlier for earlier, later in itertools.pairwise(rates[:warmup]))
    ends_low = schedule == "cosine" and warmup < total
    assert rates[-1] == pytest.approx(0.1 if ends_low else 1.0)


class Rates(Callback):
    """The learning rate of every step."""

    def __init__(self):
        self.found = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.found.append(trainer.optimizers[0].param_groups[0]["lr"])


def rates_of_a_fit(files, tmp_path, trainer=(), **options):
    rates = Rates()
    data = ArithmeticDataModule(str(files["train"]), str(files["val"]), batch_size=32, recipe=DataRecipe(split="sum"))
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[rates],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
        **dict(trainer),
    )
    trainer.fit(ArithmeticModule(**SMALL, **options), datamodule=data)
    return rates.found


@pytest.mark.parametrize("limit", [{"max_epochs": 2}, {"max_steps": 22, "max_epochs": -1}], ids=["epochs", "steps"])
def test_a_fit_follows_it_step_by_step(limit, small_data, tmp_path):
    """Two epochs are 22 steps, and the cosine knows."""
    found = rates_of_a_fit(small_data, tmp_path, limit, lr=0.01, schedule="cosine", warmup_steps=4, final_lr=0.0)
    factor = lr_factor("cosine", 4, 0.0, 22)
    assert found == pytest.approx([0.01 * factor(step) for step in range(22)])


def test_without_a_schedule_the_rate_is_constant(small_data, tmp_path):
    assert set(rates_of_a_fit(small_data, tmp_path, {"max_epochs": 1}, lr=0.01)) == {0.01}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "linear"}, "schedule is 'linear'; expected one of constant, cosine"),
        ({"warmup_steps": -1}, "warmup_steps is -1; expected 0 or more"),
        ({"final_lr": 1.5}, "final_lr is 1.5; expected a share of lr"),
        ({"final_lr": math.nan}, "final_lr is nan"),
        ({"betas": (0.9, 1.0)}, r"betas are \[0.9, 1.0\]"),
        ({"betas": (0.9,)}, r"betas are \[0.9\]"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ArithprobeError, match=message):
        ArithmeticModule(**SMALL, **options)


def test_a_cosine_needs_an_end():
    with pytest.raises(ArithprobeError, match=r"a cosine schedule needs an end: pass --trainer\.max_steps"):
        lr_factor("cosine", 0, 0.0, math.inf)
    assert lr_factor("constant", 0, 0.0, math.inf)(10**9) == 1.0  # the control
