"""The output is the sum of what each part writes to it, LayerNorm by LayerNorm, with the scales of the run."""

import statistics

import pytest
import torch
from micro import GRID, HANDFUL, adder, clock, dataset, one_thread, workbench  # noqa: F401
from test_ablation import SHORT, transformer
from torch import nn

from arithprobe.interventions.direct import direct_contributions
from arithprobe.interventions.part import Part
from arithprobe.models.hooks import edit
from arithprobe.models.objectives import ResidueCrossEntropy, ScaledMSE


class FirstOfMany(ScaledMSE):
    """Answers are read from the first of several outputs."""

    n_outputs = 3

    def loss(self, outputs, answers):
        return super().loss(outputs[:, :1], answers)

    def decode(self, outputs):
        return super().decode(outputs[:, :1])


def bench_of(model, problems=SHORT):
    objective = ScaledMSE(1.0) if model.sizes["n_outputs"] == 1 else FirstOfMany(1.0)
    data = dataset(problems)
    return Part(model, objective, data, torch.arange(len(data)), 40.0)


SIZES = [{"n_layers": n_layers, "n_outputs": k} for n_layers in (1, 2, 3) for k in (1, 3)] + [{"n_heads": 8}]
SIZES += [{"norm": "pre", "n_layers": 1}, {"norm": "pre", "n_layers": 3, "n_outputs": 3}]


@pytest.fixture(scope="module", params=SIZES, ids=str)
def bench(request):
    return bench_of(transformer(**request.param))


