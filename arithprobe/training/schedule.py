"""How the learning rate changes, by steps."""

import math
from collections.abc import Callable
from typing import Literal, get_args

from arithprobe.errors import ArithprobeError, require_at_least
from arithprobe.limits import require_within

Schedule = Literal["constant", "cosine"]
"""What the learning rate does after its warm-up."""


def require_schedule(schedule: Schedule, warmup_steps: int, final_lr: float) -> None:
    """Check the options of :func:`lr_factor`.

    Raises:
        ArithprobeError: If one is out of range.
    """
    if schedule not in get_args(Schedule):
        raise ArithprobeError(f"schedule is {schedule!r}; expected one of {', '.join(get_args(Schedule))}")
    require_at_least("", warmup_steps=(warmup_steps, 0))
    require_within("", warmup_steps=warmup_steps)
    if not 0 <= final_lr <= 1:
        raise ArithprobeError(f"final_lr is {final_lr}; expected a share of lr, 0 to 1")


def lr_factor(schedule: Schedule, warmup_steps: int, final_lr: float, total_steps: float) -> Callable[[int], float]:
    """The learning rate at each step, as a share of the highest.

    It rises linearly over the warm-up, to 1 at its end; a cosine then falls to ``final_lr`` at the last step of all.

    >>> factor = lr_factor("cosine", warmup_steps=2, final_lr=0.1, total_steps=12)
    >>> [round(factor(step), 3) for step in (0, 1, 2, 7, 12)]
    [0.5, 1.0, 1.0, 0.55, 0.1]

    Args:
        schedule: What follows the warm-up.
        warmup_steps: Its length.
        final_lr: Where the cosine ends.
        total_steps: Steps of the whole fit; infinite if it has no end.

    Raises:
        ArithprobeError: If a cosine is asked of a fit without an end.
    """
    if schedule == "cosine" and not math.isfinite(total_steps):
        raise ArithprobeError("a cosine schedule needs an end: pass --trainer.max_steps or --trainer.max_epochs")

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        if schedule == "constant":
            return 1.0
        done = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
        return final_lr + (1 - final_lr) * (1 + math.cos(math.pi * done)) / 2

    return factor
