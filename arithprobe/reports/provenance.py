"""What a run was made with, as ``provenance.json`` keeps it."""

from pathlib import Path
from typing import Any

from arithprobe.errors import ArithprobeError
from arithprobe.files import read_object

_TEXT, _COUNT = (str,), (int,)
_NONE = type(None)
_FORM: dict[str, Any] = {
    "folder": _TEXT,
    "task": _TEXT,
    "code": _TEXT,
    "command": (list, _NONE),
    "versions": (dict,),
    "initial": (dict, _NONE),
    "data": (dict,),
    "split": (dict,),
}
_PARTS: dict[str, Any] = {
    "initial": {"file": (str, _NONE), "seed": (int, _NONE), "weights": _TEXT},
    "split": {"sha256": _TEXT} | dict.fromkeys(("train_rows", "val_rows", "shared_pairs", "shared_sums"), _COUNT),
}
_ROWS: dict[str, Any] = {"path": _TEXT, "sha256": (str, _NONE)}


def read_provenance(path: Path) -> dict[str, Any] | None:
    """The record of what a run was made with; None of a run without one.

    Raises:
        ArithprobeError: If it has another form.
    """
    if not path.is_file():
        return None
    record = read_object(path)
    wrong = [name for name, types in _FORM.items() if name in record and type(record[name]) not in types]
    if not wrong:
        wrong = [
            name for name, form in _PARTS.items() if record.get(name) is not None and not _fits(record[name], form)
        ]
        wrong += [f"data/{part}" for part, one in record.get("data", {}).items() if not _fits(one, _ROWS)]
        if not all(isinstance(word, str) for word in record.get("command") or ()):
            wrong.append("command")
    if wrong:
        raise ArithprobeError(f"{path}: {', '.join(wrong)} not as a fit writes it; delete the file, or fit again")
    return record


def _fits(record: object, form: dict[str, Any]) -> bool:
    """Whether it is an object that has all these fields, each of one of its types."""
    return isinstance(record, dict) and all(name in record and type(record[name]) in form[name] for name in form)
