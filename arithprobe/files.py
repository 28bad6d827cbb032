"""Files written whole or not at all."""

import os
import tempfile
from pathlib import Path

from arithprobe.errors import ArithprobeError


def write_whole(path: str | Path, content: str | bytes) -> Path:
    """Write a file through a temporary neighbour and a rename, so that no reader ever sees half of it.

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
            Path(temporary).chmod(0o666 & ~_umask())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise
    except OSError as error:
        raise ArithprobeError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def require_writable(folder: str | Path) -> None:
    """Prove that a folder can be made and files written there, leaving nothing behind.

    Raises:
        ArithprobeError: If the folder cannot be made or written.
    """
    folder = Path(folder)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    made: list[Path] = []
    try:
        for path in reversed(missing):
            path.mkdir()
            made.append(path)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ArithprobeError(f"{folder}: output folder cannot be written: {error.strerror}") from error
    finally:
        for path in reversed(made):
            path.rmdir()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
