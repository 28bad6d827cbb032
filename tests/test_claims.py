"""Claims on made states: a line, a circle, and what could be taken for one; the control task against scikit-learn."""

import re

import numpy as np
import pytest
import torch
from micro import one_thread  # noqa: F401
from random_problems import RandomProblems
from scikit_ridge import by_gcv
from sklearn.metrics import r2_score

from arithprobe.analysis.ladder.rules import MARGIN, read_evidence, scores_at
from arithprobe.behaviour import Behaviour
from arithprobe.errors import ArithprobeError
from arithprobe.probes.claims import ClaimSurvey, claim_of
from arithprobe.probes.controls import control_labels
from arithprobe.probes.neighbours import LEAD
from arithprobe.probes.selective import beside_untrained
from arithprobe.probes.selectivity import Selectivity, SelectivitySurvey
from arithprobe.probes.splits import fold_of
from arithprobe.probes.survey import Split, Target
from arithprobe.probes.targets import angle_columns, target_values
from arithprobe.problems.circles import Circle
from arithprobe.problems.positions import PositionTable

pytestmark = pytest.mark.slow(seconds=0.1)

N, D, K = 600, 12, 23
LAST = PositionTable(("last",), torch.zeros(N, 1, dtype=torch.int64), torch.ones(N, 1, dtype=torch.bool))
EVERY = torch.arange(N)
MORE_SEEDS = [pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 10)]


def random_problems(seed=0, step=1):
    """Of two digits."""
    return RandomProblems(N, K, seed, step)


ROWS = random_problems()
TOTAL = ROWS.x + ROWS.y