def chained(bench, scale_of=lambda row: row):
    """Contributions of one row and one part at a time, each carried on by the matrices of the LayerNorms after it.

    A LayerNorm before a branch is none of them. ``scale_of`` says whose scales a row's LayerNorms have: its own.

    Returns:
        (N, K) by part.
    """
    model, found = bench.network, {}
    d, n_layers, heads = model.d_model, model.sizes["n_layers"], model.sizes["n_heads"]
    norms = [norm for block in model.enc.blocks for norm in (block.norm1, block.norm2)] + [model.ln]
    if model.norm == "pre":
        norms[:-1] = [None] * 2 * n_layers
    unit = torch.eye(d, dtype=torch.float64)

    def linear_part(norm, stream):
        """(D, D) what a LayerNorm, if there is one, makes of a part of the stream."""
        return torch.diag(norm.weight / (stream.var(correction=0) + norm.eps).sqrt()) @ (unit - 1 / d) if norm else unit

    def streams(row):
        """What goes into each LayerNorm."""
        at = {site: state[row, bench.inputs.lengths[row] - 1] for site, state in bench.states.items()}
        before = ["embed", *(f"resid_post.{layer}" for layer in range(n_layers))]
        for layer in range(n_layers):
            yield at[before[layer]] + at[f"attn_out.{layer}"]
            yield at[f"resid_mid.{layer}"] + at[f"mlp_out.{layer}"]
        yield at[before[-1]]

    for row in range(len(bench)):
        at = {site: state[row, bench.inputs.lengths[row] - 1] for site, state in bench.states.items()}
        after = [model.readout.weight]  # from what goes into a LayerNorm, and into all after it, to the output
        for norm, stream in zip(norms[::-1], list(streams(scale_of(row)))[::-1], strict=True):
            after.insert(0, after[0] @ linear_part(norm, stream))
        parts = {"embed": after[0] @ at["embed"]}
        biases = model.readout.bias + sum(after[n] @ norm.bias for n, norm in enumerate(norms, start=1) if norm)
        for layer, block in enumerate(model.enc.blocks):
            for head in range(heads):
                own = slice(head * (d // heads), (head + 1) * (d // heads))
                written = block.self_attn.out_proj.weight[:, own] @ at[f"z.{layer}"][own]
                parts[f"z.{layer}.{head}"] = after[2 * layer] @ written
            biases = biases + after[2 * layer] @ block.self_attn.out_proj.bias
            parts[f"mlp_out.{layer}"] = after[2 * layer + 1] @ at[f"mlp_out.{layer}"]
        for name, part in (parts | {"biases": biases}).items():
            found.setdefault(name, []).append(part.detach())
    return {name: torch.stack(rows) for name, rows in found.items()}


def by_part(found):
    return dict(zip(found.parts, found.outputs, strict=True))


def test_contributions_sum_to_the_output(bench):
    found = direct_contributions(bench)
    layers, heads = bench.network.sizes["n_layers"], bench.network.sizes["n_heads"]
    assert len(found.parts) == len(set(found.parts)) == 2 + layers * (heads + 1)
    assert found.outputs.shape == (len(found.parts), *bench.outputs.shape)
    assert found.outputs.dtype == torch.float64 and not found.outputs.requires_grad
    torch.testing.assert_close(found.outputs.sum(dim=0), bench.outputs, atol=1e-9, rtol=0)
    for part in found.outputs:  # the control: none of them is nothing
        assert (found.outputs.sum(dim=0) - part - bench.outputs).abs().max() > 1e-6


def test_each_part_is_what_it_wrote_carried_through_the_layer_norms_after_it(bench):
    expected, found = chained(bench), by_part(direct_contributions(bench))
    assert set(found) == set(expected)
    for name, part in found.items():
        torch.testing.assert_close(part, expected[name], atol=1e-9, rtol=0)


def test_with_the_scales_of_another_row_the_sum_is_wrong(bench):
    """The control: that contributions add up is not true of just any linear map."""
    right, wrong = chained(bench), chained(bench, lambda row: row - 1)
    torch.testing.assert_close(sum(right.values()), bench.outputs, atol=1e-9, rtol=0)
    assert (sum(wrong.values()) - bench.outputs).abs().max() > 1e-3


def test_shares_are_covariances_with_the_output_and_sum_to_one(bench):
    found = direct_contributions(bench)
    assert found.share.sum().item() == pytest.approx(1, abs=1e-9)
    outputs = range(bench.outputs.shape[1])
    columns = [bench.outputs[:, k].tolist() for k in outputs]
    variance = sum(statistics.variance(column) for column in columns)
    for part, share in zip(found.outputs, found.share.tolist(), strict=True):
        together = sum(statistics.covariance(part[:, k].tolist(), columns[k]) for k in outputs)
        assert share == pytest.approx(together / variance, abs=1e-9)


def test_shares_of_heads_stand_by_layer_and_head(bench):
    found = direct_contributions(bench)
    layers, heads = bench.network.sizes["n_layers"], bench.network.sizes["n_heads"]
    of_heads = found.of_heads(layers, heads)
    assert of_heads.shape == (layers, heads) and of_heads.dtype == torch.float64
    for name, share in zip(found.parts, found.share, strict=True):
        if name.startswith("z."):
            _, layer, head = name.split(".")
            assert of_heads[int(layer), int(head)] == share
    assert len(of_heads.unique()) == layers * heads


def test_single_precision_adds_up_too():
    model = transformer()
    precise = direct_contributions(bench_of(model)).share
    bench = bench_of(model.float())
    found = direct_contributions(bench)
    torch.testing.assert_close(found.outputs.sum(dim=0), bench.outputs.double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.share, precise, atol=1e-4, rtol=0)


def test_taking_apart_leaves_the_model_as_it_was():
    model = transformer()
    bench, weights = bench_of(model), {name: value.clone() for name, value in model.state_dict().items()}
    states = {site: state.clone() for site, state in bench.states.items()}
    direct_contributions(bench)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(state, states[site]) for site, state in bench.states.items())
    assert all(parameter.grad is None for parameter in model.parameters())


def written_by(model, problems=HANDFUL, modulus=None):
    found = direct_contributions(workbench(model, problems, modulus))
    columns = {name: part[:, 0].tolist() for name, part in by_part(found).items()}
    return {name: column for name, column in columns.items() if any(column)}, found


def test_the_parts_of_the_adder_by_hand():
    """Its output is spare, that the embedding holds, the total that one head writes, and the bias that takes spare off.

    The heads and the MLP of layer 0 bring it about, and write nothing to the readout themselves.
    """
    parts, found = written_by(adder())
    assert parts == {"embed": [5] * 4, "z.1.0": [5, 5, 14, 12], "biases": [-5] * 4}
    assert set(found.parts) == {"embed", "z.0.0", "z.0.1", "z.1.0", "z.1.1", "mlp_out.0", "mlp_out.1", "biases"}
    assert found.of_heads(2, 2).tolist() == [[0, 0], [1, 0]]


def test_the_mlp_that_caps_the_sum_takes_off_what_is_beyond():
    """Sums 5, 5, 14, 12, capped at 10: variances 16.5 of the sums, 6.25 of the answers 5, 5, 10, 10, both by four."""
    parts, found = written_by(adder(ceiling=10))
    assert parts == {"embed": [5] * 4, "z.1.0": [5, 5, 14, 12], "mlp_out.1": [0, 0, -4, -2], "biases": [-5] * 4}
    share = dict(zip(found.parts, found.share.tolist(), strict=True))
    assert share["z.1.0"] == pytest.approx(10 / 6.25)  # mean of +-2.5 times -4, -4, 5, 3
    assert share["mlp_out.1"] == pytest.approx(-3.75 / 6.25)
    assert [share[name] for name in ("embed", "z.0.0", "mlp_out.0", "biases")] == [0] * 4


def test_the_clock_is_read_by_its_mlp_not_by_the_head_that_brings_the_circle():
    parts, _ = written_by(clock(7), [(3, 1), (9, 9), (5, 8)], 7)
    assert set(parts) == {"embed", "mlp_out.1", "biases"}
    assert parts["mlp_out.1"] == pytest.approx([4, 4, 6], abs=1e-12)


def without_norms(n_layers=1, mlp=0.0, **options):
    """A model whose LayerNorms are the identity."""
    model = transformer(n_layers=n_layers, **options)
    for block in model.enc.blocks:
        block.norm1, block.norm2 = nn.Identity(), nn.Identity()
        for parameter in block.linear2.parameters():
            parameter.data *= mlp
    model.ln = nn.Identity()
    return model


def dropped(bench, layer, head):
    """(N,) how much of the output goes when a hook takes the head away."""
    width = bench.network.d_model // bench.network.sizes["n_heads"]

    def without(z):
        z = z.clone()
        z[..., head * width : (head + 1) * width] = 0
        return z

    with torch.no_grad(), edit(bench.network, f"z.{layer}", without):
        return (bench.outputs - bench.network(bench.dataset.ids.long(), bench.inputs.lengths))[:, 0]


def test_where_there_is_only_the_direct_path_a_contribution_is_what_goes_without_the_head():
    """One layer, no LayerNorm, an MLP that writes nothing: ablation and contribution are the same thing."""
    bench = bench_of(without_norms())
    found, output = direct_contributions(bench), bench.outputs[:, 0].tolist()
    for head in (0, 1):
        gone = dropped(bench, 0, head)
        torch.testing.assert_close(by_part(found)[f"z.0.{head}"][:, 0], gone, atol=1e-9, rtol=0)
        share = statistics.covariance(gone.tolist(), output) / statistics.variance(output)
        assert found.of_heads(1, 2)[0, head].item() == pytest.approx(share)
    assert bool((by_part(found)["mlp_out.0"] == 0).all())


def test_where_an_mlp_reads_the_head_it_is_not():
    """The control of the one above, in either way that a head can matter by more than what it writes."""
    for model, layer in [(without_norms(mlp=1.0), 0), (without_norms(2), 0), (transformer(), 1)]:
        bench = bench_of(model)
        part = by_part(direct_contributions(bench))[f"z.{layer}.0"][:, 0]
        assert (part - dropped(bench, layer, 0)).abs().max() > 1e-3


def test_of_a_constant_output_there_are_no_shares():
    """Of a readout that reads nothing, and of one problem many times."""
    model = transformer()
    assert bool(direct_contributions(bench_of(model)).share.isfinite().all())  # the control
    assert bool(direct_contributions(bench_of(model, [(12, 40)] * 5)).share.isnan().all())
    model.readout.weight.data.zero_()
    for bias in (0.0, 3.5):
        model.readout.bias.data.fill_(bias)
        found = direct_contributions(bench_of(model))
        assert bool(found.share.isnan().all()) and bool(found.of_heads(2, 2).isnan().all())


def test_what_is_common_to_all_scores_of_a_classifier_is_no_contribution():
    """A softmax does not see it. The control: the same readout of outputs that all count."""
    shares = {}
    for objective in (ResidueCrossEntropy(3), FirstOfMany(1.0)):
        for common in (0.0, 1.0):
            model = transformer(n_outputs=3)
            generator = torch.Generator().manual_seed(6)
            model.readout.weight.data += common * torch.randn(1, model.d_model, generator=generator)
            data = dataset([(1, 2), (12, 3), (40, 57), (8, 90), (33, 4)], 3)
            bench = Part(model, objective, data, torch.arange(len(data)), 1.0)
            found = direct_contributions(bench)
            shares[type(objective), common] = found.share
            expected = bench.outputs.double().cpu()
            expected = expected - expected.mean(dim=1, keepdim=True) if objective.only_differences else expected
            torch.testing.assert_close(found.outputs.sum(dim=0), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(shares[ResidueCrossEntropy, 0.0], shares[ResidueCrossEntropy, 1.0], atol=1e-5, rtol=1e-4)
    assert (shares[FirstOfMany, 0.0] - shares[FirstOfMany, 1.0]).abs().max() > 0.01
