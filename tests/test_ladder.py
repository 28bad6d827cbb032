"""The ladder of evidence: every planted variable ends at its rung, and what stops it is the next."""

import copy
import dataclasses
import functools
import io
import json
import math
import re
from dataclasses import replace
from typing import get_args
from unittest import mock

import pytest
import torch
from micro import one_thread  # noqa: F401
from planted_rows import some
from rich.console import Console
from scipy.stats import binom

from arithprobe.analysis.ladder.causal import CausalRungs, RandomCost, chance_of
from arithprobe.analysis.ladder.causal_rules import necessary, sufficient
from arithprobe.analysis.ladder.record import THRESHOLDS, ladder_record, state_of_step
from arithprobe.analysis.ladder.rules import RUNGS
from arithprobe.analysis.ladder.run import climb
from arithprobe.analysis.ladder.said import said_of
from arithprobe.analysis.probe import plan as probe_plan
from arithprobe.analysis.probe.options import ProbeOptions
from arithprobe.analysis.probe.run import probe
from arithprobe.analysis.progress import Progress
from arithprobe.cli.terminal import print_said
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.tsv import format_tsv, parse_tsv
from arithprobe.files import to_json
from arithprobe.interventions.bench import halves_of
from arithprobe.logic import CANNOT_BE_TOLD, FAILS, State
from arithprobe.planted.circuits import adder, clock, direction
from arithprobe.planted.rungs import PLANTED, backed_up, many_handed_clock, overshooting, untrained
from arithprobe.plotting.ladder import ladder_chart
from arithprobe.probes.claims import Claim, ClaimScores
from arithprobe.probes.interval import TOO_FEW_GROUPS
from arithprobe.probes.selective import beside_untrained
from arithprobe.problems.circles import Circle
from arithprobe.problems.grammar import Problem
from arithprobe.said.content import Words

pytestmark = pytest.mark.slow  # the thresholds too are told from a report
MORE = {clock: ["sum", "residuemod13f1+2"]}  # claims that PLANTED does not have
CASES = list(dict.fromkeys(one.case for one in PLANTED))
ROWS = 500
JUST = 1e-6  # beside a threshold


@pytest.fixture(scope="module", autouse=True)
def _few_rows_beside_untrained_networks():
    """Nineteen of them for each model; what they read shows in half of the rows, and a third of the time."""
    with mock.patch.multiple("arithprobe.analysis.probe.untrained", ROWS=250, ROWS_A_DIMENSION=0):
        yield


def options(claims, **more):
    """As little as can be beside the ladder; a period that is not the modulus leaves single frequencies alone."""
    quick = {
        "targets": ["sum"],
        "sites": ["final"],
        "positions": ["last"],
        "no_mlp": True,
        "twins": 19,
        "frequencies": 1,
        "period": 5,
        "max_examples": 260,
        "small_periods": (2,),
        "subspace_draws": 1,
        "fourier_permutations": 19,
    }
    return ProbeOptions(claims=claims, **(quick | more))


@functools.cache
def told(case):
    """One probe of a model, with all that is claimed of it; what counted its steps, and the steps that were told."""
    claims = [one.variable for one in PLANTED if one.case is case] + MORE.get(case, [])
    chosen = options(claims, twins=1 if case is untrained else 19)
    steps = []
    progress = Progress(lambda *step: steps.append(step))
    return probe(*some(case, ROWS), chosen, progress), progress, steps


def report(case):
    return told(case)[0]


def ladder(case, variable):
    return next(one for one in report(case).ladder if one.variable == variable)


@pytest.mark.parametrize("one", PLANTED, ids=lambda one: f"{one.case.__name__}-{one.variable}")
def test_a_planted_variable_ends_at_its_rung_stopped_by_the_next(one):
    found = ladder(one.case, one.variable)
    assert found.rung == one.rung
    rungs = [evidence.rung for evidence in found.own.evidence]
    assert rungs == list(RUNGS[1 : 1 + len(rungs)])
    height = RUNGS.index(one.rung)
    assert all(evidence.passed for evidence in found.own.evidence[:height])
    if one.rung == "sufficient":
        assert found.stopped_by == ""
        return
    stop = found.own.evidence[height]
    assert not stop.passed
    assert found.stopped_by == f"{RUNGS[height + 1]}: {stop.reason}"


@pytest.mark.parametrize("case", CASES)
def test_only_what_is_read_well_and_geometric_is_intervened_on(case):
    learned = report(case).behaviour.verdict != "NOT LEARNED"
    for claim in report(case).ladder:
        assert claim.own in claim.sites
        for one in claim.sites:
            tried = learned and one.read.r2 >= 0.95 and all(evidence.passed for evidence in one.evidence[:4])
            assert (one.causal is not None) == tried == (len(one.evidence) == 6)


@pytest.mark.parametrize(("case", "rung"), [(backed_up, "geometric"), (overshooting, "necessary")])
def test_a_claim_stands_at_its_earliest_site_and_a_later_one_may_be_higher(case, rung):
    """From resid_mid.1 on the last token has the whole answer, whatever share it has before."""
    found = ladder(case, "sum")
    assert (found.own.site, found.rung) == ("resid_mid.0", rung)
    assert (found.higher.site, found.higher.rung, found.higher.stopped_by) == ("resid_mid.1", "sufficient", "")
    control = ladder(adder, "sum")
    assert (control.own.site, control.higher) == ("resid_mid.0", None)


