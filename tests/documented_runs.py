"""How documented commands are run: by bash, but our own in this process and with settings that take a second.

``bash`` runs a block, so quotes, comments, continued lines, ``cd`` and variables mean what they mean to a reader. The
words ``arithprobe`` and ``python`` (``OURS``) are functions there, which hand their words to this process: it has
imported everything already. Of other commands it knows ``SHELL``; an unknown one fails the block, wherever it stands.

A fit or a sweep that several pages begin with is run once: the next page gets what it left and said.

A long script (``LONG``) is only asked for its ``--help``, after it has read the documented options; all of these have
to stand in that help. A sweep's trial is run here too: a worker would import everything again, and engines have tests
of their own.
"""

import contextlib
import io
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TextIO
from unittest import mock

from conftest import lightning_writes_to
from documented_settings import quick
from rendered import white_figures

from arithprobe import cli
from arithprobe.sweeps.engine import Job, Outcome, one_line

SHELL = ("cat", "cp", "cut", "find", "grep", "head", "ls", "mkdir", "mv", "rm", "sort", "tail", "wc")
OURS = ("arithprobe", ".venv/bin/arithprobe", "python", "python3", ".venv/bin/python")
LONG = ("benchmark", "benchmark_sweep", "four_models", "measure_fit", "minimal_edits", "train_recipes")


class Said(NamedTuple):
    """What a command said."""

    code: int
    """Its exit code."""
    out: str
    """On stdout."""
    err: str
    """On stderr."""


