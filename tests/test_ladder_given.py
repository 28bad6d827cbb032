"""A claim that rides on a correlate cannot be told from it, and one that is read itself keeps its rung."""

import functools
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from micro import one_thread  # noqa: F401
from rich.console import Console
from scipy.stats import binom

from arithprobe.analysis.ladder.causal import CausalRungs
from arithprobe.analysis.ladder.causal_rules import necessary, sufficient
from arithprobe.analysis.ladder.given import CAUSAL, NOTHING, determines, given_tests, stands
from arithprobe.analysis.ladder.record import ladder_record
from arithprobe.analysis.ladder.rules import SLOPE
from arithprobe.analysis.probe.options import ProbeOptions
from arithprobe.analysis.probe.run import probe
from arithprobe.cli.terminal import print_said
from arithprobe.files import to_json
from arithprobe.interventions.partial import given_test
from arithprobe.interventions.patching import Recovered
from arithprobe.models.objectives import ResidueCrossEntropy
from arithprobe.planted import directions, noise, planted_states
from arithprobe.plotting.ladder import ladder_chart
from arithprobe.probes.variables import variable_of

pytestmark = pytest.mark.slow
SITE, WIDE, PILOT, K = "resid_post.0", 900, 30.0, 31
LARGE = 1.6  # of what nothing reads: controls must displace as much as a claim and its correlate together
BOTH, OPEN = ("holds", "holds"), ("cannot be told", "cannot be told")


class Read(torch.nn.Module):
    """A linear reading of a state, divided by what stands for its length where a LayerNorm has changed it."""

    def __init__(self, weights, unit, middle, pilot=None):
        super().__init__()
        self.weights, self.pilot = torch.nn.Parameter(weights), pilot
        self.unit, self.middle = unit, middle

    def forward(self, states):
        scale = 1.0 if self.pilot is None else PILOT / (states @ self.pilot)
        return (states @ self.weights * scale * self.unit + self.middle)[:, None]


def lines(r, seed=0, d=16, rows=600, held="sum", oblique=0.0, norm=False, blur=0.0, decoys=3):
    """``held`` on a direction u, which is read; x, or both x and y, on others, which nothing reads.

    With ``held`` of x, the sum can be read only by its correlation with x, and answers are off by y.
    """
    drawn = torch.Generator().manual_seed(seed)
    narrow = max(2, round(WIDE * math.sqrt(1 / r**2 - 1)))
    x = torch.randint(100, 100 + WIDE, (rows,), generator=drawn)
    y = torch.randint(0, narrow, (rows,), generator=drawn)
    u, v, w, pilot, *rest = directions(4 + decoys, d, seed)
    v = oblique * u + math.sqrt(1 - oblique**2) * v
    dual = torch.linalg.pinv(torch.stack([u, v, w, pilot]))[:, 0]
    unit, middle = WIDE / math.sqrt(12), 100 + WIDE / 2

    def states(x, y):
        off = blur * noise(x, y, 3, seed + 1)
        first, second = (x - middle) / unit, (y - narrow / 2) / unit
        own = torch.outer((first + second if held == "sum" else first) + off[:, 0], u)
        own = own if held == "x" else own + torch.outer(first + off[:, 1], v)
        own = own if held != "sum" or not blur else own + torch.outer(2 * first + off[:, 2], w)
        return own + PILOT * pilot + LARGE * noise(x, y, decoys, seed) @ torch.stack(rest)

    reader = Read(dual, unit, middle + narrow / 2, pilot if norm else None)
    return planted_states(x, y, states, reader, norm=norm)


def wheels(wide, seed=0, d=12, rows=600):
    """The residue of x + y, by the product of the planes of x and of y: nothing in the state is linear in it."""
    drawn = torch.Generator().manual_seed(seed)
    x, y = (torch.randint(0, most, (rows,), generator=drawn) for most in (40 * K, wide))
    frame = directions(6, d, seed)

    def wave(values):
        return torch.stack([(2 * math.pi * values / K).cos(), (2 * math.pi * values / K).sin()], dim=1)

    class Product(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(30.0))

        def forward(self, states):
            one, other = (torch.view_as_complex((states @ part.T).contiguous()) for part in (frame[:2], frame[2:4]))
            points = torch.view_as_complex(wave(torch.arange(K).double()).contiguous())
            return self.scale * ((one * other)[:, None] * points.conj()).real

    def states(x, y):
        return wave(x) @ frame[:2] + wave(y) @ frame[2:4] + noise(x, y, 2, seed) @ frame[4:]

    return planted_states(x, y, states, Product(), modulus=K, objective=ResidueCrossEntropy(K))


