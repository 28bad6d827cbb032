"""Erasers: what each takes out, what it leaves alone, and that units and ill-conditioned states change nothing."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from micro import one_thread  # noqa: F401
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.preprocessing import StandardScaler

from arithprobe.errors import ArithprobeError
from arithprobe.interventions.directions import filter_and_pattern, projection
from arithprobe.interventions.erasure import fit_erasers, load_eraser
from arithprobe.linalg import principal_angles, project_out
from arithprobe.probes.moments import ALPHAS, Moments, alpha_choice
from arithprobe.probes.ridge import RidgeFitter

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it uses torch.jit.script
    from concept_erasure import LeaceFitter

KINDS = ("probe", "mean_difference", "leace", "inlp")
ORTHOGONAL = ("probe", "mean_difference", "inlp")
N, P, D, K = 240, 3, 8, 2
SCALINGS = {
    "as they are": torch.eye(K),
    "divided by 2000": torch.eye(K) / 2000,
    "times a million": torch.eye(K) * 1e6,
    "one large, one small": torch.diag(torch.tensor([1e6, 1 / 2000])),
    "mixed": torch.tensor([[3.0, -1.0], [2.0, 5.0]]),
}


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng([seed, *shape]).standard_normal(shape))


def data(n=N, d=D, k=K, positions=P):
    """Targets, and states that carry them in some directions, among noise of many scales."""
    targets = normal(n, k)
    noise = normal(n, positions, d) * torch.logspace(-1, 1, d, dtype=torch.float64)
    states = torch.einsum("npd,pde->npe", noise, normal(positions, d, d)) + 5
    return states + torch.einsum("nk,pkd->npd", targets, normal(positions, k, d)), targets * 3 + 20


def one_hot(n=N, classes=4, d=D, positions=P):
    labels = torch.arange(n) % classes
    states = normal(n, positions, d) + normal(positions, classes, d)[:, labels].transpose(0, 1)
    return states, torch.nn.functional.one_hot(labels, classes).double()


def moments_of(states, targets, valid=None):
    fitter = RidgeFitter(states.shape[1], states.shape[2], targets.shape[1], 2)
    return Moments.total(fitter.update(states, targets, torch.arange(len(states)) % 2, valid).moments())


def fit(kind, states, targets, **settings):
    positions = [f"p{p}" for p in range(states.shape[1])]
    return fit_erasers(kind, moments_of(states, targets), target="sum", site="block0", positions=positions, **settings)


def taken(eraser):
    """(P, D, D) what is subtracted from a state's deviation from the mean."""
    return eraser.left @ eraser.right.transpose(1, 2)


def centred(values):
    return values - values.mean(dim=0)


def covariance(states, targets, unit):
    """(P, D, K) with targets of unit variance, in units of the standard deviation of other states."""
    cross = torch.einsum("npd,nk->pdk", centred(states), centred(targets) / targets.std(dim=0)) / len(states)
    return cross / centred(unit).square().sum(dim=2).mean(dim=0).sqrt()[:, None, None]


def readable(states, targets, unit=None):
    """Best R2 on the same rows of a linear probe of any column at any position, whatever the scale of a direction."""
    y, best = centred(targets).numpy(), 0.0
    size = centred(states if unit is None else unit).square().sum(dim=(0, 2)).sqrt()
    for cell, own in zip(centred(states).numpy().swapaxes(0, 1), size.tolist(), strict=True):
        left, singular, _ = np.linalg.svd(cell, full_matrices=False)
        found = left[:, singular > 1e-9 * own].T @ y
        best = max(best, (np.square(found).sum(axis=0) / np.square(y).sum(axis=0)).max())
    return best


# Every kind


