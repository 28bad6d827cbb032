"""Statistics of heads are those of a plain loop over examples, layers and heads, however the rows come in."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from looped import looped_statistics
from micro import HANDFUL, adder, dataset, one_thread  # noqa: F401
from scipy.stats import entropy as entropy_of
from test_ablation import SHORT, transformer

from arithprobe.attention.heads import HeadSums, group_entropy, operand_imbalance, operand_mass, ov_copying
from arithprobe.attention.roles import GROUPS
from arithprobe.models.transformer import TinyTransformer
from arithprobe.problems.rows import Inputs

FEW = [(3, 5), (7, 16), (40, 2), (85, 30), (12, 61), (9, 9), (105, 7), (48, 230)]  # six layouts
CASES = {
    "plain": ({}, None),
    "mod": ({}, 97),
    "one layer": ({"n_layers": 1}, None),
    "three layers": ({"n_layers": 3}, None),
    "one head": ({"n_heads": 1}, 11),
    "eight heads": ({"n_heads": 8}, None),
    "pre-norm": ({"norm": "pre"}, 97),
}


def states_of(model, data):
    with torch.no_grad():
        return model.run_with_cache(Inputs(data.ids.long(), data.lengths))[1].states


def empty_sums(model, data):
    return HeadSums(data.layout, data.roles, model.sizes["n_layers"], model.sizes["n_heads"])


def in_parts(model, data, parts):
    """Sums over batches of rows, each with a forward pass of its own."""
    states, sums = states_of(model, data), empty_sums(model, data)
    for rows in parts:
        sums.update(model, {site: state[rows] for site, state in states.items()}, rows)
    return sums


def statistics_of(model, data):
    return in_parts(model, data, [torch.arange(len(data))]).fit()


def looped(model, data, roles, uniform=False):
    return looped_statistics(model, data.texts(), data.ids.long(), data.lengths, roles, uniform)


def agree(found, expected, within=1e-9):
    torch.testing.assert_close(found, expected, atol=within, rtol=0)


@pytest.fixture(scope="module", params=CASES)
def case(request):
    options, modulus = CASES[request.param]
    model, data = transformer(**options), dataset(FEW, modulus)
    found = statistics_of(model, data)
    return model, data, found, looped(model, data, found.roles), looped(model, data, found.roles, uniform=True)


def test_mass_entropy_and_what_is_moved_are_those_of_the_loop(case):
    model, data, found, expected, _ = case
    assert len(set(data.lengths.tolist())) > 3
    for name in ("rows_of", "role_mass", "role_entropy", "role_norm", "mass", "entropy", "norm"):
        agree(getattr(found, name), getattr(expected, name))
    assert found.n == len(data)
    assert found.mass.shape == (*found.role_mass.shape[:2], 5)
    assert found.role_mass.shape[:2] == (model.sizes["n_layers"], model.sizes["n_heads"])


def test_expectations_under_uniform_attention_are_those_of_the_loop_with_uniform_patterns(case):
    _, _, found, _, expected = case
    for name in ("role_mass", "role_entropy", "role_norm", "mass", "entropy", "norm"):
        even = getattr(found, f"uniform_{name}")
        agree(even.expand_as(getattr(expected, name)), getattr(expected, name))


def test_the_loop_on_another_model_says_something_else(case):
    """The control, for the figures and for the expectations that depend on the weights."""
    model, data, found, _, _ = case
    other = transformer(seed=1, **model.architecture)
    wrong, even = (looped(other, data, found.roles, uniform) for uniform in (False, True))
    for name in ("role_mass", "role_entropy", "role_norm", "mass", "entropy", "norm"):
        assert (getattr(found, name) - getattr(wrong, name)).abs().max() > 0.01, name
    assert (found.uniform_norm - even.norm).abs().max() > 0.01
    agree(found.uniform_mass.expand_as(even.mass), even.mass)  # these do not


def test_attention_is_shared_out_over_the_roles(case):
    _, _, found, _, _ = case
    for mass in (found.role_mass, found.uniform_role_mass, found.mass, found.uniform_mass):
        agree(mass.sum(dim=-1), torch.ones(mass.shape[:-1], dtype=torch.float64), 1e-12)
    assert bool((found.role_mass >= 0).all())
    longest = math.log(max(len(text) for text in case[1].texts()))
    assert bool(((found.role_entropy > 0) & (found.role_entropy < longest)).all())


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_heads_that_read_through_a_layer_norm_do_not_see_how_large_the_stream_is(norm):
    """The control is post-norm, where they read the stream itself."""
    model, data = transformer(norm=norm), dataset(FEW)
    for block in model.enc.blocks:
        block.norm1.eps = 0.0
    states, rows = states_of(model, data), torch.arange(len(data))
    found, larger = (
        empty_sums(model, data).update(model, {site: size * state for site, state in states.items()}, rows).fit()
        for size in (1.0, 7.0)
    )
    for name in ("role_mass", "role_entropy", "role_norm", "uniform_role_norm"):
        difference = (getattr(larger, name) - getattr(found, name)).abs().max()
        assert difference < 1e-9 if norm == "pre" else difference > 0.01


def test_a_role_is_averaged_over_the_rows_that_have_it(case):
    """With a role that one row only has: its line is that row's alone."""
    model, data, found, _, _ = case
    alone = [x for x, _ in FEW].index(105)
    role = found.roles.index("x100")
    assert found.rows_of[role] == 1 and found.rows_of[found.roles.index("query")] == len(FEW)
    single = dataset([FEW[alone]], data.modulus)
    of_it = statistics_of(model, single)
    columns = [found.roles.index(one) for one in of_it.roles]
    agree(found.role_mass[:, :, role, columns], of_it.role_mass[:, :, of_it.roles.index("x100")], 1e-12)
    agree(found.role_entropy[:, :, role], of_it.role_entropy[:, :, of_it.roles.index("x100")], 1e-12)


