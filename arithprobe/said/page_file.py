"""``<name>.page.json``: what an analysis said, for the page to say again."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from arithprobe.errors import ArithprobeError
from arithprobe.files import read_object, to_json
from arithprobe.plotting.render import Figure
from arithprobe.said.content import CellMap, Chart, Column, Content, Picture, Said, Table, Words

ENDING = ".page.json"
_VERSION = 1
_BLOCKS: tuple[type[Content], ...] = (Words, Table, Picture, Chart, CellMap)
Checked = TypeVar("Checked", bound=Content | Column)
_AGAIN = "let the command that wrote it write it again, or delete it"


class _UnknownError(ArithprobeError):
    """Of another version; says so itself."""


@dataclass(frozen=True)
class StoredPage:
    """A page file, read."""

    path: Path
    """The file."""
    said: Said
    """What it says; its pictures are drawn already, in files beside it."""
    study: str
    """What wrote it: the class's full name."""
    live: bool
    """Whether a live probe did, during a fit."""
    records: tuple[str, ...]
    """Files of numbers that belong to it, without their ending."""
    files: tuple[str, ...]
    """Other files that belong to it: paths inside its folder."""

    def picture(self, name: str) -> Path:
        """The path of a picture, without its ending."""
        return (self.path.parent.parent if self.live else self.path.parent) / "figures" / name


def page_record(said: Said, study: str, *, live: bool = False) -> dict[str, Any]:
    """What a page file holds.

    Args:
        said: What is to be said again.
        study: What says it: the class's full name.
        live: Whether a live probe does.

    Raises:
        ArithprobeError: If it could not be read again, as where a cell of a table is no text.
    """
    names = ("name", "title", "shows", "does_not_show", "rank", "checkpoint", "weights")
    record = {
        "version": _VERSION,
        "study": study,
        "live": live,
        **{name: getattr(said, name) for name in names},
        "blocks": [_stored(block) for block in said.blocks],
        "records": list(said.records),
        "files": list(said.files),
    }
    try:
        _page_of(json.loads(to_json(record)), Path(f"{said.name}{ENDING}"))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArithprobeError(f"{said.name}: what it says makes no page ({error!r:.200})") from error
    return record


def _stored(block: Content) -> dict[str, Any]:
    if isinstance(block, Picture):
        fields = {name: value for name, value in vars(block).items() if name != "draw"}
    else:
        fields = asdict(block)
    return {"kind": block.kind} | fields


def read_page(path: Path) -> StoredPage:
    """A page file.

    Raises:
        ArithprobeError: If it cannot be read, is cut, or holds a block that this version does not know.
    """
    record = read_object(path)
    try:
        return _page_of(record, path)
    except _UnknownError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArithprobeError(f"{path}: is no page file of this version ({error!r:.200}); {_AGAIN}") from error


def _page_of(record: Mapping[str, Any], path: Path) -> StoredPage:
    if record["version"] != _VERSION:
        raise _UnknownError(
            f"{path}: is of version {record['version']!r:.80} of page files, expected {_VERSION}; {_AGAIN}"
        )
    blocks = tuple(_block(one, path) for one in record["blocks"])
    said = Said(
        name=_text(record["name"]),
        title=_text(record["title"]),
        behaviour=None,
        blocks=blocks,
        shows=_text(record["shows"]),
        does_not_show=_text(record["does_not_show"]),
        rank=_whole(record["rank"]),
        checkpoint=None if record["checkpoint"] is None else _text(record["checkpoint"]),
        weights=None if record["weights"] is None else _text(record["weights"]),
    )
    records, files = (tuple(_text(one) for one in record[name]) for name in ("records", "files"))
    return StoredPage(path, said, _text(record["study"]), record["live"] is True, records, files)


def _block(record: Mapping[str, Any], path: Path) -> Content:
    kind = record["kind"]
    known = next((one for one in _BLOCKS if one.kind == kind), None)
    if known is None:
        kinds = ", ".join(one.kind for one in _BLOCKS)
        raise _UnknownError(f"{path}: has a block {kind!r:.80}; this version knows {kinds}; {_AGAIN}")
    given = {name: value for name, value in record.items() if name != "kind"}
    if known is Picture:
        given["draw"] = _drawn_already(path, given["name"])
    if known is Table:
        given["columns"] = tuple(_checked(Column(**one)) for one in given["columns"])
        given["rows"] = tuple(tuple(_text(cell) for cell in row) for row in given["rows"])
        if any(len(row) != len(given["columns"]) for row in given["rows"]):
            raise ValueError(f"rows of {given['title']!r} are not of {len(given['columns'])} cells")
    for name in ("metrics", "headlines", "notes"):
        if name in given:
            given[name] = tuple(_text(one) for one in given[name])
    return _checked(known(**given))


def _checked(block: Checked) -> Checked:
    """The same; words are text, what is true or false is that, and a choice is one of its values."""
    for field in fields(block):
        value = getattr(block, field.name)
        if get_origin(field.type) is Literal:
            fits = value in get_args(field.type)
        elif field.type in (str, bool):
            fits = type(value) is field.type
        else:
            fits = isinstance(value, dict) or field.name != "where"
        if not fits:
            raise TypeError(f"{field.name} of a block is {value!r}")
    return block


def _drawn_already(path: Path, name: str) -> Callable[[], Figure]:
    def draw() -> Figure:
        raise ArithprobeError(f"{path}: its picture {name!r} is a file, not drawn again")

    return draw


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"expected a whole number, got {value!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value
