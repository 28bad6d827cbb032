"""``arithprobe completion``: shell completion of commands, options, files and shipped configurations."""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Literal, get_args, get_origin

from jsonargparse import ArgumentParser

from arithprobe.analysis.study import STUDIES, study_of
from arithprobe.cli import emergence, generate, report, shipped, study, sweep_options
from arithprobe.cli.help import COMMANDS, help_of
from arithprobe.cli.options import command_parser, parse
from arithprobe.errors import ArithprobeError

SHELLS = ("bash", "zsh", "tcsh")
_OPTION = re.compile(r"^  (--[\w.]+) +(\S+)", re.MULTILINE)
_CONFIGS = "_arithprobe_configs"
_FOLDERS = ("FOLDER", "DIR", "RUN")
_OTHERS: dict[str, ModuleType] = {
    "report": report,
    "emergence": emergence,
    "sweep": sweep_options,
    "generate": generate,
    "configs": shipped,
}


def parser_of() -> ArgumentParser:
    """Return the parser of the options."""
    parser = command_parser(
        "completion",
        'Print the shell completion. bash: put  eval "$(arithprobe completion bash)"  into ~/.bashrc. zsh: write it to '
        "a file _arithprobe in a folder of $fpath.",
        "SHELL",
    )
    parser.add_argument("shell", type=str, metavar="SHELL", nargs="?", help=f"{', '.join(SHELLS)}. Required.")
    return parser


def run(words: Sequence[str] | None) -> None:
    """Print the completion script.

    Raises:
        ArithprobeError: If the shell is not supported, or shtab is not installed.
    """
    shell = parse(parser_of(), words).shell
    if shell not in SHELLS:
        raise ArithprobeError(f"SHELL is {'missing' if shell is None else shell}; expected one of {', '.join(SHELLS)}")
    try:
        import shtab
    except ImportError as error:
        raise ArithprobeError("completion needs shtab: pip install 'arithprobe[completion]'") from error
    whole = argparse.ArgumentParser(prog="arithprobe")
    commands = whole.add_subparsers()
    for name, actions in _commands():
        one = commands.add_parser(name, help=name)  # those without help are not completed
        for action in actions:
            _copy(one, action, shtab.FILE, shtab.DIRECTORY)
    names = " ".join(shipped.shipped())
    preamble = {
        "bash": f'{_CONFIGS}() {{\n  compgen -W "{names}" -- "$1"\n  compgen -f -- "$1"\n}}\n',
        "zsh": f"{_CONFIGS}() {{\n  compadd {names}\n  _files\n}}\n",
    }
    sys.stdout.write(f"{shtab.complete(whole, shell, preamble=preamble)}\n")  # type: ignore[arg-type]


def _commands() -> Iterator[tuple[str, list[argparse.Action]]]:
    """The options of each command; of those with a Trainer the ones that its help names."""
    for command in COMMANDS:
        parser = argparse.ArgumentParser()
        for option, word in _OPTION.findall(help_of(command, "-")):
            if word == "print":
                parser.add_argument(option, action="store_true")
            else:
                parser.add_argument(option, metavar=word)
        yield command, parser._actions
    for name, path in STUDIES.items():
        yield name, study.parser_of(study_of(path))._actions
    for name, module in _OTHERS.items():
        yield name, module.parser_of()._actions
    yield "completion", parser_of()._actions


def _copy(parser: argparse.ArgumentParser, action: argparse.Action, file: object, folder: object) -> None:
    """An option as argparse has it, with what completes its value."""
    words = list(action.option_strings) or [action.dest]
    if action.help == argparse.SUPPRESS or "-h" in words:
        return
    if action.nargs == 0:
        parser.add_argument(*words, action="store_true")
        return
    made = parser.add_argument(*words, nargs=action.nargs, metavar=action.metavar, choices=_choices(action))
    if "--config" in words:
        file = {"bash": _CONFIGS, "zsh": _CONFIGS}
    if action.metavar in ("FILE", *_FOLDERS):
        made.complete = file if action.metavar == "FILE" else folder  # type: ignore[attr-defined]


def _choices(action: argparse.Action) -> Sequence[str] | None:
    if action.metavar == "SHELL":
        return SHELLS
    if action.metavar == "NAME" and not action.option_strings:
        return list(shipped.shipped())
    hint = getattr(action, "_typehint", None)  # of jsonargparse
    return get_args(hint) if get_origin(hint) is Literal else None
