"""Statistics of heads as records, ``[layer][head]``: under the names of this library, and under the notebook's."""

from typing import Any

from torch import Tensor

from arithprobe.attention.heads import HeadStatistics, group_entropy, operand_imbalance, operand_mass
from arithprobe.attention.roles import GROUPS
from arithprobe.models.headed import head_name as head_name
from arithprobe.models.headed import head_names as head_names

Records = list[list[dict[str, Any]]]
"""One record a head, by layer and head."""


def head_records(statistics: HeadStatistics, copying: Tensor) -> Records:
    """What each head looks at from the last token, and what it could add.

    Args:
        statistics: Means over rows.
        copying: (L, H) OV copying scores.
    """
    mass, share = statistics.mass, statistics.norm_share
    columns = {
        "operand_mass": operand_mass(mass),
        "operand_imbalance": operand_imbalance(mass),
        "group_entropy": group_entropy(mass),
        "token_entropy": statistics.entropy,
        "value_weighted_norm": statistics.norm.sum(dim=-1),
        "value_weighted_operand_share": operand_mass(share),
        "uniform_value_weighted_operand_share": operand_mass(statistics.uniform_norm_share),
        "ov_copying": copying,
    }
    return [
        [
            {"layer": layer, "head": head, "mass": _by_group(mass[layer, head])}
            | {name: float(values[layer, head]) for name, values in columns.items()}
            | {"value_weighted_share": _by_group(share[layer, head])}
            for head in range(mass.shape[1])
        ]
        for layer in range(mass.shape[0])
    ]


def uniform_record(statistics: HeadStatistics) -> dict[str, Any]:
    """The same, of a head that looks at all tokens of a prompt alike; what depends on the head is in its own record."""
    mass = statistics.uniform_mass
    return {
        "mass": _by_group(mass),
        "operand_mass": float(operand_mass(mass)),
        "operand_imbalance": float(operand_imbalance(mass)),
        "group_entropy": float(group_entropy(mass)),
        "token_entropy": float(statistics.uniform_entropy),
    }


def notebook_records(mass: Tensor) -> Records:
    """The original notebook's numbers of each head, under its names.

    ``copy_score`` is the mass on both operands and says nothing about copying; ``balance_score`` is an imbalance;
    ``entropy`` is over five groups of unequal size.

    Args:
        mass: (L, H, 5) attention from the last token to each group, averaged over rows.
    """
    return [
        [{"layer": layer, "head": head} | notebook_record(one) for head, one in enumerate(heads)]
        for layer, heads in enumerate(mass)
    ]


def notebook_record(mass: Tensor) -> dict[str, float]:
    """The same, of (5,) masses."""
    by_group = {f"mass_{group}": value for group, value in _by_group(mass).items()}
    scores = {
        "copy_score": operand_mass(mass),
        "balance_score": operand_imbalance(mass),
        "entropy": group_entropy(mass),
    }
    return by_group | {name: float(value) for name, value in scores.items()}


def _by_group(values: Tensor) -> dict[str, float]:
    return dict(zip(GROUPS, values.tolist(), strict=True))
