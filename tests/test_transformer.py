"""The transformer computes what ``torch.nn.TransformerEncoder`` computes, with the same weights."""

from collections import Counter, defaultdict

import pytest
import torch
from micro import one_thread  # noqa: F401
from torch import nn

from arithprobe.errors import ArithprobeError
from arithprobe.models.transformer import TinyTransformer
from arithprobe.models.weights import load_plain_weights
from arithprobe.problems.rows import Inputs
from arithprobe.tokenizer import VOCABULARY, encode, pad_batch

TEXTS = ["103 + 40 = ?", "7 + 7 = ?", "999 + 999 (mod 97) = ?"]
PROMPTS = {"padded": TEXTS, "single": TEXTS[:1]}
NORMS = ["post", "pre"]


def encoder_layer(d_model, n_heads, d_ff, norm="post"):
    options = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": norm == "pre"}
    return nn.TransformerEncoderLayer(d_model, n_heads, d_ff, **options)


class Original(nn.Module):
    """The original project's model, from PyTorch's own parts."""

    def __init__(self, d_model=32, n_layers=2, n_heads=4, d_ff=64, norm="post"):
        super().__init__()
        layer = encoder_layer(d_model, n_heads, d_ff, norm)
        self.tok, self.pos = nn.Embedding(21, d_model), nn.Embedding(512, d_model)
        self.enc = nn.TransformerEncoder(layer, n_layers, enable_nested_tensor=False)
        self.ln, self.readout = nn.LayerNorm(d_model), nn.Linear(d_model, 1)

    def forward(self, ids, lengths):
        padding = torch.arange(ids.shape[1]) >= lengths[:, None]
        h = self.tok(ids) + self.pos(torch.arange(ids.shape[1]))
        states = {"embed": h}
        for number, layer in enumerate(self.enc.layers):
            h = layer(h, src_key_padding_mask=padding)
            states[f"resid_post.{number}"] = h
        states["final"] = self.ln(h)
        last = states["final"][torch.arange(len(ids)), lengths - 1]
        return self.readout(last), states


@pytest.fixture(params=NORMS)
def pair(request):
    """The original and ours, with the same random weights, and a padded batch."""
    torch.manual_seed(0)
    original = Original(norm=request.param)
    for parameter in original.parameters():
        nn.init.normal_(parameter, std=0.2)
    ours = TinyTransformer(32, 2, 4, 64, dropout=0.0, norm=request.param)
    ours.load_state_dict(original.state_dict())
    ids, _, lengths = pad_batch([encode(text) for text in TEXTS])
    return original, ours, ids, lengths


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("texts", PROMPTS.values(), ids=PROMPTS)
def test_outputs_and_states_are_pytorchs(pair, texts, mode):
    original, ours, *_ = pair
    ids, _, lengths = pad_batch([encode(text) for text in texts])
    getattr(original, mode)()
    getattr(ours, mode)()
    expected, states = original(ids, lengths)
    outputs, cache = ours.run_with_cache(Inputs(ids, lengths))
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours(ids, lengths), expected, atol=1e-5, rtol=0)
    for site, state in states.items():
        torch.testing.assert_close(cache.states[site], state, atol=1e-5, rtol=0)
    elsewhere = TinyTransformer(32, 2, 4, 64, dropout=0.0, norm={"post": "pre", "pre": "post"}[ours.norm])
    elsewhere.load_state_dict(ours.state_dict())
    assert (elsewhere(ids, lengths) - expected).abs().max() > 1e-3  # the control: its LayerNorms stand elsewhere


def read_by_attention(original, layer, h):
    """What a layer of PyTorch's encoder attends from and to."""
    layer = original.enc.layers[layer]
    return layer.norm1(h) if layer.norm_first else h


def test_the_states_between_are_pytorchs(pair):
    original, ours, ids, lengths = pair
    caught = {}
    layer = original.enc.layers[1]
    handles = [
        layer.self_attn.register_forward_hook(lambda *a: caught.update({"attn_out.1": a[2][0]})),
        layer.norm2.register_forward_pre_hook(lambda _, read: caught.update({"resid_mid.1": read[0]}))
        if layer.norm_first
        else layer.norm1.register_forward_hook(lambda *a: caught.update({"resid_mid.1": a[2]})),
        layer.linear2.register_forward_hook(lambda *a: caught.update({"mlp_out.1": a[2]})),
    ]
    original.train()(ids, lengths)
    _, cache = ours.run_with_cache(Inputs(ids, lengths))
    assert len(caught) == len(handles)
    for site, state in caught.items():
        torch.testing.assert_close(cache.states[site], state, atol=1e-5, rtol=0)
    assert set(ours.residual_sites) <= set(cache.states)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("texts", PROMPTS.values(), ids=PROMPTS)
