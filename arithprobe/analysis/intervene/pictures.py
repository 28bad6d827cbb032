"""The pictures of interventions, each with its finding."""

import math
from collections.abc import Iterator, Sequence
from functools import partial

from arithprobe.analysis.intervene.run import InterventionReport
from arithprobe.interventions.ledger_row import LedgerRow
from arithprobe.interventions.patching import PatchingMap
from arithprobe.interventions.words import lost_words, p_words
from arithprobe.logic import CANNOT_BE_TOLD
from arithprobe.plotting.ablations import ablation_against_random
from arithprobe.plotting.ledger import decodable_against_used
from arithprobe.plotting.patching import interchange_chart, patching_heatmap, symmetry_chart
from arithprobe.plotting.steering import steering_curves
from arithprobe.said.content import Picture


def pictures_of(found: InterventionReport) -> Iterator[Picture]:
    """Make every picture for which there are results.

    Args:
        found: The results of the interventions.
    """
    rows, behaviour, kind = found.ledger, found.behaviour, found.ledger[0].main.kind
    yield Picture(
        "decodable_against_used",
        partial(decodable_against_used, rows, behaviour, kind),
        _used(found),
        "What can be read against what is used",
        "That what costs little is unused: later layers may read it again from other tokens.",
    )
    yield Picture(
        "ablation_against_random",
        partial(ablation_against_random, rows, behaviour, kind),
        _costly(rows),
        "Ablation beside random subspaces",
        "Anything beside draws without a p: those are a description, and no null.",
    )
    curves = list({id(row.steering): row.steering for row in rows if row.steering is not None}.values())
    if curves:
        yield Picture(
            "steering",
            partial(steering_curves, curves, behaviour),
            _moved(rows),
            "Steering: how far the answer follows",
            "That the model moves the pattern so by itself.",
        )
    if found.variables:
        yield Picture(
            "interchange",
            partial(interchange_chart, found.variables, behaviour),
            _swapped(found),
            "Interchange between problems",
            "How much a part of the sum, such as a carry, does by itself: with a whole state all the rest moves too.",
        )
    if found.patching is not None:
        yield Picture(
            "patching",
            partial(patching_heatmap, found.patching, behaviour),
            _patched(found.patching),
            "Activation patching by site and token",
            "Which quantity it is that a cell carries: its whole state is swapped.",
        )
    if found.symmetry:
        yield Picture(
            "symmetry",
            partial(symmetry_chart, found.symmetry, behaviour),
            _kept(found),
            "Symmetry tests",
            "Anything for problems out of range: only rows that stay inside of it are compared.",
        )


def _spoken_of(rows: Sequence[LedgerRow]) -> list[LedgerRow]:
    """The rows after which more than the readout comes; all, where there is none."""
    return [row for row in rows if not row.near_tautological] or list(rows)


def _used(found: InterventionReport) -> str:
    rows, state = _spoken_of(found.ledger), found.behaviour.state
    known = [row for row in rows if not math.isnan(row.main.skill_lost)]
    if not known:
        return f"Share of the skill lost {lost_words(math.nan, state)}."
    most = max(known, key=lambda row: row.main.skill_lost)
    lost = lost_words(most.main.skill_lost, state)
    return f"Most is lost at {_where(most)}: {lost}, where the probe reads R2 {most.held_out_r2:.3f}."


def _costly(rows: Sequence[LedgerRow]) -> str:
    known = [row for row in _spoken_of(rows) if not math.isnan(row.main.delta_rmse)]
    if not known:
        return f"How far the RMSE rises {CANNOT_BE_TOLD}: it is no number."
    most = max(known, key=lambda row: row.main.delta_rmse)
    return f"The RMSE rises most at {_where(most)}: {most.main.delta_rmse:+.3g}, {p_words(most.main)}."


def _where(row: LedgerRow) -> str:
    return f"{row.site}@{row.position} without {row.target} ({row.subspace})"


def _moved(rows: Sequence[LedgerRow]) -> str:
    slopes = {f"{row.target} at {row.site}@{row.position}": row.steering_slope for row in _spoken_of(rows)}
    known = {name: slope for name, slope in slopes.items() if slope is not None and not math.isnan(slope)}
    if not known:
        return f"How far the answer follows {CANNOT_BE_TOLD} where more than the readout comes after."
    near = min(known, key=lambda name: abs(known[name] - 1))
    span = f"{min(known.values()):.2f} to {max(known.values()):.2f}"
    return f"Slopes of the answer go from {span}; arithmetic demands 1, and nearest is {near}: {known[near]:.2f}."


def _swapped(found: InterventionReport) -> str:
    known = [one for one in found.variables if not math.isnan(one[2].recovered.fraction)]
    if not known:
        return f"How much of the demanded shift comes {CANNOT_BE_TOLD}: it is no number."
    site, name, swap = max(known, key=lambda one: one[2].recovered.fraction)
    chance = f"{float(swap.random.max()):.0%}" if len(swap.random) else "-"
    return (
        f"Most of the demanded shift comes with {name} swapped at {site}: {swap.recovered.fraction:.0%}, random "
        f"subspaces at most {chance}."
    )


def _patched(found: PatchingMap) -> str:
    shares = found.recovered.nan_to_num(nan=-math.inf)
    site, token = divmod(int(shares.argmax()), shares.shape[1])
    most = float(shares[site, token])
    if most == -math.inf:
        return f"What a single cell brings {CANNOT_BE_TOLD}: too few pairs have one."
    return (
        f"Most comes with {found.positions[token]} at {found.sites[site]}: {most:.0%} of the gap between two answers."
    )


def _kept(found: InterventionReport) -> str:
    same = [one for one in found.symmetry if one.demanded == 0 and not math.isnan(one.distance)]
    if not same:
        return "No change was made after which the answer should be the same."
    worst = max(same, key=lambda one: one.distance)
    moved = f"by at most {worst.distance:.3g} (d = {worst.d})"
    return f"Under {worst.change} the answers move {moved}; unrelated problems are {worst.unrelated:.3g} apart."
