"""The character table, against the notebook's printed output."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from arithprobe.errors import ArithprobeError
from arithprobe.tokenizer import (
    PAD_ID,
    UNKNOWN,
    VOCABULARY,
    VOCABULARY_SIZE,
    decode,
    encode,
    encode_column,
    pad_batch,
    place_values,
)

FIRST = [2, 1, 4, 11, 12, 11, 5, 1, 11, 14, 11, 15]
SECOND = [6, 1, 11, 12, 11, 8, 11, 14, 11, 15]


def test_the_notebooks_examples():
    assert encode("103 + 40 = ?").tolist() == FIRST
    assert encode("50 + 7 = ?").tolist() == SECOND


def test_the_notebooks_padding():
    ids, mask, lengths = pad_batch([encode("103 + 40 = ?"), encode("50 + 7 = ?")])
    assert ids.tolist() == [FIRST, [*SECOND, 0, 0]]
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[True] * 12, [True] * 10 + [False] * 2]
    assert lengths.tolist() == [12, 10]


def test_decoding_is_the_inverse():
    assert decode(encode(VOCABULARY)) == VOCABULARY
    assert decode([0, 1, 0]) == "0"


def test_a_column_is_encoded_like_its_rows():
    texts = ["103 + 40 = ?", "50 + 7 (mod 97) = ?"]
    width = max(map(len, texts))
    characters = np.array([list(text.encode().ljust(width, b"\0")) for text in texts], dtype=np.uint8)
    assert encode_column(characters).tolist() == pad_batch([encode(text) for text in texts]).ids.tolist()


def test_unknown_characters_are_named():
    with pytest.raises(ArithprobeError, match=r"column 3: character 'x' \(U\+0078\) is outside the vocabulary"):
        encode("2 x 3")
    assert encode_column(np.array([[ord("x")]], dtype=np.uint8)).tolist() == [[UNKNOWN]]


def test_nothing_and_unknown_ids_are_refused():
    for wrong in ([], [encode("")]):
        with pytest.raises(ArithprobeError, match="at least one text"):
            pad_batch(wrong)
    with pytest.raises(ArithprobeError, match="id 21 is outside"):
        decode([21])


DIGITS = st.integers(1, 10)


@st.composite
def rectangles(draw):
    """Rows of one length: of any ids, padding among them, mostly of digits, or of one kind only."""
    ids = st.integers(0, VOCABULARY_SIZE - 1)
    others = ids.filter(lambda number: not 1 <= number <= 10)
    length = draw(st.integers(1, 12))
    kinds = draw(st.lists(st.sampled_from([ids, st.one_of(DIGITS, ids), DIGITS, others]), min_size=1, max_size=4))
    return [draw(st.lists(kind, min_size=length, max_size=length)) for kind in kinds]


def places_of(row):
    """Of each id how many digits there are from it on, up to the first character that is none."""
    characters = [decode([number]) or "padding" for number in row]
    found = []
    for token in range(len(row)):
        place = 0
        for character in characters[token:]:
            if character not in "0123456789":
                break
            place += 1
        found.append(place)
    return found


@given(rectangles())
@example([[1]])
@example([[11], [PAD_ID]])
@example([[*range(1, 11)], [*range(11, 21)], [PAD_ID] * 10])
def test_place_values_are_those_of_a_loop_over_the_characters(rows):
    found = place_values(torch.tensor(rows))
    assert found.tolist() == [places_of(row) for row in rows]
    assert found.dtype == torch.int64
    assert torch.equal(place_values(torch.tensor(rows, dtype=torch.uint8)), found)


@given(rectangles(), st.integers(1, 3), DIGITS)
def test_padding_moves_no_place_and_a_digit_more_those_of_the_number_it_ends(rows, width, digit):
    before = place_values(torch.tensor(rows)).tolist()
    padded = place_values(torch.tensor([row + [PAD_ID] * width for row in rows]))
    assert padded.tolist() == [places + [0] * width for places in before]
    longer = place_values(torch.tensor([[*row, digit] for row in rows])).tolist()  # the control
    for places, moved in zip(before, longer, strict=True):
        number = next((token for token, place in enumerate(places) if token + place == len(places)), len(places))
        assert moved == [*places[:number], *(place + 1 for place in places[number:]), 1]