def test_patterns_of_every_layer_are_those_of_pytorchs_attention(pair, texts, mode):
    original, ours, *_ = pair
    ids, mask, lengths = pad_batch([encode(text) for text in texts])
    _, cache = getattr(ours, mode)().run_with_cache(Inputs(ids, lengths), patterns=True)
    assert list(cache.patterns) == ["pattern.0", "pattern.1"]
    for layer, site in enumerate(ours.layer_inputs):
        attention = getattr(original, mode)().enc.layers[layer].self_attn
        h = read_by_attention(original, layer, cache.states[site])
        out, expected = attention(h, h, h, key_padding_mask=~mask, need_weights=True, average_attn_weights=False)
        pattern = cache.patterns[f"pattern.{layer}"]
        torch.testing.assert_close(pattern, expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(cache.states[f"attn_out.{layer}"], out, atol=1e-5, rtol=0)
        assert (pattern[:, 0] - pattern[:, 1]).abs().max() > 1e-3  # the control: heads are not all alike


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("texts", PROMPTS.values(), ids=PROMPTS)
def test_asking_for_patterns_changes_no_bit(pair, texts, mode):
    _, ours, *_ = pair
    ids, _, lengths = pad_batch([encode(text) for text in texts])
    outputs, cache = getattr(ours, mode)().run_with_cache(Inputs(ids, lengths))
    again, other = ours.run_with_cache(Inputs(ids, lengths), patterns=True)
    assert torch.equal(outputs, again)
    assert list(cache.states) == list(other.states)
    assert all(torch.equal(cache.states[site], state) for site, state in other.states.items())
    assert cache.patterns == {} and len(other.patterns) == 2


def test_z_is_what_each_head_read_and_what_the_output_projection_takes(pair):
    original, ours, ids, lengths = pair
    _, cache = ours.run_with_cache(Inputs(ids, lengths), patterns=True)
    for layer, (block, site) in enumerate(zip(ours.enc.blocks, ours.layer_inputs, strict=True)):
        z, attention = cache.states[f"z.{layer}"], block.self_attn
        assert torch.equal(attention.out_proj(z), cache.states[f"attn_out.{layer}"])
        h = read_by_attention(original, layer, cache.states[site])
        values = h @ attention.in_proj_weight[64:].T + attention.in_proj_bias[64:]
        pattern = cache.patterns[f"pattern.{layer}"]
        read = [pattern[:, head] @ values[..., 8 * head : 8 * head + 8] for head in range(4)]
        torch.testing.assert_close(z, torch.cat(read, dim=-1), atol=1e-6, rtol=0)
        wrong = torch.cat(read[::-1], dim=-1)  # the control: head after head, in their order
        assert (z - wrong).abs().max() > 0.01


def test_weights_by_head_are_the_slices_that_each_head_uses(pair):
    _, ours, ids, lengths = pair
    _, cache = ours.run_with_cache(Inputs(ids, lengths))
    attention = ours.enc.blocks[1].self_attn
    written = torch.einsum("hde,bthe->bthd", attention.out_by_head, cache.states["z.1"].unflatten(-1, (4, 8)))
    whole = written.sum(dim=2) + attention.out_proj.bias
    torch.testing.assert_close(whole, cache.states["attn_out.1"], atol=1e-6, rtol=0)
    assert torch.equal(attention.values_by_head.flatten(0, 1), attention.in_proj_weight[64:])


def test_computing_only_the_last_token_gives_the_same_loss_and_gradients(pair):
    original, ours, ids, lengths = pair
    losses = []
    for model in (original.train(), ours.train()):
        outputs = model(ids, lengths)
        losses.append((outputs[0] if isinstance(outputs, tuple) else outputs).square().sum())
        losses[-1].backward()
    torch.testing.assert_close(losses[1], losses[0], atol=1e-5, rtol=1e-5)
    for (name, ours_), (_, theirs) in zip(ours.named_parameters(), original.named_parameters(), strict=True):
        torch.testing.assert_close(ours_.grad, theirs.grad, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("norm", NORMS)
def test_dropout_acts_in_attention_and_in_the_mlp_while_training_only(norm):
    ids, lengths = encode(TEXTS[0])[None], torch.tensor([len(TEXTS[0])])
    for kept in ("attention", "rest"):
        torch.manual_seed(0)
        model = TinyTransformer(32, 2, 4, 64, dropout=0.5, norm=norm)
        for block in model.enc.layers:
            if kept == "attention":
                block.dropout.p = 0.0
            else:
                block.self_attn.dropout = 0.0
        assert not torch.equal(model(ids, lengths), model(ids, lengths))
        model.eval()
        assert torch.equal(model(ids, lengths), model(ids, lengths))


def test_training_computes_the_last_block_at_one_position_only_unless_somebody_looks(pair):
    _, ours, ids, lengths = pair
    shapes, linear = [], ours.enc.layers[1].linear1
    run = linear.forward
    linear.forward = lambda x: shapes.append(tuple(x.shape[:2])) or run(x)
    ours.train()(ids, lengths)
    ours.eval()(ids, lengths)
    assert shapes == [(3, 1), (3, ids.shape[1])]
    linear.register_forward_hook(lambda *a: None)
    torch.testing.assert_close(ours.train()(ids, lengths), ours.eval()(ids, lengths), atol=1e-6, rtol=0)
    assert shapes[2:] == [(3, ids.shape[1])] * 2


def test_a_prompt_does_not_see_its_padding(pair):
    _, ours, ids, lengths = pair
    ours.eval()
    together = ours(ids, lengths)
    for row, text in enumerate(TEXTS):
        alone = ours(encode(text)[None], torch.tensor([len(text)]))
        torch.testing.assert_close(alone[0], together[row], atol=1e-6, rtol=0)
    other = ids.clone()
    other[0, lengths[0] :] = 5
    torch.testing.assert_close(ours(other, lengths), together, atol=1e-6, rtol=0)
    other[0, 0] = 5  # the control: a real token does count
    assert (ours(other, lengths) - together).abs().max() > 1e-3


def test_original_files_load_and_round_trip(pair, tmp_path):
    original, _ours, _ids, _lengths = pair
    path = tmp_path / "REG-SUM_best.pt"
    torch.save(original.state_dict(), path)
    fresh = TinyTransformer(32, 2, 4, 64)
    load_plain_weights(fresh, path)
    assert list(fresh.state_dict()) == list(original.state_dict())
    assert all(torch.equal(value, original.state_dict()[key]) for key, value in fresh.state_dict().items())
    original.load_state_dict(fresh.state_dict())


def test_other_files_are_refused(pair, tmp_path):
    original, *_ = pair
    path = tmp_path / "weights.pt"

    def refused(content, message):
        torch.save(content, path)
        with pytest.raises(ArithprobeError, match=message):
            load_plain_weights(TinyTransformer(32, 2, 4, 64), path)

    state = original.state_dict()
    refused(
        {**state, "tok.weight": torch.zeros(21, 64)}, r"'tok.weight' has shape \(21, 64\), the model expects \(21, 32\)"
    )
    refused({k: v for k, v in state.items() if k != "ln.bias"}, r"'ln.bias' is missing; expected shape \(32,\)")
    refused({**state, "enc.norm.weight": torch.zeros(32)}, "'enc.norm.weight' has no place in the model")
    refused({**state, "ln.bias": "text"}, "'ln.bias' is a str")
    refused(
        {"state_dict": state, "pytorch-lightning_version": "2"}, "is a Lightning checkpoint; pass it as --ckpt_path"
    )
    refused([1, 2], "holds a list")
    refused(original, r"nothing else is loaded \(weights_only=True\)")
    path.write_bytes(b"no pickle")
    with pytest.raises(ArithprobeError, match="not a checkpoint"):
        load_plain_weights(TinyTransformer(32), path)
    with pytest.raises(ArithprobeError, match="no such file"):
        load_plain_weights(TinyTransformer(32), tmp_path / "none.pt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_heads": 3}, "n_heads is 3; expected a divisor of d_model, 128"),
        ({"n_layers": 0}, "n_layers is 0; expected 1 or more"),
        ({"dropout": 1.0}, "dropout is 1.0; expected a probability below 1"),
        ({"norm": "Pre"}, "norm is 'Pre'; expected one of post, pre"),
        ({"norm": None}, "norm is None; expected one of post, pre"),
        ({"positions": "relative"}, "positions is 'relative'; expected one of absolute, place"),
        *(({"embedding_sd": sd}, f"embedding_sd is {sd}; expected a positive number") for sd in (0, -0.5)),
        *(({"embedding_sd": float(sd)}, f"embedding_sd is {sd}; expected a positive") for sd in ("nan", "inf")),
    ],
)
def test_impossible_sizes_and_choices_are_refused_in_one_line(options, message):
    with pytest.raises(ArithprobeError, match=f"^{message}") as caught:
        TinyTransformer(**options)
    assert "\n" not in str(caught.value)


