"""The page: sections of one or more runs, put into the template."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from arithprobe.analysis.progress import Progress
from arithprobe.analysis.provenance import versions
from arithprobe.errors import ArithprobeError
from arithprobe.plotting.colours import colour_scale
from arithprobe.plotting.r2 import HIGHEST, SCALE, place, r2_at
from arithprobe.reports import answer_sections, origin_sections
from arithprobe.reports.blocks import Cube, Drawing
from arithprobe.reports.measured import measured_sections
from arithprobe.reports.run import Run, all_readable, read_run
from arithprobe.reports.section import Section
from arithprobe.reports.unmeasured import unmeasured
from arithprobe.reports.vector import with_own_ids

_EARLY = 20  # sections of a smaller rank stand before what the model itself did
GATE = Section(
    "gate",
    "Has it learned the task?",
    "The model's own answers, compared with the best constant, in the units of the answers.",
    "How the model gets them.",
    answer_sections.gate,
)
BEHAVIOUR = (
    Section(
        "training",
        "Training curves",
        "When the answers became right.",
        "What changed inside the model. A loss can fall because the model learns the mean.",
        answer_sections.training,
    ),
    Section(
        "answers",
        "Answers",
        "How near the answers are to the right ones, and where they are wrong.",
        "Whether the model computed or remembered the right answers. The last section says which rows the parts share.",
        answer_sections.answers,
    ),
    Section(
        "invariance",
        "Invariance under (x + d, y - d)",
        "Whether problems with the same answer get the same answer. This page asked the checkpoint.",
        "Anything about rows out of range. The curve of all rows has numbers that the model never saw.",
        answer_sections.unchanged,
    ),
)
ORIGIN = Section(
    "origin",
    "Where it comes from",
    "The configuration, versions and hashes of the run, and the commands that repeat it.",
    "Results that lie outside the run folder.",
    origin_sections.origin,
)
_MISSING = "unmeasured"
_SCRIPTS = ("report", "maps", "tips", "tables")
_LOWEST, _HIGHEST = 0, HIGHEST  # of the colours of maps, on the scale of the pictures
_STOPS = [round(float(at), 6) for at in r2_at(np.linspace(place(_LOWEST), place(_HIGHEST), 65)[:-1])]
_OF_NO_PROBE = (GATE.name, ORIGIN.name, _MISSING)


def sections_of(runs: Sequence[Run]) -> list[Section]:
    """The sections of a page, in order: the page's own, and one for each name among the runs' page files.

    Args:
        runs: What is on the page.
    """
    own = [section.name for section in (GATE, *BEHAVIOUR, ORIGIN)]
    found = measured_sections(runs, [*own, _MISSING])
    missing = Section(
        _MISSING,
        "Not measured",
        "The studies that nobody has run on this checkpoint, and the commands that run them.",
        "Anything about the model.",
        partial(unmeasured, shown={page.study for run in runs for page in run.pages}),
    )
    return [
        GATE,
        *(section for rank, section in found if rank < _EARLY),
        *BEHAVIOUR,
        *(section for rank, section in found if rank >= _EARLY),
        *([missing] if any(map(missing.of, runs)) else []),
        ORIGIN,
    ]


def report(folders: str | Path | Sequence[str | Path]) -> str:
    """Make one self-contained HTML page about runs; several runs are shown side by side.

    Args:
        folders: One or more run folders, ``lightning_logs/NAME/version_N``.

    Returns:
        The content of the file.

    Raises:
        ArithprobeError: If there is no run, one is named twice, a folder is not a run or has no validation, or a file
            cannot be read.
    """
    return page_of(read_runs([folders] if isinstance(folders, (str, Path)) else folders))


def read_runs(folders: Sequence[str | Path]) -> list[Run]:
    """Read the runs of a page.

    Raises:
        ArithprobeError: As :func:`report`.
    """
    places = [Path(folder).resolve() for folder in folders]
    if not places:
        raise ArithprobeError("no run folder was named; expected lightning_logs/NAME/version_N")
    for named, folder in zip(places, folders, strict=True):
        if places.count(named) > 1:
            raise ArithprobeError(f"{folder}: is named twice")
    runs = [read_run(folder) for folder in folders]
    while len({run.name for run in runs}) < len(runs):
        runs = [replace(run, parts=run.parts + 1) for run in runs]
    return runs


def page_of(runs: Sequence[Run], progress: Progress | Callable[[str], object] | None = None) -> str:
    """Make the page.

    Args:
        runs: The runs on it, from left to right.
        progress: Is told of each section as it starts.

    Raises:
        ArithprobeError: If a file that a section needs cannot be read.
    """
    progress = Progress.by_name(progress)
    with all_readable(runs[0].folder):
        sections = sections_of(runs)
    progress.expect(len(sections))
    parts = []
    for section in progress.over(sections, lambda section: section.title):
        with all_readable(runs[0].folder):
            parts.append({"section": section, "parts": [section.of(run) for run in runs]})
    environment = Environment(
        loader=PackageLoader("arithprobe.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["own_ids"] = _numbered()
    environment.filters |= {"json": _json, "score": _score, "cube_data": _cube_data}
    script = "".join(environment.get_template(f"{name}.js").render() for name in _SCRIPTS)
    page = environment.get_template("report.html").render(
        runs=runs,
        sections=parts,
        of_no_probe=_OF_NO_PROBE,
        tasks=sorted({run.task for run in runs}),
        colours=colour_scale(len(_STOPS)),
        stops=_STOPS,
        lowest=_LOWEST,
        highest=_HIGHEST,
        scale=SCALE.replace("R2", "score"),
        script=Markup(script),
        script_hash=_hash(script),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=versions()["arithprobe"],
    )
    return page.encode("utf-8", "backslashreplace").decode()  # JSON and file names can hold what UTF-8 cannot


def _numbered() -> Callable[[Drawing], Markup]:
    """A filter that gives each picture ids of its own, from its place on the page."""
    count = 0

    def own_ids(picture: Drawing) -> Markup:
        nonlocal count
        count += 1
        return Markup(with_own_ids(picture.markup, f"p{count}"))

    return own_ids


def _json(value: Any) -> Markup:
    """Data for a script, which nothing in it can end."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


def _hash(script: str) -> str:
    """What the page's Content Security Policy lets run: this script, and nothing that came with a name or a picture."""
    return f"sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}"


def _cube_data(cube: Cube) -> Markup:
    """What the script knows of a map."""
    names = ("steps", "sites", "columns", "values", "beaten", "nulls", "counts", "across", "marked")
    return _json({name: getattr(cube, name) for name in names} | {"score": cube.score_name})


def _score(value: float | None) -> str:
    """A score in few letters that tell 0.982 from 0.9995, as the script writes it.

    >>> [_score(value) for value in (0.982, 0.99951, 0.99999, 0.5, 0.0004, -0.02, -3.14, -70, None)]
    ['.982', '.9995', '1', '.500', '0', '-.020', '-3.1', '<-10', '-']
    """
    if value is None:
        return "-"
    if value < -9.95:
        return "<-10"
    if value <= -0.9995:
        return f"{value:.1f}"
    text = f"{value:.{4 if value >= 0.9995 else 3}f}"
    return "0" if float(text) == 0 else "1" if float(text) == 1 else text.replace("0.", ".", 1)
