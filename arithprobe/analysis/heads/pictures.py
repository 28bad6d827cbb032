"""The pictures of heads, each with its finding."""

import math
from collections.abc import Iterator
from functools import partial

from torch import Tensor

from arithprobe.analysis.heads.run import Causal, HeadReport, Sample
from arithprobe.attention.heads import HeadStatistics, operand_mass
from arithprobe.interventions.heads import HeadPatching
from arithprobe.interventions.words import costliest_words
from arithprobe.logic import CANNOT_BE_TOLD
from arithprobe.models.headed import head_name
from arithprobe.plotting.attention import attention_maps, last_token_roles, role_grid, role_sweeps
from arithprobe.plotting.head_effects import ablation_bars, mass_against_effect, patching_grid
from arithprobe.plotting.heads import category_bars, head_scores
from arithprobe.probes.rank import Agreement
from arithprobe.said.content import Picture

_NO_EFFECT = "What the heads do: attention is no effect."


def pictures_of(found: HeadReport) -> Iterator[Picture]:
    """Make every picture for which there are results.

    Args:
        found: The results for the heads.
    """
    yield from _of_last_token(found)
    if found.causal is not None:
        yield from _of_effects(found, found.causal)
    yield from _of_attention(found)


def _of_last_token(found: HeadReport) -> Iterator[Picture]:
    statistics, behaviour, causal = found.statistics, found.behaviour, found.causal
    yield Picture(
        "head_categories",
        partial(category_bars, statistics, behaviour),
        _on_operands(statistics),
        "Attention from the last token, by group of characters",
        _NO_EFFECT,
    )
    yield Picture(
        "head_roles",
        partial(last_token_roles, statistics, behaviour),
        _on_roles(statistics),
        "Attention from the last token, by role",
        _NO_EFFECT,
    )
    main, direct = None, None
    if causal is not None:
        main, direct = causal.main, causal.direct.of_heads(*found.copying.shape)
    yield Picture(
        "head_scores",
        partial(head_scores, statistics, found.copying, main, direct, behaviour),
        "Scores of each head, without ablation." if main is None else _sentence(costliest_words(main)),
        "Scores of each head",
    )


def _of_effects(found: HeadReport, causal: Causal) -> Iterator[Picture]:
    yield Picture(
        "head_effects",
        partial(mass_against_effect, causal.agreements, causal.main, found.behaviour),
        " ".join(_sentence(agreement_words(one, causal.main.kind)) for one in causal.agreements),
        "Attention against effect",
        "A rule: these are the heads of one model.",
    )
    yield Picture(
        "head_ablation",
        partial(ablation_bars, causal.ablations, found.behaviour),
        _sentence(costliest_words(causal.main)),
        "Ablation of each head",
        "What two heads cost together: of two that do the same each costs little.",
    )
    if causal.patching is not None:
        yield Picture(
            "head_patching",
            partial(patching_grid, causal.patching, found.behaviour),
            _patched(causal.patching),
            "Patching of each head",
        )


def _of_attention(found: HeadReport) -> Iterator[Picture]:
    """Attention from every token, of all rows and of those asked for."""
    statistics, behaviour = found.statistics, found.behaviour
    yield Picture(
        "head_sweeps",
        partial(role_sweeps, statistics, behaviour),
        _swept(statistics),
        "Attention to each group of characters, by where a head looks from",
        _NO_EFFECT,
    )
    for layer in range(len(found.copying)):
        yield Picture(
            f"roles_layer{layer}",
            partial(role_grid, statistics, layer, behaviour),
            _between_roles(statistics, layer),
            f"Attention from role to role in layer {layer}",
            _NO_EFFECT,
        )
    for one in found.samples:
        yield Picture(
            f"attention_{one.row}",
            partial(attention_maps, one.text, one.patterns, one.row, behaviour),
            _in_prompt(one),
            f"Attention in row {one.row}, {one.text}",
            "What is common: it is one prompt.",
        )


def agreement_words(one: Agreement, kind: str) -> str:
    """Say whether heads with a large measure cost much, without a full stop.

    Args:
        one: The measure, and how it agrees with the cost.
        kind: The ablation.
    """
    rho, p, n = one.correlation
    against = f"{one.measure} against the cost of {kind} ablation at every token"
    if math.isnan(rho):
        return f"{against}: nothing to compare ({n} heads)"
    return f"{against}: rank correlation {rho:.2f}, p = {p:.2g}, {n} heads"


def _on_operands(statistics: HeadStatistics) -> str:
    mass = operand_mass(statistics.mass)
    (layer, head), most = _largest(mass)
    uniform = float(operand_mass(statistics.uniform_mass))
    return (
        f"{head_name(layer, head)} gives the operands most of its attention, {most:.0%}; uniform attention gives "
        f"{uniform:.0%}."
    )


def _on_roles(statistics: HeadStatistics) -> str:
    (layer, head, role), most = _largest(statistics.last_role_mass)
    uniform = float(statistics.uniform_last_role_mass[role])
    return (
        f"Most attention to one role is that of {head_name(layer, head)} to {statistics.roles[role]}, {most:.0%}; "
        f"uniform attention gives it {uniform:.0%}."
    )


def _swept(statistics: HeadStatistics) -> str:
    on_operands = operand_mass(statistics.role_mass @ statistics.groups)
    (layer, head, role), most = _largest(on_operands)
    return f"From {statistics.roles[role]}, {head_name(layer, head)} gives the operands {most:.0%} of its attention."


def _between_roles(statistics: HeadStatistics, layer: int) -> str:
    (head, query, key), most = _largest(statistics.role_mass[layer])
    roles = statistics.roles
    name = head_name(layer, head)
    return f"Most attention from one role to another is that of {name} from {roles[query]} to {roles[key]}: {most:.0%}."


def _in_prompt(one: Sample) -> str:
    (layer, head, key), most = _largest(one.patterns[..., -1, :])
    place = f"character {key + 1}, {one.text[key]!r}"
    return f"From the last token, most attention is that of {head_name(layer, head)} to {place}: {most:.0%}."


def _patched(patching: HeadPatching) -> str:
    (layer, head), most = _largest(patching.recovered)
    if math.isnan(most):
        return f"What a head brings {CANNOT_BE_TOLD}: it is no number."
    return f"Most of the gap to another answer comes with {head_name(layer, head)}: {most:.0%}."


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _largest(values: Tensor) -> tuple[list[int], float]:
    """Place and size of the largest entry; NaN where there is none."""
    known = values.nan_to_num(nan=-math.inf)
    place = [int(one) for one in (known == known.max()).nonzero()[0]]
    return place, float(values[tuple(place)])
