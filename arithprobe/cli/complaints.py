"""Messages of the argument parser, in one line, with the near match."""

import difflib
import inspect
import re
from collections.abc import Iterable

_UNKNOWN_OPTION = re.compile(
    r"(?:unrecognized arguments: --|does not accept option '|^Option '(?=[\w.]+' is not accepted))([\w.+-]+)"
)
_LOOSE_WORD = re.compile(r"unrecognized arguments: (?!-)(\S+)")
_UNKNOWN_CLASS = re.compile(
    r"Expected a dot import path string: (\S+)"
    r"|Problem with given class_path '([^']+)':\s+(?:No module|.*has no attr|.*not found)"
)
_CLASS_OPTION = re.compile(
    r"Problem with given class_path '([^']+)':\s+(?:Option '(\w+)' is not accepted|(.+)\n(?:\s+(.+))?)"
)
_EXPECTED = re.compile(r"Expected an? ([^\n]+?)\.?(?: Got value.*)?(?:\n|$)")
_REFUSED_BY_CLASS = re.compile(r"Errors:\s+- (?!Expected|Not a valid|Problem)([^\n]+)")


_RENAMED = {
    "alpha": "; it is 'alphas' now, in another unit: a penalty for states scaled to unit variance, one or several to "
    "choose from"
}
_SHORTEST = 4  # letters that a part of a name has, to be meant


def complaint(message: str, known_options: Iterable[str], bases: Iterable[type] = ()) -> str:
    """Return in one line what the parser refused.

    Args:
        message: The parser's text, of any number of lines.
        known_options: Names of all options, such as ``model.lr``, to find near matches.
        bases: Classes whose subclasses a configuration can name, also to find near matches.
    """
    key = re.match(r'Parser key "([^"]+)"(?: element \d+)?', message)
    where = f"--{key[1]}: " if key else ""
    classes = _by_name(bases)
    if unknown := _UNKNOWN_OPTION.search(message):
        option = unknown[1].split("=")[0]
        return f"unknown option --{option}{_near(option, known_options, '--')}"
    if loose := _LOOSE_WORD.search(message):
        meant = {"config": "for a configuration", "ckpt_path": "for a run or a checkpoint"}
        asked = [f"--{one} {loose[1]} {what}" for one, what in meant.items() if one in known_options]
        return f"{loose[1]!r} follows no option" + (f"; pass {' or '.join(asked)}" if asked else "")
    if unknown := _UNKNOWN_CLASS.search(message):
        name = unknown[1] or unknown[2]
        return f"{where}unknown class {name!r}{_near(name, classes)}"
    if problem := _CLASS_OPTION.search(message):
        name = problem[1].rpartition(".")[2]
        if problem[2]:
            options = inspect.signature(classes[name]).parameters if name in classes else ()
            return f"{where}{name} has no option {problem[2]!r}{_RENAMED.get(problem[2]) or _near(problem[2], options)}"
        said = " ".join(" ".join(part or "" for part in problem.group(3, 4)).split())
        said = re.sub(r"(following arguments are required: .*) - Expected a .*", r"\1", said)
        return f"{where}{name}: {_plain(said.replace('Parser key ', ''))}"
    if refused := _REFUSED_BY_CLASS.search(message):
        return f"{where}{refused[1]}"
    given = re.search(r"(?:Given|Got) value: ?([^\n]*)", message)
    expected = list(dict.fromkeys(_plain(found) for found in _EXPECTED.findall(message)))
    if given and expected:
        return f"{where}expected {' or '.join(expected)}, got {given[1]!r}"
    return _shortened(" ".join(_plain(message.replace('Parser key "', "--").replace('":', ":")).split()))


def _near(name: str, known: Iterable[str], before: str = "") -> str:
    known = sorted(known, key=lambda one: one.rpartition(".")[2] != name.rpartition(".")[2])  # the same last word first
    if known and known[0].rpartition(".")[2] == name.rpartition(".")[2]:
        return f"; did you mean {_as(known[0], before)}?"
    last = [one.rpartition(".")[2] for one in known]
    near = (
        difflib.get_close_matches(name, known, n=1)
        or difflib.get_close_matches(name.rpartition(".")[2], last, n=1)
        or [one for one in last if _part_of(name.rpartition(".")[2], one)][:1]
    )
    if not near:
        return ""
    full = next(one for one in known if one == near[0] or one.endswith("." + near[0]))
    return f"; did you mean {_as(full, before)}?"


def _as(name: str, before: str) -> str:
    """An option as it is typed, a class in quotes."""
    return f"{before}{name}" if before else repr(name)


def _part_of(name: str, known: str) -> bool:
    """Whether one is in the other, but for what a class and a file spell apart: ``ridge_probing``, or ``Ridge``."""
    short, whole = (re.sub(r"[_\W]", "", one).lower() for one in (name, known))
    return len(short) >= _SHORTEST and short in whole


def _by_name(bases: Iterable[type]) -> dict[str, type]:
    found: dict[str, type] = {}
    pending = list(bases)
    while pending:
        known = pending.pop()
        if not inspect.isabstract(known):
            found[known.__name__] = known
        pending += known.__subclasses__()
    return found


def _shortened(text: str) -> str:
    return text if len(text) <= 300 else text[:297] + "..."


def _plain(text: str) -> str:
    """Types as a reader would name them."""
    text = re.sub(r"Literal\[([^\]]*)\]", r"one of \1", text)
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text).replace("NoneType", "null").replace("typing.", "")
    return text.strip().rstrip(".")
