"""MLP probes before and after each erasure of the ledger."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from arithprobe.interventions.bench import Bench
from arithprobe.interventions.certificate import mlp_r2
from arithprobe.interventions.erasure import Eraser
from arithprobe.interventions.ledger_row import LedgerRow


def with_mlp(bench: Bench, rows: list[tuple[LedgerRow, Eraser]]) -> list[LedgerRow]:
    """Return the rows with the scores of MLP probes before and after, all trained at once."""
    parts = [part for part in (bench.fit, bench.held) if part is not None]
    both = torch.cat([part.rows for part in parts])
    train, group = torch.arange(len(both)) < len(parts[0]), torch.cat([part.group for part in parts])
    filled = [row for row, _ in rows]
    for width in dict.fromkeys(bench.network.width(row.site) for row, _ in rows):
        jobs = _Jobs()
        for number, (row, eraser) in enumerate(rows):
            column, where = eraser.positions.index(row.best_position), bench.rows.positions(eraser.positions)
            if bench.network.width(row.site) != width or not bool(where.valid[both, column].all()):
                continue
            cells = torch.cat([part.cells(row.site, part.at(where)) for part in parts])
            values = bench.labels[both, bench.columns_of(row.target)].T  # (K, N)
            jobs.add(number, "mlp_r2", (row.site, row.best_position), cells[:, column], values)
            jobs.add(number, "residual_r2_mlp", (str(number), ""), eraser(cells)[:, column], values)
        for number, field, r2 in jobs.run(group, train):
            own = filled[number]
            filled[number] = replace(own, mlp_r2=r2) if field == "mlp_r2" else replace(own, residual_r2_mlp=r2)
    return filled


class _Jobs:
    """MLP probes of states of one width."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str], Tensor] = {}
        self._jobs: list[tuple[int, str, slice]] = []  # row, field, models
        self._labels: list[Tensor] = []
        self._site: list[int] = []

    def add(self, number: int, field: str, place: tuple[str, str], states: Tensor, values: Tensor) -> None:
        """Read (K, N) values from (N, D) states; those of one place are kept once."""
        self._places.setdefault(place, states)
        self._jobs.append((number, field, slice(len(self._labels), len(self._labels) + len(values))))
        self._labels += list(values)
        self._site += [list(self._places).index(place)] * len(values)

    def run(self, group: Tensor, train: Tensor) -> Iterator[tuple[int, str, float]]:
        """Train all at once, and give the mean R2 of each job."""
        if not self._labels:
            return
        states = torch.stack(list(self._places.values()))
        found = mlp_r2(states, torch.stack(self._labels), torch.tensor(self._site), group, train)
        for number, field, models in self._jobs:
            yield number, field, float(found[models].mean())
