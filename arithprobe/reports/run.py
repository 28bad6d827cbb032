"""Reading of a run folder: the files of a fit and of the commands on its checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from arithprobe.behaviour import Behaviour
from arithprobe.data.sampling import DataRecipe
from arithprobe.errors import ArithprobeError
from arithprobe.files import read_text
from arithprobe.logic import FAILS, HOLDS
from arithprobe.models.checkpoints import LoadedModel, load_model
from arithprobe.reports.predictions import Answers, read_answers
from arithprobe.reports.provenance import read_provenance
from arithprobe.reports.records import Lines, Scalars, read_scalars, read_steps
from arithprobe.reports.verdicts import Judged, network_of, read_verdicts
from arithprobe.said.page_file import ENDING, StoredPage, read_page

_MARKS = ("config.yaml", "hparams.yaml", "metrics.csv", "behaviour.json")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # no stubs
    """Reads what Lightning writes into ``hparams.yaml``, tuples too."""


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", yaml.SafeLoader.construct_yaml_seq)


@dataclass(frozen=True)
class Run:
    """The content of a run folder."""

    folder: Path
    """Its folder, as named."""
    judged: dict[str, Judged]
    """``last`` and ``best`` of a fit, or ``validate`` or ``test``."""
    scalars: Scalars
    """Everything logged."""
    lines: dict[str, Lines]
    """What each live probe recorded, by name, a line a validation."""
    answers: Answers | None
    """Its answers; None where they were not kept."""
    config_text: str | None
    """``config.yaml``, or ``hparams.yaml`` of a fit from Python."""
    provenance: dict[str, Any] | None
    """``provenance.json``; None of a run without one."""
    pages: tuple[StoredPage, ...]
    """Page files in the folder: of the studies of its checkpoint, and of its live probes; the newest of each name."""

    parts: int = 2
    """How many parts of its folder tell it from the others on the page."""

    @property
    def name(self) -> str:
        """The last parts of its folder, ``reg_sum/version_0``."""
        return "/".join(self.folder.resolve().parts[-self.parts :])

    @property
    def doubt(self) -> Behaviour | None:
        """A verdict by which results are not, or may not be, about the task; None for a run that has learned."""
        every = [one.behaviour for one in self.judged.values()]
        doubtful = [one for one in every if one.state != HOLDS]
        return next((one for one in doubtful if one.state == FAILS), next(iter(doubtful), None))

    @property
    def warning(self) -> str:
        """The one-line warning above all sections except the answers; empty for a run that has learned.

        Live probes belong to the last moment, answers to the best.
        """
        if self.doubt is None:
            return ""
        name = next(name for name, one in self.judged.items() if one.behaviour is self.doubt)
        when = "" if self.behaviour.state != HOLDS else f" at the {name} validation"
        if self.doubt.state == FAILS:
            return f"NOT LEARNED{when}: what is shown here is not about the task."
        return f"Whether the model has learned the task{when} cannot be told: what is shown here may not be about it."

    @property
    def at_the_end(self) -> Behaviour:
        """The last verdict, for the weights that live probes saw last."""
        return self.judged["last"].behaviour if self.is_fit else self.behaviour

    @property
    def network(self) -> str | None:
        """The class of a network of your own; None for this library's network."""
        return network_of(self.judged)

    @property
    def is_foreign(self) -> bool:
        """Whether the run is of a network of your own."""
        return self.network is not None

    @property
    def is_fit(self) -> bool:
        """Whether the run is a fit rather than a pass of ``validate`` or ``test``."""
        return "last" in self.judged

    @property
    def behaviour(self) -> Behaviour:
        """The verdict at the head of the page: that of the best moment, which ``best.ckpt`` holds."""
        return (self.judged.get("best") or next(iter(self.judged.values()))).behaviour

    @property
    def moment(self) -> str:
        """The name of that moment."""
        return "best" if "best" in self.judged else next(iter(self.judged))

    @property
    def checkpoint(self) -> Path | None:
        """The best checkpoint, or the last, or the newest of those with other names; None if there is none."""
        kept = {path.stem: path for path in (self.folder / "checkpoints").glob("*.ckpt") if path.is_file()}
        newest = max(kept.values(), key=lambda path: path.stat().st_mtime, default=None)
        judged = Path(str(self.config.get("ckpt_path")))  # that of validate and test
        if not kept and not self.is_fit and judged.is_file():
            return judged
        return kept.get("best") or kept.get("last") or newest

    @cached_property
    def loaded(self) -> LoadedModel | None:
        """The model of that checkpoint; None without one, or for a network of your own, which no file can make."""
        return None if self.checkpoint is None or self.is_foreign else load_model(self.checkpoint)

    @property
    def task(self) -> str:
        """The task that it was trained on."""
        if self.answers is not None:
            return self.answers.dataset.task
        return str((self.provenance or {}).get("task", "unknown task"))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration as values; empty if there is none."""
        try:
            found = yaml.load(self.config_text or "", _Loader)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            where = self.folder / "config.yaml"
            raise ArithprobeError(f"{where}: is no YAML ({' '.join(str(error).split())}); delete it") from error
        return found if isinstance(found, dict) else {}

    @property
    def data_file(self) -> str:
        """The validation rows' file, for commands.

        Raises:
            ArithprobeError: If the configuration does not give it in any form that a fit accepts.
        """
        kept = (self.provenance or {}).get("data", {}).get("val", {}).get("path")
        data = self.config.get("data") or {}
        try:
            if self.moment == "test" and data.get("test_file"):
                return str(data["test_file"])
            if kept or data.get("val_file"):
                return str(kept or data["val_file"])
            recipe = DataRecipe(**data.get("recipe") or {})
            return str(Path(data.get("data_dir", "data")) / recipe.file_name("val"))
        except (AttributeError, TypeError) as error:
            where = self.folder / "config.yaml"
            raise ArithprobeError(f"{where}: its data are not as a fit takes them ({error}); delete it") from error


@contextmanager
def all_readable(folder: str | Path) -> Iterator[None]:
    """Within the block, a file that cannot be read is a user's mistake.

    Args:
        folder: The folder to name if the file is unknown.

    Raises:
        ArithprobeError: If one cannot.
    """
    try:
        yield
    except OSError as error:
        where = folder if error.filename is None else error.filename
        raise ArithprobeError(f"{where}: cannot be read: {error.strerror}") from error


def read_run(folder: str | Path) -> Run:
    """Read a run folder.

    Raises:
        ArithprobeError: If it is not a run folder, has no validation, or a file in it cannot be read.
    """
    with all_readable(folder):
        return _read(Path(folder))


def _read(folder: Path) -> Run:
    _require_run(folder)
    scalars = read_scalars(folder)
    judged = read_verdicts(folder / "behaviour.json", validated=any(tag.startswith("val/") for tag in scalars))
    config = next((path for path in (folder / "config.yaml", folder / "hparams.yaml") if path.is_file()), None)
    moment = "best" if "best" in judged else next(iter(judged))
    return Run(
        folder,
        judged,
        scalars,
        {path.stem: read_steps(path) for path in sorted(folder.glob("probes/*.jsonl"))},
        read_answers(folder, moment) if network_of(judged) is None else None,
        None if config is None else read_text(config),
        read_provenance(folder / "provenance.json"),
        _newest_pages(folder),
    )


def _newest_pages(folder: Path) -> tuple[StoredPage, ...]:
    paths = [path for depth in ("*", "*/*") for path in folder.glob(f"{depth}{ENDING}")]
    pages = [read_page(path) for path in sorted(paths, key=lambda path: path.stat().st_mtime)]
    return tuple({(page.live, page.said.name): page for page in pages}.values())


def _require_run(folder: Path) -> None:
    if not folder.is_dir():
        raise ArithprobeError(f"{folder}: is no folder; expected a run folder, lightning_logs/NAME/version_N")
    if any((folder / mark).is_file() for mark in _MARKS) or any(folder.glob("events.out.tfevents.*")):
        return
    inside = sorted(path.parent for mark in _MARKS for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{mark}"))
    meant = f"; did you mean {inside[-1]}?" if inside else ""
    raise ArithprobeError(
        f"{folder}: is no run folder, it has none of {', '.join(_MARKS)}; expected lightning_logs/NAME/version_N, "
        f"as 'arithprobe fit' writes it{meant}"
    )
