"""The option ``--checkpoint``, which says which checkpoints a run keeps."""

import inspect
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from arithprobe.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from arithprobe.callbacks.trial import ResumeCheckpoint

DEFAULTS: dict[str, Any] = {"monitor": "val/loss", "mode": "min", "filename": "{step}"}
_OF_BEST = ("monitor", "mode", "dirpath", "save_weights_only")
_NEVER = ("save_last", "enable_version_counter")  # last.ckpt there is anyway, and names are counted
_NO_NAMES = (None, "best", "last", DEFAULTS["filename"])  # these ask for no file besides


def checkpoints_of(asked: ModelCheckpoint, options: Mapping[str, Any]) -> list[Callback]:
    """Make the callbacks for ``best.ckpt``, ``last.ckpt`` and any further files, such as for ``save_top_k`` 3.

    Args:
        asked: The callback that Lightning has made from the options.
        options: The options.
    """
    found: list[Callback] = [LastCheckpoint(options["dirpath"])]
    if asked.save_top_k == 0:
        return found
    if asked.monitor is not None:
        found.insert(0, BestCheckpoint(**{name: options[name] for name in _OF_BEST}))
    plain = {name: one.default for name, one in inspect.signature(ModelCheckpoint).parameters.items()}
    more = set(plain) - {*_OF_BEST, *_NEVER, "filename"}
    if any(options[name] != plain[name] for name in more) or options["filename"] not in _NO_NAMES:
        asked.save_last = None
        if asked.filename in _NO_NAMES:
            asked.filename = DEFAULTS["filename"]
        found.append(asked)
    return found


def place_of(callback: Callback) -> int:
    """The place of a callback in the order: Lightning takes the first checkpoint as the best; a sweep's comes last."""
    if not isinstance(callback, Checkpoint):
        return 0
    return 1 if isinstance(callback, BestCheckpoint) else 3 if isinstance(callback, ResumeCheckpoint) else 2
