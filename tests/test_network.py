"""Networks of any kind: what they promise, and that a check finds each promise that is broken."""

import copy
import re

import pytest
import torch
from own_networks import SITES, OneLayer, hooked, token_rows
from test_ablation import transformer
from torch import nn

from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.tsv import parse_tsv
from arithprobe.errors import ArithprobeError
from arithprobe.models.check import check
from arithprobe.models.fidelity import fidelity_record
from arithprobe.models.hooked import HookedNetwork
from arithprobe.models.hooks import capture, edit
from arithprobe.models.network import HeadedNetwork, Network, Site, common_width, frozen_copy, require_network
from arithprobe.models.transformer import TinyTransformer
from arithprobe.problems.rows import Inputs

MIXED = [(x, y) for x in (3, 7, 12, 40) for y in (5, 16, 9, 61)]


def sums():
    text = "".join(f"{x} + {y} = ?\t{x + y}\n" for x, y in MIXED)
    return ArithmeticDataset(parse_tsv(text.encode(), "mixed lengths"))


def tiny(norm="post", positions="absolute", dtype=torch.float32):
    """A transformer whose weights are none of an untrained one."""
    torch.manual_seed(5)
    model = TinyTransformer(16, 2, 2, 24, max_len=32, norm=norm, positions=positions).to(dtype)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval().requires_grad_(False)


def wrapped(model):
    """The same transformer, known by its site map alone."""
    sizes, example = model.architecture, sums().inputs(torch.arange(2))
    return (
        HookedNetwork(
            model,
            model.sites,
            example=example,
            call=lambda module, inputs: module(*inputs),
            factory=lambda: TinyTransformer(**sizes, dropout=0.0).to(model.tok.weight.dtype),
            max_len=model.max_len,
        )
        .eval()
        .requires_grad_(False)
    )


KNOWN = {
    "post-norm": lambda: (tiny(), sums()),
    "pre-norm": lambda: (tiny("pre"), sums()),
    "place values": lambda: (tiny(positions="place"), sums()),
    "double": lambda: (tiny(dtype=torch.float64), sums()),
    "bfloat16": lambda: (tiny(dtype=torch.bfloat16), sums()),
    "wrapped": lambda: (wrapped(tiny("pre")), sums()),
    "token level": lambda: (hooked(), token_rows()),
    "token level, double": lambda: (hooked(OneLayer().double(), factory=lambda: OneLayer().double()), token_rows()),
}


@pytest.mark.parametrize("name", KNOWN)
def test_every_network_that_the_project_knows_keeps_its_promises(name):
    network, rows = KNOWN[name]()
    assert isinstance(network, Network)
    found = check(network, rows)
    assert found.problems == () and found.identity == 0 and found.sites == tuple(network.sites)
    assert found.untrained == "equal between equal seeds"
    assert max(found.alone, found.run_from, found.whole_source, found.second_pass) <= found.tolerance
    assert found.tolerance == {"double": 1e-9, "token level, double": 1e-9}.get(name, found.tolerance)
    assert found.dtype == "bfloat16" or found.tolerance <= 1e-5  # of half precision it is measured


def test_weights_that_are_equal_in_a_twin_are_named():
    network, rows = hooked(seed=1), token_rows()
    assert check(network, rows).unchanged == ()
    twin = network.untrained(0)
    with torch.no_grad():
        network.inner.up.weight.copy_(twin.inner.up.weight)
    assert check(network, rows).unchanged == ("inner.up.weight",)


