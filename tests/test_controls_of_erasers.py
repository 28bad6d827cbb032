"""Controls of an ablation tell a variable that is used from one that nothing reads, or say that it cannot be told.

Planted states: the sum on one direction, a decoy (decodable, unused) on another, and noise or other decoys; read by a
line, or by a line behind a LayerNorm.
"""

import math
from functools import cache

import numpy as np
import pytest
import torch
from micro import one_thread  # noqa: F401
from scipy.stats import binom

from arithprobe.errors import ArithprobeError
from arithprobe.interventions.bench import Bench, halves_of
from arithprobe.interventions.controls import Taken, drawn_beside, is_null, is_oblique
from arithprobe.interventions.erasure import fit_erasers
from arithprobe.interventions.permuted import permuted_moments, permuted_pairs
from arithprobe.linalg import TOLERANCE
from arithprobe.planted import directions, noise, planted_states
from arithprobe.probes.moments import ALPHAS, alpha_choice
from arithprobe.probes.splits import permuted_rows

SITE, ROWS, DRAWS = "resid_post.0", 400, 39
RUNS, SHARE = 200, 0.05
SPREAD = math.sqrt((60**2 - 1) / 6)  # standard deviation of x + y
TESTED = ("permuted", "matched")


def planted(variance, seed, d=16, norm=False, others=(), dust=0.02, r2=1.0):
    """A bench on states that hold the sum, a decoy of a variance, further decoys, and noise in all dimensions."""
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randint(60, (ROWS,), generator=generator) for _ in range(2))
    u, v, *rest = directions(2 + len(others), d, seed)
    sizes, axes = torch.tensor(others, dtype=torch.float64).sqrt(), torch.stack([u, *rest])[1:]

    def decoy(x, y):
        return noise(x, y, 1, seed)[:, 0]

    def states(x, y):
        shown = math.sqrt(r2) * decoy(x, y) + math.sqrt(1 - r2) * noise(x, y, 1, seed + 4000)[:, 0]
        whole = torch.outer((x + y - 59) / SPREAD, u) + math.sqrt(variance) * torch.outer(shown, v)
        if others:
            whole = whole + (noise(x, y, len(others), seed + 1000) * sizes) @ axes
        return whole + math.sqrt(dust) * noise(x, y, d, seed + 2000)

    every = torch.cartesian_prod(torch.arange(60), torch.arange(60)).double().T
    table = states(*every)  # looked up from now on
    size = 1.0
    if norm:  # the reader undoes what the LayerNorm divides by, as well as one number can
        own = torch.nn.functional.layer_norm(table[60 * x + y], (d,))
        read, truth = own @ u, (x + y - 59).double() / SPREAD
        size = float((read @ truth) / (read @ read))
    reader = torch.nn.Linear(d, 1).double()
    with torch.no_grad():
        reader.weight[0], reader.bias[0] = SPREAD * size * u, 59.0
    loaded, rows = planted_states(x, y, lambda x, y: table[(60 * x + y).long()], reader, norm=norm)
    fit, held = halves_of(rows, ROWS)
    columns = {"sum": rows.answers.double()[:, None], "decoy": decoy(x.double(), y.double())[:, None]}
    rows.group = lambda name, own=rows.group: torch.arange(ROWS) if name == "decoy" else own(name)
    return Bench(loaded.model, loaded.objective, rows, 59.0, held, fit, columns=columns, sites=[SITE])


def families(bench, variable, kind, names=TESTED, draws=DRAWS, seed=0):
    cell = bench.cell(SITE, "last")
    return {
        one.name: one for one in cell.ablate(cell.eraser(variable, kind), "mean", names, draws, seed).effect.families
    }


def p_values(bench, variable):
    """Every p that is printed, by eraser and family."""
    tested = {"leace": TESTED, "probe": ("permuted",)}
    return {
        (kind, one.name): one.p
        for kind, names in tested.items()
        for one in families(bench, variable, kind, names).values()
        if one.is_null
    }


# what decides


def test_an_eraser_is_oblique_by_what_it_does_and_not_by_its_name():
    bench = planted(1.0, 0)
    cell = bench.cell(SITE, "last")
    for kind, expected in [("leace", True), ("probe", False), ("mean_difference", False), ("inlp", False)]:
        eraser = cell.eraser("decoy", kind)
        assert is_oblique(eraser.left.numpy(), eraser.right.numpy()) == expected
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((2, 2)))[0]
    basis = directions(2, 16).T.numpy()[None]
    assert not is_oblique(basis @ turned, basis @ turned)
    scaled = np.diag([2.0, 0.5])
    assert not is_oblique(basis @ scaled, basis @ np.linalg.inv(scaled))  # the same projection, written otherwise


