"""Files written whole or not at all."""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from arithprobe.errors import ArithprobeError

_TRIES = 20
_OF_FIELDS: Mapping[object, tuple[type, ...]] = {float: (float, int), int: (int,), str: (str,)}
Record = TypeVar("Record")


def write_whole(path: str | Path, content: str | bytes) -> Path:
    """Write a file through a temporary neighbour and a rename, so that no reader ever sees half of it.

    The content is on the disk before it takes the name, so that not even a machine that loses its power leaves half.

    Args:
        path: The file. Its folder is made where it is missing.
        content: All of the content; text is stored as UTF-8, its line ends as they are.

    Returns:
        The path written.

    Raises:
        ArithprobeError: If the folder cannot be made or written.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(handle)
            Path(temporary).chmod(0o666 & ~_umask())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)  # an interrupt may come just after it took the name
            raise
    except OSError as error:
        raise ArithprobeError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def require_writable(folder: str | Path) -> None:
    """Prove that a folder can be made and files written there, leaving nothing behind.

    Raises:
        ArithprobeError: If the folder cannot be made or written.
    """
    for left in reversed(range(_TRIES)):
        try:
            _try_writing(Path(folder))
        except OSError as error:
            if isinstance(error, FileNotFoundError) and left:  # another process tried it too, and has tidied up
                continue
            raise ArithprobeError(f"{folder}: output folder cannot be written: {error.strerror}") from error
        return


def _try_writing(folder: Path) -> None:
    made: list[Path] = []
    try:
        for path in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            with suppress(FileExistsError):  # as another process has just made it
                path.mkdir()
                made.append(path)
        with tempfile.TemporaryFile(dir=folder):
            pass
    finally:
        for path in reversed(made):
            with suppress(OSError):  # another process may have put something there meanwhile
                path.rmdir()


def new_version(parent: str | Path) -> Path:
    """Make the next free folder ``version_N``, which is then the caller's alone, however many ask at once.

    Args:
        parent: Where; made if it is missing.

    Raises:
        ArithprobeError: If it cannot be made.
    """
    parent = Path(parent)
    taken = [int(one.name[8:]) for one in parent.glob("version_*") if one.name[8:].isdecimal()]
    number = max(taken, default=-1) + 1
    while not make_alone(parent / f"version_{number}"):
        number += 1
    return parent / f"version_{number}"


def make_alone(folder: Path) -> bool:
    """Make a folder, and what it stands in; False where it is there, as another process may just have made it.

    Raises:
        ArithprobeError: If it cannot be made.
    """
    while True:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            if not folder.exists():  # what it is to stand in is no folder
                raise ArithprobeError(f"{folder}: no run folder can be made: {folder.parent} is no folder") from None
            return False
        except FileNotFoundError:  # another process that only tried the parent has removed it
            continue
        except OSError as error:
            raise ArithprobeError(f"{folder}: no run folder can be made: {error.strerror}") from error
        return True


def to_json(record: Any) -> str:
    """One line of JSON: arrays and tensors as lists, named tuples as objects, numbers that are not finite as null.

    >>> to_json({"r2": [0.5, float("nan")]})
    '{"r2": [0.5, null]}'
    """
    return json.dumps(_plain(record), allow_nan=False)


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ArithprobeError: If it cannot be read, or is not whole.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # also of a number of more digits than Python reads
        raise ArithprobeError(
            f"{path}: is no whole JSON ({error}); delete it, or let the command that wrote it write it again"
        ) from error


def read_object(path: Path) -> dict[str, Any]:
    """The content of a JSON file that holds an object.

    Raises:
        ArithprobeError: If it cannot be read, or is something else.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise ArithprobeError(
            f"{path}: expected an object, got {type(found).__name__}; delete it, or let what wrote it write it again"
        )
    return found


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        ArithprobeError: If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no UTF-8 text"
        raise ArithprobeError(f"{path}: cannot be read: {reason}") from error


def from_record(record: Mapping[str, Any], kind: type[Record]) -> Record:
    """A dataclass from the record that :func:`to_json` made of it: null is NaN again where the field is a number.

    Raises:
        TypeError: If the record has other fields, or one that is text or a number is something else.
    """
    types = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    found = {name: math.nan if value is None and types.get(name) is float else value for name, value in record.items()}
    for name, value in found.items():
        expected = _OF_FIELDS.get(types.get(name))
        if expected is not None and type(value) not in expected:
            raise TypeError(f"{name} is {value!r}")
    return kind(**found)


def sha256_of(path: str | Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    elif hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not float("-inf") < value < float("inf"):
        return None
    return value


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