class Broken(HookedNetwork):
    """A network that breaks one promise."""

    how = ""

    def run_with_cache(self, inputs, *, patterns=False):
        outputs, cache = super().run_with_cache(inputs)
        if self.how == "width":
            cache.states["mlp_act.0"] = cache.states["mlp_act.0"][..., :-1]
        if self.how == "other state":
            cache.states["mlp_out.0"] = cache.states["mlp_out.0"] + 1e-3
        return outputs, cache

    def forward(self, ids, lengths):
        found = super().forward(ids, lengths)
        if self.how == "batch":  # a row is not answered by itself
            found = found + 1e-3 * ids.float().mean()
        if self.how == "noise":
            found = found + 1e-3 * torch.rand(1)
        if self.how == "counts":
            self.passes = getattr(self, "passes", 0) + 1
        return found

    def run_from(self, site, cells, token, valid, states, inputs):
        found = super().run_from(site, cells, token, valid, states, inputs)
        return found + 1e-3 * (self.how == "run_from" and site == "attn_out.0")

    def untrained(self, seed):
        if self.how == "global seed":
            torch.manual_seed(seed)
            return hooked(seed=seed)
        if self.how == "one twin":
            return super().untrained(0)
        return super().untrained(seed)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("width", r"site 'mlp_act.0' is \(24, 3, 12\); expected \(B, T, D\)|site 'mlp_act.0' is"),
        ("other state", "the state at 'mlp_out.0' that a hook sees differs"),
        ("batch", "a row alone, and in a padded batch, differs"),
        ("noise", "a second plain pass differs"),
        ("run_from", "run_from\\('attn_out.0', ...\\), and a whole pass with the same edit, differs"),
        ("global seed", "touches the global random state"),
        ("one twin", "gives one network for two seeds"),
    ],
)
def test_each_broken_promise_is_said(how, said):
    network = hooked()
    broken = Broken(network.inner, SITES, example=token_rows().ids[:2], factory=OneLayer).eval()
    assert check(broken, token_rows()).problems == ()  # the control
    broken.how = how
    found = check(broken, token_rows())
    assert any(re.search(said, problem) for problem in found.problems), found.problems
    with pytest.raises(ArithprobeError, match=r"^Broken: ") as raised:
        found.required()
    assert "\n" not in str(raised.value)
    assert fidelity_record(found)["fidelity"]["problems"] == found.problems and fidelity_record(None) == {}


class Copying(OneLayer):
    """Its MLP reads a copy of the stream, so an edit of what goes in does not reach what goes past."""

    def __init__(self):
        super().__init__()
        self.up.register_forward_pre_hook(lambda module, args: (args[0].clone(),))


def test_an_edit_of_an_input_reaches_all_that_reads_it_and_a_copy_is_found_out():
    torch.manual_seed(0)
    rows, sites = token_rows(), {"resid_mid.0": SITES["resid_mid.0"], "resid_post.0": SITES["resid_post.0"]}
    right = hooked(sites=sites)
    found = check(right, rows)
    assert found.problems == () and found.whole_source == 0
    wrong = hooked(Copying(), sites, factory=Copying)
    assert any("the whole stream of a source at 'resid_mid.0' differs" in one for one in check(wrong, rows).problems)


def test_an_input_and_an_output_that_are_one_state_are_edited_alike():
    """The input of ``out`` is what an identity before it would give back."""
    network, (ids, lengths) = hooked(), token_rows().inputs(torch.arange(9))
    with capture(network, ["attn_out.0", "z.0"]) as states:
        network(ids, lengths)
    z = states["z.0"].clone()
    with edit(network, "z.0", lambda state: state * 0.5), capture(network, ["attn_out.0"]) as halved:
        network(ids, lengths)
    torch.testing.assert_close(halved["attn_out.0"], network.inner.out(z * 0.5))


@pytest.mark.parametrize("site", ["z.0", "resid_mid.0"])
def test_gradients_flow_through_an_edit_of_an_input(site):
    network, inputs = hooked(), token_rows().inputs(torch.arange(5))
    _, cache = network.run_with_cache(inputs)
    own = cache.states[site].detach().clone().requires_grad_()
    last = torch.full((5, 1), 2)
    found = network.run_from(site, own[None, :, 2:], last, last > 0, cache.states, inputs)
    (slope,) = torch.autograd.grad(found.sum(), own)
    assert slope[:, 2].abs().min() > 0 and not slope[:, :2].any()
    step = 1e-3 * torch.randn_like(own)
    moved = network.run_from(site, (own + step)[None, :, 2:], last, last > 0, cache.states, inputs)
    torch.testing.assert_close(moved.sum() - found.sum(), (slope * step).sum(), rtol=2e-2, atol=1e-5)


