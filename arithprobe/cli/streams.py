"""Output in any encoding: unsupported characters are written as escapes, as Python does on stderr."""

import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_GIVES_UP = ("strict", "surrogateescape")  # the latter stands in the C locale, and knows lone surrogates only


@contextmanager
def any_text() -> Iterator[None]:
    r"""Within the block, let stdout and stderr accept any text, whatever their encoding; restore them afterwards.

    A file name that is no UTF-8, the dot of a progress bar in ASCII or a code page: each becomes ``\udce4`` or
    ``\u2022`` instead of a traceback. What the user chose, as by ``PYTHONIOENCODING=ascii:replace``, stays.
    """
    with ExitStack() as afterwards:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper) and stream.errors in _GIVES_UP:
                afterwards.callback(stream.reconfigure, errors=stream.errors)
                stream.reconfigure(errors="backslashreplace")
        yield
