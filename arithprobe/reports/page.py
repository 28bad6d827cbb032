"""The page: sections of one or more runs, put into the template."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from arithprobe.analysis.provenance import versions
from arithprobe.errors import ArithprobeError
from arithprobe.plotting.colours import colour_scale
from arithprobe.reports import answer_sections, causal_sections, origin_sections, probe_sections
from arithprobe.reports.blocks import Block, Picture, Words, with_own_ids
from arithprobe.reports.run import Run, read_run

Progress = Callable[[str], None]


class Section(NamedTuple):
    """A section of the page."""

    name: str
    """Its anchor."""
    title: str
    """Its heading."""
    shows: str
    """What it can tell."""
    not_shown: str
    """What it cannot."""
    of: Callable[[Run], list[Block]]
    """What stands there for a run."""


SECTIONS = (
    Section(
        "gate",
        "Has it learned the task?",
        "The model's own answers against the best constant, in the units of the answers.",
        "How it gets them.",
        answer_sections.gate,
    ),
    Section(
        "ladder",
        "How far the evidence reaches",
        "For each claimed variable the highest rung that holds with all below it, and what stops the next.",
        "Variables that nobody claimed.",
        probe_sections.ladder,
    ),
    Section(
        "training",
        "Training curves",
        "When the answers became right.",
        "What changed inside; a falling loss can be the mean being learned.",
        answer_sections.training,
    ),
    Section(
        "answers",
        "Answers",
        "How near the answers are, and where they are off.",
        "Whether the right answers were computed or remembered: see the split below.",
        answer_sections.answers,
    ),
    Section(
        "invariance",
        "Invariance under (x + d, y - d)",
        "Whether problems with the same answer get the same answer. Computed for this page, from the checkpoint.",
        "Anything, for rows out of range: the notebook's curve holds numbers the model never saw.",
        answer_sections.unchanged,
    ),
    Section(
        "curves",
        "Probes over training",
        "What a linear (or MLP) probe reads at the last token, on sums it was not fitted on, above permuted labels.",
        "Use. An untrained network can score as high; see the ladder.",
        probe_sections.over_training,
    ),
    Section(
        "maps",
        "Where it is readable",
        "Held-out R2 by site and position, at every validation.",
        "Use; and struck-out cells are not above permuted labels.",
        probe_sections.maps,
    ),
    Section(
        "fourier",
        "Frequencies",
        "Held-out R2 of cosine and sine of each frequency, by site.",
        "That the model turns on that circle: that takes ablation and steering.",
        probe_sections.fourier,
    ),
    Section(
        "emergence",
        "Emergence",
        "From which validation on each variable is readable, three times in a row, above untrained networks and drift.",
        "Causes: what emerges first need not be used.",
        probe_sections.emergence,
    ),
    Section(
        "interventions",
        "Ablation and steering",
        "What the model's own answers lose without what is readable, and how they follow when it is moved.",
        "That nothing else would do: compare the random subspaces.",
        causal_sections.interventions,
    ),
    Section(
        "heads",
        "Attention heads",
        "What the heads look at from the last token, and what the answers lose without each.",
        "Attention is no explanation: heads that look at the operands need not matter.",
        causal_sections.heads,
    ),
    Section(
        "reproduction",
        "The notebook's table",
        "The original notebook's numbers for this checkpoint.",
        "What they were taken for, unless the value held out says the same.",
        causal_sections.reproduction,
    ),
    Section(
        "origin",
        "Where it comes from",
        "Configuration, versions, hashes, and the commands that make it again.",
        "Results of commands that were run outside of the folder.",
        origin_sections.origin,
    ),
)


def report(folders: str | Path | Sequence[str | Path]) -> str:
    """One HTML page about runs, several of them side by side; it needs nothing but itself.

    Args:
        folders: Run folders, ``lightning_logs/NAME/version_N``, or one.

    Returns:
        The content of the file.

    Raises:
        ArithprobeError: If there is no run, one is named twice, a folder is no run or has no validation, or a file
            cannot be read.
    """
    return page_of(read_runs([folders] if isinstance(folders, (str, Path)) else folders))


def read_runs(folders: Sequence[str | Path]) -> list[Run]:
    """The runs of a page.

    Raises:
        ArithprobeError: As :func:`report`.
    """
    places = [Path(folder).resolve() for folder in folders]
    if not places:
        raise ArithprobeError("no run folder was named; expected lightning_logs/NAME/version_N")
    for place, folder in zip(places, folders, strict=True):
        if places.count(place) > 1:
            raise ArithprobeError(f"{folder}: is named twice")
    runs = [read_run(folder) for folder in folders]
    while len({run.name for run in runs}) < len(runs):
        runs = [replace(run, parts=run.parts + 1) for run in runs]
    return runs


def page_of(runs: Sequence[Run], progress: Progress = lambda step: None) -> str:
    """The page.

    Args:
        runs: What is on it, from left to right.
        progress: Told the name of each section as it starts.

    Raises:
        ArithprobeError: If a file that a section needs cannot be read.
    """
    sections = []
    for section in SECTIONS:
        progress(section.title)
        sections.append({"section": section, "parts": [_part(run, section) for run in runs]})
    environment = Environment(
        loader=PackageLoader("arithprobe.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["own_ids"] = _numbered()
    environment.filters["json"] = _json
    page = environment.get_template("report.html").render(
        runs=runs,
        sections=sections,
        tasks=sorted({run.task for run in runs}),
        colours=colour_scale(64),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=versions()["arithprobe"],
    )
    return page.encode("utf-8", "backslashreplace").decode()  # JSON and file names can hold what UTF-8 cannot


def step_count() -> int:
    """How often :func:`page_of` reports progress."""
    return len(SECTIONS)


def _part(run: Run, section: Section) -> list[Block]:
    """What a section says of a run; where a record has another form, that."""
    try:
        return section.of(run)
    except ArithprobeError:
        raise
    except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        return [
            Words(
                f"A record of {run.folder} has not the form that this section needs ({error!r}). It was written by "
                "another version, or edited: fit or measure again.",
                bad=True,
            )
        ]


def _numbered() -> Callable[[Picture], Markup]:
    """A filter that gives each picture ids of its own, from its place on the page."""
    count = 0

    def own_ids(picture: Picture) -> Markup:
        nonlocal count
        count += 1
        return Markup(with_own_ids(picture.markup, f"p{count}"))

    return own_ids


def _json(value: Any) -> Markup:
    """Data for a script, which nothing in it can end."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))
