"""Ablation is what a hook at the site would do, and its figures are those of the answers it leaves."""

import math

import numpy as np
import pytest
import torch
from micro import (
    GRID,
    HANDFUL,
    ablator,
    adder,
    axes,
    cell_of,
    dataset,
    moments,
    one_thread,  # noqa: F401
    positions,
    workbench,
)
from scipy.stats import binom
from torch import nn

from arithprobe.errors import ArithprobeError
from arithprobe.interventions.erasure import Eraser, fit_erasers
from arithprobe.interventions.part import Part
from arithprobe.interventions.patching import same_layout_donors
from arithprobe.linalg import matched_subspaces, random_subspaces, removed_by
from arithprobe.models.hooks import edit
from arithprobe.models.objectives import ScaledMSE
from arithprobe.models.transformer import TinyTransformer
from arithprobe.probes.splits import blocks_of

D = 16
KINDS = ("zero", "mean", "resample")
SITES = list(TinyTransformer(8, 2, 2, 8).sites)
PLACES = [("last",), ("x1", "x10", "plus", "y10", "query")]
SHORT = [(x, y) for x in (3, 7, 12, 40, 85) for y in (5, 16, 9, 61, 2, 30)]  # four layouts, and x10 is not in all


def transformer(seed=0, **options):
    """Random weights, biases too: what is zero hides mistakes."""
    generator = torch.Generator().manual_seed(seed)
    model = TinyTransformer(**{"d_model": D, "n_layers": 2, "n_heads": 2, "d_ff": 32, "dropout": 0.0} | options)
    for parameter in model.double().parameters():
        nn.init.normal_(parameter, std=0.4, generator=generator)
    return model.eval()


@pytest.fixture(scope="module")
def bench():
    return workbench(transformer(), SHORT, constant=40.0)


def oblique(bench, site, table, rank=2, seed=0):
    """An eraser whose left and right are not the same, other at each position, and whose mean is that of nothing."""
    generator, width = np.random.default_rng(seed), bench.network.width(site)
    right = generator.standard_normal((len(table.names), width, rank))
    left = np.linalg.pinv(right).swapaxes(1, 2) + 0.1 * generator.standard_normal(right.shape)
    left = left @ np.linalg.inv(right.swapaxes(1, 2) @ left)
    parts = (torch.from_numpy(part) for part in (left, right, generator.standard_normal((len(table.names), width))))
    return Eraser("sum", "leace", site, table.names, *parts)


def direction(run, columns):
    """Orthogonal eraser of (P, D, R) columns, for an ablator, with its mean."""
    columns = torch.as_tensor(columns)
    mean = torch.from_numpy(run.fit.mean_states)
    return Eraser("sum", "probe", run.site, run.table.names, columns, columns, mean)


def hooked(bench, site, table, eraser, kind, donors, times=1):
    """(N, K) outputs of a whole forward pass with a hook that ablates cell by cell."""

    def fn(state):
        edited = state.clone()
        for row in range(len(bench)):
            for p in range(len(table.names)):
                if not table.valid[row, p]:
                    continue
                token = int(table.token[row, p])
                own = state[row, token]
                donor = bench.states[site][donors[row], int(table.token[donors[row], p])]
                toward = {"zero": torch.zeros_like(own), "mean": eraser.mean[p], "resample": donor}[kind]
                edited[row, token] = own - eraser.left[p] @ eraser.right[p].T @ (own - toward)
        return edited

    ids = bench.dataset.ids[bench.rows].long()
    with torch.no_grad(), edit(bench.network, site, fn):
        if times == 1:
            return bench.network(ids, bench.inputs.lengths)
        with edit(bench.network, site, fn):
            return bench.network(ids, bench.inputs.lengths)