@pytest.mark.parametrize("kind", KINDS)
def test_erasing_twice_is_erasing_once(kind):
    states, targets = data()
    eraser = fit(kind, states, targets)
    once = eraser(states)
    assert once.dtype == states.dtype
    torch.testing.assert_close(eraser(once), once, rtol=0, atol=1e-10)
    assert (once - states).abs().amax(dim=(0, 2)).min() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_what_is_subtracted(kind):
    eraser = fit(kind, *data())
    torch.testing.assert_close(eraser.right.transpose(1, 2) @ eraser.left, torch.eye(K).double().expand(P, K, K))
    assert torch.equal(eraser.left, eraser.right) == (kind in ORTHOGONAL)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_change_has_the_rank_of_the_eraser(kind, k):
    states, targets = data(k=k)
    eraser = fit(kind, states, targets)
    change = eraser(states) - states
    assert eraser.rank == k
    assert all(torch.linalg.matrix_rank(cell, rtol=1e-9) == k for cell in change.unbind(1))


@pytest.mark.parametrize("kind", KINDS)
def test_states_that_read_as_the_mean_does_are_untouched(kind):
    """For the orthogonal kinds, what is orthogonal to the subspace."""
    states, targets = data()
    eraser = fit(kind, states, targets)
    others = normal(50, P, D, seed=1)
    for p in range(P):
        basis = torch.linalg.qr(eraser.right[p])[0].numpy()
        others[:, p] = eraser.mean[p] + torch.from_numpy(project_out(others[:, p].numpy(), basis))
    torch.testing.assert_close(eraser(others), others, rtol=0, atol=1e-10)
    others += eraser.right[..., 0]
    assert (eraser(others) - others).abs().max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_the_states_stays(kind):
    states, targets = data()
    eraser = fit(kind, states, targets)
    torch.testing.assert_close(eraser.mean, states.mean(dim=0))
    torch.testing.assert_close(eraser(states).mean(dim=0), states.mean(dim=0))
    torch.testing.assert_close(eraser(eraser.mean[None]), eraser.mean[None])


@pytest.mark.parametrize("kind", KINDS)
def test_positions_are_erased_each_by_itself(kind):
    states, targets = data()
    together = fit(kind, states, targets)
    for p in range(P):
        alone = fit(kind, states[:, [p]], targets)
        torch.testing.assert_close(taken(alone)[0], taken(together)[p], rtol=0, atol=1e-9)
    assert (taken(together)[0] - taken(together)[1]).abs().max() > 0.1


@pytest.mark.parametrize(
    ("kind", "scaling"),
    [
        (kind, scaling)
        for kind in KINDS
        for scaling in SCALINGS
        if scaling != "mixed" or kind in ("mean_difference", "leace")  # each column of a probe has its own penalty
    ],
)
def test_the_units_of_the_target_do_not_matter(kind, scaling):
    states, targets = data()
    plain, scaled = (taken(fit(kind, states, part)) for part in (targets, targets @ SCALINGS[scaling].double()))
    torch.testing.assert_close(scaled, plain, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 3.3, -1e6 / 3])
def test_for_a_constant_target_nothing_is_erased(kind, value):
    states, _ = data()
    eraser = fit(kind, states, torch.full((N, 1), value, dtype=torch.float64))
    assert eraser.rank == 1
    assert not eraser.left.any() and not eraser.right.any()
    torch.testing.assert_close(eraser(states), states, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_column_among_others_changes_nothing(kind):
    states, targets = data()
    constant = torch.full((N, 1), 3.3, dtype=torch.float64)
    plain, more = (fit(kind, states, part, rank=K) for part in (targets, torch.cat([targets, constant], dim=1)))
    torch.testing.assert_close(taken(more), taken(plain), rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 7.1, -1000 / 3])
def test_where_states_are_constant_nothing_is_erased_and_other_positions_are(kind, value):
    states, targets = data()
    expected = taken(fit(kind, states, targets))
    states[:, 1] = value
    eraser = fit(kind, states, targets)
    assert not eraser.left[1].any() and not eraser.right[1].any()
    torch.testing.assert_close(taken(eraser)[[0, 2]], expected[[0, 2]], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 3])
def test_from_one_row_alone_or_repeated_nothing_is_erased(kind, n):
    states, targets = (part[:1].repeat(n, *[1] * (part.ndim - 1)) for part in data())
    eraser = fit(kind, states, targets)
    assert not eraser.left.any() and not eraser.right.any()
    torch.testing.assert_close(eraser.mean, states[0])


