"""What LEACE takes out for labels that say nothing: the null of an erasure, in the same states and by the same fit.

Labels are permuted between groups (sums; for what is a function of x, x), as in the null of the probes: a label that is
one function of the sum has far larger chance covariances with states that are another than labels drawn row by row.
"""

import torch
from torch import Tensor

from arithprobe.analysis.ledger import Cell
from arithprobe.interventions.erasure import Eraser, fit_erasers
from arithprobe.probes.ridge import RidgeFitter
from arithprobe.probes.splits import permuted_rows
from arithprobe.probes.targets import group_values, target_group


def without_shuffled(cell: Cell, target: str, draws: int, seed: int) -> Tensor:
    """(M, N, K) outputs without what LEACE takes out for M permutations of a target's labels, at its rank.

    Args:
        cell: The site and positions.
        target: The target.
        draws: M.
        seed: Seed of the permutations.
    """
    material, bench = cell.material, cell.material.benches[0]
    group = group_values(target_group(target), bench.x, bench.y)
    labels = material.columns[bench.rows][:, material.columns_of(target)]  # (n, k)
    table = bench.at(cell.where.table)
    return cell.ablator.without(
        shuffled_erasers(bench.cells(cell.site, table), table.valid, labels, group, draws, seed)
    )


def shuffled_erasers(
    cells: Tensor, valid: Tensor, labels: Tensor, group: Tensor, draws: int, seed: int
) -> list[Eraser]:
    """LEACE of M permutations of labels between groups.

    Args:
        cells: (n, P, D) states to fit on.
        valid: (n, P) False where a row has no such position.
        labels: (n, k) labels.
        group: (n,) what labels are permuted between.
        draws: M.
        seed: Seed of the permutations.
    """
    k = labels.shape[1]
    rows = permuted_rows(group, draws, seed)  # (n, M)
    fitter = RidgeFitter(cells.shape[1], cells.shape[2], draws * k, folds=2)
    fitter.update(cells, labels[rows].flatten(1), torch.zeros(len(cells), dtype=torch.int64), valid)
    moments = fitter.moments()[0]
    names = tuple(map(str, range(cells.shape[1])))
    return [
        fit_erasers("leace", moments.columns(slice(first, first + k)), target="shuffled", site="", positions=names)
        for first in range(0, draws * k, k)
    ]