class Split(OneLayer):
    """The same network, whose heads go one behind another into an identity, (B, T, H, D / H)."""

    def __init__(self):
        super().__init__()
        self.hook_z = nn.Identity()

    def forward(self, ids):
        x = self.tokens(ids) + self.places.weight
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        z = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(self.hook_z(z.transpose(1, 2)).flatten(2))
        x = x + self.down(self.act(self.up(x)))
        return self.scores(x)


@pytest.mark.parametrize("head", [0, 1])
def test_one_head_of_a_site_is_edited_whether_heads_lie_side_by_side_or_one_behind_another(head):
    torch.manual_seed(0)
    split = Split()
    whole = OneLayer()
    whole.load_state_dict(split.state_dict())
    behind = hooked(split, SITES | {"z.0": {"module": "hook_z", "n_heads": 2}}, factory=Split)
    beside, inputs = hooked(whole), token_rows().inputs(torch.arange(20))
    results = []
    for network in (behind, beside):
        assert network.width("z.0") == 8
        with edit(network, "z.0", torch.zeros_like, head=head), capture(network, ["z.0"]) as states:
            results.append(network(*inputs))
        kept = states["z.0"].view(20, 3, 2, 4)
        assert not kept[:, :, head].any() and kept[:, :, 1 - head].any()
    torch.testing.assert_close(*results)
    with (
        pytest.raises(ArithprobeError, match=r"head 2 of site 'z.0': the site has heads 0 to 1"),
        edit(beside, "z.0", torch.zeros_like, head=2),
    ):
        pass
    with (
        pytest.raises(ArithprobeError, match=r"head 0 of site 'embed': the site has no heads"),
        edit(beside, "embed", torch.zeros_like, head=0),
    ):
        pass


MAPS = [
    ({"embed": "tokenz"}, r"site 'embed': no module 'tokenz'; did you mean 'tokens'\? \(modules: tokens, places"),
    ({"embed": {"module": "qkv", "side": "into"}}, "expected the name of a module, or module, side"),
    ({"embed": 3}, "site 'embed' is 3; expected the name of a module"),
    ({"stream": "tokens"}, "the residual sites are none of stream; call them embed"),
    ({"embed": "tokens", "resid_post.0": "up"}, r"the residual sites are of widths \[8, 12\]"),
    ({"embed": "tokens", "late": "spare"}, "the hook at 'late' never fired"),
    ({"embed": "tokens", "flat": "flat"}, r"site 'flat': the output of 'flat' is \(2, 24\); expected \(B, T, D\), \("),
]


class Odd(OneLayer):
    """A module that is never run, and one whose output has no tokens."""

    def __init__(self):
        super().__init__()
        self.spare, self.flat = nn.Identity(), nn.Flatten()

    def forward(self, ids):
        self.flat(self.tokens(ids))
        return super().forward(ids)


@pytest.mark.parametrize(("sites", "said"), MAPS)
def test_a_wrong_site_map_is_one_line(sites, said):
    with pytest.raises(ArithprobeError, match=said) as raised:
        hooked(Odd(), sites)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda outputs: outputs[:1], r"read gives \(1, 3, 11\) for 2 rows; expected \(2, K\), or \(2, 3, K\)"),
        (lambda outputs: outputs[:, 0, 0], r"read gives \(2,\) for 2 rows"),
        (lambda outputs: None, "read gives a NoneType for 2 rows"),
    ],
)
def test_a_read_that_gives_something_else_is_said(read, said):
    with pytest.raises(ArithprobeError, match=said):
        hooked(read=read)


def test_what_is_read_of_all_tokens_counts_at_the_last_real_one():
    module, ids, lengths = OneLayer(), torch.tensor([[1, 2, 11], [3, 11, 0]]), torch.tensor([3, 2])
    network = hooked(module)
    expected = torch.stack([module(ids)[0, 2], module(ids)[1, 1]])
    torch.testing.assert_close(network(ids, lengths), expected)


