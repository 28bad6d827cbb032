"""The planted truths are what ``planted`` says they are, by tools that know nothing of rungs."""

import functools

import pytest
import torch
from micro import one_thread  # noqa: F401
from planted_rows import some

from arithprobe.analysis.forward import random_init_twin, run_over
from arithprobe.analysis.intervene.options import InterveneOptions
from arithprobe.analysis.intervene.plan import IntervenePlan
from arithprobe.interventions.certificate import erased_moments, linear_r2
from arithprobe.interventions.directions import filter_and_pattern
from arithprobe.interventions.steering import steer_circle, steer_line
from arithprobe.planted.circuits import adder, clock, direction
from arithprobe.planted.rungs import PLANTED, backed_up, many_handed_clock, overshooting, untrained
from arithprobe.probes.moments import ALPHAS, alpha_choice
from arithprobe.probes.survey import RidgeSurvey, Split, Target
from arithprobe.probes.variables import variable_of

pytestmark = pytest.mark.slow(seconds=0.3)

ROWS = 800
RENAMED = [3, 8, 0, 5, 9, 2, 7, 1, 6, 4]
LOOKED_FOR = {
    untrained: ["sum"],
    adder: ["sum", "x", "x1", "renamed x1", "y1", "renamed y1", "summod10f1", "summod7f1"],
    clock: ["sum", "x1", "renamed x1", "y1", "renamed y1", "residuemod13f1", "residuemod13f2", "summod10f1"],
    many_handed_clock: ["residuemod13f3", "residuemod13f1+3+5"],
}
TAKEN_OUT = {
    (adder, "resid_mid.0"): ("sum", "x1", "y1"),
    (adder, "resid_post.0"): ("summod10f1",),
    (backed_up, "resid_mid.0"): ("sum",),
    (overshooting, "resid_mid.0"): ("sum",),
    (clock, "resid_post.0"): ("residuemod13f1", "x1", "y1"),
    (many_handed_clock, "resid_post.0"): ("residuemod13f3", "residuemod13f1+3+5"),
}
RIDGE = alpha_choice(ALPHAS)
WIRED = (adder, backed_up, overshooting, clock, many_handed_clock)
USED = [
    (adder, "sum", "resid_mid.0", 1.0),
    (overshooting, "sum", "resid_mid.0", 1.5),
    (clock, "residuemod13f1", "resid_post.0", 1.0),
    (many_handed_clock, "residuemod13f1+3+5", "resid_post.0", 1.0),
]


def last_token(rows):
    return rows.positions(["last"])


@functools.cache
def readable(case, twin=None):
    """Held-out R2 at the last token, by name and site; of ``renamed`` variables, for their values in another order."""
    loaded, rows = some(case, ROWS)
    loaded = loaded if twin is None else random_init_twin(loaded, twin)
    groups, sites = {}, loaded.model.residual_sites
    for name in LOOKED_FOR[case]:
        own = name.removeprefix("renamed ")
        columns = variable_of(own, rows).columns
        columns = columns if own == name else torch.tensor(RENAMED, dtype=torch.float64)[columns.long()]
        groups.setdefault(rows.group_of(own), []).append(Target(name, columns))
    surveys = [
        RidgeSurvey(rows, sites, last_token(rows), targets, Split(group, permutations=0), loaded.model.d_model)
        for group, targets in groups.items()
    ]
    run_over(loaded, rows, [survey.update for survey in surveys])
    scores = [one for survey in surveys for one in survey.scores("ridge")[0]]
    return {one.target: dict(zip(sites, one.r2[:, 0].tolist(), strict=True)) for one in scores}


@functools.cache
def cell_of(case, site):
    """A site of a model at the last token, with the targets that are taken out there."""
    options = InterveneOptions(
        targets=TAKEN_OUT[case, site], sites=(site,), positions=("last",), draws=19, no_mlp=True, no_patching=True
    )
    plan = IntervenePlan(*some(case, ROWS), options)
    return plan.bench().cell(site, plan.sets[0])