def test_sufficient_without_necessary_is_not_a_rung():
    """The sum of the clock moves the answers as it should; but so fine a line does not survive random subspaces.

    Without it nothing is left, but random subspaces cost skill too: that is no evidence that it is not necessary.
    """
    found = ladder(clock, "sum")
    *_, need, move = found.own.evidence
    assert (need.state, move.state) == ("cannot be told", "holds")
    assert "subspaces cost" in need.reason.partition(";")[0]
    assert found.own.causal.skill_left < 0.1  # destroyed it is
    assert (found.rung, found.stopped_by.partition(":")[0]) == ("geometric", "necessary")


@pytest.mark.parametrize("variable", ["x1", "summod10f1"])
def test_what_nothing_reads_is_not_necessary_however_it_is_moved(variable):
    found = ladder(adder, variable)
    for one in found.sites:
        assert one.causal.skill_left > 0.95
        assert one.rung == "geometric"
    assert ladder(adder, "sum").own.causal.skill_left < 0.05  # the control


def test_moving_x1_moves_the_sum_and_makes_x1_no_higher():
    slope = ladder(adder, "x1").own.causal.steering.slope.fraction
    assert slope > 0.5
    assert ladder(clock, "x1").sites[1].causal.steering.slope.fraction == pytest.approx(0, abs=0.01)  # no sum beside it


@pytest.mark.parametrize(
    "sites",
    [
        ["embed", "resid_post.0"],
        pytest.param(["final"], marks=pytest.mark.long),
        pytest.param(["embed", "resid_mid.1"], marks=pytest.mark.long),
    ],
)
def test_planes_are_taken_out_where_the_circle_was_surveyed_and_nowhere_else(sites):
    """Of the residue, whose planes are those of the answers; the ladder looks at all sites in any case."""
    found = probe(*some(clock, ROWS), options(["residuemod13f1"], period=None, frequencies=2, sites=sites))
    surveyed = [*dict.fromkeys([*sites, "final"])]
    assert found.circle.sites == tuple(surveyed)
    assert [one.site for one in found.planes] == surveyed
    for one in found.planes:
        assert one.key == (() if one.site == "embed" else (1,))
    assert (found.ladder[0].rung, found.ladder[0].own.site) == ("sufficient", "resid_post.0")


def test_a_circle_is_taken_out_with_all_frequencies_that_carry_it_and_only_those():
    assert ladder(many_handed_clock, "residue").own.frequencies == (1, 3, 5)
    assert ladder(clock, "residue").own.frequencies == (1,)
    assert ladder(many_handed_clock, "residue").own.causal.target == "residuemod13f1+3+5"
    assert ladder(many_handed_clock, "residuemod13f3").own.causal.rank == 2
    assert ladder(adder, "sum").own.frequencies == ()


def test_the_rank_and_the_rest_of_the_states_are_told():
    one = ladder(adder, "sum").own.causal
    assert (one.rank, one.intact_exact, one.only_head_remains) == (1, 1.0, False)
    assert one.held_out_r2 > 0.999
    assert one.kept_skill > 0.99 > 0.5 > one.skill  # with nothing but the sum all answers are right
    assert ladder(adder, "x1").own.causal.kept_skill < 0.1  # the control
    assert 0 < one.variance < 0.2
    assert [family.family for family in one.random] == ["isotropic", "outside", "shuffled"]
    assert ladder(adder, "sum").sites[-1].causal.only_head_remains


def test_without_untrained_networks_what_is_selective_cannot_be_told():
    names = ["sum", "x1"]
    found = probe(*some(adder, ROWS), options(names, twins=0)).ladder
    for one in found:
        assert one.rung == "decodable"
        why = "cannot be told: no untrained network was probed (twins is 0)"
        assert one.stopped_by.startswith(f"selective: {why}") and one.own.evidence[2].state == "cannot be told"
        assert one.own.causal is None
    assert [ladder(adder, name).rung for name in names] == ["sufficient", "geometric"]  # the control: with one


class AskedForError(Exception):
    """In the place of interventions: says what they were asked for."""


def unintervened(targets, sites):
    raise AskedForError(targets, sites)


def test_a_model_that_has_not_learned_is_at_no_rung_and_nothing_is_intervened_on(monkeypatch):
    monkeypatch.setattr(probe_plan, "CausalRungs", lambda loaded, dataset, *words: unintervened(*words[:2]))
    found = probe(*some(untrained, ROWS), options(["sum", "x"], period=None, twins=1))
    assert found.planes == ()
    for one in found.ladder:
        assert one.own.read.r2 > 0.8  # it can be read all the same
        assert one.own.evidence[1].passed
        assert one.rung == "none" and one.stopped_by.startswith("behaviour: NOT LEARNED")
        assert all(site.causal is None for site in one.sites)
    with pytest.raises(AskedForError, match="sum"):  # the control
        probe(*some(backed_up, ROWS), options(["sum"]))


@pytest.mark.parametrize("case", CASES)
def test_every_step_is_expected_before_it_starts_and_starts(case):
    found, progress, steps = told(case)
    tried = [f"ladder: {one.variable} at {at.site}" for one in found.ladder for at in one.sites if at.causal]
    assert [name for name, *_ in steps if name.startswith("ladder: ")] == tried
    assert bool(tried) == (found.behaviour.verdict != "NOT LEARNED")
    assert [done for _, done, _ in steps] == list(range(progress.total)) and progress.done == progress.total
    totals = [total for *_, total in steps]
    begins = {name: number for number, (name, *_) in enumerate(steps)}
    grown = {number for number in range(1, len(totals)) if totals[number] > totals[number - 1]}
    first_plane = next((number for name, number in begins.items() if name.startswith("frequencies at ")), None)
    assert grown <= {begins.get("ladder"), first_plane}  # what they take is not known before


