"""Ablating or patching a head is what a hook on its slice of ``z`` would do; on the adder, what can be worked out.

The adder's heads: head 0 of layer 0 carries x, head 1 carries y, head 0 of layer 1 the sum, head 1 of layer 1 nothing.
"""

import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from micro import GRID, HANDFUL, adder, dataset, one_thread, positions, workbench  # noqa: F401
from test_ablation import KINDS, SHORT, D, transformer
from test_patching import slope_of

from arithprobe.errors import ArithprobeError
from arithprobe.interventions.heads import ablate_heads, patch_heads
from arithprobe.interventions.part import Part
from arithprobe.interventions.patching import same_layout_donors, whole_state_answers
from arithprobe.linalg import random_subspaces
from arithprobe.models.hooks import edit
from arithprobe.models.objectives import ScaledMSE

pytestmark = pytest.mark.slow(seconds=0.1)

NEXT = torch.tensor([1, 2, 3, 0])  # the donors of HANDFUL: (4, 1), (6, 8), (8, 4), (2, 3)
SIZES = [{"n_layers": 1}, {"n_layers": 2}, {"n_layers": 3, "n_heads": 4}]
VALUES = ("rmse", "delta_rmse", "delta_loss", "skill", "delta_exact_match")


@pytest.fixture(scope="module", params=SIZES, ids=str)
def bench(request):
    return workbench(transformer(**request.param), SHORT, constant=40.0)


def heads_of(bench):
    sizes = bench.network.sizes
    return [(layer, head) for layer in range(sizes["n_layers"]) for head in range(sizes["n_heads"])]


def slice_of(bench, head):
    width = bench.network.d_model // bench.network.sizes["n_heads"]
    return slice(head * width, (head + 1) * width)


def answers_with(bench, site, states):
    """(N,) outputs of a whole forward pass with a hook that puts other states in everywhere."""
    with torch.no_grad(), edit(bench.network, site, lambda _: states):
        return bench.network(bench.dataset.ids[bench.rows].long(), bench.inputs.lengths)[:, 0]


def tokens_of(bench):
    """Row, token and role of every real character."""
    for row, layout in enumerate(bench.dataset.layout[bench.rows].tolist()):
        for token, role in enumerate(bench.dataset.layouts[layout].roles):
            yield row, token, role


def replaced(bench, layer, kind, donors):
    """(N, T, D) what takes the place of ``z``, token by token."""
    states = bench.states[f"z.{layer}"]
    by_role, new = defaultdict(list), states.clone()
    for row, token, role in tokens_of(bench):
        by_role[role].append(states[row, token])
    for row, token, role in tokens_of(bench):
        mean, donor = torch.stack(by_role[role]).mean(dim=0), states[donors[row], token]
        new[row, token] = {"zero": torch.zeros_like(mean), "mean": mean, "resample": donor}[kind]
    return new


def in_slice(bench, layer, head, new):
    """``z`` with other states in the dimensions of one head."""
    states = bench.states[f"z.{layer}"].clone()
    states[..., slice_of(bench, head)] = new[..., slice_of(bench, head)]
    return states


def figures_of(bench, outputs):
    """RMSE, loss, skill and exact matches of (N,) outputs, by their definitions."""
    answers = outputs.double() * bench.objective.scale
    mse = (answers - bench.answers).square().mean().item()
    constant = (bench.answers.double() - bench.constant).square().mean().item()
    exact = (answers.round() == bench.answers).double().mean().item()
    return np.array([math.sqrt(mse), mse / bench.objective.scale**2, 1 - mse / constant, exact])


