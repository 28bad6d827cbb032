"""Titles of the figures of probes: whether the model has learned, and what the figure shows."""

import textwrap
from collections import Counter
from collections.abc import Sequence

from matplotlib.axes import Axes

from arithprobe.behaviour import Behaviour
from arithprobe.logic import CANNOT_BE_TOLD
from arithprobe.plotting.style import TITLE, WARNING, tidy

_UNTOLD = "Whether what is found here is about the task cannot be told: an untrained network can score as high."
_WARNING = "What is found here is not about the task: an untrained network can score as high."


def set_title(axes: Axes, text: str, behaviour: Behaviour | None, note: str = "") -> None:
    """Put the text and the verdict above the axes; in red, with a warning, if the model has not learned.

    Call it last: it also tidies what is drawn.

    Args:
        axes: The axes of a figure, the first if there are several.
        text: The question that the figure answers, or its finding.
        behaviour: The model's behaviour, None if it is unknown.
        note: How to read it: the null, the number of rows, the meaning of marks. It is placed below the text.
    """
    lines = [
        text,
        *([note] if note else []),
        f"Model {behaviour}" if behaviour is not None else "Model behaviour unknown",
    ]
    failed = behaviour is not None and behaviour.verdict == "NOT LEARNED"
    if failed:
        lines.append(_UNTOLD if behaviour is not None and behaviour.state == CANNOT_BE_TOLD else _WARNING)
    _write(axes, lines, failed)


def set_trials_title(axes: Axes, text: str, verdicts: Sequence[str], note: str = "") -> None:
    """Put the text and the number of trials with each verdict above the axes; in red if none has learned.

    If none has learned, it also adds a warning. Call it last, as :func:`set_title`.

    Args:
        axes: The axes of a figure, the first where there are several.
        text: What the figure shows.
        verdicts: One a trial.
        note: What else to know.
    """
    counts, total = Counter(verdicts), len(verdicts)
    failed = counts["NOT LEARNED"] == total
    if failed:
        lines = [text, f"{total} of {total} trials NOT LEARNED. {_WARNING}"]
    else:
        known = {"NOT LEARNED": " (not about the task)", "PARTLY LEARNED": "", "LEARNED": ""}
        parts = [f"{counts[name]} {name}{meaning}" for name, meaning in known.items() if counts[name]]
        parts += [f"{count} {name}" for name, count in counts.items() if name not in known]
        lines = [text, f"{total} trials: {', '.join(parts)}"]
    _write(axes, [*lines, note] if note else lines, failed)


def _write(axes: Axes, lines: Sequence[str], failed: bool) -> None:
    """Put the lines above the axes, wrapped to the width of the figure."""
    figure = axes.get_figure(root=True)
    width = 60 if figure is None else int(figure.get_figwidth() * 11)
    title = "\n".join(part for line in lines for part in textwrap.wrap(line, width))
    axes.set_title(title, fontsize=TITLE, loc="left", color=WARNING if failed else "black")
    if figure is not None:
        tidy(figure)
