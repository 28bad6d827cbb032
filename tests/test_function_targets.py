"""Targets that are functions of the rows: beside names, of any probe, checked before anything is trained."""

import copy
import inspect
import logging
import pickle
from functools import partial
from multiprocessing import context

import numpy as np
import pytest
import torch
from conftest import SMALL
from lightning.pytorch import Trainer
from short_fits import files_in

from arithprobe import (
    ArithmeticDataModule,
    ArithmeticDataset,
    ArithmeticModule,
    ArithprobeError,
    DataRecipe,
    DirectionAblation,
    EmergenceProbing,
    InterveneOptions,
    LastCheckpoint,
    MLPProbing,
    ProbeOptions,
    RidgeProbing,
    in_memory,
)
from arithprobe.analysis.intervene.plan import IntervenePlan
from arithprobe.analysis.probe.plan import ProbePlan
from arithprobe.probes.function_rows import rows_with
from arithprobe.probes.wanted import FunctionTarget, recorded, wanted_targets
from arithprobe.problems.rows import ASKED, require_rows

QUIET = {"enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1, "accelerator": "cpu"}


def total(rows):
    return rows.x + rows.y


def larger(rows):
    return torch.maximum(rows.x, rows.y)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return files_in(tmp_path_factory.mktemp("data"))


@pytest.fixture
def data(files):
    return ArithmeticDataModule(str(files["train"]), str(files["val"]), recipe=DataRecipe(split="sum"), batch_size=128)


@pytest.fixture(scope="module")
def rows(files):
    return ArithmeticDataset.from_tsv(files["val"])


@pytest.fixture(scope="module")
def loaded():
    module = ArithmeticModule(**SMALL).eval()
    return in_memory(module.model, module.objective)


def probes(targets):
    return [
        RidgeProbing(targets, positions=["last"], permutations=19),
        MLPProbing(targets, kind="regression", max_epochs=1, shuffles=1),
        DirectionAblation(targets, draws=19, sites=["resid_mid.1"]),
    ]


def test_a_function_that_is_a_quantity_scores_as_its_name_live(data):
    """Control: the larger operand, read by the same probes, scores otherwise."""
    found = probes(["sum", {"total": total, "larger": larger}])
    Trainer(callbacks=list(found), logger=False, **QUIET).validate(ArithmeticModule(**SMALL), data, verbose=False)
    for probe in found:
        scored = {tag: value for tag, value in probe.last.scalars.items() if not tag.endswith("_low")}
        named = [value for tag, value in scored.items() if "_sum/" in tag]
        assert named == [value for tag, value in scored.items() if "_total/" in tag]
        assert named != [value for tag, value in scored.items() if "_larger/" in tag]
        assert probe.last.line["functions"]["total"] == f"a function of the user's ({__name__}.total)"


@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # a fit that goes on has a folder of its own
def test_a_fit_with_a_lambda_keeps_checkpoints_and_goes_on(data, tmp_path):
    every = [
        *probes({"larger": lambda rows: torch.maximum(rows.x, rows.y)}),
        EmergenceProbing({"larger": lambda rows: rows.x.clamp(min=rows.y)}, frequencies=0, drifts=0, twins=0),
    ]
    for epochs, path in ((1, None), (2, tmp_path / "lightning_logs/version_0/checkpoints/last.ckpt")):
        trainer = Trainer(
            max_epochs=epochs, callbacks=[LastCheckpoint(), *copy.deepcopy(every)], default_root_dir=tmp_path, **QUIET
        )
        trainer.fit(ArithmeticModule(**SMALL), data, ckpt_path=path)
        assert trainer.current_epoch == epochs
        assert "ridge_larger/final@last/r2" in trainer.callback_metrics


def test_offline_it_is_a_target_like_any_other(loaded, rows):
    targets = ["sum", {"total": total}]
    plan = ProbePlan(loaded, rows, ProbeOptions(targets=targets, no_mlp=True, no_ladder=True))
    named, function = plan.by_group()["sum"]
    assert torch.equal(named.columns, function.columns)
    taken_out = IntervenePlan(loaded, rows, InterveneOptions(targets=targets, variables=["x"]))
    assert torch.equal(taken_out.fitted["sum"].columns, taken_out.fitted["total"].columns)
    assert recorded(ProbeOptions(targets=targets))["targets"] == [
        "sum",
        f"total: a function of the user's ({__name__}.total)",
    ]


def test_rows_with_functions_are_rows(rows):
    more = rows_with(rows, [FunctionTarget("larger", larger)])
    assert require_rows(more) is more
    assert all(inspect.getattr_static(type(more), name, None) is not None for name in ASKED)  # as Python 3.12 looks
    assert more.names == (*rows.names, "larger")
    assert torch.equal(more.group("larger"), rows.group("sum"))
    assert torch.equal(more.at(slice(3, 9)).values("larger"), larger(rows)[3:9])
    assert torch.equal(more.at(slice(3, 9)).group("larger"), rows.group("sum")[3:9])
    assert more.counterfactual("larger", torch.tensor([0]), torch.tensor([1])) is None
    assert more.counterfactual("sum", torch.tensor([0]), torch.tensor([1])) is not None


@pytest.mark.parametrize(
    "kind", [torch.bfloat16, torch.uint8, list, np.asarray, lambda one: one[::2].repeat_interleave(2).numpy()[::-1]]
)
def test_a_number_a_row_is_enough(rows, kind):
    values = torch.arange(len(rows)) % 7
    returned = values.to(kind) if isinstance(kind, torch.dtype) else kind(values[: len(rows) // 2 * 2])
    some = rows_with(rows, [FunctionTarget("seven", lambda rows: returned)]).values("seven")
    assert some.dtype in (torch.int64, torch.float64) and some.tolist() == [int(one) for one in returned]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda rows: rows.x[:3], r"the function returned \(3,\); expected \(\d+,\), a number a row$"),
        (lambda rows: rows.x[:, None], r"the function returned \(\d+, 1\); expected \(\d+,\)"),
        (lambda rows: 3, r"the function returned \(\); expected"),
        (lambda rows: ["a"] * len(rows), "the function returned a list that is no column of numbers"),
        (
            lambda rows: rows.x.where(rows.x != rows.x[4], torch.nan),
            "the function returned nan for row 4; expected fin",
        ),
        (lambda rows: rows.x + 1j, "the function returned torch.complex64; expected real numbers"),
        (lambda rows: rows.z, r"the function cannot be run on the \d+ rows of .*: AttributeError\(.*no attribute 'z'"),
        (lambda rows: rows.x * 0 + 2, "is 2 in every row; a constant cannot be probed"),
    ],
)
def test_a_function_that_returns_something_else_is_said_before_any_training(function, message, data):
    module = ArithmeticModule(**SMALL)
    with pytest.raises(ArithprobeError, match=f"^target 'mine':? {message}") as raised:
        Trainer(max_epochs=1, callbacks=[RidgeProbing({"mine": function})], logger=False, **QUIET).fit(module, data)
    assert "\n" not in str(raised.value) and module.global_step == 0


