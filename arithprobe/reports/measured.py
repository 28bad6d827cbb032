"""What studies and live probes have said of a run, from their page files."""

import math
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from arithprobe.models.checkpoints import weights_hash
from arithprobe.plotting.probe_curves import ProbeHistory, probe_curves
from arithprobe.probes.steps import after_steps
from arithprobe.reports.blocks import Block, Missing, drawing, stored_drawing
from arithprobe.reports.histories import cube_of, history
from arithprobe.reports.run import Run
from arithprobe.reports.section import Section
from arithprobe.reports.unmeasured import analysis_command
from arithprobe.said.content import CellMap, Chart, Content, Picture, Words
from arithprobe.said.page_file import StoredPage

_PLAIN = re.compile("[a-z][a-z0-9_]*")
_LAST_SITE = "final"
_TELLING = 4  # parts of a path, NAME/version_N/checkpoints/best.ckpt


def measured_sections(runs: Sequence[Run], own: Sequence[str]) -> list[tuple[int, Section]]:
    """A section for each name that a page file of any run has, with its rank; in their order.

    Args:
        runs: The runs.
        own: Anchors that are taken.
    """
    found: dict[tuple[bool, str], StoredPage] = {}
    for page in (page for run in runs for page in run.pages):
        found.setdefault((page.live, page.said.name), page)
    pages = sorted(found.values(), key=lambda page: (page.said.rank, page.said.name, page.live))
    titles = [page.said.title for page in pages]
    sections = []
    for page in pages:
        said = page.said
        doubled = page.live and titles.count(said.title) > 1
        title = f"{said.title}, while training" if doubled else said.title
        sections.append(
            (said.rank, Section(_anchor(page, own), title, said.shows, said.does_not_show, partial(_part, page)))
        )
    return sections


def _anchor(page: StoredPage, own: Sequence[str]) -> str:
    """The anchor of a page's section, which no other section has."""
    if page.live:
        return f"live-{page.said.name}"
    is_plain = _PLAIN.fullmatch(page.said.name) is not None and page.said.name not in own
    return page.said.name if is_plain else f"study-{page.said.name}"


def _part(like: StoredPage, run: Run) -> list[Block]:
    """What a run's page file of the same name says; or what makes one."""
    page = next((one for one in run.pages if (one.live, one.said.name) == (like.live, like.said.name)), None)
    if page is not None:
        return [
            *_early(run, page),
            *_foreign(run, page),
            *(block for one in page.said.blocks for block in _block(run, page, one)),
        ]
    if like.live:
        return [Missing(f"The live probe {like.said.name!r} did not watch this run.", "")]
    return [Missing("This run has no such result yet. The command below makes it.", analysis_command(run, like.study))]


def _block(run: Run, page: StoredPage, block: Content) -> Iterator[Block]:
    if isinstance(block, Picture):
        yield stored_drawing(page.picture(block.name), block)
    elif isinstance(block, CellMap):
        yield cube_of(run, page.said.name, block) or Missing(f"{block.caption}: the run recorded nothing for it.", "")
    elif not isinstance(block, Chart):
        yield block
    elif block.score:
        yield _curves(run, page.said.name, block)


def _curves(run: Run, name: str, chart: Chart) -> Block:
    found = history(run, name, chart)
    caption = f"{name} probe of {chart.target}"
    if found is None:
        return Missing(f"{caption}: the run logged no score that is a number. This happens when a model diverges.", "")
    return drawing(probe_curves(found, run.at_the_end), _curve_finding(found), caption)


def _curve_finding(one: ProbeHistory) -> str:
    at = one.sites.index(_LAST_SITE) if _LAST_SITE in one.sites else len(one.sites) - 1
    known = [step for step in range(len(one.steps)) if not math.isnan(one.score[step, at])]
    if not known:
        return f"The {one.analysis} probe of {one.target} has no score at {one.sites[at]}."
    first, last = known[0], known[-1]
    score, null = float(one.score[last, at]), float(one.null_high[last, at])
    compared = f"{'' if score > max(null, 0.0) else 'not '}above its null ({null:.3f})"  # below 0 nothing is read
    compared = "with no null to compare with" if math.isnan(null) else compared
    moved = "is" if first == last else f"goes from {float(one.score[first, at]):.3f} to"
    return (
        f"{one.metric} of {one.target} at {one.sites[at]} {moved} {score:.3f} "
        f"{after_steps(one.steps[last])}, {compared}."
    )


def _early(run: Run, page: StoredPage) -> list[Block]:
    """A note where a live probe did not look at the last validation of the fit."""
    looked, last = [line["step"] for line in run.lines.get(page.said.name, [])], run.judged.get("last")
    if not (page.live and run.is_fit and looked and last is not None and last.step is not None):
        return []
    if looked[-1] is None or looked[-1] >= last.step:
        return []
    when = f"The sentences below are of the validation {after_steps(looked[-1])}"
    return [Words(f"{when}. The fit ended {after_steps(last.step)}, and this probe did not look again.")]


def _foreign(run: Run, page: StoredPage) -> list[Block]:
    """A warning where a study is of other weights than those of the run's checkpoint."""
    measured, ours = page.said.checkpoint, run.checkpoint
    if page.live:
        return []
    if measured is None:
        return [Words("This result does not name the checkpoint it was measured on. It may be of another run.", "bad")]
    if page.said.weights is not None and run.loaded is not None:
        same = page.said.weights == weights_hash(run.loaded.model)
    else:  # paths as typed, from any folder: their ends are compared
        ends = Path(measured).parts[-_TELLING:]
        same = ours is not None and ours.resolve().parts[-len(ends) :] == ends
    return [] if same else [Words(f"This result is of {measured}, which is not this run's {ours}.", "bad")]
