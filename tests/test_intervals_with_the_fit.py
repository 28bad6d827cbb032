"""The interval of an effect of something fitted covers what would be fitted on all problems like these.

Planted: the last state holds the sum in one direction, which is read, and y in another, which is not; y is drawn
independently of the sum, so that what its eraser, pattern and swap do to the answers is 0 of all problems, and
something by chance of every sample.
"""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from micro import one_thread  # noqa: F401
from scipy.stats import binom
from scipy.stats import t as student

from arithprobe.interventions.bench import Bench, halves_of
from arithprobe.interventions.erasure import fit_erasers
from arithprobe.interventions.intervals import margin_of
from arithprobe.models.objectives import ScaledMSE
from arithprobe.planted import clock, directions, noise, planted_states
from arithprobe.probes.metrics import jackknife_margin
from arithprobe.probes.moments import ALPHAS
from arithprobe.probes.ridge import RidgeFitter
from arithprobe.probes.splits import blocks_of
from arithprobe.probes.variables import variable_of

D, SPAN = 8, 10_000
READ, SHOWN = directions(2, D)
UNPENALISED = 1e-9  # the truths below are those of least squares


class Case(NamedTuple):
    """Drawn anew under each seed."""

    variable: str = "y"
    sums: int | None = None  # different ones that there are; any by default
    ratio: float = 10.0  # standard deviation of the sum over that of y
    rows: int = 500
    level: float = 0.1  # standard deviation of noise, of the sum's
    by_sum: bool = False  # whether noise is the same in all rows of a sum, too
    share: float = 1.0  # of what is read
    wrong: float = 0.0  # standard deviation of noise of the answer that is in no direction of y

    @property
    def spreads(self):
        return SPAN / math.sqrt(12), SPAN / self.ratio / math.sqrt(12)

    def states(self, seed, middle):
        def of(x, y):
            def drawn(width, number):
                return noise(x, y, width, 16 * seed + number)

            own = (x + y - middle) / self.spreads[0]
            if self.variable == "sum":
                own = own + self.level * drawn(1, 0)[:, 0]
            if self.by_sum:
                own = own + self.level * noise(x + y, 0 * x, 1, 16 * seed + 1)[:, 0]
            own = own + self.wrong * drawn(1, 2)[:, 0]
            other = (y - SPAN / self.ratio / 2) / self.spreads[1] + self.level * drawn(1, 3)[:, 0]
            rest = self.level / 3 * drawn(D, 4)
            return torch.outer(own, READ) + torch.outer(other, SHOWN) + rest - torch.outer(rest @ READ, READ)

        return of

    def drawn(self, seed):
        """A network and its rows."""
        generator = np.random.default_rng(seed)
        sums = np.arange(SPAN) if self.sums is None else generator.choice(SPAN, self.sums, replace=False)
        total = generator.choice(sums, self.rows) + 2 * SPAN
        y = generator.integers(0, int(SPAN / self.ratio), self.rows)
        middle = (SPAN - 1) / 2 + 2 * SPAN
        reader = (self.share * self.spreads[0] * READ)[:, None]
        x, y = torch.from_numpy(total - y), torch.from_numpy(y)
        loaded, rows = planted_states(x, y, self.states(seed, middle), reader, objective=ScaledMSE(1.0, middle))
        loaded.model.run_from = lambda site, cells, *_: cells[:, :, 0] @ reader  # the same, and quick
        return loaded._replace(train_mean=middle), rows

    def truth(self):
        """Of all problems: slope, recovered share and increase of the RMSE, of least squares."""
        if self.variable == "y":
            return {"slope": 0.0, "swap": 0.0, "rmse": 0.0}
        spoiled = self.wrong**2 + self.level**2 * (2 if self.by_sum else 1)
        left = math.hypot(1.0 - self.share, self.share * math.sqrt(spoiled))  # of the standard deviation of the sum
        return {"slope": self.share * (1 + spoiled), "swap": self.share, "rmse": self.spreads[0] * (1.0 - left)}


