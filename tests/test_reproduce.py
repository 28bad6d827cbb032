"""The notebook's numbers, against a literal second writing of its scripts, and what stands beside them."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SMALL
from looped import looped_statistics
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error, r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from test_transformer import Original
from threadpoolctl import threadpool_limits

from arithprobe.analysis.forward import random_init_twin
from arithprobe.analysis.progress import Progress
from arithprobe.analysis.reproduce import ReproduceStudy
from arithprobe.analysis.reproduce.columns import number
from arithprobe.analysis.reproduce.nonlinear import nonlinear_ridge, nonlinear_split, notebook_mlps
from arithprobe.analysis.reproduce.notebook import (
    Examples,
    run_multidim_modk,
    run_multidim_sum,
    run_patching,
    run_probes,
)
from arithprobe.analysis.reproduce.options import ReproduceOptions
from arithprobe.analysis.reproduce.rows import examine
from arithprobe.analysis.reproduce.run import reproduce
from arithprobe.cli.study import run as run_study
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import read_tsv, write_tsv
from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoints import load_model
from arithprobe.probes.mlp import MLPSettings
from arithprobe.probes.splits import fold_of

K = 13
FEW = 120  # rows, where every character of each is looked at in turn
QUICK = ReproduceOptions(shuffles=2, mlp_shuffles=2, twins=1, mlp_epochs=2, mlp_settings=("8x1", "8x2"))


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Threads only wait for each other on matrices this small, the longer the busier the machine."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """For each task a file of 400 problems, one of the first few, and one plain state_dict of an untrained model."""
    folder = tmp_path_factory.mktemp("reproduce")
    paths = {"checkpoint": folder / "plain.pt"}
    for task, name in (("sum", "REG-SUM"), ("mod", "REG-MODK")):
        recipe = DataRecipe(task=task, rows=500, val_fraction=0.8, max_operand=300, modulus=K)
        paths[name] = write_tsv(folder / f"{name}.tsv", sample(recipe)["val"].problems(recipe))
        paths[f"few {name}"] = folder / f"few_{name}.tsv"
        paths[f"few {name}"].write_bytes(b"".join(paths[name].read_bytes().splitlines(keepends=True)[:FEW]))
    torch.manual_seed(3)
    torch.save(original().state_dict(), paths["checkpoint"])
    return paths


def original():
    return Original(SMALL["d_model"], SMALL["n_layers"], SMALL["n_heads"], SMALL["d_ff"])


@pytest.fixture(scope="module")
def loaded(files):
    return load_model(files["checkpoint"], n_heads=SMALL["n_heads"])


def rows_of(files, task):
    return ArithmeticDataset(read_tsv(files[task]))


@pytest.fixture(scope="module", params=["REG-SUM", "REG-MODK"])
def reproduced(request, files, loaded):
    """Task, rows, what was found, and the steps that were told."""
    steps, rows = [], rows_of(files, f"few {request.param}")
    progress = Progress(lambda *step: steps.append(step))
    return request.param, rows, reproduce(loaded, rows, QUICK, progress), steps


def command(words):
    run_study(ReproduceStudy(), words)


def notebook_states(files, data):
    """All rows in one batch through PyTorch's own encoder, in its evaluation fast path, as the notebook had it."""
    model = original()
    model.load_state_dict(torch.load(files["checkpoint"], weights_only=True))
    model.eval()
    ids = data.ids.long()
    padding = ids == 0
    layers = torch.nn.TransformerEncoder(model.enc.layers[0], 2, enable_nested_tensor=True)
    layers.layers = model.enc.layers
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*nested tensors")  # once in a process
        h = layers(model.tok(ids) + model.pos(torch.arange(ids.shape[1])), src_key_padding_mask=padding)
    assert (h[padding] == 0).all()  # the fast path was taken
    with torch.no_grad():
        h = model.ln(h)
    return h.numpy(), h[torch.arange(len(h)), data.lengths - 1].numpy()


def labels(data):
    return (data.x + data.y).numpy().astype(np.float32), data.answers.numpy().astype(np.float32)


def close(found, expected, tolerance=1e-4):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def fit(x, y):
    return Ridge(alpha=1.0).fit(x, y)


@pytest.fixture(scope="module")
def plain(files, loaded):
    data = rows_of(files, "REG-SUM")
    return data, examine(loaded, data)[0], *notebook_states(files, data)


