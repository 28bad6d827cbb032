"""Small transformers that do arithmetic, probed while they train. See the README for the command line."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arithprobe.analysis.forward import run_over
    from arithprobe.analysis.heads.options import HeadOptions
    from arithprobe.analysis.heads.run import analyse_heads
    from arithprobe.analysis.intervene.options import InterveneOptions
    from arithprobe.analysis.intervene.run import intervene
    from arithprobe.analysis.invariance import invariance
    from arithprobe.analysis.ladder.rules import RUNGS
    from arithprobe.analysis.probe.options import ProbeOptions
    from arithprobe.analysis.probe.run import probe
    from arithprobe.analysis.reproduce.options import ReproduceOptions
    from arithprobe.analysis.reproduce.run import reproduce
    from arithprobe.behaviour import Behaviour
    from arithprobe.callbacks import (
        BehaviourReport,
        BestCheckpoint,
        DirectionAblation,
        EmergenceProbing,
        FourierProbing,
        HeadAnalysis,
        LastCheckpoint,
        MLPProbing,
        Provenance,
        RandomState,
        RidgeProbing,
        TensorBoardOverview,
    )
    from arithprobe.data.datamodule import ArithmeticDataModule, RowsDataModule
    from arithprobe.data.dataset import ArithmeticDataset
    from arithprobe.data.sampling import DataRecipe
    from arithprobe.data.tokens import TokenDataset
    from arithprobe.errors import ArithprobeError, SharedRowsWarning, ThreadsWarning
    from arithprobe.interventions.bench import Bench
    from arithprobe.interventions.erasure import Eraser, load_eraser
    from arithprobe.models.check import check
    from arithprobe.models.checkpoints import LoadedModel, in_memory, load_model
    from arithprobe.models.hooked import HookedNetwork
    from arithprobe.models.hooks import capture, edit
    from arithprobe.models.network import HeadedNetwork, Network, Site
    from arithprobe.models.objective import Objective
    from arithprobe.models.objectives import CircularMSE, ResidueCrossEntropy, ScaledMSE
    from arithprobe.models.transformer import TinyTransformer
    from arithprobe.probes.circles import best_periods
    from arithprobe.probes.ridge import RidgeFitter
    from arithprobe.problems.grammar import Problem
    from arithprobe.problems.rows import Inputs, Rows
    from arithprobe.reports.page import report
    from arithprobe.threads import use_threads
    from arithprobe.tokenizer import decode, encode, pad_batch
    from arithprobe.training.checkpoint_io import WholeCheckpointIO
    from arithprobe.training.module import ArithmeticModule
    from arithprobe.training.probed import ProbedModule

__version__ = "0.1.0"

_HOME = {
    "ArithmeticDataModule": "data.datamodule",
    "ArithmeticDataset": "data.dataset",
    "ArithmeticModule": "training.module",
    "ArithprobeError": "errors",
    "Behaviour": "behaviour",
    "BehaviourReport": "callbacks",
    "Bench": "interventions.bench",
    "BestCheckpoint": "callbacks",
    "CircularMSE": "models.objectives",
    "DataRecipe": "data.sampling",
    "DirectionAblation": "callbacks",
    "EmergenceProbing": "callbacks",
    "Eraser": "interventions.erasure",
    "FourierProbing": "callbacks",
    "HeadAnalysis": "callbacks",
    "HeadOptions": "analysis.heads.options",
    "HeadedNetwork": "models.network",
    "HookedNetwork": "models.hooked",
    "Inputs": "problems.rows",
    "InterveneOptions": "analysis.intervene.options",
    "LastCheckpoint": "callbacks",
    "LoadedModel": "models.checkpoints",
    "MLPProbing": "callbacks",
    "Network": "models.network",
    "Objective": "models.objective",
    "ProbeOptions": "analysis.probe.options",
    "ProbedModule": "training.probed",
    "Problem": "problems.grammar",
    "Provenance": "callbacks",
    "RUNGS": "analysis.ladder.rules",
    "RandomState": "callbacks",
    "ReproduceOptions": "analysis.reproduce.options",
    "ResidueCrossEntropy": "models.objectives",
    "RidgeFitter": "probes.ridge",
    "RidgeProbing": "callbacks",
    "Rows": "problems.rows",
    "RowsDataModule": "data.datamodule",
    "ScaledMSE": "models.objectives",
    "SharedRowsWarning": "errors",
    "Site": "models.network",
    "TensorBoardOverview": "callbacks",
    "ThreadsWarning": "errors",
    "TinyTransformer": "models.transformer",
    "TokenDataset": "data.tokens",
    "WholeCheckpointIO": "training.checkpoint_io",
    "analyse_heads": "analysis.heads.run",
    "best_periods": "probes.circles",
    "capture": "models.hooks",
    "check": "models.check",
    "decode": "tokenizer",
    "edit": "models.hooks",
    "encode": "tokenizer",
    "in_memory": "models.checkpoints",
    "intervene": "analysis.intervene.run",
    "invariance": "analysis.invariance",
    "load_eraser": "interventions.erasure",
    "load_model": "models.checkpoints",
    "pad_batch": "tokenizer",
    "probe": "analysis.probe.run",
    "report": "reports.page",
    "reproduce": "analysis.reproduce.run",
    "run_over": "analysis.forward",
    "use_threads": "threads",
}

__all__ = [
    "RUNGS",
    "ArithmeticDataModule",
    "ArithmeticDataset",
    "ArithmeticModule",
    "ArithprobeError",
    "Behaviour",
    "BehaviourReport",
    "Bench",
    "BestCheckpoint",
    "CircularMSE",
    "DataRecipe",
    "DirectionAblation",
    "EmergenceProbing",
    "Eraser",
    "FourierProbing",
    "HeadAnalysis",
    "HeadOptions",
    "HeadedNetwork",
    "HookedNetwork",
    "Inputs",
    "InterveneOptions",
    "LastCheckpoint",
    "LoadedModel",
    "MLPProbing",
    "Network",
    "Objective",
    "ProbeOptions",
    "ProbedModule",
    "Problem",
    "Provenance",
    "RandomState",
    "ReproduceOptions",
    "ResidueCrossEntropy",
    "RidgeFitter",
    "RidgeProbing",
    "Rows",
    "RowsDataModule",
    "ScaledMSE",
    "SharedRowsWarning",
    "Site",
    "TensorBoardOverview",
    "ThreadsWarning",
    "TinyTransformer",
    "TokenDataset",
    "WholeCheckpointIO",
    "analyse_heads",
    "best_periods",
    "capture",
    "check",
    "decode",
    "edit",
    "encode",
    "in_memory",
    "intervene",
    "invariance",
    "load_eraser",
    "load_model",
    "pad_batch",
    "probe",
    "report",
    "reproduce",
    "run_over",
    "use_threads",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that ``arithprobe --help`` need not import PyTorch."""
    if name not in _HOME:
        raise AttributeError(f"module 'arithprobe' has no attribute {name!r}")
    return getattr(import_module(f"arithprobe.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
