"""The single grammar of the library: ``x + y = ?`` and ``x + y (mod k) = ?``.

All code that must know what a problem looks like (data files, roles of characters, probe targets) asks this module, and
this module holds one regular expression. Operands and modulus are unsigned integers; ``-2 + 3 = ?`` is refused,
although the vocabulary has a '-'.

A *layout* says which character is which; problems with the same digit counts share it. A column of a million problems
has a few dozen layouts, so the parser matches each layout once and reads the digits of all its rows at once.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from arithprobe.errors import ArithprobeError, shown

MAX_DIGITS = 15
"""Longest number accepted, in digits, so that every sum is exact in float64."""
_GRAMMAR = re.compile(r"(?P<x>[0-9]+) \+ (?P<y>[0-9]+)(?: \(mod (?P<modulus>[0-9]+)\))? = \?")
LAST_ROLE = "query"
"""The role of the last character, ``?``, which every problem ends in and the readout reads."""
MAX_CHARACTERS = 3 * MAX_DIGITS + len(" +  (mod ) = ?")
"""Longest problem accepted, in characters."""

if TYPE_CHECKING:
    import torch

_CHARACTERS = {"plus": "+", "mod_open": "(", "mod_close": ")", "equals": "=", LAST_ROLE: "?"}
_LETTERS = {f"mod_{letter}": letter for letter in "mod"}

Numbers = TypeVar("Numbers", int, npt.NDArray[np.int64], "torch.Tensor")


def digit(value: Numbers, place: int) -> Numbers:
    """The decimal digit of ``value`` at a place (1, 10, 100, ...), elementwise.

    >>> digit(103, 100), digit(103, 10), digit(103, 1)
    (1, 0, 3)
    """
    return value // place % 10


def carry(x: Numbers, y: Numbers, place: int) -> Numbers:
    """The carry (0 or 1) out of the column of a place (1, 10, ...) when ``x + y`` is added by hand, elementwise.

    >>> carry(57, 65, 1), carry(57, 65, 10), carry(57, 65, 100)
    (1, 1, 0)
    """
    return (x % (10 * place) + y % (10 * place)) // (10 * place)


def task_title(modulus: int | None) -> str:
    """The name of a task in words.

    >>> task_title(None), task_title(97)
    ('x + y', 'x + y (mod 97)')
    """
    return "x + y" if modulus is None else f"x + y (mod {modulus})"


@dataclass(frozen=True)
class Problem:
    """One addition problem.

    >>> problem = Problem.parse("103 + 40 (mod 97) = ?")
    >>> problem.total, problem.answer, str(problem)
    (143, 46, '103 + 40 (mod 97) = ?')
    """

    x: int
    """First operand."""
    y: int
    """Second operand."""
    modulus: int | None = None
    """Modulus, or None for a plain sum."""

    def __post_init__(self) -> None:
        """Refuse what the grammar has no words for."""
        for name, value in (("x", self.x), ("y", self.y), ("modulus", self.modulus)):
            if value is not None and not 0 <= value < 10**MAX_DIGITS:
                raise ArithprobeError(
                    f"{name} is {shown(value)}; expected an unsigned integer of at most {MAX_DIGITS} digits"
                )
        if self.modulus is not None and self.modulus < 2:
            raise ArithprobeError(f"modulus is {self.modulus}; expected 2 or more")

    @classmethod
    def parse(cls, text: str) -> "Problem":
        """Parse a problem.

        Raises:
            ArithprobeError: If the text is neither ``x + y = ?`` nor ``x + y (mod k) = ?``, or a number is too long.
        """
        match = _match(text)
        modulus = match["modulus"]
        return cls(int(match["x"]), int(match["y"]), None if modulus is None else int(modulus))

    @property
    def total(self) -> int:
        """``x + y``."""
        return self.x + self.y

    @property
    def answer(self) -> int:
        """The answer as the TSV file has it: the sum, or its residue if there is a modulus."""
        return self.total if self.modulus is None else self.total % self.modulus

    def __str__(self) -> str:
        """The problem as written in a TSV."""
        middle = "" if self.modulus is None else f" (mod {self.modulus})"
        return f"{self.x} + {self.y}{middle} = ?"


def character_of(role: str) -> str:
    """The character that a role has in every problem, ``digit`` for those of numbers; empty for any other name.

    >>> [character_of(role) for role in ("x100", "mod10", "sp1", "mod_sp", "equals", "mod_m", "memory", "5")]
    ['digit', 'digit', ' ', ' ', '=', 'm', '', '']

    Args:
        role: One of :attr:`Layout.roles`, or any other text.
    """
    if re.fullmatch("(x|y|mod)10*", role):
        return "digit"
    if re.fullmatch("sp[0-9]|mod_sp", role):
        return " "
    return (_CHARACTERS | _LETTERS).get(role, "")


@dataclass(frozen=True)
class Layout:
    """The role of each character of a problem; problems with the same digit counts share a layout.

    >>> print(*Layout.of("103 + 40 = ?").roles)
    x100 x10 x1 sp1 plus sp2 y10 y1 sp4 equals sp5 query
    >>> print(*Layout.of("1 + 4 (mod 97) = ?").roles)
    x1 sp1 plus sp2 y1 sp3 mod_open mod_m mod_o mod_d mod_sp mod10 mod1 mod_close sp4 equals sp5 query
    """

    x: tuple[int, int]
    """First and one past the last character of the first operand."""
    y: tuple[int, int]
    """The same for the second operand."""
    modulus: tuple[int, int] | None
    """The same for the modulus, or None for a plain sum."""
    roles: tuple[str, ...]
    """The role of each character: digits by place value (``x100``, ``y1``, ``mod10``), the rest by name."""

    @classmethod
    def of(cls, text: str) -> "Layout":
        """The layout of a problem.

        Raises:
            ArithprobeError: If the text is not a problem, or a number is too long.
        """
        match = _match(text)
        roles = [*_places("x", match["x"]), "sp1", "plus", "sp2", *_places("y", match["y"])]
        if match["modulus"] is not None:
            roles += ["sp3", "mod_open", "mod_m", "mod_o", "mod_d", "mod_sp"]
            roles += [*_places("mod", match["modulus"]), "mod_close"]
        roles += ["sp4", "equals", "sp5", "query"]
        modulus = None if match["modulus"] is None else match.span("modulus")
        return cls(match.span("x"), match.span("y"), modulus, tuple(roles))


class ProblemColumn(NamedTuple):
    """A column of problems, parsed at once."""

    valid: npt.NDArray[np.bool_]
    """(N,) whether the row is a problem; the other fields mean nothing where it is not."""
    x: npt.NDArray[np.int64]
    """(N,) first operands."""
    y: npt.NDArray[np.int64]
    """(N,) second operands."""
    modulus: npt.NDArray[np.int64]
    """(N,) moduli, 0 for a plain sum."""
    layout: npt.NDArray[np.int64]
    """(N,) index into ``layouts``."""
    layouts: tuple[Layout | None, ...]
    """The distinct layouts; None stands for rows that are no problem."""


def parse_column(characters: npt.NDArray[np.uint8]) -> ProblemColumn:
    """Parse a column of problems; each row follows the grammar of :meth:`Problem.parse`.

    Args:
        characters: (N, T) ASCII codes, padded right with 0.

    Returns:
        The operands, moduli and layouts; rows that :meth:`Problem.parse` would refuse are marked and do not raise.
    """
    template = _DIGITS_TO_ZERO[characters]
    first, layout = _distinct_rows(template)
    n = len(characters)
    valid = np.zeros(n, dtype=np.bool_)
    x, y, modulus = (np.zeros(n, dtype=np.int64) for _ in range(3))
    layouts: list[Layout | None] = []
    order = np.argsort(layout, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(layout, minlength=len(first)))[:-1])
    for representative, rows in zip(first, groups, strict=True):
        text = bytes(template[representative]).rstrip(b"\0").decode("latin-1")
        try:
            found = Layout.of(text)
        except ArithprobeError:
            layouts.append(None)
            continue
        layouts.append(found)
        x[rows] = _read(characters, rows, found.x)
        y[rows] = _read(characters, rows, found.y)
        valid[rows] = True
        if found.modulus is not None:
            modulus[rows] = _read(characters, rows, found.modulus)
            valid[rows] = modulus[rows] >= 2
    return ProblemColumn(valid, x, y, modulus, layout, tuple(layouts))


_DIGITS_TO_ZERO = np.arange(256, dtype=np.uint8)
_DIGITS_TO_ZERO[ord("0") : ord("9") + 1] = ord("0")


def _read(
    characters: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], span: tuple[int, int]
) -> npt.NDArray[np.int64]:
    value = np.zeros(len(rows), dtype=np.int64)
    for column in range(*span):
        value = 10 * value + (characters[rows, column].astype(np.int64) - ord("0"))
    return value


def _distinct_rows(rows: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First index of each distinct row, and for every row which of them it equals: np.unique(axis=0), by hash."""
    width = -(-rows.shape[1] // 8) * 8
    packed = np.zeros((len(rows), width), dtype=np.uint8)
    packed[:, : rows.shape[1]] = rows
    words = packed.view(np.uint64)
    odd = np.random.default_rng(0).integers(2**63, size=words.shape[1], dtype=np.uint64) * 2 + 1
    mixed = words * odd
    key = np.bitwise_xor.reduce(mixed ^ (mixed >> np.uint64(32)), axis=1)
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    if not np.array_equal(words[first][inverse], words):  # a hash collision: sort whole rows instead
        _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return first.astype(np.int64), inverse.reshape(-1).astype(np.int64)


def _match(text: str) -> re.Match[str]:
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise ArithprobeError(f"{shown(text)!r} is neither 'x + y = ?' nor 'x + y (mod k) = ?' with unsigned integers")
    for name, number in match.groupdict().items():
        if number is not None and len(number) > MAX_DIGITS:
            raise ArithprobeError(f"{name} has {len(number)} digits; expected at most {MAX_DIGITS}")
    return match


def _places(name: str, digits: str) -> list[str]:
    return [f"{name}{10**power}" for power in reversed(range(len(digits)))]
