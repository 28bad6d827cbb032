"""The ``--help`` text of each option: what it does, its default, its range, and whether it is required."""

from argparse import Action
from collections.abc import Mapping
from typing import Any

from jsonargparse import DefaultHelpFormatter

from arithprobe.limits import range_words

_MANY = 8  # values of a default that are listed


class PlainHelp(DefaultHelpFormatter):
    """Formats the text of an option as it is, without types and without repeating the default."""

    def _get_help_string(self, action: Action) -> str:
        text = (action.help or "").replace("``", "")
        return text.replace("Show this help message and exit", "show this help and exit")


def option_text(text: str, name: str, default: Any, least: Mapping[str, float]) -> str:
    """Return the help of an option.

    >>> option_text("Draws of each family.", "draws", 200, {"draws": 19})
    'Draws of each family. [default 200; 19 to 10000]'

    Args:
        text: What the option does.
        name: Its name, which gives its largest value.
        default: Its default; None and False are not shown.
        least: The smallest values, by name.
    """
    facts = [f"default {shown}"] if (shown := _shown(default)) else []
    facts += [range_words(name, least[name])] if name in least else []
    return f"{text} [{'; '.join(facts)}]" if facts else text


def word_for(kind: object) -> str:
    """The placeholder for the value of an option, as in ``--draws N``."""
    names = {int: "N", float: "X", int | None: "N", float | None: "X", str: "NAME", str | None: "FILE"}
    return names.get(kind, "NAME")  # type: ignore[call-overload, no-any-return]


def _shown(default: Any) -> str:
    if default is None or default is False or default == ():
        return ""
    if isinstance(default, (tuple, list)):
        if len(default) > _MANY:
            return f"{len(default)} values from {default[0]:g} to {default[-1]:g}"
        return " ".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)
