"""What ``arithprobe probe`` prints: the verdict, then tables that set each score beside its controls."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from arithprobe.analysis.probe.initialisation import SinceInitialisation
from arithprobe.analysis.probe.run import ProbeReport
from arithprobe.cli.ladder_table import print_ladders, print_planes
from arithprobe.cli.output import print_files
from arithprobe.cli.verdict import console_of, print_verdict
from arithprobe.logic import CANNOT_BE_TOLD, FAILS, HOLDS
from arithprobe.probes.circles import FourierScores, PeriodScore, best_periods
from arithprobe.probes.controls import UNTRAINED_MORE
from arithprobe.probes.decode import AngleDecoding
from arithprobe.probes.mlp_scores import MLPScores
from arithprobe.probes.neighbours import grouped_waves
from arithprobe.probes.scores import CellScores
from arithprobe.said.numbers import number, share

_SITE = "final"
_MOST = 0.5  # of the penalties of a cell
_WIDTH = 130  # where there is no terminal to ask
_MEDIUM, _WIDE = 95, 118  # width of the table without its last column, and with it
_UNTRAINED = (
    "untrained: mean of {} random-init networks of this architecture.\n"
    f"explained: the part of R2 that needs no training (reads more: {UNTRAINED_MORE} than trained;\n"
    f"-: {CANNOT_BE_TOLD}, R2 is not above 0 and shuffled labels)."
)
_NO_TWINS = f"untrained, explained: {CANNOT_BE_TOLD}, no untrained network was probed (twins is 0)."
_ENDS = (
    "R2<, R2>: most penalties chosen are the smallest, the largest of --alphas: a smaller one might read more;\nwith a "
    "larger one the probe answers the mean, as it nearly does."
)
_FILLED = 0.2  # share of the rows that a cell must have to be called the best


def print_report(report: ProbeReport, files: Sequence[Path]) -> None:
    """Print it.

    Args:
        report: What was found.
        files: What was written.
    """
    console = console_of(_WIDTH)
    print_verdict(console, report.behaviour)
    console.print(
        f"{report.checkpoint} on {report.rows} rows of {report.data}; skill is against the mean of "
        f"{report.constant_from}, {report.constant:.4g}",
        markup=False,
    )
    console.print(_ridge_table(report, console.width))
    if report.since is not None:
        console.print(_since_line(report.since), markup=False)
    for line in _wide_lines(report):
        console.print(line, markup=False)
    if report.circle is not None:
        for line in _circle_lines(report.circle, report.circle_twin, report.decoding):
            console.print(line, markup=False)
    if report.small:
        console.print(_small_table(report.small))
    console.print(_refit_line(report), markup=False)
    for one in report.mlp:
        console.print(_mlp_line(one), markup=False)
    for reason in report.left_out:
        console.print(f"left out: {reason}", markup=False)
    for cost in report.costs:
        console.print(f"cost: {cost}", markup=False)
    print_planes(console, report.planes)
    print_ladders(console, report.ladder)
    print_files(console, files)


def _ridge_table(report: ProbeReport, width: int) -> Table:
    first = report.ridge[0].at(_SITE)
    table = Table(
        title=f"ridge probes at {_SITE}@last: held-out R2 ({first['n_test']:.0f} rows, each held out once) and what to "
        "compare it with",
        box=SIMPLE,
    )
    columns = [
        ("target", "R2 [95 %]", "shuffled", "p", "untrained", "explained"),
        ("lengths", "text") if width >= _MEDIUM else (),
        ("best cell",) if width >= _WIDE else (),
    ]
    names = [name for part in columns for name in part]
    for name in names:
        table.add_column(name, justify="left" if name in ("target", "best cell") else "right", no_wrap=True)
    for index in range(len(report.ridge)):
        row = _ridge_row(report, index)
        table.add_row(*(row[name] for name in names))
    untrained = _UNTRAINED.format(report.twins[0].twins) if report.twins else _NO_TWINS
    table.caption = (
        f"shuffled: 95 % of permuted labels are below. {untrained}\n"
        "lengths, text: R2 from digit counts, from the characters."
        + escape("".join(f"\n[-]: {reason}." for reason in _no_interval(report.ridge)))
    )
    if any(_end_of_grid(scores.at(_SITE)) for scores in report.ridge):
        table.caption += f"\n{_ENDS}"
    return table


def _no_interval(ridge: Sequence[CellScores]) -> list[str]:
    """Why scores at the readout have no interval."""
    reasons = (scores.no_interval(scores.sites.index(_SITE), scores.positions.index("last")) for scores in ridge)
    return [reason for reason in dict.fromkeys(reasons) if reason]


def _interval(low: float, high: float) -> str:
    return "[-]" if low != low else f"[{number(low)}, {number(high)}]"


def _wide_lines(report: ProbeReport) -> list[str]:
    """What is read at sites of another width, such as neurons, a line a target."""
    lines = []
    for index, scores in enumerate(report.wide):
        figures = []
        for row, site in enumerate(scores.sites):
            cell = scores.at(site)
            untrained = f", untrained {number(float(report.wide_twins[index].twin[row, 0]))}" if report.twins else ""
            figures.append(
                f"{site} {number(cell['r2'])} {_interval(cell['low'], cell['high'])} "
                f"(shuffled {number(cell['null_high'])}, p {cell['p']:.2f}{untrained})"
            )
        lines.append(f"ridge probe of {scores.target!r} at the last token: held-out R2 {'; '.join(figures)}")
    return lines


def _since_line(since: SinceInitialisation) -> str:
    shown = []
    for one in since.differences:
        row = one.sites.index(_SITE)
        low, high = float(one.low[row]), float(one.high[row])
        interval = f" [{low:+.3f}, {high:+.3f}]" if low == low else ""
        shown.append(f"{one.target} {float(one.difference[row]):+.3f}{interval}")
    return (
        f"since its own initialisation ({since.initial.origin}), R2 at {_SITE}@last on the same rows and folds: "
        f"{', '.join(shown)} (95 % over groups of the {since.differences[0].n} rows; a description, no test)"
    )


def _ridge_row(report: ProbeReport, index: int) -> dict[str, str]:
    scores = report.ridge[index]
    cell, row = scores.at(_SITE), scores.sites.index(_SITE)
    interval = _interval(cell["low"], cell["high"])
    found = {
        "target": scores.target,
        "R2 [95 %]": f"{number(cell['r2'])}{_end_of_grid(cell)} {escape(interval)}",
        "shuffled": number(cell["null_high"]),
        "p": f"{cell['p']:.2f}",
        "untrained": "-",
        "explained": "-",
    }
    if report.twins:
        one = report.twins[index]
        explained = "reads more" if one.why_not(row, 0) == UNTRAINED_MORE else share(float(one.explained[row, 0]))
        found |= {"untrained": number(float(one.twin[row, 0])), "explained": explained}
    for name, kind in (("lengths", "lengths"), ("text", "characters")):
        found[name] = number(float(report.surface[kind][index].r2[0, 0]))
    well_filled = scores.n_test >= _FILLED * cell["n_test"]  # a few rows can score anything
    r2 = torch.where(well_filled, scores.r2.nan_to_num(nan=-math.inf), -math.inf)
    site, position = divmod(int(r2.argmax()), len(scores.positions))
    found["best cell"] = f"{float(r2[site, position]):.3f} {scores.sites[site]}@{scores.positions[position]}"
    return found


def _end_of_grid(cell: dict[str, float]) -> str:
    """The mark of a penalty at the end of its grid; empty elsewhere."""
    if cell["alpha_at_smallest"] > _MOST:
        return "<"
    return ">" if cell["alpha_at_largest"] > _MOST else ""


def _circle_lines(scores: FourierScores, twin: FourierScores | None, decoding: AngleDecoding | None) -> list[str]:
    row, circle = scores.sites.index(_SITE), scores.circle
    null = float(scores.macro_null[row, 0].quantile(0.95))
    lines = [
        f"Fourier probes of {circle.quantity!r} mod {circle.period} at {_SITE}@last, {len(circle.frequencies)} "
        f"frequencies: mean held-out R2 {float(scores.macro[row, 0]):.3f} (shuffled below {null:.3f}"
        + (f", untrained {float(twin.macro[row, 0]):.3f})" if twin is not None else ")")
    ]
    key = scores.key_frequencies(_SITE)
    threshold = float(scores.max_null[row, 0].quantile(0.95))
    found = [
        f"n={cell['frequency']}: R2 {cell['r2']:.3f}, encode FVE {cell['encode_fve']:.3f}, "
        f"relabelled {cell['relabelled']:.3f}, neighbouring periods {cell['neighbour']:.3f}"
        for cell in scores.at(_SITE)
        if cell["frequency"] in key[:5]
    ]
    lines.append(
        f"  key frequencies (above {threshold:.3f}, the largest of shuffled scores, and above neighbouring periods): "
        + ("; ".join(found) if found else "none")
    )
    lines += [f"  above shuffled scores too: {one}" for one in grouped_waves(scores.other_waves(_SITE))]
    if decoding is not None:
        lines.append(
            f"  decoded from the angles: {decoding.accuracy[row]:.1%} right [{decoding.low[row]:.1%}, "
            f"{decoding.high[row]:.1%}] (chance {decoding.chance:.1%}), mean circular error {decoding.error[row]:.1f} "
            f"(a guess: {circle.period / 4:.1f}), {decoding.n} rows"
        )
    if scores.refused:
        lines.append(f"  left out: {', '.join(scores.refused)}")
    return lines


def _small_table(small: Sequence[FourierScores]) -> Table:
    table = Table(title=f"small periods at {_SITE}@last: held-out R2 of the best frequency of full period", box=SIMPLE)
    best = best_periods(small, _SITE)
    periods = sorted({one.circle.period for one in best})
    table.add_column("of")
    for period in periods:
        table.add_column(str(period), justify="right")
    for quantity in dict.fromkeys(one.circle.quantity for one in best):
        found = {one.circle.period: one for one in best if one.circle.quantity == quantity}
        table.add_row(quantity, *(_period(found[period]) if period in found else "-" for period in periods))
    table.caption = (
        "in brackets: the relabelled circle; as high means that values are told apart, not that there is a circle.\n"
        "*: above permuted labels at any small period of sums, of x or of y (5 %), and above neighbouring periods;\n"
        f"~: above permuted labels, and a wave of another period; ?: {CANNOT_BE_TOLD} from a neighbouring period."
    )
    return table


def _period(one: PeriodScore) -> str:
    control = "" if math.isnan(one.relabelled) else f" ({one.relabelled:.2f})"
    mark = {HOLDS: "*", FAILS: "~", CANNOT_BE_TOLD: "?"}[one.of_period] if one.above_null else ""
    return f"{one.r2:.2f}{mark}{control}"


def _refit_line(report: ProbeReport) -> str:
    curve = report.refit
    random, count = sorted(curve.random_delta_mse[-1]), curve.dimension[-1]
    return (
        f"readout refitted without {count} probe direction{'s' * (count > 1)} at {curve.site}@last: held-out MSE "
        f"{curve.base_mse:.4g} -> {curve.base_mse + curve.delta_mse[-1]:.4g} (a constant: "
        f"{curve.answer_variance:.4g}; {len(random)} random subspaces add {random[0]:.3g} to {random[-1]:.3g}). "
        "It measures what another readout could still use, not what the model uses."
    )


def _mlp_line(scores: MLPScores) -> str:
    row = scores.sites.index(_SITE)
    names = ("score", "null_max", "ridge", "selectivity")
    interval = _interval(float(scores.low[row]), float(scores.high[row]))
    found = {name: number(float(getattr(scores, name)[row])) for name in names}
    name = "R2" if scores.kind == "regression" else "accuracy"
    chance = f", chance {scores.chance:.3f}" if scores.kind == "classification" else ""
    return (
        f"MLP {scores.kind} of {scores.target!r} at {_SITE}@last: held-out {name} {found['score']} {interval} "
        f"(largest shuffled {found['null_max']}, p {float(scores.p[row]):.2f}, ridge {found['ridge']}"
        f"{chance}; within the tolerance {float(scores.within[row]):.1%}; selectivity {found['selectivity']}; "
        f"{scores.n_test} rows)"
    )
