"""What the commands without a Trainer share: options from a dataclass, one-line complaints, a progress bar."""

import sys
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import docstring_parser
from jsonargparse import ArgumentParser, Namespace

from arithprobe.cli.complaints import complaint
from arithprobe.errors import ArithprobeError
from arithprobe.threads import use_threads

if TYPE_CHECKING:
    from arithprobe.analysis.progress import Progress
    from arithprobe.data.dataset import ArithmeticDataset
    from arithprobe.models.checkpoints import LoadedModel

Options = TypeVar("Options")


def command_parser(command: str, description: str) -> ArgumentParser:
    """A parser that raises instead of leaving, and takes no abbreviations."""
    return ArgumentParser(
        prog=f"arithprobe {command}", description=description, exit_on_error=False, allow_abbrev=False
    )


def add_checkpoint_options(parser: ArgumentParser) -> None:
    """Add what every command on a checkpoint takes."""
    parser.add_argument("--checkpoint", type=str, help="A Lightning checkpoint, a plain state_dict, or a run folder.")
    parser.add_argument("--output_dir", type=str, help="Folder of the results.")
    parser.add_argument("--n_heads", type=int | None, help="Attention heads of a plain state_dict; 4 if not given.")
    parser.add_argument("--scale", type=float | None, help="Scale of a plain state_dict's answers; 2000 if not given.")
    parser.add_argument("--threads", type=int | None, help="Threads that compute; yours or two if not given.")


def add_options(parser: ArgumentParser, kind: type[Any]) -> None:
    """Add an option for every field of a dataclass: lists take several words, switches none or true or false."""
    described = {one.arg_name: one.description for one in docstring_parser.parse_from_object(kind).params}
    hints = get_type_hints(kind)
    for field in fields(kind):
        text, default = described[field.name], field.default
        if hints[field.name] is bool:
            parser.add_argument(f"--{field.name}", type=bool, nargs="?", const=True, default=default, help=text)
        elif isinstance(default, tuple):
            item = type(default[0])
            parser.add_argument(f"--{field.name}", type=item, nargs="*", default=list(default), help=text)
        elif hints[field.name] == Sequence[int] | None:
            parser.add_argument(f"--{field.name}", type=int, nargs="*", help=text)
        else:
            parser.add_argument(f"--{field.name}", type=hints[field.name], default=default, help=text)


def parse(parser: ArgumentParser, words: Sequence[str] | None, required: Sequence[str] = ()) -> Namespace:
    """The options given, without the command.

    Raises:
        ArithprobeError: For any mistake, in one line.
    """
    try:
        given = parser.parse_args(list(sys.argv[1:] if words is None else words)[1:])
    except ArgumentError as error:
        raise ArithprobeError(complaint(str(error), [action.dest for action in parser._actions])) from error
    for name in required:
        if given[name] is None:
            raise ArithprobeError(f"--{name} is missing")
    return given


def rows_and_model(given: Namespace) -> "tuple[ArithmeticDataset, LoadedModel]":
    """The rows and the model of a command on a checkpoint; of a folder, says which file it is.

    Here PyTorch is imported, which the options need not wait for.

    Raises:
        ArithprobeError: If one of the files is missing or wrong, or the model is another than the options say.
    """
    from arithprobe.data.dataset import ArithmeticDataset
    from arithprobe.models.checkpoints import load_model

    if given.threads is not None:
        use_threads(given.threads)
    rows = ArithmeticDataset.from_tsv(given.data)
    loaded = load_model(given.checkpoint, given.n_heads, given.scale)
    if Path(given.checkpoint).is_dir():
        sys.stdout.write(f"checkpoint:  {loaded.path}\n")
    return rows, loaded


def options_from(given: Namespace, kind: type[Options]) -> Options:
    """The dataclass, from the options of its fields."""
    named = {name: given[name] for name in get_type_hints(kind) if name in given}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in named.items()})


@contextmanager
def steps() -> "Iterator[Progress]":
    """A progress bar of the steps that a run counts; silent where stdout is no terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    from arithprobe.analysis.progress import Progress

    console = Console()
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        job = bar.add_task("starting", total=None)
        yield Progress(
            lambda name, done, total: bar.update(job, completed=done, total=total, description=name, refresh=True)
        )
