"""Networks whose sites are not what they are said to be, each found out; and honest ones beside them."""

import copy
import pickle

import pytest
import torch
from own_networks import SITES, OneLayer, P, hooked, token_rows
from test_network import sums, tiny, wrapped
from torch import nn

from arithprobe.analysis.intervene.run import intervene
from arithprobe.analysis.probe.run import probe
from arithprobe.errors import ArithprobeError
from arithprobe.models.check import check
from arithprobe.models.checkpoints import in_memory, load_model, weights_hash
from arithprobe.models.hooked import HookedNetwork
from arithprobe.models.hooks import edit
from arithprobe.models.objectives import ResidueCrossEntropy, ScaledMSE
from arithprobe.problems.rows import Inputs
from arithprobe.tokenizer import PAD_ID

AFTER = {name: SITES[name] for name in ("embed", "resid_mid.0", "resid_post.0")}


class Changed(OneLayer):
    """The one-layer network, which does one thing that its site map does not say."""

    how, scale = "", 1.0

    def __init__(self):
        super().__init__()
        self.aside, self.calls = nn.Identity(), 0
        self.register_buffer("count", torch.zeros(()))

    def forward(self, ids):
        outputs = super().forward(ids)
        if self.how == "counts":
            self.count += 1
        if self.how == "remembers":
            self.calls += 1
            outputs = outputs + 1e-3 * self.calls
        if self.how == "twice":
            self.up(self.qkv.weight.new_zeros((*ids.shape, 8)))
        if self.how == "aside":
            self.aside(self.tokens(ids))
        if self.how == "no gradient":
            outputs = outputs.detach()
        if self.how == "coarse":
            outputs = outputs * 1e-4 + 1e3
        if self.how == "masked":  # of a token that is no answer
            outputs = torch.cat([outputs, torch.full_like(outputs[..., :1], -1e9)], dim=-1)
        if self.how == "infinite":
            outputs = torch.cat([outputs, torch.full_like(outputs[..., :1], -torch.inf)], dim=-1)
        return outputs


def changed(how, sites=None, **options):
    module = Changed()
    module.how = how
    return hooked(module, SITES if sites is None else sites, factory=None, **options)


@pytest.mark.parametrize(
    ("how", "sites", "said"),
    [
        ("counts", SITES, "a pass in evaluation mode changes 'inner.count'"),
        ("remembers", SITES, "a second plain pass differs"),
        ("twice", SITES, "the hook at 'resid_mid.0' fires 2 times in a pass; expected once"),
        ("no gradient", SITES, "no gradient through run_from"),
        ("coarse", SITES, "outputs differ between rows by less than rounding in torch.float32 may do"),
        ("infinite", SITES, "an output is not finite"),
        ("", SITES | {"again.0": "out"}, "sites 'attn_out.0' and 'again.0' are one state, the output of 'inner.out'"),
        ("", dict(reversed(AFTER.items())), "the residual sites as embed, resid_mid.0, resid_post.0, not resid"),
    ],
)
def test_each_lie_is_found_out(how, sites, said):
    assert check(changed("", SITES), token_rows()).problems == ()  # the control
    found = check(changed(how, sites), token_rows())
    assert any(said in problem for problem in found.problems), found.problems
    assert "BREAKS" in str(found) and "\n" not in str(found)


def test_a_mask_over_some_outputs_neither_hides_a_lie_nor_is_one():
    assert check(changed("masked"), token_rows()).problems == ()
    lie = {name: site for name, site in AFTER.items() if name != "resid_mid.0"} | {"resid_mid.0": "down"}
    order = {name: lie[name] for name in AFTER}
    found = check(changed("masked", order), token_rows())
    assert any("the whole stream of a source at 'resid_mid.0' differs" in one for one in found.problems)


def test_a_site_that_nothing_reads_is_named():
    found = check(changed("aside", SITES | {"aside.0": "aside"}), token_rows())
    assert (found.problems, found.unreached) == ((), ("aside.0",))
    assert "no output changes with: aside.0" in str(found)
    assert check(changed("aside"), token_rows()).unreached == ()  # the control


class InPlace(OneLayer):
    """Its activation writes over what it reads."""

    def __init__(self):
        super().__init__()
        self.act = nn.ReLU(inplace=True)


