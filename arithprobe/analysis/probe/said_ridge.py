"""The findings of ridge probes: the table of the readout, a map of each target, and the gain since initialisation."""

import math
from collections.abc import Iterator, Sequence

import torch

from arithprobe.analysis.probe.initialisation import SinceInitialisation
from arithprobe.analysis.probe.run import ProbeReport
from arithprobe.behaviour import Behaviour
from arithprobe.logic import CANNOT_BE_TOLD
from arithprobe.plotting.heatmap import probe_heatmap
from arithprobe.probes.controls import UNTRAINED_MORE
from arithprobe.probes.scores import CellScores
from arithprobe.probes.wanted import wanted_targets
from arithprobe.said.content import Column, Content, Picture, Table, Words
from arithprobe.said.numbers import interval, number, share

_MOST = 0.5  # of the penalties of a cell
_FILLED = 0.2  # share of the rows that a cell must have to be called the best
_MAPPED = ("x", "y", "sum", "residue")  # targets with a map
_COLUMNS = (Column("target", is_text=True), *map(Column, ("R2 [95 %]", "shuffled", "p", "untrained", "explained")))
_BEST = Column("best cell", is_text=True, optional=True)
_SURFACE = {"lengths": ("lengths", "digit counts"), "characters": ("text", "the characters")}
_UNTRAINED = (
    "untrained: mean R2 of {} untrained networks of this architecture.",
    f"explained: share of R2 that untrained networks already have (reads more: {UNTRAINED_MORE} than trained;\n"
    f"-: {CANNOT_BE_TOLD}, because R2 is not above 0 and above shuffled labels).",
)
_NO_TWINS = (f"untrained, explained: {CANNOT_BE_TOLD}, no untrained network was probed (twins is 0).",)
_ENDS = (
    "R2<: most folds chose the smallest penalty of --alphas; a smaller one might read more.\n"
    "R2>: most folds chose the largest penalty; the probe nearly answers the mean."
)


def ridge_blocks(report: ProbeReport, site: str) -> Iterator[Content]:
    """Return the table, the maps, and the lines below the table.

    Args:
        report: The results of the probes.
        site: The readout.
    """
    yield _table(report, site)
    functions = wanted_targets("targets", report.options.targets).functions
    mapped = {*_MAPPED, *(one.name for one in functions)}
    for one in report.ridge:
        if one.target in mapped:
            yield _map(one, report.behaviour)
    if report.since is not None:
        yield Words(_since_line(report.since, site))
    yield from (Words(line) for line in _wide_lines(report))


def _table(report: ProbeReport, site: str) -> Table:
    untrained = [note.format(report.twins[0].twins) for note in _UNTRAINED] if report.twins else _NO_TWINS
    surface = [_SURFACE.get(kind, (kind, f"the {kind}")) for kind in report.surface]
    names, kinds = ([one[part] for one in surface] for part in (0, 1))
    at_an_end = any(_end_of_grid(scores.at(site)) for scores in report.ridge)
    return Table(
        f"ridge probes at {site}@last: held-out R2 with controls ({report.ridge[0].at(site)['n_test']:.0f} rows, each "
        "held out once)",
        (*_COLUMNS, *(Column(name, optional=True) for name, _ in surface), _BEST),
        tuple(_row(report, index, site) for index in range(len(report.ridge))),
        (
            "shuffled: 95 % of the fits on permuted labels score below this.",
            *untrained,
            *([f"{', '.join(names)}: R2 of a probe that sees only {', only '.join(kinds)}."] if surface else []),
            *(f"[-]: {reason}." for reason in _no_interval(report.ridge, site)),
            *([_ENDS] if at_an_end else []),
        ),
    )


def _row(report: ProbeReport, index: int, site: str) -> tuple[str, ...]:
    scores = report.ridge[index]
    cell, row = scores.at(site), scores.sites.index(site)
    untrained = explained = "-"
    if report.twins:
        one = report.twins[index]
        explained = "reads more" if one.why_not(row, 0) == UNTRAINED_MORE else share(float(one.explained[row, 0]))
        untrained = number(float(one.twin[row, 0]))
    best, at = _best_cell(scores, cell["n_test"])
    return (
        scores.target,
        f"{number(cell['r2'])}{_end_of_grid(cell)} {interval(cell['low'], cell['high'])}",
        number(cell["null_high"]),
        f"{cell['p']:.2f}",
        untrained,
        explained,
        *(number(float(of_kind[index].r2[0, 0])) for of_kind in report.surface.values()),
        f"{best:.3f} {at}",
    )


def _best_cell(scores: CellScores, rows: float) -> tuple[float, str]:
    """The highest R2 of a cell, and where it is; a few rows can score anything, and do not count."""
    well_filled = scores.n_test >= _FILLED * rows
    r2 = torch.where(well_filled, scores.r2.nan_to_num(nan=-math.inf), -math.inf)
    row, column = divmod(int(r2.argmax()), len(scores.positions))
    return float(r2[row, column]), f"{scores.sites[row]}@{scores.positions[column]}"


def _map(scores: CellScores, behaviour: Behaviour) -> Picture:
    rows = float(scores.n_test[:, scores.positions.index("last")].amax())
    best, at = _best_cell(scores, rows)
    known = not math.isinf(best)
    return Picture(
        f"ridge_{scores.target}",
        lambda: probe_heatmap(scores, behaviour, None),
        f"The best cell is {at}, held-out R2 {best:.3f}." if known else "Nothing could be scored.",
        f"Held-out R2 of {scores.target} by site and position",
        "Anything about cells without a colour: their scores are not above permuted labels.",
    )


def _end_of_grid(cell: dict[str, float]) -> str:
    """The mark of a penalty at the end of its grid; empty elsewhere."""
    if cell["alpha_at_smallest"] > _MOST:
        return "<"
    return ">" if cell["alpha_at_largest"] > _MOST else ""


def _no_interval(ridge: Sequence[CellScores], site: str) -> list[str]:
    """Why scores at the readout have no interval."""
    reasons = (scores.no_interval(scores.sites.index(site), scores.positions.index("last")) for scores in ridge)
    return [reason for reason in dict.fromkeys(reasons) if reason]


def _since_line(since: SinceInitialisation, site: str) -> str:
    shown = []
    for one in since.differences:
        row = one.sites.index(site)
        low, high = float(one.low[row]), float(one.high[row])
        ends = f" [{low:+.3f}, {high:+.3f}]" if low == low else ""
        shown.append(f"{one.target} {float(one.difference[row]):+.3f}{ends}")
    return (
        f"change of R2 at {site}@last since initialisation ({since.initial.origin}), on the same rows and folds: "
        f"{', '.join(shown)} (95 % intervals over groups of the {since.differences[0].n} rows; no test)"
    )


def _wide_lines(report: ProbeReport) -> Iterator[str]:
    """What is read at sites of another width, such as neurons, a line a target."""
    for index, scores in enumerate(report.wide):
        values = []
        for row, site in enumerate(scores.sites):
            cell = scores.at(site)
            untrained = f", untrained {number(float(report.wide_twins[index].twin[row, 0]))}" if report.twins else ""
            values.append(
                f"{site} {number(cell['r2'])} {interval(cell['low'], cell['high'])} "
                f"(shuffled {number(cell['null_high'])}, p {cell['p']:.2f}{untrained})"
            )
        yield f"ridge probe of {scores.target!r} at the last token: held-out R2 {'; '.join(values)}"
