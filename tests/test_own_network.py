"""The whole instrument on networks and rows that this library did not make."""

import copy
import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from own_networks import SITES, OneLayer, P, Products, hooked, pairs, token_rows
from test_network import sums, tiny, wrapped
from torch import nn

from arithprobe.analysis.heads.run import analyse_heads
from arithprobe.analysis.intervene.options import InterveneOptions
from arithprobe.analysis.intervene.record import ledger_records
from arithprobe.analysis.intervene.record import record_of as intervene_record
from arithprobe.analysis.intervene.run import intervene
from arithprobe.analysis.probe.options import ProbeOptions
from arithprobe.analysis.probe.record import record_of as probe_record
from arithprobe.analysis.probe.run import probe
from arithprobe.callbacks import (
    BehaviourReport,
    BestCheckpoint,
    DirectionAblation,
    EmergenceProbing,
    FourierProbing,
    HeadAnalysis,
    Provenance,
    RidgeProbing,
)
from arithprobe.data.datamodule import RowsDataModule
from arithprobe.data.tokens import TokenDataset
from arithprobe.errors import ArithprobeError
from arithprobe.files import to_json
from arithprobe.interventions.bench import Bench
from arithprobe.models.check import check
from arithprobe.models.checkpoints import in_memory, load_model
from arithprobe.models.objectives import ResidueCrossEntropy, ScaledMSE
from arithprobe.problems.quantities import Sums
from arithprobe.problems.rows import Rows
from arithprobe.reports.page import report
from arithprobe.reports.run import read_run
from arithprobe.training.probed import ProbedModule

K = 17
BRIEF = ProbeOptions(
    twins=1,
    frequencies=3,
    fourier_permutations=19,
    mlp_shuffles=1,
    mlp_hidden=8,
    small_periods=(2,),
    sites=("residual", "mlp_act.0"),
    positions=("last", "role"),
)
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}


def made():
    return OneLayer(16, 2, 32, K)


@pytest.fixture(scope="module")
def learned():
    """A network that has learned all of ``(a + b) mod 17``, and its rows."""
    torch.manual_seed(0)
    module, rows = made(), token_rows(p=K)
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(4000):  # how many it takes is not the same on every machine
        loss = nn.functional.cross_entropy(module(rows.ids)[:, -1], rows.answers)
        if loss < 1e-2:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network = hooked(module, factory=made, example=rows.ids[:2])
    return in_memory(network, ResidueCrossEntropy(K), name="one layer"), rows


def test_probes_and_ladder_of_a_network_of_ones_own(learned):
    loaded, rows = learned
    report = probe(loaded, rows, BRIEF)
    assert report.behaviour.verdict == "LEARNED" and report.fidelity.problems == ()
    assert [one.variable for one in report.ladder] == ["sum", "residue"] and len(report.twins) == len(report.ridge)
    assert {one.target: one.sites for one in report.wide}["residue"] == ("mlp_act.0",)
    record = json.loads(to_json(probe_record(report)))
    assert record["fidelity"]["whole_source"] <= 1e-5 and record["fidelity"]["unchanged"] == []
    assert {cell["site"] for cell in record["ridge"]} == {"embed", "resid_mid.0", "resid_post.0", "mlp_act.0"}
    assert any("Fourier and MLP probes at mlp_act.0" in reason for reason in report.left_out)


def test_interventions_on_a_network_of_ones_own(learned):
    loaded, rows = learned
    options = InterveneOptions(
        targets=("residuemod17f1to8",),
        sites=("resid_post.0", "mlp_act.0"),
        positions=("last",),
        draws=19,
        variable_draws=19,
        variables=("residue",),
    )
    found = intervene(loaded, rows, options)
    record = json.loads(to_json(intervene_record(found)))
    assert record["fidelity"]["problems"] == [] and len(found.ledger) == 4
    by_name = {(row.site, row.subspace.partition(":")[2]): row for row in found.ledger}
    whole = by_name["resid_post.0", "probe"]
    assert whole.near_tautological and not by_name["mlp_act.0", "probe"].near_tautological
    assert whole.effect("mean").skill_lost > 0.5 and np.isfinite(by_name["mlp_act.0", "leace"].residual_r2_mlp)
    swapped = {site: one.whole_state for site, _, one in found.variables}
    assert swapped["resid_post.0"] == 1 and swapped["mlp_act.0"] < 0.9
    assert {one.change for one in found.symmetry} == {"x + d, y - d", "x + d, y"}  # no k fits below k


