r"""Partial interventions: removing a variable *given* another, to tell it from the variables that it correlates with.

Erasing a variable also erases what correlates with it: without x little is left of a sum of which x is the larger part,
whether or not anything reads x, and steering x along its pattern moves the sum by as much. So only the variable's *own*
part is removed: the residual e of its least-squares regression on the other variable g. The pattern of e, the
regression of the states on it, leaves g unchanged: for a state ``g u + x v`` it is v, whatever the angle between u and
v.

Each row is moved along this pattern by its own e, to where it would be if g determined the variable. The effect on the
answers is one *share*: if arithmetic demands the change d of the answer and the network makes the change c, it is
:math:`\sum d c / \sum d^2`. It is 1 if the network reads the variable itself, and 0 if it reads g alone. Answers to a
modulus are points on a circle; for a network with a score for each residue, they are the mean of the points by its
probabilities. If arithmetic demands nothing, d is the change that erasing the whole variable makes. The interval
includes both samples: the pattern is fitted again without each of ten blocks of the rows to fit on, and the share is
averaged without each of ten blocks of the held-out rows (delete-a-group jackknife); the two variances add.

Two further results are the answers under LEACE of e (:mod:`arithprobe.interventions.erasure`), and the answers with the
erased part of another row with the same g, for which the correct answer is known exactly.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from arithprobe.interventions.cell import Cell
from arithprobe.interventions.directions import leace
from arithprobe.interventions.part import Part
from arithprobe.interventions.patching import FEWEST, Recovered
from arithprobe.interventions.points import demanded_change, points_of
from arithprobe.linalg import Array
from arithprobe.probes.metrics import jackknife_margin
from arithprobe.probes.moments import Moments
from arithprobe.probes.splits import blocks_of
from arithprobe.probes.variables import Variable

_ITSELF = 1e-9  # of the variance of a variable, below which another leaves nothing of it
_DEPENDENT = 1e-12  # eigenvalue of correlations, relative to the largest, below which a column depends on others


@dataclass(frozen=True)
class GivenTest:
    """A variable at one site's last token, given another."""

    given: str
    """Name of the other variable, a probe's target such as ``x``."""
    r: float
    """Multiple correlation of the two, over the rows fitted on."""
    skill: float
    """Skill without what is its own."""
    exact: float
    """Share of exact answers without it."""
    share: Recovered
    """Share of the demanded change of the answers that moving what is its own makes: 1 for a variable that is read
    itself, 0 for one that only goes with the other. The interval includes the fit."""
    alone: float
    """The share that moving the whole variable makes, given nothing: how far the network follows so large a move."""
    swapped: int
    """Pairs of rows between which what is its own was swapped: the other variable has one value in both."""
    swapped_exact: float
    """Share of them with exactly the answer that arithmetic demands if just the variable moves; NaN without pairs."""


@dataclass(frozen=True)
class GivenTests:
    """A variable at one site's last token, given each variable that it may stand for."""

    probe_skill: float
    """Skill without the directions of its least-squares probe, taken out orthogonally, and nothing beside them."""
    probe_exact: float
    """Share of exact answers then."""
    tests: tuple[GivenTest, ...]
    """One for each other variable; none of those that it determines, or is a linear function of."""


class _Fit(NamedTuple):
    """What is a variable's own."""

    patterns: Tensor
    """(M, D, K) regressions of the states on it, the first over all rows to fit on, the others without a block each."""
    alone: Tensor
    """(1, D, K) regression of the states on the whole variable."""
    left: Tensor
    """(1, 1, D, R) what LEACE subtracts."""
    right: Tensor
    """(1, 1, D, R) how much of it is read."""
    weights: Tensor
    """(1 + G, K) regression of the variable on a constant and the other."""
    r: float
    """Multiple correlation of the two."""


def given_test(cell: Cell, variable: Variable, name: str, given: Tensor) -> GivenTest | None:
    """Remove a variable's own part from the last token.

    Args:
        cell: The site, at the last token alone.
        variable: The variable.
        name: The name of the other variable.
        given: (N of all rows, G) float64 columns of the other; any linear function of them is not the variable's own.

    Returns:
        The test, or None if the variable has no own part, because it is a linear function of the other.
    """
    part, rows = cell.part, cell.part.rows
    fitted_on = cell.bench.fit
    if fitted_on is None:
        return None
    if (fit := _fit(fitted_on, cell.site, variable.columns, given, cell.bench.usual)) is None:
        return None
    own = variable.columns[rows] - _with_constant(given[rows]) @ fit.weights
    whole = variable.columns[rows] - variable.columns[fitted_on.rows].mean(dim=0)
    scores = part.scores(cell.without("mean", fit.left, fit.right))
    pairs, exact = _swapped(cell, variable, given[rows], fit)
    return GivenTest(
        given=name,
        r=fit.r,
        skill=float(scores.skill[0]),
        exact=float(scores.exact_match[0]),
        share=_share(cell, variable, own, fit.patterns),
        alone=_share(cell, variable, whole, fit.alone).fraction,
        swapped=pairs,
        swapped_exact=exact,
    )


