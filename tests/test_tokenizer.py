"""The character table, against the notebook's printed output."""

import numpy as np
import pytest
import torch

from arithprobe.errors import ArithprobeError
from arithprobe.tokenizer import UNKNOWN, VOCABULARY, decode, encode, encode_column, pad_batch

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
