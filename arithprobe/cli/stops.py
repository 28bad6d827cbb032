"""Early ends of a run: by a signal, or because nothing can be written any more."""

import errno
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities.exceptions import SIGTERMException

from arithprobe.errors import ArithprobeError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)


@contextmanager
def plain_ends() -> Iterator[None]:
    """Within the block, turn Lightning's handling of a signal back into what a shell expects.

    A thread that cannot write, such as TensorBoard's, stays silent: the next writer raises the error.

    Raises:
        KeyboardInterrupt: After Ctrl-C, when Lightning exits with code 1.
        SystemExit: With 143 after a SIGTERM, when Lightning exits with code 0, as if the run had finished.
    """
    interrupt, hook = signal.getsignal(signal.SIGINT), threading.excepthook
    threading.excepthook = lambda told: None if _is_full(told.exc_value) else hook(told)
    try:
        yield
    except SIGTERMException as error:
        raise SystemExit(128 + signal.SIGTERM) from error
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    finally:
        threading.excepthook = hook
        if interrupt is not None:
            signal.signal(signal.SIGINT, interrupt)  # Lightning ignores it from the first on


def unwritten(error: OSError) -> Exception:
    """Return the error to raise for a system error: one line if a disk is full or gone, else the error itself."""
    if not _is_full(error):
        return error
    where = f"{error.filename}: " if error.filename else ""
    return ArithprobeError(f"{where}cannot be written: {error.strerror}; the checkpoints so far are whole")


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in _FULL
