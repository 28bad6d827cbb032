"""Steering moves what it says by as much as it says, and the curve is that of the answers."""

import math

import numpy as np
import pytest
import torch
from micro import GRID, Residues, adder, clock, dim, moments, one_thread, positions, workbench  # noqa: F401
from scipy.stats import t as student
from test_ablation import SHORT, D, transformer

from arithprobe.behaviour import difference
from arithprobe.interventions.directions import filter_and_pattern
from arithprobe.interventions.steering import STEPS, steer_circle, steer_line
from arithprobe.models.hooks import edit
from arithprobe.probes.moments import alpha_choice
from arithprobe.probes.ridge import RidgeFitter
from arithprobe.probes.splits import blocks_of


def vector(**components):
    found = torch.zeros(1, D, dtype=torch.float64)
    for name, value in components.items():
        found[0, dim(name)] = value
    return found


def line(bench, site, where, pattern, spread=20.0, expected=1.0, **options):
    return steer_line(bench, site, positions(bench, *where.split("+")), "sum", pattern, spread, expected, **options)


def hooked(bench, site, table, fn):
    """(N,) answers of a forward pass with a hook that adds to every cell that is there; fn gets row and position."""

    def add(state):
        edited = state.clone()
        for row, p in table.valid.nonzero().tolist():
            edited[row, table.token[row, p]] += fn(row, p)
        return edited

    with torch.no_grad(), edit(bench.network, site, add):
        return bench.network(bench.dataset.ids.long(), bench.inputs.lengths)[:, 0]


def jackknife(bench, value):
    """Half the width of the interval of a value of some rows."""
    block = blocks_of(bench.group)
    left = np.array([value(block != one) for one in block.unique()])
    g = len(left)
    return student.ppf(0.975, g - 1) * math.sqrt((g - 1) / g * np.square(left - left.mean()).sum())


@pytest.mark.parametrize("site", ["embed", "attn_out.0", "resid_post.0", "mlp_out.1", "final"])
def test_a_curve_is_that_of_the_answers_under_a_hook(site):
    bench = workbench(transformer(), SHORT, constant=40.0)
    table = positions(bench, "x10", "plus", "query")
    pattern = torch.from_numpy(np.random.default_rng(1).standard_normal((3, D))) / 10
    curve = steer_line(bench, site, table, "x", pattern, 2.0, 3.0, draws=2)
    deltas = sorted(sign * step * 2.0 for step in STEPS for sign in (-1, 1))
    assert curve.deltas.tolist() == pytest.approx(deltas)
    shifts = torch.stack(
        [
            hooked(bench, site, table, lambda _, p, delta=delta: delta * pattern[p]) - bench.outputs[:, 0]
            for delta in deltas
        ]
    )
    assert curve.response.tolist() == pytest.approx(shifts.mean(dim=1).tolist(), abs=1e-12)
    margins = [jackknife(bench, lambda kept, one=one: one[kept].mean().item()) for one in shifts]
    assert (curve.high - curve.response).tolist() == pytest.approx(margins, rel=1e-9)
    assert (curve.response - curve.low).tolist() == pytest.approx(margins, rel=1e-9)
    near = [row for row, delta in enumerate(deltas) if abs(delta) <= 0.26 * 2]
    assert len(near) == 6
    demanded = 3 * torch.tensor(deltas, dtype=torch.float64)[near]
    each = (demanded @ shifts[near]) / demanded.square().sum()
    slope, margin = each.mean().item(), jackknife(bench, lambda kept: each[kept].mean().item())
    assert curve.slope == pytest.approx((slope, slope - margin, slope + margin), rel=1e-9)
    assert (curve.target, curve.site, curve.positions, curve.expected) == ("x", site, ("x10", "plus", "query"), 3.0)
    assert len(curve.random_slopes) == 2 and bool((curve.random_slopes != curve.slope.fraction).all())