def problems(pairs):
    text = format_tsv(Problem(x, y) for x, y in pairs)
    return ArithmeticDataset(parse_tsv(text.encode(), "made"))


@functools.cache
def coarse():
    """The adder, off by 40 as it reads x1 besides; some 390 rows of nearly one sum, and among them 200 of all."""
    loaded, every = adder()
    model = copy.deepcopy(loaded.model)
    model.readout.weight[0] += 0.1 * direction("x1")
    drawn = torch.randint(110, 980, (400,), generator=torch.Generator().manual_seed(0)).tolist()
    alike = list(dict.fromkeys((x, 1099 - x + number % 41 - 20) for number, x in enumerate(drawn)))
    pairs = [*zip(every.x[:200].tolist(), every.y[:200].tolist(), strict=True)]
    for place, pair in zip(evenly(len(alike) + len(pairs), len(alike)), alike, strict=True):
        pairs.insert(place, pair)
    return loaded._replace(model=model), pairs


def evenly(count, most):
    """Where rows are taken from a longer file: its first, its last, and the others as far apart."""
    return [round(number * (count - 1) / (most - 1)) for number in range(most)]


def test_where_the_held_rows_alone_are_not_learned_the_evidence_says_so():
    """Skill is told from all rows, interventions from some: of sums all alike, errors are all there is."""
    loaded, pairs = coarse()
    (few,) = probe(loaded, problems(pairs), options(["sum"], max_examples=len(pairs) - 200)).ladder
    assert few.own.evidence[0].passed  # the model has learned
    found = few.own.causal
    note = f"these {found.n} rows alone do not say that the task is learned"
    for family in found.random:
        assert math.isnan(family.skill_lost)
        assert family.note == note or (family.family == "outside" and math.isnan(family.exact_lost))
    assert {family.family for family in found.random if family.note == note} >= {"isotropic", "shuffled"}
    need = next(one for one in few.own.evidence if one.rung == "necessary")
    assert need.state == "cannot be told" and need.reason.startswith("cannot be told: ") and not found.learned
    assert f"isotropic: {note}" in need.reason and f"shuffled: {note}" in need.reason
    every = CausalRungs(loaded, problems(pairs), ["sum"], [found.site])  # the control
    assert every.at("sum", found.site).learned
    for family in every.at("sum", found.site).random:
        assert "NOT LEARNED" not in family.note and not math.isnan(family.skill_lost)


# thresholds


def test_the_thresholds_written_are_these():
    assert THRESHOLDS == {
        "skill_floor": 0.05,
        "level": 0.05,
        "fewest_twins": 19,
        "margin_r2": 0.05,
        "readable_r2": 0.95,
        "carried_r2": 0.5,
        "skill_left": 0.1,
        "exact_chances": 2.0,
        "random_cost": 0.05,
        "shuffled_cost": 0.5,
        "slope": 0.1,
        "swapped": 0.1,
    }


def causal(**changed):
    """What was found of the adder's sum, but for some figures."""
    return replace(ladder(adder, "sum").own.causal, **changed)


def test_destroyed_is_a_tenth_of_the_intact_skill():
    limit = THRESHOLDS["skill_left"]
    for intact in (1.0, 0.5):
        assert necessary(causal(intact_skill=intact, skill=intact * limit - JUST)).passed
        assert not necessary(causal(intact_skill=intact, skill=intact * limit + JUST)).passed


@pytest.mark.parametrize("chance", [0.1, 0.01])
def test_exact_answers_may_be_twice_those_of_a_guess_within_the_interval(chance):
    """So many exact answers of 1000 that twice the chance would make fewer 2.5 % of the time, by the binomial."""
    n, twice = 1000, THRESHOLDS["exact_chances"] * chance
    most = int(binom.ppf(0.975, n, twice))
    passed = [hits for hits in range(n) if necessary(causal(n=n, chance=chance, exact=hits / n)).passed]
    assert passed == list(range(len(passed)))
    assert abs(len(passed) - 1 - most) <= 2  # the interval is one of several
    assert len(passed) - 1 > twice * n  # the control: more than twice a guess


def costs(**lost):
    """All families cost nothing, but for some."""
    harmless = {"isotropic": 0.0, "outside": 0.0, "shuffled": 0.0}
    return tuple(cost(family, value) for family, value in (harmless | lost).items())


def cost(family, lost):
    return RandomCost(family, lost, 0.0, 0.5, "" if lost == lost else "there are none")


@pytest.mark.parametrize("family", ["isotropic", "outside"])
def test_random_subspaces_may_cost_less_than_a_twentieth_of_the_skill(family):
    limit = THRESHOLDS["random_cost"]
    other = {"isotropic": "outside", "outside": "isotropic"}[family]
    for lost, state in [(limit - JUST, "holds"), (limit, "cannot be told")]:
        found = necessary(causal(random=costs(**{family: lost, other: 0.0})))
        assert found.state == state
        assert found.reason.startswith(f"cannot be told: {family} subspaces cost 5.0% of the skill too; ") == (
            lost == limit
        )


