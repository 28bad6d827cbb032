"""Hooks see and change exactly what they name, and leave nothing behind."""

from collections import namedtuple
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

from arithprobe.errors import ArithprobeError
from arithprobe.models.hooks import capture, edit
from arithprobe.models.transformer import TinyTransformer
from arithprobe.problems.rows import Inputs
from arithprobe.tokenizer import encode, pad_batch

SOURCE, TARGET = ["103 + 40 = ?", "7 + 7 = ?", "99 + 9 = ?"], ["295 + 86 = ?", "1 + 3 = ?", "40 + 2 = ?"]
SITES = list(TinyTransformer(8, 2, 2, 8).sites)
RESIDUAL = TinyTransformer(8, 2, 2, 8).residual_sites
LAST_BLOCK = ["attn_out.1", "resid_mid.1", "mlp_out.1", "resid_post.1", "final"]


def batch(texts=TARGET):
    ids, _, lengths = pad_batch([encode(text) for text in texts])
    return ids, lengths


def shift(state):
    return state + torch.linspace(-1, 2, state.shape[-1], dtype=state.dtype)


def negate(state):
    return -state


def same(state):
    return state


def hooks_on(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@contextmanager
def refused(message):
    with pytest.raises(ArithprobeError, match=message) as caught:
        yield
    assert "\n" not in str(caught.value)


@pytest.fixture
def model(request):
    """Random weights, biases too: what is zero hides mistakes."""
    torch.manual_seed(0)
    model = TinyTransformer(16, 2, 2, 32, dropout=0.0, norm=getattr(request, "param", "post"))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model.eval()


@pytest.mark.parametrize("model", ["post", "pre"], indirect=True)
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_captured_states_are_those_of_the_cache_at_every_site(model, mode):
    getattr(model, mode)()
    plain = model(*batch())
    expected, cache = model.run_with_cache(Inputs(*batch()))
    with capture(model, SITES) as states:
        outputs = model(*batch())
    assert list(states) == SITES and set(SITES) == set(cache.states)
    assert all(torch.equal(states[site], cache.states[site]) for site in SITES)
    assert torch.equal(outputs, expected)
    torch.testing.assert_close(outputs, plain, atol=0 if mode == "eval" else 1e-6, rtol=0)


@pytest.mark.parametrize("model", ["post", "pre"], indirect=True)
@pytest.mark.parametrize("site", LAST_BLOCK)
def test_a_single_hook_makes_a_training_pass_compute_the_last_block_everywhere(model, site):
    model.train()
    shapes, linear = [], model.enc.layers[1].linear1
    run = linear.forward
    linear.forward = lambda x: shapes.append(x.shape[1]) or run(x)
    with capture(model, [site]) as states:
        model(*batch())
    model(*batch())
    ids, _ = batch()
    assert states[site].shape == (*ids.shape, 16)
    assert shapes == [ids.shape[1], 1]  # the control: without hooks, one position


def test_of_several_passes_the_last_is_kept_and_a_site_may_be_asked_for_twice(model):
    with capture(model, ["embed", "final", "embed"]) as states:
        assert states == {}
        model(*batch(SOURCE))
        model(*batch(TARGET))
    _, cache = model.run_with_cache(Inputs(*batch(TARGET)))
    assert list(states) == ["embed", "final"] and torch.equal(states["final"], cache.states["final"])
    _, other = model.run_with_cache(Inputs(*batch(SOURCE)))
    assert not torch.equal(states["final"], other.states["final"])


@pytest.mark.parametrize("model", ["post", "pre"], indirect=True)
@pytest.mark.parametrize("site", SITES)
def test_an_empty_edit_changes_no_bit(model, site):
    ids, lengths = batch()
    plain = model(ids, lengths)
    nowhere = torch.zeros(ids.shape, dtype=torch.bool)
    empty = [(same, None), (torch.clone, None), (same, lengths - 1), (torch.clone, ~nowhere), (negate, nowhere)]
    for fn, positions in [*empty, (negate, torch.zeros(3, 0, dtype=torch.int64))]:
        with edit(model, site, fn, positions):
            assert torch.equal(model(ids, lengths), plain)
    with edit(model, site, negate, ~nowhere):
        assert (model(ids, lengths) - plain).abs().min() > 1e-3


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("site", ["embed", "attn_out.0", "attn_out.1", "final"])
@pytest.mark.parametrize("kind", ["one", "several", "twice", "mask"])
def test_positions_edit_the_tokens_they_name_and_no_other(model, site, kind, mode):
    getattr(model, mode)()
    ids, lengths = batch()
    positions = {
        "one": torch.tensor([0, 4, 7]),
        "several": torch.tensor([[0, 11], [4, 2], [7, 8]]),
        "twice": torch.tensor([[0, 0, 1], [4, 2, 4], [7, 7, 7]]),
        "mask": (ids == ids[0, 0]) | (ids == ids[1, 0]),
    }[kind]
    named = positions if kind == "mask" else torch.zeros(ids.shape, dtype=torch.bool)
    if kind != "mask":
        named = named.scatter(1, positions.view(3, -1), torch.ones(ids.shape, dtype=torch.bool))
    shapes = []
    with (
        capture(model, [site]) as before,
        edit(model, site, lambda state: shapes.append(tuple(state.shape)) or shift(state), positions),
        capture(model, [site]) as after,
    ):
        model(ids, lengths)
    assert torch.equal(after[site][~named], before[site][~named])
    assert torch.equal(after[site][named], shift(before[site])[named])
    assert 0 < named.sum() < named.numel() and not torch.equal(after[site][named], before[site][named])
    assert shapes == [(int(named.sum()), 16) if kind == "mask" else (*positions.shape, 16)]


def test_each_position_gets_its_own_state_and_of_a_token_named_twice_the_last_counts(model):
    positions = torch.tensor([[5, 1, 5], [0, 2, 1], [3, 3, 3]])
    values = torch.arange(9.0).view(3, 3, 1).expand(3, 3, 16)
    with edit(model, "resid_mid.0", lambda state: values, positions), capture(model, ["resid_mid.0"]) as states:
        model(*batch())
    found = [states["resid_mid.0"][row, token, 0].item() for row, token in ((0, 1), (0, 5), (1, 0), (1, 1), (2, 3))]
    assert found == [1, 2, 3, 5, 8]


@pytest.mark.parametrize("site", RESIDUAL)
def test_a_whole_patch_gives_the_output_of_its_source(model, site):
    source, cache = model.run_with_cache(Inputs(*batch(SOURCE)))
    ids, lengths = batch(TARGET)
    assert (model(ids, lengths) - source).abs().min() > 1e-3
    with edit(model, site, lambda state: cache.states[site]):
        assert torch.equal(model(ids, lengths), source)
    token = torch.arange(ids.shape[1])
    partial = (token > 0) & (token != lengths[:, None] - 1)  # the control: all but the first and the last token
    with edit(model, site, lambda state: cache.states[site][partial], partial):
        assert (model(ids, lengths) - source).abs().max() > 1e-3


def test_a_patch_of_one_branch_is_no_patch_of_the_stream(model):
    source, cache = model.run_with_cache(Inputs(*batch(SOURCE)))
    for site in ("attn_out.0", "mlp_out.0", "attn_out.1", "mlp_out.1"):
        with edit(model, site, lambda state, site=site: cache.states[site]):
            assert (model(*batch(TARGET)) - source).abs().max() > 1e-3


def test_edits_run_in_the_order_in_which_they_were_entered(model):
    _, cache = model.run_with_cache(Inputs(*batch()))
    plain = cache.states["mlp_out.0"]

    def after(first, second):
        with edit(model, "mlp_out.0", first), edit(model, "mlp_out.0", second), capture(model, ["mlp_out.0"]) as states:
            model(*batch())
        return states["mlp_out.0"]

    assert torch.equal(after(shift, negate), -shift(plain))
    assert torch.equal(after(negate, shift), shift(-plain))
    assert not torch.equal(shift(-plain), -shift(plain))


def test_a_capture_sees_what_was_done_before_it_was_entered(model):
    _, cache = model.run_with_cache(Inputs(*batch()))
    with (
        capture(model, ["embed", "final"]) as outside,
        edit(model, "embed", shift),
        capture(model, ["embed"]) as inside,
    ):
        model(*batch())
    assert torch.equal(inside["embed"], shift(cache.states["embed"]))
    assert torch.equal(outside["embed"], cache.states["embed"])
    assert not torch.equal(outside["final"], cache.states["final"])  # at a later site everybody sees the effect


def test_a_context_takes_only_its_own_hooks_away(model):
    theirs = []
    model.embed.register_forward_hook(lambda *a: theirs.append(a[2].shape))
    plain = model(*batch())
    with edit(model, "embed", shift):
        expected = model(*batch())
        with edit(model, "embed", negate):
            both = model(*batch())
        assert torch.equal(model(*batch()), expected)
    assert torch.equal(model(*batch()), plain)
    assert not torch.equal(expected, plain) and not torch.equal(both, expected)
    assert len(theirs) == 5 and hooks_on(model) == 1


def test_contexts_may_be_left_in_any_order(model):
    outer, inner = edit(model, "embed", shift), edit(model, "embed", negate)
    outer.__enter__()
    inner.__enter__()
    model(*batch())
    outer.__exit__(None, None, None)
    left = model(*batch())
    inner.__exit__(None, None, None)
    with edit(model, "embed", negate):
        assert torch.equal(model(*batch()), left)
    assert hooks_on(model) == 0


@pytest.mark.parametrize("where", ["body", "body, before the model ran", "function", "model"])
def test_no_hook_is_left_after_an_exception_and_the_exception_is_the_one_that_was_raised(model, where):
    def fails(*_):
        raise ZeroDivisionError("mine")

    if where == "model":
        model.readout.forward = fails
    model.ln.register_forward_hook(lambda *a: None)
    inside = []
    with (
        pytest.raises(ZeroDivisionError, match="mine"),
        capture(model, SITES),
        edit(model, "attn_out.1", fails if where == "function" else shift, torch.tensor([0, 1, 2])),
        capture(model, ["final"]),
    ):
        inside.append(hooks_on(model))
        if where.startswith("body, before"):
            fails()
        model(*batch())
        fails()
    assert inside == [len(SITES) + 3]
    assert hooks_on(model) == 1  # the one that was there


def test_no_hook_is_left_when_a_context_cannot_be_entered(model):
    with refused("no site 'none'"), capture(model, ["embed", "final", "none"]):
        pass
    with refused("positions of the edit"), edit(model, "embed", shift, torch.zeros(3)):
        pass
    with refused("never fired"), capture(model, SITES):
        assert hooks_on(model) == len(SITES)
    assert hooks_on(model) == 0


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("site", ["embed", "attn_out.0", "mlp_out.1", "final"])
@pytest.mark.parametrize("positions", [None, [0, 1, 2], [[0, 1], [2, 8], [5, 5]], "mask"])
def test_gradients_flow_through_an_edit(model, site, positions, mode):
    ids, lengths = batch()
    getattr(model.double(), mode)()
    if isinstance(positions, list):  # with the last token: in the last block, only it counts
        positions = torch.cat([torch.tensor(positions).view(3, -1), lengths[:, None] - 1], dim=1)
    elif positions:
        positions = torch.arange(ids.shape[1]) < lengths[:, None]

    def output(direction):
        with edit(model, site, lambda state: state * 1.5 + direction, positions):
            return model(ids, lengths)

    direction = torch.randn(16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(output, direction)
    gradients = torch.autograd.grad(output(direction).sum(), [direction, model.tok.weight])
    assert all(gradient.abs().max() > 1e-6 for gradient in gradients)


@pytest.mark.parametrize("site", SITES)
def test_a_token_named_twice_has_the_gradient_of_a_token_named_once(model, site):
    ids, lengths = batch()

    def gradient(positions):
        with edit(model, site, shift, positions):
            return torch.autograd.grad(model(ids, lengths).sum(), model.tok.weight)[0]

    last = lengths[:, None] - 1
    once = gradient(last)
    torch.testing.assert_close(gradient(last.expand(3, 3)), once, atol=1e-6, rtol=1e-5)
    with capture(model, [site]):
        unedited = torch.autograd.grad(model(ids, lengths).sum(), model.tok.weight)[0]
    assert site == "final" or not torch.equal(once, unedited)  # after the last site the model is linear


def test_captured_states_keep_their_graph(model):
    with capture(model.train(), ["resid_post.0"]) as states:
        outputs = model(*batch())
    (gradient,) = torch.autograd.grad(outputs.sum(), states["resid_post.0"])
    assert gradient.abs().sum(-1).count_nonzero() > len(outputs)  # other tokens than the last count


def test_modules_of_any_model_are_sites_by_name():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Sequential(nn.Linear(8, 4), nn.LayerNorm(4)))
    h = torch.randn(3, 5, 4)
    with capture(model, ["0", "2.0"]) as states:
        plain = model(h)
    assert torch.equal(states["0"], model[0](h)) and torch.equal(states["2.0"], model[2][0](model[1](states["0"])))
    with edit(model, "2.0", torch.zeros_like, torch.tensor([1, 0, 4])):
        edited = model(h)
    named = torch.zeros(3, 5, dtype=torch.bool)
    named[[0, 1, 2], [1, 0, 4]] = True
    assert torch.equal(edited[named], model[2][1].bias.expand(3, 4)) and torch.equal(edited[~named], plain[~named])


Named = namedtuple("Named", ["hidden", "extra"])


@pytest.mark.parametrize("kind", [lambda *parts: parts, Named])
def test_of_a_tuple_the_first_element_is_the_site_and_the_rest_is_left(kind):
    class Inner(nn.Module):
        def forward(self, h):
            return kind(h * 2, "extra")

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def forward(self, h):
            return self.inner(h)

    model, h = Outer(), torch.randn(2, 3, 4)
    with capture(model, ["inner"]) as states, edit(model, "inner", negate, torch.tensor([0, 2])):
        found = model(h)
    plain = model(h)
    assert torch.equal(states["inner"], plain[0])
    assert type(found) is type(plain) and found[1] == "extra"
    assert torch.equal(found[0][0, 0], -plain[0][0, 0]) and torch.equal(found[0][:, 1], plain[0][:, 1])


def test_a_state_that_is_no_tensor_is_refused():
    class Lists(nn.Module):
        def forward(self, h):
            return [h]

    model = nn.Sequential(Lists())
    with refused("site '0' is a list; expected a tensor"), capture(model, ["0"]):
        model(torch.ones(2, 3, 4))
    assert hooks_on(model) == 0


ENCODER_SITES = [f"layers.{n}{part}" for n in (0, 1) for part in ("", ".self_attn", ".norm1", ".linear2", ".norm2")]


def encoder(*, nested=False):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested).eval()


