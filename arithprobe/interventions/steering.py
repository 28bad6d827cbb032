r"""Steering: move the state along a quantity, and test whether the model's answer moves as arithmetic says.

*On a line*: adding ``delta`` times the pattern :math:`S w / (w^T S w)` raises the reading of the probe w by delta, as
states move when the quantity does; adding w itself would leave the distribution of the states. If the model uses what
the probe reads, its answer rises by delta (times 10 for a tens digit, ...). A reading that explains a share R2 of the
quantity is a shrunken copy of it: raising it by delta moves the state 1 / R2 times as far as the quantity itself does.

*On a circle*: the pair of readings of a cosine and a sine of frequency f is turned by theta, which is a shift of
:math:`k \theta / 2 \pi f` of the quantity; several frequencies are turned together, each by the angle of one shift.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from arithprobe.behaviour import difference
from arithprobe.interventions.intervals import margin_of
from arithprobe.interventions.naming import named_frequencies
from arithprobe.interventions.part import Part
from arithprobe.interventions.patching import Recovered
from arithprobe.interventions.refitted import Weights
from arithprobe.interventions.steering_curve import SteeringCurve
from arithprobe.probes.splits import blocks_of
from arithprobe.problems.positions import PositionTable

_LINEAR = 0.1  # share of the straight line by which a mean response may be off
STEPS = (0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Deltas on a line, in standard deviations of the quantity, to both sides; answers to a modulus would wrap round."""
TURNS = (1, 2, 5, 10, 20)
"""Shifts of answers on a circle, in answer units, to both sides."""
_SAME = 1e-9
_NEAR = 0.26  # of a standard deviation, or of the circle: what the slope is fitted on


def steer_line(
    part: Part,
    site: str,
    table: PositionTable,
    target: str,
    pattern: Tensor,
    spread: float,
    expected: float,
    *,
    draws: int = 20,
    seed: int = 0,
    refits: Sequence[Tensor] = (),
) -> SteeringCurve:
    """Move a quantity along its number line.

    Args:
        part: Model and rows.
        site: The site.
        table: (N, P) positions of the rows; the pattern of each is added at it, all at once.
        target: The quantity.
        pattern: (P, D) float64 displacement that is worth +1 at each position.
        spread: Standard deviation of the quantity.
        expected: Rise of the answer for +1.
        draws: Random patterns as controls.
        seed: Seed of the random patterns.
        refits: The pattern without each block of the rows fitted on; with them, the interval includes the fit.
    """
    steps, unit = (STEPS, spread) if part.modulus is None else (TURNS, 1 / expected)
    deltas = _deltas(part, expected, [step * unit for step in steps])
    near = _near(deltas, _NEAR * (spread if part.modulus is None else part.modulus / expected))
    cells = part.cells(site, table)

    def moved(patterns: Tensor, by: Tensor) -> Tensor:
        """(M, N) answers: pattern m worth by m."""
        step = (by[:, None, None] * patterns).to(cells)
        return part.answers_of(part.run(site, table, len(step), lambda edits, rows: cells[rows] + step[edits, None]))

    answers = moved(pattern.expand(len(deltas), *pattern.shape), deltas)
    generator = np.random.default_rng(seed)
    random = torch.from_numpy(generator.standard_normal((draws, *pattern.shape)))
    random = random / random.norm(dim=-1, keepdim=True) * pattern.norm(dim=-1, keepdim=True)
    ends = near[[0, -1]]
    others = [float(_slope(part, ends, expected, moved(p.expand(2, *p.shape), ends))()) for p in (*random, *refits)]
    return _curve(part, target, site, table, deltas, expected, answers, near, others, len(refits))


def steer_circle(
    part: Part,
    site: str,
    table: PositionTable,
    target: str,
    weights: Weights,
    period: int,
    frequencies: Sequence[int],
    *,
    turns: Sequence[int] = TURNS,
    draws: int = 20,
    seed: int = 0,
    refits: Sequence[Weights] = (),
) -> SteeringCurve:
    """Turn a quantity round its circle.

    Args:
        part: Model and rows.
        site: The site.
        table: (N, P) positions of the rows, turned all at once.
        target: The quantity.
        weights: (P, D, 2 F) slopes and (P, 2 F) intercepts of the probe of cosines and sines, frequency by frequency,
            and (P, D, 2 F) patterns.
        period: The period k.
        frequencies: The F frequencies f; their planes are turned together, each by its own angle.
        turns: Shifts, in units of the quantity (steps round the circle, if the part counts in steps), to both sides.
        draws: Random planes as controls, turned by the same readings.
        seed: Seed of the random planes.
        refits: The weights without each block of the rows fitted on.
    """
    pattern, cells = weights[2], part.cells(site, table)
    frequencies = named_frequencies(frequencies, period, part.step)
    deltas = _deltas(part, 1.0, turns)
    near = _near(deltas, _NEAR * period / min(map(abs, frequencies)))
    ends = near[[0, -1]]

    def moved(slope: Tensor, intercept: Tensor, patterns: Tensor, by: Tensor) -> Tensor:
        reading = torch.einsum("npd,pdk->npk", cells.cpu().double(), slope) + intercept
        theta = 2 * math.pi * torch.outer(by, torch.tensor(frequencies, dtype=torch.float64)) / period  # (M, F)
        cosine, sine = theta.cos() - 1, theta.sin()
        turn = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)  # (M, F, 2, 2)
        planes = reading.reshape(*reading.shape[:2], -1, 2)  # (N, P, F, 2)
        change = torch.einsum("npfk,mfjk->mnpfj", planes, turn).flatten(-2)
        step = patterns.to(cells)
        return part.answers_of(
            part.run(
                site,
                table,
                len(by),
                lambda edits, rows: cells[rows] + torch.einsum("mnpj,pdj->mnpd", change[edits, rows].to(cells), step),
            )
        )

    generator, length = np.random.default_rng(seed), pattern.norm(dim=1)[:, None]
    random = (torch.from_numpy(np.linalg.qr(generator.standard_normal(pattern.shape))[0]) for _ in range(draws))
    each: list[Weights] = [*((*weights[:2], plane * length) for plane in random), *refits]
    others = [float(_slope(part, ends, 1.0, moved(*one, ends))()) for one in each]
    return _curve(part, target, site, table, deltas, 1.0, moved(*weights, deltas), near, others, len(refits))


