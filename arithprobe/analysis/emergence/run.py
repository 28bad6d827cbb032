"""Emergence over runs: the results of ``EmergenceProbing`` from several run folders, side by side."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

from arithprobe.behaviour import Behaviour, Verdict
from arithprobe.errors import ArithprobeError
from arithprobe.files import from_record
from arithprobe.probes.emergence import IN_A_ROW, Emergence
from arithprobe.probes.emergence_runs import EmergenceOverRuns, over_runs
from arithprobe.said.content import Said
from arithprobe.said.notebook import Score, Spoken

RECORD = "emergence"
"""Name of the file, without its ending, that a run has, and that the comparison writes."""


class EmergedRun(NamedTuple):
    """The emergence results of one run."""

    folder: str
    """Path of the run folder, as named."""
    task: str
    """Task it was trained on."""
    steps: list[int]
    """Training steps of its validations."""
    own_beginning: bool
    """Whether it began with its first step, so that what it read before is known."""
    behaviour: Behaviour | None
    """Whether it has learned its task, at the last validation; None where nobody judged."""
    found: list[Emergence]
    """The emergence of each variable."""


@dataclass(frozen=True, repr=False)
class EmergenceComparison(Spoken):
    """Several runs of one task side by side."""

    runs: tuple[EmergedRun, ...]
    """R runs, in the order named."""
    found: tuple[EmergenceOverRuns, ...]
    """Each variable, the earliest first."""

    @property
    def said(self) -> Said:
        """The findings: the verdict of each run, the table of steps, and the variables that never emerged."""
        from arithprobe.analysis.emergence.said import said_of

        return said_of(self)

    def scores(self) -> Iterator[Score]:
        """The step at which each variable emerged, by run."""
        for one in self.found:
            for run, site, step in zip(self.runs, one.sites, one.steps, strict=True):
                if step is not None:
                    yield Score(site or "", "last", one.variable, f"step in {run.folder}", float(step))


def compare_runs(folders: Sequence[str]) -> EmergenceComparison:
    """Compare runs of one task, each named once.

    Args:
        folders: Run folders, ``lightning_logs/NAME/version_N``.

    Raises:
        ArithprobeError: If a folder has no record, a record cannot be read, or the runs cannot be compared.
    """
    places = [(Path(folder) / f"{RECORD}.json").resolve() for folder in folders]
    for place, folder in zip(places, folders, strict=True):
        if places.count(place) > 1:
            raise ArithprobeError(f"{folder}: is named twice")
    runs = [_read_run(folder) for folder in folders]
    for one in runs:
        if one.task != runs[0].task:
            raise ArithprobeError(
                f"{one.folder}: was trained on {one.task!r}, {runs[0].folder} on {runs[0].task!r}; expected one task"
            )
    return EmergenceComparison(tuple(runs), tuple(over_runs([one.found for one in runs])))


def _read_run(folder: str) -> EmergedRun:
    path = Path(folder) / f"{RECORD}.json"
    if not path.is_file():
        raise ArithprobeError(
            f"{folder}: has no {path.name}; train with the callback EmergenceProbing, for {IN_A_ROW} validations"
        )
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        behaviour = record["behaviour"]
        found = EmergedRun(
            folder,
            str(record["task"]),
            list(record["steps"]),
            bool(record["own_beginning"]),
            None if behaviour is None else from_record(behaviour, Behaviour),
            [from_record({key: one[key] for key in one if key != "state"}, Emergence) for one in record["variables"]],
        )
        if found.behaviour is not None and found.behaviour.verdict not in get_args(Verdict):
            raise ValueError(f"verdict {found.behaviour.verdict}")
        emerged = [one.step for one in found.found if one.step is not None]
        if not all(type(step) is int and step >= 0 for step in [*found.steps, *emerged]):
            raise ValueError("a step that is no number of steps")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArithprobeError(f"{path}: cannot be read as what EmergenceProbing writes: {error!r}") from error
    if len(found.steps) < IN_A_ROW:
        raise ArithprobeError(f"{folder}: has {len(found.steps)} of the {IN_A_ROW} validations that it takes to emerge")
    return found