def rungs_of(case, claims):
    return CausalRungs(*case, list(claims), [SITE], 19, 1000, 0)


def told(case, claims, others=None):
    """The states of both causal rungs of each claim, without and with the tests; and what was found."""
    rungs = rungs_of(case, claims)
    found = {}
    for name in claims:
        plain = rungs.at(name, SITE)
        given = replace(plain, given=rungs.given(name, SITE, others or claims))
        found[name] = (states_of(plain), states_of(given), given)
    return found


def states_of(found):
    return necessary(found).state, sufficient(found).state


def standing(found):
    """The rungs that stand given each other variable."""
    return {one.given: tuple(stands(one, rung) for rung in CAUSAL) for one in found.given.tests}


def test_a_correlate_that_nothing_reads_reached_the_top_and_cannot_be_told_from_the_sum():
    found = told(lines(0.985), ["x", "sum"])
    assert found["x"][:2] == (BOTH, OPEN)
    assert found["sum"][:2] == (BOTH, BOTH)  # the control
    assert found["x"][2].given.probe_skill > 0.9 > 0.1 > found["sum"][2].given.probe_skill


@pytest.mark.parametrize(
    "more",
    [
        {"d": 8, "seed": 1},
        {"oblique": -0.7, "seed": 1},
        {"norm": True},
        pytest.param({"d": 32, "decoys": 12, "seed": 2}, marks=pytest.mark.long),
        pytest.param({"oblique": 0.5, "norm": True, "seed": 3}, marks=pytest.mark.long),
    ],
)
def test_what_is_a_correlate_s_own_does_nothing_and_what_is_the_sum_s_own_does_all(more):
    found = told(lines(0.985, **more), ["x", "sum"])
    assert standing(found["x"][2]) == {"sum": (False, False)}
    assert standing(found["sum"][2]) == {"x": (True, True)}  # the control
    (test,) = found["x"][2].given.tests
    assert test.given == "sum" and test.r > 0.98
    assert abs(test.share.fraction) < 0.02 and (test.skill, test.exact) == pytest.approx((1.0, 1.0), abs=0.01)
    assert test.swapped > 40 and test.swapped_exact == 0
    (test,) = found["sum"][2].given.tests
    assert test.given == "x" and test.share.fraction == pytest.approx(1.0, abs=0.02)
    assert test.exact < 0.05


@pytest.mark.parametrize("r", [0.5, 0.71, 0.95])
def test_what_is_used_keeps_its_rungs_at_every_correlation(r):
    """The sum given x; and x given the sum where x is read, and the sum can be read by its correlation only."""
    assert standing(told(lines(r), ["sum"], ["x"])["sum"][2]) == {"x": (True, True)}
    alone = told(lines(r, held="x"), ["x", "sum"])
    assert standing(alone["x"][2]) == {"sum": (True, True)}
    assert standing(alone["sum"][2]) == {"x": (False, False)}
    assert "cannot be told: sum from x (r = " in necessary(alone["sum"][2]).reason


def test_two_correlates_are_both_told_from_nothing():
    """Of x, on two directions that nothing reads; what it is modulo 1000 is no other variable, but another claim."""
    found = told(lines(0.985, blur=0.01), ["x", "xmod1000"])
    for name in ("x", "xmod1000"):
        assert standing(found[name][2]) == {"sum": (False, False)}  # the other determines it


