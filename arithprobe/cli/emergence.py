"""``arithprobe emergence``: from which training step on each variable is readable, over runs."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from arithprobe.cli.options import command_parser, output_file, parse
from arithprobe.cli.output import picture_folder, print_files, replace_pictures
from arithprobe.errors import ArithprobeError
from arithprobe.files import from_record, to_json, write_whole
from arithprobe.logic import CANNOT_BE_TOLD, State

if TYPE_CHECKING:
    from arithprobe.behaviour import Behaviour
    from arithprobe.probes.emergence import Emergence
    from arithprobe.probes.emergence_runs import EmergenceOverRuns

_NAME, _PICTURE = "emergence.json", "emergence_runs"
_WIDTH, _RUN_WIDTH = 90, 9  # where there is no terminal to ask, and more for each run


class _Run(NamedTuple):
    """What one run left."""

    folder: str
    """As named on the command line."""
    task: str
    """Task that it was trained on, in words."""
    steps: list[int]
    """Training step of each validation."""
    own_beginning: bool
    """Whether it began with its first step, so that what it read before is known."""
    behaviour: "Behaviour | None"
    """Whether it has learned its task, at the last validation."""
    found: "list[Emergence]"
    """The emergence of each variable."""


def run(words: Sequence[str] | None) -> None:
    """Read the runs, print the table, write ``emergence.json`` and the figure.

    Raises:
        ArithprobeError: For any mistake of the user.
    """
    parser = command_parser(
        "emergence",
        "From which training step on each variable is readable, side by side for runs that were trained with the "
        "callback EmergenceProbing.",
    )
    parser.add_argument("--runs", type=str, nargs="+", help="Run folders, lightning_logs/NAME/version_N.")
    parser.add_argument("--output_dir", type=str, help="Folder of the results.")
    given = parse(parser, words, required=("runs", "output_dir"))
    path = output_file(given.output_dir, _NAME)
    figures = picture_folder(path.parent / "figures", _PICTURE)
    runs = _read_runs(given.runs, path)

    from arithprobe.plotting.emergence import emergence_runs  # imports PyTorch, which the options need not wait for
    from arithprobe.probes.emergence_runs import over_runs

    found = over_runs([one.found for one in runs])
    names = [f"run {number}" for number in range(1, len(runs) + 1)]
    picture = emergence_runs(found, [one.behaviour for one in runs], names)
    drawn = replace_pictures(figures, _PICTURE, {_PICTURE: picture})
    write_whole(path, to_json(_record(runs, found)) + "\n")
    _print(runs, names, found, [path, *drawn])


def _read_runs(folders: Sequence[str], output: Path) -> list[_Run]:
    """The runs, all of one task, each named once.

    Raises:
        ArithprobeError: If a folder has no record, one cannot be read, or they do not compare.
    """
    seen: set[Path] = set()
    for folder in folders:
        place = (Path(folder) / _NAME).resolve()
        if place in seen:
            raise ArithprobeError(f"{folder}: is named twice")
        if place == output.resolve():
            raise ArithprobeError(f"{folder}: is the output folder, and its {_NAME} would be overwritten")
        seen.add(place)
    runs = [_read_run(folder) for folder in folders]
    for one in runs:
        if one.task != runs[0].task:
            raise ArithprobeError(
                f"{one.folder}: was trained on {one.task!r}, {runs[0].folder} on {runs[0].task!r}; expected one task"
            )
    return runs


def _read_run(folder: str) -> _Run:
    from arithprobe.behaviour import Behaviour, Verdict
    from arithprobe.probes.emergence import IN_A_ROW, Emergence

    path = Path(folder) / _NAME
    if not path.is_file():
        raise ArithprobeError(f"{folder}: has no {_NAME}; train with the callback EmergenceProbing, for 3 validations")
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        behaviour = record["behaviour"]
        found = _Run(
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


def _record(runs: Sequence[_Run], found: "Sequence[EmergenceOverRuns]") -> dict[str, Any]:
    """All numbers; a step is null where the variable never emerged, or that cannot be told, which ``states`` says."""
    return {
        "verdicts": [None if one.behaviour is None else one.behaviour.verdict for one in runs],
        "task": runs[0].task,
        "runs": [
            {
                "folder": one.folder,
                "behaviour": None if one.behaviour is None else str(one.behaviour),
                "validations": len(one.steps),
                "last_step": one.steps[-1],
            }
            for one in runs
        ],
        "variables": [
            {
                "variable": one.variable,
                "emerged_in": one.count,
                "median": one.median,
                "earliest": one.known[0] if one.known else None,
                "latest": one.known[-1] if one.known else None,
                "steps": one.steps,
                "sites": one.sites,
                "states": one.states,
                "watched": [state is not None for state in one.states],
            }
            for one in found
        ],
    }


def _print(
    runs: Sequence[_Run], names: Sequence[str], found: "Sequence[EmergenceOverRuns]", files: Sequence[Path]
) -> None:
    """The verdict of each run, the table, and what never emerged."""
    from rich.box import SIMPLE
    from rich.table import Table

    from arithprobe.cli.verdict import console_of, print_verdict
    from arithprobe.probes.emergence import listed

    console = console_of(_WIDTH + _RUN_WIDTH * len(runs))
    for name, one in zip(names, runs, strict=True):
        when = f"{len(one.steps)} validations, the last after {one.steps[-1] + 1} steps"
        when += "" if one.own_beginning else f"; went on from a checkpoint: what emerged {CANNOT_BE_TOLD} from drift"
        console.print(f"{name}: {one.folder} ({when})", markup=False)
        if one.behaviour is None:
            console.print("behaviour unknown")
        else:
            print_verdict(console, one.behaviour)
    table = Table(title=f"{runs[0].task}: step from which on each variable is readable at the last token", box=SIMPLE)
    for heading in ("variable", *names, "median", "range", "site"):
        table.add_column(heading, justify="left" if heading in ("variable", "site") else "right", no_wrap=True)
    drawn = [one for one in found if one.count or CANNOT_BE_TOLD in one.states]
    for row in drawn:
        span = " to ".join(dict.fromkeys(_step(row.known[index]) for index in (0, -1) if row.known)) or "?"
        steps = map(_step, row.steps, row.states)
        table.add_row(row.variable, *steps, _step(row.median, row.states[0]), span, _sites(row.sites))
    if any(CANNOT_BE_TOLD in one.states for one in drawn):
        table.caption = f"?: {CANNOT_BE_TOLD} from drift, which the run did not compare with, or not to its end"
    console.print(table)
    never = listed([one.variable for one in found if one not in drawn and not one.of_any_frequency])
    if never:
        console.print(f"in no run: {', '.join(never)}", markup=False)
    print_files(console, files)


def _step(step: float, state: State | None = None) -> str:
    if math.isnan(step):
        return "-" if state is None else "?"
    return "never" if math.isinf(step) else f"{step + 1:g}"


def _sites(sites: Sequence[str | None]) -> str:
    counts = Counter(site for site in sites if site is not None).most_common()
    return ", ".join(site if count == 1 and len(counts) == 1 else f"{site} ({count})" for site, count in counts)
