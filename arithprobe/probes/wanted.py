"""Requested targets of probes: quantities of the rows by name, and functions of the rows.

A function takes the :class:`~arithprobe.problems.rows.Rows` and returns one number for each row. This module imports no
PyTorch, so that options can be read without it.
"""

import importlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.context import get_spawning_popen
from typing import TYPE_CHECKING, Any, NamedTuple

from arithprobe.errors import ArithprobeError, shown

_NAME = re.compile(r"[a-z][a-z0-9]*")
_MEANS_ALL = "all"


@dataclass(frozen=True)
class FunctionTarget:
    """A target that is a function of the rows.

    A spawned process imports the function that it is sent, which fails for a lambda: pickling then says so.
    """

    name: str
    """What it is called in tags, tables and files."""
    function: Callable[..., Any]
    """From Rows to N numbers."""

    def __str__(self) -> str:
        """Its name, and where the function comes from."""
        return f"{self.name}: {self.origin}"

    @property
    def origin(self) -> str:
        """Where the function comes from, in words."""
        path = f"{getattr(self.function, '__module__', '?')}.{self._qualname}"
        return f"a function of the user's ({shown(path)})"

    @property
    def _qualname(self) -> str:
        return str(getattr(self.function, "__qualname__", type(self.function).__qualname__))

    def __getstate__(self) -> dict[str, Any]:
        """Its fields, unless it is on its way to a process that could not find the function."""
        if get_spawning_popen() is not None and "<" in self._qualname:  # <lambda>, or a <locals> function
            raise ArithprobeError(
                f"target {self.name!r} is {self._qualname}, which a spawned process cannot import; define it with "
                "'def' in a module, or train with the strategy 'ddp' or 'ddp_fork'"
            )
        return dict(vars(self))


if TYPE_CHECKING:
    Functions = Mapping[str, Callable[..., Any] | str]
    Targets = Sequence[str | FunctionTarget | Functions] | Functions
else:
    Targets = Any
    """Names, and functions by their names, each as itself or as ``module.function``. A command line and a configuration
    hand on what they read: what is wrong with it says :func:`wanted_targets`, which names what was expected."""


class Wanted(NamedTuple):
    """The requested targets, each once."""

    names: tuple[str, ...]
    """All names, those of functions too, in order."""
    functions: tuple[FunctionTarget, ...]
    """The functions among them."""

    @property
    def options(self) -> tuple[str | FunctionTarget, ...]:
        """Names and functions together, in order."""
        by_name = {one.name: one for one in self.functions}
        return tuple(by_name.get(name, name) for name in self.names)


def wanted_targets(option: str, given: object) -> Wanted:
    """Read the option ``targets``: names, functions by name, or a list of both.

    >>> wanted_targets("targets", ["sum", {"larger": max}]).names
    ('sum', 'larger')

    Args:
        option: The name of the option in messages.
        given: A name, a mapping of names to functions, or any number of both.

    Raises:
        ArithprobeError: If something else is among them, a name is no plain word in small letters, or two functions
            have one name.
    """
    if isinstance(given, (str, Mapping, FunctionTarget)) or not isinstance(given, Iterable):
        given = [given]
    names: list[str] = []
    functions: dict[str, FunctionTarget] = {}
    for one in given:
        if isinstance(one, str):
            names.append(one)
            continue
        if not isinstance(one, (Mapping, FunctionTarget)):
            what = "a function without a name; write {'name': function}" if callable(one) else shown(repr(one))
            raise ArithprobeError(f"{option}: expected names, got {what}")
        for name, function in one.items() if isinstance(one, Mapping) else [(one.name, one.function)]:
            functions[_legal(option, name)] = FunctionTarget(name, _function(option, name, function))
            names.append(name)
    twice = [name for name in functions if names.count(name) > 1]
    if twice:
        raise ArithprobeError(
            f"{option}: {twice[0]!r} is asked for twice, once as a function; give it a name of its own"
        )
    return Wanted(tuple(dict.fromkeys(names)), tuple(functions.values()))


def recorded(options: Any) -> dict[str, Any]:
    """Options as plain values for a record: functions in words."""
    found = asdict(options)
    return found | {"targets": [str(one) for one in options.targets]}


def functions_record(functions: Iterable[FunctionTarget]) -> dict[str, Any]:
    """The part of a record about functions, by name; empty without any."""
    origins = {one.name: one.origin for one in functions}
    return {"functions": origins} if origins else {}


def _legal(option: str, name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == _MEANS_ALL:
        raise ArithprobeError(
            f"{option}: a function is called {shown(repr(name))}; expected small letters and digits, a letter first, "
            f"and not {_MEANS_ALL!r}"
        )
    return name


def _function(option: str, name: str, given: object) -> Callable[..., Any]:
    """A function, or the one that ``module.function`` names."""
    if not isinstance(given, str):
        if not callable(given):
            raise ArithprobeError(
                f"{option}: {name!r} is {shown(repr(given))}; expected a function of the rows, or 'module.function'"
            )
        return given
    module, _, attribute = given.replace(":", ".").rpartition(".")
    if not module:
        raise ArithprobeError(f"{option}: {name!r} is {given!r}; expected a function of the rows, or 'module.function'")
    try:
        found: object = getattr(importlib.import_module(module), attribute, None)
    except ImportError as error:
        raise ArithprobeError(f"{option}: {name!r} is {given!r}, which cannot be imported: {error}") from error
    if not callable(found):
        raise ArithprobeError(f"{option}: {name!r} is {given!r}, but {module} has no function {attribute!r}")
    return found