@pytest.mark.parametrize("wide", [K, pytest.param(12, marks=pytest.mark.long), 4])
def test_what_is_read_by_a_product_keeps_its_rungs_however_it_is_correlated_with_the_answer(wide):
    name = f"xmod{K}f1"
    plain, given, found = told(wheels(wide), [name], [name, f"residuemod{K}f1", "sum"])[name]
    assert standing(found) == dict.fromkeys([f"residuemod{K}f1", "sum", "residue"], (True, True))
    assert given == plain
    assert found.given.tests[0].r > (0.95 if wide == 4 else 0.0)
    assert all(one.share.low > 0.9 for one in found.given.tests)
    assert min(one.swapped_exact for one in found.given.tests) > 0.1


def test_no_test_is_made_given_itself_or_what_it_determines():
    rungs = rungs_of(lines(0.9), ["x", "sum"])
    assert rungs.given("sum", SITE, ["sum"]).tests == ()
    assert [one.given for one in rungs.given("x", SITE, ["x", "x1", "y"]).tests] == ["y", "sum"]
    x = torch.arange(40.0)[:, None].repeat(2, 1)
    assert determines(x, x % 10) and not determines(x % 10, x)
    assert not determines(x[:40], x[:40] % 10)  # no two rows share a value


def test_the_share_is_that_of_states_moved_along_the_regression_on_what_is_its_own():
    """By another least squares, and by the network run on states that are changed by hand."""
    case = lines(0.9, blur=0.1, oblique=0.4)
    cell = rungs_of(case, ["x"]).cell(SITE)
    loaded, rows = case
    fit, held = cell.bench.fit, cell.part
    x, total = rows.x.double().numpy(), (rows.x + rows.y).double().numpy()
    design = np.stack([np.ones(len(fit)), total[fit.rows]], axis=1)
    weights = np.linalg.lstsq(design, x[fit.rows], rcond=None)[0]
    own = x - weights[0] - weights[1] * total
    states = {part: part.at_last(SITE).numpy() for part in (fit, held)}
    pattern = np.linalg.lstsq(own[fit.rows][:, None], states[fit] - states[fit].mean(axis=0), rcond=None)[0][0]
    moved = torch.from_numpy(states[held] - np.outer(own[held.rows], pattern))
    answers = loaded.objective.decode(loaded.model.inner.reader(moved)).numpy()
    change = held.predictions.numpy() - answers
    expected = (change * own[held.rows]).sum() / (own[held.rows] ** 2).sum()
    found = given_test(cell, variable_of("x", rows), "sum", variable_of("sum", rows).columns)
    assert found.share.fraction == pytest.approx(expected, abs=1e-9)
    assert found.r == pytest.approx(np.corrcoef(x[fit.rows], total[fit.rows])[0, 1], abs=1e-9)


def given(share, low, high, alone=1.0):
    """What was found of the sum, with a test of such a share."""
    rungs = rungs_of(lines(0.9), ["sum"])
    found = rungs.at("sum", SITE)
    tests = rungs.given("sum", SITE, ["x"])
    assert tests.tests[0].alone == pytest.approx(1.0, abs=0.01)
    one = replace(tests.tests[0], share=Recovered(share, low, high), alone=alone)
    return replace(found, given=replace(tests, tests=(one,)))


def test_a_test_takes_a_rung_or_leaves_it_and_never_makes_it_fail():
    for share, expected in [
        ((1.0, 0.9, 1.1), BOTH),
        ((0.5, 0.1, 1 - SLOPE), BOTH),
        ((0.5, 0.1, 1 - SLOPE - 1e-6), ("holds", "cannot be told")),  # distinguishably less than all
        ((0.5, 0.1, 0.6, 0.6), BOTH),  # the whole variable makes no more
        ((0.1, NOTHING, 0.2), OPEN),
        ((-0.5, -0.6, -0.4), OPEN),
        ((math.nan, math.nan, math.nan), OPEN),
    ]:
        found = given(*share)
        assert (necessary(found).state, sufficient(found).state) == expected
        worse = replace(found, exact=0.9, interchange=replace(found.interchange, null_space=0.0))
        assert necessary(worse).state == "does not hold"  # whatever the test says