def test_single_precision_is_enough():
    data, model = dataset(FEW), transformer()
    precise = statistics_of(model, data)
    found = statistics_of(model.float(), data)
    for name in ("role_mass", "role_entropy", "role_norm", "uniform_role_norm"):
        assert getattr(found, name).dtype == torch.float64
        agree(getattr(found, name), getattr(precise, name), 1e-5)


@pytest.fixture(scope="module")
def whole():
    model, data = transformer(), dataset(SHORT)
    states = states_of(model, data)
    return model, data, states, in_parts(model, data, [torch.arange(len(data))])


@given(order=st.permutations(range(len(SHORT))), cuts=st.sets(st.integers(1, len(SHORT) - 1)))
@settings(deadline=None, max_examples=20)
def test_batches_of_any_size_in_any_order_give_the_same(whole, order, cuts):
    model, data, states, expected = whole
    sums = empty_sums(model, data)
    for rows in torch.tensor(order).tensor_split(sorted(cuts)):
        sums.update(model, {site: state[rows] for site, state in states.items()}, rows)
    for own, other in zip(sums.state, expected.state, strict=True):
        agree(own, other, 1e-12)
    agree(sums.fit().role_mass, expected.fit().role_mass, 1e-12)


def test_sums_of_two_halves_merge_by_adding_what_they_hold(whole):
    model, data, _, expected = whole
    one, other = (in_parts(model, data, [rows]) for rows in torch.arange(len(data)).split(11)[:2])
    rest = in_parts(model, data, [torch.arange(22, len(data))])
    half = one.fit()
    for own, theirs, last in zip(one.state, other.state, rest.state, strict=True):
        own += theirs + last
    merged, once = one.fit(), expected.fit()
    assert merged.n == once.n == len(SHORT)
    for name in (
        "rows_of",
        "role_mass",
        "uniform_role_mass",
        "role_entropy",
        "uniform_role_entropy",
        "role_norm",
        "uniform_role_norm",
    ):
        agree(getattr(merged, name), getattr(once, name), 1e-12)
    assert (half.mass - once.mass).abs().max() > 1e-3  # the control: rows count


def test_rows_are_those_of_the_data_set_not_of_the_batch(whole):
    """Every third row, back to front: their layouts are looked up by number."""
    model, data, states, _ = whole
    rows = torch.arange(len(data)).flip(0)[::3]
    found = empty_sums(model, data).update(model, {site: state[rows] for site, state in states.items()}, rows).fit()
    part = statistics_of(model, dataset([SHORT[row] for row in rows]))
    assert found.roles == part.roles
    agree(found.role_mass, part.role_mass, 1e-12)
    wrong = empty_sums(model, data)
    wrong.update(model, {site: state[rows] for site, state in states.items()}, torch.arange(len(rows)))
    assert (wrong.fit().mass - part.mass).abs().max() > 1e-3  # the control


def test_constant_attention_gives_the_uniform_values_and_any_other_does_not():
    model, data = transformer(), dataset(FEW)

    def differences():
        found = statistics_of(model, data)
        names = ("role_mass", "role_entropy", "role_norm", "mass", "entropy", "norm")
        pairs = [(getattr(found, name), getattr(found, f"uniform_{name}")) for name in names]
        return torch.stack(
            [(own - even).abs().flatten(2).amax(dim=2) if own.ndim > 2 else (own - even).abs() for own, even in pairs]
        )

    assert bool((differences() > 1e-3).all())  # the control: every number of every head
    for block in model.enc.blocks:
        block.self_attn.in_proj_weight.data[: model.d_model] = 0
        block.self_attn.in_proj_bias.data[: model.d_model] = 0
    assert bool((differences() < 1e-14).all())


