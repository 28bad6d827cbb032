"""What ``arithprobe intervene`` prints: the verdict, the ledger, and what the rest comes to."""

import math
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from arithprobe.analysis.intervene.run import InterventionReport
from arithprobe.cli.output import print_files
from arithprobe.cli.verdict import console_of, print_verdict
from arithprobe.interventions.ablation import AblationEffect, displaced_by
from arithprobe.interventions.interchange import Interchange
from arithprobe.interventions.intervals import fit_words
from arithprobe.interventions.ledger_row import LedgerRow
from arithprobe.interventions.random_family import RandomFamily
from arithprobe.logic import CANNOT_BE_TOLD, LEVEL
from arithprobe.said.numbers import change, number, share

_WIDTH = 130  # where there is no terminal to ask
_FAMILIES = ("permuted", "matched")  # those that there may be a p against
_WIDE = 152  # width of the ledger with all its columns


def print_report(report: InterventionReport, files: Sequence[Path]) -> None:
    """Print it.

    Args:
        report: What was found.
        files: What was written.
    """
    console = console_of(_WIDTH)
    print_verdict(console, report.behaviour)
    console.print(
        f"{report.checkpoint} (weights {report.weights}) on {report.rows} rows of {report.data}; subspaces, means and "
        f"probes are from {report.fit_rows} others, of other sums",
        markup=False,
    )
    console.print(_ledger(report, console.width))
    for line in (*_notebook_lines(report), *_patching_lines(report), *_symmetry_lines(report)):
        console.print(line, markup=False)
    if report.variables:
        console.print(_variables(report))
    for reason in report.left_out:
        console.print(f"left out: {reason}", markup=False)
    for note in dict.fromkeys(_notes(report)):
        console.print(f"{CANNOT_BE_TOLD}: {note}", markup=False)
    for (name, note), subspaces in _descriptions(report).items():
        console.print(f"no p of {subspaces} against {name} draws: {note}", markup=False)
    console.print(f"cost: {', '.join(report.costs)}", markup=False)
    print_files(console, files)