def test_blocks_of_the_fit_are_in_the_interval():
    """A blurred code of the sum: the pattern has a chance covariance with it, of which held rows know nothing."""
    rungs = rungs_of(lines(0.95, blur=0.2), ["x"])
    share = rungs.given("x", SITE, ["x"]).tests[0].share
    sharp = rungs_of(lines(0.95), ["x"]).given("x", SITE, ["x"]).tests[0].share
    assert share.low < 0 < share.high and share.high - share.low > 0.01
    assert sharp.high - sharp.low < 1e-6  # the control: the sum's own direction is exact, and the pattern is


@pytest.mark.long
@pytest.mark.parametrize(
    ("d", "rows", "blur", "r"), [(8, 600, 0.1, 0.95), (16, 1000, 0.1, 0.97), (32, 1000, 0.2, 0.97)]
)
def test_an_unread_correlate_stands_no_more_often_than_chance(d, rows, blur, r):
    runs, stood, covered = 200, 0, 0
    for seed in range(runs):
        rungs = rungs_of(lines(r, seed, d, rows, blur=blur), ["x"])
        share = given_tests(rungs.cell(SITE), rungs.variables["x"], ["sum"]).tests[0].share
        stood, covered = stood + (share.low > NOTHING), covered + (share.low <= 0 <= share.high)
    assert stood <= binom.ppf(0.995, runs, 0.025)
    assert covered >= binom.ppf(0.005, runs, 0.95)


# what is written, printed and drawn


@functools.cache
def report():
    quick = {
        "targets": ["sum"],
        "sites": [SITE],
        "positions": ["last"],
        "no_mlp": True,
        "twins": 19,
        "frequencies": 1,
        "period": 5,
        "small_periods": (2,),
        "subspace_draws": 1,
        "fourier_permutations": 19,
    }
    return probe(*lines(0.985), ProbeOptions(claims=["x", "sum"], **quick))


def test_the_ladder_of_a_correlate_stops_at_geometric_and_says_from_what_it_cannot_be_told():
    by_name = {one.variable: one for one in report().ladder}
    assert (by_name["x"].rung, by_name["sum"].rung) == ("geometric", "sufficient")
    assert by_name["x"].stopped_by.startswith("necessary: cannot be told: x from sum (r = 0.98); ")
    assert "; swapped, " in by_name["x"].stopped_by and "the probe's own direction" in by_name["x"].stopped_by
    text = io.StringIO()
    print_said(report().said.also[0], Console(file=text, width=3000))
    assert "  ?     necessary: cannot be told: x from sum (r = 0.98); " in text.getvalue()
    assert "given x (r = 0.98), the rest of sum makes 100.0% " in text.getvalue()  # the control


def test_the_record_has_each_test_and_the_rungs_that_stand():
    of = report()
    record = json.loads(to_json(ladder_record(of.checkpoint, of.data, of.behaviour, of.ladder)))
    for claim, other, expected in [("x", "sum", []), ("sum", "x", ["necessary", "sufficient"])]:
        (site,) = next(one for one in record["claims"] if one["variable"] == claim)["sites"]
        (test,) = site["causal"]["given"]["tests"]
        assert (test["given"], test["stands"]) == (other, expected)
        assert set(test["share"]) == {"fraction", "low", "high"} and test["r"] == pytest.approx(0.985, abs=0.01)
        assert 0 <= site["causal"]["given"]["probe_exact"] <= 1


def test_what_was_told_apart_is_a_table_of_what_the_ladder_says():
    (apart,) = (one for one in report().said.also[0].blocks if one.kind == "table")
    assert [(row[0], row[2], row[-1]) for row in apart.rows] == [
        ("x", "sum", "nothing: cannot be told from it"),
        ("sum", "x", "necessary, sufficient"),
    ]


def test_the_picture_says_with_what_it_goes():
    by_name = {one.variable: one.own.evidence for one in report().ladder}
    rows = [(name, [(one.rung, one.state, one.value) for one in found]) for name, found in by_name.items()]
    axes = ladder_chart(rows, [one.rung for one in by_name["x"]], None).axes[0]
    cells = [text.get_text() for text in axes.texts]
    assert cells.count("? r 0.98 with sum\ncannot be told") == 2  # of x
    assert sum("slope 1.0" in text for text in cells) == 1  # of the sum
