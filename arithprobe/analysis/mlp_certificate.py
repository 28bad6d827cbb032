"""What MLP probes read before and after each erasure of the ledger."""

from dataclasses import replace

import torch
from torch import Tensor

from arithprobe.interventions.bench import Bench
from arithprobe.interventions.certificate import mlp_r2
from arithprobe.interventions.erasure import Eraser
from arithprobe.interventions.ledger_row import LedgerRow


def with_mlp(bench: Bench, rows: list[tuple[LedgerRow, Eraser]]) -> list[LedgerRow]:
    """The rows, with what MLP probes read before and after, all trained at once."""
    parts, places = [part for part in (bench.fit, bench.held) if part is not None], dict[tuple[str, str], int]()
    states: list[Tensor] = []
    labels: list[Tensor] = []
    site: list[int] = []
    jobs: list[tuple[int, str, slice]] = []  # row, field, models
    both = torch.cat([part.rows for part in parts])
    for number, (row, eraser) in enumerate(rows):
        column = eraser.positions.index(row.best_position)
        where = bench.rows.positions(eraser.positions)
        if not bool(where.valid[both, column].all()):
            continue
        cells = torch.cat([part.cells(row.site, part.at(where)) for part in parts])
        place = places.setdefault((row.site, row.best_position), len(states))
        if place == len(states):
            states.append(cells[:, column])
        states.append(eraser(cells)[:, column])
        values = bench.labels[both, bench.columns_of(row.target)].T  # (K, N)
        for field, at in (("mlp_r2", place), ("residual_r2_mlp", len(states) - 1)):
            jobs.append((number, field, slice(len(labels), len(labels) + len(values))))
            labels += list(values)
            site += [at] * len(values)
    if not labels:
        return [row for row, _ in rows]
    train = torch.arange(len(both)) < len(parts[0])
    group = torch.cat([part.group for part in parts])
    found = mlp_r2(torch.stack(states), torch.stack(labels), torch.tensor(site), group, train)
    filled = [row for row, _ in rows]
    for number, field, models in jobs:
        r2 = float(found[models].mean())
        own = replace(filled[number], mlp_r2=r2) if field == "mlp_r2" else replace(filled[number], residual_r2_mlp=r2)
        filled[number] = own
    return filled