@pytest.mark.parametrize("name", ["sum", "carry10", "summod7cos1"])
def test_a_name_that_means_something_in_the_rows_is_refused(name, rows):
    with pytest.raises(ArithprobeError, match=f"^target '{name}' has a meaning in .*; give the function another name$"):
        rows_with(rows, [FunctionTarget(name, larger)])


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([larger], "expected names, got a function without a name; write {'name': function}"),
        ({"Larger": larger}, "a function is called 'Larger'; expected small letters and digits, a letter first"),
        ({"all": larger}, "a function is called 'all'; .* and not 'all'"),
        ({1: larger}, "a function is called 1; expected"),
        ({"larger": 3}, "'larger' is 3; expected a function of the rows, or 'module.function'"),
        ({"larger": "larger"}, "'larger' is 'larger'; expected a function of the rows, or 'module.function'"),
        (
            {"larger": "no_module_of_ours.larger"},
            "'larger' is 'no_module_of_ours.larger', which cannot be imported: No module",
        ),
        ({"larger": "math.larger"}, "'larger' is 'math.larger', but math has no function 'larger'"),
        (["larger", {"larger": larger}], "'larger' is asked for twice"),
    ],
)
@pytest.mark.parametrize("make", [RidgeProbing, MLPProbing, DirectionAblation, EmergenceProbing, ProbeOptions])
def test_what_is_no_function_with_a_name_is_refused_at_construction(make, targets, message):
    with pytest.raises(ArithprobeError, match=f"targets: {message}"):
        make(targets=targets)


def test_a_configuration_names_a_function_by_its_module():
    (found,) = wanted_targets("targets", {"larger": "statistics.median"}).functions
    assert found.function([1, 5, 2]) == 2


def test_what_a_spawned_process_could_not_import_is_said(monkeypatch):
    """Control: a function of a module is sent; and a lambda may be copied and kept by what can."""
    monkeypatch.setattr("arithprobe.probes.wanted.get_spawning_popen", lambda: True)
    assert pickle.loads(pickle.dumps(RidgeProbing({"larger": larger}))).functions[0].function is larger
    lost = RidgeProbing({"larger": lambda rows: rows.x})
    with pytest.raises(ArithprobeError, match=r"'larger' is .*<lambda>, which a spawned process cannot import"):
        pickle.dumps(lost)
    monkeypatch.undo()
    assert context.get_spawning_popen() is None
    assert copy.deepcopy(lost).functions[0].function is lost.functions[0].function
    assert partial(RidgeProbing, {"larger": lambda rows: rows.x})().targets == ["larger"]
