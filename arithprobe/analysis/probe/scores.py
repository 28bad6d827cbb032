"""The scores of a probe report as tidy rows."""

from collections.abc import Iterator

import torch

from arithprobe.analysis.ladder import said as ladder
from arithprobe.analysis.probe.run import ProbeReport
from arithprobe.probes.circles import FourierScores
from arithprobe.probes.scores import CellScores
from arithprobe.problems.circles import planes_name
from arithprobe.said.notebook import Score


def scores_of(report: ProbeReport) -> Iterator[Score]:
    """Return all held-out scores, and the results of interventions.

    Args:
        report: The results of the probes.
    """
    twins = (*report.twins, *report.wide_twins)
    for index, scores in enumerate((*report.ridge, *report.wide)):
        yield from _cells(scores, "r2")
        if twins:
            for cell, value in zip(scores.cells(), twins[index].twin.flatten().tolist(), strict=True):
                yield Score(str(cell["site"]), str(cell["position"]), scores.target, "r2_untrained", value)
    for kind, some in report.surface.items():
        for one in some:
            yield from (row._replace(site="", position="") for row in _cells(one, f"r2_{kind}"))
    circles = [*([] if report.circle is None else [report.circle]), *report.small]
    for name in dict.fromkeys(one.circle.name for one in circles):  # a small period may be the circle's own
        yield from _frequencies(next(one for one in circles if one.circle.name == name))
    yield from _decoded(report)
    yield from _mlp(report)
    yield from _since(report)
    yield from _planes(report)
    for columns, rise in zip(report.refit.columns, report.refit.delta_mse, strict=True):
        yield Score(report.refit.site, "last", f"{columns} probe columns", "refit_delta_mse", rise)
    yield from ladder.scores_of(report.ladder)


def _cells(scores: CellScores, name: str) -> Iterator[Score]:
    """One a cell."""
    for cell in scores.cells():
        values = (float(cell[key]) for key in ("r2", "low", "high", "null_high", "n_test"))
        yield Score(str(cell["site"]), str(cell["position"]), scores.target, name, *values)


def _frequencies(circle: FourierScores) -> Iterator[Score]:
    """R2 beside the largest null score over frequencies, encode FVE, and whether it is a key frequency: 1 or 0."""
    last = circle.positions.index("last")
    largest = circle.max_null[:, last].quantile(0.95, dim=-1) if circle.max_null.shape[-1] else None
    for cell in circle.cells():
        place = (cell["site"], "last", f"{circle.circle.name}f{cell['frequency']}")
        null = torch.nan if largest is None else float(largest[circle.sites.index(cell["site"])])
        yield Score(*place, "r2", cell["r2"], cell["low"], cell["high"], null, cell["n_test"])
        yield Score(*place, "encode_fve", cell["encode_fve"], n=cell["n_test"])
        yield Score(*place, "key", float(cell["key"]), n=cell["n_test"])


def _decoded(report: ProbeReport) -> Iterator[Score]:
    found = report.decoding
    for row, site in enumerate(() if found is None else found.sites):
        if found is not None:
            value, low, high = (float(one[row]) for one in (found.accuracy, found.low, found.high))
            yield Score(site, "last", found.circle.name, "decoded", value, low, high, n=found.n)


def _mlp(report: ProbeReport) -> Iterator[Score]:
    for one in report.mlp:
        null, n = one.null.quantile(0.95, dim=1), torch.full_like(one.score, one.n_test)
        columns = (one.score, one.low, one.high, null, n)
        for row, site in enumerate(one.sites):
            values = (float(part[row]) for part in columns)
            yield Score(site, "last", one.target, f"mlp_{one.metric}", *values)


def _since(report: ProbeReport) -> Iterator[Score]:
    for one in () if report.since is None else report.since.differences:
        for row, site in enumerate(one.sites):
            value, low, high = (float(part[row]) for part in (one.difference, one.low, one.high))
            yield Score(site, "last", one.target, "r2_since_initialisation", value, low, high, n=one.n)


def _planes(report: ProbeReport) -> Iterator[Score]:
    """Skill and exact answers without each plane, without those of the key frequencies, and with nothing but them."""
    for one in report.planes:
        circle = report.circle
        if circle is None:
            return
        quantity, period = circle.circle.quantity, circle.circle.period
        named = [
            (planes_name(quantity, period, [n]), "without", answers)
            for n, answers in zip(one.frequencies, one.excluded, strict=True)
        ]
        if one.without_key is not None and one.only_key is not None:
            key = planes_name(quantity, period, one.key)
            named += [(key, "without", one.without_key)] if len(one.key) > 1 else []  # of one it stands there already
            named.append((key, "only", one.only_key))
        for target, how, answers in named:
            yield Score(one.site, "last", target, f"skill_{how}", answers.skill, n=one.n)
            yield Score(one.site, "last", target, f"exact_{how}", answers.exact, n=one.n)