@pytest.fixture(scope="module")
def modular(files, loaded):
    data = rows_of(files, "REG-MODK")
    return data, examine(loaded, data)[0], *notebook_states(files, data)


def test_position_table_has_the_zero_filled_padding_of_the_fast_path(plain):
    data, examples, h, pooled = plain
    total, _ = labels(data)
    found = run_probes(examples)
    close(found["pooled_r2"], r2_score(total, fit(pooled, total).predict(pooled)))
    close(found["pos_r2"], [fit(h[:, t], total).score(h[:, t], total) for t in range(h.shape[1])])
    for t, masked in enumerate(found["pos_r2_masked"]):
        real = data.lengths.numpy() > t
        close(masked, fit(h[real, t], total[real]).score(h[real, t], total[real]))
    assert abs(found["pos_r2"][-1] - found["pos_r2_masked"][-1]) > 0.003  # the control: padding does count
    few = examples.rows(np.r_[np.flatnonzero(examples.lengths < 13), np.flatnonzero(examples.lengths == 13)[:20]])
    assert run_probes(few)["pos_r2_masked"][-1] is None


@pytest.mark.parametrize("which", ["plain", "modular"])
def test_patching(which, request):
    data, examples, _, pooled = request.getfixturevalue(which)
    total, answer = labels(data)
    v = fit(pooled, total).coef_
    v /= np.linalg.norm(v)
    cut = pooled - (pooled @ v)[:, None] * v
    before = mean_squared_error(answer, fit(pooled, answer).predict(pooled))
    after = mean_squared_error(answer, fit(cut, answer).predict(cut))
    found = run_patching(examples)
    close([found["ridge_head_mse_before"], found["ridge_head_mse_after"]], [before, after])
    close(found["delta_mse"], after - before, 1e-2)


def test_multidim_of_plain_sums(plain):
    data, examples, _, pooled = plain
    total, _ = labels(data)
    model = fit(pooled, total)
    base = mean_squared_error(total, model.predict(pooled))
    v, u = model.coef_ / np.linalg.norm(model.coef_), np.random.default_rng(0).standard_normal(pooled.shape[1])
    errors = []
    for direction in (v, u / np.linalg.norm(u)):
        cut = pooled - np.outer(pooled @ direction, direction).astype(np.float32)
        errors.append(mean_squared_error(total, fit(cut, total).predict(cut)) - base)
    found = run_multidim_sum(examples)
    close(found["scalar_probe_r2"], r2_score(total, model.predict(pooled)))
    close(found["base_mse"], base)
    close([found["delta_mse_probe_1d"], found["delta_mse_random_1d"]], errors, 1e-2)
    close(found["excess_delta_mse"], errors[0] - errors[1], 1e-2)


def test_multidim_of_residues(modular):
    data, examples, _, pooled = modular
    _, z = labels(data)
    scaled = StandardScaler().fit_transform(pooled)
    base = mean_squared_error(z, fit(pooled, z).predict(pooled))
    found = run_multidim_modk(examples, K)
    assert found["Nmax"] == len(found["fourier_r2_curve"]) == 2
    close(found["causal"]["base_mse"], base)
    for n in (1, 2):
        theta = 2 * np.pi * data.answers.numpy() / K
        y = np.stack([f(m * theta) for m in range(1, n + 1) for f in (np.cos, np.sin)], axis=1)
        model = fit(scaled, y)
        record = found["fourier_r2_curve"][n - 1]
        assert (record["N"], record["dim"]) == (n, 2 * n)
        close(record["r2"], r2_score(y, model.predict(scaled)))
        for name, matrix in (
            ("delta_mse", model.coef_.T),
            ("delta_mse_random", np.random.default_rng(n).standard_normal((pooled.shape[1], 2 * n))),
        ):
            q = np.linalg.qr(matrix)[0].astype(np.float32)
            cut = pooled - pooled @ q @ q.T
            record = found["causal"][f"{name}_vs_dim"][n - 1]
            assert (record["N"], record["r"]) == (n, 2 * n)
            close(record[name], mean_squared_error(z, fit(cut, z).predict(cut)) - base, 1e-2)
    for record in found["smallk_r2"]:
        period = record["kprime"]
        theta = 2 * np.pi * (data.answers.numpy() % period) / period
        y = np.stack([f(m * theta) for m in range(1, record["N"] + 1) for f in (np.cos, np.sin)], axis=1)
        close(record["r2"], r2_score(y, fit(scaled, y).predict(scaled)))