@contextlib.contextmanager
def own_output(out: TextIO, err: TextIO) -> Iterator[None]:
    """Within the block, what is written to stdout and stderr is written there, and figures stay white."""
    with white_figures(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        lightning_writes_to(err)
        yield


@contextlib.contextmanager
def imports_of(folder: Path) -> Iterator[None]:
    """Within the block, modules of a folder can be imported; after it, they are forgotten."""
    place, before = folder.resolve(), set(sys.modules)
    try:
        with mock.patch.object(sys, "path", [str(place), *sys.path]):
            yield
    finally:
        for name in set(sys.modules) - before:
            if Path(getattr(sys.modules[name], "__file__", None) or "/").resolve().parent == place:
                del sys.modules[name]


_KEPT = tempfile.TemporaryDirectory(prefix="documented")
_DONE: dict[tuple[str, ...], tuple[Path, Said]] = {}
_CHECKED: set[tuple[str, ...]] = set()


def call(words: Sequence[str]) -> Said:
    """Run ``arithprobe ...`` or ``python ...`` in this process and folder, or give what it gave in one like it."""
    if words[1:2] not in (["fit"], ["sweep"]):
        return _call(words)
    files = [value for option, value in pairwise(words) if option == "--config" and Path(value).is_file()]
    key = (*words, *(Path(file).read_text() for file in files))
    logs, kept = Path("lightning_logs"), Path(_KEPT.name) / str(len(_DONE))
    before = _files(logs)
    if key not in _DONE:
        done = _call(words)
        if done.code == 0:
            kept.mkdir()
            for file in _files(logs) - before:
                (kept / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(logs / file, kept / file)
            _DONE[key] = kept, done
        return done
    kept, done = _DONE[key]
    if _files(kept) & before:  # it would be another version
        return _call(words)
    shutil.copytree(kept, logs, dirs_exist_ok=True)
    return done


def _files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def _call(words: Sequence[str]) -> Said:
    out, err = io.StringIO(), io.StringIO()
    with own_output(out, err):
        try:
            code = _python(words[1:]) if "python" in words[0] else _arithprobe(words[1:])
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else 0 if stopped.code is None else 1
    return Said(code, out.getvalue(), err.getvalue())


class Here:
    """An engine of sweeps that runs trials in this process."""

    name = "loky"

    def __init__(self, *settings: object) -> None: ...

    def check(self) -> None: ...

    def run(self, job: Job, trials: Sequence[str]) -> Generator[Outcome | None]:
        for trial in trials:
            try:
                error = job(trial)
            except RuntimeError as raised:  # of PyTorch
                error = one_line(raised)
            yield Outcome(trial, error)
            yield None


def _arithprobe(words: Sequence[str]) -> int:
    with mock.patch("arithprobe.cli.sweep.LokyEngine", Here):
        for run in quick(words):
            if run != words and tuple(run) in _CHECKED:
                continue
            if code := cli.main(run):
                return code
            if "--dry_run" in run:
                _CHECKED.add(tuple(run))
    return 0


def _python(words: Sequence[str]) -> int:
    if list(words[:2]) == ["-m", "arithprobe"]:
        return _arithprobe(words[2:])
    if not words or not re.fullmatch(r"scripts/\w+\.py", words[0]):
        sys.stderr.write("python is run for scripts/NAME.py and -m arithprobe only\n")
        return 2
    is_long = Path(words[0]).stem in LONG
    argv = [*words, *(["--help"] if is_long else [])]
    try:
        with imports_of(Path("scripts")), mock.patch.object(sys, "argv", argv):
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as stopped:
        if stopped.code:
            raise
    return _unknown_options(words) if is_long else 0


def _unknown_options(words: Sequence[str]) -> int:
    """Say which options of a script its help, which has just been written, does not have."""
    said = sys.stdout.getvalue() if isinstance(sys.stdout, io.StringIO) else ""
    options = [word.split("=")[0] for word in words if word.startswith("--")]
    unknown = [option for option in options if not re.search(rf"{option}\b", said)]
    sys.stderr.writelines(f"{words[0]} has no option {word}\n" for word in unknown)
    return 2 if unknown else 0


_PRELUDE = f"""
_ask() {{
    printf '%s\\0' "$@" > "$DOCUMENTED/words"
    command -p env -0 > "$DOCUMENTED/environment"
    echo "${{BASH_LINENO[1]}}" > "$DOCUMENTED/line"
    echo >&"$DOCUMENTED_ASKS"
    local code
    read -r code <&"$DOCUMENTED_HEARS"
    command -p cat "$DOCUMENTED/out"
    command -p cat "$DOCUMENTED/err" >&2
    return "$code"
}}
{"".join(f'{word}() {{ _ask {word} "$@"; }};' for word in OURS)}
command_not_found_handle() {{ echo "${{BASH_LINENO[0]}} $1" >> "$DOCUMENTED/unknown"; return 127; }}
trap 'echo "$LINENO" > "$DOCUMENTED/line"' ERR
"""


class Failed(NamedTuple):
    """Where shell commands failed."""

    line: int
    """Of the page."""
    why: str
    """In words."""


def run_bash(text: str, line: int, place: Path) -> Failed | None:
    """Run shell commands in the present folder; where and why they failed, or None.

    Args:
        text: The commands.
        line: The line of the page that the first of them is.
        place: An empty folder, outside of the present one.
    """
    (place / "bin").mkdir()
    for name in SHELL:
        (place / "bin" / name).symlink_to(_which(name))
    (place / "prelude").write_text(_PRELUDE)
    (place / "block").write_text("\n" * (line - 1) + text)
    (asks, asked), (hears, answer) = os.pipe(), os.pipe()
    environment = os.environ | {
        "PATH": str(place / "bin"),
        "BASH_ENV": str(place / "prelude"),
        "DOCUMENTED": str(place),
        "DOCUMENTED_ASKS": str(asked),
        "DOCUMENTED_HEARS": str(hears),
    }
    with (place / "said").open("w") as said:
        process = subprocess.Popen(
            [_which("bash"), "-eu", "-o", "pipefail", str(place / "block")],
            env=environment,
            pass_fds=(asked, hears),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    os.close(asked)
    os.close(hears)
    with os.fdopen(asks) as questions, os.fdopen(answer, "w") as answers:
        for _ in questions:
            answers.write(f"{_answer(place, environment)}\n")
            answers.flush()
    return _failure(process.wait(), place, line)


def _which(name: str) -> str:
    path = shutil.which(name)
    assert path is not None, f"this machine has no {name}"
    return path


def _answer(place: Path, known: Mapping[str, str]) -> int:
    """Run what the shell asks for, where it is and with the variables that it has set; the exit code."""
    words = (place / "words").read_text().split("\0")[:-1]
    variables = dict(one.split("=", 1) for one in (place / "environment").read_text().split("\0")[:-1])
    set_there = {
        name: value for name, value in variables.items() if known.get(name) != value and name not in ("_", "SHLVL")
    }
    with contextlib.chdir(variables["PWD"]), mock.patch.dict(os.environ, set_there):
        done = call(words)
    (place / "out").write_text(done.out)
    (place / "err").write_text(done.err)
    return done.code


def _failure(code: int, place: Path, line: int) -> Failed | None:
    unknown = place / "unknown"
    if unknown.exists():
        at, name = unknown.read_text().splitlines()[0].split(" ", 1)
        known = ", ".join((*OURS, *SHELL))
        return Failed(int(at), f"unknown command {name!r}; known: {known}. Mark the block '<!-- not run: REASON -->'")
    if not code:
        return None
    said = (place / "said").read_text()
    own = re.findall(rf"{re.escape(str(place / 'block'))}: line (\d+): ", said)  # what bash itself complains of
    if not own and (place / "line").exists():
        own = [(place / "line").read_text()]
    return Failed(int(own[-1]) if own else line, "\n".join([f"exit code {code}", *said.splitlines()[-20:]]))