def _curve(
    part: Part,
    target: str,
    site: str,
    table: PositionTable,
    deltas: Tensor,
    expected: float,
    answers: Tensor,
    near: Tensor,
    others: Sequence[float],  # slopes of random patterns and, behind them, of so many
    refits: int,
) -> SteeringCurve:
    shift, counted = _shift(part, answers), _counted(part, expected, deltas)
    response, slope_of = _mean(shift, counted), _slope(part, near, expected, answers[torch.isin(deltas, near)])
    margin = margin_of(_without_blocks(part, lambda kept: _mean(shift[:, kept], counted[:, kept])))
    random, refitted = torch.tensor(others, dtype=torch.float64).tensor_split([len(others) - refits])
    slope, beside = float(slope_of()), float(margin_of(_without_blocks(part, slope_of), refitted if refits else None))
    demanded = part.answers + (expected * deltas)[:, None]
    demanded = demanded if part.modulus is None else demanded % part.modulus
    return SteeringCurve(
        target=target,
        site=site,
        positions=table.names,
        deltas=deltas,
        expected=expected,
        response=response,
        low=response - margin,
        high=response + margin,
        hits=(answers.round() == demanded.round()).double().mean(dim=1),
        slope=Recovered(slope, slope - beside, slope + beside),
        fit_blocks=refits,
        random_slopes=random,
        linear=_linear(deltas, response, slope * expected),
        saturation=(float(response.min()), float(response.max())),
    )


def _deltas(part: Part, expected: float, steps: Sequence[float]) -> Tensor:
    """(Q,) steps to both sides, ascending; without those by which every answer would wrap around."""
    every = torch.tensor([sign * step for step in steps for sign in (-1, 1)], dtype=torch.float64).sort()[0]
    return every[_counted(part, expected, every).any(dim=1)]


def _near(deltas: Tensor, limit: float) -> Tensor:
    """The small ones, at least the smallest to both sides."""
    return deltas[deltas.abs() <= max(limit, float(deltas.abs().min()) * (1 + _SAME))]


def _shift(part: Part, answers: Tensor) -> Tensor:
    """(M, N) shifts of the answers from the unedited ones."""
    return difference(answers, part.predictions, part.circle)


def _counted(part: Part, expected: float, deltas: Tensor) -> Tensor:
    """(Q, N) where the right answer moves by what (Q,) deltas demand: a number that wraps around at k does not."""
    moved = part.answers + (expected * deltas)[:, None]
    if part.modulus is None or part.circle is not None:
        return torch.ones_like(moved, dtype=torch.bool)
    return (moved >= 0) & (moved < part.modulus)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """(Q,) means over the rows that count, of (Q, N) values."""
    return values.mean(dim=1) if bool(counted.all()) else torch.where(counted, values, torch.nan).nanmean(dim=1)


def _slope(part: Part, deltas: Tensor, expected: float, answers: Tensor) -> Callable[..., Tensor]:
    """Slope through the origin of the shift of (Q, N) answers on what (Q,) deltas demand, over some rows or all."""
    demanded, counted = expected * deltas, _counted(part, expected, deltas)
    moved = demanded[:, None] * _shift(part, answers)
    each = moved.sum(dim=0) / demanded.square().sum()  # (N,)
    within, squares = (moved * counted).sum(dim=0), (demanded.square()[:, None] * counted).sum(dim=0)

    def over(kept: Tensor | slice = slice(None)) -> Tensor:
        return each[kept].mean() if bool(counted.all()) else within[kept].sum() / squares[kept].sum()

    return over


def _without_blocks(part: Part, value: Callable[[Tensor], Tensor]) -> Tensor:
    """(H, ...) a value of some rows, without each block of sums."""
    block = blocks_of(part.group)
    return torch.stack([value(block != number) for number in torch.unique(block)])


def _linear(deltas: Tensor, response: Tensor, slope: float) -> tuple[float, float]:
    """The widest range around 0 of deltas whose response is near the line."""
    good = (response - slope * deltas).abs() <= _LINEAR * (slope * deltas).abs()
    reach = []
    for side in (deltas < 0, deltas > 0):
        order = deltas[side].abs().argsort()
        kept = good[side][order].long().cumprod(dim=0).bool()
        reached = deltas[side][order][kept]
        reach.append(float(reached[-1]) if len(reached) else 0.0)
    return reach[0], reach[1]
