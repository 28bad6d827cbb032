"""Statistics of attention heads the long way: one example, layer, head, query and key at a time, in plain floats.

What each character is, is read off the text by itself, and what a head would add to the stream is written out token by
token. The library does none of this; its numbers must be these.
"""

import math
from collections import defaultdict
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.problems.rows import Inputs

GROUPS = ("x", "y", "plus", "mod", "others")


class Looped(NamedTuple):
    """Means over rows, for L layers of H heads, R roles in the order asked for, and the five groups."""

    rows_of: Tensor
    """(R,) rows that have each role."""
    role_mass: Tensor
    """(L, H, R, R) from role to role."""
    role_entropy: Tensor
    """(L, H, R) of each query role."""
    role_norm: Tensor
    """(L, H, R, R) from role to role."""
    mass: Tensor
    """(L, H, 5) from the last token to each group."""
    entropy: Tensor
    """(L, H) of the last token."""
    norm: Tensor
    """(L, H, 5) from the last token to each group."""


def roles_by_text(text):
    """The role of each character, from where '+', '(', ')' and '=' stand.

    >>> print(*roles_by_text("12 + 4 (mod 97) = ?"))
    x10 x1 sp1 plus sp2 y1 sp3 mod_open mod_m mod_o mod_d mod_sp mod10 mod1 mod_close sp4 equals sp5 query
    """
    plus, equals = text.index("+"), text.index("=")
    names = {plus - 1: "sp1", plus: "plus", plus + 1: "sp2", equals - 1: "sp4", equals: "equals", equals + 1: "sp5"}
    names[equals + 2] = "query"
    ends = {"x": plus - 2, "y": equals - 2}
    if "(" in text:
        bracket, close = text.index("("), text.index(")")
        inside = ("mod_open", "mod_m", "mod_o", "mod_d", "mod_sp")
        names |= {bracket - 1: "sp3", close: "mod_close"} | dict(enumerate(inside, start=bracket))
        ends |= {"y": bracket - 2, "mod": close - 1}
    for name, token in ends.items():
        place = 1
        while token >= 0 and text[token].isdigit():
            names[token] = f"{name}{place}"
            place, token = 10 * place, token - 1
    return [names[token] for token in range(len(text))]


def groups_by_text(text):
    """The group of each character: the digits before '+', those after it, '+', all from '(' to ')', and the rest.

    >>> print(*groups_by_text("12 + 4 (mod 9) = ?"))
    x x others plus others y others mod mod mod mod mod mod mod others others others others
    """
    found = []
    for token, character in enumerate(text):
        before = text[:token]
        if character == "+":
            found.append("plus")
        elif character == "(" or ("(" in before and ")" not in before):
            found.append("mod")
        elif character.isdigit():
            found.append("y" if "+" in before else "x")
        else:
            found.append("others")
    return found


def written(block, head, x):
    """Norm of what a head adds to the stream if it looks at one token alone, of the (D,) state there."""
    attention, d = block.self_attn, len(x)
    width = d // attention.n_heads
    own = slice(head * width, (head + 1) * width)
    weight, bias = attention.in_proj_weight[2 * d :][own], attention.in_proj_bias[2 * d :][own]
    return float((attention.out_proj.weight[:, own] @ (weight @ x + bias)).norm().detach())


def looped_statistics(model, texts, ids, lengths, roles, uniform=False):
    """Everything, as means over rows.

    Args:
        model: The model.
        texts: The problems.
        ids: (N, T) their ids, padded.
        lengths: (N,) their real tokens.
        roles: The order of the roles.
        uniform: With attention spread evenly over the tokens of each problem, in place of the model's.
    """
    with torch.no_grad():
        _, cache = model.run_with_cache(Inputs(ids, lengths), patterns=True)
    rows_of, sums = defaultdict(int), [defaultdict(float) for _ in range(6)]
    role_mass, role_entropy, role_norm, mass, entropy, moved = sums
    for row, text in enumerate(texts):
        names, groups, length = roles_by_text(text), groups_by_text(text), len(text)
        for name in names:
            rows_of[name] += 1
        for layer, block in enumerate(model.enc.blocks):
            x = cache.states["embed" if layer == 0 else f"resid_post.{layer - 1}"][row]
            x = block.norm1(x) if model.norm == "pre" else x  # what its heads read
            for head in range(block.self_attn.n_heads):
                norms = [written(block, head, x[token]) for token in range(length)]
                pattern = cache.patterns[f"pattern.{layer}"][row, head].tolist()
                if uniform:
                    pattern = [[1 / length] * length for _ in range(length)]
                for query in range(length):
                    for key in range(length):
                        p = pattern[query][key]
                        surprise = -p * math.log(p) if p > 0 else 0.0
                        role_mass[layer, head, names[query], names[key]] += p
                        role_norm[layer, head, names[query], names[key]] += p * norms[key]
                        role_entropy[layer, head, names[query]] += surprise
                        if query == length - 1:
                            mass[layer, head, groups[key]] += p
                            moved[layer, head, groups[key]] += p * norms[key]
                            entropy[layer, head] += surprise
    layers = range(len(model.enc.blocks))
    heads = range(model.enc.blocks[0].self_attn.n_heads)

    def by_role(found, *last):
        return [
            [[[_mean(found[layer, head, one, *key], rows_of[one]) for key in last] for one in roles] for head in heads]
            for layer in layers
        ]

    def from_last(found, *last):
        return [[[found[layer, head, *key] / len(texts) for key in last] for head in heads] for layer in layers]

    keys, every = [(role,) for role in roles], [(group,) for group in GROUPS]
    columns = (
        [rows_of[role] for role in roles],
        by_role(role_mass, *keys),
        by_role(role_entropy, ()),
        by_role(role_norm, *keys),
        from_last(mass, *every),
        from_last(entropy, ()),
        from_last(moved, *every),
    )
    found = Looped(*(torch.tensor(column, dtype=torch.float64) for column in columns))
    return found._replace(role_entropy=found.role_entropy[..., 0], entropy=found.entropy[..., 0])


def _mean(total, n):
    return total / n if n else math.nan
