"""The progress of a sweep on the screen: a live table, or a line for every change if there is no terminal."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.box import SIMPLE
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from arithprobe.said.numbers import number
from arithprobe.sweeps.folder import State, TrialProgress

_ORDER: tuple[State, ...] = ("training", "measuring", "failed", "waiting", "done")
_COLOUR = {"training": "cyan", "measuring": "cyan", "failed": "red", "done": "green", "waiting": "dim"}
_LINES_AROUND = 8  # of a terminal, that the table leaves to the rest


class SweepView:
    """Shows the trials of a sweep while they run.

    Args:
        costs: The cost of each trial, in any unit, by name; it gives the remaining time.
        console: The console.
    """

    def __init__(self, costs: Mapping[str, float], console: Console) -> None:
        self._costs, self._console = costs, console
        self._started = time.monotonic()
        self._first: dict[str, tuple[float, float]] = {}  # when a trial was first seen to train, and its share then
        self._states: dict[str, State] = {}
        self._done_before: float | None = None
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, trials: Mapping[str, TrialProgress]) -> None:
        """Show the progress of the trials."""
        now = time.monotonic()
        for name, one in trials.items():
            if one.state == "training":
                self._first.setdefault(name, (now, one.share))
            elif one.state == "waiting":
                self._first.pop(name, None)
        if self._live is not None:
            self._live.update(Group(self._table(trials, now), Text(self._summary(trials, now))), refresh=True)
        self._say_changes(trials)

    def _say_changes(self, trials: Mapping[str, TrialProgress]) -> None:
        """A line for each trial that came to its end, and, without a table, for each that began."""
        ended = Counter(one.state for one in trials.values())
        for name, one in trials.items():
            before = self._states.get(name, "waiting")
            self._states[name] = one.state
            if one.state == before or self._done_before is None:
                continue
            if one.state in ("done", "failed"):
                what = one.error or f"{one.verdict}, skill {_skill(one)}"
                count = f"[{ended['done'] + ended['failed']}/{len(trials)}]"
                self._console.print(f"{count} {name} {one.state}: {what}", markup=False, highlight=False)
            elif self._live is None:
                self._console.print(f"{name}: {one.state}", markup=False, highlight=False)
        if self._done_before is None:
            self._done_before = self._work(trials)

    def _work(self, trials: Mapping[str, TrialProgress]) -> float:
        return sum(self._costs[name] * (1.0 if one.state == "done" else one.share) for name, one in trials.items())

    def _summary(self, trials: Mapping[str, TrialProgress], now: float) -> str:
        states = Counter(one.state for one in trials.values())
        counts = ", ".join(f"{states[state]} {state}" for state in reversed(_ORDER) if states[state])
        work = self._work(trials)
        whole = sum(self._costs[name] for name, one in trials.items() if one.state != "failed")
        gone = work - (self._done_before or 0.0)
        if gone <= 0:
            return counts
        left = (whole - work) * (now - self._started) / gone
        return f"{counts}; {_time(now - self._started)} so far, about {_time(left)} left"

    def _table(self, trials: Mapping[str, TrialProgress], now: float) -> Table:
        table = Table(box=SIMPLE)
        for heading in ("trial", "state", "epoch", "val skill", "time left"):
            table.add_column(heading, justify="left" if heading in ("trial", "state") else "right", no_wrap=True)
        room = max(3, self._console.height - _LINES_AROUND)
        shown = list(trials)
        if len(shown) > room:
            shown = sorted(shown, key=lambda name: _ORDER.index(trials[name].state))[:room]
        for name in trials:
            if name in shown:
                table.add_row(*self._row(name, trials[name], now))
        if len(shown) < len(trials):
            table.add_row(f"... and {len(trials) - len(shown)} more", "", "", "", "")
        return table

    def _row(self, name: str, one: TrialProgress, now: float) -> Sequence[str]:
        epoch = "" if one.epoch is None else f"{one.epoch}/{one.epochs}" if one.epochs else f"{one.share:.0%}"
        left, (since, share) = "", self._first.get(name, (now, one.share))
        if one.state == "training" and one.share > share:
            left = _time((now - since) * (1 - one.share) / (one.share - share))
        return (escape(name), f"[{_COLOUR[one.state]}]{one.state}[/]", epoch, _skill(one), left)


def _skill(one: TrialProgress) -> str:
    return "" if one.skill is None else number(one.skill)


def _time(seconds: float) -> str:
    """As a person says it.

    >>> _time(42.0), _time(600.0), _time(9000.0)
    ('42 s', '10 min', '2 h 30 min')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
