"""Every intervention on a model worked out by hand: see the diagram in ``micro``. All numbers here are literals."""

import math

import numpy as np
import pytest
import torch
from micro import DIMS, GRID, HANDFUL, ablator, adder, axes, clock, dim, one_thread, positions, workbench  # noqa: F401

from arithprobe.interventions.interchange import interchange
from arithprobe.interventions.patching import patching_map, whole_state_answers
from arithprobe.interventions.steering import steer_line
from arithprobe.linalg import random_subspaces

NEXT = torch.tensor([1, 2, 3, 0])  # the donors of HANDFUL: (4, 1), (6, 8), (8, 4), (2, 3)
INSIDE = ("z", "attn_out", "resid_mid", "mlp_out", "resid_post")
SITES = ["embed", *(f"{site}.{layer}" for layer in (0, 1) for site in INSIDE), "final"]


def answers_under(kind, site, where, donors=NEXT, problems=HANDFUL, model=None):
    bench = workbench(model or adder(), problems)
    names, position = where.split("@")
    table = positions(bench, position)
    eraser = axes(bench, site, table, "sum", *names.split("+"))
    outputs = ablator(bench, site, table, donors).without(kind, eraser.left[None], eraser.right[None])
    return bench.answers_of(outputs)[0].tolist()


def test_the_adder_adds():
    bench = workbench(adder(), GRID)
    assert torch.equal(bench.outputs[:, 0], bench.answers.double())
    assert bench.behaviour.verdict == "LEARNED"
    assert workbench(adder(ceiling=12), [(3, 9), (9, 3), (4, 9), (9, 9)]).outputs[:, 0].tolist() == [12, 12, 12, 12]


def test_the_clock_goes_round_and_a_plain_sum_does_not():
    expected = [(x + y) % 7 for x, y in GRID]
    bench = workbench(clock(7), GRID, 7)
    assert bench.outputs[:, 0].tolist() == pytest.approx(expected, abs=1e-12)
    assert workbench(adder(7), [(3, 4), (9, 9)], 7).outputs[:, 0].tolist() == [7, 18]


def test_the_states_are_those_of_the_diagram():
    """7 + 5 = ?, token by token: x1 sp plus sp y1 sp equals sp query."""
    bench = workbench(adder(), [(7, 5)])

    def at(site, token):
        state = bench.states[site][0, token].tolist()
        return {name: value for name, value in zip(DIMS, state, strict=True) if value}

    assert at("embed", 0) == {"digit": 7, "spare": 5, "at_x": 1}
    assert at("embed", 4) == {"digit": 5, "spare": 5, "at_y": 1}
    assert at("embed", 8) == {"spare": 5}
    assert at("attn_out.0", 6) == at("attn_out.0", 2) == {"x": 7, "y": 5}
    assert at("resid_mid.0", 6) == {"x": 7, "y": 5, "spare": 5, "at_equals": 1}
    assert at("mlp_out.0", 6) == at("mlp_out.0", 1) == {"units": 2, "carry": 1, "decoy": 12}
    assert at("attn_out.1", 8) == at("attn_out.1", 3) == {"total": 12}
    assert at("mlp_out.1", 8) == {}
    last = {"x": 7, "y": 5, "units": 2, "carry": 1, "decoy": 12, "spare": 5, "total": 12}
    assert at("resid_post.1", 8) == at("final", 8) == at("resid_mid.1", 8) == last