def noise(seed=0, size=0.1, width=D):
    return size * torch.randn(N, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def circled(period, frequency=1):
    angle = 2 * torch.pi * frequency * TOTAL.double() / period
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def placed(columns, states=None):
    """States that hold some columns, and noise."""
    states = noise() if states is None else states.clone()
    states[:, 1 : 1 + columns.shape[1]] += columns
    return states


def coded(values, width=D, seed=5):
    """A random direction for every value."""
    codes = torch.randn(int(values.max()) + 1, width, generator=torch.Generator().manual_seed(seed)).double()
    return codes[values] / width**0.5


def surveyed(name, states, rows=ROWS, permutations=19, parts=(EVERY,)):
    survey = ClaimSurvey(claim_of(name, rows), rows, ["s"], LAST, Split(permutations=permutations), states.shape[1])
    for part in parts:
        survey.update({"s": states[part, None]}, part)
    return survey


def scored(name, states, rows=ROWS, **options):
    """The figures of the frequency that decides."""
    scores = surveyed(name, states, rows, **options).scores()
    best = scores.deciding("s")
    return {field: float(getattr(scores, field)[best, 0]) for field in scores._fields[2:]}


def geometric(name, states, rows=ROWS, seed=0):
    """Whether a claim is, by the ladder."""
    survey = ClaimSurvey(claim_of(name, rows), rows, ["s"], LAST, Split(permutations=19, seed=seed), states.shape[1])
    survey.update({"s": states[:, None]}, EVERY)
    scores = survey.scores()
    (beside,) = beside_untrained([scores.r2], [[]])
    found = scores_at(scores, beside, "s")
    numbers = scores.claim.circle and scores.claim.circle.frequencies[scores.deciding("s")]
    *_, last = read_evidence(scores.claim, numbers, "s", found, Behaviour("LEARNED", "", N, *[1.0] * 11))
    assert last.rung == "geometric"
    return last.passed


def test_a_line_is_read_and_not_with_its_values_renamed():
    found = scored("sum", placed(TOTAL[:, None] / 50))
    assert found["low"] > 0.9 and found["p"] == pytest.approx(1 / 20)
    assert found["task_on_pairs"] > 0.9 and found["control_on_pairs"] < 0.1
    assert found["relabelled"] < 0.3
    assert np.isnan(found["neighbour"])


def test_values_that_are_told_apart_in_any_order_are_no_line():
    """The unit of x in ten directions: its own order is as good as any; on a line only its own is."""
    unit = ROWS.x % 10
    apart = scored("x1", placed(torch.nn.functional.one_hot(unit, 10).double()))
    assert apart["r2"] > 0.9
    assert apart["relabelled"] > apart["low"]
    line = scored("x1", placed(unit[:, None] / 3))
    assert line["r2"] > 0.9
    assert line["relabelled"] < 0.5 < line["low"]


@pytest.mark.parametrize("name", ["residue", f"summod{K}f3", f"residuemod{K}f1to5"])
def test_a_circle_is_read_at_its_frequency_and_not_at_neighbouring_periods_or_renamed(name):
    scores = surveyed(name, placed(circled(K, 3))).scores()
    best = scores.r2[:, 0].argmax()
    assert scores.claim.circle.frequencies[best] == 3
    assert scores.claim.circle.frequencies[scores.deciding("s")] == 3 or name == f"residuemod{K}f1to5"
    assert scores.low[best, 0] > 0.9
    assert scores.relabelled[best, 0] < 0.5 and scores.lead[best, 0] > LEAD
    assert scores.p[best, 0] == pytest.approx(1 / 20)
    others = [f for f in range(len(scores.r2)) if f != best]
    assert not others or scores.r2[others].max() < 0.2


@pytest.mark.parametrize("off", [-1, 1])
def test_of_a_circle_of_another_period_a_neighbour_is_read_better(off):
    """Periods 22 and 24 may be read as 23 in part: with sums up to 198 they are a third of a turn off."""
    wrong = scored(f"summod{K}f1", placed(circled(K + off)))
    right = scored(f"summod{K + off}f1", placed(circled(K + off)))
    assert wrong["r2"] > 0.1 and wrong["neighbour"] > 0.9 > wrong["high"] and wrong["lead"] < -LEAD
    assert right["low"] > right["neighbour"] and right["lead"] > LEAD


def test_residues_told_apart_are_no_circle():
    states = noise(width=30)
    states[:, :K] += torch.nn.functional.one_hot(TOTAL % K, K)
    found = scored("residue", states)
    assert found["r2"] > 0.7
    assert found["relabelled"] == pytest.approx(found["r2"], abs=0.05)


@pytest.mark.parametrize("period", [5, 13])
@pytest.mark.parametrize("seed", [0, 1, *MORE_SEEDS])
def test_a_direction_for_every_residue_is_not_geometric_and_a_circle_is(period, seed):
    """However its frequencies come out, none is read better than any other naming of the residues is."""
    rows = random_problems(seed)
    rows.modulus = period
    residues = (rows.x + rows.y) % period
    states = noise(seed, 0.02, 30)
    turn = 2 * torch.pi * residues.double() / period
    circle = torch.stack([turn.cos(), turn.sin()], dim=1)
    for apart in (coded(residues, 30, seed), torch.nn.functional.one_hot(residues, period).double()):
        whole = placed(apart, states) if apart.shape[1] < 30 else states + apart
        assert not geometric("residue", whole, rows, seed)
        assert not geometric(f"residuemod{period}f1", whole, rows, seed)
        assert scored("residue", whole, rows)["r2"] > 0.9  # readable it is
    assert geometric("residue", placed(circle, states), rows, seed)
    assert geometric(f"residuemod{period}f1", placed(circle, states), rows, seed)


@pytest.mark.parametrize(("modulus", "period", "frequency"), [(13, 4, 3), (23, 4, 6), (97, 4, 24), (97, 10, 10)])
def test_a_wave_of_the_modulus_is_no_circle_of_the_period_that_it_is_close_to(modulus, period, frequency):
    """Of 13, frequency 3 goes round in 4.33; the sums of residues are too few for it to get out of step with 4."""
    rows = random_problems()
    rows.modulus, rows.x, rows.y = modulus, rows.x % modulus, rows.y % modulus
    turn = 2 * torch.pi * (rows.x + rows.y).double()

    def circle(turns):
        return placed(torch.stack([(turn * turns).cos(), (turn * turns).sin()], dim=1), noise(size=0.02))

    name, own = f"summod{period}f1", circle(frequency / modulus)
    found = scored(name, own, rows)
    assert found["low"] > found["relabelled"] + MARGIN  # the modulus's own frequency alone tells
    assert found["neighbour"] > 0.99
    assert not geometric(name, own, rows)
    assert geometric(f"residuemod{modulus}f{frequency}", own, rows)
    assert geometric(name, circle(1 / period), rows)  # the control


def test_what_memorises_sums_learns_the_control_task_as_well():
    """A direction of its own for every sum: nothing of sums that were not seen, everything of those that were."""
    states = coded(TOTAL, width=250)
    found = scored("sum", states)
    assert found["r2"] < 0.1
    assert found["task_on_pairs"] > 0.6 and found["control_on_pairs"] > 0.6
    line = scored("sum", placed(TOTAL[:, None] / 50, noise(width=250)))  # the control, as wide
    assert line["task_on_pairs"] > 0.9 and line["control_on_pairs"] < 0.1


def test_of_noise_neither_task_nor_control_is_learned():
    for name in ("sum", "residue", "x1"):
        found = scored(name, noise())
        for field in ("r2", "task_on_pairs", "control_on_pairs", "relabelled"):
            assert abs(found[field]) < 0.1


@pytest.mark.parametrize("name", ["sum", "carry1", "x1", "residue", "summod4f1+2", "ymod10f1"])
def test_batches_add_up_in_any_order(name):
    states = placed(circled(4), placed(TOTAL[:, None] / 50))
    shuffled = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    whole = surveyed(name, states).scores()
    parts = surveyed(name, states, parts=shuffled.split([1, 399, 150, 50])).scores()
    half = surveyed(name, states, parts=[EVERY[: N // 2]]).scores()  # the control
    for field in whole._fields[2:]:
        torch.testing.assert_close(getattr(whole, field), getattr(parts, field), rtol=1e-9, atol=1e-9, equal_nan=True)
    assert (whole.r2 - half.r2).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["sum", "x1", "residue", "summod4f1+2"])
def test_without_permutations_the_score_is_the_same_and_no_control_is_computed(name):
    states = placed(TOTAL[:, None] / 50)
    plain, controlled = surveyed(name, states, permutations=0), surveyed(name, states)
    torch.testing.assert_close(plain.r2(), controlled.scores().r2, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(plain.r2(), controlled.r2(), rtol=1e-9, atol=1e-9)
    found = plain.scores()
    for field in ("neighbour", "relabelled", "task_on_pairs", "control_on_pairs"):
        assert getattr(found, field).isnan().all()
    assert not controlled.scores().task_on_pairs.isnan().any()


@pytest.mark.parametrize("period", [2, 3, 4])
def test_small_periods_have_neighbours_and_below_4_no_other_names(period):
    """States that hold the remainder by one: it is read, and a neighbouring period is not."""
    found = scored(f"summod{period}f1", placed(circled(period)))
    assert found["low"] > 0.9 and found["lead"] > LEAD
    assert np.isnan(found["relabelled"]) == (period < 4)


@pytest.mark.parametrize("period", [4, 6, 10])
def test_a_circle_of_an_even_period_is_one_although_half_the_period_renamed_is_linear_in_it(period):
    """Of 4 values, the one wave of frequency 2 renamed is a wave of frequency 1; the control: each value by itself."""
    rows = random_problems()
    rows.modulus = period
    assert geometric("residue", placed(circled(period)), rows)
    assert not geometric("residue", noise() + coded(TOTAL % period), rows)


def test_the_higher_of_the_two_neighbours_counts_frequency_by_frequency():
    states = placed(torch.cat([circled(K - 1, 2), circled(K + 1, 4)], dim=1))
    scores = surveyed(f"summod{K}f2+3+4", states).scores()
    assert (scores.neighbour > scores.r2)[[0, 2], 0].all() and scores.lead[[0, 2], 0].max() < -LEAD
    assert scores.neighbour[1, 0] < 0.5 < scores.neighbour[[0, 2], 0].min()


def test_a_claim_of_two_values_has_no_other_order():
    carry = target_values("carry1", ROWS)
    found = scored("carry1", placed(carry[:, None]))
    assert found["low"] > 0.9 and np.isnan(found["relabelled"]) and np.isnan(found["neighbour"])
    assert not np.isnan(scored("x1", placed(carry[:, None]))["relabelled"])  # the control


@pytest.mark.parametrize("seed", [0, 1, *MORE_SEEDS])
def test_of_three_values_a_reflection_is_no_other_name(seed):
    """It lies on the same line, and would be read as well; of the four orders that are left R2 is a quarter."""
    thirds = ROWS.x % 3
    survey = ClaimSurvey(claim_of("xmod3", ROWS), ROWS, ["s"], LAST, Split(seed=seed), D)
    survey.update({"s": placed(thirds[:, None].double())[:, None]}, EVERY)
    found = survey.scores()
    assert found.r2.item() > 0.9
    assert found.relabelled.item() == pytest.approx(0.25, abs=0.1)


def test_what_is_compared_with_is_the_highest_over_renamings_and_over_frequencies():
    """Of a line, and of a circle, where every frequency is compared with the same one."""
    line = surveyed("x1", placed(ROWS.x[:, None] % 10 / 3.0))
    _, *others = line._ridge.scores("claim")[0]
    assert len(others) == 19
    every = torch.stack([one.r2 for one in others])
    assert line.scores().relabelled.item() == every.max().item() > every.mean().item() + 0.1
    circle = surveyed(f"residuemod{K}f1to3", placed(circled(K)))
    others = circle._ridge.scores("claim")[0][3 : 3 + 3 * 19]
    assert len(others) == 3 * 19
    every = torch.stack([one.r2 for one in others])
    found = circle.scores().relabelled[:, 0]
    assert found.tolist() == [every.max().item()] * 3
    assert found[0] > every.mean() + 0.05


def test_one_wave_of_half_a_period_is_a_claim_too():
    scores = surveyed("summod4f1+2", placed(circled(4, 2)[:, :1])).scores()
    assert scores.claim.circle.frequencies == (1, 2)
    assert scores.r2[1, 0] > 0.9 > 0.2 > scores.r2[0, 0]


@pytest.mark.parametrize(
    ("name", "circle"),
    [
        ("residue", Circle("residue", K, tuple(range(1, 12)))),
        ("summod10f1+3to4", Circle("sum", 10, (1, 3, 4))),
        ("sum", None),
        ("summod4", None),
    ],
)
def test_the_shape_of_a_claim_is_in_its_name(name, circle):
    claim = claim_of(name, ROWS)
    assert (claim.name, claim.circle, claim.shape) == (name, circle, "line" if circle is None else "circle")


def test_the_frequencies_of_a_large_modulus_are_the_first_48():
    rows = random_problems()
    rows.modulus = 97
    assert claim_of("residue", rows).circle.frequencies == tuple(range(1, 49))
    rows.modulus = 101
    assert claim_of("residue", rows).circle.frequencies == tuple(range(1, 49))
    assert claim_of("residue", rows, 60).circle.frequencies == tuple(range(1, 51))
    assert claim_of("residue", rows, 2).circle.frequencies == (1, 2)


@pytest.mark.parametrize(
    ("name", "period", "shorter"),
    [
        ("summod194f2", 97, "summod97f1"),
        ("xmod10f5", 2, "xmod2f1"),
        ("residuemod12f4+2", 6, "residuemod6f1to2"),
        ("summod12f3+6", 4, "summod4f1to2"),
    ],
)
def test_planes_that_go_round_a_shorter_circle_are_claimed_by_its_name(name, period, shorter):
    with pytest.raises(
        ArithprobeError, match=f"claim {re.escape(repr(name))}: goes round {period}, its name is"
    ) as said:
        claim_of(name, ROWS)
    assert repr(shorter) in str(said.value)
    assert claim_of(shorter, ROWS).circle.period == period
    for kept in ("summod10f2+5", "summod12f3+4", "summod97f2"):  # the control: together they have no shorter period
        assert claim_of(kept, ROWS).name == kept


def test_a_claim_that_the_data_does_not_have_is_refused():
    plain, even = random_problems(), random_problems(step=2)
    plain.modulus = None
    with pytest.raises(ArithprobeError, match="k is unknown"):
        claim_of("residue", plain)
    with pytest.raises(ArithprobeError, match="no target 'z'"):
        claim_of("z", ROWS)
    with pytest.raises(ArithprobeError, match=r"summod2: no frequency can be probed: summod2cos1 .constant."):
        surveyed("summod2f1", noise(), even)


# the control task, against scikit-learn


def by_scikit_learn(states, rows, types, labels, folds=5):
    """Pooled held-out R2 of each of some labels, their columns standardised over all rows and scored together."""
    columns = torch.cat(labels, dim=1)
    columns = ((columns - columns.mean(dim=0)) / columns.std(dim=0)).numpy()
    fold = fold_of(rows.group("pair"), folds).numpy()
    known = np.array([bool(((types == one) & (fold != own)).any()) for one, own in zip(types, fold, strict=True)])
    predicted = np.full_like(columns, np.nan)
    for index in range(folds):
        train, test = known & (fold != index), known & (fold == index)
        predicted[test] = by_gcv(states[train], columns[train], states[test])
    weights = columns[known].var(axis=0)
    each = r2_score(columns[known], predicted[known], multioutput="raw_values")
    owner = np.repeat(np.arange(len(labels)), [one.shape[1] for one in labels])
    return np.bincount(owner, each * weights) / np.bincount(owner, weights), int(known.sum())


TYPES = {"sum": TOTAL, "x": ROWS.x, "y": ROWS.y}


@pytest.mark.parametrize(("width", "group"), [(D, "sum"), (90, "sum"), (D, "x"), (90, "x"), (D, "y")])
def test_task_and_control_are_those_of_scikit_learn(width, group):
    types = TYPES[group]
    states = noise(width=width, size=0.3)
    states += coded(types, width)
    states[:, 1] += TOTAL / 50
    turn = 2 * torch.pi * TOTAL.double() / K
    targets = [
        Target("sum", TOTAL.double()[:, None]),
        Target("wave", torch.stack([turn.cos(), turn.sin()], dim=1)),
        Target("x", ROWS.x.double()[:, None]),
    ]
    survey = SelectivitySurvey(ROWS, ["s"], LAST, targets, group, width, draws=2, seed=3)
    survey.update({"s": states[:, None]}, EVERY)
    found = survey.scores()
    own = [target.columns for target in targets]
    labels = [*own, *(control_labels(columns, types, 3 + draw) for draw in range(2) for columns in own)]
    expected, n = by_scikit_learn(states.numpy(), ROWS, types.numpy(), labels)
    task, *controls = expected.reshape(3, len(targets))
    assert found.task.flatten().tolist() == pytest.approx(task, abs=1e-6)
    assert found.control.flatten().tolist() == pytest.approx(np.mean(controls, axis=0), abs=1e-6)
    assert found.n == n < N


@pytest.mark.parametrize("group", TYPES)
def test_rows_of_a_type_that_only_one_fold_has_are_left_out(group):
    """Among them those of sums that occur once: nothing could be memorised."""
    types, target = TYPES[group], [Target(group, TYPES[group].double()[:, None])]

    def task(states):
        survey = SelectivitySurvey(ROWS, ["s"], LAST, target, group, D)
        survey.update({"s": states[:, None]}, EVERY)
        return survey.scores().task.item()

    known = SelectivitySurvey(ROWS, ["s"], LAST, target, group, D).known
    counts = torch.bincount(types)
    assert (counts[types] == 1).any() and not known[counts[types] == 1].any()
    states = placed(types[:, None] / 50)
    spoilt = states.clone()
    spoilt[~known] = 1e6
    assert task(states) == task(spoilt) > 0.9
    spoilt[int(known.nonzero()[0])] = 1e6  # the control
    assert task(spoilt) < 0.9


@pytest.mark.parametrize("name", ["x", "x1", "xmod10f1", "y10", "ymod7f2", "sum", "carry1", "summod4f1", "residue"])
def test_the_control_of_a_claim_is_about_what_it_is_a_function_of(name):
    """A claim of x has one label for every x, and of y for every y; all else, for every sum."""
    own = name[0] if name[0] in "xy" else "sum"
    found = surveyed(name, placed(TOTAL[:, None] / 50)).scores()
    circle = claim_of(name, ROWS).circle
    if circle is None:
        targets = [Target(name, target_values(name, ROWS)[:, None])]
    else:
        columns, _ = angle_columns(*circle, ROWS.values(circle.quantity))
        targets = [Target(name, torch.stack(list(waves.values()), dim=1)) for waves in columns.values()]
    for group in TYPES:
        survey = SelectivitySurvey(ROWS, ["s"], LAST, targets, group, D)
        survey.update({"s": placed(TOTAL[:, None] / 50)[:, None]}, EVERY)
        same = torch.allclose(found.control_on_pairs, survey.scores().control[:, 0, 0, None], atol=1e-9)
        assert same == (group == own)


@pytest.mark.parametrize(("name", "group"), [("x", "x"), ("x10", "x"), ("y", "y"), ("sum", "sum")])
def test_what_memorises_the_operand_of_a_claim_learns_its_control_task_and_no_other(name, group):
    found = {own: scored(name, coded(types, width=250))["control_on_pairs"] for own, types in TYPES.items()}
    assert found.pop(group) > 0.6
    assert max(found.values()) < 0.2


def test_a_control_below_0_takes_nothing_from_the_task():
    task, control = torch.tensor([0.5, 0.5]), torch.tensor([-0.3, 0.2])
    torch.testing.assert_close(Selectivity(task, control, 1).difference, torch.tensor([0.5, 0.3]))
