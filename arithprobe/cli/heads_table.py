"""What ``arithprobe heads`` prints: the verdict, a line a head, and what attention says about effect."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from arithprobe.analysis.heads import Agreement, Causal, HeadReport
from arithprobe.attention.heads import LAST_ROLE, HeadStatistics, operand_mass
from arithprobe.attention.records import head_name
from arithprobe.cli.figures import change, number, share
from arithprobe.cli.verdict import console_of, print_verdict

_WIDTH = 130  # where there is no terminal to ask


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
    for path in files:
        console.print(f"{'picture' if path.suffix == '.png' else 'all numbers'}: {escape(str(path))}")


Show = Callable[[int, int], str]
"""What a column shows of a layer and head."""


def _attention_table(report: HeadReport) -> Table:
    columns = dict(_attention_columns(report))
    table = _table(f"heads: attention from '?', the last token, over {report.rows} rows", columns, report.copying)
    table.add_row("uniform", *_uniform(report.statistics, len(columns)))
    table.caption = (
        "x, y, +, mod: attention. most: the role with most of it. tokens: entropy over tokens, in nats. moved: share "
        "of x and y in what the head adds, by value-weighted norm. OV: copying score, 1 writes what it reads, -1 its "
        "opposite."
    )
    return table


def _effect_table(causal: Causal) -> Table:
    kinds = ", ".join(one.kind for one in causal.ablations)
    stars = f"; *: p <= 0.05 against random dimensions of z, {causal.main.kind}" if _drawn(causal) else ""
    table = _table(
        f"heads: what the answers lose without each, {causal.n} rows", dict(_effect_columns(causal)), causal.main.p
    )
    table.caption = (
        f"{kinds}: change of the RMSE in answer units when the head's output is ablated so at every token{stars}. "
        "patched: share of the gap to another problem's answer that the head's output brings. direct: share of the "
        "answer that the head writes by itself, with every LayerNorm's scale held fixed."
    )
    return table


def _table(title: str, columns: dict[str, Show], heads: Tensor) -> Table:
    """A line a head, as many as (L, H) ``heads`` has."""
    table = Table(title=title, box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), caption_justify="left")
    table.add_column("head", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True, min_width=6)
    for layer in range(heads.shape[0]):
        for head in range(heads.shape[1]):
            table.add_row(head_name(layer, head), *(show(layer, head) for show in columns.values()))
    return table


def _attention_columns(report: HeadReport) -> Iterator[tuple[str, Show]]:
    """Head of the column, and what it shows of a head."""
    statistics = report.statistics
    for index, name in _groups(statistics):
        yield name, _shown(share, statistics.mass[..., index])
    yield "most", _most(statistics)
    yield "tokens", _shown(_short, statistics.entropy)
    yield "moved", _shown(share, operand_mass(statistics.moved_share))
    yield "OV", _shown(_short, report.copying)


def _groups(statistics: HeadStatistics) -> list[tuple[int, str]]:
    """Index and name of the groups that these prompts have; what is left is the others."""
    names = ("x", "y", "+", "mod")
    return [(index, name) for index, name in enumerate(names) if statistics.uniform_mass[index] > 0]


def _effect_columns(causal: Causal) -> Iterator[tuple[str, Show]]:
    for one in causal.ablations:
        yield one.kind, _with_stars(one.delta_rmse, one.p)
    if causal.patching is not None:
        yield "patched", _shown(_short, causal.patching.recovered)
    yield "direct", _shown(share, causal.direct.of_heads(*causal.main.p.shape))


def _most(statistics: HeadStatistics) -> Show:
    """The role that a head looks at most, and its share."""
    by_role = statistics.role_mass[..., statistics.roles.index(LAST_ROLE), :]

    def show(layer: int, head: int) -> str:
        role = int(by_role[layer, head].argmax())
        return f"{statistics.roles[role]} {share(float(by_role[layer, head, role]))}"

    return show


def _shown(text: Callable[[float], str], values: Tensor) -> Show:
    return lambda layer, head: text(float(values[layer, head]))


def _with_stars(values: Tensor, p: Tensor) -> Show:
    return lambda layer, head: f"{change(float(values[layer, head]))}{'*' if p[layer, head] <= 0.05 else ' '}"


def _uniform(statistics: HeadStatistics, columns: int) -> list[str]:
    """The last line: a head that looks at all tokens alike."""
    mass = statistics.uniform_mass
    cells = [share(float(mass[index])) for index, _ in _groups(statistics)]
    cells += ["", _short(float(statistics.uniform_entropy))]
    return cells + [""] * (columns - len(cells))


def _untrained(report: HeadReport) -> str:
    """The range over all heads of the untrained networks."""
    found = {
        "attention to the operands": torch.stack([operand_mass(one.statistics.mass) for one in report.untrained]),
        "token entropy": torch.stack([one.statistics.entropy for one in report.untrained]),
        "OV copying": torch.stack([one.copying for one in report.untrained]),
    }
    parts = ", ".join(f"{name} {float(value.min()):.2f} to {float(value.max()):.2f}" for name, value in found.items())
    return f"heads of untrained networks ({len(report.untrained)}): {parts}"


def _sentences(causal: Causal) -> Iterator[str]:
    main = causal.main
    layer, head = divmod(int(main.delta_rmse.argmax()), main.delta_rmse.shape[1])
    cost = change(float(main.delta_rmse[layer, head]))
    parts = [f"{main.kind} ablation costs most for {head_name(layer, head)}: RMSE {cost}"]
    if not math.isnan(lost := float(main.skill_lost[layer, head])):
        parts.append(f"{share(lost)} of the skill")
    if _drawn(causal):
        draws, high = main.random.shape[1], float(main.random[layer].quantile(0.95))
        parts.append(f"95 % of {draws} random subspaces of z.{layer} of its size cost less than {change(high)}")
    yield "; ".join(parts)
    for one in causal.agreements:
        yield _agreement(one, main.kind)
    shares = dict(zip(causal.direct.parts, causal.direct.share.tolist(), strict=True))
    heads = sum(value for name, value in shares.items() if name.startswith("z."))
    others = ", ".join(f"{name} {share(value)}" for name, value in shares.items() if not name.startswith("z."))
    yield f"written to the answer directly: all heads {share(heads)}, {others}"


def _agreement(one: Agreement, kind: str) -> str:
    rho, p, n = one.correlation
    if math.isnan(rho):
        return f"{one.measure} against the cost of {kind} ablation: too few heads to compare ({n})"
    return f"{one.measure} against the cost of {kind} ablation: rank correlation {rho:.2f}, p = {p:.2g}, {n} heads"


def _drawn(causal: Causal) -> bool:
    return causal.main.random.shape[1] > 0


def _short(value: float) -> str:
    return number(value) if math.isnan(value) else f"{value:.2f}"
