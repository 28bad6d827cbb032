r"""Neighbouring periods: whether a frequency is of this period, or read from a wave of a period near it.

A frequency f of period k is ``f / k`` turns a unit. Over values that span L, waves that differ by less than about
``1 / L`` turns a unit are nearly the same, so a wave of any period that is close to ``k / f`` is read as frequency f
of k: a circle of period 100 as frequency 1 of 97. A wave that lies ``d`` turns a unit from ``f / k`` is read better by
every wave nearer to it, so the frequency is compared, up and down, with

* the same frequency of the circles one shorter and one longer, ``f / (k - 1)`` and ``f / (k + 1)``; or a quarter of a
  turn more or less over the span, where that is nearer (of high frequencies, and of long spans);
* one turn more or less over the span (half the frequency, where one turn less would be none): of a line, or of a wave
  far away, a frequency reads a side lobe, and the side lobes nearer to it are higher;
* the nearest frequency of the problems' modulus, if the circle has another period;
* as close as a frequency of another period near k may come, ``1 / k - 1 / (k + 1)`` turns more or less: of period 100,
  33 turns are nearly 32 of 97. States with noise can seldom tell these, so they count where they are read better.

R2 of a wave and of its neighbour have errors in common. With ``c`` the length of the mean of
``exp(2 pi i (f / k - t) v)`` over the rows, the two waves differ by ``2 (1 - c)`` of their variance, and the difference
of their R2 has a standard error of about ``2 sqrt((1 - R2) (1 - c) / G)`` over G held-out groups, if errors are shared
within a group: no less than that where they are not. The *lead* of a frequency is the smallest difference to a
neighbour, in such standard errors. Above 1.96 it is of this period, below -1.96 it is not, and in between it cannot be
told from a neighbouring period; nor can it where no neighbour varies.

A *key frequency* is read better than a constant and above permuted labels, and is of this period
(:func:`is_key_frequency`): whatever names frequencies asks that function.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, overload

import torch
from torch import Tensor

from arithprobe.logic import CANNOT_BE_TOLD, FAILS, HOLDS, LEVEL, State
from arithprobe.probes.repeated import Repeated, narrow
from arithprobe.probes.survey import Target
from arithprobe.problems.circles import Circle
from arithprobe.problems.rows import Rows

LEAD: Final = 1.96
"""Standard errors of the difference of R2 from which a frequency is told from a neighbouring period, either way."""
_NEAR, _FAR = 0.25, 1.0  # turns over the span
_CONSTANT = 1e-8  # variance below which a wave is constant; and 1 - c, below which two waves are one
_FEWEST_TURNS_A_UNIT, _SLOW = 1e-9, 8  # values a turn, from which a wave is called slow


class Neighbour(NamedTuple):
    """A wave of another period beside a frequency of a circle."""

    beside: int
    """Index of the frequency."""
    apart: float
    """``1 - c``: half the share of variance by which the two waves differ over the rows."""
    must_be_worse: bool
    """Whether the frequency has to be told from it; else the wave counts only where it is read better for sure."""


class Neighbours(NamedTuple):
    """The J waves of other periods that the frequencies of a circle are compared with."""

    waves: tuple[Neighbour, ...]
    """The J waves."""
    targets: tuple[Target, ...]
    """Their columns, in the same order; without a null."""

    def compare(self, r2: Tensor, others: Sequence[Tensor], groups: int) -> tuple[Tensor, Tensor]:
        """The best neighbour, and the lead over the neighbours, of every frequency in every cell.

        Args:
            r2: (F, ...) R2 of the frequencies.
            others: J of (...), R2 of the waves.
            groups: Held-out groups G.

        Returns:
            (F, ...) the highest R2 of a neighbour, and the smallest lead in standard errors; NaN where there is none.
        """
        best, lead = torch.full_like(r2, torch.nan), torch.full_like(r2, torch.nan)
        for (own, apart, must_be_worse), other in zip(self.waves, others, strict=True):
            left = (1 - (r2[own] + other) / 2).clamp(min=torch.finfo(r2.dtype).eps)
            error = 2 * (left * apart / groups).sqrt()
            ahead = (r2[own] - other) / error
            counts = ahead < (torch.inf if must_be_worse else -LEAD)
            best[own] = torch.where(counts, torch.fmax(best[own], other), best[own])
            lead[own] = torch.where(counts, torch.fmin(lead[own], ahead), lead[own])
        return best, lead


@overload
def is_above_null(r2: Tensor, p: Tensor) -> Tensor: ...


@overload
def is_above_null(r2: float, p: float) -> bool: ...


def is_above_null(r2: Tensor | float, p: Tensor | float) -> Tensor | bool:
    """Whether a frequency is read better than a constant, and above permuted labels; False for NaN.

    Args:
        r2: Held-out R2.
        p: p-value against the largest score on permuted labels over all frequencies that are probed.
    """
    return (r2 > 0) & (p <= LEVEL)


@overload
def is_key_frequency(r2: Tensor, p: Tensor, lead: Tensor) -> Tensor: ...


@overload
def is_key_frequency(r2: float, p: float, lead: float) -> bool: ...


def is_key_frequency(r2: Tensor | float, p: Tensor | float, lead: Tensor | float) -> Tensor | bool:
    """Whether a frequency is a key frequency: above its null, and of its own period rather than a neighbouring one.

    >>> is_key_frequency(0.9, 0.05, 3.0), is_key_frequency(0.9, 0.05, 0.5), is_key_frequency(0.9, 0.05, float("nan"))
    (True, False, False)

    Args:
        r2: Held-out R2.
        p: As in :func:`is_above_null`.
        lead: Standard errors by which R2 is above that of every neighbouring period.
    """
    return (r2 > 0) & (p <= LEVEL) & (lead > LEAD)


def told_apart(lead: Tensor) -> Tensor:
    """Whether frequencies, of any shape, are told from all neighbouring periods, as key frequencies must be."""
    return lead > LEAD


def state_of_lead(lead: float) -> State:
    """Whether a frequency is of its period.

    >>> state_of_lead(3.0), state_of_lead(-3.0), state_of_lead(0.5), state_of_lead(float("nan"))
    ('holds', 'does not hold', 'cannot be told', 'cannot be told')
    """
    return HOLDS if lead > LEAD else FAILS if lead < -LEAD else CANNOT_BE_TOLD


def said_of(state: State, circle: Circle, frequency: int) -> str:
    """Describe a frequency that is above its null, in words; empty if it is of its period.

    >>> said_of("does not hold", Circle("residue", 97, (1,)), 1)
    'a slow wave, not of period 97'
    >>> said_of("does not hold", Circle("residue", 97, (40,)), 40)
    'a wave near it, not of period 97'
    """
    if state == CANNOT_BE_TOLD:
        return f"{CANNOT_BE_TOLD} from a wave of a neighbouring period"
    slow = circle.period >= _SLOW * frequency
    return "" if state == HOLDS else f"a {'slow wave' if slow else 'wave near it'}, not of period {circle.period}"


def grouped_waves(waves: Mapping[int, str]) -> list[str]:
    """Group the frequencies that are not key frequencies by their description.

    >>> grouped_waves({2: "cannot be told", 1: "a slow wave, not of period 97", 3: "cannot be told"})
    ['2, 3: cannot be told', '1: a slow wave, not of period 97']
    """
    said: dict[str, list[int]] = {}
    for frequency, words in waves.items():
        said.setdefault(words, []).append(frequency)
    return [f"{', '.join(map(str, some))}: {words}" for words, some in said.items()]


def neighbours_of(circle: Circle, rows: Rows) -> Neighbours:
    """Return the comparison waves of a circle's frequencies, those that vary and differ from the frequency's own.

    Args:
        circle: A circle; for the residue, waves of the sum are used if the rows have it.
        rows: The data set.
    """
    wraps = circle.quantity == "residue" and circle.period == rows.circle and "sum" in rows.names
    values, place = torch.unique(rows.values("sum" if wraps else circle.quantity), return_inverse=True)
    share = torch.bincount(place).double() / len(place)
    place, values = narrow(place, len(values)), values.double()
    span = float(values[-1] - values[0])
    found, targets = [], list[Target]()
    for index, frequency in enumerate(circle.frequencies):
        own = frequency / circle.period
        for other, must_be_worse in _turns(circle, frequency, span, rows.circle).items():
            apart = 1 - _length((own - other) * values, share)
            mirrored = 1 - _length((own + other) * values, share)  # of whole numbers, t and 1 - t turns are one wave
            columns = _columns(other * values, share)
            if min(apart, mirrored) > _CONSTANT and columns.shape[1]:
                found.append(Neighbour(index, min(apart, mirrored), must_be_worse))
                name = f"{circle.name}f{frequency}beside{other:.6f}"
                targets.append(Target(name, Repeated(columns, place), has_null=False))
    return Neighbours(tuple(found), tuple(targets))


def _turns(circle: Circle, frequency: int, span: float, modulus: int | None) -> dict[float, bool]:
    """Turns a unit of the waves to compare a frequency with, and whether it has to be told from each."""
    own = frequency / circle.period
    if not span:
        return {}
    near, far, closest = _NEAR / span, _FAR / span, 1 / circle.period - 1 / (circle.period + 1)
    found = [
        own - min(own - frequency / (circle.period + 1), near),
        own + min(frequency / (circle.period - 1) - own, near),
        max(own - far, own / 2),
        own + far,
    ]
    if modulus is not None and circle.period != modulus:
        found.append(round(frequency * modulus / circle.period) / modulus)
    every = dict.fromkeys([own - closest, own + closest], False) | dict.fromkeys(found, True)
    return {turns: must for turns, must in every.items() if turns > _FEWEST_TURNS_A_UNIT}


def _length(turns: Tensor, share: Tensor) -> float:
    """Length of the mean of ``exp(2 pi i t)``."""
    angle = 2 * torch.pi * turns
    return math.hypot(float(share @ angle.cos()), float(share @ angle.sin()))


def _columns(turns: Tensor, share: Tensor) -> Tensor:
    """(U, 0 to 2) cosine and sine, those that vary."""
    angle = 2 * torch.pi * turns
    both = torch.stack([angle.cos(), angle.sin()], dim=1)
    variance = share @ (both - share @ both).square()
    return both[:, variance > _CONSTANT]
