"""The trials of a grid: which settings each has, and what it is called."""

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from arithprobe.errors import ArithprobeError, did_you_mean, shown

Values = dict[str, Any]
"""Settings by configuration key, such as ``model.d_model``."""
Grid = Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]]
"""A list of values for every key; every combination is a trial. Several grids are run one after the other."""
_SHORT = {"seed_everything": "seed"}
_TERM = re.compile(r"\s*([*/])?\s*(?:([0-9]{1,300}(?:\.[0-9]+)?)|([A-Za-z_][\w.]*))")
_LONGEST, _LONGEST_NAME = 60, 160  # characters of one value in a name, and of all


class Trial(NamedTuple):
    """One combination of the grid."""

    name: str
    """Its name, and that of its folder: ``n_layers2-d_model128-seed0``."""
    parameters: Values
    """The values of the grid's keys."""
    settings: Values
    """Those, what is set for all trials, and what follows by rule."""


def trials_of(grid: Grid, fixed: Mapping[str, Any], rules: Mapping[str, Any]) -> list[Trial]:
    """Every combination of a grid, each once, in the grid's order.

    >>> [trial.name for trial in trials_of({"model.d_model": [8, 16], "seed_everything": [0]}, {}, {})]
    ['d_model8-seed0', 'd_model16-seed0']

    Args:
        grid: Values for every key, or several such grids.
        fixed: Settings that all trials share.
        rules: Settings that follow from others, by key: ``4 * model.d_model``, ``model.d_model / 32``.

    Raises:
        ArithprobeError: If the grid is empty, a value comes twice, a key is set twice, or a rule cannot be followed.
    """
    parts = [grid] if isinstance(grid, Mapping) else list(grid)
    keys = list(dict.fromkeys(str(key) for part in parts for key in part))
    parts = [{str(key): values for key, values in part.items()} for part in parts]
    _check(parts, keys, fixed, rules)
    found: dict[str, Values] = {}
    for part in parts:
        for values in itertools.product(*part.values()):
            chosen = dict(zip(part, values, strict=True))
            ordered = {key: chosen[key] for key in keys if key in chosen}
            found.setdefault(_identity(ordered), ordered)
    names = _names(list(found.values()), keys)
    return [
        Trial(name, parameters, _settings(parameters, fixed, rules))
        for name, parameters in zip(names, found.values(), strict=True)
    ]


def _check(
    parts: Sequence[Mapping[str, Sequence[Any]]],
    keys: Sequence[str],
    fixed: Mapping[str, Any],
    rules: Mapping[str, Any],
) -> None:
    if not parts or not all(parts):
        raise ArithprobeError(
            "the grid is empty; expected keys with lists of values, such as model.d_model: [128, 256]"
        )
    for part in parts:
        for key, values in part.items():
            if not values:
                raise ArithprobeError(f"grid: {key} has no values; expected a list of one or more")
            twice = [value for value, count in Counter(map(_identity, values)).items() if count > 1]
            if twice:
                raise ArithprobeError(f"grid: {key} has {twice[0]} twice")
    homes = [(str(key), home) for home, own in (("grid", keys), ("set", fixed), ("rules", rules)) for key in own]
    for (one, home), (other, elsewhere) in itertools.combinations(homes, 2):
        if one == other:
            raise ArithprobeError(f"{one} is in {home} and in {elsewhere}; expected one of them")
        if f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}."):
            raise ArithprobeError(
                f"{one} in {home} and {other} in {elsewhere} set the same thing; expected one of them"
            )


def _settings(parameters: Values, fixed: Mapping[str, Any], rules: Mapping[str, Any]) -> Values:
    known = {**fixed, **parameters}
    return known | {key: _followed(key, rule, known) for key, rule in rules.items()}


def _followed(key: str, rule: Any, known: Mapping[str, Any]) -> Any:
    """What a rule says for one trial: factors and divisors, from left to right.

    Raises:
        ArithprobeError: If it is no such product, names a key that is nowhere set, or does not divide.
    """
    wanted = f"rules: {key} is {shown(rule)!r}"
    value: float | None = None
    end = 0
    if not isinstance(rule, str):
        return rule
    while end < len(rule.rstrip()):
        term = _TERM.match(rule, end)
        if term is None or (term[1] is None) != (value is None):
            raise ArithprobeError(f"{wanted}; expected numbers and keys with * and / between, as in 4 * model.d_model")
        if term[3] is not None and term[3] not in known:
            meant = did_you_mean(term[3], known)
            raise ArithprobeError(f"{wanted}: {term[3]} is neither in grid nor in set{meant}")
        factor = known[term[3]] if term[3] is not None else float(term[2]) if "." in term[2] else int(term[2])
        if not isinstance(factor, (int, float)):
            raise ArithprobeError(f"{wanted}: {term[3]} is {factor!r}; expected a number")
        value = factor if value is None else value * factor if term[1] == "*" else _divided(wanted, value, factor)
        end = term.end()
    return value


def _divided(wanted: str, value: float, divisor: float) -> float:
    """A quotient; of whole numbers a whole number."""
    whole = isinstance(value, int) and isinstance(divisor, int)
    if divisor == 0 or (whole and value % divisor):
        raise ArithprobeError(f"{wanted}: {value} is not a multiple of {divisor}")
    return value // divisor if whole else value / divisor


def _names(parameters: Sequence[Values], keys: Sequence[str]) -> list[str]:
    """A name for each trial, unique, of letters, digits, '_', '-' and '.'."""
    last = Counter(key.rpartition(".")[2] for key in keys)
    short = {key: key.rpartition(".")[2] if last[key.rpartition(".")[2]] == 1 else key for key in keys}
    long = [
        "-".join(f"{_SHORT.get(key, short[key])}{_text(value)}" for key, value in values.items())
        for values in parameters
    ]
    names = [name[:_LONGEST_NAME] for name in long]
    alike = Counter(name.lower() for name in names)  # some file systems do not tell A from a
    return [
        name if alike[name.lower()] == 1 else f"{name}-{_digest(values)}"
        for name, values in zip(names, parameters, strict=True)
    ]


def _text(value: Any) -> str:
    text = str(value) if isinstance(value, (bool, int, float, str)) else _digest(value)
    text = re.sub(r"[^\w.-]+|\.\.+", "_", text, flags=re.ASCII)
    return text if len(text) <= _LONGEST else _digest(value)


def _identity(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _digest(value: Any) -> str:
    return hashlib.sha256(_identity(value).encode()).hexdigest()[:8]