def test_a_column_that_does_not_vary_is_scored_1_by_the_notebook_and_refused_held_out(modular):
    _, examples, *_ = modular
    in_sample = run_multidim_modk(examples, K)["smallk_r2"]
    fold = fold_of(torch.from_numpy(examples.total), 5).numpy()
    held_out = run_multidim_modk(examples._replace(fold=fold), K)["smallk_r2"]
    one, two = in_sample[0]["r2"], in_sample[1]["r2"]
    close(two, (3 * one + 1) / 4)  # cos 2 theta' is 1 in every row, and both sines are the parity as rounding noise
    assert held_out[1]["left_out"] == 3
    assert held_out[1]["r2"] == held_out[0]["r2"] < 0.1
    assert "left_out" not in held_out[6]  # the control: k' = 4, N = 1 has two good columns


@pytest.mark.parametrize("which", ["plain", "modular"])
def test_nonlinear_probes(which, request):
    data, examples, _, pooled = request.getfixturevalue(which)
    stratify = which == "modular"
    _, answer = labels(data)
    x_train, x_test, y_train, y_test = train_test_split(
        pooled, answer, test_size=0.2, random_state=0, stratify=answer if stratify else None
    )
    scaler = StandardScaler().fit(x_train)
    x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)
    split = nonlinear_split(examples.answer, stratify=stratify)
    close(nonlinear_ridge(examples, split), r2_score(y_test, fit(x_train, y_train).predict(x_test)))
    settings = MLPSettings(hidden=8, depth=1, max_epochs=4, patience=2)
    states = torch.from_numpy(pooled)[None]
    none = torch.empty(len(pooled), 0, dtype=torch.int64)
    found, _ = notebook_mlps(states, data.answers, K if stratify else None, none, split, settings)
    train, test = np.sort(split[0]), np.sort(split[1])
    x, y = scaler.transform(pooled), answer.copy()
    key = "mlp_reg_r2" + "_numeric_residue" * stratify
    close(found[0][key], r2_score(answer[test], literal_mlp(x, y, train, test, 0)), 1e-3)
    if not stratify:
        y[split[0]] = y[split[0]][np.random.default_rng(0).permutation(len(train))]
        close(found[0][key + "_label_shuffle"], r2_score(answer[test], literal_mlp(x, y, train, test, 1)), 1e-3)


def literal_mlp(x, y, train, test, seed):
    """The notebook's training loop; initial weights and row order as in probes/mlp.py."""
    draw = torch.Generator().manual_seed(seed)
    layers = [torch.nn.Linear(x.shape[1], 8), torch.nn.Linear(8, 1)]
    with torch.no_grad():
        for layer in layers:
            bound = layer.in_features**0.5
            layer.weight.copy_((2 * torch.rand(layer.weight.shape, generator=draw) - 1) / bound)
            layer.bias.copy_((2 * torch.rand(len(layer.bias), 1, generator=draw) - 1)[:, 0] / bound)
    net = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1])
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-4)
    mean, sd = y[train].mean(), y[train].std()
    x, target = torch.from_numpy(x), torch.from_numpy((y - mean) / sd)
    order, best, waited, predicted = torch.Generator().manual_seed(seed + 1), np.inf, 0, None
    for _ in range(4):
        for rows in torch.from_numpy(train)[torch.randperm(len(train), generator=order)].split(128):
            optimizer.zero_grad()
            (net(x[rows])[:, 0] - target[rows]).square().mean().backward()
            optimizer.step()
        with torch.no_grad():
            out = net(x[test])[:, 0]
        loss = (out - target[test]).square().mean().item()
        waited += 1
        if loss < best:
            best, waited, predicted = loss, 0, out.numpy() * sd + mean
        if waited == 2:
            break
    return predicted


