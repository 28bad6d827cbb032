"""Cells: states at some tokens of some prompts, and how to put them into whole states."""

import torch
from torch import Tensor


def placed(states: Tensor, cells: Tensor, token: Tensor, valid: Tensor) -> Tensor:
    """Return a copy of the states with cells put in.

    Args:
        states: (..., B, T, D).
        cells: (..., B, P, D).
        token: (B, P) token index of each cell; if a token is named twice, the last cell counts.
        valid: (B, P) False where a prompt has no such token; nothing is put in there.
    """
    rows, tokens, position = named_tokens(token, valid, states.shape[-2])
    found = states.clone()
    found[..., rows, tokens, :] = cells[..., rows, position, :]
    return found


def named_tokens(positions: Tensor, valid: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return each token that positions name once: writing one twice has no defined result and no correct gradient.

    Args:
        positions: (B, P) token indices.
        valid: (B, P) False where there is no such position.
        length: The length T.

    Returns:
        (n,) row, (n,) token, and (n,) position; the position is the last of those that name the token.
    """
    number = torch.arange(positions.shape[1], device=positions.device).where(valid, -1)
    last = positions.new_full((len(positions), length), -1).scatter_reduce(1, positions, number, "amax")
    rows, tokens = (last >= 0).nonzero(as_tuple=True)
    return rows, tokens, last[rows, tokens]