def test_a_prompt_longer_than_the_table_is_refused():
    with pytest.raises(
        ArithprobeError, match="a prompt has 12 tokens, the position table holds 8; raise max_len to 12"
    ):
        TinyTransformer(16, max_len=8)(encode("103 + 40 = ?")[None], torch.tensor([12]))


def made(seed=0, **options):
    torch.manual_seed(seed)
    return TinyTransformer(**{"d_model": 16, "n_layers": 3, "n_heads": 2, "d_ff": 24, "max_len": 40} | options).eval()


@pytest.mark.parametrize("options", [{}, {"norm": "pre"}, {"positions": "place"}], ids=str)
def test_initial_weights_are_those_that_pytorchs_parts_draw_one_after_another(options):
    weights, after = made(**options).state_dict(), torch.get_rng_state()
    torch.manual_seed(0)
    drawn = nn.ModuleDict({"tok": nn.Embedding(21, 16), "pos": nn.Embedding(40, 16), "enc": nn.Module()})
    drawn["enc"].layers = nn.ModuleList(encoder_layer(16, 2, 24) for _ in range(3))
    drawn.update({"ln": nn.LayerNorm(16), "readout": nn.Linear(16, 1)})
    assert torch.equal(torch.get_rng_state(), after)
    assert list(weights) == list(drawn.state_dict())
    assert all(torch.equal(weights[name], weight) for name, weight in drawn.state_dict().items())
    assert not torch.equal(made(seed=1).readout.weight, drawn["readout"].weight)  # the control


