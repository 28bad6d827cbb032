"""The findings of an analysis of heads."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from arithprobe.analysis.heads.pictures import agreement_words, pictures_of
from arithprobe.analysis.heads.record import record_of
from arithprobe.analysis.heads.run import Causal, HeadReport
from arithprobe.analysis.heads.tables import attention_table, effect_table, is_tested
from arithprobe.attention.heads import operand_mass
from arithprobe.behaviour import Behaviour
from arithprobe.interventions.words import costliest, costliest_words, lost_words
from arithprobe.said.content import Content, Said, Words
from arithprobe.said.numbers import change, share


def said_of(found: HeadReport) -> Said:
    """Return the findings.

    Args:
        found: The results for the heads.
    """
    return Said(
        name="heads",
        title="Attention heads",
        behaviour=found.behaviour,
        blocks=(*_blocks(found), *pictures_of(found)),
        records={"head_stats": record_of(found)},
        shows="What each head attends to from the last token, and what the answers lose when it is ablated.",
        does_not_show="Why the model answers as it does: a head that attends to the operands need not matter.",
        rank=80,
        checkpoint=found.checkpoint,
        weights=found.weights,
    )


def _blocks(found: HeadReport) -> Iterator[Content]:
    """Words and tables."""
    yield Words(f"{found.checkpoint} (weights {found.weights}) on {found.rows} rows of {found.data}")
    yield attention_table(found)
    if found.untrained:
        yield Words(_untrained(found))
    if found.causal is not None:
        yield effect_table(found.causal)
        yield Words("\n".join(_sentences(found.causal, found.behaviour)))
    if found.left_out:
        yield Words("\n".join(f"left out: {reason}" for reason in found.left_out), "doubtful")


def _untrained(found: HeadReport) -> str:
    """The range over all heads, beside that of all heads of the untrained networks."""
    own, others = found.statistics, [one.statistics for one in found.untrained]
    ranges = {
        "attention to the operands": ([operand_mass(own.mass)], [operand_mass(one.mass) for one in others]),
        "token entropy": ([own.entropy], [one.entropy for one in others]),
        "OV copying": ([found.copying], [one.copying for one in found.untrained]),
    }
    parts = [f"{name} {_range(here)} (untrained {_range(there)})" for name, (here, there) in ranges.items()]
    return f"all heads: {', '.join(parts)}"


def _range(values: Sequence[Tensor]) -> str:
    every = torch.stack(list(values))
    return f"{float(every.min()):.2f} to {float(every.max()):.2f}"


def _sentences(causal: Causal, behaviour: Behaviour) -> Iterator[str]:
    yield "; ".join(_costs(causal, behaviour))
    for one in causal.agreements:
        yield agreement_words(one, causal.main.kind)
    shares = dict(zip(causal.direct.parts, causal.direct.share.tolist(), strict=True))
    heads = sum(value for name, value in shares.items() if name.startswith("z."))
    others = ", ".join(f"{name} {share(value)}" for name, value in shares.items() if not name.startswith("z."))
    yield f"share of the outputs' variance that each part writes directly: all heads {share(heads)}, {others}"


def _costs(causal: Causal, behaviour: Behaviour) -> Iterator[str]:
    """Which head costs most, of how much, and beside what."""
    main, most = causal.main, costliest(causal.main)
    yield costliest_words(main)
    if most is None or most.cost <= 0:
        return
    lost = float(main.skill_lost[most.layer, most.head])
    if not math.isnan(lost):
        yield lost_words(lost, behaviour.state)
    if is_tested(causal):
        draws, high = main.random.shape[1], float(main.random[most.layer].quantile(0.95))
        size = float(main.random_removed[most.layer].mean() / main.removed[most.layer, most.head])
        yield (
            f"95 % of {draws} random subspaces of z.{most.layer} of its rank cost less than {change(high)} (they "
            f"change z {size:.2g} times as much)"
        )
