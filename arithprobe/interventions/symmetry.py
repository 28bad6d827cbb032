"""Does the model treat problems alike that arithmetic treats alike, and others not?

Three changes of a problem, each with the shift of the answer that arithmetic demands: ``(x + d, y - d)`` must change
nothing; ``(x + d, y)`` must move the answer by d; and with a modulus, ``(x + k, y)`` must change nothing, where a model
of the plain sum would move by k. Only problems that stay inside the range of the data, and keep their layout, are
compared, written as the data writes them (:mod:`arithprobe.data.rewriting`): the original notebook's curve also feeds
negative numbers, with a sign the model never saw, and prompts of another length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from arithprobe.behaviour import difference
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.rewriting import fits, rewritten
from arithprobe.data.tsv import parse_tsv
from arithprobe.interventions.patching import FEWEST, Recovered, has_partner, recovered_fraction
from arithprobe.interventions.workbench import Workbench

Change = Literal["x + d, y - d", "x + d, y", "x + k, y"]
STEPS = (1, 2, 5, 10, 50)


@dataclass(frozen=True)
class SymmetryTest:
    """The response of outputs and states to one change of the problems."""

    change: Change
    """What was changed."""
    d: int
    """By how much."""
    n: int
    """Problems that stay in range and keep their layout."""
    demanded: float
    """Shift of the answer that arithmetic demands (round the circle the shorter way)."""
    response: Recovered
    """Mean shift of the model's answer with its interval, as a multiple of d."""
    distance: float
    """Mean distance of the answer from where it should have moved, in answer units."""
    unrelated: float
    """Mean distance between the answers to two unrelated problems: what ``distance`` has to be compared with."""
    hidden: dict[str, float]
    """Mean squared distance of the two states at the last token, over that of unrelated problems, by site."""


def symmetry_tests(bench: Workbench, donors: Tensor, steps: Sequence[int] = STEPS) -> list[SymmetryTest]:
    """Every change by every step that leaves at least two problems to compare.

    Args:
        bench: Model and rows.
        donors: (N,) an unrelated row of the same layout for each.
        steps: The d's, to both sides.
    """
    signed = sorted({sign * step for step in steps for sign in (-1, 1)})
    wanted: list[tuple[Change, int]] = [("x + d, y - d", d) for d in signed] + [("x + d, y", d) for d in signed]
    if bench.modulus is not None:
        wanted += [("x + k, y", sign * bench.modulus) for sign in (-1, 1)]
    found = (_test(bench, donors, change, d) for change, d in wanted)
    return [one for one in found if one is not None]


def in_range(dataset: ArithmeticDataset, x: Tensor, y: Tensor) -> Tensor:
    """(N,) whether both of (N,) operands lie between the smallest and the largest operand of a data set."""
    every = torch.cat([dataset.x, dataset.y])
    return torch.stack([(one >= every.min()) & (one <= every.max()) for one in (x, y)]).all(dim=0)


def comparable(dataset: ArithmeticDataset, rows: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(N,) whether rows whose operands are changed stay in the range of the data, in the layout that they have.

    Args:
        dataset: The data.
        rows: (N,) row numbers.
        x: (N,) their new first operands.
        y: (N,) their new second operands.
    """
    return in_range(dataset, x, y) & fits(dataset, rows, x, y)


def _test(bench: Workbench, donors: Tensor, change: Change, d: int) -> SymmetryTest | None:
    x, y = bench.x + d, bench.y - d if change == "x + d, y - d" else bench.y
    kept = comparable(bench.dataset, bench.rows, x, y).nonzero()[:, 0]
    if len(kept) < FEWEST:
        return None
    other = _changed(bench, bench.rows[kept], x[kept], y[kept], change)
    own = bench.predictions
    modulus = None if change == "x + k, y" else bench.modulus  # round the circle, a shift by k would be none
    shift = difference(other.predictions, own[kept], modulus)
    demanded = difference(other.answers.double(), bench.answers[kept].double(), modulus)
    between = difference(own[donors], own, modulus)[has_partner(donors)]
    return SymmetryTest(
        change=change, d=d, n=len(kept), demanded=float(demanded[0]),
        response=recovered_fraction(shift, torch.full_like(shift, d), (bench.x + bench.y)[kept]),
        distance=float(difference(shift, demanded, modulus).abs().mean()), unrelated=float(between.abs().mean()),
        hidden={site: _apart(bench, other, site, kept, donors) for site in bench.model.residual_sites},
    )  # fmt: skip


def _changed(bench: Workbench, rows: Tensor, x: Tensor, y: Tensor, change: Change) -> Workbench:
    """The rows with other operands, in the layout that they have."""
    total = x + y
    answers = total if bench.modulus is None else total % bench.modulus
    texts = rewritten(bench.dataset, rows, x, y)
    content = "".join(f"{text}\t{answer}\n" for text, answer in zip(texts, answers.tolist(), strict=True))
    changed = ArithmeticDataset(parse_tsv(content.encode(), f"{bench.dataset.path}, {change}"))
    return Workbench(bench.model, bench.objective, changed, torch.arange(len(changed)), bench.constant)


def _apart(bench: Workbench, other: Workbench, site: str, kept: Tensor, donors: Tensor) -> float:
    own, moved = (one.states[site][torch.arange(len(one)), one.lengths - 1].double() for one in (bench, other))
    paired = has_partner(donors)
    unrelated = (own[donors] - own)[paired].square().sum(dim=1).mean()
    return float((moved - own[kept]).square().sum(dim=1).mean() / unrelated) if unrelated > 0 else float("nan")
