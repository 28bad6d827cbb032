"""The outputs of a live probe: lines, records and the page file of its run, and pictures."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from arithprobe.callbacks.board_logger import BoardLogger, grouped
from arithprobe.callbacks.loggers import log_image, takes_images
from arithprobe.errors import ArithprobeError
from arithprobe.files import to_json, write_whole
from arithprobe.models.fidelity import fidelity_record
from arithprobe.plotting.render import thumbnail, to_png, to_rgb, to_svg
from arithprobe.probes.steps import after_steps
from arithprobe.said.content import Picture, Said
from arithprobe.said.folder import FILES_OF_THE_RUN
from arithprobe.said.page_file import ENDING, page_record
from arithprobe.training.probed import ProbedModule


def gate(module: ProbedModule, seconds: Mapping[str, float]) -> dict[str, Any]:
    """The start of every record of a live probe: the behaviour, and whether the network keeps its promises.

    Args:
        module: The module, after its behaviour was judged.
        seconds: Wall time spent so far, by part.
    """
    behaviour = module.behaviour
    return {
        "verdict": behaviour.verdict if behaviour else None,
        "skill": behaviour.skill if behaviour else None,
        "seconds": seconds,
    } | fidelity_record(module.fidelity)


def lines_of(said: Said | None, step: int | None = None) -> list[str]:
    """Return the findings in words, one line each; none where nothing was said.

    Args:
        said: The findings.
        step: Their logged step, to be named; None where it goes without saying.
    """
    when = "" if step is None else f" ({after_steps(step)})"
    return [] if said is None else [line + when for line in said.lines]


def named(said: Said, name: str, default: str) -> Said:
    """Return the findings under a live probe's name; a name other than the default of its class is in the title too."""
    return replace(said, name=name, title=said.title if name == default else f"{said.title} ({name})")


def without_pictures(said: Said) -> Said:
    """Return the findings without their pictures."""
    return replace(said, blocks=tuple(block for block in said.blocks if not isinstance(block, Picture)))


def add_line(folder: Path, name: str, line: Mapping[str, Any]) -> None:
    """Add a line to ``probes/<name>.jsonl``."""
    path = folder / "probes" / f"{name}.jsonl"
    earlier = path.read_text() if path.exists() else ""
    write_whole(path, f"{earlier}{to_json(line)}\n")


def write_run(folder: Path, said: Said, speaker: type[object], before: Mapping[str, Any]) -> None:
    """Write the files of the whole run so far: the records and the page file.

    Args:
        folder: The folder of the run.
        said: The findings.
        speaker: The class of the live probe.
        before: The start of every record.

    Raises:
        ArithprobeError: If a record has the name of another file of the run, or the page file could not be read again.
    """
    page = to_json(page_record(said, f"{speaker.__module__}.{speaker.__qualname__}", live=True)) + "\n"
    for name in said.records:
        if name in FILES_OF_THE_RUN:
            raise ArithprobeError(f"{said.name}: {name}.json is another file of the run; expected a record's own name")
    for name, record in said.records.items():
        write_whole(folder / f"{name}.json", f"{to_json({**before, **record})}\n")
    write_whole(folder / "probes" / f"{said.name}{ENDING}", page)


def show_pictures(trainer: Trainer, folder: Path | None, said: Said, step: int | None) -> None:
    """Give every picture to every logger that takes images, and to ``figures/`` as PNG and SVG."""
    loggers = [logger for logger in trainer.loggers if takes_images(logger)]
    for picture in said.pictures if loggers or folder is not None else ():
        figure = picture.draw()
        image = to_rgb(figure)
        for logger in loggers:
            name = f"{picture.name}/{picture.caption}"
            if isinstance(logger, BoardLogger):
                judged = "" if said.behaviour is None else f"{said.behaviour.verdict}. "
                log_image(logger, grouped(name, said.rank), thumbnail(image, f"{judged}{picture.finding}"), step or 0)
            else:
                log_image(logger, name, image, step or 0)
        if folder is not None:
            path = folder / "figures" / picture.name
            write_whole(f"{path}.png", to_png(image))
            write_whole(f"{path}.svg", to_svg(figure))