def _ledger(report: InterventionReport, width: int) -> Table:
    main = _main(report.ledger[0])
    kind = main.kind
    table = Table(
        title=f"ledger: what is read there, and what the model's own answers lose without it ({report.rows} rows)",
        box=SIMPLE,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    rows = [_cells(row, wide=width >= _WIDE) for row in report.ledger]
    for name in rows[0]:
        table.add_column(name, justify="left" if name in ("where", "subspace") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row.values())
    table.caption = (
        f"{', '.join(effect.kind for effect in report.ledger[0].effects)}: change of the RMSE in answer units when the "
        f"subspace is ablated so. lost: share of the\nintact skill, under {kind}. displaced: percent of the variance "
        "that it displaces, and that the draws behind each p do.\np: against the same fit on permuted labels / "
        "against LEACE of random functions of the states that displace as much (of\noblique erasers only); "
        f"*: p <= {LEVEL}. steer: response of the answer over what arithmetic demands. swap: share of the demanded\n"
        "shift when the subspace is another problem's; 95 % intervals of both and of the changes are in ledger.json\n"
        f"({_fit(report)}). "
        "~: only the last LayerNorm and a linear head come after: nearly a tautology.\n"
        f"-: {CANNOT_BE_TOLD}: {_why(report)}."
    )
    if width >= _WIDE:
        table.caption += (
            "\nrefit: R2 of a readout of the answer fitted anew without the subspace: what another readout could use, "
            "not what the model uses.\nridge, MLP: R2 of new probes for the target afterwards."
        )
    return table


def _fit(report: InterventionReport) -> str:
    return fit_words(effect.fit_blocks for row in report.ledger for effect in row.effects)


def _why(report: InterventionReport) -> str:
    """Where a dash comes from."""
    whys = [] if report.behaviour.verdict != "NOT LEARNED" else ["there is no skill to lose"]
    whys += ["p: no such draws, see below"] if _notes(report) else []
    return "; ".join([*whys, "too few rows, or arithmetic does not say where the answer goes"])


def _cells(row: LedgerRow, *, wide: bool) -> dict[str, str]:
    """The cells of a row, by the head of their column."""
    main, swap = _main(row), row.interchange
    found: dict[str, str] = {
        "where": f"{row.site}@{row.position}{' ~' if row.near_tautological else ''}",
        "subspace": row.subspace,
        "R2": number(row.held_out_r2),
        **{effect.kind: change(effect.delta_rmse) for effect in row.effects},
        "lost": share(main.skill_lost),
        "displaced": _displaced(main),
        "p": _p(main),
    }
    if wide:
        left = {"refit": row.refit_r2, "ridge": row.residual_r2_linear, "MLP": row.residual_r2_mlp}
        found |= {name: number(value) for name, value in left.items()}
    return found | {
        "steer": _short(row.steering_slope),
        "swap": _short(None if swap is None else swap.recovered.fraction),
    }


def _main(row: LedgerRow) -> AblationEffect:
    """The ablation that the table compares with random subspaces."""
    return row.effect("mean") or row.effects[0]


def _displaced(effect: AblationEffect) -> str:
    """Percent of the variance, of the subspace and of the draws of each null, in the order of their p."""
    ranges = ["-".join(map(_percent, displaced_by(effect, null))) for null in _nulls(effect) if len(null.removed)]
    return f"{_percent(effect.displaced)} ({' / '.join(ranges)})" if ranges else _percent(effect.displaced)


def _percent(share: float) -> str:
    return "<1" if 0 < share < 0.005 else f"{100 * share:.0f}"


def _nulls(effect: AblationEffect) -> list[RandomFamily]:
    """The families that there is a p against."""
    return sorted((one for one in effect.families if one.is_null), key=lambda one: _FAMILIES.index(one.name))


def _p(effect: AblationEffect) -> str:
    """The p-value against each null."""
    shown = ("-" if math.isnan(one.p) else f"{one.p:.3f}{'*' if one.p <= LEVEL else ' '}" for one in _nulls(effect))
    return " / ".join(shown)


def _notebook_lines(report: InterventionReport) -> list[str]:
    one = report.notebook
    if one is None:
        return []
    return [
        f"after removing the notebook's rank-1 direction of the sum at final@last a refitted readout still has R2 "
        f"{one.refit:.3f} (intact {one.refit_intact:.3f}), the model's own head has {one.own:.3f} (intact "
        f"{one.own_intact:.3f}), on {one.n} rows"
    ]


def _patching_lines(report: InterventionReport) -> list[str]:
    found = report.patching
    if found is None:
        return []
    lines = []
    for row, site in enumerate(found.sites):
        known = found.recovered[row].nan_to_num(nan=-math.inf)
        best = known.argsort(descending=True)[:3].tolist()
        cells = ", ".join(f"{found.positions[p]} {float(known[p]):.2f}" for p in best if known[p] >= 0.05)
        lines.append(f"patching {site}: {cells or 'no single cell carries 5 % of the gap'}")
    return ["share of the answer gap that comes with the whole state of one cell:", *lines]


def _variables(report: InterventionReport) -> Table:
    names = list(dict.fromkeys(name for _, name, _ in report.variables))
    found = {(site, name): one for site, name, one in report.variables}
    table = Table(title="interchange at all tokens (leace): share of the intended shift of the answer", box=SIMPLE)
    table.add_column("site")
    for name in names:
        table.add_column(f"{name} (whole, exact)", justify="right")
    for site in dict.fromkeys(site for site, _, _ in report.variables):
        cells = [found[site, name] for name in names if (site, name) in found]
        table.add_row(site, *(_swap(one) for one in cells))
    table.caption = f"whole: with the whole state. exact: answers as arithmetic demands. *: p <= {LEVEL} (random ones)."
    return table


def _swap(one: Interchange) -> str:
    mark = "*" if one.p <= LEVEL else " "
    return f"{one.recovered.fraction:.2f}{mark} ({one.whole_state:.2f}, {one.exact_match:.1%})"


def _symmetry_lines(report: InterventionReport) -> list[str]:
    lines = []
    for what in dict.fromkeys(one.change for one in report.symmetry):
        tests = [one for one in report.symmetry if one.change == what]
        off = {}
        for size in sorted({abs(one.d) for one in tests}):
            both = [one.distance for one in tests if abs(one.d) == size]
            off[size] = sum(both) / len(both)
        shown = ", ".join(f"{size}: {distance:.3g}" for size, distance in off.items())
        compared = f"{min(one.n for one in tests)} to {max(one.n for one in tests)} of {report.rows} rows are compared"
        unrelated = f"unrelated problems: {tests[0].unrelated:.3g}"
        lines.append(f"({what}), by size: answers are off by {shown} ({unrelated}; {compared})")
    return lines


def _notes(report: InterventionReport) -> list[str]:
    """Why a p of the table is a dash; of the other ablations it is in ``ledger.json``."""
    return [
        f"{row.site}@{row.position} {row.subspace}, {_main(row).kind}: {family.name}: {family.note}"
        for row in report.ledger
        for family in _main(row).families
        if family.untold
    ]


def _descriptions(report: InterventionReport) -> dict[tuple[str, str], str]:
    """Families that are no null of what they stand beside, and why; of which subspaces."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for row in report.ledger:
        for effect in row.effects:
            for family in effect.families:
                if not family.is_null and family.note.startswith("a description"):
                    found.setdefault((family.name, family.note), {})[row.subspace] = None
    return {key: ", ".join(subspaces) for key, subspaces in found.items()}


def _short(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"