def test_the_pattern_moves_the_answer_by_what_was_asked_and_the_filter_does_not():
    """A probe of y at the last token that reads total - x: moving along its weights moves x as well, which y does not.

    Over all problems the covariance of the states with the reading is that with y: total, decoy and y rise by 1 with y,
    x does not.
    """
    bench = workbench(adder(), GRID)
    table = positions(bench, "last")
    weights = vector(total=1, x=-1)[0].numpy()
    here = moments(bench, "resid_post.1", table)
    spread = here.centred_gram[0] @ weights / 100
    pattern = spread / (weights @ spread)
    assert pattern[[dim("total"), dim("decoy"), dim("y"), dim("x")]] == pytest.approx([1, 1, 1, 0])
    along = weights / (weights @ weights)  # half a step each way: the probe reads one more
    for direction, slope in [(pattern, 1.0), (along, 0.5)]:
        curve = line(bench, "resid_post.1", "last", torch.from_numpy(direction)[None])
        assert curve.slope == pytest.approx((slope,) * 3)
        assert curve.response.tolist() == pytest.approx((slope * curve.deltas).tolist())
        asked_for_much = curve.deltas.abs() > 1
        assert curve.hits[asked_for_much].tolist() == [float(slope == 1)] * 14


@pytest.mark.parametrize(
    ("site", "where", "target", "expected", "slope"),
    [
        ("embed", "x1", "x", 1, 1),
        ("resid_mid.0", "equals", "y", 1, 1),
        ("resid_mid.0", "equals", "sum", 1, 1),
        ("resid_post.0", "equals", "sum", 1, 1),
        ("resid_post.0", "last", "sum", 1, 0),
        ("resid_mid.1", "last", "sum", 1, 1),
        ("final", "last", "x", 1, 1),
    ],
)
def test_a_fitted_pattern_has_the_slope_of_what_the_model_uses(site, where, target, expected, slope):
    """Of a ridge probe; where the model no longer looks, the slope is 0 though the probe is exact."""
    bench = workbench(adder(), GRID)
    table = positions(bench, where)
    values = {"x": bench.dataset.x[bench.rows], "y": bench.dataset.y[bench.rows], "sum": bench.group}[target].double()
    fitter = RidgeFitter(1, D, 1, 2)
    fitter.update(bench.cells(site, table), values[:, None], torch.zeros(100, dtype=torch.int64))
    weights, intercept, pattern = filter_and_pattern(fitter.moments()[0], alpha_choice(1e-9, "gcv", 1))
    read = bench.cells(site, table)[:, 0].numpy() @ weights[:, 0] + intercept
    assert read == pytest.approx(values.numpy(), abs=1e-6)
    curve = line(bench, site, where, torch.from_numpy(pattern[:, 0])[None], expected=expected)
    assert curve.slope == pytest.approx((slope,) * 3, abs=1e-6)
    assert weights[:, 0] @ pattern[:, 0] == pytest.approx(1)


def test_a_response_that_saturates_has_a_linear_range_and_two_ends():
    """It counts to 12, and all problems are 8: below nothing stops it, above it has 4 left.

    Of the six small shifts (1, 2 and 5 to both sides) one, +5, does only 4: the slope is (2 + 8 + 25 + 20) / 60, and
    within 10 % of that line are +1 and +2, not +5.
    """
    bench = workbench(adder(ceiling=12), [(3, 5), (4, 4), (2, 6), (8, 0)])
    curve = line(bench, "embed", "x1", vector(digit=1))
    expected = [-60, -40, -30, -20, -10, -5, -2, -1, 1, 2, 4, 4, 4, 4, 4, 4]
    assert curve.response.tolist() == pytest.approx(expected)
    assert curve.slope.fraction == pytest.approx(55 / 60)
    assert curve.linear == (-60, 2)
    assert curve.saturation == pytest.approx((-60, 4))
    assert curve.hits.tolist() == [1.0] * 10 + [0.0] * 6
    assert bool(curve.low.isnan().all()) and math.isnan(curve.slope.low)  # all of one sum: nothing to leave out
    free = line(workbench(adder(), [(3, 5), (4, 4)]), "embed", "x1", vector(digit=1))  # the control
    assert free.linear == (-60, 60) and free.saturation == pytest.approx((-60, 60))


