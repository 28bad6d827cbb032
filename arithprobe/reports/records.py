"""Files of a run as Python values; what cannot be read is said in one line, with what to do."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arithprobe.errors import ArithprobeError
from arithprobe.files import read_text
from arithprobe.probes.tags import metric_of

Scalars = dict[str, list[tuple[int, float]]]
"""Step and value of everything logged, by tag."""


Lines = list[dict[str, Any]]
"""What a live probe recorded, a line a validation."""


def read_steps(path: Path) -> Lines:
    """What a live probe recorded during the fit; of a folder without a fit, whenever it did.

    Raises:
        ArithprobeError: Naming the line that is not whole, or says nothing of its step.
    """
    found = list(_lines(path))
    for number, line in enumerate(found, start=1):
        if type(line.get("step", "")) not in (int, type(None)):
            raise ArithprobeError(f"{path}:{number}: has no step; delete this line, or fit again")
    fitted = [line for line in found if line.get("stage", "fit") == "fit"]
    return fitted or found  # a validation after the fit, in its folder, is no part of the curves


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ArithprobeError(
                f"{path}:{number}: is no whole JSON ({error}); delete this line, or the file, or fit again"
            ) from error
        if not isinstance(record, dict):
            raise ArithprobeError(f"{path}:{number}: expected an object, got {type(record).__name__}; delete this line")
        yield record


def read_scalars(folder: Path) -> Scalars:
    """Everything a run logged: from ``metrics.csv``, or without one from TensorBoard's events.

    Raises:
        ArithprobeError: If the table has no steps, or a number in it is none.
    """
    path = folder / "metrics.csv"
    return _of_table(path) if path.is_file() else _of_events(folder)


def _of_table(path: Path) -> Scalars:
    found: Scalars = {}
    rows = csv.DictReader(read_text(path).splitlines())
    try:
        for row in rows:
            step = int(float(row["step"]))
            for tag, value in row.items():
                if value and tag not in ("step", "epoch"):
                    found.setdefault(tag, []).append((step, float(value)))
    except (KeyError, TypeError, ValueError, OverflowError, csv.Error) as error:
        raise ArithprobeError(
            f"{path}:{rows.line_num}: expected a step, and numbers in columns that are not empty; delete this line"
        ) from error
    return found


def _of_events(folder: Path) -> Scalars:
    if not any(folder.glob("events.out.tfevents.*")):
        return {}
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag not in ("epoch", "step", "hp_metric")]
    return {metric_of(tag): [(one.step, one.value) for one in events.Scalars(tag)] for tag in tags}
