"""Tests of a claim given the variables that it may stand for: the other claims, and the answer.

A claim that reaches a causal rung is tested *given* each of them (:mod:`arithprobe.interventions.partial`), except
those that it determines, or is a linear function of. The rung stands if the variable's own part makes a share of the
demanded change of the answers that is distinguishable from none. *Sufficient* also requires that this share is not
distinguishably less than that of the whole variable, within the tolerance of the rung: else the rest belongs to the
other variable. A claim that does not stand *cannot be told* from the other. That is no evidence against the claim: the
answer depends on an operand that is used, and given the answer the operand's own path to it is blocked. So no test
makes a claim fail.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from arithprobe.analysis.ladder.rules import SLOPE, Part, Rung
from arithprobe.errors import ArithprobeError
from arithprobe.interventions.cell import Cell
from arithprobe.interventions.partial import GivenTest, GivenTests, given_test
from arithprobe.probes.variables import Variable, variable_of
from arithprobe.problems.circles import planes_name, planes_of
from arithprobe.problems.rows import Rows

CAUSAL: tuple[Rung, ...] = ("necessary", "sufficient")
"""The rungs that a claim is told apart for."""
NOTHING = 1e-3
"""Share of the demanded change that rounding may make."""
_TIES = 20  # pairs of rows that share a value, without which nobody knows whether it determines another


def given_tests(cell: Cell, variable: Variable, others: Sequence[str]) -> GivenTests:
    """Test a variable given each of several others.

    Args:
        cell: The site, at the last token.
        variable: The variable that is removed and moved there.
        others: Names of the variables that it may stand for, including itself.
    """
    rows = cell.part.dataset
    own = cell.eraser(variable.name, "inlp", rank=variable.columns.shape[1])  # of least squares: nothing shrinks it
    scores = cell.part.scores(cell.without_each([own]))
    tests = []
    for name in dict.fromkeys(others):
        if not determines(variable.columns, variable_of(name, rows).columns):
            columns = (given_test(cell, variable, name, given) for given in _columns(name, variable, rows))
            tests += [one for one in columns if one is not None][:1]
    return GivenTests(float(scores.skill[0]), float(scores.exact_match[0]), tuple(tests))


def determines(columns: Tensor, others: Tensor) -> bool:
    """Whether rows that agree in (N, K) columns also agree in (N, G) others, and enough rows agree.

    >>> x = torch.arange(100.0)[:, None]
    >>> determines(x % 20, x % 10), determines(x % 10, x % 20), determines(x, x)
    (True, False, False)
    """
    kind = torch.unique(columns, dim=0, return_inverse=True)[1]
    order = torch.argsort(kind, stable=True)
    first, second = order[:-1], order[1:]
    same = kind[first] == kind[second]
    return int(same.sum()) >= _TIES and torch.equal(others[first[same]], others[second[same]])


def _columns(name: str, variable: Variable, rows: Rows) -> Iterator[Tensor]:
    """(N, G) columns of another variable: of a claimed circle with its own planes of that circle, or without."""
    own, circle = variable_of(name, rows).columns, planes_of(name)
    if variable.circle is not None:
        quantity = name if circle is None else circle.quantity
        try:
            planes = variable_of(planes_name(quantity, *variable.circle[1:]), rows).columns
            yield torch.cat([own, planes], dim=1)
        except ArithprobeError:  # it does not go round
            pass
    yield own


def stands(one: GivenTest, rung: Rung) -> bool:
    """Whether a rung stands given another variable."""
    distinct = one.share.low > NOTHING
    return distinct if rung == "necessary" else distinct and one.share.high >= (1 - SLOPE) * min(one.alone, 1.0)


def parts_given(found: GivenTests | None, target: str, rung: Rung) -> list[Part]:
    """The further requirements of a causal rung; none if no test was made."""
    tests = () if found is None else found.tests
    return [Part(stands(one, rung) or None, f"{target} from {one.given} (r = {one.r:.2f})") for one in tests]


def words_given(found: GivenTests | None, target: str) -> list[str]:
    """The numbers of the tests, in words."""
    if found is None or not found.tests:
        return []
    probe = f"ablating the probe's own direction: skill {found.probe_skill:.3f}, exact {found.probe_exact:.1%}"
    return [probe, *(_words(one, target) for one in found.tests)]


def _words(one: GivenTest, target: str) -> str:
    swapped = f"; swapped, {one.swapped_exact:.1%} of {one.swapped} answers exact" if one.swapped else ""
    return (
        f"given {one.given} (r = {one.r:.2f}), the rest of {target} makes {one.share.fraction:.1%} "
        f"[{one.share.low:.1%}, {one.share.high:.1%}] of the demanded change (ablated: skill {one.skill:.3f}, exact "
        f"{one.exact:.1%}{swapped})"
    )


def value_given(found: GivenTests | None, rung: Rung) -> str:
    """The first value to look at if a rung does not stand: the closest variable that it cannot be told from."""
    open_ones = [one for one in (() if found is None else found.tests) if not stands(one, rung)]
    closest = max(open_ones, key=lambda one: one.r, default=None)
    return "" if closest is None else f"r {closest.r:.2f} with {closest.given}"