BOTH = {
    "alpha",
    "pooled_r2",
    "pos_r2",
    "pos_r2_masked",
    "ridge_head_mse_before",
    "ridge_head_mse_after",
    "delta_mse",
    "per_head",
}
KEYS = {
    "REG-SUM": BOTH
    | {
        "scalar_probe_r2",
        "base_mse",
        "delta_mse_probe_1d",
        "delta_mse_random_1d",
        "excess_delta_mse",
        "ridge_r2",
        "mlp_reg_r2",
        "mlp_reg_r2_label_shuffle",
        "nonlinear_settings",
    },
    "REG-MODK": BOTH
    | {
        "k",
        "Nmax",
        "fourier_r2_curve",
        "smallk_r2",
        "causal",
        "ridge_r2_numeric_residue",
        "mlp_reg_r2_numeric_residue",
        "mlp_cls_accuracy_residue",
        "mlp_cls_accuracy_label_shuffle",
        "nonlinear_settings",
    },
}


@pytest.mark.slow
def test_everything_stands_beside_everything(reproduced):
    task, _, found, steps = reproduced
    assert [done for _, done, _ in steps] == list(range(len(steps)))
    assert {total for *_, total in steps[1:]} <= {steps[0][2], len(steps)} and steps[-1][2] == len(steps)
    assert set(found.columns.notebook_protocol) == KEYS[task] == set(found.meaning)
    measured = {key for key in KEYS[task] if not key.endswith("label_shuffle")}
    fitted = measured - {"per_head"}  # attention is not fitted to labels
    assert set(found.columns.held_out) >= fitted
    assert set(found.columns.random_init) >= measured - {"alpha"}
    assert set(found.columns.null) >= fitted - {"alpha"}
    assert found.behaviour.verdict == "NOT LEARNED"
    assert all(sentence.startswith("Model NOT LEARNED. ") for sentence in found.meaning.values())
    assert number(found.columns.null["pooled_r2"]) in found.meaning["pooled_r2"]
    assert "another linear readout" in found.meaning["delta_mse"]
    assert [one["depth"] for one in found.columns.notebook_protocol["nonlinear_settings"]] == [1, 2]
    assert found.published["source"].startswith("printed by the original notebook")


@pytest.mark.slow
def test_the_attention_of_each_head_is_that_of_a_plain_loop(loaded, reproduced):
    _, rows, found, _ = reproduced
    roles = [role for layout in rows.layouts for role in layout.roles]
    arguments = loaded.model, rows.texts(), rows.ids.long(), rows.lengths, list(dict.fromkeys(roles))
    own, even = (looped_statistics(*arguments, uniform=uniform).mass for uniform in (False, True))
    names = ("mass_x", "mass_y", "mass_plus", "mass_mod", "mass_others")
    for layer, heads in enumerate(found.columns.notebook_protocol["per_head"]):
        for head, record in enumerate(heads):
            assert [record[name] for name in names] == pytest.approx(own[layer, head].tolist(), abs=1e-6)
            assert record["copy_score"] == pytest.approx(record["mass_x"] + record["mass_y"])
    assert [found.uniform_attention[name] for name in names] == pytest.approx(even[0, 0].tolist(), abs=1e-9)
    twin = looped_statistics(random_init_twin(loaded, 0).model, *arguments[1:]).mass.mean(dim=1)
    for layer, heads in enumerate(found.columns.random_init["per_head"]):
        assert [heads[0][name] for name in names] == pytest.approx(twin[layer].tolist(), abs=1e-6)
    assert (
        f"spread evenly over these prompts {number(found.uniform_attention['copy_score'])}" in found.meaning["per_head"]
    )


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers_and_another_gives_others(files, loaded):
    options = replace(QUICK, no_mlp=True)
    one, same, other = (
        reproduce(loaded, rows_of(files, "few REG-SUM"), replace(options, seed=seed)) for seed in (0, 0, 1)
    )
    assert one.to_dict() == same.to_dict()
    assert one.columns.notebook_protocol == other.columns.notebook_protocol
    assert one.columns.null["pooled_r2"] != other.columns.null["pooled_r2"]
    assert one.columns.random_init["pooled_r2"] != other.columns.random_init["pooled_r2"]


