"""The rest of a forward pass computes what the whole pass computes with the same edit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from arithprobe.errors import ArithprobeError
from arithprobe.models import resume
from arithprobe.models.hooks import edit
from arithprobe.models.transformer import TinyTransformer
from arithprobe.problems.rows import Inputs

LENGTHS = (9, 4, 1, 6)
EXACT = {torch.float32: 1e-5, torch.float64: 1e-12}
UNEDITED = {torch.float32: 1e-6, torch.float64: 1e-12}
KINDS = [("post", torch.float32), ("post", torch.float64), ("pre", torch.float64)]
BRANCHES = ("z", "attn_out", "resid_mid", "mlp_act", "mlp_out", "resid_post")


def sites_of(n_layers):
    return ["embed", *(f"{site}.{layer}" for layer in range(n_layers) for site in BRANCHES), "final"]


EVERY_SITE = [(n_layers, site) for n_layers in (1, 2, 3) for site in sites_of(n_layers)]
LAST_BLOCK = ["z.1", "attn_out.1", "resid_mid.1", "mlp_act.1", "mlp_out.1", "resid_post.1", "final"]


def model_of(n_layers=2, dtype=torch.float32, n_outputs=1, d=8, n_heads=2, seed=0, norm="post"):
    """Random weights, biases too: what is zero hides mistakes."""
    torch.manual_seed(seed)
    model = TinyTransformer(d, n_layers, n_heads, 2 * d, dropout=0.5, max_len=16, n_outputs=n_outputs, norm=norm)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.weight.data += 1  # or else no layer sees much of the one before
    return model.to(dtype).eval().requires_grad_(False)


def prompts(lengths=LENGTHS):
    lengths = torch.tensor(lengths)
    ids = torch.randint(1, 21, (len(lengths), int(lengths.max())), generator=torch.Generator().manual_seed(1))
    return ids * (torch.arange(ids.shape[1]) < lengths[:, None]), lengths


def positions(lengths, p=4, seed=2):
    """The last token, and others; some are named twice, and every third is not there, the last never."""
    generator = torch.Generator().manual_seed(seed)
    token = (torch.rand(len(lengths), p, generator=generator) * lengths[:, None]).long()
    token[:, 0] = lengths - 1
    valid = torch.rand(len(lengths), p, generator=generator) > 0.33
    valid[:, 0] = True
    return token, valid


def width_of(site, d=8):
    return 2 * d if site.startswith("mlp_act") else d


def cells_of(m, token, site, d=8, dtype=torch.float32, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(m, *token.shape, width_of(site, d), generator=generator, dtype=torch.float64).to(dtype)


def hooked(model, site, cells, token, valid, ids, lengths):
    """The outputs by one whole pass a replacement, cell by cell."""

    def run(replacement):
        def place(state):
            placed = state.clone()
            for row, position in valid.nonzero().tolist():  # in reading order: the last of a token counts
                placed[row, token[row, position]] = replacement[row, position]
            return placed

        with edit(model, site, place):
            return model(ids, lengths)

    return torch.stack([run(replacement) for replacement in cells])


def resumed(model, site, cells, token, valid, ids, lengths):
    inputs = Inputs(ids, lengths)
    return model.run_from(site, cells, token, valid, model.run_with_cache(inputs)[1].states, inputs)


def assert_equal_to_hooked(*arguments, atol):
    found, expected = resumed(*arguments), hooked(*arguments)
    torch.testing.assert_close(found, expected, atol=atol, rtol=atol)
    return found


@pytest.mark.parametrize(("norm", "dtype"), KINDS)
@pytest.mark.parametrize(("n_layers", "site"), EVERY_SITE)
def test_outputs_are_those_of_a_whole_pass_with_the_same_edit(n_layers, site, norm, dtype):
    model, (ids, lengths) = model_of(n_layers, dtype, norm=norm), prompts()
    token, valid = positions(lengths)
    cells = cells_of(3, token, site, dtype=dtype)
    found = assert_equal_to_hooked(model, site, cells, token, valid, ids, lengths, atol=EXACT[dtype])
    assert found.shape == (3, 4, 1) and found.dtype == dtype
    assert set(sites_of(n_layers)) == set(model.sites)
    assert (found - model(ids, lengths)).abs().amax((1, 2)).min() > 1e-3  # the control: every edit does something


@pytest.mark.parametrize("site", sites_of(2))
def test_an_edit_with_positions_is_the_same_edit(site):
    model, (ids, lengths) = model_of(), prompts()
    token, _ = positions(lengths)
    cells = cells_of(1, token, site)
    with edit(model, site, lambda state: cells[0], token):
        expected = model(ids, lengths)
    found = resumed(model, site, cells, token, torch.ones_like(token, dtype=torch.bool), ids, lengths)
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("site", sites_of(2))
def test_in_the_last_block_only_the_last_token_counts(site, norm):
    model, (ids, lengths) = model_of(norm=norm), prompts((9, 4, 2, 6))
    token = torch.stack([torch.zeros_like(lengths), lengths - 2], dim=1)
    cells, there = cells_of(3, token, site), torch.ones_like(token, dtype=torch.bool)
    found = resumed(model, site, cells, token, there, ids, lengths)
    difference = (found - model(ids, lengths)).abs().amax((0, 2))
    if site in LAST_BLOCK:
        assert difference.max() < 1e-6
    else:  # the control
        assert difference.min() > 1e-3


@pytest.mark.parametrize("site", sites_of(2))
def test_a_position_that_is_not_there_replaces_nothing(site):
    model, (ids, lengths) = model_of(dtype=torch.float64), prompts()
    token, valid = positions(lengths)
    cells = cells_of(2, token, site, dtype=torch.float64)
    nowhere = resumed(model, site, cells, token, torch.zeros_like(valid), ids, lengths)
    torch.testing.assert_close(nowhere, model(ids, lengths).expand(2, 4, 1), atol=1e-12, rtol=0)
    assert valid.any() and not valid.all()
    first = resumed(model, site, cells, token, valid, ids, lengths)
    other, elsewhere = torch.where(valid[..., None], cells, 99.0), torch.where(valid, token, -7)
    assert torch.equal(resumed(model, site, other, elsewhere, valid, ids, lengths), first)
    assert not torch.equal(resumed(model, site, -cells, token, valid, ids, lengths), first)  # the control


def test_a_row_in_which_nothing_is_replaced_is_intact_beside_rows_that_are_edited():
    model, (ids, lengths) = model_of(dtype=torch.float64), prompts()
    token, valid = positions(lengths)
    valid[1] = False
    for site in sites_of(2):
        cells = cells_of(2, token, site, dtype=torch.float64)
        difference = resumed(model, site, cells, token, valid, ids, lengths) - model(ids, lengths)
        assert difference[:, 1].abs().max() < 1e-12 < 1e-3 < difference[:, [0, 2, 3]].abs().min()


@pytest.mark.parametrize("site", sites_of(2))
@pytest.mark.parametrize(("m", "lengths"), [(25, (5, 3, 1)), (3, (2, 1, 3, 2) * 11), (2, (3,) * 50)])
def test_many_replacements_at_once_are_one_at_a_time(site, m, lengths, monkeypatch):
    """More tokens than the blocks run at a time, which are few here."""
    monkeypatch.setattr(resume, "_TOKENS", 280)
    model, (ids, lengths) = model_of(), prompts(lengths)
    assert m * ids.numel() > resume._TOKENS  # so that they run in parts
    token, valid = positions(lengths, p=2)
    cells = cells_of(m, token, site)
    states = model.run_with_cache(Inputs(ids, lengths))[1].states
    together = model.run_from(site, cells, token, valid, states, Inputs(ids, lengths))
    alone = torch.cat([model.run_from(site, cell[None], token, valid, states, Inputs(ids, lengths)) for cell in cells])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert together.shape == (m, len(lengths), 1) and together.std(0).mean() > 0.1  # the control: they differ


@pytest.mark.parametrize(("norm", "dtype"), KINDS)
@pytest.mark.parametrize(("n_layers", "site"), EVERY_SITE)
def test_cells_that_are_not_changed_give_the_models_own_output(n_layers, site, norm, dtype):
    model, (ids, lengths) = model_of(n_layers, dtype, norm=norm), prompts()
    token, valid = positions(lengths)
    outputs, cache = model.run_with_cache(Inputs(ids, lengths))
    cells = cache.states[site].gather(1, token[..., None].expand(-1, -1, width_of(site))).expand(2, -1, -1, -1)
    found = model.run_from(site, cells, token, valid, cache.states, Inputs(ids, lengths))
    torch.testing.assert_close(found, outputs.expand(2, -1, -1), atol=UNEDITED[dtype], rtol=0)
    changed = model.run_from(site, cells.flip(-1), token, valid, cache.states, Inputs(ids, lengths))
    assert (changed - outputs).abs().max() > 1e-2  # the control


@pytest.mark.parametrize("site", sites_of(2))
def test_several_outputs(site):
    model, (ids, lengths) = model_of(n_outputs=3), prompts()
    token, valid = positions(lengths)
    found = assert_equal_to_hooked(model, site, cells_of(2, token, site), token, valid, ids, lengths, atol=1e-5)
    assert found.shape == (2, 4, 3) and found.std(-1).min() > 1e-3


@pytest.mark.parametrize("site", sites_of(2))
def test_outputs_are_differentiable_in_the_cells(site):
    model, (ids, lengths) = model_of(dtype=torch.float64, d=4), prompts((4, 1, 3))
    token, valid = positions(lengths, p=3)
    token[0] = torch.tensor([3, 1, 1])
    valid[0] = True
    cells = cells_of(2, token, site, 4, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda c: resumed(model, site, c, token, valid, ids, lengths), cells, fast_mode=True
    )
    arguments = (model, site, cells, token, valid, ids, lengths)
    found, expected = (torch.autograd.grad(f(*arguments).sin().sum(), cells)[0] for f in (resumed, hooked))
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)
    assert found[:, 0, 0].abs().min() > 1e-8  # the last token counts; what is overwritten or not there does not
    assert not found[:, 0, 1].any() and not found[:, ~valid].any()


@pytest.mark.parametrize("site", ["attn_out.2", "mlp_out", "enc.layers.0.norm2", ""])
def test_an_unknown_site_is_refused_in_one_line(site):
    model, (ids, lengths) = model_of(), prompts()
    token, valid = positions(lengths)
    with pytest.raises(ArithprobeError, match=rf"^no site '{site}'.*\(sites: embed, z.0, .*, final\)$") as caught:
        resumed(model, site, cells_of(1, token, site), token, valid, ids, lengths)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("n_layers", "site"), EVERY_SITE)
def test_only_the_head_remains_after_the_last_block(n_layers, site):
    model, (ids, lengths) = model_of(n_layers), prompts()
    remains = site in (f"resid_post.{n_layers - 1}", "final")
    assert model.only_readout_remains(site) == remains
    token = lengths[:, None] - 1
    cells = cells_of(2, token, site)
    found = resumed(model, site, cells, token, torch.ones_like(token, dtype=torch.bool), ids, lengths)
    assert cells.shape[-1] == model.width(site)
    cells = cells[..., :8]  # as wide as the stream
    head = model.readout(cells if site == "final" else model.ln(cells))[:, :, 0]
    assert torch.allclose(found, head, atol=1e-6) == remains


def test_states_and_cells_are_left_as_they_are():
    model, (ids, lengths) = model_of(3), prompts()
    token, valid = positions(lengths)
    states = model.run_with_cache(Inputs(ids, lengths))[1].states
    kept = {site: state.clone() for site, state in states.items()}
    for site in sites_of(3):
        cells = cells_of(2, token, site)
        arguments = cells.clone(), token.clone(), valid.clone()
        model.run_from(site, cells, token, valid, states, Inputs(ids, lengths))
        assert all(map(torch.equal, (cells, token, valid), arguments))
    assert all(torch.equal(states[site], state) for site, state in kept.items())


@pytest.mark.parametrize("site", sites_of(2))
def test_replacements_may_share_their_memory(site):
    model, (ids, lengths) = model_of(), prompts()
    token, valid = positions(lengths)
    one = torch.randn(width_of(site), generator=torch.Generator().manual_seed(4))
    shared = one.expand(3, *token.shape, -1)
    found = assert_equal_to_hooked(model, site, shared, token, valid, ids, lengths, atol=1e-5)
    assert (found[0] - found[2]).abs().max() < 1e-6


@st.composite
def runs(draw):
    """A model, prompts and positions: one prompt, one token, the same token twice, positions on padding."""
    n_layers = draw(st.integers(1, 3))
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    p, longest = draw(st.integers(1, 4)), max(lengths)
    cell = st.tuples(st.integers(0, longest - 1), st.booleans())
    drawn = [[draw(cell) for _ in range(p)] for _ in lengths]
    options = {"n_heads": draw(st.sampled_from([1, 2, 8])), "norm": draw(st.sampled_from(["post", "pre"]))}
    model = model_of(n_layers, torch.float64, seed=draw(st.integers(0, 9)), **options)
    token, valid = (torch.tensor([[pair[part] for pair in row] for row in drawn]) for part in (0, 1))
    scale = draw(st.sampled_from([0.0, 1e-3, 1.0, 100.0]))
    m, seed, site = draw(st.integers(1, 3)), draw(st.integers(0, 9)), draw(st.sampled_from(sites_of(n_layers)))
    cells = scale * cells_of(m, token, site, dtype=torch.float64, seed=seed)
    return model, site, cells, token, valid, *prompts(lengths)


@settings(deadline=None, max_examples=30)
@given(runs())
def test_whatever_is_replaced_the_outputs_are_those_of_a_whole_pass(arguments):
    assert_equal_to_hooked(*arguments, atol=1e-9)


@pytest.mark.long
@settings(deadline=None, max_examples=2000)
@given(runs())
def test_so_they_are_in_many_more_draws(arguments):
    assert_equal_to_hooked(*arguments, atol=1e-9)


@pytest.mark.parametrize("site", sites_of(2))
@pytest.mark.parametrize("lengths", [(1,), (6,), (1, 1, 1), (6, 1)])
@pytest.mark.parametrize("m", [1, 3])
def test_one_prompt_and_prompts_of_one_token(site, lengths, m):
    model, (ids, lengths) = model_of(dtype=torch.float64), prompts(lengths)
    token = lengths[:, None] - 1
    valid = torch.ones_like(token, dtype=torch.bool)
    found = assert_equal_to_hooked(
        model, site, cells_of(m, token, site, dtype=torch.float64), token, valid, ids, lengths, atol=1e-12
    )
    assert (found - model(ids, lengths)).abs().min() > 1e-4


@pytest.mark.parametrize("site", sites_of(2))
def test_of_a_token_named_twice_the_last_position_that_is_there_counts(site):
    model, (ids, lengths) = model_of(dtype=torch.float64), prompts()
    last = (lengths - 1)[:, None].expand(-1, 3)
    valid = torch.tensor([[True, True, True], [True, True, False], [True, False, False], [False, True, False]])
    cells = cells_of(40, last, site, dtype=torch.float64)
    found = assert_equal_to_hooked(model, site, cells, last, valid, ids, lengths, atol=1e-12)
    counts = cells[:, torch.arange(4), torch.tensor([2, 1, 0, 1])][:, :, None]
    alone = resumed(model, site, counts, last[:, :1], torch.ones(4, 1, dtype=torch.bool), ids, lengths)
    torch.testing.assert_close(found, alone, atol=1e-12, rtol=0)
    first = resumed(model, site, cells[:, :, :1], last[:, :1], torch.ones(4, 1, dtype=torch.bool), ids, lengths)
    assert (found - first)[:, [0, 1, 3]].abs().mean() > 1e-3 and (found - first)[:, 2].abs().max() < 1e-12


def test_large_states_do_not_lose_the_attention():
    """The key's bias is left out of the scores, and a softmax does not see it, however large."""
    model, (ids, lengths) = model_of(dtype=torch.float64), prompts()
    model.enc.layers[1].self_attn.in_proj_bias[8:16] = 100.0
    token, valid = positions(lengths)
    for site in sites_of(2):
        cells = 50 * cells_of(2, token, site, dtype=torch.float64)
        assert_equal_to_hooked(model, site, cells, token, valid, ids, lengths, atol=1e-9)