def hooks_on(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize("kind", KINDS)
def test_ablating_a_head_is_the_edit_of_a_hook_on_its_slice_of_z(bench, kind):
    """At all tokens; in the last layer too, where the library edits the last one only."""
    donors = same_layout_donors(bench, 0)
    found, intact = ablate_heads(bench, kind, donors), figures_of(bench, bench.outputs[:, 0])
    assert (found.kind, found.n) == (kind, len(SHORT))
    for layer, head in heads_of(bench):
        new = replaced(bench, layer, kind, donors)
        own = figures_of(bench, answers_with(bench, f"z.{layer}", in_slice(bench, layer, head, new)))
        expected = (own[0], own[0] - intact[0], own[1] - intact[1], own[2], own[3] - intact[3])
        figures = [getattr(found, name)[layer, head].item() for name in VALUES]
        rounding = 1e-6 * intact[0]  # less is no cost
        expected = (expected[0], expected[1] if abs(expected[1]) > rounding else 0.0, *expected[2:])
        assert figures == pytest.approx(expected, abs=1e-9)
    assert float(found.delta_rmse.abs().max()) > 1e-4  # the control: something changes


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_removed_is_the_mean_square_change_of_the_head_over_the_tokens_edited(bench, kind):
    donors = same_layout_donors(bench, 0)
    found = ablate_heads(bench, kind, donors).removed
    last_layer = bench.network.sizes["n_layers"] - 1
    for layer, head in heads_of(bench):
        change = in_slice(bench, layer, head, replaced(bench, layer, kind, donors)) - bench.states[f"z.{layer}"]
        tokens = [(row, token) for row, token, role in tokens_of(bench) if layer < last_layer or role == "query"]
        total = sum(change[row, token].square().sum().item() for row, token in tokens)
        assert found[layer, head].item() == pytest.approx(total / len(SHORT), rel=1e-9)


def test_patching_a_head_is_the_edit_of_a_hook_on_its_slice_of_z(bench):
    donors, before = same_layout_donors(bench, 0), bench.outputs[:, 0]
    found, gap = patch_heads(bench, donors), before[donors] - before
    assert found.n == len(SHORT)
    assert found.gap == pytest.approx(gap.square().mean().sqrt().item())
    for layer, head in heads_of(bench):
        patched = in_slice(bench, layer, head, bench.states[f"z.{layer}"][donors])
        change = answers_with(bench, f"z.{layer}", patched) - before
        figures = [getattr(found, name)[layer, head].item() for name in ("recovered", "low", "high")]
        assert figures == pytest.approx(slope_of(change, gap, bench.group), abs=1e-9)
        assert change.abs().max() > 1e-6


def test_patching_a_head_at_one_token_is_the_edit_of_a_hook_there(bench):
    """Position by position, in all four layouts; what a row has not is not counted."""
    donors, before = same_layout_donors(bench, 0), bench.outputs[:, 0]
    found, gap = patch_heads(bench, donors), before[donors] - before
    assert found.positions == positions(bench, "all").names
    seen = 0
    for column, role in enumerate(found.positions):
        tokens = [(row, token) for row, token, name in tokens_of(bench) if name == role]
        has = torch.tensor([row for row, _ in tokens])
        assert found.n_by_position[column] == len(tokens)
        for layer, head in heads_of(bench):
            states = bench.states[f"z.{layer}"]
            patched = states.clone()
            for row, token in tokens:
                own = slice_of(bench, head)
                patched[row, token, own] = states[donors[row], token, own]
            change = (answers_with(bench, f"z.{layer}", patched) - before)[has]
            slope = float((change * gap[has]).sum() / gap[has].square().sum())
            assert found.by_position[layer, head, column].item() == pytest.approx(slope, abs=1e-9)
            seen += abs(slope) > 1e-6
    layers, heads, count = found.by_position.shape  # the control: all do something, but for what the readout cannot see
    assert seen == heads * ((layers - 1) * count + 1)


def test_one_head_is_not_all_of_them_and_all_of_them_are_the_site(bench):
    donors, every = same_layout_donors(bench, 0), positions(bench, "all")
    found, gap = patch_heads(bench, donors), bench.predictions[donors] - bench.predictions
    for layer in range(bench.network.sizes["n_layers"]):
        site = f"z.{layer}"
        after = whole_state_answers(bench, site, every, donors)
        whole = answers_with(bench, site, bench.states[site][donors])
        torch.testing.assert_close(after, whole, atol=1e-10, rtol=0)
        share, _, _ = slope_of(after - bench.predictions, gap, bench.group)
        assert bool(((found.recovered[layer] - share).abs() > 1e-3).all())


def test_one_head_that_is_the_whole_layer_is_the_site_and_has_no_random_dimensions_beside_it():
    """There is no more to draw than the head itself."""
    bench = workbench(transformer(n_heads=1), SHORT, constant=40.0)
    donors, every = same_layout_donors(bench, 0), positions(bench, "all")
    patched, gap = patch_heads(bench, donors), bench.predictions[donors] - bench.predictions
    for layer in (0, 1):
        change = whole_state_answers(bench, f"z.{layer}", every, donors) - bench.predictions
        share = slope_of(change, gap, bench.group)[0]
        assert patched.recovered[layer, 0].item() == pytest.approx(share)
    for kind in KINDS:
        found = ablate_heads(bench, kind, donors, draws=5)
        assert found.random.shape == (2, 0)
        assert bool(found.p.isnan().all())


@pytest.mark.parametrize("kind", KINDS)
def test_random_dimensions_are_ablated_across_heads_the_same_at_all_tokens(bench, kind):
    donors, draws, seed = same_layout_donors(bench, 0), 3, 5
    found = ablate_heads(bench, kind, donors, draws, seed)
    layers, heads = bench.network.sizes["n_layers"], bench.network.sizes["n_heads"]
    assert found.random.shape == (layers, draws)
    for layer in range(layers):
        bases = random_subspaces(D, D // heads, draws, np.random.default_rng([seed, layer]))
        toward = replaced(bench, layer, kind, donors) - bench.states[f"z.{layer}"]
        for draw, basis in enumerate(torch.from_numpy(bases)):
            states = bench.states[f"z.{layer}"] + toward @ basis @ basis.T
            rmse = figures_of(bench, answers_with(bench, f"z.{layer}", states))[0]
            assert found.random[layer, draw].item() == pytest.approx(rmse - bench.intact.rmse.item(), abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_p_counts_the_draws_that_cost_as_much(bench, kind):
    donors, draws = same_layout_donors(bench, 0), 19
    found = ablate_heads(bench, kind, donors, draws)
    least = found.delta_rmse - 1e-6 * bench.intact.rmse
    for layer, head in heads_of(bench):
        reached = sum(one >= least[layer, head] for one in found.random[layer])
        assert found.p[layer, head].item() == (1 + reached) / (draws + 1)
    assert bool(((found.p > 0) & (found.p <= 1)).all())
    assert len(found.p.unique()) > 1  # the control


def test_draws_depend_on_the_seed_alone_and_heads_not_on_the_draws(bench):
    donors = same_layout_donors(bench, 0)
    one, again, other = (ablate_heads(bench, "mean", donors, 5, seed) for seed in (1, 1, 2))
    assert torch.equal(one.random, again.random) and torch.equal(one.p, again.p)
    assert bool((one.random != other.random).all())
    without = ablate_heads(bench, "mean", donors)
    assert without.random.shape == (bench.network.sizes["n_layers"], 0)
    assert bool(without.p.isnan().all()) and not bool(one.p.isnan().any())
    for name in (*VALUES, "removed"):
        assert torch.equal(getattr(one, name), getattr(other, name))
        assert torch.equal(getattr(one, name), getattr(without, name))


def test_the_model_is_left_as_it_was(bench):
    donors, model = same_layout_donors(bench, 0), bench.network
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    states = {site: state.clone() for site, state in bench.states.items()}
    random = torch.get_rng_state()
    for kind in KINDS:
        ablate_heads(bench, kind, donors, draws=2)
    patch_heads(bench, donors)
    assert hooks_on(model) == 0
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(state, states[site]) for site, state in bench.states.items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    with torch.no_grad():
        again = model(bench.dataset.ids.long(), bench.inputs.lengths)
    torch.testing.assert_close(again, bench.outputs, atol=1e-12, rtol=0)


ADDER = {  # mean squared errors of (4, 1), ... without the head: [layer 0: x, y], [layer 1: the sum, nothing]
    "zero": [[30, 22.5], [97.5, 0]],  # mean of x^2, of y^2, of S^2
    "mean": [[5, 6.5], [16.5, 0]],  # their variances
    "resample": [[12, 17.5], [33.5, 0]],  # mean squared steps to the next: 2 2 2 6; 2 7 4 1; 0 9 2 7
}
REMOVED = {  # nine tokens hold x and y, and one holds units 5 5 4 2 and carry 0 0 1 1
    "zero": [[9 * 30, 9 * 22.5], [17.5 + 0.5, 0]],
    "mean": [[9 * 5, 9 * 6.5], [1.5 + 0.25, 0]],
    "resample": [[9 * 12, 9 * 17.5], [3.5 + 0.5, 0]],
}
EXACT = {  # of four: means of x 5, y 4, sum 9; only 8 + 4 has its y at the mean, only 4 + 1 the sum of its donor
    "zero": [[0, 0], [0, 4]],
    "mean": [[0, 1], [0, 4]],
    "resample": [[0, 0], [1, 4]],
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_heads_of_the_adder_cost_what_they_carry(kind):
    """The constant 9 has a mean squared error of 16.5 on these four."""
    found = ablate_heads(workbench(adder(), HANDFUL), kind, NEXT)
    mse = np.array(ADDER[kind])
    assert found.rmse.tolist() == pytest.approx(np.sqrt(mse))
    assert found.delta_rmse.tolist() == pytest.approx(np.sqrt(mse))
    assert found.delta_loss.tolist() == pytest.approx(mse)
    assert found.skill.tolist() == pytest.approx(1 - mse / 16.5)
    assert found.delta_exact_match.tolist() == pytest.approx(np.array(EXACT[kind]) / 4 - 1)
    assert found.removed.tolist() == pytest.approx(np.array(REMOVED[kind]))
    assert found.rmse[1, 1] == 0 and found.removed[1, 1] == 0


@pytest.mark.parametrize(
    ("kind", "mse"),
    [
        ("zero", [[28.5, 28.5], [97.5, 0]]),  # mean square of 0 to 9; 9^2 + 16.5
        ("mean", [[8.25, 8.25], [16.5, 0]]),  # variances
    ],
)
def test_skill_is_lost_by_what_a_head_carries(kind, mse):
    """All 100 problems; all skill lost is 1, worse than the constant is above 1."""
    bench = workbench(adder(), GRID)
    found = ablate_heads(bench, kind, torch.arange(100).roll(1), draws=19)
    assert found.skill_lost.tolist() == pytest.approx(np.array(mse) / 16.5)
    assert found.p.isnan().tolist() == [[False, False], [False, True]]  # nothing changes: nothing to compare
    assert bool((found.random[0] > 0).all())


PAIRS = [(2, 3), (7, 3), (4, 1), (9, 1), (3, 6), (3, 2)]  # neighbours differ in x, in x, and in y
SWAP = torch.tensor([1, 0, 3, 2, 5, 4])
ROLES = ("x1", "sp1", "plus", "sp2", "y1", "sp4", "equals", "sp5", "query")


@pytest.mark.parametrize("changed", ["x", "y"])
def test_one_head_carries_each_operand_to_equals_and_one_the_sum_from_there(changed):
    rows = PAIRS[:4] if changed == "x" else PAIRS[4:]
    found = patch_heads(workbench(adder(), rows), SWAP[: len(rows)])
    operands = [1, 0] if changed == "x" else [0, 1]
    assert found.recovered.tolist() == [operands, [1, 0]]
    at = {"equals": [operands, [0, 0]], "query": [[0, 0], [1, 0]]}
    nothing = [[0, 0], [0, 0]]
    assert found.positions == ROLES
    assert found.by_position.permute(2, 0, 1).tolist() == [at.get(role, nothing) for role in ROLES]
    assert (found.n, found.n_by_position) == (len(rows), (len(rows),) * 9)
    assert found.gap == (5 if changed == "x" else 4)
    assert [one.tolist() for one in (found.low, found.high)] == [[operands, [1, 0]]] * 2  # all pairs agree


def test_shares_of_two_heads_by_hand():
    """Gaps 0, 9, -2, -7; by x 2, 2, 2, -6 and by y -2, 7, -4, -1."""
    found = patch_heads(workbench(adder(), HANDFUL), NEXT)
    assert found.recovered.tolist() == [pytest.approx([56 / 134, 78 / 134]), [1, 0]]
    assert found.gap == pytest.approx(math.sqrt(134 / 4))


def test_loss_is_made_up_for_by_what_a_head_brings():
    """All 100 problems, each with the one before: y one less in 90 of them, nine more in ten; x one less in nine.

    Mean squared gaps: 9.9 of the sums, 9 of y, 0.9 of x. What x brings leaves the loss of y.
    """
    found = patch_heads(workbench(adder(), GRID), torch.arange(100).roll(1))
    assert found.loss_recovered.tolist() == [pytest.approx([1 / 11, 10 / 11]), [1, 0]]
    assert found.recovered.tolist() == [pytest.approx([1 / 11, 10 / 11]), [1, 0]]


def test_loss_recovered_is_its_definition():
    """Of a model that is not perfect, in units of training that are not those of the answers."""
    model = adder(ceiling=12)
    model.readout.weight /= 100
    model.readout.bias /= 100
    bench = Part(model, ScaledMSE(100.0), dataset(GRID), torch.arange(100), 9.0)
    assert bench.behaviour.verdict == "PARTLY LEARNED"
    donors = same_layout_donors(bench, 3)
    found = patch_heads(bench, donors)

    def loss(outputs):
        return (outputs - bench.answers[donors] / 100).square().mean().item()

    before, clean = loss(bench.outputs[:, 0]), loss(bench.outputs[donors, 0])
    assert 0 < clean < before
    for layer, head in heads_of(bench):
        patched = in_slice(bench, layer, head, bench.states[f"z.{layer}"][donors])
        share = (before - loss(answers_with(bench, f"z.{layer}", patched))) / (before - clean)
        assert found.loss_recovered[layer, head].item() == pytest.approx(share)
    assert found.loss_recovered[1].tolist() == pytest.approx([1, 0])


def test_a_model_that_has_not_learned_has_nothing_to_lose_or_make_up_for(bench):
    donors, learned = same_layout_donors(bench, 0), workbench(adder(), GRID)
    assert bench.behaviour.verdict == "NOT LEARNED" and learned.behaviour.verdict == "LEARNED"
    ablated, patched = ablate_heads(bench, "zero", donors), patch_heads(bench, donors)
    assert bool(ablated.skill_lost.isnan().all()) and bool(patched.loss_recovered.isnan().all())
    assert bool(ablated.delta_rmse.isfinite().all()) and bool(patched.recovered.isfinite().all())
    donors = same_layout_donors(learned, 0)  # the control
    assert bool(ablate_heads(learned, "zero", donors).skill_lost.isfinite().all())
    assert bool(patch_heads(learned, donors).loss_recovered.isfinite().all())


def test_of_rows_that_are_alone_nothing_is_known_under_resample():
    """Each gets its own state back, which is no ablation, and no cost of 0 either."""
    bench = workbench(transformer(), [(1, 2), (50, 6), (7, 480)])
    donors = same_layout_donors(bench, 0)
    assert donors.tolist() == [0, 1, 2]
    found = ablate_heads(bench, "resample", donors, draws=5)
    assert bool(found.delta_rmse.isnan().all()) and bool((found.removed == 0).all())
    assert found.random.abs().max() < 1e-12 and bool(found.p.isnan().all())
    zero = ablate_heads(bench, "zero", donors, draws=5)  # the control: there is something to take out
    assert zero.delta_rmse.abs().min() > 1e-6 and not bool(zero.p.isnan().any())


def test_rows_without_a_partner_are_not_patched():
    """The figures are those of the other rows alone, and of a role of theirs alone there are none."""
    lonely = workbench(transformer(), [(1, 2), (3, 4), (5, 6), (50, 6)])
    donors = torch.tensor([1, 2, 0, 3])
    found = patch_heads(lonely, donors)
    alone = patch_heads(workbench(transformer(), [(1, 2), (3, 4), (5, 6)]), donors[:3])
    assert found.n == alone.n == 3 and found.gap == pytest.approx(alone.gap)
    torch.testing.assert_close(found.recovered, alone.recovered, atol=1e-12, rtol=0)
    columns = [found.positions.index(role) for role in alone.positions]
    torch.testing.assert_close(found.by_position[..., columns], alone.by_position, atol=1e-12, rtol=0)
    assert found.n_by_position[found.positions.index("x10")] == 0
    assert bool(found.by_position[..., found.positions.index("x10")].isnan().all())


def test_fewer_than_two_rows_with_a_partner_are_refused():
    bench = workbench(adder(), HANDFUL)
    for donors, paired in [(torch.arange(4), 0), (torch.tensor([1, 1, 2, 3]), 1)]:
        message = f"4 rows, and {paired} of them have another of the same layout; patching needs two or more"
        with pytest.raises(ArithprobeError, match=f"^{message}$"):
            patch_heads(bench, donors)
    assert patch_heads(bench, torch.tensor([1, 0, 2, 3])).n == 2


def test_an_unknown_kind_is_refused():
    with pytest.raises(ArithprobeError, match="'noise'"):
        ablate_heads(workbench(adder(), HANDFUL), "noise", NEXT)


def test_a_model_that_is_constant_has_no_gap_to_recover():
    """Its answers differ by rounding only, and shares of rounding are none."""
    model = transformer()
    model.readout.weight.data.zero_()
    model.readout.weight.data[0, 0] = 1e-12
    bench = workbench(model, SHORT, constant=40.0)
    donors = same_layout_donors(bench, 0)
    assert bench.predictions.unique().numel() > 1  # the control: they do differ
    found = patch_heads(bench, donors)
    assert found.gap == 0 and bool(found.recovered.isnan().all())
