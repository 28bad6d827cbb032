"""The findings of Fourier probes: the circle, small periods, and the model without its key frequencies."""

import math
from collections.abc import Iterator, Sequence

from arithprobe.analysis.probe.planes import AnswerScores, PlaneEffects
from arithprobe.behaviour import Behaviour
from arithprobe.logic import CANNOT_BE_TOLD, FAILS, HOLDS
from arithprobe.plotting.frequencies import frequency_spectrum, small_periods
from arithprobe.plotting.spectrum import PlaneLosses, frequency_site_map, plane_losses
from arithprobe.probes.circles import FourierScores, PeriodScore, best_periods
from arithprobe.probes.decode import AngleDecoding
from arithprobe.probes.neighbours import grouped_waves
from arithprobe.said.content import Column, Content, Picture, Table, Words

_CIRCLE = "Whether the model uses that circle. Ablation and steering test that."
_SMALL = (
    "in brackets: the same circle with its values renamed at random. If that is as high, the probe tells values apart, "
    "and there need not be a circle.",
    "*: above permuted labels (5 %, the largest over the small periods of sums, of x or of y) and above neighbouring "
    "periods.",
    f"~: above permuted labels, but the wave has another period. ?: above permuted labels, but it {CANNOT_BE_TOLD} "
    "from a neighbouring period.",
)


def circle_blocks(
    scores: FourierScores, twin: FourierScores | None, decoding: AngleDecoding | None, site: str, behaviour: Behaviour
) -> Iterator[Content]:
    """Return the findings about a circle.

    Args:
        scores: Its frequencies.
        twin: The same of an untrained network, if there is one.
        decoding: Values decoded from the angles.
        site: The readout.
        behaviour: Has the model learned the task.
    """
    yield Words("\n".join(_circle_lines(scores, twin, decoding, site)))
    name = scores.circle.name
    key = ", ".join(map(str, scores.key_frequencies(site))) or "none"
    others = "".join(f"; {one}" for one in grouped_waves(scores.other_waves(site)))
    yield Picture(
        f"fourier_{name}",
        lambda: frequency_spectrum(scores, site, behaviour, twin),
        f"Key frequencies of {name} at the readout: {key}{others}.",
        f"Spectrum of {name} at the readout",
        _CIRCLE,
    )
    counts = ", ".join(f"{one} {len(scores.key_frequencies(one))}" for one in scores.sites)
    yield Picture(
        "frequencies_by_site",
        lambda: frequency_site_map(scores, behaviour),
        f"Number of key frequencies by site: {counts}.",
        "Frequencies by site",
        _CIRCLE,
    )


def small_blocks(small: Sequence[FourierScores], site: str, behaviour: Behaviour) -> Iterator[Content]:
    """Return the findings about the best frequency of each small period.

    Args:
        small: Their circles.
        site: The readout.
        behaviour: Has the model learned the task.
    """
    best = best_periods(small, site)
    periods = sorted({one.circle.period for one in best})
    rows = []
    for quantity in dict.fromkeys(one.circle.quantity for one in best):
        found = {one.circle.period: one for one in best if one.circle.quantity == quantity}
        rows.append((quantity, *(_period(found[period]) if period in found else "-" for period in periods)))
    yield Table(
        f"small periods at {site}@last: held-out R2 of the best frequency of full period",
        (Column("of", is_text=True), *(Column(str(period)) for period in periods)),
        tuple(rows),
        _SMALL,
    )
    own = ", ".join(f"{one.circle.quantity} mod {one.circle.period} (R2 {one.r2:.2f})" for one in best if one.found)
    others = "".join(
        f"; {one.circle.quantity} mod {one.circle.period}: {one.other_wave}" for one in best if one.other_wave
    )
    yield Picture(
        "small_periods",
        lambda: small_periods(best, site, behaviour),
        f"Small periods above permuted labels and neighbouring periods: {own or 'none'}{others}.",
        "Small periods",
    )


def plane_blocks(planes: Sequence[PlaneEffects], behaviour: Behaviour) -> Iterator[Content]:
    """Return the findings about the effects of the key frequencies of each site.

    Args:
        planes: One a site, at least one.
        behaviour: Has the model learned the task.
    """
    yield Words("\n".join(_plane_lines(planes)))
    tried = [one for one in planes if one.without_key is not None and one.only_key is not None]
    if tried and (last := tried[-1]).without_key is not None and last.only_key is not None:
        yield Picture(
            "frequencies_left_out",
            lambda: plane_losses(_losses(planes), behaviour),
            f"At {last.site} {last.without_key.exact:.1%} of the answers are exact without the key frequencies, and "
            f"{last.only_key.exact:.1%} with the key frequencies alone.",
            "Excluded and restricted frequencies",
            "That a frequency matters if its bar ends in the grey band: planes of shuffled labels cost as much there.",
        )


