"""What nobody has measured of a run, and the commands that do."""

import shlex
from collections.abc import Collection, Iterator
from pathlib import Path

from arithprobe.analysis.study import STUDIES, study_of
from arithprobe.reports.blocks import Block, Missing
from arithprobe.reports.run import Run

_IN_PYTHON = {
    "probe": "probe(load_model({!r}, network=...), rows)",
    "intervene": "intervene(load_model({!r}, network=...), rows)",
    "heads": "analyse_heads(load_model({!r}, network=...), rows)  # of a HeadedNetwork",
}
_EARLIER = {
    "probe": ("ladder", "probe"),
    "intervene": ("ledger", "intervene"),
    "heads": ("head_stats",),
    "reproduce": ("reproduction",),
}  # files that earlier versions wrote without a page file


def unmeasured(run: Run, shown: Collection[str]) -> list[Block]:
    """The house's studies that nobody has run on this run's checkpoint, and what earlier versions left.

    Args:
        run: The run.
        shown: Studies that have a section on this page, by the full names of their classes.
    """
    return [*_live(run), *_studies(run, shown)]


def _live(run: Run) -> Iterator[Missing]:
    paged = {page.said.name for page in run.pages if page.live}
    bare = [f"probes/{name}.jsonl" for name in run.lines if name not in paged]
    if bare:
        text = f"{' and '.join(bare)}: an earlier version wrote this without a page file. Fit again to see it here."
        yield Missing(text, "")
    elif run.is_fit and not paged:
        yield Missing("No live probe watched this fit. Add callbacks such as RidgeProbing and EmergenceProbing.", "")


def _studies(run: Run, shown: Collection[str]) -> Iterator[Missing]:
    own = {page.study for page in run.pages}
    for name, path in STUDIES.items():
        full = path.replace(":", ".")
        left = [one for record in _EARLIER.get(name, ()) if (one := _newest(run.folder, f"{record}.json")) is not None]
        if left and full not in own:
            files = " and ".join(str(one.relative_to(run.folder)) for one in left)
            text = f"{files}: an earlier version wrote this without a page file. Run the command again to see it here."
            yield Missing(text, analysis_command(run, full))
        elif full not in shown:
            yield Missing(f"Nobody has run '{name}' yet: {study_of(path).summary}.", analysis_command(run, full))


def _newest(folder: Path, name: str) -> Path | None:
    found = [*folder.glob(name), *folder.glob(f"*/{name}")]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def analysis_command(run: Run, study: str) -> str:
    """The command that makes a result inside of the run folder, where the next report finds it.

    Of a network of one's own, what to write in Python: no command can make that network.

    Args:
        run: The run.
        study: Full name of the study's class.
    """
    ours = {path.replace(":", "."): name for name, path in STUDIES.items()}
    command = ours.get(study, ":".join(study.rsplit(".", 1)))
    if run.is_foreign:
        return _IN_PYTHON.get(command, "").format(str(run.checkpoint or "best.ckpt"))
    words = (
        "arithprobe",
        command,
        *("--checkpoint", str(run.checkpoint or run.folder / "checkpoints" / "best.ckpt")),
        *("--data", run.data_file),
        *("--output_dir", str(run.folder / command.rpartition(":")[2])),
    )
    return shlex.join(words)