def test_the_blind_family_has_to_be_there_and_the_one_outside_need_not():
    none = necessary(causal(random=costs(isotropic=math.nan)))
    assert none.state == "cannot be told" and none.reason.startswith("cannot be told: isotropic: there are none; ")
    outside = necessary(causal(random=costs(outside=math.nan)))
    assert outside.state == "holds" and "outside: there are none" in outside.reason


@pytest.mark.parametrize("random", [{"isotropic": math.nan}, {"outside": 0.9}, {"shuffled": math.nan}])
def test_what_is_not_destroyed_is_not_necessary_whatever_control_is_missing(random):
    for changed in ({"skill": 0.9}, {"exact": 0.9}):
        assert necessary(causal(**changed, random=costs(**random))).state == "does not hold"
    assert necessary(causal(random=costs(**random))).state == "cannot be told"  # the control


@pytest.mark.parametrize("left", [0.0, 0.08])
def test_labels_that_say_nothing_may_cost_half_of_what_the_variable_costs(left):
    """What LEACE takes out for them is one of the few dimensions in which states vary: it costs its share of all."""
    limit = THRESHOLDS["shuffled_cost"] * (1 - left)
    for lost, passed in [(0.0, True), (limit - JUST, True), (limit + JUST, False), (1.0, False), (math.nan, False)]:
        found = necessary(causal(intact_skill=1.0, skill=left, random=costs(shuffled=lost)))
        assert found.state == ("holds" if passed else "cannot be told"), lost
    shown = necessary(causal(random=costs(shuffled=0.3))).reason
    assert "shuffled subspaces of rank 1 cost 30.0% of the skill and 0.0 points of exact answers (p = 0.50)" in shown


def steered(slope, random=0.0):
    curve = causal().steering
    moved = curve.slope._replace(fraction=slope)
    return replace(curve, slope=moved, random_slopes=torch.full_like(curve.random_slopes, random))


def swapped(share=1.0, null_space=0.0, p=0.05):
    swap = causal().interchange
    return replace(swap, recovered=swap.recovered._replace(fraction=share), null_space=null_space, p=p)


def test_the_slope_is_1_within_a_tenth_and_random_patterns_do_not_have_it():
    limit = THRESHOLDS["slope"]
    for sign in (-1, 1):
        assert sufficient(causal(steering=steered(1 + sign * (limit - JUST)))).passed
        assert not sufficient(causal(steering=steered(1 + sign * (limit + JUST)))).passed
        assert sufficient(causal(steering=steered(1.0, sign * (1 - limit - JUST)))).passed
        assert not sufficient(causal(steering=steered(1.0, sign * (1 - limit)))).passed


def test_a_swap_makes_the_whole_shift_within_a_tenth_and_more_than_random_ones():
    limit, level = THRESHOLDS["swapped"], THRESHOLDS["level"]
    for sign in (-1, 1):
        assert sufficient(causal(interchange=swapped(1 + sign * (limit - JUST)))).passed
        assert not sufficient(causal(interchange=swapped(1 + sign * (limit + JUST)))).passed
    assert sufficient(causal(interchange=swapped(p=level))).passed
    assert not sufficient(causal(interchange=swapped(p=level + JUST))).passed
    for sign in (-1, 1):
        assert sufficient(causal(interchange=swapped(null_space=sign * (THRESHOLDS["slope"] - JUST)))).passed
        assert not sufficient(causal(interchange=swapped(null_space=sign * (THRESHOLDS["slope"] + JUST)))).passed
    shown = sufficient(causal(interchange=swapped(null_space=0.07, p=0.25))).reason
    assert "p = 0.25; the part that the rest of the model does not see 7.0%)" in shown


@pytest.mark.parametrize("missing", ["steering", "interchange"])
def test_where_arithmetic_says_nothing_or_figures_are_missing_nothing_is_sufficient(missing):
    found = sufficient(causal(**{missing: None}))
    assert found.state == "cannot be told"
    why = "arithmetic does not say how the answer changes with sum, or sum never differs"
    assert found.reason.startswith(f"cannot be told: {why}; ")
    other = {"steering": {"interchange": swapped(0.5)}, "interchange": {"steering": steered(0.5)}}[missing]
    fails = sufficient(causal(**{missing: None}, **other))  # what is known is enough
    assert fails.state == "does not hold" and fails.reason.endswith(f"; {why}")
    assert sufficient(causal(steering=None, interchange=None)).reason == f"cannot be told: {why}"
    assert sufficient(causal()).passed and "cannot be told" not in sufficient(causal()).reason  # the control
    assert not sufficient(causal(steering=steered(math.nan))).passed
    assert not sufficient(causal(interchange=swapped(math.nan))).passed


@pytest.mark.parametrize(
    ("target", "r2", "reason"),
    [
        ("sum", 0.5 - JUST, "the probe reads sum with R2 0.50 only from the rows intervened on"),
        ("sum", 0.5, "arithmetic does not say how the answer changes with sum, or sum never differs"),
        ("residuemod4f1+2", 0.9, "frequency 2 of 4 has only a cosine, so it cannot be turned"),
        ("residuemod5f1+2", 0.9, "arithmetic does not say how the answer changes with residuemod5f1+2"),
    ],
)
def test_why_it_cannot_be_told_is_said(target, r2, reason):
    found = sufficient(causal(target=target, held_out_r2=r2, steering=None))
    assert found.state == "cannot be told" and found.reason.startswith(f"cannot be told: {reason}")