def test_the_linear_range_ends_at_the_first_bend():
    """It counts to 4, and from 8 on twice as fast: at 12 it is back where a line would be, which does not count."""
    model = adder(ceiling=4)
    mlp = model.enc.blocks[1]
    mlp.linear1.weight[1, dim("total")], mlp.linear1.bias[1], mlp.linear2.weight[dim("total"), 1] = 64, -64 * 8, 2 / 64
    curve = line(workbench(model, [(0, 0)]), "embed", "x1", vector(digit=1), spread=4.0)
    positive = curve.deltas > 0
    assert curve.deltas[positive].tolist() == pytest.approx([0.2, 0.4, 1, 2, 4, 6, 8, 12])
    assert curve.response[positive].tolist() == pytest.approx([0.2, 0.4, 1, 2, 4, 4, 4, 12])
    assert curve.linear == pytest.approx((-12, 4))


def test_several_positions_are_moved_together():
    bench = workbench(adder(), GRID)
    both = torch.cat([vector(digit=1), vector(digit=2)])
    assert line(bench, "embed", "x1+y1", both).slope == pytest.approx((3, 3, 3))
    assert line(bench, "embed", "x1+plus", both).slope == pytest.approx((1, 1, 1))
    assert line(bench, "embed", "x1+y1", both, expected=3.0).hits.tolist() == [1.0] * 16


def test_the_interval_covers_what_rows_disagree_on():
    """Half of the problems saturate: the slope is between, and its interval has both sides."""
    bench = workbench(adder(ceiling=9), GRID)
    curve = line(bench, "embed", "x1", vector(digit=1), spread=4.0)
    assert 0.2 < curve.slope.low < curve.slope.fraction < curve.slope.high < 0.9
    assert bool((curve.low < curve.response).all()) and bool((curve.response < curve.high).all())


def test_random_patterns_are_as_long_and_move_the_answer_by_what_they_hold_of_what_is_read():
    bench = workbench(adder(), GRID)
    read = (vector(total=1, spare=1) / 2**0.5)[0]
    curve = line(bench, "final", "last", vector(total=3, decoy=4), draws=200)
    shares = curve.random_slopes / (5 * 2**0.5)  # components along one unit vector of a random one
    assert len(shares) == 200 and bool((shares.abs() < 1).all())
    assert shares.square().mean().item() == pytest.approx(1 / D, rel=0.3)
    assert abs(shares.mean().item()) < 4 / math.sqrt(200 * D)
    assert curve.slope.fraction == pytest.approx(3) and read.norm() == pytest.approx(1)
    for site, where in [("mlp_out.1", "plus"), ("resid_mid.1", "equals"), ("final", "equals")]:  # nobody reads there
        unread = line(bench, site, where, vector(total=1), draws=50)
        assert unread.slope.fraction == 0 and unread.random_slopes.abs().max() < 1e-12


def test_draws_depend_on_the_seed_alone_and_the_global_state_is_not_touched():
    bench, round_bench = workbench(adder(), GRID), workbench(clock(7), GRID, 7)
    before = torch.get_rng_state()
    slopes = [line(bench, "final", "last", vector(total=1), draws=5, seed=seed).random_slopes for seed in (0, 0, 1)]
    circles = [circle(round_bench, seed=seed).random_slopes for seed in (0, 0, 1)]
    for one, same, other in (slopes, circles):
        assert torch.equal(one, same) and bool((one != other).all())
    assert torch.equal(torch.get_rng_state(), before)
    assert len(line(bench, "final", "last", vector(total=1), draws=0).random_slopes) == 0


PLANES = {"resid_post.0": ("equals", "cos", "sin"), "resid_mid.1": ("last", "far_cos", "far_sin")}


def circle(bench, site="resid_post.0", frequency=1, period=7, **options):
    """Turn the plane in which a clock keeps its residue."""
    where, *names = PLANES[site]
    plane = torch.stack([vector(**{name: 1}) for name in names], dim=-1)
    weights = (plane, torch.zeros(1, 2, dtype=torch.float64), plane)
    return steer_circle(
        bench,
        site,
        positions(bench, where),
        f"residuemod{period}",
        weights,
        period,
        [frequency],
        **{"draws": 3} | options,
    )


