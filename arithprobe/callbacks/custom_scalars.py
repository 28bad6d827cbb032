"""The layout of TensorBoard's CUSTOM SCALARS: first the behaviour, then every probe beside its null."""

import re
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace
from typing import Any

from arithprobe.probes.tags import Tag
from arithprobe.said.content import Chart, Said

BoardLayout = dict[str, dict[str, list[Any]]]
"""Category -> chart -> kind and tags, as ``SummaryWriter.add_custom_scalars`` takes it."""

_FIRST = "Has it learned?"
_LEARNED = {
    "skill (0: the best constant) and exact match": ("val/skill", "val/exact_match"),
    "loss, training and validation": ("train/loss", "val/loss"),
}
_SITES = re.compile(r"embed|resid_post\.\d+|final")


def overview(said: Sequence[Said], logged: Container[str]) -> BoardLayout:
    """The layout of CUSTOM SCALARS with one chart per site.

    Args:
        said: What each live probe says, its scalars in the order of the network.
        logged: Names of all scalars that TensorBoard has; no other is in the layout.
    """
    layout = {_FIRST: _learned(logged, str)}
    for one in said:
        for chart in _charts(one):
            if drawn := _drawn(one.name, chart, _places(one, chart), logged):
                layout[f"{one.name} {chart.target}: {chart.heading}"] = drawn
    return layout


def short_overview(said: Sequence[Said], logged: Container[str], shown: Callable[[str], str | None]) -> BoardLayout:
    """The layout of CUSTOM SCALARS for few curves: one chart per target, with its sites side by side.

    Args:
        said: As in :func:`overview`.
        logged: Names of the metrics that were logged.
        shown: Gives the tag of a metric; None for one that is not shown.
    """
    layout = {_FIRST: _learned(logged, shown)}
    for one in said:
        for chart in _charts(one):
            names = [tag for tag in board_metrics(one, chart) if tag in logged]
            if names:
                title = f"{chart.score or chart.heading}, by site" + (f"; {chart.null}" if chart.null else "")
                layout[f"{one.name} {chart.target}"] = {title: _lines(names, shown)}
    return layout


def board_metrics(said: Said, chart: Chart) -> list[str]:
    """The metrics of a chart, as far as the board shows them."""
    places = _places(said, chart)
    if chart.board == "none" or not places:
        return []
    if chart.board == "all":
        return [str(Tag(said.name, chart.target, *place, metric)) for place in places for metric in chart.metrics]
    score, *others = (chart.headlines or chart.metrics)[:2]
    found = [str(Tag(said.name, chart.target, *place, score)) for place in places]
    return [*found, *(str(Tag(said.name, chart.target, *places[-1], one)) for one in others)]


def _learned(logged: Container[str], shown: Callable[[str], str | None]) -> dict[str, list[Any]]:
    named = {title: [name for name in names if name in logged] for title, names in _LEARNED.items()}
    return {title: _lines(names, shown) for title, names in named.items() if names}


def _places(said: Said, chart: Chart) -> list[tuple[str, str]]:
    """Sites and positions that are drawn, in the order of the network."""
    own = [tag for tag in map(Tag.parse, said.scalars) if tag.target == chart.target]
    drawn = [tag for tag in own if (tag.site in chart.sites if chart.sites else _SITES.fullmatch(tag.site))]
    return list(dict.fromkeys((tag.site, tag.position) for tag in drawn or own))


def with_charts(said: Said) -> Said:
    """Add a chart for each target that a live probe logs without naming a chart."""
    metrics: dict[str, dict[str, None]] = {}
    for tag in map(Tag.parse, said.scalars):
        metrics.setdefault(tag.target, {})[tag.metric] = None
    for chart in _charts(said):
        metrics.pop(chart.target, None)
    more = [
        Chart(target, said.title, tuple(some), headlines=tuple(some), score=next(iter(some)), null=[*some, ""][1])
        for target, some in metrics.items()
    ]
    return replace(said, blocks=(*said.blocks, *more)) if more else said


def headlines(said: Said) -> Iterator[str]:
    """The metrics at the last site by which runs are compared."""
    tags = [Tag.parse(tag) for tag in said.scalars]
    for chart in _charts(said):
        own = [tag for tag in tags if tag.target == chart.target]
        yield from (str(tag) for tag in own if tag.metric in chart.headlines and tag.site == own[-1].site)


def _charts(said: Said) -> Iterator[Chart]:
    return (block for block in said.blocks if isinstance(block, Chart))


def _drawn(name: str, chart: Chart, places: Sequence[tuple[str, str]], logged: Container[str]) -> dict[str, list[Any]]:
    """A chart a site."""
    drawn: dict[str, list[Any]] = {}
    for place in places if chart.is_band else reversed(places):  # TensorBoard 2.21 turns the order of bands
        names = [str(Tag(name, chart.target, *place, metric)) for metric in chart.metrics]
        if not chart.is_band:
            drawn["@".join(place)] = _lines([name for name in names if name in logged], str)
        elif all(tag in logged for tag in names):
            drawn["@".join(place)] = ["Margin", names]
    return {title: found for title, found in drawn.items() if found[1]}


def _lines(names: Sequence[str], shown: Callable[[str], str | None]) -> list[Any]:
    return ["Multiline", [f"{re.escape(tag)}$" for tag in map(shown, names) if tag]]  # TensorBoard takes patterns