def read(name="sum", frequencies=None, **changed):
    """Scores of a claim at one site that pass everything, but for some figures; too low to intervene."""
    circle = None if frequencies is None else Circle("residue", 13, frequencies)
    passing = {
        "r2": 0.94,
        "low": 0.93,
        "high": 0.95,
        "p": 0.05,
        "null_high": 0.01,
        "task_on_pairs": 0.94,
        "control_on_pairs": 0.0,
        "relabelled": 0.1,
        "neighbour": math.nan if circle is None else 0.1,
        "lead": math.nan if circle is None else 9.0,
    }
    count = 1 if frequencies is None else len(frequencies)
    figures = {
        key: torch.as_tensor(value, dtype=torch.float64).expand(count).reshape(count, 1)
        for key, value in (passing | changed).items()
    }
    return ClaimScores(Claim(name, circle), ("resid_post.0",), **figures)


def beside(scores, *twins):
    """A claim beside untrained networks, each with one R2, or one a frequency."""
    values = [torch.tensor(one, dtype=torch.float64).reshape(-1, 1).expand_as(scores.r2) for one in twins]
    return beside_untrained([scores.r2], [values])


def evidence(scores, *twins, of=19):
    """What is said of the rungs that need no intervention, by rung; as many untrained networks, the others with 0.5."""
    (found,) = climb(
        report(adder).behaviour, [scores], beside(scores, *twins, *[0.5] * (of - len(twins))), unintervened
    )
    return {one.rung: one for one in found.own.evidence}


def passed(rung, twin=0.5, **changed):
    return evidence(read(**changed), twin)[rung].passed


def test_decodable_is_above_shuffled_labels_by_its_interval():
    decodable = functools.partial(passed, "decodable")
    assert decodable()
    assert not decodable(p=THRESHOLDS["level"] + JUST)
    assert decodable(low=0.01 + JUST)
    assert not decodable(low=0.01)
    assert not decodable(r2=math.nan, low=math.nan)
    assert not decodable(r2=0.0, low=-0.1, null_high=-0.2)  # better than bad is not good


def test_what_has_no_interval_cannot_be_told_and_says_why_and_what_is_not_there_still_fails():
    found = evidence(read(low=math.nan), 0.5)
    assert [found[rung].state for rung in ("decodable", "geometric")] == ["cannot be told"] * 2
    assert all(TOO_FEW_GROUPS in found[rung].reason for rung in ("decodable", "geometric"))
    assert found["selective"].passed  # it is asked of untrained networks, not of the interval
    assert evidence(read(low=math.nan, p=0.5), 0.5)["decodable"].state == "does not hold"


def test_selective_is_above_the_control_task_and_the_untrained_network():
    limit, selective = THRESHOLDS["margin_r2"], functools.partial(passed, "selective")
    assert selective(control_on_pairs=0.94 - limit - JUST)
    assert not selective(control_on_pairs=0.94 - limit + JUST)
    assert not selective(task_on_pairs=limit, control_on_pairs=-3.0)  # below 0 counts as 0
    assert selective(twin=0.94 - JUST)
    assert not selective(twin=0.94)
    assert not selective(task_on_pairs=math.nan)


def test_where_nothing_can_be_memorised_the_untrained_network_decides_and_it_is_said():
    nothing = read(task_on_pairs=math.nan, control_on_pairs=math.nan)
    found = evidence(nothing, 0.94 - JUST)["selective"]
    assert found.passed and found.reason.endswith("no control task: no value occurs often enough to be memorised")
    assert not evidence(nothing, 0.94)["selective"].passed
    assert "no control task" not in evidence(read(), 0.5)["selective"].reason  # the control


@pytest.mark.parametrize("worst", [0, 9, 18])
def test_the_worst_of_the_untrained_networks_counts(worst):
    twins = [0.1 + number / 100 for number in range(19)]
    assert evidence(read(), *twins)["selective"].passed
    twins[worst] = 0.99
    found = evidence(read(), *twins)["selective"]
    assert found.state == "does not hold" and "the highest of 19 untrained networks 0.990, p = 0.100" in found.reason


@pytest.mark.parametrize("few", [1, 18])
def test_fewer_than_19_untrained_networks_never_make_selective(few):
    found = evidence(read(), of=few)["selective"]
    why = f"cannot be told: needs 19 untrained networks for p = 0.05, twins is {few}"
    assert found.state == "cannot be told" and found.reason.startswith(why)
    assert evidence(read(), 0.99, of=few)["selective"].state == "does not hold"  # read better by one of them
    assert evidence(read(), of=19)["selective"].passed  # the control


def test_geometric_is_above_its_values_renamed_by_a_margin_and_above_other_periods():
    line, limit = functools.partial(passed, "geometric"), 0.93 - THRESHOLDS["margin_r2"]
    circle = functools.partial(line, name="residue", frequencies=(3,))
    for shape in (line, circle):
        assert shape()
        assert shape(relabelled=limit - JUST)
        assert not shape(relabelled=limit + JUST)
        assert not shape(r2=0.1, low=-JUST, relabelled=-0.5)  # better than bad is not good
    assert circle(lead=1.96 + JUST)
    assert not circle(lead=1.96 - JUST)
    states = {
        value: evidence(read("residue", (3,), lead=value))["geometric"].state for value in (1.9, -1.9, -2, math.nan)
    }
    assert states == {1.9: CANNOT_BE_TOLD, -1.9: CANNOT_BE_TOLD, -2: FAILS, math.nan: CANNOT_BE_TOLD}


