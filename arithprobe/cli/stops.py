"""How a run ends that does not come to its end: by a signal, or because nothing can be written any more."""

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
    """Within the block, what Lightning makes of a signal becomes again what a shell expects of one.

    And a thread that cannot write, as TensorBoard's, says nothing: the next one who writes will.

    Raises:
        KeyboardInterrupt: After Ctrl-C, where Lightning exits with code 1.
        SystemExit: With 143 after a SIGTERM, where Lightning exits with code 0, as if the run had come to its end.
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
    """What an error of the system is to the user: one line where a disk is full or gone, else itself."""
    if not _is_full(error):
        return error
    where = f"{error.filename}: " if error.filename else ""
    return ArithprobeError(f"{where}cannot be written: {error.strerror}; the checkpoints so far are whole")


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in _FULL