@pytest.fixture
def slow_path():
    """PyTorch's encoder, without its fast path while the block runs."""

    @contextmanager
    def off():
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(True)

    return off


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("site", ENCODER_SITES)
def test_pytorchs_fast_path_does_not_go_past_a_hook(site, masked, slow_path):
    model, h = encoder(), torch.randn(3, 5, 8)
    real = torch.arange(5) < torch.tensor([5, 3, 2])[:, None]
    options = {"src_key_padding_mask": ~real} if masked else {}
    positions = torch.tensor([[0, 1]] * 3)

    def run():
        with torch.no_grad(), edit(model, site, shift, positions), capture(model, [site]) as states:
            return model(h, **options), states[site]

    outputs, state = run()
    with slow_path():
        expected, expected_state = run()
    torch.testing.assert_close(outputs[real], expected[real], atol=1e-5, rtol=0)
    torch.testing.assert_close(state[real], expected_state[real], atol=1e-5, rtol=0)
    with torch.no_grad():
        assert (model(h, **options) - outputs)[real].abs().max() > 0.1


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.parametrize("site", ENCODER_SITES)
def test_nested_tensors_are_refused(site):
    model, h = encoder(nested=True), torch.randn(3, 5, 8)
    padding = torch.arange(5) >= torch.tensor([5, 3, 2])[:, None]
    message = f"site '{site}' is a nested tensor; make the encoder with enable_nested_tensor=False"
    with torch.no_grad(), refused(message), capture(model, [site]):
        model(h, src_key_padding_mask=padding)
    with torch.no_grad(), capture(model, [site]) as states:  # the control: without padding there is none
        model(h)
    assert states[site].shape == (3, 5, 8)


