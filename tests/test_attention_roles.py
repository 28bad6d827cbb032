"""Every character of a problem has one role, every role one group, and sums by role are those of a plain loop."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from looped import groups_by_text, roles_by_text
from micro import one_thread  # noqa: F401

from arithprobe.attention.roles import GROUPS, role_group, role_matrix
from arithprobe.problems.grammar import Layout, Problem

LONGEST = 3  # digits
OPERANDS = [10**digits - 1 for digits in range(1, LONGEST + 1)]
PLAIN = [str(Problem(x, y)) for x, y in itertools.product(OPERANDS, OPERANDS)]
MOD = [str(Problem(x, y, k)) for x, y, k in itertools.product(OPERANDS, OPERANDS, (2, 97, 9973))]
SETS = {"plain": PLAIN, "mod": MOD, "both": PLAIN + MOD}


def table_of(texts):
    return role_matrix([Layout.of(text).roles for text in texts])


@pytest.fixture(params=SETS)
def texts(request):
    return SETS[request.param]


def test_every_character_has_one_role_and_padding_none(texts):
    table = table_of(texts)
    assert table.tokens.shape == (len(texts), max(map(len, texts)), len(table.roles))
    for text, tokens in zip(texts, table.tokens, strict=True):
        assert tokens.sum(dim=1).tolist() == [1] * len(text) + [0] * (len(tokens) - len(text)), text
        assert set(tokens.unique().tolist()) <= {0, 1}
        assert bool((tokens.sum(dim=0) <= 1).all()), text  # nor has a role two characters
    assert table.lengths.tolist() == [len(text) for text in texts]


def test_the_role_of_a_character_is_what_the_text_says(texts):
    table = table_of(texts)
    for text, tokens in zip(texts, table.tokens, strict=True):
        assert [table.roles[one] for one in tokens[: len(text)].argmax(dim=1)] == roles_by_text(text)


def test_roles_stand_in_reading_order_and_all_are_of_some_layout(texts):
    table = table_of(texts)
    assert sorted(table.roles) == sorted({role for text in texts for role in roles_by_text(text)})
    for tokens in table.tokens:
        order = tokens.nonzero()[:, 1].tolist()
        assert order == sorted(order)


def test_groups_share_out_the_roles(texts):
    table = table_of(texts)
    assert table.groups.shape == (len(table.roles), len(GROUPS))
    assert set(table.groups.unique().tolist()) <= {0, 1}
    assert table.groups.sum(dim=1).tolist() == [1] * len(table.roles)
    named = [GROUPS[one] for one in table.groups.argmax(dim=1)]
    assert named == [role_group(role) for role in table.roles]
    empty = {GROUPS[one] for one in (table.groups.sum(dim=0) == 0).nonzero()[:, 0]}
    assert empty == ({"mod"} if texts is PLAIN else set())


def test_the_group_of_a_character_is_what_the_text_says(texts):
    table = table_of(texts)
    for text, tokens in zip(texts, table.tokens, strict=True):
        groups = (tokens @ table.groups)[: len(text)]
        assert [GROUPS[one] for one in groups.argmax(dim=1)] == groups_by_text(text)


def members(text, group):
    """The characters of a group, in a row."""
    table = table_of([text])
    own = (table.tokens[0] @ table.groups)[:, GROUPS.index(group)]
    return "".join(character for character, one in zip(text, own.tolist(), strict=True) if one)


def test_the_groups_of_a_problem_spell_its_parts():
    text = "103 + 45 (mod 97) = ?"
    parts = {"x": "103", "y": "45", "plus": "+", "mod": "(mod 97)", "others": "    = ?"}
    assert {group: members(text, group) for group in GROUPS} == parts
    assert members("103 + 45 = ?", "mod") == ""
    assert members("103 + 45 = ?", "others") == "   = ?"


@given(x=st.integers(0, 99999), y=st.integers(0, 99999), modulus=st.none() | st.integers(2, 99999))
@settings(deadline=None, max_examples=40)
def test_whatever_the_numbers_the_groups_spell_the_problem(x, y, modulus):
    text = str(Problem(x, y, modulus))
    assert members(text, "x") == str(x) and members(text, "y") == str(y) and members(text, "plus") == "+"
    assert members(text, "mod") == ("" if modulus is None else text[text.index("(") : text.index(")") + 1])
    assert members(text, "others").replace(" ", "") == "=?"


@pytest.mark.parametrize("between", [(), (3,), (2, 3)], ids=str)
def test_sums_by_role_are_those_of_a_plain_loop(between):
    """Between layouts and tokens may stand layers and heads, or nothing."""
    texts = [*PLAIN[:6], *MOD[:3]]
    table = table_of(texts)
    g, t, r = table.tokens.shape
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randn(g, *between, t, t, generator=generator, dtype=torch.float64)
    tokens = torch.randn(g, *between, t, generator=generator, dtype=torch.float64)
    by_pair, by_token = (torch.zeros(*between, *shape, dtype=torch.float64) for shape in ((r, r), (r,)))
    for layout, text in enumerate(texts):
        numbers = [table.roles.index(role) for role in roles_by_text(text)]
        for query, one in enumerate(numbers):
            by_token[..., one] += tokens[layout, ..., query]
            for key, other in enumerate(numbers):
                by_pair[..., one, other] += pairs[layout, ..., query, key]
    torch.testing.assert_close(table.of_pairs(pairs), by_pair, atol=1e-12, rtol=0)
    torch.testing.assert_close(table.of_tokens(tokens), by_token, atol=1e-12, rtol=0)
    swapped = by_pair.transpose(-1, -2)  # the control: query and key are not the same
    assert (table.of_pairs(pairs) - swapped).abs().max() > 0.1