def test_the_null_is_a_null_and_held_out_is_held_out(loaded, modular):
    """States of pure noise: in-sample R2 is the null's, held out nothing is left; planted states are found."""
    _, examples, *_ = modular
    noise = np.random.default_rng(0).standard_normal(examples.pooled.shape).astype(np.float32)
    fold = fold_of(torch.from_numpy(examples.total), 5).numpy()

    def r2(states, rows=slice(None), fold=None):
        some = Examples(states, states[:, None], np.ones(len(states), int), examples.total[rows], examples.answer, fold)
        return run_probes(some)["pooled_r2"]

    nulls = [r2(noise, np.random.default_rng(seed).permutation(len(noise))) for seed in range(40)]
    assert np.mean(nulls) == pytest.approx(noise.shape[1] / len(noise), abs=0.01)  # D / N
    assert r2(noise) < np.mean(nulls) + 4 * np.std(nulls)
    assert r2(noise, fold=fold) < 0
    planted = noise.copy()
    planted[:, 0] += examples.total / 20
    assert r2(planted, fold=fold) > 0.8


@pytest.mark.slow
def test_the_command_prints_the_verdict_first_and_writes_json(files, tmp_path, capsys):
    words = [
        "reproduce",
        "--task",
        "REG-MODK",
        "--checkpoint",
        str(files["checkpoint"]),
        "--n_heads",
        "2",
        "--val",
        str(files["few REG-MODK"]),
        "--output_dir",
        str(tmp_path / "out"),
        "--no_mlp",
        "true",
        "--shuffles",
        "2",
        "--twins",
        "1",
    ]
    command(words)
    out = capsys.readouterr().out
    assert out.startswith("NOT LEARNED")
    table = out[out.index("the notebook's numbers for this checkpoint") : out.index("all numbers:")]
    assert max(map(len, table.splitlines())) <= 130
    written = json.loads((tmp_path / "out" / "reproduction.json").read_text())
    assert written["task"] == "REG-MODK"
    assert written["behaviour"]["verdict"] == "NOT LEARNED"
    assert written["notebook_protocol"]["k"] == K
    assert written["rows_used"]["run_multidim_probes"] == written["rows"] == FEW
    assert "mlp_reg_r2_numeric_residue" not in written["notebook_protocol"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"task": "REG-MODK"}, "holds plain sums, whose k is unknown"),
        ({"val": "REG-MODK"}, r"holds \(mod 13\) problems; --task REG-SUM needs plain sums"),
        ({"task": "SUM"}, "--task: expected one of 'REG-SUM', 'REG-MODK' or null, got 'SUM'"),
        ({"mlp_settings": "128"}, "mlp_settings has '128'; expected hidden units x layers, such as 128x1"),
        ({"shuffles": 1}, "shuffles is 1; expected 2 or more"),
        ({"shufles": 3}, "unknown option --shufles; did you mean --shuffles"),
        ({"checkpoint": "nowhere.pt"}, "nowhere.pt: no such file"),
        ({"val": "short"}, "short.tsv: has 12 rows; a tenth of its sums has"),
        ({"val": "rare", "task": "REG-MODK"}, "rare.tsv: residue 12 has one row"),
        ({"val": "many", "task": "REG-MODK"}, r"many.tsv: has 400 rows; an 80 / 20 split .* 97 residues .* needs 485"),
        ({"output_dir": "/proc/none"}, "output folder cannot be written"),
        ({"checkpoint": None}, "name a run, as in: arithprobe reproduce"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(files, tmp_path, changed, message):
    odd = {
        "short": [f"{x} + {x} = ?\t{2 * x}\n" for x in range(12)],
        "rare": [f"{x} + {x % 7} (mod 13) = ?\t{(x + x % 7) % 13}\n" for x in range(900) if (x + x % 7) % 13 != 12]
        + ["6 + 6 (mod 13) = ?\t12\n"],
        "many": [f"{x} + {x % 5} (mod 97) = ?\t{(x + x % 5) % 97}\n" for x in range(400)],
    }
    given = {
        "task": "REG-SUM",
        "checkpoint": files["checkpoint"],
        "n_heads": 2,
        "val": "REG-SUM",
        "output_dir": tmp_path / "out",
    } | changed
    if given["val"] in odd:
        path = tmp_path / f"{given['val']}.tsv"
        path.write_text("".join(odd[given["val"]]))
        given["val"] = path
    given["val"] = files.get(given["val"], given["val"])
    words = [str(part) for name, value in given.items() if value is not None for part in (f"--{name}", value)]
    with pytest.raises(ArithprobeError, match=message) as raised:
        command(["reproduce", *words])
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()