def test_a_hook_that_never_fired_is_an_error(model):
    message = "the hook at 'resid_mid.1' never fired: the model was not run inside the block"
    with refused(message), edit(model, "resid_mid.1", shift):
        pass
    with refused("the hook at 'embed' never fired"), capture(model, ["embed"]):
        model.enc.layers[0].norm1(torch.ones(2, 3, 16))
    attention = encoder()  # uses the weights of this module, and never runs it
    with refused(r"'layers.0.self_attn.out_proj' never fired"), edit(attention, "layers.0.self_attn.out_proj", shift):
        attention(torch.ones(2, 3, 8))
    with refused("'layers' never fired"), capture(attention, ["layers.0", "layers"]):
        attention(torch.ones(2, 3, 8))
    with edit(model, "resid_mid.1", same):  # the control: running the model is enough
        model(*batch())


def test_one_silent_hook_among_others_is_an_error(model):
    model.aside = nn.Linear(2, 2)
    with refused("the hook at 'aside' never fired"), capture(model, ["embed", "aside", "final"]):
        model(*batch())
    assert hooks_on(model) == 0


def test_an_unknown_site_is_refused_with_the_nearest_and_the_list(model):
    listed = ", ".join(SITES).replace(".", r"\.")
    message = rf"^no site 'resid_pots.1'; did you mean 'resid_post\.1'\? \(sites: {listed}\)$"
    with refused(message), edit(model, "resid_pots.1", shift):
        pass
    with refused(r"^no site '' \(sites: embed, "), capture(model, [""]):
        pass
    with refused(r"^no site 'resid_post.2'; did you mean"), capture(model, ["resid_post.2"]):
        pass
    many = nn.Sequential(*(nn.Identity() for _ in range(50)))
    with refused(r"^no site 'x' \(sites: 0, .*, 39, and 10 more\)$"), capture(many, ["x"]):
        pass
    with capture(model, ["enc.layers.0.norm2"]) as states:  # the control: a module's own name is good as well
        model(*batch())
    assert list(states) == ["enc.layers.0.norm2"]


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (
            lambda s: s[:, :1],
            r"the edit at 'embed' returned torch.float32 \(3, 1, 16\) on cpu; expected torch.float32 \(3, 2, 16\) on",
        ),
        (lambda s: s.double(), r"returned torch.float64 \(3, 2, 16\) on cpu; expected torch.float32 \(3, 2, 16\)"),
        (lambda s: s.to("meta"), "on meta; expected .* on cpu"),
        (lambda s: s[..., :1], r"returned torch.float32 \(3, 2, 1\)"),  # would broadcast
        (lambda s: None, "the edit at 'embed' returned a NoneType; expected a tensor"),
        (lambda s: 0.0, "the edit at 'embed' returned a float; expected a tensor"),
    ],
)
def test_a_function_that_returns_something_else_is_refused(model, fn, message):
    two = [[0, 1]] * 3
    with refused(message), edit(model, "embed", fn, torch.tensor(two)):
        model(*batch())
    with refused(message.replace("2, ", "12, ")), edit(model, "embed", fn):  # the whole state as well
        model(*batch())
    assert hooks_on(model) == 0


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (torch.zeros(2, dtype=torch.int64), r"are for 2 rows; the state is \(3, 12, 16\)"),
        (torch.zeros(4, 2, dtype=torch.int64), r"are for 4 rows; the state is \(3, 12, 16\)"),
        (torch.ones(1, 12, dtype=torch.bool), r"are for 1 rows; the state is \(3, 12, 16\)"),
        (torch.ones(3, 11, dtype=torch.bool), r"are \(3, 11\); expected \(3, 12\)"),
        (torch.ones(3, 1, dtype=torch.bool), r"are \(3, 1\); expected \(3, 12\)"),
        (torch.tensor([0, 12, 1]), "a position of the edit at 'embed' is 12; the prompts have tokens 0 to 11"),
        (torch.tensor([[0, 1], [0, -1], [0, 3]]), "a position of the edit at 'embed' is -1; the prompts have tokens 0"),
        (torch.zeros(3), r"are torch.float32 \(3,\); expected int64 \(B,\) or \(B, P\), or bool \(B, T\)"),
        (torch.zeros(3, dtype=torch.int32), r"are torch.int32 \(3,\); expected int64"),
        (torch.ones(3, dtype=torch.bool), r"are torch.bool \(3,\); expected int64"),
        (torch.zeros(3, 2, 1, dtype=torch.int64), r"are torch.int64 \(3, 2, 1\); expected int64"),
        (torch.tensor(3), r"are torch.int64 \(\); expected int64"),
        (5, "are of type int; expected int64"),
        ([1, 2, 3], "are of type list; expected int64"),
        (np.zeros((3, 3)), "are of type ndarray; expected int64"),  # the text of an array has lines
    ],
)
def test_positions_that_fit_no_batch_are_refused(model, positions, message):
    with refused(message), edit(model, "embed", same, positions):
        model(*batch())
    assert hooks_on(model) == 0


def test_positions_need_a_state_with_tokens():
    model = nn.Sequential(nn.Linear(4, 4))
    message = r"positions of the edit at '0' are for 3 rows; the state is \(3, 4\)"
    with refused(message), edit(model, "0", same, torch.zeros(3, dtype=torch.int64)):
        model(torch.ones(3, 4))
    with edit(model, "0", torch.zeros_like):  # the control: the whole state may be anything
        assert not model(torch.ones(3, 4)).any()