def test_a_state_is_what_it_was_when_the_network_came_by():
    network, rows = hooked(InPlace(), {**AFTER, "mlp_pre.0": "up"}, factory=InPlace), token_rows()
    assert check(network, rows).problems == ()
    inputs = rows.inputs(torch.arange(9))
    _, (states, _) = network.run_with_cache(inputs)
    torch.testing.assert_close(states["mlp_pre.0"], network.inner.up(states["resid_mid.0"]))
    assert (states["mlp_pre.0"] < 0).any()


class Encoder(nn.Module):
    """PyTorch's own encoder on prompts of several lengths."""

    def __init__(self, norm_first=False):
        super().__init__()
        self.tokens, self.places = nn.Embedding(32, 16), nn.Embedding(32, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.readout = nn.Linear(16, 1)

    def forward(self, ids, mask):
        x = self.tokens(ids) + self.places.weight[: ids.shape[1]]
        return self.readout(self.encoder(x, src_key_padding_mask=mask))


def encoder(*, masks=True, norm_first=False):
    torch.manual_seed(0)
    layers = {f"resid_post.{layer}": f"encoder.layers.{layer}" for layer in range(2)}
    sites = (
        {"embed": {"module": "encoder.layers.0", "side": "input"}} | layers | {"mlp_out.1": "encoder.layers.1.dropout2"}
    )
    return HookedNetwork(
        Encoder(norm_first),
        sites,
        example=sums().inputs(torch.arange(2)),
        call=lambda module, inputs: module(inputs.ids, inputs.ids == (PAD_ID if masks else -1)),
        factory=lambda: Encoder(norm_first),
    ).eval()


@pytest.mark.parametrize("norm_first", [False, True])
def test_an_encoder_of_pytorch_keeps_its_promises_if_padding_is_masked(norm_first):
    found = check(encoder(norm_first=norm_first), sums())
    assert found.problems == () and found.unreached == () and found.alone <= 1e-5
    bare = check(encoder(masks=False, norm_first=norm_first), sums()).problems
    assert any("a row alone, and in a padded batch, differs" in one for one in bare)


def test_only_the_readout_remains_where_no_other_matrix_is_run():
    network = hooked()
    assert [site for site in network.residual_sites if network.only_readout_remains(site)] == ["resid_post.0"]
    for norm in ("pre", "post"):
        native = tiny(norm)
        other = wrapped(native)
        ends = [[site for site in one.residual_sites if one.only_readout_remains(site)] for one in (native, other)]
        assert ends[0] == ends[1] != []
    partial = encoder()  # the map of a network with more layers than it names
    assert partial.only_readout_remains("resid_post.1") and not partial.only_readout_remains("resid_post.0")


class Held(nn.Module):
    """All its weights are its own; modules are places for hooks."""

    def __init__(self):
        super().__init__()
        self.tokens, self.up = nn.Parameter(torch.randn(P + 1, 8)), nn.Parameter(torch.randn(8, 8))
        self.embed, self.post = nn.Identity(), nn.Identity()

    def forward(self, ids):
        x = self.embed(self.tokens[ids].cumsum(dim=1))
        x = self.post(x + torch.relu(x @ self.up))
        return nn.functional.linear(x, self.tokens[:P])  # tied


def test_weights_that_no_module_holds_count_too():
    network = hooked(Held(), {"embed": "embed", "resid_post.0": "post"}, factory=Held)
    assert check(network, token_rows()).problems == ()
    assert [network.only_readout_remains(site) for site in network.residual_sites] == [False, True]


class HeadsFirst(nn.Module):
    """What its heads read lies (B, H, T, D / H), and there are as many as tokens."""

    def __init__(self, heads=3):
        super().__init__()
        self.heads, self.tokens = heads, nn.Embedding(P + 1, 4 * heads)
        self.z, self.readout = nn.Identity(), nn.Linear(4 * heads, P)

    def forward(self, ids):
        x = self.tokens(ids)
        z = self.z(x.unflatten(-1, (self.heads, -1)).transpose(1, 2))
        return self.readout(x + z.cumsum(dim=2).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("heads", [3, 2])
def test_heads_are_not_taken_for_tokens(heads):
    said = {3: r"\(2, 3, 3, 4\); tokens cannot be told from heads where there are 3", 2: r"expected \(B, T, D\)"}
    with pytest.raises(ArithprobeError, match=said[heads]):
        hooked(HeadsFirst(heads), {"embed": "tokens", "z.0": {"module": "z", "n_heads": heads}}, factory=None)


class TimeMajor(nn.Module):
    """Its states are (T, B, D)."""

    def __init__(self):
        super().__init__()
        self.tokens, self.cells, self.readout = nn.Embedding(P + 1, 8), nn.GRU(8, 8), nn.Linear(8, P)

    def forward(self, ids):
        return self.readout(self.cells(self.tokens(ids).transpose(0, 1))[0].transpose(0, 1))


def test_rows_are_not_taken_for_tokens():
    with pytest.raises(
        ArithprobeError, match=r"the output of 'cells' is \(3, 4, 8\); expected \(B, T, D\), \(4, 3, D\)"
    ):
        hooked(TimeMajor(), {"embed": "tokens", "resid_post.0": "cells"}, example=token_rows().ids[:3], factory=None)


class Past(OneLayer):
    """A skip from the embedding to the readout."""

    def forward(self, ids):
        x = self.tokens(ids) + self.places.weight
        late = self.down(self.act(self.up(self.qkv(x)[..., :8].cumsum(dim=1))))
        return self.scores(late + x.cumsum(dim=1))


@pytest.mark.parametrize("order", ["alternating", "in blocks"])
def test_a_source_is_another_problem_however_rows_are_ordered(order):
    two = torch.tensor([[1, 2], [7, 4]])
    rows = token_rows(two.repeat(24, 1) if order == "alternating" else two.repeat_interleave(24, dim=0))
    sites = {"embed": {"module": "qkv", "side": "input"}, "resid_post.0": "down"}
    found = check(hooked(Past(), sites, factory=None), rows)
    assert any("at 'resid_post.0' differs" in one and "reads past that site" in one for one in found.problems)
    assert check(hooked(Past(), sites, factory=None, residual=["embed"]), rows).problems == ()  # the control
    same = check(hooked(Past(), sites, factory=None), token_rows(two[:1].repeat(9, 1)))
    assert same.problems == () and same.whole_source != same.whole_source  # NaN: there is no other problem


class Packed(Encoder):
    """Gives back as many tokens as the longest row of the batch has."""

    def forward(self, ids, mask):
        return super().forward(ids, mask)[:, : int((~mask).sum(dim=1).max())]


def test_rows_all_shorter_than_the_longest_are_run_too():
    network = encoder()
    network.inner = Packed()
    with pytest.raises(ArithprobeError, match=r"read gives \(\d+, \d+, 1\) for \d+ rows"):
        check(network.eval(), sums())


def test_rows_that_a_network_cannot_run_are_one_line():
    rows = token_rows(p=P + 20)
    for measure in (
        lambda: check(hooked(), rows),
        lambda: probe(in_memory(hooked(), ResidueCrossEntropy(P + 20)), rows),
    ):
        with pytest.raises(ArithprobeError, match=r"cannot be run on rows \(24, 3\) of pairs: index out of range"):
            measure()


def test_a_factory_that_needs_more_is_one_line():
    with pytest.raises(ArithprobeError, match=r"the factory raised TypeError.*expected a function of no arguments"):
        hooked(factory=lambda d_model: OneLayer(d_model)).untrained(0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"read": lambda outputs: outputs.argmax(-1, keepdim=True)}, "read gives torch.int64; expected outputs"),
        ({"read": "logits"}, "read is a str; expected a function"),
        ({"factory": OneLayer()}, "factory is a OneLayer; expected a function that makes one"),
        ({"max_len": 0}, "max_len is 0; expected 1 or more"),
        ({"example": [[1, 2]]}, "example: expected .* token ids"),
        ({"example": torch.tensor([[99, 1]])}, r"the module cannot be run on the example \(1, 2\): index out of range"),
        ({"call": lambda module, inputs: module(*inputs)}, r"cannot be run on the example \(2, 3\): .*takes 2"),
        ({"sites": SITES | {"z.0": Inputs(1, 2)}}, "site 'z.0' is Inputs"),
        ({"sites": SITES | {"z.0": {"module": "out", "n_heads": 0}}}, "site 'z.0': n_heads is 0; expected"),
        ({"sites": SITES | {"z.0": {"module": "out", "n_heads": 3}}}, "site 'z.0': 3 heads do not divide its width, 8"),
        ({"sites": ["embed"]}, "sites is a list; expected a map such as"),
        ({"residual": [0]}, "residual: expected names, got 0"),
    ],
)
def test_a_wrong_option_of_a_hooked_network_is_one_line(options, said):
    with pytest.raises(ArithprobeError, match=said) as raised:
        hooked(**options)
    assert hooked(residual="embed").residual_sites == ("embed",)  # the control: one name is a list of one
    assert "\n" not in str(raised.value)


