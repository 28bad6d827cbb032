"""What a run answered on its validation rows, as ``predictions.tsv`` keeps it."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.tsv import parse_tsv
from arithprobe.errors import ArithprobeError
from arithprobe.files import read_text


class Answers(NamedTuple):
    """What a run answered on its validation rows."""

    moment: str
    """``best``, ``last``, or the one pass of ``validate`` or ``test``."""
    dataset: ArithmeticDataset
    """The N rows."""
    predictions: Tensor
    """(N,) float64 in answer units; NaN where a row was not reached."""


def read_answers(folder: Path, moment: str) -> Answers | None:
    """The answers of a moment; None where they were not kept.

    Raises:
        ArithprobeError: If the file is damaged.
    """
    path = folder / "predictions.tsv"
    if not path.is_file():
        return None
    heading, *rows = read_text(path).splitlines() or [""]
    names = heading.split("\t")
    column = names.index(moment) if moment in names else len(names) - 1
    cells = [row.split("\t") for row in rows]
    if not rows or len(names) < 3 or any(len(row) != len(names) for row in cells):
        raise ArithprobeError(
            f"{path}: expected rows of {len(names)} columns, problem, answer and predictions; delete it"
        )
    try:
        predictions = [float(row[column]) if row[column] else float("nan") for row in cells]
    except ValueError as error:
        raise ArithprobeError(f"{path}: a prediction is no number ({error}); delete the file") from error
    problems = "\n".join("\t".join(row[:2]) for row in cells) + "\n"
    dataset = ArithmeticDataset(parse_tsv(problems.encode(), path))
    return Answers(moment, dataset, torch.tensor(predictions, dtype=torch.float64))
