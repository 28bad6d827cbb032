"""What a run prints: the warnings that a user can act on, one line each, and no advertisements."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from arithprobe.errors import SharedRowsWarning

_IRRELEVANT = (
    "The '.*_dataloader' does not have many workers",  # a batch is one tensor index; workers would slow it down
    ".*isinstance\\(treespec, LeafSpec\\).*",  # Lightning 2.6 on torch 2.13
)
_ADVERT = "Tip:"


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block, drop what no user of this program can act on, and show our own warnings in one line."""
    lightning = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    with warnings.catch_warnings():
        for message in _IRRELEVANT:
            warnings.filterwarnings("ignore", message)
        show = warnings.showwarning

        def in_one_line(
            message: Warning | str, category: type[Warning], filename: str, lineno: int,
            file: TextIO | None = None, line: str | None = None,
        ) -> None:  # fmt: skip
            if issubclass(category, SharedRowsWarning):
                sys.stderr.write(f"arithprobe: warning: {message}\n")
            else:
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = in_one_line
        lightning.addFilter(_no_advert)
        try:
            yield
        finally:
            lightning.removeFilter(_no_advert)


def _no_advert(record: logging.LogRecord) -> bool:
    return _ADVERT not in record.getMessage()