CASES = [
    Case(),
    Case(sums=50, rows=1000),
    Case(sums=25, rows=1000),
    Case(ratio=3.0, level=0.5, rows=2000),
    Case(rows=1000, wrong=0.3),
    Case("sum"),
    Case("sum", level=0.5, rows=1000),
    Case("sum", sums=200, level=0.2, by_sum=True, rows=2000),
    Case("sum", sums=50, level=0.2, rows=1000),
    Case("sum", share=0.5),
    Case("sum", share=0.5, sums=100, level=0.3, by_sum=True, rows=1000),
]
RUNS, LOWEST, HIGHEST = 400, 0.92, 0.98


def bench_of(case, seed, alphas=ALPHAS):
    loaded, rows = case.drawn(seed)
    fit, held = halves_of(rows, len(rows))
    variable = variable_of(case.variable, rows)
    bench = Bench(
        loaded.model,
        loaded.objective,
        rows,
        rows.constant(loaded.train_mean),
        held,
        fit,
        columns={case.variable: variable.columns},
        seed=seed,
        alphas=alphas,
    )
    return bench, bench.cell("resid_post.0", "last"), variable


def effects(cell, variable, seed, r2=None):
    """The curve, the swap and the ablation."""
    eraser = cell.eraser(variable.name, "leace")
    refits = cell.refits(eraser)
    curve = cell.steer(variable, 0, seed, r2)
    return curve, cell.swap(eraser, 1, seed, refits=refits), cell.ablate(eraser, "mean", refits=refits).effect


def intervals(curve, swap, effect):
    """(3, 2) low and high of the effects."""
    return np.array([curve.slope[1:], swap.recovered[1:], effect.interval])


def handed_in(bench):
    """The same cell with the moments of the same rows, without the rows."""
    return bench.cell("resid_post.0", "last", bench.moments("resid_post.0", ["last"])[0])


def covered(case, runs, refitted=True, alphas=ALPHAS):
    """(3,) how many of the runs cover the truth."""
    truth, found = np.array(list(case.truth().values())), np.zeros(3, dtype=int)
    for seed in range(runs):
        bench, cell, variable = bench_of(case, seed, alphas)
        one = effects(cell if refitted else handed_in(bench), variable, seed, cell.r2_of(variable.name))
        low, high = intervals(*one).T
        found += (low <= truth) & (truth <= high)
    return found


def test_what_is_read_by_nothing_is_covered_by_intervals_with_the_fit_only():
    """The case of the audit. The control: without the fit the slopes' intervals have no width, and always miss 0."""
    runs = 30
    assert (covered(Case(), runs) >= binom.ppf(0.001, runs, 0.95)).all()
    without = covered(Case(), runs, refitted=False)
    assert without[0] == 0 and (without < 0.5 * runs).all()


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=str)
def test_95_of_100_intervals_cover(case):
    found, chance = covered(case, RUNS, alphas=UNPENALISED), 0.01 / 2 / (3 * len(CASES))
    print(case, dict(zip(case.truth(), (found / RUNS).tolist(), strict=True)))
    assert (found >= binom.ppf(chance, RUNS, LOWEST)).all(), found
    at_the_edge = np.array([False, False, case.wrong > 0])  # errors add in squares: no eraser can cost less than 0
    assert (found <= np.where(at_the_edge, RUNS, binom.isf(chance, RUNS, HIGHEST))).all(), found


