"""Results of ablations in words, the same on the terminal, on the page, in figures and while a model trains."""

import math
from typing import NamedTuple

from arithprobe.interventions.ablation import AblationEffect, displaced_by
from arithprobe.interventions.heads import HeadAblation
from arithprobe.interventions.random_family import RandomFamily
from arithprobe.logic import CANNOT_BE_TOLD, FAILS, HOLDS, State
from arithprobe.models.headed import head_name


def p_words(effect: AblationEffect) -> str:
    """The p-value against each null with the variance displaced, or why it cannot be told; descriptions have none."""
    if not effect.nulls:
        return f"p {CANNOT_BE_TOLD}: there is no fit on permuted labels to compare with"
    return f"displacing {_percent(effect.displaced)}: {', '.join(p_beside(effect, one) for one in effect.nulls)}"


def p_beside(effect: AblationEffect, null: RandomFamily) -> str:
    """The p-value against one null with what its draws displace, or why it cannot be told."""
    if math.isnan(null.p):
        return f"p against {untold_words(null)}"
    return f"p {null.p:.3g} against {null.name} ({_displacing(effect, null)})"


def p_in_short(effect: AblationEffect, null: RandomFamily, *, told: bool = True) -> str:
    """The p-value against one null in a word or two, for a figure.

    Args:
        effect: The ablation.
        null: The null that it is compared with.
        told: Whether to write the p-value itself; else only the displacement.
    """
    if not len(null.delta_rmse):
        return "no match" if "wanted" in null.note else "no draws"
    words = {"itself": "itself", "displaces": "all less", "nothing": "no change"}
    shown = next((words[word] for word in words if word in null.note), f"{null.p:.3f}")
    shown = "" if not told and math.isfinite(null.p) else shown
    sizes = [100 * one for one in displaced_by(effect, null)]
    return f"{shown} ({sizes[0]:.2g}-{sizes[1]:.2g} %)".strip() if math.isfinite(sizes[0]) else shown


def cost_beside(effect: AblationEffect, family: RandomFamily) -> str:
    """The 95 % quantile of the cost of a family's draws and their displacement, or why that cannot be told."""
    if math.isnan(family.high):
        return untold_words(family)
    return f"{family.name} below {family.high:+.3g} ({_displacing(effect, family)})"


def untold_words(family: RandomFamily) -> str:
    """The statement that nothing can be told against a family, and why."""
    return f"{family.name} {CANNOT_BE_TOLD}: {family.note}"


def lost_words(lost: float, state: State) -> str:
    """The lost share of the skill in words, or the reason why there is none.

    >>> lost_words(0.4, "holds"), lost_words(math.nan, "does not hold")
    ('40% of the skill', 'cannot be told: there is no skill to lose')

    Args:
        lost: Share of the intact skill that is lost, NaN if there is none.
        state: Whether the model has learned its task, the ``state`` of its behaviour.
    """
    if math.isnan(lost):
        return f"{CANNOT_BE_TOLD}: {no_skill(state) or 'it is no number'}"
    return f"{lost:.0%} of the skill".replace("-0%", "0%")


def no_skill(state: State) -> str:
    """The reason why no share of the skill can be lost; empty for a model that has learned something.

    >>> no_skill("cannot be told")
    'whether there is skill to lose is not known'

    Args:
        state: As in :func:`lost_words`.
    """
    if state == HOLDS:
        return ""
    return "there is no skill to lose" if state == FAILS else "whether there is skill to lose is not known"


class Costliest(NamedTuple):
    """The head whose ablation costs most."""

    layer: int
    """Its layer, from 0."""
    head: int
    """Its number in the layer, from 0."""
    cost: float
    """Increase of the RMSE, in answer units; not above 0 where no head costs anything."""


def costliest(ablation: HeadAblation) -> Costliest | None:
    """Return the head whose ablation costs most; None if no cost is a number."""
    costs = ablation.delta_rmse.nan_to_num(nan=-math.inf)
    layer, head = divmod(int(costs.argmax()), costs.shape[1])
    cost = float(costs[layer, head])
    return None if cost == -math.inf else Costliest(layer, head, cost)


def costliest_words(ablation: HeadAblation) -> str:
    """The head whose ablation costs most, and its cost, without a full stop."""
    found = costliest(ablation)
    if found is None:
        return f"the cost of {ablation.kind} ablation of a head {CANNOT_BE_TOLD}: it is not a number"
    if found.cost <= 0:
        return f"no head costs anything under {ablation.kind} ablation"
    name = head_name(found.layer, found.head)
    return f"{ablation.kind} ablation costs most for head {name}: RMSE {found.cost:+.3g}"


def _displacing(effect: AblationEffect, family: RandomFamily) -> str:
    sizes = displaced_by(effect, family)
    return f"displacing {' to '.join(map(_percent, sizes)) or '-'}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
