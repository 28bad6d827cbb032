"""Cells: states at some tokens of some prompts, put into whole states."""

import torch
from torch import Tensor


def placed(states: Tensor, cells: Tensor, token: Tensor, valid: Tensor) -> Tensor:
    """States with cells put in; a copy.

    Args:
        states: (..., B, T, D).
        cells: (..., B, P, D).
        token: (B, P) token index of each cell; of a token named twice the last counts.
        valid: (B, P) False where a prompt has no such token; nothing is put in there.
    """
    rows, tokens, position = named_tokens(token, valid, states.shape[-2])
    found = states.clone()
    found[..., rows, tokens, :] = cells[..., rows, position, :]
    return found


def named_tokens(positions: Tensor, valid: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """The tokens that positions name, each once: writing a token twice has no defined result, and no right gradient.

    Args:
        positions: (B, P) token indices.
        valid: (B, P) False where there is no such position.
        length: The length T.

    Returns:
        (n,) row, (n,) token, and (n,) position, the last of those that name it.
    """
    number = torch.arange(positions.shape[1], device=positions.device).where(valid, -1)
    last = positions.new_full((len(positions), length), -1).scatter_reduce(1, positions, number, "amax")
    rows, tokens = (last >= 0).nonzero(as_tuple=True)
    return rows, tokens, last[rows, tokens]
