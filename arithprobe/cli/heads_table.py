"""What ``arithprobe heads`` prints: the verdict, a line a head, and what attention says about effect."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from rich.box import SIMPLE
from rich.table import Table
from torch import Tensor

from arithprobe.analysis.heads.run import Causal, HeadReport
from arithprobe.attention.heads import HeadStatistics, operand_mass
from arithprobe.attention.records import head_name
from arithprobe.attention.roles import GROUPS
from arithprobe.cli.output import print_files
from arithprobe.cli.verdict import console_of, print_verdict
from arithprobe.interventions.heads import HeadAblation
from arithprobe.logic import CANNOT_BE_TOLD, LEVEL
from arithprobe.probes.rank import Agreement
from arithprobe.said.numbers import change, number, share

_WIDTH = 130  # where there is no terminal to ask
_IN_SHORT = {"plus": "+"}  # of a group
Text = Callable[[float], str]


class _Column(NamedTuple):
    """A column of a table of heads."""

    name: str
    cell: Callable[[int, int], str]  # of layer and head
    below: tuple[str, ...] = ()  # cells of the lines under the heads


def print_report(report: HeadReport, files: Sequence[Path]) -> None:
    """Print it.

    Args:
        report: What was found.
        files: What was written.
    """
    console = console_of(_WIDTH)
    print_verdict(console, report.behaviour)
    console.print(
        f"{report.checkpoint} (weights {report.weights}) on {report.rows} rows of {report.data}", markup=False
    )
    console.print(_attention_table(report))
    if report.untrained:
        console.print(_untrained(report), markup=False)
    if report.causal is not None:
        console.print(_effect_table(report.causal))
        for line in _sentences(report.causal):
            console.print(line, markup=False)
    for reason in report.left_out:
        console.print(f"left out: {reason}", markup=False)
    print_files(console, files)


def _attention_table(report: HeadReport) -> Table:
    below = ("uniform", "untrained") if report.untrained else ("uniform",)
    title = f"heads: attention from '?', the last token, over {report.rows} rows"
    table = _table(title, list(_attention_columns(report)), report.copying, below)
    table.caption = (
        "x, y, +, mod: attention. most: the role with most of it. tokens: entropy over tokens, in nats. norm: share of "
        "x and y in the value-weighted norms. OV: copying score, 1 writes what it reads, -1 its opposite. uniform: a "
        "head that looks at all tokens alike."
    )
    if report.untrained:
        table.caption += f" untrained: mean over the heads of {len(report.untrained)} networks before any training."
    else:
        table.caption += f" untrained: {CANNOT_BE_TOLD}, no untrained network was read (twins is 0)."
    return table


def _effect_table(causal: Causal) -> Table:
    kinds = ", ".join(one.kind for one in causal.ablations)
    table = _table(
        f"heads: what the answers lose without each, {causal.main.n} rows", list(_effect_columns(causal)), causal.main.p
    )
    table.caption = f"{kinds}: change of the RMSE in answer units when the head's output is ablated so at every token."
    if _drawn(causal):
        table.caption += (
            f" *: p <= {LEVEL} for {causal.main.kind}, against random dimensions of z, each head by itself."
        )
    else:
        table.caption += (
            f" p against random dimensions of z: {CANNOT_BE_TOLD}, {causal.main.random.shape[1]} draws are too few."
        )
    table.caption += (
        " patched: share of the gap to another problem's answer that the head's output brings. direct: share of the "
        "outputs' variance that the head writes by itself, with every LayerNorm's scale held fixed; it may be below 0 "
        "or above 1."
    )
    return table


def _table(title: str, columns: Sequence[_Column], heads: Tensor, below: Sequence[str] = ()) -> Table:
    """A line a head, as many as (L, H) ``heads`` has, and others below."""
    table = Table(title=title, box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), caption_justify="left")
    table.add_column("head", no_wrap=True)
    for column in columns:
        table.add_column(column.name, justify="right", no_wrap=True, min_width=5)
    for layer in range(heads.shape[0]):
        for head in range(heads.shape[1]):
            table.add_row(head_name(layer, head), *(column.cell(layer, head) for column in columns))
    for line, name in enumerate(below):
        table.add_row(name, *(column.below[line] for column in columns))
    return table


def _attention_columns(report: HeadReport) -> Iterator[_Column]:
    def column(name: str, of: Callable[[HeadStatistics], Tensor], text: Text, uniform: Tensor) -> _Column:
        untrained = [of(one.statistics).mean() for one in report.untrained]
        mean = (text(float(torch.stack(untrained).mean())),) if untrained else ()
        return _numbers(name, of(report.statistics), text, (text(float(uniform)), *mean))

    statistics = report.statistics
    for group in statistics.groups_present[:-1]:  # the others are what is left
        uniform = statistics.uniform_mass[GROUPS.index(group)]
        yield column(_IN_SHORT.get(group, group), partial(_mass_on, GROUPS.index(group)), share, uniform)
    yield _Column("most", partial(_most, statistics), ("", ""))
    yield column("tokens", lambda of: of.entropy, _short, statistics.uniform_entropy)
    yield column(
        "norm", lambda of: operand_mass(of.norm_share), share, operand_mass(statistics.uniform_norm_share).mean()
    )
    copying = [one.copying for one in report.untrained]
    below = (_short(float(torch.stack(copying).nanmean())),) if copying else ()
    yield _numbers("OV", report.copying, _short, ("", *below))


def _mass_on(group: int, statistics: HeadStatistics) -> Tensor:
    return statistics.mass[..., group]


def _effect_columns(causal: Causal) -> Iterator[_Column]:
    for one in causal.ablations:
        yield _Column(one.kind, partial(_cost, one))
    if causal.patching is not None:
        yield _numbers("patched", causal.patching.recovered, _short)
    yield _numbers("direct", causal.direct.of_heads(*causal.main.p.shape), share)


def _numbers(name: str, values: Tensor, text: Text, below: tuple[str, ...] = ()) -> _Column:
    return _Column(name, lambda layer, head: text(float(values[layer, head])), below)


def _cost(ablation: HeadAblation, layer: int, head: int) -> str:
    star = "*" if ablation.p[layer, head] <= LEVEL else " "
    return f"{change(float(ablation.delta_rmse[layer, head]))}{star}"


def _most(statistics: HeadStatistics, layer: int, head: int) -> str:
    """The role that a head looks at most, and its share."""
    mass = statistics.last_role_mass[layer, head]
    role = int(mass.argmax())
    return f"{statistics.roles[role]} {share(float(mass[role]))}"


def _untrained(report: HeadReport) -> str:
    """The range over all heads, beside that of all heads of the untrained networks."""
    own, others = report.statistics, [one.statistics for one in report.untrained]
    found = {
        "attention to the operands": ([operand_mass(own.mass)], [operand_mass(one.mass) for one in others]),
        "token entropy": ([own.entropy], [one.entropy for one in others]),
        "OV copying": ([report.copying], [one.copying for one in report.untrained]),
    }
    parts = [f"{name} {_range(here)} (untrained {_range(there)})" for name, (here, there) in found.items()]
    return f"all heads: {', '.join(parts)}"


def _range(values: Sequence[Tensor]) -> str:
    every = torch.stack(list(values))
    return f"{float(every.min()):.2f} to {float(every.max()):.2f}"


def _sentences(causal: Causal) -> Iterator[str]:
    main = causal.main
    costs = main.delta_rmse.nan_to_num(nan=0.0)
    layer, head = divmod(int(costs.argmax()), costs.shape[1])
    cost = change(float(main.delta_rmse[layer, head]))
    parts = [f"{main.kind} ablation costs most for {head_name(layer, head)}: RMSE {cost}"]
    if costs[layer, head] <= 0:
        parts = [f"{main.kind} ablation of no head costs anything"]
    elif not math.isnan(lost := float(main.skill_lost[layer, head])):
        parts.append(f"{share(lost)} of the skill")
    if _drawn(causal) and costs[layer, head] > 0:
        draws, high = main.random.shape[1], float(main.random[layer].quantile(0.95))
        size = float(main.random_removed[layer].mean() / main.removed[layer, head])
        parts.append(
            f"95 % of {draws} random subspaces of z.{layer} of its rank cost less than {change(high)} (they change "
            f"z {size:.2g} times as much)"
        )
    yield "; ".join(parts)
    for one in causal.agreements:
        yield _agreement(one, main.kind)
    shares = dict(zip(causal.direct.parts, causal.direct.share.tolist(), strict=True))
    heads = sum(value for name, value in shares.items() if name.startswith("z."))
    others = ", ".join(f"{name} {share(value)}" for name, value in shares.items() if not name.startswith("z."))
    yield f"share of the outputs' variance written directly: all heads {share(heads)}, {others}"


def _agreement(one: Agreement, kind: str) -> str:
    rho, p, n = one.correlation
    against = f"{one.measure} against the cost of {kind} ablation at every token"
    if math.isnan(rho):
        return f"{against}: nothing to compare ({n} heads)"
    return f"{against}: rank correlation {rho:.2f}, p = {p:.2g}, {n} heads"


def _drawn(causal: Causal) -> bool:
    return 1 / (1 + causal.main.random.shape[1]) <= LEVEL  # with fewer draws no p is so small


def _short(value: float) -> str:
    return number(value) if math.isnan(value) else f"{value:.2f}".replace("-0.00", "0.00")