@pytest.mark.parametrize("names", PLACES, ids="+".join)
@pytest.mark.parametrize("site", SITES)
def test_an_ablation_is_the_edit_of_a_hook(bench, site, names):
    table, donors = positions(bench, *names), same_layout_donors(bench, 0)
    eraser, run = oblique(bench, site, table), ablator(bench, site, table, donors)
    for kind in KINDS:
        found = run.ablate(eraser, kind, (), 0, 0).outputs
        expected = hooked(bench, site, table, eraser, kind, donors)
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)
        same = site == "embed" and names == ("last",) and kind == "resample"  # every donor has the same "?" there
        assert ((found - bench.outputs).abs().max() > 1e-6) != same


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("site", ["embed", "resid_post.0", "mlp_out.1"])
def test_ablating_twice_is_ablating_once(bench, site, kind):
    table, donors = positions(bench, *PLACES[1]), same_layout_donors(bench, 0)
    eraser, run = oblique(bench, site, table), ablator(bench, site, table, donors)
    twice = hooked(bench, site, table, eraser, kind, donors, times=2)
    torch.testing.assert_close(run.ablate(eraser, kind, (), 0, 0).outputs, twice, atol=1e-9, rtol=0)
    doubled = direction(run, 1.5 * eraser.left)  # the control: no projection
    once = run.ablate(doubled, kind, (), 0, 0).outputs
    assert (once - hooked(bench, site, table, doubled, kind, donors, times=2)).abs().max() > 1e-3


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_subspace_changes_nothing_and_has_no_p(bench, kind, rank):
    """No columns, or columns of zeros: an eraser that found nothing to take out."""
    table = positions(bench, *PLACES[1])
    run = ablator(bench, "resid_mid.0", table, same_layout_donors(bench, 0))
    empty = direction(run, np.zeros((len(table.names), D, rank)))
    effect, outputs, *_ = run.ablate(empty, kind, ("isotropic", "matched"), 19, 0)
    torch.testing.assert_close(outputs, bench.outputs, atol=1e-12, rtol=0)
    assert (effect.removed, effect.delta_exact_match) == (0, 0)
    assert effect.delta_rmse == pytest.approx(0, abs=1e-9)
    for family in effect.families:
        assert math.isnan(family.p) and math.isnan(family.percentile)
        assert family.note == "there is nothing to take out"


def test_the_whole_space_in_any_basis_is_the_whole_state(bench):
    table, donors = positions(bench, "last"), same_layout_donors(bench, 0)
    run = ablator(bench, "resid_post.0", table, donors)
    for basis in (np.eye(D), np.linalg.qr(np.random.default_rng(0).standard_normal((D, D)))[0]):
        eraser = direction(run, basis[None])
        for kind, state in [("zero", torch.zeros(D).double()), ("mean", eraser.mean[0])]:
            replaced = edit(bench.network, "resid_post.0", lambda own, s=state: s.expand_as(own), table.token[:, 0])
            with torch.no_grad(), replaced:
                expected = bench.network(bench.dataset.ids.long(), bench.inputs.lengths)
            torch.testing.assert_close(run.ablate(eraser, kind, (), 0, 0).outputs, expected, atol=1e-10, rtol=0)


def test_donors_are_other_rows_of_the_same_layout_each_once(bench):
    for seed in range(20):
        donors = same_layout_donors(bench, seed)
        assert sorted(donors.tolist()) == list(range(len(SHORT)))
        assert bool((donors != torch.arange(len(SHORT))).all())
        assert torch.equal(bench.dataset.layout[donors], bench.dataset.layout)
        assert torch.equal(same_layout_donors(bench, seed), donors)
    assert not torch.equal(same_layout_donors(bench, 0), same_layout_donors(bench, 1))


def test_donors_are_of_other_sums_in_the_same_block_where_there_are_any():
    """So that leaving a block out leaves out whole pairs. The control: rows drawn at random are not."""
    part = workbench(transformer(), [(x, y) for x in range(10, 30) for y in range(10, 25)])
    block, donors = blocks_of(part.group), same_layout_donors(part, 0)
    within = torch.stack([part.group[block == one].unique().numel() > torch.ones(()) for one in block])
    assert within.double().mean() > 0.9
    assert torch.equal(block[donors][within], block[within])
    assert bool((part.group[donors] != part.group)[within].all())
    drawn = torch.from_numpy(np.random.default_rng(0).permutation(len(part)))
    assert (block[drawn] == block).double().mean() < 0.3


def test_a_row_that_is_alone_has_itself_as_donor():
    lonely = workbench(transformer(), [(1, 2), (3, 4), (5, 6), (50, 6)])
    for seed in range(5):
        donors = same_layout_donors(lonely, seed)
        assert donors[3] == 3 and sorted(donors[:3].tolist()) == [0, 1, 2]
        assert bool((donors[:3] != torch.arange(3)).all())


