"""The interval of a held-out R2 covers what the fitted probes read of fresh groups, and is not printed where it cannot.

Planted: rows of a group share their labels, the states hold each label on a direction of its own in unit noise, as
strongly as its R2 asks for. What a fitted probe reads of fresh groups is then known from its weights.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from random_problems import RandomProblems
from scipy.stats import t

from arithprobe.probes.fold_pairs import fold_pairs
from arithprobe.probes.interval import FEWEST_GROUPS, TOO_FEW_GROUPS, groups_of, r2_interval
from arithprobe.probes.metrics import held_out_r2
from arithprobe.probes.mlp_scores import score_with_interval
from arithprobe.probes.moments import Moments, RidgePath
from arithprobe.probes.ridge import RidgeFitter
from arithprobe.probes.survey import RidgeSurvey, Split, Target
from arithprobe.problems.positions import PositionTable

pytestmark = pytest.mark.slow(seconds=5)

R2S, FOLDS = (0.0, 0.05, 0.3, 0.9), 5
STRENGTH = np.sqrt(np.array(R2S) / (1 - np.array(R2S)))


def planted(generator, n, groups, d):
    """States, labels and groups of n rows; groups and their labels are drawn anew."""
    group = np.arange(n) % groups
    labels = generator.standard_normal((groups, len(R2S)))[group]
    states = generator.standard_normal((n, d))
    states[:, : len(R2S)] += STRENGTH * labels
    return states, labels, group


def folds_of_groups(generator, group):
    while True:
        fold = generator.integers(FOLDS, size=group.max() + 1)[group]
        if np.bincount(fold, minlength=FOLDS).min() >= 2:
            return fold


def reach(probe):
    """(K,) R2 of fitted probes of one cell on fresh groups, by formula."""
    slope, intercept = probe.slope[0].numpy(), probe.intercept[0].numpy()
    variance = np.ones(len(slope))
    variance[: len(R2S)] += STRENGTH**2
    read = STRENGTH * slope[: len(R2S)].diagonal()
    return 2 * read - (slope**2 * variance[:, None]).sum(axis=0) - intercept**2


def jackknife(scores):
    """Half the width of the interval that leaves out the errors of one fold in turn and keeps the fits."""

    def without(part):
        return part.sum(dim=0) - part

    n = without(scores.n_test)[..., None]
    spread = without(scores.squares) - without(scores.sums).square() / n
    left = 1 - without(scores.errors) / spread
    variance = (FOLDS - 1) / FOLDS * (left - left.mean(dim=0)).square().sum(dim=0)
    return t.ppf(0.975, FOLDS - 1) * variance.sqrt()


def coverage(runs, n, groups, d):
    """(K,) shares of runs whose interval holds the fitted probes' R2: ours, and the jackknife's with fits kept."""
    generator = np.random.default_rng([n, groups, d])
    ours, fixed = np.zeros(len(R2S)), np.zeros(len(R2S))
    for _ in range(runs):
        states, labels, group = planted(generator, n, groups, d)
        fold = folds_of_groups(generator, group)
        fitter = RidgeFitter(1, d, len(R2S), FOLDS)
        fitter.update(torch.from_numpy(states[:, None]), torch.from_numpy(labels), torch.from_numpy(fold))
        scores = fitter.score()
        found = held_out_r2(scores, groups=groups_of(torch.from_numpy(group)))
        share = np.bincount(fold) / n
        truth = sum(share[one] * reach(fitter.fit(without=one)) for one in range(FOLDS))
        ours += ((found.low[0].numpy() <= truth) & (truth <= found.high[0].numpy())) / runs
        fixed += (np.abs(found.r2[0].numpy() - truth) <= jackknife(scores)[0].numpy()) / runs
    return ours, fixed


def test_the_interval_covers_and_one_that_keeps_the_fits_does_not():
    ours, fixed = coverage(300, 300, 60, 16)
    assert (ours > 0.92).all() and (ours < 0.98).all()
    assert (fixed[:2] < 0.88).all()  # near 0


@pytest.mark.long
@pytest.mark.parametrize("d", [16, 128])
@pytest.mark.parametrize(
    ("n", "groups"), [(500, 20), (500, 50), (500, 250), (2000, 20), (2000, 50), (2000, 200), (2000, 1000)]
)
def test_the_interval_covers_on_the_whole_grid(n, groups, d):
    runs = 1000
    ours, fixed = coverage(runs, n, groups, d)
    slack = 2.6 * (0.05 * 0.95 / runs) ** 0.5
    assert (ours > 0.92 - slack).all() and (ours < 0.98 + slack / 2).all()
    assert fixed[0] < 0.9


def test_pairs_are_what_a_fold_that_weighs_more_changes():
    generator = np.random.default_rng(0)
    states, labels, group = planted(generator, 200, 40, 6)
    fold, alpha = folds_of_groups(generator, group), np.full((1, len(R2S)), 3.0)
    h1 = np.concatenate([np.ones((200, 1)), states + 5], axis=1)
    parts = [(h1[fold == one], labels[fold == one]) for one in range(FOLDS)]
    folds = [Moments((h.T @ h)[None], (h.T @ y)[None], (y**2).sum(axis=0)[None]) for h, y in parts]

    def errors(weight):
        """Of fold 0, by the probes of all others, of which fold 3 weighs so much more."""
        heavier = Moments(*(weight * part for part in (folds[3].gram, folds[3].cross, folds[3].squares)))
        path = RidgePath(Moments.total([*folds[1:], heavier]), "none")  # else its scale changes, too
        return path, folds[0].errors(*path.weights(alpha))

    path, _ = errors(0.0)
    found = fold_pairs(path, alpha, path.weights(alpha), folds, 0, range(FOLDS))[:, 3]
    slope = (errors(1e-4)[1] - errors(-1e-4)[1]) / 2e-4
    np.testing.assert_allclose(-2 * found, slope, rtol=1e-4)
    assert (fold_pairs(path, alpha, path.weights(alpha), folds, 0, range(FOLDS))[:, 0] == 0).all()


def interval_of(errors, groups, share=None):
    errors = torch.as_tensor(errors, dtype=torch.float64)
    share = torch.full(errors.shape[:2], 1 / len(errors), dtype=torch.float64) if share is None else share
    low, high = r2_interval(errors, share[..., None].expand_as(errors), share, torch.tensor([float(groups)]))
    return low.item(), high.item()


def test_with_many_groups_and_folds_that_differ_little_it_is_students_interval():
    errors = 0.04 + 1e-4 * np.random.default_rng(1).standard_normal((5, 1, 1))  # shares of SST are 0.2 each
    margin = t.ppf(0.975, 4) * errors.std(ddof=1) * 5**0.5
    expected = [1 - errors.sum() - margin, 1 - errors.sum() + margin]
    assert interval_of(errors, 1e9) == pytest.approx(expected, abs=2e-5)


def test_folds_of_unequal_size_have_the_variance_and_degrees_of_their_projection():
    share, errors = np.array([0.5, 0.2, 0.2, 0.1]), np.array([0.0502, 0.0199, 0.0201, 0.0102])
    part = errors - errors.sum() * share
    # variances as the shares, each part less its share of the sum: trace(M)^2 / trace(M^2)
    root = np.sqrt(share)
    middle = (np.eye(4) - np.outer(root, root)) @ np.diag(share / (1 - share)) @ (np.eye(4) - np.outer(root, root))
    degrees = np.trace(middle) ** 2 / np.trace(middle @ middle)
    assert degrees < 2.5 and np.trace(middle) == pytest.approx(1)
    margin = t.ppf(0.975, degrees) * np.sqrt((part**2 / (1 - share)).sum())
    low, high = interval_of(errors[:, None, None], 1e9, torch.from_numpy(share[:, None]))
    assert (high - low) / 2 == pytest.approx(margin, rel=1e-3)
    assert (high + low) / 2 == pytest.approx(1 - errors.sum(), abs=1e-4)


def test_no_upper_end_is_above_1_and_no_interval_has_fewer_groups_than_it_needs():
    assert interval_of([[[0.001]], [[0.0]], [[0.0]]], 100)[1] < 1
    assert interval_of([[[0.0]], [[0.0]], [[0.0]]], 100) == (1, 1)
    assert np.isnan(interval_of([[[0.1]], [[0.2]], [[0.1]]], FEWEST_GROUPS - 0.6)).all()
    assert np.isfinite(interval_of([[[0.1]], [[0.2]], [[0.1]]], FEWEST_GROUPS)).all()


def test_columns_that_are_not_paired_have_no_interval_and_the_others_keep_theirs():
    generator = np.random.default_rng(2)
    states, labels, group = (torch.from_numpy(part) for part in planted(generator, 300, 60, 8))
    fitter = RidgeFitter(1, 8, len(R2S), FOLDS).update(states[:, None], labels, group % FOLDS)
    every, some = (held_out_r2(fitter.score(paired=count)) for count in (None, 2))
    assert torch.equal(some.low[:, :2], every.low[:, :2]) and bool(every.low.isfinite().all())
    assert bool(some.low[:, 2:].isnan().all()) and torch.equal(some.r2, every.r2)
    apart = fitter.score()
    assert bool(held_out_r2(replace(apart, pairs=apart.pairs[:, :, :1])).low.isnan().all())  # folds scored apart


@pytest.mark.parametrize(("sums", "says"), [(14, {"no_interval": TOO_FEW_GROUPS}), (40, {})])
def test_where_groups_are_too_few_the_record_says_so_and_has_no_interval(sums, says):
    rows = RandomProblems(400, 7, 0)
    rows.y = 2 * (torch.arange(400) % sums) - rows.x  # every fold has some of the sums
    last = PositionTable(("last",), torch.zeros(400, 1, dtype=torch.int64), torch.ones(400, 1, dtype=torch.bool))
    survey = RidgeSurvey(rows, ["s"], last, [Target("sum", (rows.x + rows.y).double()[:, None])], Split(), 4)
    states = torch.randn(400, 1, 4, generator=torch.Generator().manual_seed(0))
    survey.update({"s": states + (rows.x + rows.y)[:, None, None] / 10}, torch.arange(400))
    (cell,) = survey.scores("ridge")[0][0].cells()
    assert cell["n_groups"] == pytest.approx(sums, abs=0.01) and np.isfinite(cell["r2"])
    assert {key: value for key, value in cell.items() if key == "no_interval"} == says
    assert np.isnan(cell["low"]) == np.isnan(cell["high"]) == bool(says)


def test_the_interval_of_one_probe_covers_too_and_tells_something_from_nothing():
    runs, covered, above = 400, np.zeros(3), np.zeros(3)
    generator = np.random.default_rng(3)
    for _ in range(runs):
        group = np.arange(400) % 40
        truth, noise = generator.standard_normal(40)[group], generator.standard_normal(400)
        read = torch.from_numpy(np.stack([np.full(400, 0.1), 0.5 * noise, 0.5 * truth + 0.5 * noise]))
        _, low, high = score_with_interval(read, torch.from_numpy(truth), "regression", torch.from_numpy(group))
        reached = np.array([-0.01, -0.25, 0.5])
        covered += ((low.numpy() <= reached) & (reached <= high.numpy())) / runs
        above += (low.numpy() > 0) / runs
    assert (covered > 0.92).all() and (covered[1:] < 0.985).all()  # of a constant it is too wide
    assert above[0] < 0.03 and above[1] == 0 and above[2] > 0.95


def test_the_response_of_slopes_is_that_of_fits_whatever_the_scale_of_the_dimensions():
    """The control: of states that are not standardised the same formula is another's."""
    generator = np.random.default_rng(0)
    states = generator.standard_normal((60, 5)) * [1e-3, 1.0, 10.0, 0.1, 1e3]
    labels, others = generator.standard_normal((60, 2)), generator.standard_normal((60, 2))
    alpha = np.array([[3.0, 0.1]])
    slopes = [
        RidgePath(RidgeFitter(1, 5, 2, 2).update(*_rows(states, one)).moments()[0]).weights(alpha)[0]
        for one in (labels, labels + others)
    ]
    path = RidgePath(RidgeFitter(1, 5, 2, 2).update(*_rows(states, labels)).moments()[0])
    centred = states - states.mean(axis=0)
    found = path.response((centred.T @ others)[None], alpha)
    assert np.allclose(found, slopes[1] - slopes[0], rtol=1e-8, atol=0)
    plain = np.linalg.solve(centred.T @ centred + 3.0 * np.eye(5), centred.T @ others[:, 0])
    assert not np.allclose(plain, found[0, :, 0], rtol=0.1, atol=0)


def _rows(states, labels):
    return torch.from_numpy(states)[:, None], torch.from_numpy(labels), torch.zeros(len(states), dtype=torch.int64)


def test_where_errors_are_rounding_the_interval_is_the_score():
    """The control: errors of another size, that vary as much between the folds, have an interval."""
    errors = torch.tensor([1.0, 3.0, 0.2, 9.0, 0.1], dtype=torch.float64)[:, None, None]
    spread, share = torch.full((5, 1, 1), 0.2, dtype=torch.float64), torch.full((5, 1), 0.2, dtype=torch.float64)
    for size, exact in ((1e-13, True), (1e-3, False)):
        low, high = r2_interval(size * errors, spread, share, torch.tensor([50.0]), torch.ones(1, 1).double() * 1e-3)
        assert (low.item() == high.item() == 1 - size * errors.sum().item()) == exact
