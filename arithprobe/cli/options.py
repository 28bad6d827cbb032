"""Shared parts of the commands without a Trainer: options from a dataclass, one-line errors, a progress bar."""

import sys
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_origin, get_type_hints

import docstring_parser
from jsonargparse import ArgumentParser, Namespace

from arithprobe.cli.complaints import complaint
from arithprobe.cli.option_help import PlainHelp, option_text, word_for
from arithprobe.errors import ArithprobeError
from arithprobe.threads import use_threads

if TYPE_CHECKING:
    from arithprobe.analysis.progress import Progress
    from arithprobe.data.dataset import ArithmeticDataset
    from arithprobe.models.checkpoints import LoadedModel

Options = TypeVar("Options")
_ROWS = "Rows of 'problem<TAB>answer', best ones that the model was not trained on."


def command_parser(command: str, description: str, usage: str = "[OPTIONS]") -> ArgumentParser:
    """Make a parser that raises instead of exiting, and accepts no abbreviations.

    Args:
        command: Name of the command.
        description: What the command does.
        usage: The required and optional arguments, such as ``RUN [OPTIONS]``.
    """
    return ArgumentParser(
        prog=f"arithprobe {command}",
        usage=f"arithprobe {command} {usage}",
        description=description,
        formatter_class=PlainHelp,
        exit_on_error=False,
        allow_abbrev=False,
    )


def add_checkpoint_options(parser: ArgumentParser, command: str) -> None:
    """Add the options that every command on a checkpoint takes.

    Args:
        parser: The parser.
        command: Name of the command and of its result folder.
    """
    add = parser.add_argument
    add("run", type=str, nargs="?", metavar="RUN", help="Run folder of a fit, or a checkpoint file. Required.")
    add("--checkpoint", type=str, metavar="FILE", help="The same as RUN: a checkpoint, a state_dict or a run folder.")
    add("--data", "--val", type=str, metavar="FILE", help=f"{_ROWS} Default: the validation rows of the run.")
    add("--output_dir", type=str, metavar="FOLDER", help=f"Folder of the results. Default: RUN/{command}.")
    add("--n_heads", type=int | None, metavar="N", help="Attention heads of a plain state_dict; 4 if not given.")
    add(
        "--scale", type=float | None, metavar="X", help="Scale of the answers of a plain state_dict; 2000 if not given."
    )
    add("--threads", type=int | None, metavar="N", help="Threads that compute; yours or two if not given.")


def add_options(parser: ArgumentParser, kind: type[Any]) -> None:
    """Add an option for each field of a dataclass; lists take several words, switches none or true or false."""
    hints, texts = get_type_hints(kind), described(kind)
    for field in fields(kind):
        add, hint, default = partial(parser.add_argument, f"--{field.name}"), hints[field.name], field.default
        text = texts[field.name]
        if hint is bool:
            add(type=bool, nargs="?", const=True, default=default, help=text)
        elif isinstance(default, tuple):
            item = type(default[0])
            add(type=item, nargs="*", default=list(default), metavar=word_for(item), help=text)
        elif hint == Sequence[int] | None:
            add(type=int, nargs="*", metavar="N", help=text)
        elif get_origin(hint) is Literal:
            add(type=hint, default=default, help=text)
        else:
            add(type=hint, default=default, metavar=word_for(hint), help=text)


def described(kind: type[Any]) -> dict[str, str]:
    """The help of each field of a dataclass, from its docstring, its default and its range."""
    texts = {one.arg_name: one.description or "" for one in docstring_parser.parse_from_object(kind).params}
    least = getattr(kind, "least", {})
    return {one.name: option_text(texts.get(one.name, ""), one.name, one.default, least) for one in fields(kind)}


def parse(parser: ArgumentParser, words: Sequence[str] | None, required: Sequence[str] = ()) -> Namespace:
    """Parse the given options, without the command.

    Raises:
        ArithprobeError: For any mistake; the text is one line.
    """
    try:
        given = parser.parse_args(list(sys.argv[1:] if words is None else words)[1:])
    except ArgumentError as error:
        raise ArithprobeError(complaint(str(error), [action.dest for action in parser._actions])) from error
    missing = [f"--{name}" for name in required if given[name] is None]
    if missing:
        raise ArithprobeError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    return given


def rows_and_model(given: Namespace) -> "tuple[ArithmeticDataset, LoadedModel]":
    """Load the rows and the model of a command on a checkpoint.

    PyTorch is imported only here, so that options are parsed without it.

    Raises:
        ArithprobeError: If one of the files is missing or wrong, or the model contradicts the options.
    """
    from arithprobe.data.dataset import ArithmeticDataset
    from arithprobe.models.checkpoints import load_model

    if given.threads is not None:
        use_threads(given.threads)
    rows = ArithmeticDataset.from_tsv(given.data)
    loaded = load_model(given.checkpoint, given.n_heads, given.scale)
    return rows, loaded


def options_from(given: Namespace, kind: type[Options]) -> Options:
    """Make the dataclass from the options of its fields."""
    named = {name: given[name] for name in get_type_hints(kind) if name in given}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in named.items()})


@contextmanager
def steps() -> "Iterator[Progress]":
    """Show a progress bar of the steps that a run counts; silent if stdout is not a terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    from arithprobe.analysis.progress import Progress

    console = Console()
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        job = bar.add_task("starting", total=None)
        yield Progress(
            lambda name, done, total: bar.update(job, completed=done, total=total, description=name, refresh=True)
        )
