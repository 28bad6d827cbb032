"""What live ablation cost at every site, over the course of training."""

from collections.abc import Collection, Sequence

import numpy as np
from matplotlib.figure import Figure

from arithprobe.behaviour import Behaviour
from arithprobe.interventions.ablation import AblationEffect
from arithprobe.plotting.style import BLUE, GREY, LABEL, ORANGE, SMALL, new_figure, zero_line
from arithprobe.plotting.titles import set_title

_BESIDE = (("isotropic", GREY, "blind subspaces: 95 % (no test)"), ("permuted", ORANGE, "permuted labels: 95 %"))


def ablation_curves(
    history: Sequence[tuple[int | None, str, AblationEffect]],
    target: str,
    behaviour: Behaviour | None,
    at_the_head: Collection[str] = (),
) -> Figure:
    """Increase of the RMSE without the target's directions by training step, a panel a site, beside its controls.

    Args:
        history: Step (None outside a fit), site and effect.
        target: What was taken out.
        behaviour: The model's behaviour now, for the title.
        at_the_head: Sites after which only the last LayerNorm and the readout come.
    """
    sites = list(dict.fromkeys(site for _, site, _ in history))
    columns = min(3, len(sites))
    rows = -(-len(sites) // columns)
    figure = new_figure(3.4 * columns + 0.8, 2.5 * rows + 1.4)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for panel, site in zip(panels, sites, strict=False):
        own = [(0 if step is None else step, effect) for step, at, effect in history if at == site]
        steps = np.array([step for step, _ in own])
        panel.plot(steps, [effect.delta_rmse for _, effect in own], "o-", color=BLUE, markersize=4, label="without it")
        for name, colour, label in _BESIDE:
            families = [one for _, effect in own for one in effect.families if one.name == name]
            panel.plot(
                steps, [one.high for one in families], "s--", color=colour, markersize=3, linewidth=1, label=label
            )
        zero_line(panel)
        low, top = panel.get_ylim()
        top = max(top, 1.0)  # noise stays small
        panel.set_ylim(min(low, -0.18 * top), top)
        name = f"{site}@last" + (" (only the head follows)" if site in at_the_head else "")
        panel.text(0.03, 0.03, name, transform=panel.transAxes, fontsize=LABEL)
    for panel in panels[len(sites) :]:
        panel.set_visible(False)
    for panel in panels[: len(sites)][-columns:]:
        panel.set_xlabel("training step")
        panel.tick_params(labelbottom=True)  # also above a panel that is left empty
    for panel in panels[::columns]:
        panel.set_ylabel("increase of the RMSE\n(answer units)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=SMALL)
    kind = history[0][2].kind
    set_title(panels[0], f"{kind.capitalize()} ablation of '{target}', answers by the model's own head", behaviour)
    return figure