def test_which_families_have_a_p_and_the_others_say_why_they_have_none():
    bench, every = planted(1.0, 0, d=8, others=(3.0,) * 4), ("isotropic", "permuted", "matched", "outside")
    for kind in ("leace", "probe"):
        for name, one in families(bench, "sum", kind, every).items():
            assert one.is_null == is_null(name, kind == "leace")
            assert one.is_null or (math.isnan(one.p) and one.note.startswith("a description: "))
            assert not math.isnan(one.percentile)  # what is no test is a number all the same
            assert len(one.delta_rmse) == (DRAWS if one.is_null else 20)
    assert not math.isnan(families(bench, "sum", "leace")["permuted"].p)  # the control


# fits on permuted labels


@pytest.mark.parametrize("kind", ["leace", "probe", "mean_difference", "inlp"])
@pytest.mark.parametrize("k", [1, 2])
def test_many_fits_at_once_are_each_fit_by_itself(kind, k):
    generator = torch.Generator().manual_seed(3)
    cells = torch.randn(300, 2, 6, dtype=torch.float64, generator=generator)
    cells[:, 1] *= torch.tensor([3.0, 1.0, 1.0, 0.1, 0.0, 0.0])  # a position of four dimensions
    labels, group = torch.randn(300, k, dtype=torch.float64, generator=generator), torch.arange(300) // 3
    valid, choice = torch.ones(300, 2, dtype=torch.bool), alpha_choice(ALPHAS)
    moments = permuted_moments(cells, valid, labels, group, 4, 5)
    found = permuted_pairs(kind, moments, k, choice, 2 if kind == "inlp" else None)
    for number in range(4):
        own = permuted_moments(
            cells, valid, labels[permuted_rows(group, 4, 5)[:, number]], torch.zeros(300).long(), 1, 0
        )
        eraser = fit_erasers(
            kind, own, target="label", site=SITE, positions=("a", "b"), rank=2 if kind == "inlp" else None
        )
        expected = eraser.left @ eraser.right.transpose(1, 2)
        np.testing.assert_allclose(found.left[number] @ found.right[number].swapaxes(1, 2), expected, atol=1e-9)


def test_a_bench_without_rows_to_fit_on_has_no_fits_on_permuted_labels_and_says_so():
    bench = planted(1.0, 0)
    alone = Bench(
        bench.network,
        bench.held.objective,
        bench.rows,
        59.0,
        bench.held.rows,
        columns={"sum": bench.rows.answers.double()[:, None]},
        sites=[SITE],
    )
    cell = alone.cell(SITE, "last", bench.moments(SITE, ("last",))[0].columns(slice(0, 1)))
    (one,) = cell.ablate(cell.eraser("sum", "leace"), "mean", ("permuted",), DRAWS).effect.families
    assert math.isnan(one.p) and one.note == "no rows to fit permuted labels of 'sum' on" and not len(one.delta_rmse)
    with pytest.raises(ArithprobeError, match="without rows to fit on"):
        cell.shuffled("sum", 2, 0)


# LEACE of random functions of the states


@pytest.mark.parametrize("name", ["matched", "outside"])
@pytest.mark.parametrize("kind", ["mean", "zero"])
def test_oblique_draws_are_projections_that_change_the_states_as_much(name, kind):
    bench = planted(1.0, 0, others=(2.0, 1.0, 0.5))
    cell = bench.cell(SITE, "last")
    eraser = cell.eraser("sum", "leace")
    left, right = eraser.left.numpy(), eraser.right.numpy()
    own = cell.states.double() - (torch.from_numpy(cell.fit.mean_states) if kind == "mean" else 0.0)
    gone = Taken(eraser, left, right, torch.einsum("npd,npe->pde", own, own).numpy() / len(own), np.array([len(own)]))
    draws = drawn_beside(name, gone, cell.fit, cell.permuted, DRAWS, 0)
    size = gone.size(draws.left, draws.right) / gone.size(left, right)
    assert draws.note == "" and np.abs(size - 1).max() <= TOLERANCE + 1e-9
    taken = draws.left @ draws.right.swapaxes(-1, -2)
    np.testing.assert_allclose(taken @ taken, taken, atol=1e-8)
    assert is_oblique(draws.left[0], draws.right[0])
    shared = np.abs(right.swapaxes(-1, -2) @ draws.left).max()
    assert (shared < 1e-8) == (name == "outside")
    if kind == "mean":  # LEACE of what a draw reads is that draw
        read = (own[:, 0].numpy() @ draws.right[0, 0])[:, 0]
        again = np.cov(np.column_stack([own[:, 0].numpy(), read]).T)[:-1, -1]
        cosine = again @ draws.left[0, 0, :, 0] / np.linalg.norm(again) / np.linalg.norm(draws.left[0, 0])
        assert cosine > 0.95  # on the rows held out