@pytest.mark.parametrize("kind", KINDS)
def test_at_a_position_that_no_row_has_nothing_is_erased(kind):
    states, targets = data()
    valid = torch.ones(N, P, dtype=torch.bool)
    valid[:, 1] = False
    settings = {"target": "sum", "site": "block0", "positions": ["a", "b", "c"]}
    eraser = fit_erasers(kind, moments_of(states, targets, valid), **settings)
    assert not eraser.left[1].any() and not eraser.mean[1].any()
    torch.testing.assert_close(taken(eraser)[[0, 2]], taken(fit(kind, states, targets))[[0, 2]])


@pytest.mark.parametrize("kind", KINDS)
def test_float32_states_far_from_zero_are_erased_as_precisely_as_float32_can(kind):
    states, targets = data()
    states = (states + 1e3).float()
    eraser = fit(kind, states, targets)
    assert eraser.left.dtype == torch.float64
    once = eraser(states)
    assert once.dtype == torch.float32
    torch.testing.assert_close(once, eraser(states.double()).float(), rtol=0, atol=2e-3)
    torch.testing.assert_close(eraser(once), once, rtol=0, atol=2e-3)
    near = fit(kind, states.double() - 1e3, targets)
    torch.testing.assert_close(taken(eraser), taken(near), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_where_states_overflow_nothing_is_erased_and_other_positions_are(kind, value):
    states, targets = data()
    expected = taken(fit(kind, states, targets))
    broken = states.clone()
    broken[3, 1, 2] = value
    eraser = fit(kind, broken, targets)
    torch.testing.assert_close(eraser(states)[:, 1], states[:, 1], rtol=0, atol=0)
    torch.testing.assert_close(taken(eraser)[[0, 2]], expected[[0, 2]])


# LEACE


@pytest.mark.parametrize("scaling", SCALINGS)
def test_after_leace_states_and_target_do_not_vary_together(scaling):
    states, targets = data()
    targets = targets @ SCALINGS[scaling].double()
    assert covariance(states, targets, states).abs().amax(dim=(1, 2)).min() > 0.03
    assert covariance(fit("leace", states, targets)(states), targets, states).abs().max() < 1e-8


def test_after_leace_no_linear_probe_finds_anything_and_after_the_probes_own_directions_one_does():
    states, targets = data()
    assert readable(states, targets) > 0.5
    assert readable(fit("leace", states, targets)(states), targets) <= 1e-10
    assert readable(fit("mean_difference", states, targets)(states), targets) <= 1e-10
    assert readable(fit("probe", states, targets)(states), targets) > 0.05


@pytest.mark.parametrize("k", [1, 2, 5])
def test_leace_is_the_smallest_change_after_which_nothing_is_found(k):
    states, targets = data(k=k)
    leace, difference = (
        (fit(kind, states, targets)(states) - states).square().sum(dim=2).mean(dim=0)
        for kind in ("leace", "mean_difference")
    )
    assert (leace < 0.9 * difference).all()


def test_leace_changes_less_than_other_erasers_after_which_nothing_is_found():
    """Those that subtract along the same directions and read others."""
    states, targets = data()
    eraser = fit("leace", states, targets)
    least = (eraser(states) - states).square().sum(dim=2).mean(dim=0)
    for seed in range(20):
        right = eraser.right + 0.1 * normal(P, D, K, seed=seed)
        right = right @ torch.linalg.inv(eraser.left.transpose(1, 2) @ right)
        other = replace(eraser, right=right)
        assert readable(other(states), targets) <= 1e-10
        assert ((other(states) - states).square().sum(dim=2).mean(dim=0) > 1.01 * least).all()


def ill_conditioned():
    states, targets = data()
    yield "dimensions of scales 1e-3 to 1e2", states * torch.logspace(-3, 2, D, dtype=torch.float64), targets
    yield "classes far from zero", one_hot()[0] * torch.logspace(-2, 2, D, dtype=torch.float64) + 1e3, one_hot()[1]
    yield "a repeated dimension", states[..., [0, 1, 2, 3, 4, 5, 5, 5]], targets
    yield (
        "a repeated dimension of another scale",
        states[..., [0, 1, 2, 3, 4, 5, 5, 5]] * (7.3 ** torch.arange(D)),
        targets,
    )
    constant = states.clone()
    constant[..., 3], constant[..., 6] = 7.1, 0.0
    yield "constant dimensions", constant, targets
    yield "fewer rows than dimensions", *data(n=20, d=30)
    yield "as many rows as dimensions", *data(n=30, d=30)
    yield "far from zero", states + 1e3, targets
    yield "far from zero and deficient", states[..., [0, 1, 2, 3, 4, 5, 5, 5]] + 1e3, targets
    yield "one dimension far from zero", states + 1e4 * torch.eye(D)[2], targets
    yield "targets far from zero", states, targets + 1e4
    yield "float32", (states + 1e3).float(), targets
    yield "the target itself is a dimension", torch.cat([states, targets[:, None].expand(N, P, K)], dim=2), targets
    yield "classes", *one_hot()
    yield "classes that are dimensions", one_hot()[1][:, None].expand(N, P, 4), one_hot()[1]
    yield "more classes than directions", *one_hot(classes=5, d=6)


@pytest.mark.parametrize(("states", "targets"), [pytest.param(*case, id=name) for name, *case in ill_conditioned()])
def test_leace_erases_ill_conditioned_states(states, targets):
    eraser, states = fit("leace", states, targets), states.double()
    erased = eraser(states)
    assert readable(states, targets) > 0.3
    assert covariance(erased, targets, states).abs().max() < 1e-8
    assert readable(erased, targets, states) <= 1e-10
    assert (eraser(erased) - erased).abs().max() < 1e-8 * centred(states).abs().max()
    before, after = (centred(part).square().sum(dim=(0, 2)) for part in (states, erased))
    assert (after < before).all()


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_one_hot_classes_cost_one_direction_less_than_there_are_classes(classes):
    states, targets = one_hot(classes=classes)
    for kind in ("leace", "mean_difference"):
        assert fit(kind, states, targets).rank == classes - 1
        assert fit(kind, states * torch.logspace(-2, 2, D, dtype=torch.float64) + 1e3, targets).rank == classes - 1
    means = torch.stack([fit("leace", states, targets)(states)[targets[:, c] > 0].mean(dim=0) for c in range(classes)])
    torch.testing.assert_close(means, means[:1].expand_as(means))


@pytest.mark.parametrize(
    ("states", "targets"),
    [data(n=200, d=8, k=1), data(n=500, d=16, k=3), data(n=30, d=40), one_hot(n=300, classes=5), data(n=50, d=12)],
)
def test_leace_is_eleuthers(states, targets):
    mine = fit("leace", states, targets)
    for p in range(P):
        fitter = LeaceFitter(states.shape[2], targets.shape[1], dtype=torch.float64, shrinkage=False)
        theirs = fitter.update(states[:, p], targets).eraser
        torch.testing.assert_close(mine(states)[:, p], theirs(states[:, p]), rtol=0, atol=1e-6)
        torch.testing.assert_close(taken(mine)[p], theirs.proj_left @ theirs.proj_right, rtol=0, atol=1e-6)


def test_where_eleuthers_tolerance_bites_ours_still_erases():
    """Singular values below 0.01 are none to theirs: for a target in thousands nothing is."""
    states, targets = data(positions=1)
    small = targets / 2000
    theirs = LeaceFitter(D, K, dtype=torch.float64, shrinkage=False).update(states[:, 0], small).eraser
    torch.testing.assert_close(theirs(states[:, 0]), states[:, 0])
    assert readable(theirs(states[:, 0])[:, None], small) > 0.5
    assert readable(fit("leace", states, small)(states), small) <= 1e-10


# INLP


def plain_inlp(states, targets, rank, alpha=None):
    """Project the rows, fit again, until there are enough directions; least squares, as published, or ridge."""
    projector, left = np.eye(states.shape[1]), states
    directions = np.zeros((states.shape[1], 0))
    while directions.shape[1] < rank:
        model = LinearRegression() if alpha is None else Ridge(alpha=alpha)
        found = model.fit(left, targets).coef_.reshape(-1, states.shape[1]).T
        directions = np.linalg.qr(np.concatenate([directions, found], axis=1))[0]
        projector = np.eye(states.shape[1]) - directions @ directions.T
        left = states @ projector
    return projector


@pytest.mark.parametrize(("k", "rank"), [(1, 1), (1, 3), (1, 6), (2, 4), (3, 6)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_inlp_is_the_published_loop_of_least_squares(k, rank, scale):
    states, targets = data(k=k)
    eraser = fit("inlp", scale * states, targets, rank=rank)
    for p in range(P):
        expected = plain_inlp(scale * states[:, p].numpy(), targets.numpy(), rank)
        np.testing.assert_allclose(np.eye(D) - taken(eraser)[p].numpy(), expected, atol=1e-4)


def test_inlp_leaves_more_than_with_a_penalty_and_takes_what_the_published_loop_takes():
    states, targets = data(k=1)
    states = states * torch.logspace(0, 2, D, dtype=torch.float64)
    found = readable(fit("inlp", states, targets, rank=2)(states), targets)
    left = []
    for alpha in (None, 1e4):
        projectors = [torch.from_numpy(plain_inlp(states[:, p].numpy(), targets.numpy(), 2, alpha)) for p in range(P)]
        left.append(readable(torch.einsum("npd,pde->npe", states, torch.stack(projectors)), targets))
    assert found == pytest.approx(left[0], abs=5e-4)
    assert abs(left[1] - left[0]) > 0.01


@pytest.mark.parametrize("k", [1, 2, 3])
def test_inlp_has_the_rank_that_was_asked_for_and_each_step_adds_to_the_ones_before(k):
    states, targets = data(k=k)
    before = np.zeros((P, D, 0))
    for rank in range(1, D + 1):
        eraser = fit("inlp", states, targets, rank=rank)
        basis = eraser.left.numpy()
        assert basis.shape[2] <= rank
        for one, more in zip(before, basis, strict=True):
            own = more[:, more.any(axis=0)]
            np.testing.assert_allclose(own.T @ own, np.eye(own.shape[1]), atol=1e-9)
            assert principal_angles(one[:, one.any(axis=0)], own).max(initial=0.0) < 1e-6
        before = basis if rank % k == 0 else before  # a step has k directions; half of one is the main half


def test_inlp_has_the_rank_that_was_asked_for_or_nothing_is_left_to_find():
    states, targets = data(k=1)
    eraser = fit("inlp", states, targets, rank=D)
    for p in range(P):
        if eraser.left[p].any(dim=0).sum() < D:
            erased = eraser(states)[:, [p]]
            assert covariance(erased, targets, states[:, [p]]).abs().max() < 1e-8
    assert eraser.left.any(dim=1).sum(dim=1).min() > 1


def test_inlp_leaves_less_to_read_with_every_direction_and_one_is_not_enough():
    states, targets = data(k=1)
    left = [readable(fit("inlp", states, targets, rank=rank)(states), targets, states) for rank in (1, 2, 4, D)]
    assert (np.diff(left) <= 1e-12).all()
    assert left[0] > 0.9
    assert left[-1] <= 1e-10


def test_inlp_takes_no_direction_whose_variance_is_rounding():
    """LayerNorm makes one direction constant, up to float32: least squares there would be of noise alone."""
    states, targets = data(k=1)
    normed = torch.nn.functional.layer_norm(states.float(), (D,)) @ normal(D, D).float()
    normed = normed.double() - normed.double().mean(dim=0)
    eraser = fit("inlp", normed, targets, rank=1)
    for p in range(P):
        smallest = np.linalg.svd(normed[:, p].numpy())[1][-1] / np.sqrt(N)
        read = (normed[:, p] @ eraser.left[p, :, 0]).std()
        assert smallest < 1e-5 < 1e-2 < read


# Directions


def test_the_difference_of_means_of_two_classes_is_the_difference_of_their_means():
    states, targets = data(k=1)
    label = (targets > 20).double()
    eraser = fit("mean_difference", states, label)
    difference = states[label[:, 0] > 0].mean(dim=0) - states[label[:, 0] == 0].mean(dim=0)
    expected = difference / difference.norm(dim=1, keepdim=True)
    torch.testing.assert_close((eraser.left[..., 0] * expected).sum(dim=1).abs(), torch.ones(P).double())
    erased = eraser(states)
    torch.testing.assert_close(erased[label[:, 0] > 0].mean(dim=0), erased[label[:, 0] == 0].mean(dim=0))


def test_a_probe_of_raw_states_says_the_same_of_all_erased_ones():
    states, targets = data()
    eraser = fit("probe", states, targets, choice=alpha_choice(2.0, unit="none"))
    for p in range(P):
        model = Ridge(alpha=2.0).fit(states[:, p], targets)
        predicted = model.predict(eraser(states)[:, p])
        np.testing.assert_allclose(predicted, np.broadcast_to(predicted[:1], predicted.shape), atol=1e-8)
        assert model.predict(states[:, p]).std(axis=0).min() > 1


def test_directions_of_standardised_states_are_mapped_before_they_are_taken_out_of_raw_ones():
    states, targets = (part.numpy() for part in data())
    scaler = StandardScaler().fit(states[:, 0])
    model = Ridge(alpha=2.0).fit(scaler.transform(states[:, 0]), targets)
    left = {}
    for name, scale in (("mapped", scaler.scale_), ("unmapped", None)):
        basis = projection(model.coef_.T, scale)
        np.testing.assert_allclose(basis.T @ basis, np.eye(K), atol=1e-12)
        left[name] = model.predict(scaler.transform(project_out(states[:, 0], basis))).std(axis=0)
    assert left["mapped"].max() < 1e-9
    assert left["unmapped"].min() > 0.05


def filters(states, targets, alphas=ALPHAS):
    return filter_and_pattern(moments_of(states, targets).cell(0), alpha_choice(alphas, unit="none"))


@pytest.mark.parametrize("scaling", SCALINGS)
def test_adding_the_pattern_times_delta_moves_what_is_read_by_delta(scaling):
    states, targets = data()
    targets = targets @ SCALINGS[scaling].double()
    slope, intercept, pattern = filters(states, targets)
    delta = np.array([0.7, -1.3]) * targets.std(dim=0).numpy()
    moved = (states[:, 0].numpy() + pattern @ delta) @ slope + intercept
    np.testing.assert_allclose(moved - (states[:, 0].numpy() @ slope + intercept), [delta] * N, rtol=1e-6)


def test_filters_are_ridge_weights_and_patterns_are_haufes():
    states, targets = data()
    slope, intercept, pattern = filters(states, targets, 2.0)
    model = Ridge(alpha=2.0).fit(states[:, 0], targets)
    np.testing.assert_allclose(slope, model.coef_.T, atol=1e-9)
    np.testing.assert_allclose(intercept, model.intercept_, atol=1e-9)
    read = states[:, 0].numpy() @ slope
    expected = np.cov(states[:, 0].numpy().T) @ slope @ np.linalg.inv(np.cov(read.T))
    np.testing.assert_allclose(pattern, expected, atol=1e-9)
    assert np.abs(pattern - slope @ np.linalg.inv(slope.T @ slope)).max() > 0.1  # moves what is read as far


def test_patterns_of_classes_move_what_classes_can():
    states, targets = one_hot(classes=3)
    slope, _, pattern = filters(states, targets, 2.0)
    np.testing.assert_allclose(slope.T @ pattern @ [0.5, 0.2, -0.7], [0.5, 0.2, -0.7], atol=1e-9)
    np.testing.assert_allclose((slope.T @ pattern).sum(axis=0), 0.0, atol=1e-9)  # shares add up to one


def test_a_constant_target_has_no_pattern():
    states, _ = data()
    _, intercept, pattern = filters(states, torch.full((N, 1), 3.3, dtype=torch.float64))
    assert intercept == pytest.approx(3.3)
    assert not pattern.any()


# Files and errors


def test_a_saved_eraser_comes_back_equal(tmp_path):
    eraser = fit("leace", *data(), checkpoint="abc")
    again = load_eraser(eraser.save(tmp_path / "new" / "sum.pt"))
    for name, value in vars(eraser).items():
        assert (
            torch.equal(getattr(again, name), value) if isinstance(value, torch.Tensor) else value == vars(again)[name]
        )
    assert (again.name, again.rank, again.positions) == ("sum:leace", K, ("p0", "p1", "p2"))


def other_files():
    eraser = vars(fit("leace", *data()))
    yield "a state_dict", {"head.weight": torch.zeros(2, 3)}
    yield "no mean", {name: value for name, value in eraser.items() if name != "mean"}
    yield "more than an eraser", {**eraser, "more": 1}
    yield "no tensors", {**eraser, "left": [1.0], "right": [1.0], "mean": [1.0]}
    yield "cut off", {**eraser, "right": eraser["right"][..., :1]}
    yield "another width", {**eraser, "mean": eraser["mean"][:, :-1]}
    yield "another number of positions", {**eraser, "positions": ("a",)}
    yield "a list of positions", {**eraser, "positions": ["a", "b", "c"]}
    yield "a nameless one", {**eraser, "target": None}
    yield "a list", [1, 2]
    yield "a number", 3


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in other_files()])
def test_another_file_is_no_eraser(content, tmp_path):
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(ArithprobeError, match=r"other\.pt: .*; expected a") as caught:
        load_eraser(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"{}\n", b"x\ty\n1\t2\n", b"\x80\x02}q\x00.", bytes(range(256))])
