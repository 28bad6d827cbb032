"""A run folder, read: what a fit and the commands on its checkpoint left there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml

from arithprobe.behaviour import Behaviour, Verdict
from arithprobe.data.sampling import DataRecipe
from arithprobe.errors import ArithprobeError
from arithprobe.files import from_record, read_object, read_text
from arithprobe.models.checkpoints import LoadedModel, load_model
from arithprobe.reports.predictions import Answers, read_answers
from arithprobe.reports.records import Scalars, read_lines, read_scalars

_MARKS = ("config.yaml", "hparams.yaml", "metrics.csv", "behaviour.json")
_RESULTS = ("probe", "ladder", "ledger", "intervene", "head_stats", "reproduction")
_NEEDED = {
    "ridge": ("step", "cells"),
    "fourier": ("step", "cells", "quantity", "period"),
    "mlp": ("step", "cells"),
    "ablation": ("step", "cells"),
    "heads": ("step", "heads", "ablation"),
}


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # no stubs
    """Reads what Lightning writes into ``hparams.yaml``, tuples too."""


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", yaml.SafeLoader.construct_yaml_seq)


class Judged(NamedTuple):
    """The verdict of one moment of a run."""

    behaviour: Behaviour
    """What the gate said."""
    epoch: int | None
    """Epochs before it; None outside a fit."""
    step: int | None
    """Logged step, which is one less than the steps made; None outside a fit."""
    network: str | None
    """The class of a network of one's own, which no checkpoint alone can make; None of this library's."""


@dataclass(frozen=True)
class Run:
    """What is known of a run."""

    folder: Path
    """Its folder, as named."""
    judged: dict[str, Judged]
    """``last`` and ``best`` of a fit, or ``validate`` or ``test``."""
    scalars: Scalars
    """Everything logged."""
    lines: dict[str, list[dict[str, Any]]]
    """The records of each live analysis, by name, one a validation."""
    answers: Answers | None
    """Its answers; None where they were not kept."""
    config_text: str | None
    """``config.yaml``, or ``hparams.yaml`` of a fit from Python."""
    provenance: dict[str, Any] | None
    """``provenance.json``; None of a run without one."""
    emergence: dict[str, Any] | None
    """``emergence.json``."""
    results: dict[str, Path]
    """Files of the commands on its checkpoint that lie in the folder, by name: ``ladder``, ``ledger``, ..."""

    parts: int = 2
    """How many parts of its folder tell it from the others on the page."""

    @property
    def name(self) -> str:
        """The last parts of its folder, ``reg_sum/version_0``."""
        return "/".join(self.folder.resolve().parts[-self.parts :])

    @property
    def unlearned(self) -> list[str]:
        """The moments at which it had not learned; maps and curves are of the last, answers of the best."""
        return [name for name, one in self.judged.items() if one.behaviour.verdict == "NOT LEARNED"]

    @property
    def at_the_end(self) -> Behaviour:
        """The last verdict, of the weights that live probes saw last."""
        return self.judged["last"].behaviour if self.is_fit else self.behaviour

    @property
    def network(self) -> str | None:
        """The class of a network of one's own; None of this library's."""
        return network_of(self.judged)

    @property
    def is_foreign(self) -> bool:
        """Whether it is of a network of one's own."""
        return self.network is not None

    @property
    def is_fit(self) -> bool:
        """Whether it is a fit, not a pass of ``validate`` or ``test``."""
        return "last" in self.judged

    @property
    def behaviour(self) -> Behaviour:
        """The verdict that stands above everything: of the best moment, which ``best.ckpt`` holds."""
        return (self.judged.get("best") or next(iter(self.judged.values()))).behaviour

    @property
    def moment(self) -> str:
        """The name of that moment."""
        return "best" if "best" in self.judged else next(iter(self.judged))

    @property
    def checkpoint(self) -> Path | None:
        """The best checkpoint, or the last, or the newest of those with other names; None where there is none."""
        kept = {path.stem: path for path in (self.folder / "checkpoints").glob("*.ckpt") if path.is_file()}
        newest = max(kept.values(), key=lambda path: path.stat().st_mtime, default=None)
        judged = Path(str(self.config.get("ckpt_path")))  # that of validate and test
        if not kept and not self.is_fit and judged.is_file():
            return judged
        return kept.get("best") or kept.get("last") or newest

    @cached_property
    def loaded(self) -> LoadedModel | None:
        """The model of that checkpoint; None without one, and of a network of one's own, which no file can make."""
        return None if self.checkpoint is None or self.is_foreign else load_model(self.checkpoint)

    @property
    def task(self) -> str:
        """What it was trained on."""
        if self.answers is not None:
            return self.answers.dataset.task
        return str((self.provenance or {}).get("task", "unknown task"))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration as values; empty where there is none."""
        try:
            found = yaml.load(self.config_text or "", _Loader)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            where = self.folder / "config.yaml"
            raise ArithprobeError(f"{where}: is no YAML ({' '.join(str(error).split())}); delete it") from error
        return found if isinstance(found, dict) else {}

    @property
    def data_file(self) -> str:
        """The validation rows' file, for commands."""
        kept = (self.provenance or {}).get("data", {}).get("val", {}).get("path")
        data = self.config.get("data", {})
        if self.moment == "test" and data.get("test_file"):
            return str(data["test_file"])
        if kept or data.get("val_file"):
            return str(kept or data["val_file"])
        recipe = DataRecipe(**data.get("recipe", {}))
        return str(Path(data.get("data_dir", "data")) / recipe.file_name("val"))