def test_a_wrapped_transformer_gives_the_ledger_of_the_fast_path():
    model, rows = tiny("pre", dtype=torch.float64), sums()
    wide = rows.rewritten(torch.arange(len(rows)).repeat(4), rows.x.repeat(4), rows.y.repeat(4), "again")
    options = InterveneOptions(
        sites=("embed", "z.1", "resid_mid.0", "final"), draws=19, variable_draws=19, variables=("x",), no_mlp=True
    )
    own, other = (
        [_numbers(one) for one in json.loads(to_json(ledger_records(intervene(loaded, wide, options))))]
        for loaded in (in_memory(network, ScaledMSE(50.0)) for network in (model, wrapped(model)))
    )
    assert len(own) == len(other) == 16
    for fast, whole in zip(own, other, strict=True):
        assert fast.keys() == whole.keys()
        off = max(abs(fast[key] - whole[key]) / max(1.0, abs(fast[key])) for key in fast)
        assert off <= 1e-6
    assert any(abs(value) > 1e-3 for value in own[0].values())


def _numbers(value, place=""):
    if isinstance(value, dict):
        return {key: one for name, part in value.items() for key, one in _numbers(part, f"{place}/{name}").items()}
    if isinstance(value, list):
        return {key: one for name, part in enumerate(value) for key, one in _numbers(part, f"{place}/{name}").items()}
    return {place: float(value)} if isinstance(value, (int, float)) else {}


def fit(module, callbacks, data, folder, steps=8):
    trainer = Trainer(
        max_steps=steps,
        max_epochs=-1,
        val_check_interval=4,
        check_val_every_n_epoch=None,
        callbacks=callbacks,
        default_root_dir=folder,
        **QUIET,
    )
    trainer.fit(module, datamodule=data)
    return trainer


class Ungrouped(Products):
    """Held out pair by pair: 11 products are too few for an interval."""

    def group_of(self, name):
        return "pair"

    def group(self, name):
        return super().group("pair")


@pytest.mark.slow(seconds=4)
def test_live_probes_of_a_network_and_rows_of_ones_own(tmp_path):
    torch.manual_seed(0)
    order = torch.randperm(100)
    train, val = (Ungrouped(*pairs(first=1)[part].T) for part in (order[:60], order[60:]))
    callbacks = [
        RidgeProbing(targets=["a", "product"], positions=["last", "role"], folds=2),
        FourierProbing(frequencies=2, folds=2),
        DirectionAblation(targets=["a", "productmod11f1"], every=1, folds=2),
        EmergenceProbing(twins=2, frequencies=0, targets=["product"], folds=3),
        BehaviourReport(),
        BestCheckpoint(),
        Provenance(),
    ]
    module = ProbedModule(hooked(factory=None).train(), ResidueCrossEntropy(P), lr=1e-2)
    trainer = fit(module, callbacks, RowsDataModule(train, val, batch_size=20), tmp_path)
    folder = next((tmp_path / "lightning_logs").iterdir())
    lines = {path.stem: path.read_text().splitlines() for path in (folder / "probes").glob("*.jsonl")}
    assert lines.keys() == {"ridge", "fourier", "ablation", "emergence"} and {len(one) for one in lines.values()} == {2}
    for name, records in lines.items():
        assert json.loads(records[-1])["fidelity"]["problems"] == [], name
    assert (folder / "figures" / "ablation_a.png").exists() and (folder / "predictions.tsv").exists()
    assert json.loads((folder / "provenance.json").read_text())["task"] == "a * b (mod 11)"
    assert any(
        "untrained networks: this HookedNetwork was made without a factory" in one for one in callbacks[3].findings()
    )
    assert module.behaviour is not None and module.train_mean == pytest.approx(float(train.answers.double().mean()))
    best = load_model(trainer.checkpoint_callback.best_model_path, network=hooked(seed=3))
    assert (best.task, best.objective) == ("a * b (mod 11)", best.objective) and best.train_mean == module.train_mean
    inputs, own = val.inputs(torch.arange(4)), module.loaded()
    if trainer.checkpoint_callback.best_model_score == trainer.callback_metrics["val/loss"]:
        torch.testing.assert_close(best.model(*inputs), own.model(*inputs))


