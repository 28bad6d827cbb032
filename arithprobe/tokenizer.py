"""Conversion of characters to ids and back, by the fixed table of the original project.

Id 0 is used for padding only; ``0123456789 +-=?()mod`` are 1 to 20. Every checkpoint depends on this table, so there is
no tokenizer object to configure.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError

VOCABULARY = "0123456789 +-=?()mod"
"""The characters, in the order of their ids; the first has id 1."""
VOCABULARY_SIZE = len(VOCABULARY) + 1
"""Number of ids, padding included."""
PAD_ID = 0
"""The id of padding."""
UNKNOWN = 255
"""What :func:`encode_column` returns for a character outside the vocabulary."""


class PaddedBatch(NamedTuple):
    """Encoded texts of different lengths, padded to one rectangle."""

    ids: Tensor
    """(B, T) int64 ids, padded right."""
    mask: Tensor
    """(B, T) bool, True at real tokens."""
    lengths: Tensor
    """(B,) int64 number of real tokens."""


def encode(text: str) -> Tensor:
    """Encode a text as one id per character.

    >>> encode("103 + 40 = ?").tolist()
    [2, 1, 4, 11, 12, 11, 5, 1, 11, 14, 11, 15]

    Returns:
        (T,) int64 ids.

    Raises:
        ArithprobeError: If a character is outside the vocabulary.
    """
    for column, character in enumerate(text, start=1):
        if character not in VOCABULARY:
            raise ArithprobeError(f"column {column}: {unknown_character(character)}")
    return torch.tensor([VOCABULARY.index(character) + 1 for character in text], dtype=torch.int64)


def decode(ids: Tensor | Iterable[int]) -> str:
    """Decode ids to text; padding is left out.

    >>> decode(encode("50 + 7 = ?"))
    '50 + 7 = ?'

    Raises:
        ArithprobeError: If an id is outside the table.
    """
    numbers = [int(i) for i in ids]
    for number in numbers:
        if not 0 <= number < VOCABULARY_SIZE:
            raise ArithprobeError(f"id {number} is outside the table; expected 0 to {VOCABULARY_SIZE - 1}")
    return "".join(VOCABULARY[i - 1] for i in numbers if i != PAD_ID)


def encode_column(characters: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Encode a rectangle of ASCII codes at once; code 0 is padding.

    Args:
        characters: (N, T) ASCII codes, padded right with 0.

    Returns:
        (N, T) ids; :data:`UNKNOWN` where the character is outside the vocabulary.
    """
    return _TABLE[characters]


def pad_batch(encoded: Sequence[Tensor], pad_id: int = PAD_ID) -> PaddedBatch:
    """Pad encoded texts on the right to the length of the longest.

    >>> pad_batch([encode("1 + 2 = ?"), encode("?")]).mask.sum(1).tolist()
    [9, 1]

    Args:
        encoded: Tensors of shape (T_i,), at least one.
        pad_id: The id to pad with.

    Raises:
        ArithprobeError: If there are no texts, or a text is empty.
    """
    if not encoded or any(len(ids) == 0 for ids in encoded):
        raise ArithprobeError("pad_batch: expected at least one text, and no empty text")
    ids = torch.nn.utils.rnn.pad_sequence(list(encoded), batch_first=True, padding_value=float(pad_id))
    lengths = torch.tensor([len(row) for row in encoded], dtype=torch.int64)
    return PaddedBatch(ids, torch.arange(ids.shape[1]) < lengths[:, None], lengths)


def place_values(ids: Tensor) -> Tensor:
    """The place of each digit in its number, counted from the right (units 1, tens 2, ...); 0 for other characters.

    >>> place_values(encode("103 + 40 = ?")[None]).tolist()
    [[3, 2, 1, 0, 0, 0, 2, 1, 0, 0, 0, 0]]

    Args:
        ids: (B, T) ids, padded right.

    Returns:
        (B, T) int64.
    """
    index = torch.arange(ids.shape[1], device=ids.device)
    is_digit = (ids >= _FIRST_DIGIT) & (ids < _FIRST_DIGIT + 10)
    other = torch.where(is_digit, ids.shape[1], index)
    next_other = other.flip(1).cummin(dim=1).values.flip(1)
    return next_other - index


def unknown_character(character: str) -> str:
    """Return the message that a character is outside the vocabulary; it names both."""
    return f"character {character!r} (U+{ord(character):04X}) is outside the vocabulary {VOCABULARY!r}"


_FIRST_DIGIT = VOCABULARY.index("0") + 1
_TABLE = np.full(256, UNKNOWN, dtype=np.uint8)
_TABLE[0] = PAD_ID
_TABLE[np.frombuffer(VOCABULARY.encode(), dtype=np.uint8)] = np.arange(1, VOCABULARY_SIZE, dtype=np.uint8)
