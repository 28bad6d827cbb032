"""Figures of a sweep: results of probes, ablation and MLPs against the size of the models, in panels by depth."""

import itertools
import re
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from arithprobe.plotting.scaling_curves import Curve, Panels, ScalingRow, legend_line
from arithprobe.plotting.scaling_panels import scaling_figure
from arithprobe.plotting.style import BLUE, CYCLE, GREEN, GREY, LIGHT, ORANGE, PURPLE


def probe_scaling(rows: Sequence[ScalingRow], facet: str | None, x: str = "parameters") -> Figure | None:
    """Held-out R2 of Fourier probes (without a modulus, of the sum), of all dimensions and of an equal number.

    Args:
        rows: The tidy table.
        facet: The column whose values have panels of their own, side by side.
        x: The column of the horizontal axis.

    Returns:
        The figure; None if no trial has such probes.
    """
    probes = _probes(rows)
    if not probes:
        return None
    widest, lines = list(probes)[-1], []
    for part, name in (("", "all dimensions"), ("_k", f"{_dimension(rows)} components")):
        curves = []
        for colour, (probe, label) in zip(itertools.cycle(CYCLE), probes.items(), strict=False):
            curves.append(Curve(f"{probe}{part}_r2", label, colour))
            curves.append(Curve(f"{probe}{part}_untrained", "", colour, "--", points=False))
        curves.append(Curve(f"{widest}{part}_in_sample", "", "black", ":", points=False))
        lines.append(Panels(f"held-out R2,\n{name}", curves, tuple(f"{probe}{part}_null" for probe in probes), True))
    handles = [
        legend_line("untrained networks", GREY, "--"),
        legend_line(f"in sample, {probes[widest]}", "black", ":"),
        Patch(color=LIGHT, label="up to 95 % of permuted labels"),
    ]
    what = "the residue's frequencies" if any(probe != "sum" for probe in probes) else "the sum"
    return scaling_figure(
        rows, facet, x, lines, f"Do larger models make {what} readable? Probes at the readout", handles, shared=True
    )


def ablation_scaling(rows: Sequence[ScalingRow], facet: str | None, x: str = "parameters") -> Figure | None:
    """Loss without the probe's subspace, beside random ones: of a refitted readout, and of the model itself.

    A line of panels is drawn only if a trial has such numbers: a model that has not learned has no skill to lose.

    Args and returns as :func:`probe_scaling`.
    """

    def line(kind: str, name: str, *more: Curve) -> Panels:
        ends = (f"{kind}_random_low", f"{kind}_random_high")
        return Panels(
            name,
            [
                Curve(f"{kind}_probe", "the probe's subspace", BLUE),
                Curve(f"{kind}_random", "random, same rank (bar: range)", GREY, "--", False, *ends),
                *more,
                Curve(f"{kind}_excess", "excess: over random; over permuted labels", ORANGE, ":", points=False),
            ],
        )

    more = (
        Curve("forward_shuffled", "permuted labels", PURPLE, "--", points=False),
        Curve("forward_matched", "random, same change of the states", GREEN, "--", points=False),
    )
    lines = [
        line("refit", "refitted readout:\nrise of MSE / variance"),
        line("forward", "own forward pass:\nloss of skill", *more),
    ]
    lines = [one for one in lines if any(row.get(one.curves[0].column) is not None for row in rows)]
    what = next((f" ({row['ablated']})" for row in rows if row.get("ablated")), "")
    return scaling_figure(rows, facet, x, lines, f"Do larger models lose more without what the probe reads{what}?", [])


def mlp_scaling(rows: Sequence[ScalingRow], facet: str | None, x: str = "parameters") -> Figure | None:
    """MLP probes of the answer, beside linear ones, shuffled labels and untrained networks.

    Args and returns as :func:`probe_scaling`.
    """
    kind = next((str(row["mlp_kind"]) for row in rows if row.get("mlp_kind")), "score")
    curves = [
        Curve("mlp_score", "MLP", BLUE),
        Curve("mlp_linear", "linear", ORANGE, "-", points=False),
        Curve("mlp_untrained", "MLP, untrained network", GREEN, "--", points=False),
        Curve("mlp_null", "MLP, shuffled labels (highest)", GREY, ":", points=False),
    ]
    name = {"accuracy": "accuracy, held out", "r2": "R2, held out"}.get(kind, kind)
    title = "Do MLP probes of the answer at the readout read more in larger models?"
    return scaling_figure(rows, facet, x, [Panels(name, curves, of_r2=kind == "r2")], title, [])


def _probes(rows: Sequence[ScalingRow]) -> dict[str, str]:
    """The Fourier probes that there are, by their number of frequencies, with labels; or the sum's."""
    known = {key for row in rows for key, value in row.items() if value is not None}
    found = {int(match[1]) for key in known if (match := re.fullmatch(r"fourier(\d+)_r2", key))}
    if found:
        return {f"fourier{n}": f"N = {n}" for n in sorted(found)}
    return {"sum": "sum"} if "sum_r2" in known else {}


def _dimension(rows: Sequence[ScalingRow]) -> str:
    return next((str(row["probe_dimension"]) for row in rows if row.get("probe_dimension")), "k")
