"""Cases of ``benchmark.py``: attention heads."""

import math
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from benchmark_case import Case, untrained_on_rows

from arithprobe.attention.heads import HeadStatistics, HeadSums
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.interventions.heads import ablate_heads
from arithprobe.interventions.part import Part

Loop = dict[tuple[int, int], dict[str, dict[Any, float]]]


def head_cases() -> Iterator[Case]:
    """Statistics and ablation of the 8 heads of the notebook's model on 2000 rows."""
    model, objective, rows = untrained_on_rows()
    n, shape = len(rows), (model.sizes["n_layers"], model.sizes["n_heads"])
    bench = Part(model, objective, rows, torch.arange(n), 999.0)
    layers = [model.patterns_and_norms(layer, bench.states, rows.lengths) for layer in range(model.n_layers)]

    def streamed() -> HeadStatistics:
        sums = HeadSums(rows.layout, rows.roles, *shape)
        sums.state[0].add_(torch.bincount(rows.layout, minlength=len(rows.roles)))
        for layer, (pattern, norms) in enumerate(layers):
            sums.add(layer, pattern, norms, rows.layout)
        return sums.fit()

    _require_same(streamed(), _looped(layers, rows))

    def ablated() -> object:
        return ablate_heads(bench, "mean", torch.arange(n))

    def partial_passes() -> object:
        every = bench.at(rows.positions(["all"]))
        last = bench.at(rows.positions(["last"]))
        for layer in range(shape[0]):
            site, table = f"z.{layer}", last if layer == shape[0] - 1 else every
            for _ in range(shape[1]):
                bench.run(site, table, 1, partial(_unchanged, bench.cells(site, table)))
        return bench

    yield Case(
        "heads", "sums over 2000 patterns of 8 heads; a plain loop", streamed, partial(_looped, layers, rows), 100, 1
    )
    yield Case(
        "heads_ablation", "8 heads ablated; 8 partial passes that edit nothing", ablated, partial_passes, 0.77, 9
    )


def _unchanged(cells: torch.Tensor, edits: slice, rows: slice) -> torch.Tensor:
    return cells[None, rows]


def _require_same(ours: HeadStatistics, loop: Loop) -> None:
    """Both sides of the first case do the same job."""
    names = {
        "mass": ours.role_mass,
        "even mass": ours.uniform_role_mass.expand_as(ours.role_mass),
        "moved": ours.role_norm,
        "even moved": ours.uniform_role_norm,
    }
    for (layer, head), values in loop.items():
        for name, found in names.items():
            for pair, value in values[name].items():
                cell = float(found[layer, head, ours.roles.index(pair[0]), ours.roles.index(pair[1])])
                if not np.isclose(cell, value, rtol=1e-6, atol=1e-9):
                    raise SystemExit(f"{name} of head {layer}.{head}, {pair}: {cell}, the loop says {value}")


def _looped(layers: list[tuple[torch.Tensor, torch.Tensor]], rows: ArithmeticDataset) -> Loop:
    """The same statistics, row by row, layer by layer, head by head, in plain Python."""
    names = ("rows", "mass", "even mass", "moved", "even moved", "entropy", "even entropy")
    found: dict[tuple[int, int], dict[str, defaultdict[Any, float]]] = {}
    for row in range(len(rows)):
        roles = rows.layouts[int(rows.layout[row])].roles
        even = 1 / len(roles)
        for layer, (pattern, norms) in enumerate(layers):
            for head, (attention, sizes) in enumerate(zip(pattern[row].tolist(), norms[row].tolist(), strict=True)):
                own = found.setdefault((layer, head), {name: defaultdict(float) for name in names})
                for query, line in zip(roles, attention, strict=False):
                    own["rows"][query] += 1
                    own["even entropy"][query] += math.log(len(roles))
                    for key, p, size in zip(roles, line, sizes, strict=False):
                        own["mass"][query, key] += p
                        own["even mass"][query, key] += even
                        own["moved"][query, key] += p * size
                        own["even moved"][query, key] += even * size
                        own["entropy"][query] -= p * math.log(p) if p else 0.0
    return {
        head: {
            name: {
                role: value / own["rows"][role[0] if isinstance(role, tuple) else role]
                for role, value in own[name].items()
            }
            for name in names
        }
        for head, own in found.items()
    }