@pytest.mark.parametrize(
    ("frequencies", "reason"),
    [(None, "two values lie on a line in any order"), ((3,), "two or three values always lie on a circle")],
)
def test_of_too_few_values_no_shape_can_be_told_and_nothing_is_geometric(frequencies, reason):
    name = "sum" if frequencies is None else "residue"
    found = evidence(read(name, frequencies, relabelled=math.nan), 0.5)["geometric"]
    assert found.state == "cannot be told" and found.reason.startswith(f"cannot be told: {reason}; ")
    fails = evidence(read(name, frequencies, relabelled=math.nan, low=-JUST), 0.5)["geometric"]
    assert fails.state == "does not hold" and fails.reason.endswith(f"; {reason}")  # better than bad is not good
    assert evidence(read(name, frequencies), 0.5)["geometric"].passed  # the control


UNLIKE = {"r2": [0.3, 0.94], "low": [0.2, 0.93], "p": [0.9, 0.05], "relabelled": [0.9, 0.1]}


def test_the_rungs_of_the_residue_are_those_of_the_frequency_that_is_read_best():
    scores = read("residue", (1, 4), **UNLIKE)
    found = evidence(scores, *[[0.99, 0.0]] * 19)
    assert all(one.passed for one in found.values())
    assert "residue, frequency 4 at resid_post.0@last" in found["decodable"].reason
    other = evidence(scores._replace(r2=scores.r2.flip(0)), *[[0.99, 0.0]] * 19)  # the control: frequency 1
    assert [one.passed for one in other.values()] == [True, False, False, False]


def test_the_rungs_of_planes_claimed_by_name_are_those_of_the_frequency_that_is_read_worst():
    scores = read("residuemod13f1+4", (1, 4), **UNLIKE)
    found = evidence(scores, *[[0.99, 0.0]] * 19)
    assert [one.passed for one in found.values()] == [True, False, False, False]
    assert "residuemod13f1+4, frequency 1 at resid_post.0@last" in found["decodable"].reason
    both = scores._replace(**{name: getattr(scores, name)[[1, 1]] for name in UNLIKE})  # the control
    assert all(one.passed for one in evidence(both).values())


def test_planes_claimed_by_name_are_intervened_on_where_all_of_them_are_read_well():
    both = [0.99, THRESHOLDS["readable_r2"]]
    assert asked(read("residuemod13f1+4", (1, 4), r2=both)) == (["residuemod13f1+4"], ["resid_post.0"])
    found = asked(read("residuemod13f1+4", (1, 4), r2=[0.99, 0.94]))
    assert found == "necessary: cannot be told: R2 0.940 is the highest, below 0.95: it was not taken out"
    assert asked(read("residue", (1, 4), r2=[0.99, 0.94])) == (["residuemod13f1+4"], ["resid_post.0"])  # any is enough


def test_a_frequency_that_is_claimed_by_name_and_not_there_is_no_better_for_one_that_is():
    """The clock has frequency 1 alone."""
    assert [ladder(clock, name).rung for name in ("residuemod13f1", "residuemod13f1+2")] == ["sufficient", "behaviour"]
    missing = ladder(clock, "residuemod13f1+2").own.evidence[1]
    assert not missing.passed and missing.reason.startswith("residuemod13f1+2, frequency 2 at ")


def test_the_rows_of_a_sorted_file_are_as_those_of_a_shuffled_one():
    """Some of them, from all over the file: the first of a sorted one have small numbers alone."""
    loaded, every = adder()
    pairs = [*zip(every.x.tolist(), every.y.tolist(), strict=True)]
    for order in (pairs, sorted(pairs)):
        dataset = problems(order)
        fit, held = halves_of(dataset, 300)
        assert sorted([*fit.tolist(), *held.tolist()]) == evenly(len(dataset), 300)
        assert not set((dataset.x + dataset.y)[fit].tolist()) & set((dataset.x + dataset.y)[held].tolist())
        assert dataset.x[held].max() - dataset.x[held].min() > 700
    first, _ = halves_of(problems(sorted(pairs)[:300]), 300)  # the control: what the first rows would be
    assert max(x for x, _ in sorted(pairs)[:300]) < 500 and len(first) < 300
    found = probe(loaded, problems(sorted(pairs[:ROWS])), options(["sum", "x1"])).ladder
    rungs = [ladder(adder, name).rung for name in ("sum", "x1")]
    assert [one.rung for one in found] == rungs == ["sufficient", "geometric"]


def asked(scores):
    """The targets and sites that would be intervened on; else what stops it."""
    try:
        (found,) = climb(report(adder).behaviour, [scores], beside(scores, *[0.0] * 19), unintervened)
    except AskedForError as error:
        return error.args
    assert found.rung == "geometric" and found.own.causal is None
    return found.stopped_by


def test_a_site_is_intervened_on_from_an_r2_of_95_percent_on():
    limit = THRESHOLDS["readable_r2"]
    assert asked(read(r2=limit)) == (["sum"], ["resid_post.0"])
    assert asked(read(r2=limit - 0.001)).startswith("necessary: cannot be told: R2 0.949 is the highest, below 0.95")


def test_key_frequencies_that_carry_half_or_more_go_together():
    """Not what is too weak, not significant, or read as well from a neighbouring period."""
    limit, level = THRESHOLDS["carried_r2"], THRESHOLDS["level"]
    r2, p = [0.99, limit, limit - JUST, 0.9, 0.9], [level, level, level, level + JUST, level]
    scores = read("residue", (1, 2, 3, 5, 6), r2=r2, p=p, lead=[9.0, 9.0, 9.0, 9.0, 1.9])
    assert asked(scores) == (["residuemod13f1to2"], ["resid_post.0"])


