"""Scores over a run: curves of what was logged, and maps of what live probes recorded."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from arithprobe.errors import ArithprobeError
from arithprobe.plotting.probe_curves import ProbeHistory
from arithprobe.probes.steps import steps_made
from arithprobe.reports.blocks import Cube
from arithprobe.reports.records import Lines
from arithprobe.reports.run import Run
from arithprobe.said.content import CellMap, Chart

_UPWARDS = slice(None, None, -1)  # the last layer stands first
_NUMBER = (int, float, type(None))


def of_the_fit(run: Run, points: Sequence[tuple[int, float]], probe: str | None = None) -> list[tuple[int, float]]:
    """The points of a curve without those of a validation after the fit, or between two, in the same folder.

    Args:
        run: The run.
        points: Step and value.
        probe: Name of the live probe that logged them; None of what is logged at every validation.
    """
    if not run.is_fit:
        return list(points)
    last = run.judged["last"].step
    known = [(step, value) for step, value in points if last is None or step <= last]
    lines = [line for lines in run.lines.values() for line in lines] if probe is None else run.lines.get(probe, [])
    steps = {line["step"] for line in lines}
    if not steps or (probe is None and 2 * len(steps) <= len(known)):  # no probe looked at every validation
        return known
    return [(step, value) for step, value in known if step in steps]


def history(run: Run, name: str, chart: Chart) -> ProbeHistory | None:
    """What a live probe logged at the last token, a curve a site, and what the score is compared with.

    Args:
        run: The run.
        name: The live probe's.
        chart: Which of its scores.

    Returns:
        The curves; None where no score is a number.
    """
    logged = dict(_logged(run, name, chart))
    score = logged.get(chart.metrics[0], {}) if chart.metrics else {}
    if not score:
        return None
    order = _sites(run, name)
    sites = sorted(score, key=lambda site: (order.index(site) if site in order else len(order), site))
    steps = sorted({step for one in score.values() for step in one})
    null: dict[str, dict[int, float]] = logged.get(chart.metrics[-1], {}) if len(chart.metrics) > 1 else {}
    values = [
        [[metric.get(site, {}).get(step, math.nan) for site in sites] for step in steps] for metric in (score, null)
    ]
    scores, nulls = torch.tensor(values, dtype=torch.float64)
    note = f"Null: {chart.null}" if chart.null else ""
    return ProbeHistory(name, chart.target, chart.score, tuple(steps), tuple(sites), scores, nulls, note)


def _logged(run: Run, name: str, chart: Chart) -> Iterator[tuple[str, dict[str, dict[int, float]]]]:
    """For each metric of the chart what was logged of it, by site and step."""
    prefix = f"{name}_{chart.target}/"
    for metric in chart.metrics:
        ending = f"@last/{metric}"
        tags = [tag for tag in run.scalars if tag.startswith(prefix) and tag.endswith(ending)]
        curves = {tag[len(prefix) : -len(ending)]: dict(of_the_fit(run, run.scalars[tag], name)) for tag in tags}
        yield metric, {site: curve for site, curve in curves.items() if curve}


def _sites(run: Run, name: str) -> list[str]:
    """The sites in the order of the network, as the records have them: the probe's own first."""
    lines = [*run.lines.get(name, [])[-1:], *(line for lines in run.lines.values() for line in lines[-1:])]
    cells = (cell for line in lines for cell in _cells_of(line))
    return list(dict.fromkeys(cell["site"] for cell in cells if isinstance(cell.get("site"), str)))


