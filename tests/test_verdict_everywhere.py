"""The verdict is one, whoever comes to it; and rows know whether they are all problems of their task."""

import dataclasses
import itertools

import pytest
import torch
from lightning.pytorch import Trainer

from arithprobe.analysis.forward import run_over
from arithprobe.behaviour import judge
from arithprobe.data.datamodule import RowsDataModule
from arithprobe.data.tokens import TokenDataset
from arithprobe.interventions.part import Part
from arithprobe.problems.rows import population_of
from arithprobe.training.metrics import AnswerErrors
from arithprobe.training.module import ArithmeticModule

K = 7


def table(pairs, modulus=K):
    x, y = torch.tensor(list(pairs)).T

    def encode(x, y):
        return torch.stack([x + 1, y + 1, torch.full_like(x, 15)], dim=1)

    return TokenDataset(x.contiguous(), y.contiguous(), modulus, encode, ("x", "y", "equals"))


EVERY = list(itertools.product(range(K), repeat=2))


def test_a_table_of_all_pairs_of_residues_is_a_population():
    """Its controls: one pair less, one twice, one for another, pairs of other numbers, plain sums."""
    assert table(EVERY).population == f"all {K**2} problems of operands 0 to {K - 1}"
    assert table(EVERY[::-1]).population
    for other in (EVERY[:-1], [*EVERY, EVERY[0]], [*EVERY[:-1], EVERY[0]], [*EVERY[:-1], (K, 0)]):
        assert table(other).population == ""
    assert table([(x + K, y) for x, y in EVERY]).population == ""
    assert table(EVERY, None).population == ""


def test_of_plain_sums_whoever_asks_for_them_says_which_operands_there_are():
    rows = table(EVERY, None)
    rows.operands = range(K)
    assert rows.population == f"all {K**2} problems of operands 0 to {K - 1}"
    rows.operands = range(K + 1)
    assert rows.population == ""


def test_a_part_of_a_population_is_a_sample():
    rows = table(EVERY)
    assert population_of(rows, K**2)
    assert population_of(rows, K**2 - 1) == ""


@pytest.fixture
def module():
    torch.manual_seed(0)
    return ArithmeticModule(d_model=16, n_layers=1, n_heads=2, d_ff=32, dropout=0.0)


def validated(module, rows, tmp_path, **options):
    """What a validation says of some rows, of a model whose constant is their mean."""
    module.train_mean = 3.0
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        **options,
    )
    data = RowsDataModule(table([(K - 1, K)]), rows, batch_size=16)
    trainer.validate(module, datamodule=data, verbose=False)
    return module.behaviour


def figures(behaviour):
    """Numbers, which batches of other sizes round otherwise."""
    return [value for value in dataclasses.astuple(behaviour) if isinstance(value, (int, float))]


@pytest.mark.parametrize("pairs", [EVERY, EVERY[:-3]], ids=["population", "sample"])
def test_a_validation_a_pass_and_an_intervention_say_the_same(module, tmp_path, pairs):
    rows = table(pairs)
    live = validated(module, rows, tmp_path)
    loaded = module.loaded()._replace(train_mean=3.0)
    found = run_over(loaded, rows, batch_size=11).behaviour
    part = Part(loaded.model, loaded.objective, rows, torch.arange(len(rows)), 3.0).behaviour
    for other in (found, part):
        assert figures(other) == pytest.approx(figures(live), rel=1e-5, nan_ok=True)
        for name in ("verdict", "n", "groups", "population"):
            assert getattr(other, name) == getattr(live, name)
    assert live.groups == len(torch.unique(rows.values("sum")))
    assert (live.population == "") == (len(pairs) < len(EVERY))


def test_rows_that_a_validation_leaves_out_make_a_sample(module, tmp_path):
    assert validated(module, table(EVERY), tmp_path, limit_val_batches=2).population == ""


def test_batches_and_ranks_have_the_verdict_of_all_rows():
    """Groups are on both ranks; a rank may have no rows. Its control: verdicts of each rank alone have other groups."""
    generator = torch.Generator().manual_seed(0)
    answers = torch.randint(0, 60, (500,), generator=generator)
    predictions = answers + 0.4 * torch.randn(500, generator=generator).double()
    whole, *ranks = (AnswerErrors(30.0) for _ in range(4))
    whole.update(predictions, answers)
    for rank, metric in enumerate(ranks[:2]):
        for rows in torch.arange(500)[rank::2].split(1):
            metric.update(predictions[rows], answers[rows])
    every = {state: torch.cat([torch.cat(getattr(rank, state)) for rank in ranks]) for state in ("group", "sums")}
    ranks[0].group, ranks[0].sums = every["group"], every["sums"]  # as the reduction "cat" leaves them
    one, merged = (judge(metric.compute()) for metric in (whole, ranks[0]))
    assert (one.verdict, one.reason, one.groups) == (merged.verdict, merged.reason, merged.groups)
    assert one.exact_match_low == pytest.approx(merged.exact_match_low, abs=1e-6)
    assert one.skill_low == pytest.approx(merged.skill_low)


def test_one_group_of_rows_is_judged_too():
    metric = AnswerErrors(30.0)
    metric.update(torch.full((40,), 7.0).double(), torch.full((40,), 7))
    found = judge(metric.compute())
    assert (found.n, found.groups, found.verdict) == (40, 1, "NOT LEARNED")