@pytest.mark.parametrize("sd", [0.02, 0.3, 5.0])
def test_embedding_sd_scales_the_two_tables_and_leaves_all_else_as_it_was(sd):
    expected, before = made(max_len=500).state_dict(), torch.get_rng_state()
    weights = made(max_len=500, embedding_sd=sd).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    for table in ("tok.weight", "pos.weight"):
        scaled, plain = weights.pop(table), expected.pop(table)
        assert torch.equal(scaled, plain * sd) and not torch.equal(scaled, plain)
        assert scaled.std().item() == pytest.approx(sd, rel=0.2)
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weight, expected[name]) for name, weight in weights.items())


def embedded(model, texts):
    """The embeddings of the characters of each text of one padded batch, each a tuple of D numbers."""
    ids, _, lengths = pad_batch([encode(text) for text in texts])
    states = model.run_with_cache(Inputs(ids, lengths))[1].states["embed"].tolist()
    return [[*map(tuple, state[:length])] for state, length in zip(states, lengths.tolist(), strict=True)]


def seen_at_embed(model):
    """The different embeddings of each character of each place value, and the tokens that it stood at."""
    texts = [*TEXTS, "40 + 103 = ?", "303 + 13 = ?", "33 + 3 (mod 30) = ?", "0 + 0 = ?"]
    states, tokens = defaultdict(set), defaultdict(set)
    for text, of_text in zip(texts, embedded(model, texts), strict=True):
        for token, (character, state) in enumerate(zip(text, of_text, strict=True)):
            rest = text[token:]
            place = len(rest) - len(rest.lstrip("0123456789"))
            states[character, place].add(state)
            tokens[character, place].add(token)
    return states, tokens


def test_a_digit_is_embedded_by_what_it_is_and_its_place_not_by_where_it_stands():
    model = made(positions="place")
    states, tokens = seen_at_embed(model)
    for (character, place), found in states.items():
        expected = model.tok.weight[VOCABULARY.index(character) + 1] + model.pos.weight[place]
        assert found == {tuple(expected.tolist())}
    assert len(set.union(*states.values())) == len(states)  # no two of them are alike
    absolute, _ = seen_at_embed(made())  # the control
    assert all(len(found) == len(tokens[kind]) for kind, found in absolute.items())
    assert min(len(tokens[kind]) for kind in [("3", 1), ("0", 1), ("3", 2), ("?", 0)]) > 1


SWAPPED = {"103 + 40 = ?": "40 + 103 = ?", "7 + 85 (mod 97) = ?": "85 + 7 (mod 97) = ?", "999 + 0 = ?": "0 + 999 = ?"}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("positions", ["place", "absolute"])
def test_which_operand_is_first_is_not_seen_by_place(positions, norm):
    """The same embeddings in another order, and attention itself knows no order; by index, the control, it is seen."""
    model, sides = made(positions=positions, norm=norm), (list(SWAPPED), list(SWAPPED.values()))
    one, other = ([Counter(of_text) for of_text in embedded(model, texts)] for texts in sides)
    outputs = torch.stack([model(*pad_batch([encode(text) for text in texts])[::2]) for texts in sides])
    difference = (outputs[0] - outputs[1]).abs()
    if positions == "place":
        assert one == other and difference.max() < 1e-5
    else:
        assert all(own != swapped for own, swapped in zip(one, other, strict=True)) and difference.min() > 1e-3
    assert outputs[0].std() > 1e-2  # other problems have other outputs
