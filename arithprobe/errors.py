"""The one exception for mistakes of a user, the warnings, and what may have been meant: one name, or several."""

import difflib
import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

_LONGEST = 60  # characters of a value in a message


OF_OTHER_CODE = (ArithmeticError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What code of one's own raises when it is run on what it is not made for."""


class ArithprobeError(ValueError):
    """A user's mistake, told in one line: the thing, what was expected, what was given, and where.

    The command line prints the text and exits with code 2; in a notebook it is an ordinary ``ValueError``.
    """


class SharedRowsWarning(UserWarning):
    """Validation rows repeat training rows, in a split mode that allows it."""


class ThreadsWarning(UserWarning):
    """A fit goes on with another number of threads, so its results are no longer the same bit for bit."""


class OtherCheckpointWarning(UserWarning):
    """A frozen eraser was fitted on the states of another model."""


def shown(value: object) -> str:
    """Return a value as messages show it: a long text is cut, and a huge number is given by its size.

    >>> shown(1.5), shown("9" * 70)[-5:], shown(-(10**5000))
    ('1.5', '99...', 'about -1e5000')
    """
    if isinstance(value, int) and abs(value) >= 10**_LONGEST:
        return f"about {'-' * (value < 0)}1e{math.log10(abs(value)):.0f}"
    text = str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def require_at_least(owner: str, **limits: tuple[float, float]) -> None:
    """Refuse options that are too small.

    >>> require_at_least("", folds=(5, 2))

    Args:
        owner: What the options belong to, as in ``'RidgeProbing: '``; may be empty.
        limits: The value and the smallest one allowed, by name.

    Raises:
        ArithprobeError: Naming the first that is smaller.
    """
    for name, (value, least) in limits.items():
        if not value >= least:
            raise ArithprobeError(f"{owner}{name} is {shown(value)}; expected {least} or more")


def require_at_most(owner: str, **limits: tuple[float, float]) -> None:
    """Refuse options that are too large.

    Args:
        owner: As in :func:`require_at_least`.
        limits: The value and the largest one allowed, by name.

    Raises:
        ArithprobeError: Naming the first that is larger.
    """
    for name, (value, most) in limits.items():
        if not value <= most:
            raise ArithprobeError(f"{owner}{name} is {shown(value)}; expected at most {most}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or nothing.

    >>> did_you_mean("summ", ["sum", "x"])
    "; did you mean 'sum'?"
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def several(option: str, given: object, kind: type[str] | type[int] | type[float] = str) -> tuple[Any, ...]:
    """Return the values of an option that takes several; one name or number alone stands for a list of it.

    >>> several("targets", "sum"), several("targets", ["x", "y"]), several("shifts", 5, int)
    (('sum',), ('x', 'y'), (5,))

    Args:
        option: The name of the option.
        given: One value, or any number of them.
        kind: The type of each value; a whole number counts as a float too.

    Raises:
        ArithprobeError: If ``given`` is neither.
    """
    accepted = {int: Integral, float: Real}.get(kind, kind)
    single = isinstance(given, (str, accepted)) or not isinstance(given, Iterable)
    found: tuple[Any, ...] = (given,) if single else tuple(given)  # type: ignore[arg-type]
    for one in found:
        if not isinstance(one, accepted):
            what = {str: "names", int: "whole numbers", float: "numbers"}[kind]
            raise ArithprobeError(f"{option}: expected {what}, got {one!r}")
    return found