def test_a_guess_is_right_as_often_as_two_rows_have_one_answer():
    answers = torch.tensor([3, 3, 3, 5, 5, 8])
    pairs = [(a, b) for a in range(6) for b in range(6) if a != b]
    expected = sum(int(answers[a] == answers[b]) for a, b in pairs) / len(pairs)
    assert chance_of(answers) == pytest.approx(expected)
    assert chance_of(torch.arange(50)) == 0


# what is written and printed


def strict(text):
    """JSON as RFC 8259 has it: no NaN, no Infinity, no name twice."""

    def refuse(word):
        raise AssertionError(word)

    def once(pairs):
        assert len({key for key, _ in pairs}) == len(pairs)
        return dict(pairs)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=once)


@pytest.mark.parametrize("case", CASES)
def test_the_record_says_of_each_claim_its_rung_its_evidence_and_what_stops_it(case):
    of = report(case)
    record = strict(to_json(ladder_record(of.checkpoint, of.data, of.behaviour, of.ladder, ["one", "two"])))
    assert next(iter(record)) == "behaviour"
    assert (record["checkpoint"], record["data"], record["left_out"]) == (of.checkpoint, of.data, ["one", "two"])
    assert record["behaviour"]["verdict"] == of.behaviour.verdict
    assert record["rungs"] == list(RUNGS) and record["thresholds"] == THRESHOLDS
    assert [one["variable"] for one in record["claims"]] == [one.variable for one in of.ladder]
    for written, one in zip(record["claims"], of.ladder, strict=True):
        assert (written["rung"], written["stopped_by"]) == (one.rung, one.stopped_by)
        assert (written["site"], written["shape"]) == (one.own.site, one.shape)
        assert [(step["rung"], step["state"], step["passed"], step["reason"]) for step in written["evidence"]] == [
            (step.rung, step.state, step.state == "holds", step.reason) for step in one.own.evidence
        ]
        assert written["evidence"] == next(at for at in written["sites"] if at["site"] == one.own.site)["evidence"]
        assert [site["site"] for site in written["sites"]] == [site.site for site in one.sites]
        for site, own in zip(written["sites"], one.sites, strict=True):
            assert (site["causal"] is None) == (own.causal is None)
            if own.causal is not None and own.causal.steering is not None:
                assert site["causal"]["steering"]["slope"]["fraction"] == own.causal.steering.slope.fraction
                assert len(site["causal"]["interchange"]["random"]) == 19


def said(case):
    """What the ladder of a case says, without the verdict, which stands above it."""
    (ladder,) = report(case).said.also
    return dataclasses.replace(ladder, behaviour=None)


def printed(case):
    text = io.StringIO()
    print_said(said(case), Console(file=text, width=3000))
    return text.getvalue()


def test_what_is_printed_names_the_rung_and_what_stops_the_next():
    lines = printed(adder).partition("Told apart")[0].partition("Selective: ")[0].rstrip().splitlines()
    assert lines[0] == f"ladder of evidence ({' < '.join(RUNGS)}):"
    starts = [number for number, line in enumerate(lines) if number and not line.startswith(" ")]
    assert len(starts) == len(report(adder).ladder)
    for (first, last), one in zip(zip(starts, [*starts[1:], None], strict=True), report(adder).ladder, strict=True):
        block = lines[first:last]
        assert block[0].startswith(f"{one.variable} ") and f": {one.rung.upper()} at {one.own.site}@last" in block[0]
        stops = [line for line in block if line.startswith("  stopped by ")]
        rung, _, reason = one.stopped_by.partition(": ")
        rung += ": cannot be told" * reason.startswith("cannot be told: ")
        assert stops == ([f"  stopped by {rung}"] if one.stopped_by else [])
        said = [
            line.split(":")[0].split() for line in block[1:] if line.startswith(("  yes", "  NO", "  (yes)", "  ?"))
        ]
        above = RUNGS.index(one.rung)
        assert said == [
            [
                {"does not hold": "NO", "cannot be told": "?"}.get(step.state, "yes" if number < above else "(yes)"),
                step.rung,
            ]
            for number, step in enumerate(one.own.evidence[1:], start=1)
        ]


def test_what_is_higher_further_along_is_printed_and_where_only_the_readout_is_left_too():
    assert "  at a later site: sufficient at resid_mid.1@last\n" in printed(backed_up)
    assert "at a later site" not in printed(many_handed_clock)
    assert "residue round a circle at frequency 1, 3, 5: SUFFICIENT at resid_post.0@last" in printed(many_handed_clock)


def test_a_rung_above_one_that_fails_is_printed_in_brackets():
    block = printed(clock).partition("sum on a line: GEOMETRIC")[2].partition("stopped by")[0]
    marks = {line.split(":")[0].split()[1]: line.split()[0] for line in block.splitlines()[1:] if line.strip()}
    assert list(marks.values()) == ["yes", "yes", "yes", "?", "(yes)"] and list(marks) == list(RUNGS[2:])
    assert (
        "necessary: cannot be told"
        in printed(clock).partition("sum on a line: GEOMETRIC")[2].partition("stopped by")[2]
    )
    other = printed(clock).partition("residue round a circle")[2].partition("residuemod13f1 round a circle")
    assert "yes   sufficient" in other[0] and "(yes)" not in other[0] and other[2]  # the control


