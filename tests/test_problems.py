"""One grammar, read row by row or a column at a time."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arithprobe.errors import ArithprobeError
from arithprobe.problems.grammar import MAX_DIGITS, Layout, Problem, carry, digit, parse_column

operands = st.integers(0, 10**MAX_DIGITS - 1)
moduli = st.none() | st.integers(2, 10**MAX_DIGITS - 1)


def as_characters(texts: list[str]) -> np.ndarray:
    width = max([len(text) for text in texts] + [1])
    rows = [list(text.encode("latin-1").ljust(width, b"\0")) for text in texts]
    return np.array(rows, dtype=np.uint8)


@given(operands, operands, moduli)
def test_text_and_problem_are_inverse(x, y, modulus):
    problem = Problem(x, y, modulus)
    assert Problem.parse(str(problem)) == problem


@pytest.mark.parametrize(
    "text",
    [
        "-2 + 3 = ?",
        "2 + -3 = ?",
        "2 - 3 = ?",
        "2+3 = ?",
        "2  + 3 = ?",
        "2 + 3 =",
        "2 + 3 = ?x",
        " 2 + 3 = ?",
        "2 + 3 (mod -5) = ?",
        "2 + 3 (mod) = ?",
        "2.5 + 3 = ?",
        "٢ + 3 = ?",
        "2 + 3 = ?\n",
        "",
        "2 + 3 (mod 0) = ?",
        "2 + 3 (mod 1) = ?",
        "1" * (MAX_DIGITS + 1) + " + 3 = ?",
    ],
)
def test_everything_else_is_refused(text):
    with pytest.raises(ArithprobeError):
        Problem.parse(text)


def test_the_refusal_shows_the_text():
    with pytest.raises(ArithprobeError, match=r"'-2 \+ 3 = \?' is neither 'x \+ y = \?' nor .* unsigned integers"):
        Problem.parse("-2 + 3 = ?")


@pytest.mark.parametrize("digits", [MAX_DIGITS + 1, 5000])
@pytest.mark.parametrize(
    ("name", "text"), [("x", "{} + 3 = ?"), ("y", "3 + {} = ?"), ("modulus", "3 + 3 (mod {}) = ?")]
)
def test_a_number_that_is_too_long_has_neither_value_nor_layout(name, text, digits):
    long = text.format("1" * digits)
    for read in (Problem.parse, Layout.of):
        assert read(text.format("1" * MAX_DIGITS))  # the control
        with pytest.raises(ArithprobeError, match=f"^{name} has {digits} digits; expected at most 15$"):
            read(long)
    assert parse_column(as_characters([long, "3 + 3 = ?"])).valid.tolist() == [False, True]


def test_a_number_beyond_what_python_writes_is_refused_by_its_size():
    with pytest.raises(
        ArithprobeError, match=r"^y is about 1e5000; expected an unsigned integer of at most 15 digits$"
    ):
        Problem(1, 10**5000)


texts = st.tuples(operands, operands, moduli).map(lambda p: str(Problem(*p))) | st.text("01 +-=?()mod", max_size=20)


@given(st.lists(texts, min_size=1))
@example(["1 + 2 = ?", "", "1 + 2 (mod 1) = ?", "00 + 2 (mod 97) = ?", "9" * 16 + " + 2 = ?"])
def test_a_column_is_parsed_like_its_rows(texts):
    column = parse_column(as_characters(texts))
    for row, text in enumerate(texts):
        try:
            problem = Problem.parse(text)
        except ArithprobeError:
            assert not column.valid[row]
            continue
        assert column.valid[row]
        assert (column.x[row], column.y[row], column.modulus[row]) == (problem.x, problem.y, problem.modulus or 0)
        assert column.layouts[column.layout[row]] == Layout.of(text)


def test_every_character_has_a_role_of_its_own():
    for text in ("103 + 40 = ?", "7 + 999 (mod 97) = ?"):
        roles = Layout.of(text).roles
        assert len(roles) == len(text) == len(set(roles))
        assert text[roles.index("plus")] == "+"
        assert text[roles.index("query")] == "?"


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_digits_and_carries_add_up(x, y):
    """Column addition by hand: digit of the sum = digits + carry in - 10 carry out."""
    for place in (1, 10, 100, 1000):
        carry_in = carry(x, y, place // 10) if place > 1 else 0
        assert digit(x, place) + digit(y, place) + carry_in == digit(x + y, place) + 10 * carry(x, y, place)