def _circle_lines(
    scores: FourierScores, twin: FourierScores | None, decoding: AngleDecoding | None, site: str
) -> Iterator[str]:
    row, circle = scores.sites.index(site), scores.circle
    null = float(scores.macro_null[row, 0].quantile(0.95))
    untrained = f", untrained {float(twin.macro[row, 0]):.3f}" if twin is not None else ""
    yield (
        f"Fourier probes of {circle.quantity!r} mod {circle.period} at {site}@last, {len(circle.frequencies)} "
        f"frequencies: mean held-out R2 {float(scores.macro[row, 0]):.3f} (shuffled below {null:.3f}{untrained})"
    )
    key = scores.key_frequencies(site)
    threshold = float(scores.max_null[row, 0].quantile(0.95))
    found = [
        f"n={cell['frequency']}: R2 {cell['r2']:.3f}, encode FVE {cell['encode_fve']:.3f}, "
        f"relabelled {cell['relabelled']:.3f}, neighbouring periods {cell['neighbour']:.3f}"
        for cell in scores.at(site)
        if cell["frequency"] in key[:5]
    ]
    yield (
        f"  key frequencies (R2 above {threshold:.3f}, where 95 % of the largest shuffled scores are below, and above "
        "neighbouring periods): " + ("; ".join(found) if found else "none")
    )
    yield from (f"  also above shuffled labels: {one}" for one in grouped_waves(scores.other_waves(site)))
    if decoding is not None:
        yield (
            f"  decoded from the angles: {decoding.accuracy[row]:.1%} right [{decoding.low[row]:.1%}, "
            f"{decoding.high[row]:.1%}] (chance {decoding.chance:.1%}), mean circular error {decoding.error[row]:.1f} "
            f"(a guess: {circle.period / 4:.1f}), {decoding.n} rows"
        )
    if scores.refused:
        yield f"  left out: {', '.join(scores.refused)}"


def _period(one: PeriodScore) -> str:
    control = "" if math.isnan(one.relabelled) else f" ({one.relabelled:.2f})"
    mark = {HOLDS: "*", FAILS: "~", CANNOT_BE_TOLD: "?"}[one.of_period] if one.above_null else ""
    return f"{one.r2:.2f}{mark}{control}"


def _plane_lines(planes: Sequence[PlaneEffects]) -> Iterator[str]:
    yield (
        f"frequencies of the residue at the last token, removed by LEACE or kept alone (intact: "
        f"{_answers([planes[0].intact])}; {planes[0].n} rows):"
    )
    for one in planes:
        if one.without_key is None or one.only_key is None:
            yield f"  {one.site}: no key frequency"
            continue
        yield (
            f"  {one.site}: key {', '.join(map(str, one.key))} (Gini {one.gini:.2f}, carried by "
            f"{1 / one.participation:.1f}); their planes removed (rank {one.rank}): {_answers([one.without_key])}; as "
            f"many random dimensions removed: {_answers(one.without_random)}; planes of shuffled labels removed: "
            f"{_answers(one.without_shuffled)}; their planes alone: {_answers([one.only_key])}"
        )


def _answers(some: Sequence[AnswerScores]) -> str:
    """Their mean."""
    loss, skill, exact = (
        (sum(getattr(one, name) for one in some) / len(some) for name in ("loss", "skill", "exact"))
        if some
        else (float("nan"),) * 3
    )
    return f"loss {loss:.3g}, skill {skill:.3f}, {exact:.1%} exact"


def _losses(planes: Sequence[PlaneEffects]) -> list[PlaneLosses]:
    """The sites at which a key frequency is found."""
    found = []
    for one in planes:
        if one.without_key is not None and one.only_key is not None:
            named = {"intact": one.intact, "without all key planes": one.without_key}
            levels = {name: of.loss for name, of in (named | {"with nothing but them": one.only_key}).items()}
            losses, shuffled = (tuple(of.loss for of in some) for some in (one.excluded, one.excluded_shuffled))
            found.append(PlaneLosses(one.site, one.frequencies, one.key, losses, shuffled, levels))
    return found
