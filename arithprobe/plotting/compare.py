"""Figures of probes beside their controls: MLP against ridge, and probe directions against random ones."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arithprobe.behaviour import Behaviour
from arithprobe.plotting.r2 import LOWEST, r2_axis, r2_text, within
from arithprobe.plotting.style import BLUE, GREEN, GREY, ORANGE, SMALL, TITLE, new_figure, zero_line
from arithprobe.plotting.titles import set_title
from arithprobe.probes.circles import FourierScores
from arithprobe.probes.mlp_scores import MLPScores
from arithprobe.probes.refit import RefitCurve


def mlp_against_ridge(scores: Sequence[MLPScores], behaviour: Behaviour | None) -> Figure:
    """Held-out score of MLP and ridge at each site, the null of the MLP, and its score on a control task.

    Args:
        scores: Results of one or more targets or kinds, a panel each.
        behaviour: The model's behaviour, for the title.
    """
    figure = new_figure(9.4, 3.4 * len(scores) + 0.8)
    panels = figure.subplots(len(scores), 1, squeeze=False)[:, 0]
    for panel, one in zip(panels, scores, strict=True):
        at, regression = np.arange(len(one.sites)), one.kind == "regression"
        _pairs(panel, one, at)
        panel.plot(
            at - 0.2,
            one.null_max.numpy(),
            "v",
            color="black",
            markersize=5,
            label="MLP, null: highest\nof the shuffles",
        )
        panel.plot(
            at - 0.2,
            one.control_on_pairs.numpy(),
            "x",
            color=GREEN,
            markersize=6,
            label="MLP, control task\n(random labels)",
        )
        if one.chance:
            panel.axhline(one.chance, color=GREY, linewidth=1, linestyle="--", label="most frequent class")
        zero_line(panel)
        lowest = min(panel.get_ylim()[0], -0.1)
        if regression:
            r2_axis(panel, "held-out R2", max(lowest, LOWEST))
        else:
            panel.set_ylim(None if one.chance else lowest, max(1.12 * panel.get_ylim()[1], 0.1))
            panel.set_ylabel("held-out accuracy")
        panel.set_xticks(at, one.sites)
        panel.set_xlabel("site, from the input on (last token)")
        panel.legend(fontsize=SMALL, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        text = f"{one.kind} of '{one.target}' ({one.n_test} held-out rows)"
        panel.set_title(text, fontsize=TITLE, loc="left")
    first = panels[0].get_title(loc="left")
    set_title(panels[0], f"Does an MLP read more than a linear probe? {first.capitalize()}", behaviour)
    return figure


def _pairs(panel: Axes, one: MLPScores, at: npt.NDArray[np.intp]) -> None:
    """A bar for the MLP and one for ridge at each site, with their values."""
    ends = (one.score.numpy(), one.low.numpy(), one.high.numpy())
    score, low, high = (within(values) for values in ends) if one.kind == "regression" else ends
    margins = np.nan_to_num(np.stack([score - low, high - score])).clip(min=0)
    ridge = one.ridge.numpy()
    panel.bar(at - 0.2, score, 0.38, yerr=margins, capsize=2, color=BLUE, label="MLP, 95 % interval")
    panel.bar(at + 0.2, ridge, 0.38, color=ORANGE, label="ridge, same rows")
    marks = np.stack([high, one.null_max.numpy(), one.control_on_pairs.numpy()])
    tops = (np.nanmax([score, *marks, np.zeros(len(at))], axis=0), ridge)
    for side, values, top in zip((-0.2, 0.2), (one.score.numpy(), ridge), tops, strict=True):
        for place, value, reached in zip(at + side, values, top, strict=True):
            if np.isfinite(value):
                above = (place, max(reached, 0.0, one.chance or 0.0))
                panel.annotate(r2_text(value), above, (0, 3), textcoords="offset points", ha="center", fontsize=SMALL)


def refitted_readout(curve: RefitCurve, circle: FourierScores | None, behaviour: Behaviour | None) -> Figure:
    """The cost of removing probe directions for a refitted readout, and the probes' R2, by dimensions removed.

    Args:
        curve: The cost, with random subspaces of the same dimension.
        circle: Fourier scores of the directions removed, for the lower panel; None where one direction was removed.
        behaviour: The model's behaviour, for the title.
    """
    figure = new_figure(8.5, 6.4 if circle is not None else 4.2)
    panels = figure.subplots(2 if circle is not None else 1, 1, sharex=True, squeeze=False)[:, 0]
    above = panels[0]
    dimension = np.array(curve.dimension)
    random = np.array(curve.random_delta_mse)
    low, middle, high = np.quantile(random, [0.025, 0.5, 0.975], axis=1)
    above.errorbar(
        dimension,
        middle,
        yerr=[middle - low, high - middle],
        fmt="s",
        color=GREY,
        capsize=3,
        markersize=4,
        label=f"{random.shape[1]} random subspaces: median, 95 % of them",
    )
    above.plot(dimension, curve.delta_mse, "o-", color=BLUE, markersize=4, label="probe directions")
    zero_line(above)
    floor = 0.05 * curve.base_mse  # noise stays small
    above.set_ylim(min(above.get_ylim()[0], -floor), max(above.get_ylim()[1], floor))
    above.set_ylabel("increase of held-out MSE\n(squared answer units)")
    above.legend(fontsize=SMALL)
    if circle is not None:
        row, column = circle.sites.index(curve.site), circle.positions.index("last")
        count = np.arange(1, len(dimension) + 1)
        macro = np.cumsum(circle.r2[: len(count), row, column].numpy()) / count
        null = np.stack([one.null[row, column].numpy() for one in circle.frequencies[: len(count)]])
        null_high = np.quantile(np.cumsum(null, axis=0) / count[:, None], 0.95, axis=1)
        panels[1].plot(dimension, macro, "o-", color=BLUE, markersize=4, label="mean over the first N frequencies")
        panels[1].plot(dimension, null_high, "--", color=GREY, label="95 % of the null of that mean")
        zero_line(panels[1])
        r2_axis(panels[1], "held-out decode R2", max(min(panels[1].get_ylim()[0], -0.05), LOWEST))
        panels[1].legend(fontsize=SMALL)
    panels[-1].set_xlabel("dimensions removed (2N)" if circle is not None else "dimensions removed")
    panels[-1].set_xticks(dimension[:: 1 + len(dimension) // 16])
    text = f"What could another readout still use at {curve.site}@last without the probe directions?"
    note = f"Refitted ridge readout; intact MSE {curve.base_mse:.4g}, a constant's {curve.answer_variance:.4g}"
    set_title(above, text, behaviour, note)
    return figure
