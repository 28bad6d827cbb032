"""The layout of TensorBoard's CUSTOM SCALARS: has it learned, then every probe beside its null."""

import re
from collections.abc import Container, Sequence
from typing import Any, NamedTuple

from arithprobe.probes.tags import Tag

BoardLayout = dict[str, dict[str, list[Any]]]
"""Category -> chart -> kind and tags, as ``SummaryWriter.add_custom_scalars`` takes it."""


class _Charts(NamedTuple):
    """What is drawn of an analysis, a chart a site."""

    heading: str
    metrics: tuple[str, ...]
    is_band: bool = False  # a line, and the area between the second and the third


_LEARNED = {
    "skill (0: the best constant) and exact match": ("val/skill", "val/exact_match"),
    "loss, training and validation": ("train/loss", "val/loss"),
}
_BAND = ("r2", "null_low", "null_high")
_CHARTS = {
    "ridge": (_Charts("held-out R2; the band is 5 to 95 % of shuffled labels", _BAND, is_band=True),),
    "fourier": (
        _Charts("mean R2 over frequencies; the band is 5 to 95 % of shuffled labels", _BAND, is_band=True),
        _Charts(
            "R2 of the best frequency, of its neighbouring periods, and 95 % of the largest of shuffled labels",
            ("r2_max", "neighbour", "null_max"),
        ),
    ),
    "mlp": (_Charts("held-out score, and the largest of the shuffles", ("r2", "accuracy", "null_max")),),
    "ablation": (
        _Charts(
            "rise of the RMSE, 95 % of permuted labels, and of blind subspaces (no test)",
            ("delta_rmse", "permuted_high", "isotropic_high"),
        ),
    ),
    "emergence": (_Charts("how many variables have emerged", ("emerged",)),),
}
_SITES = re.compile(r"embed|resid_post\.\d+|final")


def overview(tags: Sequence[str], logged: Container[str]) -> BoardLayout:
    """The layout of CUSTOM SCALARS.

    Args:
        tags: Those of the probes, sites in the order of the network.
        logged: Names of all scalars that TensorBoard has; no other is in the layout.
    """
    learned = {title: _lines(names, logged) for title, names in _LEARNED.items()}
    layout: BoardLayout = {"Has it learned?": {title: chart for title, chart in learned.items() if chart[1]}}
    known = [tag for tag in map(Tag.parse, tags) if _SITES.fullmatch(tag.site)]
    for analysis, target in dict.fromkeys((tag.analysis, tag.target) for tag in known):
        own = [tag for tag in known if (tag.analysis, tag.target) == (analysis, target)]
        places = list(dict.fromkeys((tag.site, tag.position) for tag in own))
        for charts in _CHARTS.get(analysis, ()):
            drawn: dict[str, list[Any]] = {}
            for place in places if charts.is_band else reversed(places):  # TensorBoard 2.21 turns the order of bands
                names = [str(Tag(analysis, target, *place, metric)) for metric in charts.metrics]
                if not charts.is_band:
                    drawn["@".join(place)] = _lines(names, logged)
                elif all(name in logged for name in names):
                    drawn["@".join(place)] = ["Margin", names]
            drawn = {title: chart for title, chart in drawn.items() if chart[1]}
            if drawn:
                layout[f"{analysis} {target}: {charts.heading}"] = drawn
    return layout


def _lines(names: Sequence[str], logged: Container[str]) -> list[Any]:
    return ["Multiline", [f"{re.escape(name)}$" for name in names if name in logged]]  # TensorBoard takes patterns