def _fit(part: Part, site: str, columns: Tensor, given: Tensor, usual: Tensor) -> _Fit | None:
    """What is its own, on the rows to fit on of usual layouts, and its pattern, also without each block of them."""
    kept = usual[part.rows]
    states, labels, others = part.at_last(site)[kept], columns[part.rows[kept]], given[part.rows[kept]]
    block, middle = blocks_of(part.group[kept]), states.mean(dim=0)
    every = torch.cat([_with_constant(others), labels, states - middle], dim=1)
    sums = [every[block == one].T @ every[block == one] for one in torch.unique(block)]
    total = torch.stack(sums).sum(dim=0).numpy()
    widths = (1 + others.shape[1], labels.shape[1])
    whole = _own(total, *widths)
    spread = (labels - labels.mean(dim=0)).square().sum(dim=0).numpy()
    left = float((whole.moments.squares[0] / spread).mean())
    if left < _ITSELF:
        return None
    patterns = [whole.pattern, *(_own(total - one.numpy(), *widths).pattern for one in sums)]
    sides = [torch.from_numpy(side)[None, None] for side in leace(whole.moments)]
    ungiven = [0, *range(widths[0], len(total))]
    alone = torch.from_numpy(_own(total[np.ix_(ungiven, ungiven)], 1, widths[1]).pattern)[None]
    weights = torch.from_numpy(whole.weights)
    return _Fit(torch.from_numpy(np.stack(patterns)), alone, sides[0], sides[1], weights, max(1 - left, 0.0) ** 0.5)


class _Own(NamedTuple):
    moments: Moments  # of the states with what is the variable's own
    weights: Array  # (1 + G, K)
    pattern: Array  # (D, K)


def _own(total: Array, width: int, k: int) -> _Own:
    """From (1 + G + K + D, 1 + G + K + D) sums of products of [1, others], labels and states; 1 + G, and K."""
    a, c = slice(0, width), slice(width, width + k)
    h = [0, *range(width + k, len(total))]
    weights = _inverse(total[a, a]) @ total[a, c]
    cross = total[h, c] - total[h, a] @ weights
    within = total[c, c] - total[c, a] @ weights
    squares = np.maximum(within.diagonal(), 0.0)
    pattern = cross[1:] @ _inverse(within)
    return _Own(Moments(total[np.ix_(h, h)][None], cross[None], squares[None]), weights, pattern)


def _inverse(products: Array) -> Array:
    """Of sums of products of columns of any units; of columns that depend on others the pseudo-inverse."""
    unit = np.sqrt(np.where(products.diagonal() > 0, products.diagonal(), 1.0))
    found: Array = np.linalg.pinv(products / np.outer(unit, unit), _DEPENDENT, hermitian=True) / np.outer(unit, unit)
    return found


def _with_constant(given: Tensor) -> Tensor:
    return torch.cat([torch.ones(len(given), 1, dtype=torch.float64), given], dim=1)


def _share(cell: Cell, variable: Variable, own: Tensor, patterns: Tensor) -> Recovered:
    """Share of the demanded change that moving (N, K) of a variable off along (M, D, K) patterns makes."""
    part, cells, shift = cell.part, cell.states, torch.einsum("nk,mdk->mnd", own, patterns)
    moved = part.run(
        cell.site, cell.table, len(shift), lambda edits, rows: cells[rows] - shift[edits, rows, None].to(cells)
    )
    demanded, circle, before = demanded_change(part, variable, own), variable.circle, part.outputs[None]
    if demanded is None:
        whole, circle = cell.without_each([cell.eraser(variable.name, "leace")]), None
        demanded = (points_of(part, before, circle) - points_of(part, whole, circle))[0]
    change = points_of(part, before, circle) - points_of(part, moved, circle)
    products, squares = (change * demanded.conj()).real.sum(dim=2), demanded.abs().square().sum(dim=1)
    every = products.sum(dim=1) / squares.sum()  # (M,)
    block = blocks_of(part.group)
    kept = [block != one for one in torch.unique(block)]
    held = torch.stack([products[0, one].sum() / squares[one].sum() for one in kept])
    known = len(kept) > 1 and len(every) > 2
    margin = float(jackknife_margin(held).hypot(jackknife_margin(every[1:]))) if known else float("nan")
    share = float(every[0])
    return Recovered(share, share - margin, share + margin)


def _swapped(cell: Cell, variable: Variable, given: Tensor, fit: _Fit) -> tuple[int, float]:
    """What is its own swapped between rows in which the other variable is the same: pairs, and share of exact answers.

    Of such rows what is its own differs by just as much as the variable.
    """
    part = cell.part
    kind = torch.unique(
        torch.cat([given, part.dataset.layout[part.rows, None].double()], dim=1), dim=0, return_inverse=True
    )[1]
    order = torch.argsort(kind, stable=True)
    same = kind[order] == kind[order].roll(1)
    donors = torch.arange(len(part))
    donors[order[same]] = order.roll(1)[same]
    asked = part.dataset.counterfactual(variable.name, part.rows, part.rows[donors])
    if asked is None:
        return 0, float("nan")
    asked = part.named(asked)
    chosen = asked != part.answers
    if int(chosen.sum()) < FEWEST:
        return 0, float("nan")
    left, right = fit.left[0].to(cell.states), fit.right[0].to(cell.states)
    edited = cell.states + torch.einsum("npd,pdr,per->npe", cell.states[donors] - cell.states, right, left)
    answers = part.answers_of(part.run(cell.site, cell.table, 1, lambda _, rows: edited[None, rows]))[0]
    return int(chosen.sum()), float((answers.round() == asked)[chosen].double().mean())
