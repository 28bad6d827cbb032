"""A slip of the finger is refused with its reason, before anything is written; what is honest is not."""

import re

import pytest
import torch
from conftest import SMALL, assert_refused

from arithprobe import limits
from arithprobe.analysis.heads.options import HeadOptions
from arithprobe.analysis.intervene.options import InterveneOptions
from arithprobe.analysis.probe.options import ProbeOptions
from arithprobe.analysis.reproduce.options import ReproduceOptions
from arithprobe.analysis.scale.options import ScaleOptions
from arithprobe.callbacks import (
    DirectionAblation,
    EmergenceProbing,
    FourierProbing,
    HeadAnalysis,
    MLPProbing,
    RidgeProbing,
)
from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.errors import ArithprobeError
from arithprobe.limits import machine_memory, require_memory, require_within, size
from arithprobe.models.transformer import TinyTransformer
from arithprobe.probes.mlp import MLPSettings
from arithprobe.training.module import ArithmeticModule

SLIPS = [
    (TinyTransformer, {"n_layers": 10**6}, "n_layers is 1000000; expected at most 1000 ("),
    (TinyTransformer, {"embedding_sd": 1e30}, "embedding_sd is 1e+30; expected at most 1000 ("),
    *((TinyTransformer, {name: 2**33}, "of memory; this machine has ") for name in ("d_model", "d_ff", "max_len")),
    (TinyTransformer, {"d_model": 10**30}, "of memory; this machine has "),
    (ArithmeticModule, {"lr": 1e38}, "lr is 1e+38; expected at most 1 ("),
    (ArithmeticModule, {"lr": 1000}, "lr is 1000; expected at most 1 ("),
    (ArithmeticModule, {"weight_decay": 1e30}, "expected lr * weight_decay of at most 1 ("),
    (ArithmeticModule, {"warmup_steps": 10**10}, "warmup_steps is 10000000000; expected at most 1000000000 ("),
    (ArithmeticDataModule, {"batch_size": 10**9}, "batch_size is 1000000000; expected at most 1000000 ("),
    *(
        (options, {name: 10**9}, f"{name} is 1000000000; expected at most ")
        for options, names in {
            ProbeOptions: "permutations fourier_permutations subspace_draws twins folds frequencies mlp_hidden "
            "mlp_depth mlp_shuffles max_examples",
            InterveneOptions: "draws variable_draws inlp_rank max_examples",
            HeadOptions: "draws twins max_examples",
            ReproduceOptions: "shuffles mlp_shuffles twins mlp_epochs",
            ScaleOptions: "ablate probe_dimension folds permutations twins draws mlp_hidden mlp_depth mlp_shuffles",
            RidgeProbing: "folds permutations figure_every",
            FourierProbing: "frequencies folds permutations max_examples figure_every",
            EmergenceProbing: "frequencies folds permutations twins drifts figure_every",
            DirectionAblation: "draws folds every max_examples",
            MLPProbing: "hidden depth max_epochs patience every max_examples",
            HeadAnalysis: "every max_examples",
            MLPSettings: "hidden depth batch_size max_epochs patience",
        }.items()
        for name in names.split()
    ),
    (ReproduceOptions, {"mlp_settings": ("99999x1",)}, "mlp_settings: hidden is 99999; expected at most 8192 ("),
]


@pytest.mark.parametrize(("kind", "option", "message"), SLIPS, ids=lambda one: getattr(one, "__name__", str(one)))
def test_a_slip_of_the_finger_is_refused_by_the_constructor(kind, option, message):
    with pytest.raises(ArithprobeError, match=re.escape(message)):
        kind(**option)


@pytest.mark.parametrize(
    "option", [{"lr": 1.0, "weight_decay": 1.0}, {"lr": 1e-4, "weight_decay": 10.0}, {"n_layers": 24}]
)
def test_what_is_honest_is_not(option):
    with torch.device("meta"):
        ArithmeticModule(**SMALL | option)


@pytest.mark.parametrize("sizes", [SMALL, {"d_model": 6, "n_layers": 3, "n_heads": 3, "d_ff": 5, "max_len": 7}])
def test_the_memory_of_a_model_is_that_of_its_weights(sizes, monkeypatch):
    weights = sum(one.numel() for one in TinyTransformer(**sizes, n_outputs=3).parameters())
    monkeypatch.setattr(limits, "machine_memory", lambda: 4.0 * weights)
    TinyTransformer(**sizes, n_outputs=3)
    monkeypatch.setattr(limits, "machine_memory", lambda: 4.0 * weights - 1)
    with pytest.raises(ArithprobeError, match=r"a model of .* weights would take .* of memory; this machine has "):
        TinyTransformer(**sizes, n_outputs=3)


def test_sizes_are_read_as_one_reads_them():
    found = [size(n) for n in (0, 999, 1000, 24.9e9, 240e9, 3.2e12, 1e30)]
    assert found == ["0 B", "999 B", "1 kB", "24.9 GB", "240 GB", "3.2 TB", "1.0e+30 B"]


def test_this_machine_has_memory():
    assert machine_memory() > 1e8
    require_memory("nothing", 0)
    with pytest.raises(ArithprobeError, match="all would take"):
        require_memory("all", 1e30)


def test_no_number_is_not_within():
    with pytest.raises(ArithprobeError, match="lr is nan"):
        require_within("", lr=float("nan"))


@pytest.mark.parametrize("option", ["--model.n_layers=1000000", "--model.lr=1e38", "--model.d_ff=1000000000000"])
def test_a_fit_refuses_it_before_anything_is_written(run, small_fit, tmp_path, option):
    before = sorted(tmp_path.rglob("*"))
    assert_refused(run(*small_fit, option), "expected at most|of memory; this machine has")
    assert sorted(tmp_path.rglob("*")) == before