def test_rows_that_are_no_sums_go_through_all_that_needs_none():
    rows = Products(*pairs(first=1).T)
    assert isinstance(rows, Rows)
    torch.manual_seed(0)
    loaded = in_memory(hooked(), ResidueCrossEntropy(P))
    report = probe(loaded, rows, replace(BRIEF, folds=3))
    assert {one.target for one in report.ridge} == {"a", "b", "product"} and report.behaviour.verdict == "NOT LEARNED"
    options = InterveneOptions(
        sites=("resid_mid.0",), draws=19, variable_draws=19, variables=("a", "product"), no_mlp=True
    )
    found = intervene(loaded, rows, options)
    assert found.notebook is None and found.symmetry == () and [one for _, one, _ in found.variables] == ["product"] * 1
    assert found.left_out == ("interchange of 'a': these rows do not say what the answer would be",)
    assert json.loads(to_json(intervene_record(found)))["notebook_removal"] is None


def test_what_a_network_or_rows_lack_is_one_line():
    rows, loaded = token_rows(), in_memory(hooked(factory=None), ResidueCrossEntropy(P))
    for wrong, said in [
        (lambda: analyse_heads(loaded, rows), "attention heads: a HookedNetwork has no heads to take apart"),
        (lambda: probe(loaded, rows, ProbeOptions(targets=("z",))), "no target 'z' in this data"),
        (lambda: probe(loaded, Products(*pairs().T), ProbeOptions(targets=("x",))), r"no target 'x' .*\(targets: a, b"),
        (lambda: probe(loaded, rows, ProbeOptions(positions=("plus",))), "no position 'plus' in this data"),
        (lambda: probe(loaded, rows, ProbeOptions(sites=("resid_past.0",))), "no site 'resid_past.0'.* did you mean"),
        (lambda: probe(loaded, "rows.tsv"), "expected rows, such as an ArithmeticDataset; a str has no path, task"),
        (lambda: probe("best.ckpt", rows), "expected a LoadedModel, got a str"),
        (lambda: in_memory(OneLayer(), ResidueCrossEntropy(P)), "a OneLayer has no d_model"),
        (lambda: in_memory(hooked(), nn.MSELoss()), "objective is MSELoss.*; expected an Objective"),
        (lambda: ProbedModule(OneLayer(), ResidueCrossEntropy(P)), "a OneLayer has no d_model"),
        (lambda: ProbedModule(hooked(), nn.MSELoss()), "expected an Objective"),
        (lambda: probe(in_memory(hooked(), ResidueCrossEntropy(P), task="x + y"), rows), "was trained on 'x \\+ y'"),
    ]:
        with pytest.raises(ArithprobeError, match=said) as raised:
            wrong()
        assert "\n" not in str(raised.value)
    report = probe(loaded, rows, BRIEF)  # the control: without a factory it goes on with the rest
    assert report.twins == () and any("untrained networks: this HookedNetwork" in one for one in report.left_out)


def test_a_network_in_memory_is_used_as_it_is_and_refused_while_it_trains():
    network, rows = hooked(), token_rows()
    loaded = in_memory(network, ResidueCrossEntropy(P))
    assert loaded.model is network and all(one.requires_grad for one in network.parameters())
    probe(loaded, rows, BRIEF)
    assert all(one.requires_grad and one.grad is None for one in network.parameters())
    network.train()
    for measure in (
        lambda: in_memory(network, ResidueCrossEntropy(P)),
        lambda: probe(loaded, rows),
        lambda: intervene(loaded, rows),
    ):
        with pytest.raises(
            ArithprobeError, match=r"is in training mode, where two passes may differ; call its eval\(\)"
        ):
            measure()


