"""Tables of the attention and the effects of heads, one line per head."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.analysis.heads.run import Causal, HeadReport
from arithprobe.attention.heads import HeadStatistics, operand_mass
from arithprobe.attention.roles import GROUPS
from arithprobe.interventions.heads import HeadAblation
from arithprobe.logic import CANNOT_BE_TOLD, LEVEL
from arithprobe.models.headed import head_name
from arithprobe.said.content import Column, Table
from arithprobe.said.numbers import change, number, share

_IN_SHORT = {"plus": "+"}  # of a group
Text = Callable[[float], str]


class _Cells(NamedTuple):
    """A column of a table of heads."""

    name: str
    cell: Callable[[int, int], str]  # of layer and head
    below: tuple[str, ...] = ()  # cells of the lines under the heads


def attention_table(found: HeadReport) -> Table:
    """The table of the attention of each head from the last token.

    Args:
        found: The results for the heads.
    """
    below = ("uniform", "untrained") if found.untrained else ("uniform",)
    untrained = f"untrained: {CANNOT_BE_TOLD}, because no untrained network was read (twins is 0)."
    if found.untrained:
        untrained = f"untrained: mean over the heads of {len(found.untrained)} untrained networks."
    return _table(
        f"heads: attention from '?', the last token, over {found.rows} rows",
        list(_attention_columns(found)),
        found.copying,
        (
            "x, y, +, mod: share of the attention. most: the role with most of it. tokens: entropy over tokens, nats.",
            "norm: share of x and y in the value-weighted norms. OV: copying score; a head with 1 writes what it "
            "reads, with -1 the opposite.",
            f"uniform: a head that attends to all tokens equally. {untrained}",
        ),
        below,
    )


def effect_table(causal: Causal) -> Table:
    """The table of the effects of each head: ablation, patching and direct contribution.

    Args:
        causal: The causal effects of the heads.
    """
    main = causal.main
    tested = f"*: p <= {LEVEL} for {main.kind}, against random dimensions of z, each head by itself."
    if not is_tested(causal):
        tested = (
            f"p against random dimensions of z: {CANNOT_BE_TOLD}, because {main.random.shape[1]} draws are too few."
        )
    kinds = ", ".join(one.kind for one in causal.ablations)
    return _table(
        f"heads: what the answers lose when each is ablated, {main.n} rows",
        list(_effect_columns(causal)),
        main.p,
        (
            f"{kinds}: change of the RMSE, in answer units, under that ablation of the head's output at every token.",
            tested,
            "patched: share of the gap to another problem's answer that the head's output brings.",
            "direct: share of the outputs' variance that the head writes by itself, with the scale of every LayerNorm "
            "held fixed; it can be below 0 or above 1.",
        ),
    )


def is_tested(causal: Causal) -> bool:
    """Whether there are enough draws for a p-value that can reach the level."""
    return 1 / (1 + causal.main.random.shape[1]) <= LEVEL


def _table(
    title: str, columns: Sequence[_Cells], heads: Tensor, notes: tuple[str, ...], below: Sequence[str] = ()
) -> Table:
    """A line a head, as many as (L, H) ``heads`` has, and others below."""
    rows = [
        (head_name(layer, head), *(column.cell(layer, head) for column in columns))
        for layer in range(heads.shape[0])
        for head in range(heads.shape[1])
    ]
    rows += [(name, *(column.below[line] for column in columns)) for line, name in enumerate(below)]
    return Table(title, (Column("head", is_text=True), *(Column(one.name) for one in columns)), tuple(rows), notes)


def _attention_columns(found: HeadReport) -> Iterator[_Cells]:
    def column(name: str, of: Callable[[HeadStatistics], Tensor], text: Text, uniform: Tensor) -> _Cells:
        untrained = [of(one.statistics).mean() for one in found.untrained]
        mean = (text(float(torch.stack(untrained).mean())),) if untrained else ()
        return _numbers(name, of(found.statistics), text, (text(float(uniform)), *mean))

    statistics = found.statistics
    for group in statistics.groups_present[:-1]:  # the others are what is left
        uniform = statistics.uniform_mass[GROUPS.index(group)]
        yield column(_IN_SHORT.get(group, group), partial(_mass_on, GROUPS.index(group)), share, uniform)
    yield _Cells("most", partial(_most, statistics), ("", ""))
    yield column("tokens", lambda of: of.entropy, _short, statistics.uniform_entropy)
    yield column(
        "norm", lambda of: operand_mass(of.norm_share), share, operand_mass(statistics.uniform_norm_share).mean()
    )
    copying = [one.copying for one in found.untrained]
    below = (_short(float(torch.stack(copying).nanmean())),) if copying else ()
    yield _numbers("OV", found.copying, _short, ("", *below))


def _mass_on(group: int, statistics: HeadStatistics) -> Tensor:
    return statistics.mass[..., group]


def _effect_columns(causal: Causal) -> Iterator[_Cells]:
    for one in causal.ablations:
        yield _Cells(one.kind, partial(_cost, one))
    if causal.patching is not None:
        yield _numbers("patched", causal.patching.recovered, _short)
    yield _numbers("direct", causal.direct.of_heads(*causal.main.p.shape), share)


def _numbers(name: str, values: Tensor, text: Text, below: tuple[str, ...] = ()) -> _Cells:
    return _Cells(name, lambda layer, head: text(float(values[layer, head])), below)


def _cost(ablation: HeadAblation, layer: int, head: int) -> str:
    star = "*" if ablation.p[layer, head] <= LEVEL else " "
    return f"{change(float(ablation.delta_rmse[layer, head]))}{star}"


def _most(statistics: HeadStatistics, layer: int, head: int) -> str:
    """The role that a head looks at most, and its share."""
    mass = statistics.last_role_mass[layer, head]
    role = int(mass.argmax())
    return f"{statistics.roles[role]} {share(float(mass[role]))}"


def _short(value: float) -> str:
    return number(value) if math.isnan(value) else f"{value:.2f}".replace("-0.00", "0.00")
