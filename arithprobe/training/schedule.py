"""The learning rate as a function of the step."""

import math
from collections.abc import Callable
from typing import Literal, get_args

from arithprobe.errors import ArithprobeError, require_at_least
from arithprobe.limits import require_memory, require_within

Schedule = Literal["constant", "cosine"]
"""What the learning rate does after its warm-up."""


def require_adamw(lr: float, weight_decay: float, betas: tuple[float, float]) -> None:
    """Check the options of AdamW.

    Raises:
        ArithprobeError: If one is out of range, or the decay of one step would take more than the whole weight away.
    """
    if not 0 < lr < float("inf") or not 0 <= weight_decay < float("inf"):
        raise ArithprobeError(f"lr is {lr}, weight_decay {weight_decay}; expected lr > 0 and weight_decay >= 0")
    require_within("", lr=lr)
    if lr * weight_decay > 1:
        raise ArithprobeError(
            f"lr is {lr}, weight_decay {weight_decay}; expected lr * weight_decay of at most 1 (a step takes that "
            "share of every weight away)"
        )
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):  # type: ignore[redundant-expr]
        raise ArithprobeError(f"betas are {list(betas)}; expected two numbers, 0 or more and below 1")


def require_room(weights: int) -> None:
    """Refuse to train more weights than fit into memory, with their gradients and AdamW's two moments.

    Raises:
        ArithprobeError: If they do not fit; the text names both sizes.
    """
    require_memory(f"to train a model of {weights:.2g} weights", 16 * weights)


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
        warmup_steps: The length of the warm-up.
        final_lr: The value at which the cosine ends.
        total_steps: Steps of the whole fit; infinite if it has no end.

    Raises:
        ArithprobeError: If the schedule is a cosine and the fit has no end.
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
