"""Problems with other operands are written as the data writes its own, leading zeros and all."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from micro import dataset, of_texts, written

from arithprobe.analysis.provenance import split_record
from arithprobe.data.rewriting import fits, has_leading_zeros, rewritten
from arithprobe.problems.grammar import Layout, Problem

numbers = st.integers(0, 1200)
spelled = st.builds(lambda number, digits: str(number).zfill(digits), numbers, st.integers(1, 5))
files = st.tuples(
    st.lists(st.tuples(spelled, spelled), min_size=1, max_size=8), st.sampled_from(["", " (mod 097)"])
).map(lambda file: [f"{x} + {y}{file[1]} = ?" for x, y in file[0]])


@given(files)
def test_rows_rewritten_with_their_own_operands_are_themselves(texts):
    rows = of_texts(texts)
    every = torch.arange(len(rows))
    assert fits(rows, every, rows.x, rows.y).all()
    assert rewritten(rows, every, rows.x, rows.y) == texts


@given(files, st.lists(st.tuples(numbers, numbers), min_size=8, max_size=8))
def test_what_fits_is_the_problem_asked_for_in_the_layout_of_its_row(texts, pairs):
    rows = of_texts(texts)
    every, (x, y) = torch.arange(len(rows)), torch.tensor(pairs)[: len(rows)].T
    fit = fits(rows, every, x, y).tolist()
    for text, new, room, pair in zip(texts, rewritten(rows, every, x, y), fit, pairs, strict=False):
        assert Problem.parse(new) == Problem(*pair, rows.modulus)
        assert not room or Layout.of(new) == Layout.of(text)


def test_room_is_left_by_leading_zeros_of_any_row_of_the_layout():
    """Of "10 + 20", too, where "07 + 20" stands beside it; never of the other operand, nor of another layout."""
    rows = of_texts(["10 + 20 = ?", "07 + 20 = ?", "10 + 2 = ?", "7 + 20 = ?"])
    every = torch.arange(4)
    for (x, y), expected in {
        (5, 20): [True, True, False, True],
        (10, 5): [False, False, True, False],
        (100, 20): [False] * 4,
        (-5, 20): [False] * 4,
        (0, 20): [True, True, False, True],
    }.items():
        assert fits(rows, every, torch.full((4,), x), torch.full((4,), y)).tolist() == expected, (x, y)
    minus = torch.full((4,), -5)
    assert rewritten(rows, every, minus, minus) == ["-05 + -5 = ?", "-05 + -5 = ?", "-5 + -5 = ?", "-5 + -5 = ?"]


def test_the_record_of_a_split_tells_rows_with_leading_zeros_from_those_without():
    pairs = [(10, 2), (103, 40), (0, 7)]
    plain, padded = (dataset(pairs, 97, digits) for digits in (1, 3))
    assert (has_leading_zeros(plain), has_leading_zeros(padded)) == (False, True)
    assert has_leading_zeros(of_texts(["10 + 12 (mod 097) = ?"]))
    hashes = {split_record(*parts)["sha256"] for parts in ((plain, plain), (padded, plain), (plain, padded))}
    assert len(hashes) == 3
    assert written(10, 2, 97, 3) == padded.texts()[0]