def test_a_callback_that_needs_heads_says_so_before_training(tmp_path):
    data = RowsDataModule(*(token_rows(pairs()[part], path=str(part)) for part in (slice(80), slice(80, None))))
    with pytest.raises(ArithprobeError, match="HeadAnalysis: a HookedNetwork has no heads to take apart"):
        fit(ProbedModule(hooked().train(), ResidueCrossEntropy(P)), [HeadAnalysis()], data, tmp_path)
    fit(ProbedModule(hooked().train(), ResidueCrossEntropy(P)), [BehaviourReport()], data, tmp_path, 4)


def test_a_broken_network_is_refused_before_anything_is_measured():
    options = {"sites": {name: site for name, site in SITES.items() if name != "mlp_out.0"} | {"resid_mid.0": "down"}}
    aside = in_memory(hooked(**options, residual=["embed", "resid_post.0"]), ResidueCrossEntropy(P))
    assert check(aside.model, token_rows()).problems == ()  # the control: it is not said to be the stream
    wrong = in_memory(hooked(**options), ResidueCrossEntropy(P))
    for measure in (probe, intervene):
        with pytest.raises(ArithprobeError, match=r"the whole stream of a source at 'resid_mid.0' differs"):
            measure(wrong, token_rows())


def split():
    torch.manual_seed(0)
    order = torch.randperm(P * P)
    return RowsDataModule(*(token_rows(pairs()[some], path=str(len(some))) for some in (order[:80], order[80:])))


class Shy(OneLayer):
    """Its scores are all zero before the first step."""

    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.scores.weight)


def test_a_lie_that_zero_weights_hide_is_found_out_when_they_move(tmp_path):
    honest = ProbedModule(hooked(Shy(), factory=None).train(), ResidueCrossEntropy(P))
    at_first = check(copy.deepcopy(honest.model).eval(), token_rows())
    assert (at_first.problems, at_first.unreached) == ((), at_first.sites)
    fit(honest, [RidgeProbing(folds=2)], split(), tmp_path / "honest")
    assert (honest.fidelity.problems, honest.fidelity.unreached) == ((), ())
    sites = {name: site for name, site in SITES.items() if name != "mlp_out.0"} | {"resid_mid.0": "down"}
    lie = ProbedModule(hooked(Shy(), sites, factory=None).train(), ResidueCrossEntropy(P))
    with pytest.raises(ArithprobeError, match=r"the whole stream of a source at 'resid_mid.0' differs"):
        fit(lie, [RidgeProbing(folds=2)], split(), tmp_path / "lie")


class Later(OneLayer):
    """A skip past the stream, which has no weight before the first step."""

    def __init__(self):
        super().__init__()
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, ids):
        past = nn.functional.linear(self.tokens(ids).cumsum(dim=1), self.scores.weight)
        return super().forward(ids) + self.share * past


def test_a_skip_that_grows_in_the_fit_is_found_out(tmp_path):
    grown = ProbedModule(hooked(Later(), factory=None).train(), ResidueCrossEntropy(P), lr=1e-2)
    assert check(copy.deepcopy(grown.model).eval(), token_rows()).problems == ()
    with pytest.raises(ArithprobeError, match="reads past that site"):
        fit(grown, [RidgeProbing(folds=2)], split(), tmp_path)


class Drawing(OneLayer):
    """Draws numbers of every kind in every pass, and uses none."""

    def forward(self, ids):
        torch.rand(1), np.random.rand(), random.random()
        return super().forward(ids)