def test_a_file_of_anything_else_is_no_eraser(content, tmp_path):
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    with pytest.raises(ArithprobeError, match=r"other\.pt: ") as caught:
        load_eraser(path)
    assert "\n" not in str(caught.value)


def test_half_a_file_and_a_missing_one_are_no_eraser(tmp_path):
    path = fit("leace", *data()).save(tmp_path / "half.pt")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ArithprobeError, match="not a checkpoint of tensors and plain values"):
        load_eraser(path)
    with pytest.raises(ArithprobeError, match="no such file"):
        load_eraser(tmp_path / "none.pt")


@pytest.mark.parametrize("shape", [(5, P, D + 1), (5, P + 1, D), (5, 1, D), (P, D), (5, P * D), (2, 5, P, D)])
def test_states_of_another_shape_are_refused(shape):
    eraser = fit("probe", *data())
    expected = rf"eraser 'sum:probe' is for states \(N, 3, 8\) at block0; got \({', '.join(map(str, shape))}\)"
    with pytest.raises(ArithprobeError, match=expected):
        eraser(torch.zeros(shape))
    assert eraser(torch.zeros(0, P, D)).shape == (0, P, D)


def test_an_unknown_kind_is_refused_and_the_kinds_are_listed():
    with pytest.raises(ArithprobeError, match="no eraser 'lace'; expected one of probe, mean_difference, leace, inlp"):
        fit("lace", *data())


@pytest.mark.parametrize("rank", [0, D + 1])
def test_a_rank_that_states_do_not_have_is_refused(rank):
    with pytest.raises(ArithprobeError, match=f"the rank of a subspace is {rank}; the states have 8 dimensions"):
        fit("inlp", *data(), rank=rank)
    with pytest.raises(ArithprobeError, match="expected a positive penalty"):
        alpha_choice(-1.0)


def test_the_erased_part_of_another_state_takes_the_place_of_ones_own():
    """What an interchange is; erasing is an interchange with the mean."""
    states, targets = data()
    eraser, donor = fit("leace", states, targets), states.flip(0)
    mixed = eraser.without(states, donor)
    torch.testing.assert_close(eraser(mixed), eraser(states))
    read, expected = (torch.einsum("npd,pdr->npr", part, eraser.right) for part in (mixed, donor))
    torch.testing.assert_close(read, expected)
    torch.testing.assert_close(eraser.without(states, states), states)