@pytest.mark.parametrize("site", PLANES)
@pytest.mark.parametrize("frequency", [1, 2, 3])
def test_turning_the_circle_of_a_clock_shifts_its_answer(site, frequency):
    """Exact, so every shift hits; 5 forward is 2 back, as arithmetic has it."""
    bench = workbench(clock(7, frequency), GRID, 7, objective=Residues)
    curve = circle(bench, site, frequency, turns=(1, 2, 3, 5, 20))
    assert curve.deltas.tolist() == [-20, -5, -3, -2, -1, 1, 2, 3, 5, 20]
    assert curve.response.tolist() == pytest.approx([1, 2, -3, -2, -1, 1, 2, 3, -2, -1], abs=1e-9)
    assert curve.hits.tolist() == [1.0] * 10
    assert curve.slope == pytest.approx((1, 1, 1))
    assert curve.expected == 1


def test_turning_at_another_frequency_than_the_clocks_is_another_shift():
    """Asked for one, the plane of frequency 2 turned as if it were of frequency 1 moves by 4, the half of 1 mod 7."""
    curve = circle(workbench(clock(7, 2), GRID, 7, objective=Residues), frequency=1, turns=(1,))
    assert curve.response.tolist() == pytest.approx([3, -3])
    assert curve.hits.tolist() == [0, 0]
    assert curve.slope.fraction == pytest.approx(-3)


@pytest.mark.parametrize("frequency", [1, 2, 3])
def test_a_number_modulo_k_does_not_go_round_and_rows_that_wrap_are_left_out(frequency):
    """The same clock, whose outputs are taken as numbers: where the right answer wraps, it jumps back by 7 minus delta.

    The control is the mean over all rows, which is no shift that anybody asked for.
    """
    bench = workbench(clock(7, frequency), GRID, 7)
    assert bench.circle is None and bench.modulus == 7
    curve = circle(bench, frequency=frequency, turns=(1, 2, 5, 20))
    assert curve.deltas.tolist() == [-5, -2, -1, 1, 2, 5]  # by 20 all wrap
    assert curve.response.tolist() == pytest.approx(curve.deltas.tolist(), abs=1e-9)
    assert (curve.high - curve.low).abs().max() < 1e-9 and curve.slope == pytest.approx((1, 1, 1))
    assert curve.hits.tolist() == [1.0] * 6
    moved = (bench.answers + 2) % 7 - bench.answers
    assert moved.double().mean() < 1


def test_on_a_line_too_rows_that_wrap_are_left_out():
    """A clock moved by the digit of x: the adder that ignores its modulus goes on where it should jump back."""
    pairs = [(x, y) for x in range(7) for y in range(7)]
    exact, ignorant = (workbench(model, pairs, 7) for model in (clock(7), adder(7)))
    curves = [line(one, "embed", "x1", vector(digit=1)) for one in (exact, ignorant)]
    for curve in curves:
        assert curve.response.tolist() == pytest.approx(curve.deltas.tolist(), abs=1e-9)
        assert curve.slope == pytest.approx((1, 1, 1))
    up = curves[0].deltas > 0  # below 0 nothing was looked up
    assert curves[0].hits[up].min() == 1 and curves[1].hits[up].max() < 1  # hits are of all rows


def test_turning_what_the_clock_does_not_read_does_nothing():
    """The plane of layer 0 at the last token; the control: random planes, turned where the clock does read."""
    bench = workbench(clock(7), GRID, 7, objective=Residues)
    plane = torch.stack([vector(cos=1), vector(sin=1)], dim=-1)
    weights = (plane, torch.zeros(1, 2, dtype=torch.float64), plane)
    unread = steer_circle(bench, "resid_post.0", positions(bench, "last"), "residue", weights, 7, [1], draws=0)
    assert unread.response.abs().max() == 0 and unread.hits.max() == 0 and unread.slope.fraction == 0
    random = circle(bench, draws=40).random_slopes
    assert random.mean().abs() < 4 * random.std() / 40**0.5 < 0.6  # either way as often


