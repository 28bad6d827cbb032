"""The rows of a reproduction: the checks that they are fit for it, and the states of a model on them."""

from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.analysis.forward import check_rows, require_loaded, run_over
from arithprobe.analysis.reproduce.nonlinear import require_split
from arithprobe.analysis.reproduce.notebook import PROBE_ROWS, Examples
from arithprobe.analysis.reproduce.options import NotebookTask, ReproduceOptions
from arithprobe.attention.heads import HeadStatistics, HeadSums
from arithprobe.behaviour import Behaviour
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.models.network import require_heads
from arithprobe.probes.nonlinear import MOST_CLASSES
from arithprobe.probes.splits import fold_of
from arithprobe.problems.rows import Rows

_FOLDS, _LEAST_ROWS = 10, 2  # the finest split there is, and rows of each part
_LEAST_WIDTH = 8  # of a model, for one frequency in the notebook's Fourier curve


def require_notebook_rows(
    loaded: LoadedModel, dataset: Rows, options: ReproduceOptions
) -> tuple[ArithmeticDataset, NotebookTask]:
    """Refuse rows that would fail later, before any long work.

    Returns:
        The rows, and which of the notebook's tasks they are: that of the options, or else that of the rows.

    Raises:
        ArithprobeError: If the rows are of another task, of another length or too few, or the model is too narrow.
    """
    require_loaded(loaded, dataset)
    if not isinstance(dataset, ArithmeticDataset):
        raise ArithprobeError(f"{dataset.path}: the notebook's numbers are of an ArithmeticDataset")
    modulus, path = dataset.modulus, dataset.path
    task: NotebookTask = options.task or ("REG-SUM" if modulus is None else "REG-MODK")
    if task == "REG-MODK" and modulus is None:
        raise ArithprobeError(f"{path}: holds plain sums, whose k is unknown; --task REG-MODK needs (mod k) problems")
    if task == "REG-SUM" and modulus is not None:
        raise ArithprobeError(f"{path}: holds (mod {modulus}) problems; --task REG-SUM needs plain sums")
    check_rows(loaded, dataset)
    for name, key in (("sums", dataset.x + dataset.y), ("pairs", dataset.group("pair"))):
        rows = int(torch.bincount(fold_of(key[:PROBE_ROWS], _FOLDS), minlength=_FOLDS).min())
        if rows < _LEAST_ROWS:
            raise ArithprobeError(
                f"{path}: has {len(dataset)} rows; a tenth of its {name} has {rows}, expected {_LEAST_ROWS} or more"
            )
    if modulus is None:
        return dataset, task
    if loaded.model.d_model < _LEAST_WIDTH:
        width = loaded.model.d_model
        raise ArithprobeError(f"{loaded.path}: d_model is {width}; the Fourier curve needs {_LEAST_WIDTH} or more")
    require_split(dataset.answers.numpy(), path)
    if modulus > MOST_CLASSES and not options.no_mlp:
        raise ArithprobeError(
            f"{path}: k is {modulus}; the MLP probes tell up to {MOST_CLASSES} residues apart; pass --no_mlp true"
        )
    return dataset, task


class Examined(NamedTuple):
    """The results of one pass of a model over the rows."""

    examples: Examples
    """Its states; padded positions hold what PyTorch's evaluation fast path leaves there."""
    behaviour: Behaviour
    """Has it learned the task."""
    heads: HeadStatistics
    """What its attention heads look at."""


def examine(loaded: LoadedModel, dataset: ArithmeticDataset) -> Examined:
    """Run a model over the rows."""
    pooled, by_position, model = [], [], require_heads(loaded.model, "the notebook's numbers")
    sums = HeadSums.of(model, dataset)

    def observe(states: dict[str, Tensor], rows: Tensor) -> None:
        sums.update(model, states, rows)
        final, lengths = states["final"], dataset.lengths[rows]
        padding = torch.arange(final.shape[1]) >= lengths[:, None]
        pooled.append(final[torch.arange(len(final)), lengths - 1])
        by_position.append(torch.where(padding[..., None], model.last_norm(torch.zeros_like(final[0, 0])), final))

    behaviour = run_over(loaded, dataset, [observe]).behaviour
    columns = (torch.cat(pooled), torch.cat(by_position), dataset.lengths, dataset.x + dataset.y, dataset.answers)
    return Examined(Examples(*(column.numpy() for column in columns)), behaviour, sums.fit())
