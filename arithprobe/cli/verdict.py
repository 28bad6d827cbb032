"""The behaviour gate on the terminal: the first line of every result."""

from rich.console import Console
from rich.markup import escape

from arithprobe.behaviour import Behaviour

_COLOUR = {"NOT LEARNED": "red", "PARTLY LEARNED": "yellow", "LEARNED": "green"}


def console_of(width: int) -> Console:
    """Return a console as wide as the terminal, or of a given width if there is no terminal."""
    console = Console(soft_wrap=True)
    return console if console.is_terminal else Console(soft_wrap=True, width=width)


def print_verdict(console: Console, behaviour: Behaviour, *, probed: bool = True) -> None:
    """Print the behaviour gate and, if it failed, what that means for probes.

    Args:
        console: The console.
        behaviour: The verdict.
        probed: Whether results of probes follow.
    """
    console.print(f"[bold {_COLOUR[behaviour.verdict]}]{escape(str(behaviour))}[/]")
    if probed and behaviour.warning:
        console.print(behaviour.warning)