def test_a_hooked_network_leaves_modes_as_they_are_and_can_be_copied_and_pickled():
    module = OneLayer(dropout=0.5).train()
    module.dropout.eval()  # frozen by its user
    network = HookedNetwork(module, SITES, example=token_rows().ids[:2])
    assert network.training and module.training and not module.dropout.training
    inputs = token_rows().inputs(torch.arange(5))
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(other(*inputs), network(*inputs))


def test_a_weight_is_no_state_to_write_to():
    class Bare(OneLayer):
        def forward(self, ids):
            self.spare(self.places.weight[None].expand(len(ids), 3, 8))
            return super().forward(ids)

        def __init__(self):
            super().__init__()
            self.spare = nn.Identity()

    network = hooked(Bare(), SITES | {"places": {"module": "spare", "side": "input"}}, factory=None)
    before = network.inner.places.weight.clone()
    with (
        pytest.raises(ArithprobeError, match="site 'places' is a weight of the model"),
        edit(network, "places", torch.zeros_like),
    ):
        network(*token_rows().inputs(torch.arange(4)))
    assert torch.equal(network.inner.places.weight, before)
    for head in (True, 0.0, "0"):
        with (
            pytest.raises(ArithprobeError, match="the site has heads 0 to 1"),
            edit(network, "z.0", torch.clone, head=head),
        ):
            pass


