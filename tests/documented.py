"""The pages of the documentation: their blocks, and how each is run.

Every ``bash`` and ``python`` block of a page is run, in order, in one workspace per page. Lines of HTML comment
directly above a block say otherwise::

    <!-- not run: REASON -->      the block is skipped: set-up, servers, clusters
    <!-- file: NAME -->           the block, of any language, is written to that file of the workspace
    <!-- needs: reg_sum -->       (anywhere) the workspace begins with a short finished run of that configuration

A shell block begins in the workspace, and is run as :mod:`documented_runs` says. Python blocks of a page share their
names.
"""

import contextlib
import io
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import yaml
from conftest import ROOT
from documented_runs import imports_of, own_output, run_bash

from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import format_tsv

RUNNABLE = ("bash", "python")
ALIASES = {"sh": "bash", "shell": "bash", "zsh": "bash", "py": "python", "python3": "python"}
NEEDS = ("reg_sum", "reg_modk")
ROWS, MOD_ROWS = 400, 600
"""To validate on, in a workspace: the ladder of evidence takes 250, and of the notebook's first 600 residues none is
alone, which a stratified split asks for."""

_FENCE = re.compile(r"(?P<indent>[ >]*)(?P<fence>`{3,}|~{3,})[ ]*(?P<info>[^`]*)")
_COMMENT = re.compile(r"[ >]*<!--\s*(?P<text>.*?)\s*-->\s*")
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_NEEDS = re.compile(r"<!--\s*needs:\s*(\S+)\s*-->")


class PageError(Exception):
    """What is wrong with a page, and in which line of it."""

    def __init__(self, page: Path, line: int, what: str) -> None:
        super().__init__(f"{page}:{line}: {what}")


class Block(NamedTuple):
    """A fenced block."""

    language: str
    """The first word after the fence; may be empty."""
    text: str
    """Its lines, without the indentation of the fence."""
    line: int
    """The line of the page that its first line is, from 1."""
    reason: str | None
    """Why it is not run."""
    file: str | None
    """The file that it is written to."""

    @property
    def is_run(self) -> bool:
        """Whether it is a command to run."""
        return self.language in RUNNABLE and self.reason is None and self.file is None


class Page(NamedTuple):
    """A page of documentation."""

    path: Path
    """Its file."""
    blocks: tuple[Block, ...]
    """In order."""
    needs: tuple[str, ...]
    """Runs that its workspace begins with."""
    prose: str
    """The text outside of blocks; their lines are empty in it."""


class Mention(NamedTuple):
    """A command that a page names but does not run."""

    line: int
    """Of the page, where it begins."""
    command: str
    """The word after ``arithprobe``."""
    options: tuple[str, ...]
    """Its options that begin with two dashes, without values."""


def mentions(page: Page) -> list[Mention]:
    """The commands in the prose's code, and in blocks that are not run."""
    texts = [(1 + page.prose[: one.start()].count("\n"), one[2]) for one in _CODE.finditer(page.prose)]
    for block in page.blocks:
        if not block.is_run and block.file is None:
            joined = re.sub(r"\\\n", lambda _: "\\ ", block.text)  # continued lines
            texts += [(block.line, line) for line in joined.splitlines()]
    found = []
    for line, text in texts:
        words = text.replace("\\", " ").split("#")[0].split()
        place = next((n for n, word in enumerate(words) if word in ("arithprobe", ".venv/bin/arithprobe")), None)
        if place is None or not re.fullmatch(r"[a-z_]+", "".join(words[place + 1 : place + 2])):
            continue
        options = tuple(word.split("=")[0] for word in words[place + 2 :] if word.startswith("--"))
        found.append(Mention(line, words[place + 1], options))
    return found


def pages() -> list[Path]:
    """The pages of this repository."""
    built = ROOT / "docs" / "_build"
    return [ROOT / "README.md", *(one for one in sorted((ROOT / "docs").rglob("*.md")) if built not in one.parents)]


def parse(path: Path) -> Page:
    """Read a page.

    Raises:
        PageError: For a marker that is misspelt or stands above nothing, a block without an end, or a language that is
            another name of one that is run.
    """
    lines = path.read_text().splitlines()
    blocks, used = [], set()
    number = 0
    while number < len(lines):
        opening = _FENCE.fullmatch(lines[number].rstrip())
        if opening is None:
            number += 1
            continue
        markers = _markers_above(path, lines, number)
        used |= {line for line, _, _ in markers}
        end = _end(lines, number, opening["fence"])
        if end is None:
            raise PageError(path, number + 1, "this block has no end")
        blocks.append(_block(path, opening, lines[number + 1 : end], number + 2, markers))
        lines[number : end + 1] = [""] * (end + 1 - number)
        number = end + 1
    for number, line in enumerate(lines):
        if re.search(r"<!--\s*(not run|file):", line) and number not in used:
            raise PageError(path, number + 1, f"{line.strip()} stands directly above no block")
    needs = tuple(dict.fromkeys(_NEEDS.findall("\n".join(lines))))
    for name in set(needs) - set(NEEDS):
        raise PageError(path, 1, f"needs {name}; known: {', '.join(NEEDS)}")
    return Page(path, tuple(blocks), needs, "\n".join(lines))


