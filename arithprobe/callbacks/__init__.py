"""Lightning callbacks that observe a run; none of them changes a weight, a loss, or the global random state."""

from arithprobe.callbacks.ablation import DirectionAblation
from arithprobe.callbacks.behaviour import BehaviourReport
from arithprobe.callbacks.board import TensorBoardOverview
from arithprobe.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from arithprobe.callbacks.emergence import EmergenceProbing
from arithprobe.callbacks.fourier import FourierProbing
from arithprobe.callbacks.heads import HeadAnalysis
from arithprobe.callbacks.mlp import MLPProbing
from arithprobe.callbacks.provenance import Provenance
from arithprobe.callbacks.random_state import RandomState
from arithprobe.callbacks.ridge import RidgeProbing

__all__ = [
    "BehaviourReport",
    "BestCheckpoint",
    "DirectionAblation",
    "EmergenceProbing",
    "FourierProbing",
    "HeadAnalysis",
    "LastCheckpoint",
    "MLPProbing",
    "Provenance",
    "RandomState",
    "RidgeProbing",
    "TensorBoardOverview",
]