def test_counting_leaves_model_and_random_state_as_they_were():
    model, data = transformer().train(), dataset(FEW)
    outputs, cache = model.run_with_cache(
        Inputs(data.ids.long(), data.lengths)
    )  # with its graph, as in a training step
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random, graph = torch.get_rng_state(), cache.states["resid_post.0"].grad_fn
    states = {site: state.clone() for site, state in cache.states.items()}
    sums = empty_sums(model, data).update(model, cache.states, torch.arange(len(data)))
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(states[site], state) for site, state in cache.states.items())
    assert not any(part.requires_grad for part in sums.state) and model.training
    assert cache.states["resid_post.0"].grad_fn is graph
    outputs.sum().backward()  # and the graph is still good


def test_what_padding_holds_does_not_matter():
    model, data = transformer(), dataset(FEW)
    names = ("role_mass", "role_entropy", "role_norm", "uniform_role_norm")
    found = statistics_of(model, data)
    model.tok.weight.data[0] = 50 * torch.arange(model.d_model, dtype=torch.float64).sin()
    again = statistics_of(model, data)
    for name in names:
        agree(getattr(again, name), getattr(found, name), 1e-12)
    model.tok.weight.data[1] += 1.0  # the control: the digit 0
    other = statistics_of(model, data)
    assert all((getattr(other, name) - getattr(found, name)).abs().max() > 1e-3 for name in names)


def test_the_notebooks_scores_are_of_averaged_masses():
    model, data = transformer(), dataset(FEW, 97)
    found = statistics_of(model, data)
    mass = looped(model, data, found.roles).mass.numpy()
    agree(operand_mass(found.mass), torch.from_numpy(mass[..., 0] + mass[..., 1]))
    agree(operand_imbalance(found.mass), torch.from_numpy(abs(mass[..., 0] - mass[..., 1])))
    agree(group_entropy(found.mass), torch.from_numpy(entropy_of(mass, axis=-1)))
    single = [looped(model, dataset([row], 97), found.roles).mass.numpy() for row in FEW]  # the control: another mean
    per_row = np.mean([entropy_of(one, axis=-1) for one in single], axis=0)
    assert bool((group_entropy(found.mass) - torch.from_numpy(per_row) > 1e-4).all())


@pytest.mark.parametrize(
    ("mass", "both", "imbalance", "entropy"),
    [
        (
            [0.3, 0.2, 0.1, 0.0, 0.4],
            0.5,
            0.1,
            0.3 * math.log(1 / 0.3) + 0.2 * math.log(5) + 0.1 * math.log(10) + 0.4 * math.log(2.5),
        ),
        ([0.2] * 5, 0.4, 0.0, math.log(5)),
        ([0.1] * 5, 0.2, 0.0, math.log(5)),  # normalised
        ([0.0, 1.0, 0.0, 0.0, 0.0], 1.0, 1.0, 0.0),
    ],
)
def test_scores_of_given_masses(mass, both, imbalance, entropy):
    mass = torch.tensor(mass, dtype=torch.float64)
    assert (operand_mass(mass).item(), operand_imbalance(mass).item()) == pytest.approx((both, imbalance))
    assert group_entropy(mass).item() == pytest.approx(entropy) == entropy_of(mass.numpy())


ROLES = ("x1", "sp1", "plus", "sp2", "y1", "sp4", "equals", "sp5", "query")


def line(**values):
    return [float(values.get(role, 0)) for role in ROLES]


def test_the_heads_of_the_adder_look_at_x_at_y_and_at_equals():
    """Of four sums with mean x 5, mean y 4, mean sum 9: every number by hand."""
    found = statistics_of(adder(), dataset(HANDFUL))
    assert found.roles == ROLES and found.n == 4 and found.rows_of.tolist() == [4] * 9
    for (layer, head), role in {(0, 0): "x1", (0, 1): "y1", (1, 0): "equals"}.items():
        assert found.role_mass[layer, head].tolist() == [line(**{role: 1})] * 9
        assert found.role_entropy[layer, head].tolist() == [0] * 9
    even = [line(**dict.fromkeys(ROLES, 1 / 9))] * 9
    assert found.role_mass[1, 1].tolist() == pytest.approx(np.array(even))
    assert found.uniform_role_mass.tolist() == pytest.approx(np.array(even))
    assert found.role_entropy[1, 1].tolist() == pytest.approx([math.log(9)] * 9)
    assert found.uniform_role_entropy.tolist() == pytest.approx([math.log(9)] * 9)
    ninth = pytest.approx([1 / 9, 1 / 9, 1 / 9, 0, 6 / 9])
    assert found.mass[0].tolist() == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]]
    assert found.mass[1].tolist() == [[0, 0, 0, 0, 1], ninth]
    assert found.uniform_mass.tolist() == ninth
    assert operand_mass(found.mass).flatten().tolist() == pytest.approx([1, 1, 0, 2 / 9])
    assert operand_imbalance(found.mass).flatten().tolist() == pytest.approx([1, 1, 0, 0])


