"""The command ``arithprobe``: a thin dispatcher that imports a command only when it is called.

A user's mistake is one line on stderr and exit code 2.
"""

import gc
import importlib
import sys
from collections.abc import Sequence

from arithprobe import __version__
from arithprobe.analysis.study import STUDIES, study_of
from arithprobe.cli.help import help_of
from arithprobe.cli.streams import any_text
from arithprobe.errors import ArithprobeError, did_you_mean
from arithprobe.threads import choose_threads

_COMMANDS = {
    "fit": ("training", "train a model, and probe it during training"),
    "validate": ("training", "judge and probe a checkpoint on validation rows"),
    "test": ("training", "judge a checkpoint on test rows"),
    "predict": ("training", "write the answers of a checkpoint"),
    "report": ("report", "one HTML page about a run, or about several side by side"),
    "emergence": ("emergence", "the training step from which each variable is readable, over runs"),
    "sweep": ("sweep", "train and measure a grid of models, on this machine or on a cluster"),
    "configs": ("shipped", "list the shipped configurations, or copy one out to edit it"),
    "generate": ("generate", "write TSV files of problems"),
    "completion": ("completion", "print the shell completion of bash, zsh or tcsh"),
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: Words after ``arithprobe``; those of the process by default.

    Returns:
        The exit code: 0; 2 after a user's mistake, which is printed on stderr in one line; 130 after Ctrl-C.
    """
    with any_text():
        return _run(args)


def _run(args: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if args is None else args)
    command = words[0] if words else "--help"
    if command in ("-h", "--help"):
        sys.stdout.write(_help())
        return 0
    if command in ("-V", "--version"):
        sys.stdout.write(f"arithprobe {__version__}\n")
        return 0
    study = STUDIES.get(command) or (command if ":" in command else None)
    module, description = ("study", "") if study else _COMMANDS.get(command, ("", ""))
    if module == "training" and not {"-h", "--help"}.isdisjoint(words[1:]):
        sys.stdout.write(help_of(command, description))
        return 0
    try:
        if not module:
            known = [*_COMMANDS, *STUDIES]
            raise ArithprobeError(
                f"no command {command!r}{did_you_mean(command, known)} (commands: {', '.join(known)})"
            )
        if "torch" not in sys.modules:  # else its threads are settled: the caller's affair
            choose_threads()
        name = f"arithprobe.cli.{module}"
        if args is None and name not in sys.modules:  # a process of its own, at its beginning
            _import_for_good(name)
        called = importlib.import_module(name).run
        given = None if args is None else words
        if study:
            called(study_of(study), given)
        else:
            called(given)
    except KeyboardInterrupt:
        sys.stderr.write("arithprobe: interrupted\n")
        return 130
    except ArithprobeError as error:
        sys.stderr.write(f"arithprobe: error: {' '.join(str(error).split())}\n")
        return 2
    return 0


def _import_for_good(name: str) -> None:
    """Import a module so that the garbage collector never looks at it: it would each time, and find that all stays."""
    gc.disable()
    try:
        importlib.import_module(name)
        gc.freeze()
    finally:
        gc.enable()


def _help() -> str:
    groups = {
        "train and judge": ("fit", "validate", "test", "predict", "sweep"),
        "take a trained model apart": (*STUDIES, "module:Class"),
        "look at runs": ("report", "emergence"),
        "before and besides": ("configs", "generate", "completion"),
    }
    texts = {name: text for name, (_, text) in _COMMANDS.items()} | {"module:Class": "a study of your own"}
    texts |= {name: study_of(path).summary for name, path in STUDIES.items()}
    lines = []
    for title, names in groups.items():
        lines += [f"{title}:", *(f"  {name:<13}{texts[name]}" for name in names), ""]
    return "\n".join(
        [
            "usage: arithprobe COMMAND [OPTIONS]",
            "",
            "Train tiny transformers on arithmetic, and probe what they represent.",
            "",
            "start here:",
            "  arithprobe fit --config reg_sum                       trains, probes and judges: 1 to 3 minutes",
            "  tensorboard --logdir lightning_logs                   shows the curves",
            "  arithprobe probe lightning_logs/reg_sum/version_0     shows what can be read, with controls",
            "  arithprobe report lightning_logs/reg_sum/version_0    writes it all into one page",
            "",
            *lines,
            "arithprobe COMMAND --help shows the options of a command; arithprobe --version the version.",
            "",
        ]
    )
