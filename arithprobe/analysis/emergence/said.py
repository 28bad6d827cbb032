"""What a comparison of runs says: when each variable became readable."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from arithprobe.analysis.emergence.run import RECORD, EmergedRun, EmergenceComparison
from arithprobe.logic import CANNOT_BE_TOLD, State
from arithprobe.plotting.emergence import emergence_runs
from arithprobe.probes.emergence import listed
from arithprobe.said.content import Column, Content, Picture, Said, Table, Words


def said_of(comparison: EmergenceComparison) -> Said:
    """The verdict of each run, the table of steps, and what never emerged.

    Args:
        comparison: The runs.
    """
    runs, found = comparison.runs, comparison.found
    names = [f"run {number}" for number in range(1, len(runs) + 1)]
    shown = [one for one in found if one.count or CANNOT_BE_TOLD in one.states]
    rows = [
        (
            one.variable,
            *map(_step, one.steps, one.states),
            _step(one.median, one.states[0]),
            " to ".join(dict.fromkeys(_step(one.known[index]) for index in (0, -1) if one.known)) or "?",
            _sites(one.sites),
        )
        for one in shown
    ]
    untold = any(CANNOT_BE_TOLD in one.states for one in shown)
    note = f"?: {CANNOT_BE_TOLD} from drift, because the run did not compare with drift, or not to its end"
    table = Table(
        f"{runs[0].task}: the training step from which each variable is readable at the last token",
        tuple(Column(name, is_text=name in ("variable", "site")) for name in ("variable", *names, *_COLUMNS)),
        tuple(rows),
        (note,) if untold else (),
    )
    picture = Picture(
        "emergence_runs",
        lambda: emergence_runs(found, [one.behaviour for one in runs], names),
        f"{len(shown)} variables became readable in one run or more.",
        "Step from which each variable is readable, by run",
        "Causes. The model need not use what emerges first.",
    )
    never = listed([one.variable for one in found if one not in shown and not one.of_any_frequency])
    blocks: list[Content] = [_verdict(name, one) for name, one in zip(names, runs, strict=True)]
    warnings = dict.fromkeys(one.behaviour.warning for one in runs if one.behaviour is not None)
    blocks += [Words(one, "bad") for one in warnings if one]
    blocks += [table, *([Words(f"in no run: {', '.join(never)}")] if never else []), picture]
    return Said(
        name=RECORD,
        title="Emergence over runs",
        behaviour=None,
        blocks=tuple(blocks),
        records={RECORD: _record(comparison)},
        shows="The validation from which each variable is readable, above untrained networks and drift.",
        does_not_show="Causes. The model need not use what emerges first.",
    )


_COLUMNS = ("median", "range", "site")


def _verdict(name: str, run: EmergedRun) -> Words:
    when = f"{len(run.steps)} validations, the last after {run.steps[-1] + 1} steps"
    when += "" if run.own_beginning else f"; went on from a checkpoint: what emerged {CANNOT_BE_TOLD} from drift"
    judged = "behaviour unknown" if run.behaviour is None else f"{run.behaviour}"
    bad = run.behaviour is None or run.behaviour.verdict == "NOT LEARNED"
    return Words(f"{name}: {run.folder} ({when})\n{judged}", "bad" if bad else "plain")


def _record(comparison: EmergenceComparison) -> dict[str, Any]:
    """All numbers; a step is null where the variable never emerged, or that cannot be told, which ``states`` says."""
    runs = comparison.runs
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
            for one in comparison.found
        ],
    }


def _step(step: float, state: State | None = None) -> str:
    if math.isnan(step):
        return "-" if state is None else "?"
    return "never" if math.isinf(step) else f"{step + 1:g}"


def _sites(sites: Sequence[str | None]) -> str:
    counts = Counter(site for site in sites if site is not None).most_common()
    return ", ".join(site if count == 1 and len(counts) == 1 else f"{site} ({count})" for site, count in counts)