INTACT = [5, 5, 14, 12]
SUM_IS_TOTAL = ([0, 0, 0, 0], [9, 9, 9, 9], [5, 14, 12, 5])  # means: sum 9, x 5, y 4, units 4, carry 1/2
X_IS_GONE = ([3, 1, 8, 4], [8, 6, 13, 9], [7, 7, 16, 6])  # y; 5 + y; x of the donor + y
Y_IS_GONE = ([2, 4, 6, 8], [6, 8, 10, 12], [3, 12, 10, 11])  # x; x + 4; x + y of the donor
UNITS_ARE_GONE = ([0, 0, 10, 10], [4, 4, 14, 14], [5, 4, 12, 15])  # 10 carry; 4 + 10 carry; units of the donor
CARRY_IS_GONE = ([5, 5, 4, 2], [10, 10, 9, 7], [5, 15, 14, 2])  # units; units + 5; carry of the donor
SPARE_IS_GONE = ([0, 0, 9, 7], INTACT, INTACT)  # a constant: its mean, and any donor's, is itself
NOTHING_IS_GONE = (INTACT, INTACT, INTACT)
ABLATIONS = [
    ("embed", "digit@x1", X_IS_GONE),
    ("embed", "digit@y1", Y_IS_GONE),
    ("embed", "digit@last", NOTHING_IS_GONE),
    *((site, "x@equals", X_IS_GONE) for site in ("attn_out.0", "resid_mid.0")),
    *((site, "y@equals", Y_IS_GONE) for site in ("attn_out.0", "resid_mid.0")),
    *((site, "x+y@equals", SUM_IS_TOTAL) for site in ("attn_out.0", "resid_mid.0")),
    *((site, "x+y@last", NOTHING_IS_GONE) for site in ("attn_out.0", "resid_mid.0", "resid_post.0", "final")),
    ("resid_post.0", "x+y@equals", NOTHING_IS_GONE),
    *((site, "units@equals", UNITS_ARE_GONE) for site in ("mlp_out.0", "resid_post.0")),
    *((site, "carry@equals", CARRY_IS_GONE) for site in ("mlp_out.0", "resid_post.0")),
    *((site, "units+carry@equals", SUM_IS_TOTAL) for site in ("mlp_out.0", "resid_post.0")),
    *((site, "units+carry@last", NOTHING_IS_GONE) for site in ("mlp_out.0", "resid_post.0", "resid_mid.1", "final")),
    *((site, "total@last", SUM_IS_TOTAL) for site in ("attn_out.1", "resid_mid.1", "resid_post.1", "final")),
    *((site, "total@equals", NOTHING_IS_GONE) for site in ("attn_out.1", "resid_mid.1", "resid_post.1", "final")),
    *(
        (site, f"decoy@{token}", NOTHING_IS_GONE)
        for site in ("mlp_out.0", "resid_post.0", "resid_mid.1", "final")
        for token in ("equals", "last")
    ),
    *((site, "spare@last", SPARE_IS_GONE) for site in SITES if site in ("embed", "final") or site.startswith("resid")),
    *((site, "spare@equals", NOTHING_IS_GONE) for site in ("embed", "resid_mid.0", "resid_post.0")),
    *((site, "spare@last", NOTHING_IS_GONE) for site in ("attn_out.0", "mlp_out.0", "attn_out.1", "mlp_out.1")),
]


