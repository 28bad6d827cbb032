"""The rows of rare layouts, which ridge probes leave out.

A prompt that is written like no other (``1 + 12`` among 2000 with three digits each) has a state unlike all others. A
probe that has not seen such a prompt extrapolates there, and the squared error of this one row can outweigh the gain on
all others: R2 of ``carry1`` in the notebook's network is 0.50 without 2 rows of 2000, and -0.16 with them. A larger
penalty for all rows hides the loss, and with it the readable part. The layouts of the data alone decide which rows
these are, before any state or label is seen; so permuted labels and untrained networks lose the same rows.
"""

import torch
from torch import Tensor

FEWEST = 10
"""Rows of one layout, below which it is rare: two a fold of five."""
MOST = 0.05
"""Share of all rows that may be left out."""


def rare_rows(layout: Tensor) -> Tensor:
    """Find the rows with a layout that fewer than ten rows have.

    Layouts are removed from the rarest on, equally rare ones together, as long as at most one row in twenty is lost: if
    most layouts are rare, none of them is an exception.

    >>> rare_rows(torch.tensor([0] * 30 + [1] * 30 + [2])).nonzero().tolist()
    [[60]]
    >>> rare_rows(torch.arange(61)).any().item()
    False

    Args:
        layout: (N,) int64 kind of each row, 0 or more.

    Returns:
        (N,) bool.
    """
    count = torch.bincount(layout)
    by_count = torch.bincount(count[count > 0], minlength=FEWEST)[:FEWEST]  # layouts that so many rows have
    gone = (by_count * torch.arange(FEWEST)).cumsum(dim=0)  # rows of layouts that at most so many rows have
    largest = int((gone <= MOST * len(layout)).nonzero().amax())
    return count[layout] <= largest


def said_of(layout: Tensor) -> list[str]:
    """Return one line about the rows that are left out; none if there are none."""
    rare = rare_rows(layout)
    if not bool(rare.any()):
        return []
    rows, layouts = int(rare.sum()), len(torch.unique(layout[rare]))
    return [
        f"of ridge probes and erasers, {rows} row{'s' * (rows > 1)} of {layouts} layout{'s' * (layouts > 1)} that "
        f"fewer than {FEWEST} rows have: one state unlike all others can outweigh the rest"
    ]