def test_without_claims_nothing_is_printed():
    text, of = io.StringIO(), report(adder)
    nothing = said_of(of.checkpoint, of.data, of.behaviour, (), ["everything of y: too few"])
    print_said(dataclasses.replace(nothing, behaviour=None), Console(file=text))
    assert text.getvalue() == ""
    why = said_of(of.checkpoint, of.data, of.behaviour, (), ["the ladder of evidence: no_ladder"])
    print_said(dataclasses.replace(why, behaviour=None), Console(file=text))
    assert text.getvalue() == "left out: the ladder of evidence: no_ladder\n"


@pytest.mark.parametrize("case", [adder, untrained])
def test_a_claim_is_said_in_the_tone_of_its_rung(case):
    tones = {f"{one.variable} ": one for one in report(case).ladder}
    headings = [one for one in said(case).blocks if isinstance(one, Words) and one.tone != "plain"]
    assert len(headings) == len(tones)
    for heading, (name, one) in zip(headings, tones.items(), strict=True):
        expected = (
            "bad"
            if one.rung in ("none", "behaviour")
            else "good"
            if one.rung in ("necessary", "sufficient")
            else "doubtful"
        )
        assert heading.text.startswith(name) and heading.tone == expected


def test_the_scores_of_a_ladder_are_a_row_for_each_site_tried():
    rows = [row for row in report(adder).scores() if row.score == "rungs"]
    expected = [(at.site, one.variable, at.height) for one in report(adder).ladder for at in one.sites]
    assert [(row.site, row.target, row.value) for row in rows] == expected
    slopes = {row[:3]: row for row in report(adder).scores() if row.score == "slope"}
    own = ladder(adder, "sum").own
    row = slopes[own.site, "last", "sum"]
    assert (row.value, row.low, row.high) == own.causal.steering.slope


# what pages and pictures make of it


def lines_of(variable):
    """What is said below the heading of a claim about the clock."""
    texts = [one.text for one in said(clock).blocks if isinstance(one, Words)]
    (at,) = (number for number, text in enumerate(texts) if text.startswith(f"{variable} "))
    return [line.strip() for line in texts[at + 1].splitlines()]


def recorded(one):
    of = report(clock)
    return json.loads(to_json(ladder_record(of.checkpoint, of.data, of.behaviour, [one])))


def test_it_is_said_what_cannot_be_told_and_why():
    lines = lines_of("sum")
    assert "stopped by necessary: cannot be told" in lines
    (why,) = (line.partition("cannot be told: ")[2] for line in lines if line.startswith("? "))
    assert "subspaces cost" in why.partition(";")[0]
    lines = lines_of("y1")  # the control
    assert "stopped by geometric" in lines and any(re.match(r"NO +geometric: a line: ", line) for line in lines)
    assert not any(line.startswith("stopped by") for line in lines_of("residue"))


def test_a_file_of_two_states_makes_a_picture_still():
    """As earlier versions wrote it."""
    record = recorded(ladder(clock, "sum"))
    steps = record["claims"][0]["evidence"]
    for step in steps:
        del step["state"]
    assert [state_of_step(step) for step in steps] == ["holds"] * 4 + ["cannot be told", "holds"]  # its reason says so
    steps[4]["reason"] = steps[4]["reason"].removeprefix("cannot be told: ")
    states = [state_of_step(step) for step in steps]
    assert states == ["holds"] * 4 + ["does not hold", "holds"]
    lines = [("sum", [(step["rung"], state, step["figure"]) for step, state in zip(steps, states, strict=True)])]
    assert "cannot be told" not in cells_of(lines)


def cells_of(lines):
    return "\n".join(text.get_text() for text in ladder_chart(lines, RUNGS[1:], None).axes[0].texts)


def test_the_picture_tells_the_states_apart_by_mark_frame_and_hatching_without_colours():
    lines = [(state, [("behaviour", state, "skill 1.00")]) for state in get_args(State)]
    axes = ladder_chart(lines, RUNGS[1:], None).axes[0]
    assert cells_of(lines).count("? skill 1.00\ncannot be told") == cells_of(lines).count("cannot be told") == 1
    first = [one for one in axes.patches if one.get_x() < 0]
    holds, fails, untold = (sum(one.get_facecolor()[:3]) / 3 for one in first)  # as bright as a grey
    assert holds < 0.5 < min(fails, untold) and [bool(one.get_hatch()) for one in first] == [False, False, True]
    assert first[1].get_linewidth() > first[2].get_linewidth()
    assert [text.get_text()[0] for text in axes.texts if text.get_position()[0] == 0] == ["✓", "✗", "?"]
    assert "not tried" in cells_of(lines)
    (legend,) = axes.figure.legends
    entries = " ".join(text.get_text() for text in legend.get_texts())
    assert all(state in entries for state in get_args(State))


def test_the_bar_of_a_line_stands_where_the_evidence_ends_and_what_holds_beyond_is_hollow():
    states = ("holds", "holds", "does not hold", "holds", "cannot be told")
    tried = [(rung, state, "1") for rung, state in zip(RUNGS[1:], states, strict=False)]
    axes = ladder_chart([("sum", tried), ("none", [("behaviour", "does not hold", "0")])], RUNGS[1:], None).axes[0]
    (bar,) = axes.lines
    assert (bar.get_gid(), *bar.get_xdata()) == ("reached", 1.5, 1.5)
    faces = [one.get_facecolor() for one in axes.patches if one.get_y() < 0]
    assert faces[0] == faces[1] != faces[3]