# where it can be told


@cache
def told(variable, variance, norm):
    return p_values(planted(variance, 1, norm=norm, others=(2.0, 2.0, 2.0)), variable)


@pytest.mark.parametrize("norm", [False, True])
def test_what_is_used_has_the_least_p_and_what_is_not_has_none_so_small(norm):
    assert {key: p for key, p in told("sum", 1.0, norm).items() if key[0] == "leace"} == pytest.approx(
        {("leace", "permuted"): 1 / (1 + DRAWS), ("leace", "matched"): 1 / (1 + DRAWS)}
    )
    assert min(told("decoy", 1.0, norm).values()) > 0.05


def test_what_displaces_more_than_every_control_cannot_be_told_though_all_of_them_cost_less():
    """A decoy with nine tenths of the variance, behind a LayerNorm: without it the rest is three times as large."""
    bench = planted(10.0, 2, norm=True)
    effect = (
        bench.cell(SITE, "last").ablate(bench.cell(SITE, "last").eraser("decoy", "leace"), "mean", TESTED, DRAWS).effect
    )
    permuted, matched = effect.families
    assert effect.displaced > 0.8
    assert effect.delta_rmse > permuted.delta_rmse.quantile(0.9)  # which would look like use
    assert math.isnan(permuted.p) and math.isnan(matched.p)
    most = effect.displaced * float(permuted.removed.max())
    assert permuted.note.endswith(f"more than every fit on permuted labels ({most:.2g} at most)")
    assert "mostly this one itself" in matched.note or "subspaces wanted" in matched.note


def test_orthogonal_draws_of_equal_variance_are_fooled_by_a_decoy_behind_a_layer_norm_and_permuted_labels_are_not():
    """Why they are a description: the decoy's own direction, a tenth of the variance, rescales the rest most."""
    above, p = [], []
    for seed in range(6):
        found = families(planted(0.1, seed, norm=True), "decoy", "probe")
        above.append(found["matched"].percentile)
        p.append(found["permuted"].p)
    assert np.median(above) >= 95
    assert min(p) > 0.05


# how often it is wrong

CELLS = [
    (norm, d, others, variance, r2)
    for norm in (False, True)
    for d, others in ((8, ()), (32, (3.0,) * 4))
    for variance in (0.1, 1.0, 10.0)
    for r2 in (1.0, 0.02)
]


def assert_not_fooled_too_often(p, what, cells):
    """At most as often as the 99 % binomial band of 5 %, widened for the number of cells, has it."""
    known = [one for one in p if not math.isnan(one)]
    most = binom.ppf(1 - 0.005 / cells, len(known), SHARE) if known else 0
    count = sum(one <= SHARE for one in known)
    print(f"{what}: p <= {SHARE} in {count} of {len(known)} told ({len(p)} runs), at most {most:.0f}")
    assert count <= most


@pytest.mark.parametrize(("norm", "d", "others", "variance", "r2"), [CELLS[0], CELLS[-1]])
def test_decoys_are_seldom_called_used(norm, d, others, variance, r2):
    runs = [p_values(planted(variance, seed, d, norm, others, r2=r2), "decoy") for seed in range(10)]
    for key in runs[0]:
        assert_not_fooled_too_often([one[key] for one in runs], key, 6)


@pytest.mark.long
@pytest.mark.parametrize(("norm", "d", "others", "variance", "r2"), CELLS)
def test_decoys_are_called_used_as_seldom_as_it_says(norm, d, others, variance, r2):
    """Decodable exactly, and hardly (R2 0.02, when the fit has as much of the rest by chance)."""
    runs = [p_values(planted(variance, seed, d, norm, others, r2=r2), "decoy") for seed in range(RUNS)]
    for key in runs[0]:
        assert_not_fooled_too_often([one[key] for one in runs], key, 3 * len(CELLS))
