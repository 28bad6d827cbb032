"""TSV files of problems, one ``problem<TAB>answer`` per line, read and checked without a Python loop over rows.

Reading has two steps. The fast one checks all rows at once and only says whether each is right. If one is not,
:func:`check_row` reads the first such row again, in a few plain lines, and says what is wrong with it.
"""

import codecs
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from arithprobe.errors import ArithprobeError, shown
from arithprobe.files import write_whole
from arithprobe.problems.grammar import MAX_CHARACTERS, MAX_DIGITS, Layout, Problem, parse_column
from arithprobe.tokenizer import VOCABULARY, encode_column, unknown_character

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WORD, _DIGIT = re.compile(r"[^\W\d_]"), re.compile(r"\b[0-9]")  # a letter; a number, which the 1 of x1 is not
_TAB, _NEWLINE = 9, 10


class TsvTable(NamedTuple):
    """The encoded rows of one file: N rows, T characters in the longest problem."""

    path: str
    """Path of the file."""
    ids: npt.NDArray[np.uint8]
    """(N, T) token ids, padded right with 0."""
    lengths: npt.NDArray[np.int64]
    """(N,) characters of each problem."""
    x: npt.NDArray[np.int64]
    """(N,) first operands."""
    y: npt.NDArray[np.int64]
    """(N,) second operands."""
    answers: npt.NDArray[np.int64]
    """(N,) the sum, or its residue."""
    modulus: int | None
    """The one modulus of the file, or None for plain sums."""
    layout: npt.NDArray[np.int64]
    """(N,) index into ``layouts``."""
    layouts: tuple[Layout | None, ...]
    """Distinct layouts of the problems."""


def format_tsv(problems: Iterable[Problem]) -> str:
    """Return problems with their answers as the content of a file."""
    return "".join(f"{problem}\t{problem.answer}\n" for problem in problems)


def write_tsv(path: str | Path, problems: Iterable[Problem]) -> Path:
    """Write problems with their answers, whole or not at all."""
    return write_whole(path, format_tsv(problems))


def read_tsv(path: str | Path) -> TsvTable:
    """Read, check and encode a file.

    A byte order mark, CRLF line ends, a missing last newline and blank lines at the end are accepted.

    Raises:
        ArithprobeError: If the file cannot be read, is empty, or a row is wrong; the text starts with ``path:line:``.
    """
    return parse_tsv(_read_bytes(path), path)


def parse_tsv(data: bytes, path: str | Path) -> TsvTable:
    """Check and encode the content of a file; each row must end in a newline.

    Args:
        data: The content.
        path: The name of the file in errors.

    Raises:
        ArithprobeError: If a row is wrong; the text starts with ``path:line:``.
    """
    buffer = np.frombuffer(data, dtype=np.uint8)
    newlines = np.flatnonzero(buffer == _NEWLINE)
    starts = np.concatenate([[0], newlines[:-1] + 1])
    tabs = np.flatnonzero(buffer == _TAB)
    if len(tabs) != len(starts) or (tabs < starts).any() or (tabs > newlines).any():
        _explain(data, path)
    lengths, answer_lengths = tabs - starts, newlines - tabs - 1
    if lengths.max() > MAX_CHARACTERS or not data.isascii() or b"\0" in data:
        _explain(data, path)

    characters = _windows(buffer, starts, int(lengths.max()))
    characters[np.arange(characters.shape[1]) >= lengths[:, None]] = 0
    column = parse_column(characters)
    expected = column.x + column.y
    np.remainder(expected, column.modulus, out=expected, where=column.modulus > 0)
    right = column.valid & _answers_equal(buffer, tabs + 1, answer_lengths, expected)
    if not right.all() or (column.modulus != column.modulus[0]).any():
        _explain(data, path)
    modulus = int(column.modulus[0]) or None
    return TsvTable(
        str(path),
        encode_column(characters),
        lengths,
        column.x,
        column.y,
        expected,
        modulus,
        column.layout,
        column.layouts,
    )


def check_row(line: str) -> Problem:
    r"""Read one row; this is the reference that :func:`read_tsv` agrees with, row by row.

    >>> check_row("103 + 40 = ?\t143")
    Problem(x=103, y=40, modulus=None)

    Raises:
        ArithprobeError: If the row is wrong; the text says how, and starts with ``column:`` if the column is known.
    """
    if not line.strip():
        raise ArithprobeError(" expected 'problem<TAB>answer', got a blank line")
    fields = line.split("\t")
    if len(fields) != 2:
        raise ArithprobeError(f" expected 'problem<TAB>answer', got {len(fields)} field{'s' * (len(fields) > 1)}")
    text, answer = fields
    for column, character in enumerate(text, start=1):
        if character not in VOCABULARY:
            raise ArithprobeError(f"{column}: {unknown_character(character)}")
    try:
        problem = Problem.parse(text)
    except ArithprobeError as error:
        raise ArithprobeError(f" {error}") from None
    if not _NUMBER.fullmatch(answer):
        raise ArithprobeError(f" expected a finite number as the answer, got {shown(answer)!r}")
    if float(answer) != problem.answer:
        raise ArithprobeError(f" the answer to {text!r} is {problem.answer}, the file says {answer[:40]}")
    return problem