def test_a_fitted_circle_turns_the_clock():
    """Slopes, intercepts and patterns of a ridge probe of cosine and sine."""
    bench = workbench(clock(7), GRID, 7, objective=Residues)
    table = positions(bench, "equals")
    angle = 2 * math.pi * bench.answers.double() / 7
    fitter = RidgeFitter(1, D, 2, 2)
    waves = torch.stack([angle.cos(), angle.sin()], dim=1)
    fitter.update(bench.cells("resid_post.0", table), waves, torch.zeros(100, dtype=torch.int64))
    fitted = filter_and_pattern(fitter.moments()[0], alpha_choice(1e-9, "gcv", 1))
    weights = tuple(torch.from_numpy(part)[None] for part in fitted)
    curve = steer_circle(bench, "resid_post.0", table, "residuemod7f1", weights, 7, [1], draws=2)
    assert curve.hits.tolist() == [1.0] * 10
    assert curve.slope == pytest.approx((1, 1, 1), abs=1e-6)


@pytest.mark.parametrize("site", ["embed", "resid_mid.0", "attn_out.1", "final"])
def test_a_turn_is_that_of_the_readings_under_a_hook(site):
    """Any plane, with intercepts, at several positions; shifts are taken round the circle of the residues."""
    bench = workbench(transformer(), GRID[:40], 7, objective=Residues)
    table = positions(bench, "x1", "query")
    generator = np.random.default_rng(1)
    slope, pattern = (torch.from_numpy(generator.standard_normal((2, D, 2))) for _ in range(2))
    intercept = torch.from_numpy(generator.standard_normal((2, 2)))
    turns = (1, 2, 10)
    curve = steer_circle(bench, site, table, "sum", (slope, intercept, pattern), 7, [3], turns=turns, draws=2)
    states = bench.states[site]
    shifts = []
    for delta in curve.deltas.tolist():
        theta = 2 * math.pi * 3 * delta / 7
        rows = [[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]]
        turn = torch.tensor(rows, dtype=torch.float64)

        def change(row, p, turn=turn):
            read = states[row, table.token[row, p]] @ slope[p] + intercept[p]
            return pattern[p] @ (turn @ read - read)

        shifts.append(difference(hooked(bench, site, table, change), bench.outputs[:, 0], 7).mean())
    assert curve.response.tolist() == pytest.approx([one.item() for one in shifts], abs=1e-9)
    assert curve.deltas.tolist() == [-10, -2, -1, 1, 2, 10]


def test_a_random_plane_has_the_length_of_the_pattern():
    """Twice the pattern turns random planes twice as far: on a readout that is linear, twice the slope."""
    bench = workbench(adder(7), GRID, 7)
    table = positions(bench, "last")
    readings = torch.stack([vector(spare=0.002), vector(spare=-0.001)], dim=-1)  # 0.01 and -0.005 in every problem
    found = []
    for length in (1, 2):
        pattern = length * torch.stack([vector(cos=1), vector(sin=1)], dim=-1)
        curve = steer_circle(bench, "final", table, "residue", (readings, torch.zeros(1, 2), pattern), 7, [1], draws=5)
        found.append(curve.random_slopes)
    torch.testing.assert_close(found[1], 2 * found[0])
    assert found[0].abs().max() > 1e-5


def test_planes_of_one_circle_turn_together():
    """A clock follows its own plane beside another that turns; the control: that one alone does nothing."""
    bench = workbench(clock(7), GRID, 7)
    table = positions(bench, "equals")
    own = [vector(cos=1), vector(sin=1)]
    other = [vector(far_cos=1), vector(far_sin=1)]  # empty there
    shifts = {}
    for name, frequencies, planes in (("both", [1, 2], own + other), ("other", [2], other)):
        plane = torch.stack(planes, dim=-1)
        weights = (plane, torch.zeros(1, plane.shape[-1], dtype=torch.float64), plane)
        curve = steer_circle(bench, "resid_post.0", table, "residue", weights, 7, frequencies, turns=(1, 3), draws=0)
        shifts[name] = curve.response.tolist()
    assert shifts["both"] == pytest.approx([-3, -1, 1, 3], abs=1e-9)
    assert shifts["other"] == [0, 0, 0, 0]