def test_probes_leave_every_random_state_as_it_is(tmp_path):
    weights = {}
    for name, callbacks in {"bare": [], "probed": [RidgeProbing(folds=2), DirectionAblation(every=1, folds=2)]}.items():
        seed_everything(3)
        module = ProbedModule(hooked(Drawing(dropout=0.3), factory=None).train(), ResidueCrossEntropy(P))
        seed_everything(3)
        fit(module, callbacks, split(), tmp_path / name)
        weights[name] = module.state_dict(), torch.get_rng_state(), np.random.rand(), random.random()
    bare, probed = weights.values()
    assert all(torch.equal(value, probed[0][name]) for name, value in bare[0].items())
    assert torch.equal(bare[1], probed[1]) and bare[2:] == probed[2:]


def test_one_residual_site_is_enough_for_live_probes(tmp_path):
    module = ProbedModule(hooked(sites={"embed": SITES["embed"]}).train(), ResidueCrossEntropy(P))
    callbacks = [RidgeProbing(folds=2), DirectionAblation(every=1, folds=2)]
    fit(module, callbacks, split(), tmp_path)
    assert module.checked_at == (0, 4) and any("embed" in line for line in callbacks[1].findings())


def test_what_cannot_be_trained_or_judged_is_one_line(tmp_path):
    with pytest.raises(ArithprobeError, match=r"is in evaluation mode, as check needs it; call its train\(\)"):
        fit(ProbedModule(hooked(), ResidueCrossEntropy(P)), [], split(), tmp_path)
    frozen = ProbedModule(hooked().train().requires_grad_(False), ResidueCrossEntropy(P))
    with pytest.raises(ArithprobeError, match="no weight of the network is to be trained"):
        fit(frozen, [], split(), tmp_path)
    other = ProbedModule(hooked().train(), ScaledMSE(5.0))
    with pytest.raises(ArithprobeError, match=r"the outputs of \d+ rows are \(\d+, 11\); ScaledMSE.* \(\d+, 1\)"):
        fit(other, [], split(), tmp_path)
    assert fit(ProbedModule(hooked().train(), ResidueCrossEntropy(P)), [], split(), tmp_path, 4).global_step == 4


def test_a_run_of_ones_own_is_reported_also_without_its_provenance(tmp_path):
    module = ProbedModule(hooked(factory=None).train(), ResidueCrossEntropy(P))
    trainer = fit(module, [RidgeProbing(folds=2), BehaviourReport()], split(), tmp_path)
    run = read_run(trainer.log_dir)
    assert (
        run.is_foreign and run.loaded is None and run.answers is None and run.judged["last"].network == "HookedNetwork"
    )
    page = report(trainer.log_dir)
    assert "The page draws only answers of this library" in page
    assert "intervene(load_model(" in page and "arithprobe probe --checkpoint" not in page  # no command can make it


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("lengths", torch.full((121,), 4), r"products: inputs have ids \(2, 3\); lengths are 4 to 4"),
        ("lengths", torch.zeros(121, dtype=torch.int64), "lengths are 0 to 0"),
        ("lengths", torch.full((121,), 2), "roles name other numbers of tokens than lengths"),
        ("lengths", torch.full((121,), 3.0), r"lengths is torch.float32 \(121,\); expected int64 \(121,\)"),
        ("answers", list(range(121)), "answers is list; expected int64"),
        ("layout", torch.ones(121, dtype=torch.int64), "a layout is not one of the 1 kinds of rows"),
        ("circle", 5, "answers wrap around at 5; expected 0 to 4"),
    ],
)
def test_rows_that_contradict_themselves_are_refused_everywhere(attribute, value, said):
    rows, loaded = Products(*pairs().T), in_memory(hooked(), ResidueCrossEntropy(P))
    assert check(loaded.model, rows).problems == ()  # the control
    setattr(rows, attribute, value)
    for measure in (lambda: check(loaded.model, rows), lambda: probe(loaded, rows), lambda: intervene(loaded, rows)):
        with pytest.raises(ArithprobeError, match=said) as raised:
            measure()
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("x", "encode", "roles", "said"),
    [
        (torch.arange(3.0), None, [*"abc"], "x is torch.float32"),
        (torch.arange(0), None, [*"abc"], r"x is torch.int64 \(0,\)"),
        (torch.arange(3), lambda x, y: x, [*"abc"], r"encode gave torch.int64 \(3,\); expected int64 \(3, 3\)"),
        (torch.arange(3), lambda x, y: [x, y], [*"abc"], "encode gave list"),
        (torch.arange(3), lambda x: x, [*"abc"], "encode cannot be run on 3 operands: TypeError"),
        ([0, 1, 2], None, [*"abc"], "x is a list; expected int64"),
        (torch.arange(3), None, None, "roles: expected names, got None"),
        (torch.arange(3), None, ["a", "last"], "a role is called 'last', which means other tokens"),
        (torch.arange(3), lambda x, y: torch.stack([x, y, y], 1), [*"aba"], "expected each once"),
    ],
)
def test_wrong_token_rows_are_one_line(x, encode, roles, said):
    with pytest.raises(ArithprobeError, match=said):
        TokenDataset(x, torch.arange(len(x)), 5, encode, roles)
    for modulus in (0, 1, -3, "13", 5.0):
        with pytest.raises(ArithprobeError, match=r"modulus is .*; expected None, or k, 2 or more"):
            TokenDataset(torch.arange(3), torch.arange(3), modulus, encode, roles)


