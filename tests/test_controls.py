"""What needs no training, and no network at all."""

import math

import pytest
import torch
from scikit_ridge import by_gcv
from sklearn.metrics import r2_score

from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import format_tsv, parse_tsv
from arithprobe.probes.controls import compare_with_twins, control_labels, surface_scores
from arithprobe.probes.rare_layouts import rare_rows
from arithprobe.probes.scores import CellScores
from arithprobe.probes.splits import fold_of
from arithprobe.probes.survey import Split, Target


@pytest.fixture(scope="module")
def rows():
    recipe = DataRecipe(task="mod", rows=700, val_fraction=0.1)
    text = format_tsv(sample(recipe)["train"].problems(recipe))
    return ArithmeticDataset(parse_tsv(text.encode(), "made"))


def test_the_text_alone_is_ridge_on_one_hot_characters(rows):
    total = (rows.x + rows.y).double()
    found = surface_scores(rows, [Target("sum", total[:, None])], Split(permutations=0))
    fold, texts = fold_of(rows.x + rows.y, 5), rows.texts()
    characters = sorted({character for text in texts for character in text})
    one_hot = (
        torch.tensor(
            [
                [[character == text[t : t + 1] for character in ["", *characters]] for t in range(rows.max_length)]
                for text in texts
            ]
        )
        .flatten(1)
        .double()
    )
    predicted, usual = torch.empty_like(total), ~rare_rows(rows.layout)
    for index in range(5):
        train = usual & (fold != index)
        predicted[fold == index] = torch.from_numpy(
            by_gcv(one_hot[train].numpy(), total[train, None].numpy(), one_hot[fold == index].numpy())[:, 0]
        )
    by_characters = found["characters"][0].r2.item()
    assert by_characters == pytest.approx(r2_score(total[usual], predicted[usual]), abs=1e-6)
    by_lengths = found["lengths"][0].r2.item()
    assert 0.15 < by_lengths < 0.45 < by_characters


def test_the_residue_is_not_in_the_text(rows):
    found = surface_scores(rows, [Target("residue", rows.answers.double()[:, None])], Split(permutations=0))
    assert all(scores[0].r2.item() < 0.05 for scores in found.values())


def scores(r2, shuffled=0.01):
    one, null = (torch.tensor([[value]], dtype=torch.float64) for value in (r2, shuffled))
    return CellScores(
        "ridge", "sum", "sum", ("final",), ("last",), one, one, one, one, one, null[..., None], *[one] * 7
    )


def test_what_twins_reach_is_explained_without_training():
    compared = compare_with_twins(scores(0.8), scores(0.6), scores(0.2))
    assert compared.twin.item() == pytest.approx(0.4)
    assert (compared.twin_low.item(), compared.twin_high.item()) == (0.2, 0.6)
    assert compared.explained.item() == pytest.approx(0.5) and compared.why_not(0, 0) == ""
    assert compare_with_twins(scores(0.8), scores(-3.0)).explained.item() == 0
    assert compare_with_twins(scores(0.8), scores(0.8)).explained.item() == 1


@pytest.mark.parametrize(
    ("trained", "twin", "why"),
    [
        (0.337, 0.601, "untrained reads more"),
        (-0.1, 0.5, "untrained reads more"),
        (0.004, 0.008, "cannot be told: R2 is not above 0 and shuffled labels"),  # no 200 % of nothing
        (0.008, 0.004, "cannot be told: R2 is not above 0 and shuffled labels"),
        (-0.1, -0.2, "cannot be told: R2 is not above 0 and shuffled labels"),
        (0.0, 0.0, "cannot be told: R2 is not above 0 and shuffled labels"),
        (math.nan, math.nan, "cannot be told: R2 is not above 0 and shuffled labels"),
        (0.8, math.nan, "cannot be told: the R2 of an untrained network is no number"),
    ],
)
def test_where_there_is_no_share_that_needs_no_training_the_reason_is_said(trained, twin, why):
    for shuffled in (0.01, math.nan) if abs(trained) > 0.01 else (0.01,):  # without permutations, 0 is the floor
        found = compare_with_twins(scores(trained, shuffled), scores(twin))
        assert math.isnan(found.explained.item()) and found.why_not(0, 0) == why


def test_a_control_label_is_fixed_for_its_type_and_says_nothing_of_the_value():
    kind = torch.arange(2000) % 400
    values = kind.double()
    labels = control_labels(values, kind, seed=0)
    assert torch.equal(labels[:400], labels[400:800])
    assert abs(torch.corrcoef(torch.stack([labels[:400], values[:400]]))[0, 1]) < 0.2
    assert not torch.equal(labels, control_labels(values, kind, seed=1))
