"""What Python code hands in: one name for a list, a module of another kind, a callback twice or again."""

import logging

import pytest
import torch
from conftest import SMALL
from lightning.pytorch import LightningModule, Trainer
from torch import nn

import arithprobe
from arithprobe import (
    ArithmeticDataModule,
    ArithmeticDataset,
    ArithmeticModule,
    ArithprobeError,
    BehaviourReport,
    DataRecipe,
    DirectionAblation,
    EmergenceProbing,
    FourierProbing,
    HeadAnalysis,
    HeadOptions,
    InterveneOptions,
    MLPProbing,
    ProbeOptions,
    Provenance,
    RidgeProbing,
    TensorBoardOverview,
    capture,
)
from arithprobe.callbacks.single import require_single


@pytest.fixture
def data(small_data):
    files = {f"{part}_file": str(path) for part, path in small_data.items()}
    return ArithmeticDataModule(**files, recipe=DataRecipe(split="sum"), batch_size=256)


@pytest.fixture
def trainer():
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    def make(*callbacks):
        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        return Trainer(max_epochs=1, callbacks=list(callbacks), accelerator="cpu", **quiet)

    return make


class Foreign(LightningModule):
    """A module that is not ours."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(torch.ones(1, 1)).sum()

    validation_step = training_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())


@pytest.mark.parametrize("make", [RidgeProbing, MLPProbing, DirectionAblation, EmergenceProbing])
def test_one_target_is_a_list_of_one(make):
    assert make(targets="sum").targets == make(targets=["sum"]).targets == ["sum"]


@pytest.mark.parametrize(
    ("make", "name", "one"),
    [
        *[(ProbeOptions, name, one) for name, one in [("targets", "sum"), ("sites", "final"), ("small_periods", 7)]],
        *[
            (InterveneOptions, name, one)
            for name, one in [("targets", "sum"), ("sites", "final"), ("erasers", "leace")]
        ],
        (HeadOptions, "ablations", "mean"),
        (FourierProbing, "frequencies", (2,)),
    ],
)
def test_one_is_a_list_of_one_for_every_option_that_takes_several(make, name, one):
    several = one if isinstance(one, tuple) else (one,)
    assert getattr(make(**{name: one}), name) == getattr(make(**{name: list(several)}), name) == several


@pytest.mark.parametrize("targets", [None, [1], 7])
def test_what_is_no_name_is_refused(targets):
    with pytest.raises(ArithprobeError, match=r"RidgeProbing: targets: expected names, got (None|1|7)$"):
        RidgeProbing(targets=targets)


def test_one_site_is_captured():
    model = ArithmeticModule(**SMALL).model
    with capture(model, "final") as states:
        model(torch.ones(1, 3, dtype=torch.long), torch.tensor([3]))
    assert list(states) == ["final"]


@pytest.mark.parametrize("name", ["probe", "intervene", "invariance", "analyse_heads", "run_over", "reproduce"])
@pytest.mark.parametrize("given", [Foreign(), nn.Linear(1, 1), "best.ckpt"], ids=["module", "network", "path"])
def test_analyses_take_a_loaded_model_only(name, given, small_data):
    rows = ArithmeticDataset.from_tsv(small_data["val"])
    with pytest.raises(ArithprobeError, match=rf"expected a LoadedModel, got a {type(given).__name__}; load_model"):
        getattr(arithprobe, name)(given, rows)


@pytest.mark.parametrize(
    "make",
    [BehaviourReport, RidgeProbing, HeadAnalysis, TensorBoardOverview, Provenance],
    ids=lambda make: make.__name__,
)
def test_callbacks_refuse_a_module_that_is_not_ours(make, data, trainer):
    with pytest.raises(ArithprobeError, match="observes a ProbedModule, such as an ArithmeticModule, got Foreign"):
        trainer(make()).validate(Foreign(), data, verbose=False)


def test_two_that_write_to_one_place_are_refused_before_training(data, trainer):
    both = [RidgeProbing(targets=["sum"]), RidgeProbing(targets=["x"])]
    with pytest.raises(ArithprobeError, match=r"two RidgeProbing both write .*; name all targets in one"):
        trainer(*both).fit(ArithmeticModule(**SMALL), data)


def test_two_that_write_to_places_of_their_own_are_not_refused():
    class Other(RidgeProbing):
        name = "other"

    require_single([RidgeProbing(), Other(), RidgeProbing(name="digits"), BehaviourReport()])


def test_a_callback_used_again_reads_every_layer_of_the_other_network(data, trainer):
    probe, found = RidgeProbing(targets=["sum"], permutations=19), []
    for layers in (2, 3, 1):
        module = ArithmeticModule(**SMALL | {"n_layers": layers})
        run = trainer(probe)
        run.validate(module, data, verbose=False)
        scores = [name for name in run.callback_metrics if name.startswith("ridge_sum/") and name.endswith("/r2")]
        found.append((len(scores), len(module.model.residual_sites)))
    assert [one for one, _ in found] == [own for _, own in found]


def test_a_further_fit_begins_with_the_verdict_unless_the_weights_changed(data, trainer):
    module, fit = ArithmeticModule(**SMALL), trainer()
    fit.fit(module, data)
    verdict = module.behaviour
    fit.fit(module, data)
    assert verdict is not None
    assert module.behaviour is verdict
    with torch.no_grad():
        module.model.readout.weight.add_(1.0)
    fit.fit(module, data)
    assert module.behaviour is None