def test_an_objective_of_another_number_of_outputs_is_refused_before_anything_is_measured(tmp_path):
    wrong, rows = in_memory(hooked(), ResidueCrossEntropy(P + 1)), token_rows(p=P)
    for measure in (probe, intervene):
        with pytest.raises(
            ArithprobeError, match=r"the outputs of \d+ rows are \(\d+, 11\); ResidueCrossEntropy.* needs"
        ):
            measure(wrong, rows)
    with pytest.raises(ArithprobeError, match=r"are \(\d+, 11\); ScaledMSE.* needs \(\d+, 1\)"):
        probe(in_memory(hooked(), ScaledMSE(5.0)), rows)


class Scalar(OneLayer):
    """A weight, and a count of batches, without dimensions."""

    def __init__(self):
        super().__init__()
        self.gain, self.norm = nn.Parameter(torch.tensor(1.0)), nn.BatchNorm1d(8)

    def forward(self, ids):
        return super().forward(ids) * self.gain


def test_weights_without_dimensions_have_a_hash_and_come_back_from_a_file(tmp_path):
    network = hooked(Scalar(), factory=None)
    before = weights_hash(network)
    torch.save(
        {
            "state_dict": {f"model.{name}": one for name, one in network.state_dict().items()},
            "arithprobe": {"objective": ResidueCrossEntropy(P).stored},
            "pytorch-lightning_version": "2.6.6",
        },
        tmp_path / "own.ckpt",
    )
    other = hooked(Scalar(), factory=None)
    with torch.no_grad():
        other.inner.gain.fill_(2.0)
    assert weights_hash(other) != before
    assert weights_hash(load_model(tmp_path / "own.ckpt", network=other).model) == before


def test_rows_that_share_no_length_have_no_source():
    rows = token_rows(torch.tensor([[1, 2]]))
    found = check(hooked(), rows)
    assert found.problems == () and found.whole_source != found.whole_source  # NaN: a row has no other
