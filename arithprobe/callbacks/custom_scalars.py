"""The layout of TensorBoard's CUSTOM SCALARS: has it learned, then every probe beside its null."""

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from typing import Any

from arithprobe.probes.tags import Tag
from arithprobe.said.content import Chart, Said

BoardLayout = dict[str, dict[str, list[Any]]]
"""Category -> chart -> kind and tags, as ``SummaryWriter.add_custom_scalars`` takes it."""

_LEARNED = {
    "skill (0: the best constant) and exact match": ("val/skill", "val/exact_match"),
    "loss, training and validation": ("train/loss", "val/loss"),
}
_SITES = re.compile(r"embed|resid_post\.\d+|final")


def overview(said: Sequence[Said], logged: Container[str]) -> BoardLayout:
    """The layout of CUSTOM SCALARS.

    Args:
        said: What each live probe says, its scalars in the order of the network.
        logged: Names of all scalars that TensorBoard has; no other is in the layout.
    """
    learned = {title: _lines(names, logged) for title, names in _LEARNED.items()}
    layout: BoardLayout = {"Has it learned?": {title: chart for title, chart in learned.items() if chart[1]}}
    for one in said:
        tags = [Tag.parse(tag) for tag in one.scalars]
        for chart in _charts(one):
            own = [tag for tag in tags if tag.target == chart.target]
            own = [tag for tag in own if _SITES.fullmatch(tag.site)] or own
            drawn = _drawn(one.name, chart, list(dict.fromkeys((tag.site, tag.position) for tag in own)), logged)
            if drawn:
                layout[f"{one.name} {chart.target}: {chart.heading}"] = drawn
    return layout


def with_charts(said: Said) -> Said:
    """The same, with a chart of each target that a live probe logs and names no chart of."""
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


def headlines(said: Said) -> Iterator[tuple[str, str]]:
    """Of the scores that runs are compared by, at the last site: name of the column, and tag."""
    tags = [Tag.parse(tag) for tag in said.scalars]
    for chart in _charts(said):
        own = [tag for tag in tags if tag.target == chart.target]
        for tag in own:
            if tag.metric in chart.headlines and tag.site == own[-1].site:
                yield f"{said.name}_{tag.target}_{tag.metric}", str(tag)


def _charts(said: Said) -> Iterator[Chart]:
    return (block for block in said.blocks if isinstance(block, Chart))


def _drawn(name: str, chart: Chart, places: Sequence[tuple[str, str]], logged: Container[str]) -> dict[str, list[Any]]:
    """A chart a site."""
    drawn: dict[str, list[Any]] = {}
    for place in places if chart.is_band else reversed(places):  # TensorBoard 2.21 turns the order of bands
        names = [str(Tag(name, chart.target, *place, metric)) for metric in chart.metrics]
        if not chart.is_band:
            drawn["@".join(place)] = _lines(names, logged)
        elif all(tag in logged for tag in names):
            drawn["@".join(place)] = ["Margin", names]
    return {title: found for title, found in drawn.items() if found[1]}


def _lines(names: Sequence[str], logged: Container[str]) -> list[Any]:
    return ["Multiline", [f"{re.escape(name)}$" for name in names if name in logged]]  # TensorBoard takes patterns
