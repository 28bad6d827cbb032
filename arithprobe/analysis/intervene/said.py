"""The findings of interventions: the ledger, and a summary of the rest."""

import math
from collections.abc import Iterator

from arithprobe.analysis.intervene.pictures import pictures_of
from arithprobe.analysis.intervene.record import ledger_records, record_of
from arithprobe.analysis.intervene.run import InterventionReport
from arithprobe.analysis.intervene.tables import interchange_table, ledger_table
from arithprobe.interventions.words import untold_words
from arithprobe.logic import CANNOT_BE_TOLD
from arithprobe.said.content import Content, Said, Words

_CARRIES = 0.05  # of the gap between two answers


def said_of(found: InterventionReport) -> Said:
    """Return the findings.

    Args:
        found: The results of the interventions.
    """
    names = (
        f"erasers/{one.site}@{row.position}.{one.target}.{one.kind}.pt"
        for row, one in zip(found.ledger, found.erasers, strict=True)
    )
    return Said(
        name="intervene",
        title="Ablation and steering",
        behaviour=found.behaviour,
        blocks=(*_blocks(found), *pictures_of(found)),
        records={"ledger": ledger_records(found), "intervene": record_of(found)},
        shows="What the model's own answers lose when a readable direction is ablated, and how they respond when it is "
        "moved.",
        does_not_show="That only this subspace has the effect. Compare the random subspaces.",
        rank=70,
        checkpoint=found.checkpoint,
        weights=found.weights,
        files={name: eraser.save for name, eraser in zip(names, found.erasers, strict=True)},
    )


def _blocks(found: InterventionReport) -> Iterator[Content]:
    """Words and tables."""
    yield Words(
        f"{found.checkpoint} (weights {found.weights}) on {found.rows} rows of {found.data}; subspaces, means and "
        f"probes were fitted on {found.fit_rows} other rows, of other sums"
    )
    yield ledger_table(found)
    if all(row.near_tautological for row in found.ledger):
        yield Words("Only the readout follows each site that was ablated. Choose an earlier site too.", "doubtful")
    for lines in (_notebook_lines(found), _patching_lines(found), _symmetry_lines(found)):
        if lines:
            yield Words("\n".join(lines))
    if found.variables:
        yield interchange_table(found)
    if found.left_out:
        yield Words("\n".join(f"left out: {reason}" for reason in found.left_out), "doubtful")
    if lines := [*dict.fromkeys(_untold(found)), *_descriptions(found)]:
        yield Words("\n".join(lines), "doubtful")
    yield Words(f"cost: {', '.join(found.costs)}")


def _notebook_lines(found: InterventionReport) -> list[str]:
    one = found.notebook
    if one is None:
        return []
    return [
        f"removing the notebook's rank-1 direction of the sum at final@last leaves a refitted readout with R2 "
        f"{one.refit:.3f} (intact {one.refit_intact:.3f}) and the model's own head with {one.own:.3f} (intact "
        f"{one.own_intact:.3f}), on {one.n} rows"
    ]


def _patching_lines(found: InterventionReport) -> list[str]:
    patched = found.patching
    if patched is None:
        return []
    lines = []
    for row, site in enumerate(patched.sites):
        known = patched.recovered[row].nan_to_num(nan=-math.inf)
        best = known.argsort(descending=True)[:3].tolist()
        cells = ", ".join(f"{patched.positions[p]} {float(known[p]):.2f}" for p in best if known[p] >= _CARRIES)
        lines.append(f"patching {site}: {cells or 'no single cell carries 5 % of the gap'}")
    return ["activation patching: share of the answer gap that the whole state of one cell brings", *lines]


def _symmetry_lines(found: InterventionReport) -> list[str]:
    lines = []
    for what in dict.fromkeys(one.change for one in found.symmetry):
        tests = [one for one in found.symmetry if one.change == what]
        off = {}
        for size in sorted({abs(one.d) for one in tests}):
            both = [one.distance for one in tests if abs(one.d) == size]
            off[size] = sum(both) / len(both)
        shown = ", ".join(f"{size}: {_short(distance)}" for size, distance in off.items())
        compared = f"{min(one.n for one in tests)} to {max(one.n for one in tests)} of {found.rows} rows are compared"
        unrelated = f"unrelated problems: {_short(tests[0].unrelated)}"
        lines.append(f"rewritten to ({what}), answers are off, by size of d: {shown} ({unrelated}; {compared})")
    return lines


def _short(distance: float) -> str:
    return "-" if math.isnan(distance) else f"{distance:.3g}"


def _untold(found: InterventionReport) -> Iterator[str]:
    """Why a p of the table is a dash; of the other ablations it is in ``ledger.json``."""
    for row in found.ledger:
        for null in row.main.nulls:
            if null.untold:
                yield f"{row.site}@{row.position} {row.subspace}, {row.main.kind}: {untold_words(null)}"


def _descriptions(found: InterventionReport) -> Iterator[str]:
    """Families that are no null of what they stand beside, and why; of which subspaces."""
    families: dict[tuple[str, str], dict[str, None]] = {}
    for row in found.ledger:
        for effect in row.effects:
            for family in effect.families:
                if not family.is_null and family.note.startswith("a description"):
                    families.setdefault((family.name, family.note), {})[row.subspace] = None
    for (name, note), subspaces in families.items():
        yield f"no p of {', '.join(subspaces)} against {name} draws: {note}"
    if not any(row.main.nulls for row in found.ledger):
        yield f"p {CANNOT_BE_TOLD}: none of these draws is a null of what was taken out"