def test_donors_belong_to_the_rows_of_the_workbench_not_of_the_file():
    data = dataset(SHORT)
    rows = torch.arange(len(SHORT)).flip(0)[::2]
    donors = same_layout_donors(Part(transformer(), ScaledMSE(1.0), data, rows, 40.0), 0)
    assert int(donors.max()) == len(rows) - 1
    assert torch.equal(data.layout[rows[donors]], data.layout[rows])
    assert not torch.equal(data.layout[donors], data.layout[: len(rows)])  # the control: these are others


@pytest.fixture(scope="module")
def skilled():
    """The hand-made adder on all its problems, but it cannot count beyond 12: learned, and not perfect."""
    return workbench(adder(ceiling=12), GRID)


@pytest.mark.parametrize("kind", KINDS)
def test_the_figures_are_those_of_the_answers(skilled, kind):
    table, donors = positions(skilled, "x1", "equals"), same_layout_donors(skilled, 0)
    eraser, run = oblique(skilled, "embed", table), ablator(skilled, "embed", table, donors)
    effect, outputs, random, _ = run.ablate(eraser, kind, ("isotropic",), 19, 0)
    truth = skilled.group.double()

    def figures(outputs):
        e = outputs[:, 0] - truth
        mse, constant = e.square().mean().item(), (truth - 9).square().mean().item()
        return mse**0.5, 1 - mse / constant, (outputs[:, 0].round() == truth).double().mean().item(), mse

    rmse, skill, exact, loss = figures(outputs)
    rmse_0, skill_0, exact_0, loss_0 = figures(skilled.outputs)
    assert 0 < rmse_0 < rmse and 0.5 < skill_0 < 1 and 0.5 < exact_0 < 1
    found = (
        effect.rmse,
        effect.delta_rmse,
        effect.skill,
        effect.skill_lost,
        effect.exact_match,
        effect.delta_exact_match,
        effect.delta_loss,
    )
    expected = (rmse, rmse - rmse_0, skill, (skill_0 - skill) / skill_0, exact, exact - exact_0, loss - loss_0)
    assert found == pytest.approx(expected, rel=1e-9)
    assert (effect.kind, effect.n) == (kind, 100)
    (family,) = effect.families
    every = [figures(one) for one in random["isotropic"]]
    assert family.delta_rmse.tolist() == pytest.approx([one[0] - rmse_0 for one in every], rel=1e-9)
    assert family.skill_lost.tolist() == pytest.approx([(skill_0 - one[1]) / skill_0 for one in every], rel=1e-9)
    larger = sum(one[0] >= rmse for one in every)
    assert family.percentile == pytest.approx(100 * (19 - larger) / 19)
    assert math.isnan(family.p) and family.note.startswith("a description: ")  # blind draws test nothing


def test_the_loss_is_in_units_of_training_and_the_rmse_in_those_of_answers():
    model = adder()
    model.readout.weight /= 100
    model.readout.bias /= 100
    bench = Part(model, ScaledMSE(100.0), dataset(HANDFUL), torch.arange(4), 9.0)
    table = positions(bench, "last")
    eraser = axes(bench, "final", table, "sum", "total")
    effect = ablator(bench, "final", table, torch.tensor([1, 2, 3, 0])).ablate(eraser, "zero", (), 0, 0).effect
    squares = (25 + 25 + 196 + 144) / 4  # the answers, all gone
    assert effect.rmse == pytest.approx(math.sqrt(squares))
    assert effect.delta_loss == pytest.approx(squares / 100**2)


def test_a_model_that_has_not_learned_has_no_skill_to_lose(bench, skilled):
    assert bench.behaviour.verdict == "NOT LEARNED" != skilled.behaviour.verdict
    for one in (bench, skilled):
        table = positions(one, "last")
        run = ablator(one, "embed", table, same_layout_donors(one, 0))
        effect = run.ablate(oblique(one, "embed", table), "zero", ("isotropic",), 19, 0).effect
        learned = one is skilled
        assert math.isnan(effect.skill_lost) != learned
        assert bool(effect.families[0].skill_lost.isnan().all()) != learned
        assert math.isfinite(effect.families[0].percentile)  # the increase of the error is a number all the same


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_removed_is_the_mean_square_change_of_the_states(bench, kind):
    table = positions(bench, "last")
    eraser, run = (
        oblique(bench, "resid_mid.1", table),
        ablator(bench, "resid_mid.1", table, same_layout_donors(bench, 0)),
    )
    states, own = run.states[:, 0], eraser.left[0] @ eraser.right[0].T
    toward = {"zero": torch.zeros(D).double(), "mean": eraser.mean[0], "resample": states[run.bench.donors]}[kind]
    change = (toward - states) @ own.T
    expected = change.square().sum(dim=1).mean().item()
    assert run.ablate(eraser, kind, (), 0, 0).effect.removed == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("names", PLACES, ids="+".join)