def test_site_maps_are_read_from_yaml(tmp_path):
    path = tmp_path / "sites.yaml"
    path.write_text("embed: tokens\nz.0: {module: out, side: input, n_heads: 2}\n")
    network = hooked(sites=path)
    assert network.sites == {"embed": Site("inner.tokens"), "z.0": Site("inner.out", "input", 2)}
    for text, said in [("- a\n", "holds no site map"), ("{", "cannot be read as a site map")]:
        path.write_text(text)
        with pytest.raises(ArithprobeError, match=said):
            hooked(sites=path)
    with pytest.raises(ArithprobeError, match="cannot be read as a site map"):
        hooked(sites=tmp_path / "none.yaml")


def test_untrained_twins_need_a_factory_of_the_same_architecture():
    with pytest.raises(ArithprobeError, match="made without a factory"):
        hooked(factory=None).untrained(0)
    with pytest.raises(ArithprobeError, match="other weights"):
        hooked(factory=lambda: OneLayer(d_ff=13)).untrained(0)
    module = OneLayer()
    with pytest.raises(ArithprobeError, match="gives this network's own module"):
        hooked(module, factory=lambda: module).untrained(0)
    assert "made without a factory" in check(hooked(factory=None), token_rows()).untrained


def test_a_network_in_training_mode_is_refused_where_two_passes_must_agree():
    network = hooked(OneLayer(dropout=0.5), factory=lambda: OneLayer(dropout=0.5))
    assert check(network, token_rows()).problems == ()  # the control: dropout rests in evaluation mode
    with pytest.raises(ArithprobeError, match=r"is in training mode, where two passes may differ; call its eval\(\)"):
        check(network.train(), token_rows())


def test_what_is_no_network_is_said():
    with pytest.raises(ArithprobeError, match=r"a OneLayer has no d_model, max_len, n_layers, sites, .*HookedNetwork"):
        require_network(OneLayer())
    with pytest.raises(ArithprobeError, match=r"expected a network, a torch.nn.Module; got a str"):
        require_network("resid_post.0")
    assert isinstance(transformer(), HeadedNetwork) and not isinstance(hooked(), HeadedNetwork)


def test_widths_of_sites():
    network = tiny()
    _, cache = network.run_with_cache(sums().inputs(torch.arange(3)))
    assert {site: network.width(site) for site in network.sites} == {
        site: state.shape[-1] for site, state in cache.states.items()
    }
    assert common_width(network, ["embed", "final"]) == 16 and common_width(network, ["mlp_act.1"]) == 24
    with pytest.raises(ArithprobeError, match=r"several widths \(embed 16, mlp_act.0 24\)"):
        common_width(network, ["embed", "mlp_act.0"])


def test_a_frozen_copy_is_another_network():
    network = hooked()
    copied = frozen_copy(network.train())
    assert not copied.training and network.training and not any(one.requires_grad for one in copied.parameters())
    with torch.no_grad():
        network.inner.up.weight.add_(1)
    assert not torch.equal(copied.state_dict()["inner.up.weight"], network.inner.up.weight)
    assert copy.deepcopy(copied).width("mlp_act.0") == 12


@pytest.mark.parametrize("edits", [1, 5])
def test_edits_run_in_parts_are_those_run_alone(edits, monkeypatch):
    network, inputs = hooked(), token_rows().inputs(torch.arange(7))
    _, cache = network.run_with_cache(inputs)
    token, cells = torch.full((7, 1), 2), torch.randn(edits, 7, 1, 8)
    whole = network.run_from("resid_mid.0", cells, token, token > 0, cache.states, inputs)
    monkeypatch.setattr("arithprobe.models.hooked._TOKENS", 1)
    torch.testing.assert_close(network.run_from("resid_mid.0", cells, token, token > 0, cache.states, inputs), whole)


def test_inputs_are_two_columns():
    assert Inputs(torch.zeros(1, 2), torch.ones(1)).ids.shape == (1, 2)