@pytest.mark.parametrize(
    ("site", "where", "expected"), ABLATIONS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_ablation_takes_out_what_is_there_and_nothing_else(site, where, expected):
    zero, mean, resample = expected
    assert answers_under("zero", site, where) == zero
    assert answers_under("mean", site, where) == mean
    assert answers_under("resample", site, where) == resample


def test_two_positions_are_ablated_at_once():
    bench = workbench(adder(), HANDFUL)
    table = positions(bench, "x1", "y1")
    eraser = axes(bench, "embed", table, "sum", "digit")
    run = ablator(bench, "embed", table, NEXT)
    answers = {
        kind: bench.answers_of(run.without(kind, eraser.left[None], eraser.right[None]))[0].tolist()
        for kind in ("zero", "mean", "resample")
    }
    assert answers == {"zero": [0, 0, 0, 0], "mean": [9, 9, 9, 9], "resample": [5, 14, 12, 5]}


@pytest.mark.parametrize(
    ("site", "where", "kind", "mse"),
    [
        ("embed", "digit@x1", "mean", 8.25),  # variance of 0 to 9
        ("embed", "digit@x1", "zero", 28.5),  # mean square of 0 to 9
        ("resid_post.0", "carry@equals", "mean", 24.75),  # 45 of 100 carry: 10^2 * 0.45 * 0.55
        ("resid_post.0", "carry@equals", "zero", 45.0),
        ("resid_mid.1", "total@last", "mean", 16.5),  # variance of the sums: that of the constant
        ("resid_mid.1", "total@last", "zero", 97.5),  # 9^2 + 16.5
        ("resid_mid.1", "decoy@last", "zero", 0.0),
    ],
)
def test_the_figures_of_an_ablation(site, where, kind, mse):
    """All 100 problems; the constant 9 has a mean squared error of 16.5, the adder none."""
    bench = workbench(adder(), GRID)
    names, position = where.split("@")
    table = positions(bench, position)
    eraser = axes(bench, site, table, "sum", names)
    effect, outputs, random, _ = ablator(bench, site, table, torch.arange(100).roll(1)).ablate(eraser, kind, (), 0, 0)
    assert (effect.n, effect.families, random) == (100, (), {})
    assert effect.rmse == effect.delta_rmse == pytest.approx(math.sqrt(mse))
    assert effect.delta_loss == pytest.approx(mse)
    assert effect.skill == pytest.approx(1 - mse / 16.5)
    assert effect.skill_lost == pytest.approx(mse / 16.5)  # all of it is 1, worse than the constant above 1
    assert effect.delta_exact_match == effect.exact_match - 1
    assert outputs.shape == (100, 1)


def test_exact_matches_and_what_is_removed_by_hand():
    bench = workbench(adder(), GRID)
    table = positions(bench, "last")
    run = ablator(bench, "final", table, torch.arange(100).roll(1))
    total = axes(bench, "final", table, "sum", "total")
    found = {kind: run.ablate(total, kind, (), 0, 0).effect for kind in ("mean", "zero", "resample")}
    assert found["mean"].exact_match == pytest.approx(0.1)  # ten of the sums are 9
    assert found["zero"].exact_match == pytest.approx(0.01)  # one is 0
    removed = [one.removed for one in found.values()]
    assert removed == pytest.approx([16.5, 97.5, 9.9])  # variance; mean square; 90 steps of 1, 9 of 8, one of 18


PAIRS = [(2, 3), (7, 3), (4, 1), (9, 1), (3, 6), (3, 2)]  # neighbours differ in x, in x, and in y
SWAP = torch.tensor([1, 0, 3, 2, 5, 4])
ROLES = ("x1", "sp1", "plus", "sp2", "y1", "sp4", "equals", "sp5", "query")
LINE = dict.fromkeys(["z.0", "attn_out.0", "resid_mid.0", "mlp_out.0", "resid_post.0"], "equals")
LINE |= dict.fromkeys(["z.1", "attn_out.1", "resid_mid.1", "resid_post.1", "final"], "query")


@pytest.mark.parametrize("changed", ["x", "y"])
def test_patching_shows_the_line_along_which_an_operand_moves(changed):
    rows = PAIRS[:4] if changed == "x" else PAIRS[4:]
    bench = workbench(adder(), rows)
    found = patching_map(bench, SITES, positions(bench, "role"), SWAP[: len(rows)])
    line = {"embed": f"{changed}1"} | LINE
    expected = [[float(line.get(site) == role) for role in ROLES] for site in SITES]
    assert found.positions == ROLES and found.sites == tuple(SITES)
    assert found.recovered.tolist() == expected
    assert found.n == (len(rows),) * 9
    assert found.gap == (5 if changed == "x" else 4)  # 2 <-> 7 and 4 <-> 9; 6 <-> 2


def test_a_patch_of_the_whole_state_at_equals_carries_both_operands():
    bench = workbench(adder(), HANDFUL)
    for site, role, expected in [
        ("resid_mid.0", "equals", [5, 14, 12, 5]),
        ("resid_post.0", "equals", [5, 14, 12, 5]),
        ("embed", "x1", [7, 7, 16, 6]),
        ("resid_post.0", "query", INTACT),
        ("resid_post.1", "query", [5, 14, 12, 5]),
    ]:
        assert whole_state_answers(bench, site, positions(bench, role), NEXT).tolist() == expected, (site, role)


def interchanged(target, site, where):
    """HANDFUL with donors NEXT: the scores, and the answers."""
    bench = workbench(adder(), HANDFUL)
    names, position = where.split("@")
    table = positions(bench, position)
    eraser = axes(bench, site, table, target, *names.split("+"))
    run = ablator(bench, site, table, NEXT)
    swapped = run.without("resample", eraser.left[None], eraser.right[None])[0]
    random = torch.from_numpy(random_subspaces(16, eraser.rank, 19, np.random.default_rng(0)))[:, None]
    found = interchange(bench, eraser, table, NEXT, swapped, run.without("resample", random, random))
    return found, swapped[:, 0].tolist()


# The answers if just this were the donor's; the mean square shift over the rows where it differs, and their number; the
# share of these shifts that the whole state makes, which moves the answers by 0, 9, -2 and -7; and its exact matches.
INTERCHANGES = [
    ("x", "embed", "digit@x1", [7, 7, 16, 6], (4 + 4 + 4 + 36) / 4, 4, 1, 1),
    ("y", "embed", "digit@y1", [3, 12, 10, 11], (4 + 49 + 16 + 1) / 4, 4, 1, 1),
    ("x", "resid_mid.0", "x@equals", [7, 7, 16, 6], 48 / 4, 4, (2 * 9 + 2 * -2 + -6 * -7) / 48, 0),
    ("y", "attn_out.0", "y@equals", [3, 12, 10, 11], 70 / 4, 4, (7 * 9 + -4 * -2 + -1 * -7) / 70, 0),
    ("sum", "resid_mid.0", "x+y@equals", [5, 14, 12, 5], (81 + 4 + 49) / 3, 3, 1, 1),
    ("sum", "resid_post.0", "units+carry@equals", [5, 14, 12, 5], 134 / 3, 3, 1, 1),
    ("sum1", "resid_post.0", "units@equals", [5, 4, 12, 15], (1 + 4 + 9) / 3, 3, (-9 + 2 * 2 - 3 * 7) / 14, 1 / 3),
    ("carry1", "mlp_out.0", "carry@equals", [5, 15, 14, 2], 100, 2, (10 * 9 + -10 * -7) / 200, 0),
    ("sum", "resid_mid.1", "total@last", [5, 14, 12, 5], 134 / 3, 3, 1, 1),
    ("sum", "final", "total@last", [5, 14, 12, 5], 134 / 3, 3, 1, 1),
]


@pytest.mark.parametrize(("target", "site", "where", "answers", "square", "n", "whole", "whole_exact"), INTERCHANGES)
def test_interchange_makes_the_answer_that_arithmetic_demands(
    target, site, where, answers, square, n, whole, whole_exact
):
    found, made = interchanged(target, site, where)
    assert made == answers
    assert (found.n, found.exact_match) == (n, 1.0)
    assert found.shift == pytest.approx(math.sqrt(square))
    assert found.recovered.fraction == 1.0
    assert found.whole_state == pytest.approx(whole)
    assert found.whole_state_exact_match == whole_exact
    assert found.null_space == pytest.approx(0, abs=1e-9)
    assert found.null_dimensions == 15  # the answer depends on each cell along one line only, so the part of any
    assert found.row_space == pytest.approx(whole)  # direction that is seen lies on that line, and swaps all of it


def test_interchange_of_what_nothing_reads_does_nothing():
    for where in ("decoy@equals", "decoy@last", "x+y@last", "units+carry@last", "x+y@equals"):
        found, made = interchanged("sum", "resid_post.0", where)
        assert made == INTACT
        assert (found.n, found.exact_match, found.recovered.fraction) == (3, 0.0, 0.0)
        assert found.whole_state == (1.0 if "equals" in where else 0.0)
        assert found.p > 0.05


def test_random_directions_move_only_their_share():
    found, _ = interchanged("x", "embed", "digit@x1")
    directions = random_subspaces(16, 1, 19, np.random.default_rng(0))
    assert found.random.tolist() == pytest.approx((directions[:, dim("digit"), 0] ** 2).tolist())  # reads it, writes it
    assert found.p == 1 / 20


def steered(site, where, pattern, expected=1.0, problems=HANDFUL, model=None):
    bench = workbench(model or adder(), problems)
    table = positions(bench, where)
    direction = torch.zeros(1, 16, dtype=torch.float64)
    for name, length in pattern.items():
        direction[0, dim(name)] = length
    return steer_line(bench, site, table, "sum", direction, 20.0, expected, draws=5)


DELTAS = [-60, -40, -30, -20, -10, -5, -2, -1, 1, 2, 5, 10, 20, 30, 40, 60]


@pytest.mark.parametrize(
    ("site", "where", "pattern", "expected"),
    [
        ("embed", "x1", {"digit": 1}, 1),
        ("embed", "y1", {"digit": 1}, 1),
        ("attn_out.0", "equals", {"x": 1}, 1),
        ("resid_mid.0", "equals", {"x": 0.5, "y": 0.5}, 1),
        ("mlp_out.0", "equals", {"units": 1}, 1),
        ("resid_post.0", "equals", {"carry": 1}, 10),
        ("resid_post.0", "equals", {"units": 10, "decoy": 7}, 10),
        ("attn_out.1", "last", {"total": 1}, 1),
        ("resid_mid.1", "last", {"total": 3, "spare": -2}, 1),
        ("final", "last", {"total": 1, "x": 1, "decoy": 1}, 1),
    ],
)
def test_steering_moves_the_answer_by_exactly_as_much(site, where, pattern, expected):
    curve = steered(site, where, pattern, expected)
    assert curve.deltas.tolist() == DELTAS
    assert curve.response.tolist() == pytest.approx([expected * delta for delta in DELTAS], abs=1e-9)
    assert curve.hits.tolist() == [1.0] * 16
    assert curve.slope == pytest.approx((1.0, 1.0, 1.0))
    assert curve.linear == (-60, 60)
    assert curve.saturation == pytest.approx((-60 * expected, 60 * expected))


@pytest.mark.parametrize(
    ("site", "where", "pattern"),
    [
        ("resid_post.0", "equals", {"decoy": 1}),
        ("resid_post.0", "equals", {"x": 1, "y": 1}),
        ("resid_post.0", "last", {"units": 1, "carry": 1}),
        ("resid_post.0", "equals", {"units": 10, "carry": -1}),  # a carry is worth ten units
        ("resid_mid.1", "last", {"total": 1, "spare": -1}),
        ("final", "last", {"decoy": 1}),
        ("final", "equals", {"total": 1}),
    ],
)
def test_steering_what_nothing_reads_does_nothing(site, where, pattern):
    curve = steered(site, where, pattern)
    assert curve.response.tolist() == [0.0] * 16
    assert curve.hits.tolist() == [0.0] * 16
    assert curve.slope == (0.0, 0.0, 0.0)
    assert curve.saturation == (0.0, 0.0)