def _is_header(data: bytes) -> bool:
    """Whether the first line names columns: 'problem' and 'answer', or words without a number, over a problem."""
    first, second = (line.decode(errors="replace") for line in data.split(b"\n", 2)[:2])
    names = [field.strip(" '\"").lower() for field in first.split("\t")]
    if names[:2] == ["problem", "answer"]:
        return True
    return _WORD.search(first) is not None and not _DIGIT.search(first) and any(map(_is_problem, second.split("\t")))


def _is_problem(text: str) -> bool:
    try:
        Problem.parse(text)
    except ArithprobeError:
        return False
    return True


def _read_bytes(path: str | Path) -> bytes:
    """The content, without byte order mark, carriage returns and blank end, with a last newline."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise ArithprobeError(f"{path}: no such file; 'arithprobe generate' makes data files") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        raise ArithprobeError(f"{path}: cannot be read: {getattr(error, 'strerror', error)}") from error
    if not data:
        raise ArithprobeError(f"{path}: the file is empty; expected rows of 'problem<TAB>answer'")
    data = data.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")
    rows = data.rstrip(b" \t\r\n")
    if not rows:
        raise ArithprobeError(f"{path}: the file has only blank lines; expected rows of 'problem<TAB>answer'")
    rest_of_last_row = data[len(rows) :].partition(b"\n")[0]
    return rows + rest_of_last_row + b"\n"


def _windows(buffer: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.uint8]:
    """(N, width) the bytes from each start on, running over into what follows (zeros at the end)."""
    padded = np.concatenate([buffer, np.zeros(width, dtype=np.uint8)])
    rows: npt.NDArray[np.uint8] = np.lib.stride_tricks.sliding_window_view(padded, width)[starts]
    return rows


def _answers_equal(
    buffer: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    expected: npt.NDArray[np.int64],
) -> npt.NDArray[np.bool_]:
    """(N,) whether the answer field is a number that equals the expected one."""
    ends = starts + lengths
    decimal = (lengths > 2) & (buffer[ends - 2] == ord(".")) & (buffer[ends - 1] == ord("0"))
    lengths = lengths - 2 * decimal  # '689.0', as written from a column of floats
    width = min(max(int(lengths.max()), 1), MAX_DIGITS + 1)
    digits = _windows(buffer, starts, width).astype(np.int64) - ord("0")
    inside = np.arange(width) < lengths[:, None]
    plain = (lengths > 0) & (lengths <= width) & (((digits >= 0) & (digits <= 9)) | ~inside).all(axis=1)
    value = np.zeros(len(starts), dtype=np.int64)
    for column in range(width):
        value = np.where(inside[:, column], 10 * value + digits[:, column], value)
    equal: npt.NDArray[np.bool_] = plain & (value == expected)
    for row in np.flatnonzero(~plain):  # '+689', '6.89e2': rare, and right if the number is
        text = bytes(buffer[starts[row] : ends[row]]).decode("latin-1")
        equal[row] = _NUMBER.fullmatch(text) is not None and float(text) == expected[row]
    return equal


def _explain(data: bytes, path: str | Path) -> NoReturn:
    """Find the first wrong row and raise what is wrong with it."""
    first: Problem | None = None
    for number, raw in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            raise ArithprobeError(
                f"{path}:{number}:{error.start + 1}: not UTF-8 (byte 0x{raw[error.start]:02X})"
            ) from None
        try:
            problem = check_row(line)
        except ArithprobeError as error:
            if number == 1 and _is_header(data):
                raise ArithprobeError(
                    f"{path}:1: is a header row; delete it: expected 'problem<TAB>answer' rows from the first line on"
                ) from None
            raise ArithprobeError(f"{path}:{number}:{error}") from None
        first = first or problem
        if problem.modulus != first.modulus:
            kinds = ["a plain sum" if one.modulus is None else f"modulus {one.modulus}" for one in (problem, first)]
            raise ArithprobeError(f"{path}:{number}: {kinds[0]} here, {kinds[1]} on line 1; expected one task a file")
    raise RuntimeError(f"{path}: the fast check refused a file whose rows are all right; please report this")
