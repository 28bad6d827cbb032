"""Whether a run has learned, moment by moment, as ``behaviour.json`` keeps it."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, get_args

from arithprobe.behaviour import Behaviour, Verdict
from arithprobe.errors import ArithprobeError
from arithprobe.files import from_record, read_object


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


def network_of(judged: Mapping[str, Judged]) -> str | None:
    """The class of a network of one's own, as the verdicts say it."""
    return next((one.network for one in judged.values() if one.network is not None), None)


def read_verdicts(path: Path, *, validated: bool) -> dict[str, Judged]:
    """The verdict of each moment.

    Args:
        path: ``behaviour.json`` of a run.
        validated: Whether the run's logs say that it was validated.

    Raises:
        ArithprobeError: If there is none, or it cannot be read.
    """
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
    try:
        found = {name: _judged(record) for name, record in read_object(path).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArithprobeError(f"{path}: cannot be read as the verdicts of a run: {error!r}") from error
    if not found:
        raise ArithprobeError(f"{path}: holds no verdict; fit until the first validation")
    return found


def _judged(record: Mapping[str, object]) -> Judged:
    values = {key: value for key, value in record.items() if key not in ("epoch", "step", "network")}
    behaviour, network = from_record(values, Behaviour), record.get("network")
    if behaviour.verdict not in get_args(Verdict):
        raise ValueError(f"verdict {behaviour.verdict}")
    if network is not None and not isinstance(network, str):
        raise ValueError(f"network {network!r}")
    return Judged(behaviour, _count(record["epoch"]), _count(record["step"]), network)


def _count(value: object) -> int | None:
    if value is None or type(value) is int:
        return value
    raise ValueError(f"{value!r} is no count")
