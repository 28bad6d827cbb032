"""The check that states are finite."""

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError


def require_finite(states: dict[str, Tensor], lengths: Tensor, rows: Tensor, path: str, model: str = "") -> None:
    """Check the states of a batch.

    Args:
        states: (B, T, D) by site.
        lengths: (B,) real tokens; padding is not checked.
        rows: (B,) row numbers, for the text.
        path: The file of the rows, for the text.
        model: The file of the model, for the text, where there is one.

    Raises:
        ArithprobeError: If one is not finite; the text says where.
    """
    for site, state in states.items():
        real = torch.arange(state.shape[1]) < lengths[:, None]
        bad = (~torch.isfinite(state).all(dim=-1) & real).nonzero()
        if len(bad):
            row, token = bad[0].tolist()
            where = f"{model}: " if model else ""
            raise ArithprobeError(
                f"{where}the state at {site}, token {token} is not finite in row {int(rows[row]) + 1} of "
                f"{path}; the model has diverged, or its weights are broken"
            )