def test_random_families_have_as_many_draws_as_asked_for_and_matched_ones_remove_as_much(bench, kind, names):
    table = positions(bench, *names)
    run = ablator(bench, "resid_post.0", table, same_layout_donors(bench, 0))
    basis = random_subspaces(D, 2, len(names), np.random.default_rng(3))
    effect, _, random, _ = run.ablate(direction(run, basis), kind, ("isotropic", "matched"), 20, 0)
    isotropic, matched = effect.families
    n = run.table.valid.sum(dim=0).tolist()
    for family in effect.families:
        assert len(family.delta_rmse) == len(family.skill_lost) == len(family.removed) == len(random[family.name]) == 20
        assert 0 <= family.percentile <= 100 and math.isnan(family.p) and family.note.startswith("a description: ")
        assert 0 < family.overlap < 1
    assert bool(((matched.removed - 1).abs() <= 0.1).all())
    assert not bool(((isotropic.removed - 1).abs() <= 0.1).all())  # the control: drawn without a look at the states
    assert effect.removed == pytest.approx(
        sum(float(removed_by(one, one, _moment(run, p, kind))) * n[p] for p, one in enumerate(basis)) / max(n)
    )


def _moment(run, p, kind):
    rows = run.table.valid[:, p]
    states = run.states[rows, p].numpy()
    toward = {"zero": 0, "mean": states.mean(axis=0), "resample": run.states[run.bench.donors[rows], p].numpy()}[kind]
    return (toward - states).T @ (toward - states) / len(states)


def test_draws_depend_on_the_seed_alone(bench):
    table, donors = positions(bench, "last"), same_layout_donors(bench, 0)
    run = ablator(bench, "resid_mid.0", table, donors)
    eraser = direction(run, random_subspaces(D, 1, 1, np.random.default_rng(5)))

    def increases(seed):
        families = run.ablate(eraser, "mean", ("isotropic", "matched"), 19, seed).effect.families
        return torch.stack([one.delta_rmse for one in families])

    assert torch.equal(increases(1), increases(1))
    assert bool((increases(1) != increases(2)).all())


@pytest.mark.parametrize("family", ["isotropic", "matched"])
def test_a_random_direction_is_no_more_than_its_family_one_time_in_ten(bench, family):
    """100 directions drawn like the family itself are anywhere in it: neither too often above most, nor below."""
    table, donors, count = positions(bench, "last"), same_layout_donors(bench, 0), 100
    run = ablator(bench, "resid_post.0", table, donors)
    generator = np.random.default_rng(1000)
    directions = random_subspaces(D, 1, count, generator)
    if family == "matched":
        moment = _moment(run, 0, "mean")
        target = float(removed_by(directions[0], directions[0], moment))
        directions = np.stack([matched_subspaces(moment, 1, target, 19, generator).basis[0] for _ in range(count)])
    below = np.array(
        [
            run.ablate(direction(run, one[None]), "mean", (family,), 19, seed).effect.families[0].percentile
            for seed, one in enumerate(directions, start=1)
        ]
    )
    p = (1 + 19 * (1 - below / 100)) / 20
    for level in (0.1, 0.5, 0.9):
        low, high = binom.ppf(0.0005, count, level), binom.ppf(0.9995, count, level)
        assert low <= (p <= level + 1e-9).sum() <= high, (level, (p <= level).mean())


def test_the_dimension_that_the_answer_is_written_in_stands_out_and_its_copy_does_not():
    """The control of the one above: at the last token of the hand-made adder, which makes no mistakes."""
    bench = workbench(adder(), GRID)
    table, donors = positions(bench, "last"), same_layout_donors(bench, 0)
    run = ablator(bench, "resid_mid.1", table, donors)
    for name, percentile in [("total", 100), ("decoy", 0)]:  # any random direction hits total a little
        eraser = axes(bench, "resid_mid.1", table, "sum", name)
        (family,) = run.ablate(eraser, "mean", ("isotropic",), 99, 0).effect.families
        assert family.percentile == percentile


