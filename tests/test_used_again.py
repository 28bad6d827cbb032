"""A callback used again is a new one, but for a further fit of the same run, which goes on."""

import copy
import json
from collections import Counter

import pytest
from conftest import SMALL, read_jsonl
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from short_fits import files_in

from arithprobe import HeadOptions, InterveneOptions, analyse_heads, intervene, probe, reproduce
from arithprobe.callbacks import BehaviourReport, DirectionAblation, EmergenceProbing, FourierProbing, MLPProbing
from arithprobe.callbacks.base import ValidationProbe
from arithprobe.callbacks.watch import Watch
from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.sampling import DataRecipe
from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.said.content import Said
from arithprobe.training.module import ArithmeticModule

ROWS = {"rows": 200, "split": "sum", "val_fraction": 0.5, "max_operand": 60}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of the same number of validation rows, of two seeds."""
    return [files_in(tmp_path_factory.mktemp("rows"), seed=seed, **ROWS) for seed in (1, 2)]


def data(files, **options):
    return ArithmeticDataModule(
        str(files["train"]), str(files["val"]), recipe=DataRecipe(split="sum"), batch_size=128, **options
    )


def module(**sizes):
    return ArithmeticModule(**SMALL | {"n_layers": 1} | sizes)


def trainer(callbacks, **options):
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    given = {"max_epochs": 1, "accelerator": "cpu", "callbacks": callbacks, "log_every_n_steps": 1}
    return Trainer(**given | quiet | options)


class Nothing(Watch):
    """Looks at nothing, and finds that there was a validation."""

    state = ()

    def start(self):
        pass

    def update(self, states, rows):
        pass

    def result(self):
        return 1


class Prepared(ValidationProbe):
    """A probe as the guide has it: it prepares whatever it is given, and knows nothing of earlier runs."""

    name = "prepared"

    def __init__(self):
        super().__init__()
        self.prepared = []

    def prepare(self, module, dataset):
        self.prepared.append((module.model.d_model, dataset.path))
        return Nothing()

    def said(self, history):
        return Said(name=self.name, title="Prepared", behaviour=self.behaviour)


@pytest.mark.slow
def test_it_prepares_once_a_run_and_for_every_other_network_and_rows(files):
    own, rows = Prepared(), data(files[0])
    trainer([own], max_epochs=2).fit(module(), rows)
    assert len(own.prepared) == 1  # the sanity check's is that of the fit
    trainer([own]).validate(module(d_model=8), rows, verbose=False)
    trainer([own]).validate(module(), data(files[1]), verbose=False)
    assert [width for width, _ in own.prepared] == [16, 8, 16]
    assert Counter(path for _, path in own.prepared) == {str(files[0]["val"]): 2, str(files[1]["val"]): 1}


@pytest.mark.slow
def test_a_further_fit_goes_on_and_what_comes_between_is_no_part_of_it(files):
    """Its controls: another module, other rows, another trainer."""
    own, rows, model = Prepared(), data(files[0]), module()
    run = trainer([own], max_epochs=2)
    run.fit(model, rows)
    run.validate(model, rows, verbose=False)
    assert len(own.history) == 1
    run.fit_loop.max_epochs = 3
    run.fit(model, rows)
    assert len(own.history) == 3
    run.fit_loop.max_epochs = 4
    run.fit(model, data(files[1]))
    assert len(own.history) == 1
    trainer([own]).fit(model, data(files[1]))
    assert len(own.history) == 1
    assert copy.deepcopy(own).history == own.history


@pytest.mark.slow
@pytest.mark.usefixtures("white")
@pytest.mark.parametrize(
    "make",
    [
        lambda: FourierProbing("sum", 10, 2),
        lambda: MLPProbing(every=1, max_epochs=1, shuffles=1, max_examples=100),
        lambda: DirectionAblation(every=1, draws=19, folds=2),
        lambda: EmergenceProbing(["sum"], folds=2),
    ],
    ids=["fourier", "mlp", "ablation", "emergence"],
)
def test_used_on_another_network_it_finds_what_a_new_one_finds(make, files):
    used, new, model, rows = make(), make(), module(n_layers=2, d_model=8), data(files[0])

    def look(callback, model):
        run = trainer([callback])
        if callback.name == "emergence":  # which looks at fits only
            run.fit(copy.deepcopy(model), rows)
        else:
            run.validate(model, rows, verbose=False)

    look(used, module())
    look(used, model)
    look(new, model)
    assert used.tags() == new.tags()
    assert used.findings() == new.findings() != []


@pytest.mark.slow
@pytest.mark.usefixtures("white")
def test_best_and_answers_go_on_with_a_further_fit(files, tmp_path):
    """And answers to other rows of the same number stand in no table with them."""
    report, emergence, model = BehaviourReport(), EmergenceProbing(["sum"], folds=2), module()
    run = trainer([report, emergence], max_epochs=2, logger=CSVLogger(tmp_path, "run"))
    run.fit(model, data(files[0]))
    before = copy.deepcopy(report.reports)
    run.fit(model, data(files[0]))  # nothing left to do
    assert report.reports == before
    assert model.behaviour is not None
    run.validate(model, data(files[0]), verbose=False)
    run.fit_loop.max_epochs = 3
    run.fit(model, data(files[0]))
    folder = tmp_path / "run" / "version_0"
    kept = json.loads((folder / "behaviour.json").read_text())
    assert kept["best"]["skill"] == max(kept[name]["skill"] for name in ("last", "best"))
    assert (kept["last"]["epoch"], set(report.reports)) == (2, {"last", "best", "validate"})
    record = json.loads((folder / "emergence.json").read_text())
    assert (record["own_beginning"], len(record["steps"])) == (True, 3)
    assert [line["epoch"] for line in read_jsonl(folder / "probes" / "emergence.jsonl")] == [0, 1, 2]
    run.fit_loop.max_epochs = 4
    run.fit(model, data(files[1]))
    heading, first = (folder / "predictions.tsv").read_text().splitlines()[:2]
    assert first.split("\t")[0] == ArithmeticDataset.from_tsv(files[1]["val"]).texts()[0]
    assert set(heading.split("\t")[2:]) <= set(report._predictions)


@pytest.mark.parametrize("call", [probe, intervene, analyse_heads, reproduce])
def test_options_of_another_analysis_and_other_networks_are_refused(call, files):
    rows, model = ArithmeticDataset.from_tsv(files[0]["val"]), module()
    loaded = LoadedModel("here", "live", model.model, model.objective, 0.0, None)
    other = InterveneOptions() if call is not intervene else HeadOptions()
    with pytest.raises(ArithprobeError, match=rf"expected \w+Options\(...\), got a {type(other).__name__}$"):
        call(loaded, rows, other)
    with pytest.raises(ArithprobeError, match=r"a Linear has no d_model, max_len, .*HookedNetwork"):
        call(loaded._replace(model=model.model.readout), rows)


def test_a_data_module_of_another_kind_is_refused():
    with pytest.raises(ArithprobeError, match=r"pass the data as .*ArithmeticDataModule"):
        trainer([]).fit(module(), LightningDataModule.from_datasets([0], [0]))
