"""The table of the ledger, and the table of swapped quantities."""

import math
from collections.abc import Iterator

from arithprobe.analysis.intervene.run import InterventionReport
from arithprobe.interventions.ablation import AblationEffect, displaced_by
from arithprobe.interventions.interchange import Interchange
from arithprobe.interventions.intervals import fit_words
from arithprobe.interventions.ledger_row import LedgerRow
from arithprobe.interventions.words import no_skill
from arithprobe.logic import CANNOT_BE_TOLD, LEVEL
from arithprobe.said.content import Column, Table
from arithprobe.said.numbers import change, number, share

_NULLS = {
    "permuted": "the same fit on permuted labels",
    "matched": "LEACE of random functions of the states that displace as much (oblique erasers only)",
}


def ledger_table(found: InterventionReport) -> Table:
    """The table of probe scores at each place, and of the loss of the answers without the variable.

    Args:
        found: What the interventions found.
    """
    tested = _tested(found)
    kind = found.ledger[0].main.kind
    columns = [
        Column("where", is_text=True),
        Column("subspace", is_text=True),
        Column("R2"),
        *(Column(effect.kind, optional=effect.kind != kind) for effect in found.ledger[0].effects),
        Column("lost"),
        Column("displaced", optional=True),
        *([Column("p")] if tested else []),
        *(Column(name, optional=True) for name in ("steer", "swap", "refit", "ridge", "MLP")),
    ]
    return Table(
        f"ledger: held-out R2 of each subspace, and what the model's own answers lose when it is ablated ({found.rows} "
        "rows)",
        tuple(columns),
        tuple(tuple(_cells(row, bool(tested))) for row in found.ledger),
        tuple(_notes(found, tested)),
    )


def _tested(found: InterventionReport) -> list[str]:
    """The families that there may be a p against, as they were asked for."""
    names = {null.name for row in found.ledger for null in row.main.nulls}
    return [name for name in _NULLS if name in names]


def _notes(found: InterventionReport, tested: list[str]) -> Iterator[str]:
    """What headings and marks mean."""
    first = found.ledger[0]
    yield (
        f"{', '.join(effect.kind for effect in first.effects)}: change of the RMSE, in answer units, under that "
        "ablation of the subspace."
    )
    yield f"lost: share of the intact skill that is lost under {first.main.kind} ablation."
    draws = " (in brackets: that the control draws behind each p displace)" if tested else ""
    yield f"displaced: percent of the variance that the ablation displaces{draws}."
    if tested:
        yield f"p: against {' / against '.join(_NULLS[name] for name in tested)}; *: p <= {LEVEL}."
    yield (
        "steer: response of the answer to steering, divided by what arithmetic demands. swap: share of the demanded "
        "shift when the subspace is taken from another problem."
    )
    fit = fit_words(effect.fit_blocks for row in found.ledger for effect in row.effects)
    yield f"95 % intervals of both and of the changes are in ledger.json ({fit})."
    yield (
        "refit: R2 of a readout that is refitted without the subspace: what another readout could use, not what the "
        "model uses. ridge, MLP: R2 of new probes of the target after the ablation."
    )
    if any(row.near_tautological for row in found.ledger):
        yield "~: only the last LayerNorm and a linear head follow this site, so the result is nearly a tautology."
    yield f"-: {CANNOT_BE_TOLD}: {'; '.join(_whys(found))}."


def _whys(found: InterventionReport) -> Iterator[str]:
    """Where a dash comes from."""
    if why := no_skill(found.behaviour.state):
        yield why
    if any(family.untold for row in found.ledger for family in row.main.families):
        yield "p: no such draws, see below"
    yield "too few rows, or arithmetic does not say where the answer goes"


def _cells(row: LedgerRow, tested: bool) -> Iterator[str]:
    """The cells of a row, in the order of the columns."""
    main, swap = row.main, row.interchange
    yield f"{row.site}@{row.position}{' ~' if row.near_tautological else ''}"
    yield row.subspace
    yield number(row.held_out_r2)
    yield from (change(effect.delta_rmse) for effect in row.effects)
    yield share(main.skill_lost)
    yield _displaced(main)
    if tested:
        yield _p(main)
    yield _short(row.steering_slope)
    yield _short(None if swap is None else swap.recovered.fraction)
    yield from map(number, (row.refit_r2, row.residual_r2_linear, row.residual_r2_mlp))


def _displaced(effect: AblationEffect) -> str:
    """Percent of the variance, of the subspace and of the draws of each null, in the order of their p."""
    sizes = [displaced_by(effect, null) for null in effect.nulls]
    ranges = ["-".join(map(_percent, ends)) for ends in sizes if ends and all(map(math.isfinite, ends))]
    return f"{_percent(effect.displaced)} ({' / '.join(ranges)})" if ranges else _percent(effect.displaced)


def _percent(share: float) -> str:
    return "<1" if 0 < share < 0.005 else f"{100 * share:.0f}"


def _p(effect: AblationEffect) -> str:
    """The p-value against each null."""
    shown = ("-" if math.isnan(one.p) else f"{one.p:.3f}{'*' if one.p <= LEVEL else ' '}" for one in effect.nulls)
    return " / ".join(shown)


def _short(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"


def interchange_table(found: InterventionReport) -> Table:
    """The table of the effects of swapping a quantity between two problems, by site.

    Args:
        found: What the interventions found.
    """
    names = list(dict.fromkeys(name for _, name, _ in found.variables))
    swaps = {(site, name): one for site, name, one in found.variables}
    rows = [
        (site, *(_swap(swaps[site, name]) if (site, name) in swaps else "-" for name in names))
        for site in dict.fromkeys(site for site, _, _ in found.variables)
    ]
    return Table(
        "interchange interventions at all tokens (leace): share of the intended shift of the answer",
        (Column("site", is_text=True), *(Column(f"{name} (whole, exact)", is_text=True) for name in names)),
        tuple(rows),
        (
            "whole: the whole state is swapped. exact: answers that are what arithmetic demands. "
            f"*: p <= {LEVEL} against random subspaces.",
        ),
    )


def _swap(one: Interchange) -> str:
    mark = "*" if one.p <= LEVEL else " "
    return f"{_short(one.recovered.fraction)}{mark} ({_short(one.whole_state)}, {one.exact_match:.1%})"
