"""The scores of heads as tidy rows."""

import math
from collections.abc import Iterator

from arithprobe.analysis.heads.run import Causal, HeadReport
from arithprobe.attention.heads import operand_mass
from arithprobe.models.headed import head_name
from arithprobe.said.notebook import Score


def scores_of(found: HeadReport) -> Iterator[Score]:
    """Return one row for each score of a head.

    Args:
        found: The results for the heads.
    """
    statistics = found.statistics
    columns = {
        "operand_mass": operand_mass(statistics.mass),
        "token_entropy": statistics.entropy,
        "value_weighted_operand_share": operand_mass(statistics.norm_share),
        "ov_copying": found.copying,
    }
    layers, heads = found.copying.shape
    for layer in range(layers):
        for head in range(heads):
            for name, values in columns.items():
                value = float(values[layer, head])
                yield Score(f"pattern.{layer}", "last", head_name(layer, head), name, value, n=found.rows)
            if found.causal is not None:
                yield from _of_effect(found.causal, layer, head)


def _of_effect(causal: Causal, layer: int, head: int) -> Iterator[Score]:
    site, name, main = f"z.{layer}", head_name(layer, head), causal.main
    for one in causal.ablations:
        draws = one.random[layer]
        high = float(draws.quantile(0.95)) if len(draws) else math.nan
        cost, lost = float(one.delta_rmse[layer, head]), float(one.skill_lost[layer, head])
        yield Score(site, "all", name, f"{one.kind}_delta_rmse", cost, null_high=high, n=one.n)
        yield Score(site, "all", name, f"{one.kind}_skill_lost", lost, n=one.n)
    if causal.patching is not None:
        own = causal.patching
        value, low, high = (float(values[layer, head]) for values in (own.recovered, own.low, own.high))
        yield Score(site, "all", name, "patched", value, low, high, n=own.n)
    direct = float(causal.direct.of_heads(*main.p.shape)[layer, head])
    yield Score(site, "last", name, "direct_share", direct, n=main.n)
