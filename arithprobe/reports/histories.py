"""Scores over a run, from its records: curves of one target, and maps by site and position or frequency."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from arithprobe.errors import ArithprobeError
from arithprobe.logic import CANNOT_BE_TOLD, HOLDS, LEVEL
from arithprobe.plotting.probe_curves import ProbeHistory
from arithprobe.probes.neighbours import said_of
from arithprobe.probes.tags import Tag
from arithprobe.problems.circles import Circle
from arithprobe.reports.run import Run

_SCORES = {"r2": "held-out R2", "accuracy": "held-out accuracy"}
_NULLS = ("null_high", "null_max")
_CURVES = ("ridge", "fourier", "mlp")


class Map(NamedTuple):
    """A score by validation, site and column."""

    steps: tuple[int, ...]
    """T steps made."""
    sites: tuple[str, ...]
    """S sites, from the embedding up."""
    columns: tuple[str, ...]
    """C positions, or frequencies."""
    score: npt.NDArray[np.float64]
    """(T, S, C) held-out R2; NaN where there is none."""
    above: npt.NDArray[np.bool_]
    """(T, S, C) whether it is above its null; of a frequency, whether it is a key frequency."""
    n: tuple[int, ...]
    """(C,) fewest held-out rows; empty where columns are frequencies."""


def curves(run: Run) -> Iterator[ProbeHistory]:
    """The logged scores of each probe at the last token, with the upper end of their null."""
    scores: dict[tuple[str, str], dict[str, dict[str, dict[int, float]]]] = {}
    for text, points in run.scalars.items():
        try:
            tag = Tag.parse(text)
        except ArithprobeError:  # a loss, or a metric
            continue
        if tag.analysis in _CURVES and tag.position == "last":
            metrics = scores.setdefault((tag.analysis, tag.target), {})
            metrics.setdefault(tag.metric, {})[tag.site] = dict(of_the_fit(run, points))
    order = list(
        dict.fromkeys(cell.get("target") for name in _CURVES for line in run.lines[name] for cell in line["cells"])
    )
    for analysis, target in sorted(scores, key=lambda one: (_CURVES.index(one[0]), _place(one[1], order), one[1])):
        found = _history(analysis, target, scores[analysis, target], _sites(run))
        if found is not None:
            yield found


def _history(
    analysis: str, target: str, metrics: dict[str, dict[str, dict[int, float]]], order: Sequence[str]
) -> ProbeHistory | None:
    score = next((name for name in _SCORES if name in metrics), None)
    null = next((name for name in _NULLS if name in metrics), None)
    if score is None or null is None:
        return None
    sites = sorted(metrics[score], key=lambda site: (_place(site, order), site))
    steps = sorted({step for site in sites for step in metrics[score][site]})
    table = [
        [[metrics[name].get(site, {}).get(step, math.nan) for site in sites] for step in steps]
        for name in (score, null)
    ]
    values = torch.tensor(table, dtype=torch.float64)
    note = {"null_high": "Null: permuted labels", "null_max": "Null: the largest of the label shuffles"}[null]
    return ProbeHistory(analysis, target, _SCORES[score], tuple(steps), tuple(sites), values[0], values[1], note)


def of_the_fit(run: Run, points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """The points of a curve without those of a validation after the fit, or between two, in the same folder."""
    if not run.is_fit:
        return list(points)
    last = run.judged["last"].step
    every = {line["step"] for name in ("ridge", "fourier") for line in run.lines[name]}
    return [(step, value) for step, value in points if (last is None or step <= last) and (not every or step in every)]


def _place(name: str, order: Sequence[str | None]) -> int:
    """Where a name stands; those that are not named, last."""
    return order.index(name) if name in order else len(order)


def _sites(run: Run) -> list[str]:
    """The sites in the order of the network, as the records have them."""
    cells = (line["cells"] for name in _CURVES for line in run.lines[name][-1:])
    return list(dict.fromkeys(cell["site"] for some in cells for cell in some))


def ridge_maps(run: Run) -> dict[str, Map]:
    """Site x position maps of each target over the validations; the positions are those the run recorded."""
    lines = run.lines["ridge"]
    targets = list(dict.fromkeys(cell["target"] for line in lines for cell in line["cells"]))
    return {
        target: _map(
            lines,
            [[cell for cell in line["cells"] if cell["target"] == target] for line in lines],
            "position",
            lambda cell: (cell["r2"] or 0.0) > 0 and (cell["p"] or 1.0) <= LEVEL,
        )
        for target in targets
    }


def fourier_maps(run: Run) -> dict[str, Map]:
    """Site x frequency maps of each circle over the validations."""
    found = {}
    for name in dict.fromkeys(f"{line['quantity']}mod{line['period']}" for line in run.lines["fourier"]):
        lines = [line for line in run.lines["fourier"] if f"{line['quantity']}mod{line['period']}" == name]
        found[name] = _map(
            lines,
            [line["cells"] for line in lines],
            "frequency",
            lambda cell: _above_null(cell) and cell.get("of_period") == HOLDS,
        )
    return found


def _above_null(cell: dict[str, Any]) -> bool:
    return (cell["r2"] or 0.0) > 0 and (cell["p_max"] or 1.0) <= LEVEL


def other_waves(run: Run, name: str, site: str) -> dict[int, str]:
    """Frequencies of a circle above the null at the last validation that are no key frequencies, and what they are.

    Runs of earlier versions did not compare them with neighbouring periods: it cannot be told.
    """
    line = next(one for one in reversed(run.lines["fourier"]) if f"{one['quantity']}mod{one['period']}" == name)
    cells = [cell for cell in line["cells"] if cell["site"] == site and _above_null(cell)]
    circle = Circle(line["quantity"], line["period"], ())
    found = {
        cell["frequency"]: said_of(cell.get("of_period", CANNOT_BE_TOLD), circle, cell["frequency"]) for cell in cells
    }
    return {frequency: words for frequency, words in found.items() if words}


def _map(lines: Sequence[dict[str, Any]], cells: Sequence[Sequence[dict[str, Any]]], column: str, above: Any) -> Map:
    sites = tuple(dict.fromkeys(cell["site"] for some in cells for cell in some))
    columns = tuple(dict.fromkeys(str(cell[column]) for some in cells for cell in some))
    shape = (len(lines), len(sites), len(columns))
    score, beaten = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    fewest: dict[str, int] = {}
    for index, some in enumerate(cells):
        for cell in some:
            place = index, sites.index(cell["site"]), columns.index(str(cell[column]))
            score[place] = np.nan if cell["r2"] is None else cell["r2"]
            beaten[place] = above(cell)
            if column == "position":
                fewest[str(cell[column])] = min(fewest.get(str(cell[column]), 10**9), int(cell["n_test"] or 0))
    steps = tuple(steps_made(line["step"]) for line in lines)
    return Map(steps, sites, columns, score, beaten, tuple(fewest.values()))


def steps_made(step: int | None) -> int:
    """Training steps behind a logged step, which counts from 0; 0 outside a fit."""
    return 0 if step is None else step + 1
