"""The findings of probes of any states: each score beside its null."""

from collections.abc import Iterator

from arithprobe.analysis.states.given import BY_VALUE
from arithprobe.analysis.states.run import StatesReport
from arithprobe.plotting.held_out import held_out_by_site
from arithprobe.probes.scores import CellScores
from arithprobe.said.content import Column, Content, Picture, Said, Table, Words
from arithprobe.said.numbers import interval, number

_COLUMNS = (
    Column("target", is_text=True),
    Column("site", is_text=True),
    *map(Column, ("held-out R2 [95 %]", "shuffled", "p", "in sample", "dimensions used", "groups")),
)
_NOTES = (
    "shuffled: 95 % of the same probes on permuted labels are below. p: of each cell alone.",
    "in sample: R2 on the rows of the fit, never a result by itself.",
)
_DOES_NOT_SHOW = (
    "That the network uses what is read, or that training put it there: probe the states of an untrained network too."
)


def said_of(report: StatesReport) -> Said:
    """Return the findings.

    Args:
        report: The results of the probes.
    """
    return Said(
        name="states",
        title="What can be read from the states",
        behaviour=None,
        blocks=tuple(_blocks(report)),
        shows="What a linear probe reads from the states, on groups of rows that it was not fitted on.",
        does_not_show=_DOES_NOT_SHOW,
    )


def lines_of(report: StatesReport) -> list[str]:
    """Return one line per target: the site where it is read best."""
    return [_best(one) for one in report.ridge]


def _blocks(report: StatesReport) -> Iterator[Content]:
    by = "of equal target value" if report.group == BY_VALUE else "of one group"
    yield Words(
        f"{report.rows} rows; rows {by} are held out together, {report.folds} folds; "
        f"{report.permutations} permutations of the labels"
    )
    cells = [(one, site) for one in report.ridge for site in one.sites]
    reasons = dict.fromkeys(one.no_interval(one.sites.index(site), 0) for one, site in cells)
    notes = (*_NOTES, *(f"[-]: {reason}." for reason in reasons if reason))
    yield Table("Ridge probes", _COLUMNS, tuple(_row(*cell) for cell in cells), notes)
    if len(cells) > 1:
        yield Picture(
            "held_out",
            lambda: held_out_by_site(report.ridge),
            " ".join(f"{line}." for line in lines_of(report)),
            "Held-out R2 by target and site",
            _DOES_NOT_SHOW,
        )
    yield Words(f"This does not show: {_DOES_NOT_SHOW[0].lower()}{_DOES_NOT_SHOW[1:]}")


def _row(scores: CellScores, site: str) -> tuple[str, ...]:
    cell = scores.at(site)
    return (
        scores.target,
        site,
        f"{number(cell['r2'])} {interval(cell['low'], cell['high'])}",
        number(cell["null_high"]),
        f"{cell['p']:.2g}",
        number(cell["r2_in_sample"]),
        f"{cell['edf']:.0f}",
        f"{cell['n_groups']:.0f}",
    )


def _best(scores: CellScores) -> str:
    site = scores.sites[int(scores.r2[:, 0].nan_to_num(nan=-float("inf")).argmax())]
    cell = scores.at(site)
    return (
        f"{scores.target} at {site}: held-out R2 {number(cell['r2'])} {interval(cell['low'], cell['high'])}, "
        f"shuffled below {number(cell['null_high'])}, p {cell['p']:.2g}"
    )