def without(case, name, site, families=()):
    """What LEACE of a variable costs under mean ablation, and the held-out R2 before and after."""
    cell = cell_of(case, site)
    own, eraser = cell.bench.columns_of(name), cell.eraser(name, "leace")
    before = linear_r2(cell.fit.columns(own), cell.held.columns(own))
    after = linear_r2(*(erased_moments(eraser, part).columns(own) for part in (cell.fit, cell.held)))
    return cell.ablate(eraser, "mean", families, 19, 0).effect, float(before[0]), float(after[0])


@functools.cache
def moved(case, name, site):
    """The slope of steering a variable, and its interchange."""
    cell = cell_of(case, site)
    variable, bench = variable_of(name, cell.bench.rows), cell.part
    fit = cell.fit.columns(cell.bench.columns_of(name)).cell(0)
    slope, intercept, pattern = (torch.from_numpy(one)[None] for one in filter_and_pattern(fit, RIDGE))
    if variable.circle is None:
        spread = float(variable.columns.std())
        curve = steer_line(bench, site, cell.table, name, pattern[..., 0], spread, 1.0, draws=0)
    else:
        turned = (variable.circle.period, variable.circle.frequencies)
        curve = steer_circle(bench, site, cell.table, name, (slope, intercept, pattern), *turned, draws=0)
    return curve.slope.fraction, cell.swap(cell.eraser(name, "leace"), 5, cell.bench.seed)


@pytest.mark.parametrize("case", WIRED)
@pytest.mark.slow
def test_a_wired_model_answers_every_problem_and_its_untrained_twin_none(case):
    loaded, rows = some(case, ROWS)
    behaviour = run_over(loaded, rows).behaviour
    assert behaviour.exact_match == 1.0
    assert (behaviour.verdict == "LEARNED") == (behaviour.groups >= 183)  # fewer sums, all right, are at the edge of it
    assert run_over(random_init_twin(loaded, 0), rows).behaviour.verdict == "NOT LEARNED"


def test_what_is_called_untrained_has_learned_nothing_and_can_be_read_all_the_same():
    assert run_over(*some(untrained, ROWS)).behaviour.skill < 0
    assert readable(untrained)["sum"]["resid_mid.0"] > 0.8


@pytest.mark.parametrize(
    ("case", "name", "first"),
    [
        (adder, "sum", "resid_mid.0"),
        (adder, "x1", "resid_mid.0"),
        (adder, "y1", "resid_mid.0"),
        (adder, "summod10f1", "resid_post.0"),
        (clock, "sum", "resid_mid.0"),
        (clock, "x1", "resid_mid.0"),
        (clock, "y1", "resid_mid.0"),
        (clock, "residuemod13f1", "resid_post.0"),
        (many_handed_clock, "residuemod13f3", "resid_post.0"),
        (many_handed_clock, "residuemod13f1+3+5", "resid_post.0"),
    ],
)
@pytest.mark.slow
def test_a_variable_can_be_read_from_its_first_site_on_and_not_before(case, name, first):
    r2 = readable(case)[name]
    sites = list(r2)
    since = sites[sites.index(first) :]
    if (case, name) == (clock, "sum"):
        since = [first]  # the circles take its place
    assert min(r2[site] for site in since) > 0.9999
    assert max(r2[site] for site in sites if site not in since) < 0.05


@pytest.mark.parametrize(("case", "name"), [(adder, "summod7f1"), (clock, "residuemod13f2"), (clock, "summod10f1")])
def test_what_was_not_planted_cannot_be_read(case, name):
    assert max(readable(case)[name].values()) < 0.05


@pytest.mark.parametrize("case", [adder, clock])
def test_renaming_its_values_hides_a_line_and_not_a_set_of_directions(case):
    site = "resid_post.0"
    assert readable(case)["x1"][site] > 0.9999
    assert readable(case)["renamed x1"][site] < 0.1
    assert readable(case)["renamed y1"][site] > 0.9999


@pytest.mark.slow
def test_an_untrained_twin_reads_half_the_sum_better_and_the_planted_variables_worse():
    twins = [readable(adder, twin=seed) for seed in range(3)]
    twin = {name: max(max(one[name].values()) for one in twins) for name in ("x", "x1", "y1")}
    own = {name: max(readable(adder)[name].values()) for name in twin}
    assert own["x"] == pytest.approx(0.5, abs=0.05)
    assert twin["x"] > own["x"] + 0.2
    assert max(twin["x1"], twin["y1"]) < 0.998 < min(own["x1"], own["y1"])