def _markers_above(path: Path, lines: Sequence[str], number: int) -> list[tuple[int, str, str]]:
    """Line, kind and value of each marker directly above a line."""
    found = []
    while number > 0 and (comment := _COMMENT.fullmatch(lines[number - 1])):
        number -= 1
        kind, _, value = (part.strip() for part in comment["text"].partition(":"))
        if kind not in ("not run", "file", "needs") or not value:
            raise PageError(path, number + 1, f"no marker {comment['text']!r}; known: not run: REASON, file: NAME")
        found.append((number, kind, value))
    return found


def _end(lines: Sequence[str], number: int, fence: str) -> int | None:
    """The line of the closing fence: of the same characters, at least as many."""
    closing = re.compile(rf"[ >]*{re.escape(fence[0])}{{{len(fence)},}}\s*")
    return next((one for one in range(number + 1, len(lines)) if closing.fullmatch(lines[one])), None)


def _block(
    path: Path, opening: re.Match[str], lines: Sequence[str], line: int, markers: Sequence[tuple[int, str, str]]
) -> Block:
    said = {kind: value for _, kind, value in markers}
    language = (opening["info"].split() or [""])[0]
    if language in ALIASES:
        raise PageError(path, line - 1, f"language {language!r}; write {ALIASES[language]!r}, which is run")
    indent = len(opening["indent"])
    text = "".join(f"{one[:indent].lstrip(' >')}{one[indent:]}\n" for one in lines)
    return Block(language, text, line, said.get("not run"), said.get("file"))


Finished = Callable[[str], Path]
"""The folder ``lightning_logs/NAME`` of a short finished run."""


def make_workspace(folder: Path, needs: Sequence[str] = (), finished: Finished | None = None) -> Path:
    """A folder with what a reader's clone has, but few rows of data, which keeps every command quick.

    The files of recipes that a configuration would make are there too, as short, under the names that they would have.
    """
    for name in ("configs", "docs", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("_build", "__pycache__"))
    (folder / "data").mkdir()
    for path in (ROOT / "data").glob("REG-*_*.tsv"):
        with path.open() as rows:
            count = {"REG-MODK_val": MOD_ROWS, "REG-SUM_val": ROWS}.get(path.stem, 4 * ROWS)
            (folder / "data" / path.name).write_text("".join(islice(rows, count)))
    for path in (ROOT / "configs").glob("*.yaml"):
        data = yaml.safe_load(path.read_text()).get("data", {})
        if "recipe" in data and "train_file" not in data:
            for file, rows in _few(DataRecipe(**data["recipe"])).items():
                (folder / "data" / file).write_text(rows)
    for name in needs:
        assert finished is not None
        shutil.copytree(finished(name), folder / "lightning_logs" / name)
    return folder


@cache
def _few(recipe: DataRecipe) -> dict[str, str]:
    """The files of a recipe, with few rows: names and texts."""
    few = replace(recipe, rows=round(ROWS / recipe.val_fraction))
    return {recipe.file_name(part): format_tsv(pairs.problems(recipe)) for part, pairs in sample(few).items()}


def run_page(page: Page, workspace: Path, messages: Path) -> int:
    """Run the blocks of a page; how many there were.

    Args:
        page: The page.
        workspace: The folder to run them in.
        messages: An empty folder outside of it.

    Raises:
        PageError: At the first shell command that fails, with its line. What a Python block raises is raised as it
            is, and its traceback points into the page.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    with contextlib.chdir(workspace), mock.patch.dict(os.environ), imports_of(workspace):
        for block in page.blocks:
            if block.file is not None and block.reason is None:
                target = workspace / block.file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.text)
            elif block.is_run:
                count += 1
                _run_block(page, block, namespace, messages / str(count))
    return count


def _run_block(page: Page, block: Block, namespace: dict[str, Any], place: Path) -> None:
    if block.language == "bash":
        place.mkdir()
        failed = run_bash(block.text, block.line, place)
        if failed is not None:
            raise PageError(page.path, failed.line, failed.why)
    else:
        code = compile("\n" * (block.line - 1) + block.text, str(page.path), "exec")
        with own_output(io.StringIO(), io.StringIO()):
            exec(code, namespace)  # what is documented is what is tested
