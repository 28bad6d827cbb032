"""Small transformers that do arithmetic, probed while they train. See the README for the command line."""

import ast
from importlib import import_module
from importlib.abc import InspectLoader
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the public names, each once: who checks types reads them here, and so does __getattr__
    from arithprobe.analysis.forward import run_over as run_over
    from arithprobe.analysis.heads.options import HeadOptions as HeadOptions
    from arithprobe.analysis.heads.run import analyse_heads as analyse_heads
    from arithprobe.analysis.intervene.options import InterveneOptions as InterveneOptions
    from arithprobe.analysis.intervene.run import intervene as intervene
    from arithprobe.analysis.invariance import invariance as invariance
    from arithprobe.analysis.ladder.rules import RUNGS as RUNGS
    from arithprobe.analysis.probe.options import ProbeOptions as ProbeOptions
    from arithprobe.analysis.probe.run import probe as probe
    from arithprobe.analysis.reproduce.options import ReproduceOptions as ReproduceOptions
    from arithprobe.analysis.reproduce.run import reproduce as reproduce
    from arithprobe.analysis.states.run import probe_states as probe_states
    from arithprobe.behaviour import Behaviour as Behaviour
    from arithprobe.callbacks import BehaviourReport as BehaviourReport
    from arithprobe.callbacks import BestCheckpoint as BestCheckpoint
    from arithprobe.callbacks import DirectionAblation as DirectionAblation
    from arithprobe.callbacks import EmergenceProbing as EmergenceProbing
    from arithprobe.callbacks import FourierProbing as FourierProbing
    from arithprobe.callbacks import HeadAnalysis as HeadAnalysis
    from arithprobe.callbacks import LastCheckpoint as LastCheckpoint
    from arithprobe.callbacks import MLPProbing as MLPProbing
    from arithprobe.callbacks import Provenance as Provenance
    from arithprobe.callbacks import RandomState as RandomState
    from arithprobe.callbacks import RidgeProbing as RidgeProbing
    from arithprobe.callbacks import TensorBoardOverview as TensorBoardOverview
    from arithprobe.data.datamodule import ArithmeticDataModule as ArithmeticDataModule
    from arithprobe.data.datamodule import RowsDataModule as RowsDataModule
    from arithprobe.data.dataset import ArithmeticDataset as ArithmeticDataset
    from arithprobe.data.sampling import DataRecipe as DataRecipe
    from arithprobe.data.tokens import TokenDataset as TokenDataset
    from arithprobe.errors import ArithprobeError as ArithprobeError
    from arithprobe.errors import SharedRowsWarning as SharedRowsWarning
    from arithprobe.errors import ThreadsWarning as ThreadsWarning
    from arithprobe.interventions.bench import Bench as Bench
    from arithprobe.interventions.erasure import Eraser as Eraser
    from arithprobe.interventions.erasure import load_eraser as load_eraser
    from arithprobe.models.check import check as check
    from arithprobe.models.checkpoints import LoadedModel as LoadedModel
    from arithprobe.models.checkpoints import in_memory as in_memory
    from arithprobe.models.checkpoints import load_model as load_model
    from arithprobe.models.hooked import HookedNetwork as HookedNetwork
    from arithprobe.models.hooks import capture as capture
    from arithprobe.models.hooks import edit as edit
    from arithprobe.models.network import HeadedNetwork as HeadedNetwork
    from arithprobe.models.network import Network as Network
    from arithprobe.models.network import Site as Site
    from arithprobe.models.objective import Objective as Objective
    from arithprobe.models.objectives import CircularMSE as CircularMSE
    from arithprobe.models.objectives import ResidueCrossEntropy as ResidueCrossEntropy
    from arithprobe.models.objectives import ScaledMSE as ScaledMSE
    from arithprobe.models.transformer import TinyTransformer as TinyTransformer
    from arithprobe.probes.circles import best_periods as best_periods
    from arithprobe.probes.ridge import RidgeFitter as RidgeFitter
    from arithprobe.problems.grammar import Problem as Problem
    from arithprobe.problems.rows import Inputs as Inputs
    from arithprobe.problems.rows import Rows as Rows
    from arithprobe.reports.page import report as report
    from arithprobe.threads import use_threads as use_threads
    from arithprobe.tokenizer import decode as decode
    from arithprobe.tokenizer import encode as encode
    from arithprobe.tokenizer import pad_batch as pad_batch
    from arithprobe.training.checkpoint_io import WholeCheckpointIO as WholeCheckpointIO
    from arithprobe.training.module import ArithmeticModule as ArithmeticModule
    from arithprobe.training.probed import ProbedModule as ProbedModule

__version__ = "0.1.0"


def _public() -> dict[str, str]:
    """Where each public name lives, as the imports above say: ``probe`` in ``arithprobe.analysis.probe.run``."""
    loader = __spec__.loader
    source = loader.get_source(__name__) if isinstance(loader, InspectLoader) else None
    if source is None:
        raise ImportError("arithprobe reads its public names from its own source, and there is none")
    block = next(one for one in ast.parse(source).body if isinstance(one, ast.If))
    return {name.name: str(one.module) for one in block.body if isinstance(one, ast.ImportFrom) for name in one.names}


_HOME = _public()
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that ``arithprobe --help`` need not import PyTorch."""
    if name not in _HOME:
        raise AttributeError(f"module 'arithprobe' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
