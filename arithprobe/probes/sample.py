"""Bounded samples of states, for probes that need the rows themselves."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class StateSample:
    """States of the last real token of the first n rows, at S sites.

    Rows that were not seen are zero, and ``seen`` counts how often each was; both are sums, to be added over ranks.

    Args:
        lengths: (N,) real tokens of each row of the data set.
        sites: The S sites.
        d_model: Width D of the states.
        max_rows: The largest number of rows that are kept.

    Attributes:
        states: (S, n, D) float32.
        seen: (n,) float32.
    """

    def __init__(self, lengths: Tensor, sites: Sequence[str], d_model: int, max_rows: int = 2000) -> None:
        self.sites = tuple(sites)
        self._last = lengths[:max_rows] - 1
        self.states = torch.zeros(len(self.sites), len(self._last), d_model)
        self.seen = torch.zeros(len(self._last))

    @property
    def state(self) -> tuple[Tensor, Tensor]:
        """Both tensors that it holds; they are sums over rows."""
        return self.states, self.seen

    def kept(self) -> tuple[Tensor, Tensor]:
        """The (S, k, D) states of the k rows seen, and their (k,) row numbers; a row that ranks share counts once."""
        rows = (self.seen > 0).nonzero()[:, 0]
        return self.states[:, rows] / self.seen[rows, None], rows

    def update(self, states: Mapping[str, Tensor], rows: Tensor) -> None:
        """Keep the rows of a batch that belong to the sample.

        Args:
            states: (B, T, D) by site.
            rows: (B,) row numbers.
        """
        rows = rows.cpu()
        kept = rows < len(self._last)
        rows = rows[kept]
        for index, site in enumerate(self.sites):
            state = states[site]
            self.states[index, rows] = state[kept.to(state.device).nonzero()[:, 0], self._last[rows]].float().cpu()
        self.seen[rows] = 1.0