def test_token_rows_say_what_arithmetic_says():
    rows = token_rows(p=7)
    assert isinstance(rows, Rows) and (rows.circle, rows.answer, rows.task) == (7, "residue", "x + y (mod 7)")
    some, donors = torch.tensor([0, 8, 20]), torch.tensor([3, 5, 1])
    sums_, others = rows.at(some), rows.at(donors)
    assert rows.counterfactual("x", some, donors).tolist() == ((others.x + sums_.y) % 7).tolist()
    assert rows.texts(some) == ["0 + 0 (mod 7) = ?", "1 + 1 (mod 7) = ?", "2 + 6 (mod 7) = ?"]
    changed = rows.changed("x + d, y", 2, torch.arange(len(rows)))
    assert torch.equal(changed.rows.x, rows.x[changed.kept] + 2) and int(changed.rows.x.max()) == 6
    assert torch.equal(changed.rows.ids[:, 0], changed.rows.x) and rows.changed("x + k, y", 7, torch.arange(49)) is None
    assert rows.surface()["tokens"].shape == (49, 15) and rows.positions(["all"]).names == ("x1", "y1", "query")
    assert torch.equal(rows.values("carry1"), Sums(rows.x, rows.y, 7).values("carry1"))


def test_parts_of_other_rows_that_share_some_or_are_of_two_tasks_are_refused():
    train, val = token_rows(pairs()[:80], path="train"), token_rows(pairs()[80:], path="val")
    assert RowsDataModule(train, val).train_mean == float(train.answers.double().mean())
    with pytest.raises(ArithprobeError, match=r"1 rows of val are in train too, such as '7 \+ 2 \(mod 11\)"):
        RowsDataModule(train, token_rows(pairs()[79:], path="val"))
    with pytest.raises(ArithprobeError, match="expected one task"):
        RowsDataModule(train, token_rows(p=7))
    with pytest.raises(ArithprobeError, match="val is a list; expected rows"):
        RowsDataModule(train, [1])


def test_a_bench_without_rows_to_fit_on_says_what_it_cannot():
    rows = token_rows()
    columns, held = {"sum": rows.values("sum")[:, None].double()}, torch.arange(60)
    bench = Bench(hooked(), ResidueCrossEntropy(P), rows, 5.0, held, columns=columns)
    fit = Bench(hooked(), ResidueCrossEntropy(P), rows, 5.0, held, held + 60, columns=columns, sites=["embed"])
    cell = bench.cell("embed", "last", fit.cell("embed", "last").fit)
    with pytest.raises(ArithprobeError, match="the moments of the rows held out were not folded"):
        cell.r2_of("sum")
    with pytest.raises(ArithprobeError, match="made without rows to fit on"):
        cell.shuffled("sum", 2, 0)
    with pytest.raises(ArithprobeError, match="is in training mode"):
        Bench(hooked().train(), ResidueCrossEntropy(P), rows, 5.0, torch.arange(60))