def test_where_nothing_random_removes_as_much_there_is_no_p_but_a_note(bench):
    """An eraser whose directions are long changes the states more than LEACE of any function of them can."""
    table = positions(bench, "last")
    run = ablator(bench, "resid_post.0", table, same_layout_donors(bench, 0))
    left = torch.zeros(1, D, 1, dtype=torch.float64)
    left[0, 0], right = 1.0, torch.zeros(1, D, 1, dtype=torch.float64)
    right[0, 0], right[0, 1], left[0, 2] = 1.0, 9.0, 900.0
    eraser = Eraser("sum", "leace", "resid_post.0", table.names, left, right, torch.zeros(1, D).double())
    effect, _, random, _ = run.ablate(eraser, "mean", ("matched", "isotropic"), 19, 0)
    matched, isotropic = effect.families
    assert math.isnan(matched.p) and math.isnan(matched.percentile)
    assert len(matched.delta_rmse) == len(random["matched"]) == 0
    assert matched.note.startswith("0 of the 19 subspaces wanted change last as much as this one, within 10%")
    nearest = float(matched.note.rsplit("it ", 1)[1].split(" ")[0])
    assert 0 < nearest < 0.9
    assert 0 <= isotropic.percentile <= 100  # drawn without a match, it can be compared with


@pytest.mark.parametrize("kind", ["mean", "resample"])
def test_where_only_the_subspace_itself_removes_as_much_there_is_no_p_but_a_note(kind):
    """All that varies at x1 is the digit: a random direction that removes as much is that direction again."""
    bench = workbench(adder(), GRID)
    table = positions(bench, "x1")
    run = ablator(bench, "embed", table, same_layout_donors(bench, 0))
    digit = axes(bench, "embed", table, "x", "digit")
    matched, isotropic = run.ablate(digit, kind, ("matched", "isotropic"), 19, 0).effect.families
    assert matched.overlap == pytest.approx(1)
    assert math.isnan(matched.p) and math.isnan(matched.percentile)
    assert matched.note == "the subspaces drawn are mostly this one itself: they overlap by 1"
    assert isotropic.overlap < 0.2 and isotropic.percentile == 100
    whole = direction(run, np.eye(D)[None])  # of all dimensions there is but one subspace
    (family,) = run.ablate(whole, kind, ("isotropic",), 19, 0).effect.families
    assert math.isnan(family.p) and "mostly this one itself" in family.note


def test_an_eraser_fitted_on_these_rows_takes_the_place_of_one_made_by_hand(skilled):
    """LEACE of the sum at the readout leaves a constant: skill lost is all of it, and no more."""
    table = positions(skilled, "last")
    here = moments(skilled, "resid_mid.1", table)
    eraser = fit_erasers("leace", here, target="sum", site="resid_mid.1", positions=table.names)
    run = cell_of(skilled, "resid_mid.1", table, here, same_layout_donors(skilled, 0))
    effect, outputs, *_ = run.ablate(eraser, "mean", (), 0, 0)
    assert outputs.std() < 1e-6 and outputs[0].item() == pytest.approx(9)
    assert effect.skill_lost == pytest.approx(1)


def test_one_ablator_serves_many_ablations(bench):
    """What it keeps from one to the next is what it would compute again."""
    table, donors = positions(bench, *PLACES[1]), same_layout_donors(bench, 0)
    used = ablator(bench, "embed", table, donors)
    erasers = [oblique(bench, "embed", table, seed=seed) for seed in (0, 1)]
    for kind, eraser, seed in [(k, e, s) for k in KINDS for e in erasers for s in (0, 1)]:
        options = (eraser, kind, ("isotropic", "matched"), 19, seed)
        found, fresh = used.ablate(*options), ablator(bench, "embed", table, donors).ablate(*options)
        assert torch.equal(found.outputs, fresh.outputs)
        assert all(torch.equal(found.random[name], fresh.random[name]) for name in fresh.random)


def test_some_rows_of_a_file_are_a_file_of_these_rows(bench):
    rows = torch.arange(len(SHORT)).flip(0)[::2]
    part = Part(bench.network, ScaledMSE(1.0), bench.dataset, rows, 40.0)
    alone = workbench(bench.network, [SHORT[row] for row in rows], constant=40.0)
    donors = same_layout_donors(part, 0)
    for names in PLACES:
        eraser = oblique(bench, "resid_post.0", positions(part, *names))
        one, other = (
            ablator(each, "resid_post.0", positions(each, *names), donors).ablate(eraser, "resample", (), 0, 0)
            for each in (part, alone)
        )
        torch.testing.assert_close(one.outputs, other.outputs, atol=1e-12, rtol=0)
        assert one.effect.rmse == pytest.approx(other.effect.rmse)


