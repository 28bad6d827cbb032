"""What LEACE takes out for labels that say nothing: the null of an erasure, in the same states and by the same fit.

Labels are permuted between groups (sums; for what is a function of x, x), as in the null of the probes: a label that is
one function of the sum has far larger chance covariances with states that are another than labels drawn row by row.
"""

import torch
from torch import Tensor

from arithprobe.analysis.ledger import Cell
from arithprobe.interventions.erasure import fit_erasers
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
    rows = permuted_rows(group_values(target_group(target), bench.x, bench.y), draws, seed)  # (n, M)
    labels = material.columns[bench.rows][:, material.columns_of(target)]  # (n, k)
    table = bench.at(cell.where.table)
    fitter = RidgeFitter(len(table.names), cell.ablator.cells.shape[-1], draws * labels.shape[1], folds=2)
    fold = torch.zeros(len(bench), dtype=torch.int64)
    fitter.update(bench.cells(cell.site, table), labels[rows].flatten(1), fold, table.valid)
    moments = fitter.moments()[0]
    erasers = [
        fit_erasers("leace", moments.columns(slice(start, start + labels.shape[1])), target=target, site=cell.site,
                    positions=table.names)
        for start in range(0, draws * labels.shape[1], labels.shape[1])
    ]  # fmt: skip
    return cell.without(erasers)