def network_of(judged: Mapping[str, Judged]) -> str | None:
    """The class of a network of one's own, as the verdicts say it."""
    return next((one.network for one in judged.values() if one.network is not None), None)


def read_run(folder: str | Path) -> Run:
    """Read a run folder.

    Raises:
        ArithprobeError: If it is none, has no validation, or a file in it cannot be read.
    """
    try:
        return _read(Path(folder))
    except OSError as error:
        where = folder if error.filename is None else error.filename
        raise ArithprobeError(f"{where}: cannot be read: {error.strerror}") from error


def _read(folder: Path) -> Run:
    _require_run(folder)
    scalars = read_scalars(folder)
    judged = _judged(folder / "behaviour.json", validated=any(tag.startswith("val/") for tag in scalars))
    config = next((path for path in (folder / "config.yaml", folder / "hparams.yaml") if path.is_file()), None)
    optional = (folder / f"{name}.json" for name in ("provenance", "emergence"))
    provenance, emergence = (read_object(path) if path.is_file() else None for path in optional)
    moment = "best" if "best" in judged else next(iter(judged))
    return Run(
        folder,
        judged,
        scalars,
        {name: _records(folder / "probes" / f"{name}.jsonl", needed) for name, needed in _NEEDED.items()},
        read_answers(folder, moment) if network_of(judged) is None else None,
        None if config is None else read_text(config),
        provenance,
        emergence,
        results={name: path for name in _RESULTS if (path := _newest(folder, f"{name}.json")) is not None},
    )


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


def _judged(path: Path, *, validated: bool) -> dict[str, Judged]:
    if not path.is_file() and (validated or any(path.parent.glob("probes/*.jsonl"))):
        raise ArithprobeError(
            f"{path.parent}: was validated, and nobody has kept the verdict (no {path.name}), without which probes say "
            "nothing; give the Trainer the callback BehaviourReport() and fit again, or run "
            "'arithprobe validate --ckpt_path CHECKPOINT' and report the folder that it names"
        )
    if not path.is_file():
        raise ArithprobeError(
            f"{path.parent}: has no validation (no {path.name}), so there is nothing to report; fit on until the first "
            "one, or run 'arithprobe validate --ckpt_path CHECKPOINT' and report the folder that it names"
        )
    record = read_object(path)
    found = {}
    try:
        for name, one in record.items():
            figures = {key: value for key, value in one.items() if key not in ("epoch", "step", "network")}
            found[name] = Judged(from_record(figures, Behaviour), one["epoch"], one["step"], one.get("network"))
            if found[name].behaviour.verdict not in get_args(Verdict):
                raise ValueError(f"verdict {found[name].behaviour.verdict}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArithprobeError(f"{path}: cannot be read as the verdicts of a run: {error!r}") from error
    if not found:
        raise ArithprobeError(f"{path}: holds no verdict; fit until the first validation")
    return found


def _records(path: Path, needed: Sequence[str]) -> list[dict[str, Any]]:
    found = read_lines(path)
    for number, line in enumerate(found, start=1):
        missing = [name for name in needed if name not in line]
        if missing:
            raise ArithprobeError(f"{path}:{number}: has no {', '.join(missing)}; delete this line, or fit again")
    fitted = [line for line in found if line.get("stage", "fit") == "fit"]
    return fitted or found  # a validation after the fit, in its folder, is no part of the curves


def _newest(folder: Path, name: str) -> Path | None:
    found = [*folder.glob(name), *folder.glob(f"*/{name}")]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)
