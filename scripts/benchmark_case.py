"""What the benchmarks share: a claim about speed, and the notebook's model before training with some rows."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import write_tsv
from arithprobe.models.objectives import ScaledMSE
from arithprobe.models.transformer import TinyTransformer

Side = Callable[[], object]


class Case(NamedTuple):
    """One claim."""

    name: str
    """What ``--only`` calls it."""
    what: str
    """What is compared."""
    ours: Side
    """Our side."""
    other: Side
    """The other side."""
    target: float
    """The other side's time over ours is to be at least this."""
    repeats: int
    """Runs of each side, taking turns."""


def untrained_on_rows() -> tuple[TinyTransformer, ScaledMSE, ArithmeticDataset]:
    """The notebook's model before training, and 2000 rows."""
    torch.manual_seed(0)
    recipe = DataRecipe(rows=4000, val_fraction=0.5)
    with tempfile.TemporaryDirectory() as folder:
        path = write_tsv(Path(folder) / "rows.tsv", sample(recipe)["val"].problems(recipe))
        rows = ArithmeticDataset.from_tsv(path)
    return TinyTransformer().eval().requires_grad_(False), ScaledMSE(), rows