def _cells_of(line: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells of a line; none of one that has them in another form, or has none."""
    cells = line.get("cells")
    return [cell for cell in cells if isinstance(cell, dict)] if isinstance(cells, list) else []


def cube_of(run: Run, name: str, of: CellMap) -> Cube | None:
    """A map of sites for each validation of a live probe; None where there is none with such cells.

    Args:
        run: The run.
        name: The live probe's.
        of: Which of its cells, and what is drawn of them.

    Raises:
        ArithprobeError: If a cell holds what is no score.
    """
    chosen = [(steps_made(line["step"]), _chosen(line, of)) for line in run.lines.get(name, [])]
    chosen = [(step, cells) for step, cells in chosen if cells]
    every = [cell for _, cells in chosen for cell in cells]
    for cell in every:
        if not _is_whole(cell, of):
            where = run.folder / "probes" / f"{name}.jsonl"
            raise ArithprobeError(f"{where}: a cell of {of.caption!r} is {cell!r:.200}; fit again, or delete the file")
    if not every:
        return None
    sites = list(dict.fromkeys(cell["site"] for cell in every))
    columns = list(dict.fromkeys(str(cell[of.column]) for cell in every))
    score, null, count = (np.full((len(chosen), len(sites), len(columns)), np.nan) for _ in range(3))
    beaten = np.zeros(score.shape, dtype=bool)
    for at, (_, cells) in enumerate(chosen):
        for cell in cells:
            place = at, sites.index(cell["site"]), columns.index(str(cell[of.column]))
            for values, name in ((score, of.score), (null, of.null), (count, of.count)):
                values[place] = np.nan if cell.get(name) is None else cell[name]
            beaten[place] = bool(cell[of.mark])
    score[~np.isfinite(score)] = np.nan
    return Cube(
        of.caption,
        f"After {chosen[-1][0]} steps {_best(score[-1], beaten[-1], sites, columns, of)}.",
        of.across,
        [step for step, _ in chosen],
        sites[_UPWARDS],
        columns,
        _fewest(every, columns, of),
        _rounded(score[:, _UPWARDS], 4),
        beaten[:, _UPWARDS].astype(int).tolist(),
        _rounded(null[:, _UPWARDS], 3) if of.null else None,
        _rounded(count[:, _UPWARDS], 0) if of.count else None,
        of.score_name,
        of.marked,
    )


def _rounded(values: npt.NDArray[np.float64], digits: int) -> list[list[list[float | None]]]:
    """(T, S, C) numbers as lists; None for what is none."""
    return [
        [[round(x, digits or None) if math.isfinite(x) else None for x in row] for row in step]
        for step in values.tolist()
    ]


def _chosen(line: dict[str, Any], of: CellMap) -> list[dict[str, Any]]:
    """The cells of a map in one line; none where nobody said which of them stand out, as earlier versions did not."""
    cells = [cell for cell in _cells_of(line) if all(cell.get(key) == value for key, value in of.where.items())]
    return cells if all(of.mark in cell for cell in cells) else []


def _is_whole(cell: dict[str, Any], of: CellMap) -> bool:
    numbers = [of.score, *filter(None, (of.count, of.null))]
    return (
        isinstance(cell.get("site"), str)
        and type(cell.get(of.column)) in (str, int)
        and type(cell[of.mark]) in (bool, type(None))
        and all(type(cell.get(name, "")) in _NUMBER for name in numbers)
    )


def _fewest(cells: Lines, columns: Sequence[str], of: CellMap) -> list[str]:
    """For each column the fewest rows behind a cell of it, in words."""
    if not of.count:
        return []
    counts: dict[str, list[float]] = {column: [] for column in columns}
    for cell in cells:
        counts[str(cell[of.column])].append(cell[of.count] or 0)
    return [f"n {min(counts[column]):.0f}" for column in columns]


def _best(
    score: npt.NDArray[np.float64],
    beaten: npt.NDArray[np.bool_],
    sites: Sequence[str],
    columns: Sequence[str],
    of: CellMap,
) -> str:
    if np.isnan(score).all():
        return "nothing could be scored"
    row, column = divmod(int(np.nanargmax(score)), len(columns))
    stands = of.marked if beaten[row, column] else f"not {of.marked}"
    where = f"{sites[row]} at {columns[column]}"
    return f"the best cell is {where}, {of.score_name} {score[row, column]:.3f}, {stands}"