def test_moments_without_a_block_are_those_of_the_other_rows():
    bench, cell, variable = bench_of(Case(sums=40), 0)
    eraser = cell.eraser("y", "leace")
    block = blocks_of(bench.fit.group)
    states = bench.fit.cells("resid_post.0", bench.fit.at(bench.rows.positions(["last"])))
    refits = cell.refits(eraser)
    assert len(refits) == len(block.unique()) == 10
    for number, refit in enumerate(refits):
        kept = block != number
        fitter = RidgeFitter(1, D, 1, folds=2)
        fitter.update(states[kept], variable.columns[bench.fit.rows[kept]], torch.zeros(int(kept.sum()), dtype=int))
        alone = fit_erasers("leace", fitter.moments()[0], target="y", site="", positions=("last",))
        torch.testing.assert_close(refit.left, alone.left, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(refit.right, alone.right, rtol=1e-6, atol=1e-9)
        assert (refit.left - eraser.left).abs().max() > 1e-4


def test_both_variances_are_added():
    """Against effects of refits taken one by one, and the formula by hand; without them, as it is for this fit."""
    bench, cell, variable = bench_of(Case(sums=60), 1)
    eraser = cell.eraser("y", "leace")
    _, swap, effect = effects(cell, variable, 1)
    refits = cell.refits(eraser)
    fixed = cell.swap(eraser, 1, 1), cell.ablate(eraser, "mean").effect
    scored = [half_width(one) for one in (fixed[0].recovered[1:], fixed[1].interval)]
    again = [
        [cell.swap(one, 1, 1).recovered.fraction for one in refits],
        [cell.ablate(one, "mean").effect.delta_rmse for one in refits],
    ]
    blocks, count = len(blocks_of(bench.held.group).unique()), len(refits)
    for interval, own, others in zip((swap.recovered[1:], effect.interval), scored, again, strict=True):
        again_of = (count - 1) / count * np.square(others - np.mean(others)).sum()
        parts = np.array([(own / student.ppf(0.975, blocks - 1)) ** 2, again_of])
        freedom = parts.sum() ** 2 / (parts**2 / [blocks - 1, count - 1]).sum()
        assert half_width(interval) == pytest.approx(student.ppf(0.975, freedom) * math.sqrt(parts.sum()), rel=1e-9)
    assert (swap.fit_blocks, effect.fit_blocks, fixed[0].fit_blocks, fixed[1].fit_blocks) == (count, count, 0, 0)


def test_mean_and_zero_ablation_of_refits_use_their_own_means():
    _, cell, _ = bench_of(Case(sums=60), 1)
    eraser = cell.eraser("y", "leace")
    refits = cell.refits(eraser)
    for kind in ("mean", "zero", "resample"):
        run = cell.ablate(eraser, kind, refits=refits)
        alone = torch.stack([cell.ablate(one, kind).outputs for one in refits])
        torch.testing.assert_close(run.refitted, alone, rtol=1e-9, atol=1e-6)


def test_moments_that_are_handed_in_leave_the_fit_out():
    bench, cell, variable = bench_of(Case(), 0)
    curve, swap, effect = effects(handed_in(bench), variable, 0, cell.r2_of("y"))
    assert (curve.fit_blocks, swap.fit_blocks, effect.fit_blocks) == (0, 0, 0)
    with_fit = effects(cell, variable, 0)
    assert all(one.fit_blocks == 10 for one in with_fit)
    assert (half_width(intervals(curve, swap, effect).T) < half_width(intervals(*with_fit).T)).all()


def test_a_turned_circle_is_fitted_again_too():
    """A clock that reads the circle: the interval of the slope has a width once the fit is included, and covers 1."""
    loaded, rows = clock(rows=400)
    fit, held = halves_of(rows, len(rows))
    circle = variable_of("residuemod13f1", rows)
    bench = Bench(
        loaded.model, loaded.objective, rows, rows.constant(None), held, fit, columns={circle.name: circle.columns}
    )
    cell = bench.cell("resid_post.0", "last")
    curve = cell.steer(circle, 0, 0)
    assert curve.fit_blocks == 10
    assert curve.slope.low <= 1 <= curve.slope.high
    assert curve.slope.high - curve.slope.low < 0.2


def test_a_margin_of_one_sample_is_the_jackknife_of_it():
    left = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(margin_of(left), jackknife_margin(left))
    torch.testing.assert_close(margin_of(left, left[:, :1].expand(7, 3) * 0), jackknife_margin(left))
    assert margin_of(left, left).mean() > margin_of(left).mean()
    assert bool(margin_of(left[:1]).isnan().all()) and bool(margin_of(left, left[:1]).isnan().all())
    assert float(margin_of(torch.zeros(5), torch.zeros(5))) == 0.0


def half_width(interval):
    low, high = interval
    return (high - low) / 2