def test_the_mean_is_that_of_the_eraser(bench):
    table, donors = positions(bench, "last"), same_layout_donors(bench, 0)
    run, one = ablator(bench, "final", table, donors), oblique(bench, "final", table)
    fitted = Eraser("sum", "leace", "final", table.names, one.left, one.right, torch.from_numpy(run.fit.mean_states))
    plain = run.without("mean", one.left[None], one.right[None])[0]
    torch.testing.assert_close(run.ablate(fitted, "mean", (), 0, 0).outputs, plain, atol=1e-12, rtol=0)
    assert (run.ablate(one, "mean", (), 0, 0).outputs - plain).abs().max() > 1e-3


def test_positions_with_too_few_rows_are_left_alone():
    """x10 is there in one problem only: nothing is ablated there, everything at x1."""
    bench = workbench(transformer(), [(1, 2), (3, 4), (5, 6), (50, 6)])
    table, donors = positions(bench, "x10", "x1"), same_layout_donors(bench, 0)
    run = ablator(bench, "embed", table, donors)
    eraser = oblique(bench, "embed", table)
    only = ablator(bench, "embed", positions(bench, "x1"), donors)
    alone = Eraser("sum", "leace", "embed", ("x1",), eraser.left[1:], eraser.right[1:], eraser.mean[1:])
    for kind in KINDS:
        found = run.ablate(eraser, kind, (), 0, 0).outputs
        torch.testing.assert_close(found, only.ablate(alone, kind, (), 0, 0).outputs, atol=1e-12, rtol=0)


def test_what_cannot_be_is_refused(bench):
    table, donors = positions(bench, "last"), same_layout_donors(bench, 0)
    run, eraser = ablator(bench, "embed", table, donors), oblique(bench, "embed", table)
    with pytest.raises(ArithprobeError, match="no ablation 'remove'; expected one of zero, mean, resample"):
        run.ablate(eraser, "remove", (), 0, 0)
    with pytest.raises(ArithprobeError, match="no random family 'gaussian'; expected one of isotropic, permuted"):
        run.ablate(eraser, "zero", ("gaussian",), 19, 0)
    wide = torch.zeros(1, D + 1, 1, dtype=torch.float64)
    with pytest.raises(
        ArithprobeError, match=r"eraser 'sum:probe' is for states \(N, 1, 17\) at embed; got \(30, 1, 16\)"
    ):
        run.ablate(Eraser("sum", "probe", "embed", ("last",), wide, wide, wide[..., 0]), "zero", (), 0, 0)
    two = oblique(bench, "embed", positions(bench, "x1", "last"))
    with pytest.raises(ArithprobeError, match=r"is for states \(N, 2, 16\)"):
        run.ablate(two, "zero", (), 0, 0)
    with pytest.raises(ArithprobeError, match="no rows of by hand to intervene on"):
        Part(bench.network, bench.objective, bench.dataset, torch.arange(0), 0.0)


@pytest.mark.parametrize(("fit", "there"), [(1, 2), (2, 1), (2, 2)])
def test_fewer_than_two_examples_on_either_side_are_refused(fit, there):
    bench, other = (workbench(transformer(), [(1, 2), (3, 4)][:count]) for count in (there, fit))
    table, donors = positions(bench, "last"), same_layout_donors(bench, 0)
    here = moments(other, "embed", positions(other, "last"))
    if fit == there == 2:
        cell_of(bench, "embed", table, here, donors)
        return
    with pytest.raises(ArithprobeError, match=rf"embed@last: {fit} rows to fit on and {there} to ablate"):
        cell_of(bench, "embed", table, here, donors)


def test_the_global_random_state_is_not_touched(bench):
    torch.manual_seed(7)
    np.random.seed(7)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    table, donors = positions(bench, "last"), same_layout_donors(bench, 3)
    run = ablator(bench, "resid_post.0", table, donors)
    run.ablate(oblique(bench, "resid_post.0", table), "resample", ("isotropic", "matched"), 19, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()
    assert all(parameter.grad is None for parameter in bench.network.parameters())