def test_the_heads_of_the_adder_move_the_digit_they_look_at_and_the_sum():
    found = statistics_of(adder(), dataset(HANDFUL))
    moved = [[line(x1=5), line(y1=4)], [line(equals=9), line()]]
    assert found.role_norm.tolist() == pytest.approx(np.array([[[one] * 9 for one in layer] for layer in moved]))
    digits, everywhere = line(x1=5 / 9, y1=4 / 9), line(**dict.fromkeys(ROLES, 1))  # a sum of 9 at each of 9 tokens
    uniform = [[digits, digits], [everywhere, line()]]
    assert found.uniform_role_norm.tolist() == pytest.approx(
        np.array([[[one] * 9 for one in layer] for layer in uniform])
    )
    assert found.norm.tolist() == pytest.approx(
        np.array([[[5, 0, 0, 0, 0], [0, 4, 0, 0, 0]], [[0, 0, 0, 0, 9], [0] * 5]])
    )
    assert GROUPS == ("x", "y", "plus", "mod", "others")


def head_of(model, layer, head):
    """Views of the weights by which a head reads values and writes, (D / H, D) and (D, D / H)."""
    d, width = model.d_model, model.d_model // model.sizes["n_heads"]
    own, attention = slice(head * width, (head + 1) * width), model.enc.blocks[layer].self_attn
    return attention.in_proj_weight.data[2 * d :][own], attention.out_proj.weight.data[:, own]


def test_a_head_that_writes_what_it_reads_copies_and_its_negative_does_the_opposite():
    model = transformer()
    turn = torch.linalg.qr(torch.randn(16, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64))[0]
    for (layer, head), sign in {(0, 1): 1.0, (1, 0): -1.0}.items():
        values, out = head_of(model, layer, head)
        values.copy_(turn.T)
        out.copy_(sign * turn)
    found = ov_copying(model)
    assert (found[0, 1].item(), found[1, 0].item()) == pytest.approx((1, -1))
    assert abs(found[0, 0]) < 0.99 and abs(found[1, 1]) < 0.99  # the control: those that were left as they were


@pytest.mark.parametrize("options", [{}, {"n_heads": 1}, {"n_heads": 8, "n_layers": 3}, {"n_heads": 16}], ids=str)
def test_copying_is_the_ratio_of_the_eigenvalues_of_the_whole_matrix(options):
    for seed in range(3):
        model = transformer(seed, **options)
        found = ov_copying(model)
        assert found.dtype == torch.float64
        assert bool((found.abs() <= 1 + 1e-12).all())
        for layer, scores in enumerate(found):
            for head, score in enumerate(scores):
                values, out = head_of(model, layer, head)
                own = np.linalg.eigvals((out @ values).numpy())  # (D,): D - D / H of them 0, up to rounding
                assert score.item() == pytest.approx(own.real.sum() / abs(own).sum(), abs=1e-6)


def test_copying_does_not_depend_on_the_basis_inside_a_head():
    model = transformer()
    before = ov_copying(model)
    for layer, head in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        values, out = head_of(model, layer, head)
        basis = torch.randn(8, 8, generator=torch.Generator().manual_seed(head), dtype=torch.float64)
        values.copy_(basis @ values)
        out.copy_(out @ torch.linalg.inv(basis))
    agree(ov_copying(model), before, 1e-8)
    head_of(model, 0, 0)[0].copy_(basis @ head_of(model, 0, 0)[0])  # the control: one side only
    changed = (ov_copying(model) - before).abs() > 1e-3
    assert changed.tolist() == [[True, False], [False, False]]


def test_a_head_that_writes_nothing_or_nothing_of_what_it_reads_has_no_copying_score():
    """The adder's heads read one dimension and write another: no direction comes back as itself."""
    assert bool(ov_copying(adder()).isnan().all())
    model = transformer()
    head_of(model, 1, 1)[1].zero_()
    assert ov_copying(model).isnan().tolist() == [[False, False], [False, True]]


def test_copying_is_for_gradients_to_leave_alone_and_single_precision_too():
    model = TinyTransformer(16, n_heads=2, d_ff=8)
    found = ov_copying(model)
    assert not found.requires_grad
    agree(ov_copying(model.double()), found, 1e-12)