@pytest.mark.parametrize(("case", "name", "site", "slope"), USED)
@pytest.mark.slow
def test_without_what_is_used_the_skill_is_gone_and_random_subspaces_leave_it(case, name, site, slope):
    effect, before, after = without(case, name, site, ("isotropic", "outside"))
    assert before > 0.9999
    assert after < 0.01
    assert not case()[0].model.only_readout_remains(site)
    assert effect.skill_lost > 0.9
    assert effect.exact_match < 0.15
    isotropic, outside = effect.families
    assert (len(isotropic.skill_lost), len(outside.skill_lost)) == (19, 19)
    assert max(isotropic.skill_lost.max(), outside.skill_lost.max()) < 0.05
    assert 0.9 <= float(outside.removed.min()) <= float(outside.removed.max()) < 1.7  # all else varies as much or more
    assert outside.overlap < 1e-9


@pytest.mark.parametrize(
    ("case", "name", "site", "lost"),
    [
        (adder, "x1", "resid_mid.0", 0.0),
        (adder, "y1", "resid_mid.0", 0.0),
        (adder, "summod10f1", "resid_post.0", 0.0),
        (clock, "x1", "resid_post.0", 0.0),
        (clock, "y1", "resid_post.0", 0.0),
        (many_handed_clock, "residuemod13f3", "resid_post.0", 0.0),
        (backed_up, "sum", "resid_mid.0", 0.25),
    ],
)
def test_without_what_is_not_used_or_kept_elsewhere_the_skill_stays(case, name, site, lost):
    effect, before, after = without(case, name, site)
    assert before > 0.9999
    assert after < 0.01
    assert effect.skill_lost == pytest.approx(lost, abs=0.01)


@pytest.mark.parametrize(("case", "name", "site", "slope"), [*USED, (backed_up, "sum", "resid_mid.0", 0.5)])
@pytest.mark.slow
def test_steering_and_interchange_move_the_answer_by_the_share_that_is_read(case, name, site, slope):
    steered, swapped = moved(case, name, site)
    assert steered == pytest.approx(slope, abs=0.01)
    assert swapped.recovered.fraction == pytest.approx(slope, abs=0.01)
    assert swapped.row_space == pytest.approx(slope, abs=0.01)
    assert swapped.null_space == pytest.approx(0.0, abs=0.01)
    assert swapped.random.abs().max() < 0.2
    assert (swapped.exact_match > 0.99) == (slope == 1.0)


@pytest.mark.parametrize(("case", "read"), [(adder, ["sum"]), (clock, ["cos1", "sin1"])])
def test_moving_an_unread_direction_moves_no_answer_and_a_read_one_does(case, read):
    cell = cell_of(case, "resid_post.0")
    bench, table, cells = cell.part, cell.table, cell.states
    unread = ["x1", "cos10", "sin10", *(f"y1_{d}" for d in range(10))]
    steps = torch.stack([3 * direction(name) for name in [*unread, *read]])
    outputs = bench.run("resid_post.0", table, len(steps), lambda edits, rows: cells[rows] + steps[edits, None, None])
    moved = (bench.answers_of(outputs) - bench.predictions).abs().amax(dim=1)
    assert moved[: len(unread)].max() < 1e-6
    assert moved[len(unread) :].min() > 1


def test_moving_what_the_sum_is_made_of_moves_the_sum_so_that_steering_alone_proves_no_use():
    """Nothing reads x1, and without it nothing is lost; but the way states move with it has some of the sum in it."""
    steered, swapped = moved(adder, "x1", "resid_mid.0")
    assert steered > 0.5
    assert swapped.recovered.fraction > 0.5
    assert without(adder, "x1", "resid_mid.0")[0].skill_lost < 0.001


def test_planted_rungs_are_of_models_that_have_the_variable():
    for case in {one.case for one in PLANTED}:
        _, rows = case()
        for one in PLANTED:
            if one.case is case and one.variable != "residue":
                assert variable_of(one.variable, rows).columns.var() > 0
