"""Few frequencies or many, and what a model can do without the planes of some, and with nothing but them."""

import functools
import math
import warnings

import pytest
import torch
from micro import one_thread  # noqa: F401
from planted_rows import some

from arithprobe.analysis.forward import run_over
from arithprobe.analysis.ladder.causal import CausalRungs
from arithprobe.analysis.probe.options import ProbeOptions
from arithprobe.analysis.probe.planes import AnswerScores, plane_effects, plane_targets
from arithprobe.analysis.probe.run import probe
from arithprobe.analysis.progress import Progress
from arithprobe.models.hooks import edit
from arithprobe.planted.circuits import MODULUS, clock
from arithprobe.planted.rungs import many_handed_clock
from arithprobe.probes.concentration import gini, participation_ratio
from arithprobe.probes.fourier import FourierSurvey
from arithprobe.probes.splits import permuted_rows
from arithprobe.probes.survey import Split
from arithprobe.probes.variables import variable_of
from arithprobe.problems.circles import Circle, planes_name

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it uses torch.jit.script
    from concept_erasure import LeaceFitter

SITE, DRAWS = "resid_post.0", 19
CIRCLE = Circle("residue", MODULUS, tuple(range(1, MODULUS // 2 + 1)))
COMPLETE = 0.99


def sizes(seed, n=12):
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) ** 3


def naive_gini(values):
    """Half the mean absolute difference of all pairs, over the mean."""
    n, total = len(values), 0.0
    for one in values:
        for other in values:
            total += abs(one - other)
    return total / (2 * n * sum(values))


def naive_participation(values):
    squares = total = 0.0
    for one in values:
        squares += one * one
        total += one
    return squares / total**2


@pytest.mark.parametrize(("measure", "naive"), [(gini, naive_gini), (participation_ratio, naive_participation)])
def test_a_concentration_is_that_of_a_plain_loop_in_any_order_and_of_any_scale(measure, naive):
    for seed in range(20):
        values = sizes(seed)
        assert measure(values) == pytest.approx(naive(values.tolist()), rel=1e-12)
        assert measure(values.flip(0)) == pytest.approx(measure(values), rel=1e-12)
        for scale in (1e-9, 3.0, 1e9):
            assert measure(scale * values) == pytest.approx(measure(values), rel=1e-12)
        assert measure(values + 1) < measure(values)  # the control: another spectrum, less concentrated


@pytest.mark.parametrize("n", [1, 2, 48])
def test_a_concentration_is_between_that_of_all_alike_and_that_of_one_alone(n):
    alike, alone = torch.full((n,), 0.3), torch.zeros(n)
    alone[n // 2] = 0.2
    assert (gini(alike), gini(alone)) == (pytest.approx(0, abs=1e-6), pytest.approx(1 - 1 / n))
    assert (participation_ratio(alike), participation_ratio(alone)) == (pytest.approx(1 / n), pytest.approx(1))
    for seed in range(20):
        values = sizes(seed, n)
        assert -1e-12 <= gini(values) <= 1 - 1 / n + 1e-12
        assert 1 / n - 1e-12 <= participation_ratio(values) <= 1 + 1e-12


@pytest.mark.parametrize("n", [1, 3, 10])
def test_one_over_the_participation_ratio_counts_those_that_share_alike(n):
    assert 1 / participation_ratio(torch.tensor([2.0] * n + [0.0] * 20)) == pytest.approx(n)
    assert gini(torch.tensor([2.0] * n + [0.0] * 20)) == pytest.approx(20 / (20 + n))


@pytest.mark.parametrize("measure", [gini, participation_ratio])
def test_below_0_is_nothing_and_of_nothing_there_is_no_concentration(measure):
    assert measure(torch.tensor([1.0, 2.0, -5.0])) == measure(torch.tensor([1.0, 2.0, 0.0]))
    assert math.isnan(measure(torch.zeros(4)))
    assert math.isnan(measure(torch.tensor([1.0, math.nan])))


@functools.cache
def planes(case, site=SITE):
    """What intervenes on a model, the scores of its residue, and what its planes do at one site."""
    loaded, rows = some(case)
    last = rows.positions(["last"])
    sites, d_model = loaded.model.residual_sites, loaded.model.d_model
    survey = FourierSurvey(rows, sites, last, [CIRCLE], Split(permutations=19), d_model)
    run_over(loaded, rows, [survey.update])
    scores = survey.scores()[0][0]
    rungs = CausalRungs(loaded, rows, plane_targets(scores), [site], DRAWS)
    return rungs, scores, plane_effects(rungs, scores, site)


def mean(answers, score):
    return sum(getattr(one, score) for one in answers) / len(answers)


@pytest.mark.slow
def test_the_key_frequencies_are_those_that_the_clock_uses():
    for case, used in [(clock, {1}), (many_handed_clock, {1, 3, 5})]:
        _, scores, found = planes(case)
        assert set(found.key) == used
        assert (found.site, found.frequencies, found.rank) == (SITE, CIRCLE.frequencies, 2 * len(used))
        assert 1 / found.participation == pytest.approx(len(used), abs=0.3)
        fve = scores.encode_fve[:, scores.sites.index(SITE), 0].clamp(min=0)
        assert found.participation == pytest.approx(naive_participation(fve.tolist()))
        assert found.gini == pytest.approx(naive_gini(fve.sqrt().tolist()))
    assert planes(clock)[2].gini > planes(many_handed_clock)[2].gini


@pytest.mark.slow
def test_without_the_frequency_that_is_used_the_answers_are_gone():
    _, _, found = planes(clock)
    guess = 1 / MODULUS
    assert found.intact.exact == 1.0
    used, *unused = found.excluded
    assert used.exact < 2 * guess and used.skill < 0.1 and used.loss > 5 * found.intact.loss
    assert min(one.exact for one in unused) > 2 * guess  # the control
    assert min(one.skill for one in unused) > 0.7


@pytest.mark.slow
def test_without_a_frequency_that_is_not_used_as_much_is_lost_as_without_labels_permuted_between_sums():
    """LEACE takes out of everything a little, whatever the labels: by chance some of the one plane that is used.

    A wave of the residue is the same for all rows of a sum. By chance it goes with other functions of the sum, such as
    the plane that is used, much more than labels that are drawn row by row.
    """
    _, _, found = planes(clock)
    _, *unused = found.excluded
    random = found.excluded_shuffled
    assert len(random) == DRAWS
    for score in ("loss", "skill", "exact"):
        drawn = torch.tensor([getattr(one, score) for one in random], dtype=torch.float64)
        error = float(drawn.std()) * math.sqrt(1 / len(unused) + 1 / len(drawn))
        assert abs(mean(unused, score) - float(drawn.mean())) < 4 * error
    by_rows = [AnswerScores(*without(clock, labels)) for labels in relabelled(clock, (1,), by="row")[:8]]
    for score in ("loss", "exact"):  # the control: another null, which is further off
        off, further_off = (abs(mean(unused, score) - mean(null, score)) for null in (random, by_rows))
        assert off < further_off
    assert max(one.exact for one in random) < 0.6  # it is not nothing
    # wrong answers given for sure cost more loss than guesses: loss does not tell them from the plane that is used
    assert min(one.skill for one in random) > found.excluded[0].skill
    assert min(one.exact for one in random) > found.excluded[0].exact


@pytest.mark.slow
def test_nothing_but_the_key_planes_is_enough_and_all_but_them_is_not():
    for case in (clock, many_handed_clock):
        _, _, found = planes(case)
        assert found.only_key.exact == 1.0
        assert found.only_key.skill > COMPLETE
        assert found.without_key.exact < 2 / MODULUS
        assert len(found.without_random) == len(found.without_shuffled) == DRAWS
        assert min(one.exact for one in found.without_random) > COMPLETE  # the control
        assert max(one.loss for one in found.without_random) < found.without_key.loss
        # as many functions of the sum as there are: labels permuted between sums take out part of all of them
        for score in ("skill", "exact"):
            worst = min(getattr(one, score) for one in found.without_shuffled)
            assert worst > 2 * getattr(found.without_key, score)


@pytest.mark.slow
def test_of_three_circles_each_can_be_missed_and_all_together_not():
    _, _, found = planes(many_handed_clock)
    assert min(found.excluded[f - 1].exact for f in found.key) > COMPLETE
    assert found.without_key.exact < 2 / MODULUS
    assert planes(clock)[2].excluded[0].exact < 2 / MODULUS  # the control: where there is one circle


@pytest.mark.slow
def test_where_there_is_no_circle_there_is_nothing_to_leave_out():
    rungs, scores, found = planes(clock, "resid_mid.0")
    assert scores.key_frequencies("resid_mid.0") == [] == list(found.key)
    assert (found.without_key, found.only_key, found.rank) == (None, None, 0)
    assert found.without_random == found.without_shuffled == ()
    assert len(found.excluded) == len(CIRCLE.frequencies)
    assert planes(clock)[2].without_key is not None  # the control
    assert rungs.bench.held.states["resid_mid.0"].shape[0] == found.n


def hooked(case, fn):
    """Answers of a whole forward pass with a hook at the last token, by the definitions."""
    bench, rows = planes(case)[0].bench.held, some(case)[1]
    ids, lengths, answers = rows.ids[bench.rows].long(), rows.lengths[bench.rows], rows.answers[bench.rows].double()
    with torch.no_grad(), edit(bench.network, SITE, fn, lengths - 1):
        outputs = bench.network(ids, lengths)
    off = outputs.argmax(dim=1) - answers
    others = (answers[:, None] - answers)[~torch.eye(len(answers), dtype=torch.bool)]
    own, guessed = (float(cosine(one, planes(case)[2].key).mean()) for one in (off, others))
    loss = torch.nn.functional.cross_entropy(outputs, answers.long())
    return float(loss), 1 - (1 - own) / (1 - guessed), float((off == 0).double().mean())


def cosine(errors, frequencies):
    """Of the angle of an error round the circle, the mean over frequencies."""
    return torch.stack([(2 * torch.pi * n * errors / MODULUS).cos() for n in frequencies]).mean(dim=0)


def figures(one):
    return one.loss, one.skill, one.exact


@functools.cache
def fitted_on(case):
    """(n, D) states of the rows to fit on, from a pass of their own."""
    loaded, rows = some(case)
    found = {}

    def keep(states, numbers):
        found.update(
            zip(numbers.tolist(), states[SITE][torch.arange(len(numbers)), rows.lengths[numbers] - 1], strict=True)
        )

    run_over(loaded, rows, [keep])
    return torch.stack([found[row] for row in planes(case)[0].bench.fit.rows.tolist()])


def labels_of(case, frequencies):
    """(n, K) waves of the rows to fit on."""
    rows, fit = some(case)[1], planes(case)[0].bench.fit
    name = planes_name("residue", MODULUS, frequencies)
    return variable_of(name, rows).columns[fit.rows]


def relabelled(case, frequencies, by="sum"):
    """The same permuted, permutation by permutation: a sum takes the labels of another, or a row those of another."""
    rows, rungs = some(case)[1], planes(case)[0]
    own = labels_of(case, frequencies)
    group = {"sum": (rows.x + rows.y)[rungs.bench.fit.rows], "row": torch.arange(len(own))}[by]
    return [own[donors] for donors in permuted_rows(group, DRAWS, rungs.seed).T]


def other_leace(case, labels):
    """The reference eraser, fitted on the rows to fit on: (D, D) projection that keeps, and the mean."""
    states = fitted_on(case)
    fitter = LeaceFitter(states.shape[1], labels.shape[1], dtype=torch.float64, shrinkage=False)
    theirs = fitter.update(states, labels).eraser
    return torch.eye(states.shape[1]).double() - theirs.proj_left @ theirs.proj_right, states.mean(dim=0)


def without(case, labels):
    """Scores without what the reference eraser takes out for some labels."""
    kept, middle = other_leace(case, labels)
    return hooked(case, lambda h: middle + (h - middle) @ kept.T)


@pytest.mark.parametrize("case", [clock, many_handed_clock])
@pytest.mark.slow
def test_excluded_and_restricted_are_edits_of_a_hook_by_another_leace(case):
    _, _, found = planes(case)
    assert figures(found.intact) == pytest.approx(hooked(case, lambda h: h), abs=1e-9)
    for number in (0, 3):
        expected = without(case, labels_of(case, (CIRCLE.frequencies[number],)))
        assert figures(found.excluded[number]) == pytest.approx(expected, abs=1e-5)
    kept, middle = other_leace(case, labels_of(case, tuple(sorted(found.key))))
    gone = torch.eye(len(kept)).double() - kept
    expected = hooked(case, lambda h: middle + (h - middle) @ kept.T)
    assert figures(found.without_key) == pytest.approx(expected, abs=1e-5)
    restricted = hooked(case, lambda h: middle + (h - middle) @ gone.T)
    assert figures(found.only_key) == pytest.approx(restricted, abs=1e-5)
    assert abs(restricted[0] - expected[0]) > 0.5  # the control: one is not the other


@pytest.mark.parametrize("case", [clock, many_handed_clock])
@pytest.mark.slow
def test_without_shuffled_is_a_loop_over_permutations_of_the_labels_between_sums(case):
    rungs, _, found = planes(case)
    key = tuple(sorted(found.key))
    for frequencies, drawn in [((1,), found.excluded_shuffled), (key, found.without_shuffled)]:
        labels = relabelled(case, frequencies)
        for number in (0, 7, DRAWS - 1):
            assert figures(drawn[number]) == pytest.approx(without(case, labels[number]), abs=1e-5)
        by_rows = relabelled(case, frequencies, by="row")  # the control
        assert figures(drawn[0]) != pytest.approx(without(case, by_rows[0]), abs=1e-2)
    other = rungs.cell(SITE).shuffled(planes_name("residue", MODULUS, (1,)), 2, rungs.seed + 1)
    scores = rungs.bench.held.scores(other)
    assert abs(float(scores.loss[0]) - found.excluded_shuffled[0].loss) > 1e-3  # the seed is what it depends on


@pytest.mark.slow
def test_permuted_labels_are_those_of_one_other_sum():
    """So that the null has what sums have in common."""
    rows, fit = some(clock)[1], planes(clock)[0].bench.fit
    total = (rows.x + rows.y)[fit.rows]
    for labels in relabelled(clock, (1,)):
        values = torch.cat([total[:, None].double(), labels], dim=1).round(decimals=6)
        assert len(torch.unique(values, dim=0)) == len(torch.unique(total))


# what a probe says of them


@functools.cache
def probed():
    """A report of a network that turns on one frequency, and what counted its steps."""
    few = {"targets": ["sum"], "positions": ["last"], "no_mlp": True, "twins": 1, "small_periods": (2,)}
    options = ProbeOptions(claims=["residue"], max_examples=260, fourier_permutations=19, **few)
    progress = Progress()
    return probe(*some(clock, 500), options, progress), progress


@pytest.mark.slow
def test_each_site_is_a_step_and_a_line():
    report, progress = probed()
    assert progress.done == progress.total == 6 + 1 + len(report.planes)
    (words,) = (one.text for one in report.said.blocks if one.kind == "words" and "removed by LEACE" in one.text)
    lines = words.splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == [one.site for one in report.planes]
    assert [line.endswith("no key frequency") for line in lines] == [not one.key for one in report.planes]
    picture = next(one for one in report.said.pictures if one.name == "frequencies_left_out")
    last = report.planes[-1]
    assert f"{last.without_key.exact:.1%} of the answers are exact without the key frequencies" in picture.finding


@pytest.mark.slow
def test_the_scores_have_a_row_without_each_plane_at_each_site_and_one_with_nothing_but_the_key_ones():
    report, _ = probed()
    rows = list(report.scores())
    assert len({row[:4] for row in rows}) == len(rows)
    found = {row[:4]: row for row in rows}
    for one in report.planes:
        for n, answers in zip(one.frequencies, one.excluded, strict=True):
            row = found[one.site, "last", f"residuemod{MODULUS}f{n}", "exact_without"]
            assert (row.value, row.n) == (answers.exact, one.n)
    only = {row.site: row.value for row in rows if row.score == "skill_only"}
    assert only == {one.site: one.only_key.skill for one in report.planes if one.key} and only
