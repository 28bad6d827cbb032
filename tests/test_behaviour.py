"""The gate: its figures against scikit-learn and simulation, its verdicts on cases made for it."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

from arithprobe.behaviour import Errors, difference, judge, judge_rows
from arithprobe.errors import ArithprobeError
from arithprobe.files import to_json
from arithprobe.training.metrics import AnswerErrors


def judged(predictions, answers, train_mean, batches=1, modulus=None):
    metric = AnswerErrors(train_mean, modulus)
    predictions, answers = torch.as_tensor(predictions, dtype=torch.float64), torch.as_tensor(answers)
    every = torch.arange(len(answers))  # each a group of its own; tests/test_verdict_intervals.py has others
    for rows in every.tensor_split(batches):
        metric.update(predictions[rows], answers[rows], group=rows)
    return judge(metric.compute(), modulus)


@pytest.fixture
def residues():
    return np.random.default_rng(0).integers(0, 97, 2000)


def test_figures_are_those_of_their_definitions(residues):
    predictions = residues + np.random.default_rng(1).normal(3, 8, 2000)
    found = judged(predictions, residues, 48.0, batches=7)
    assert found.n == 2000
    assert found.r2 == pytest.approx(r2_score(residues, predictions), abs=1e-12)
    assert found.rmse == pytest.approx(np.sqrt(np.mean((predictions - residues) ** 2)))
    assert found.skill == pytest.approx(1 - np.mean((predictions - residues) ** 2) / np.mean((residues - 48.0) ** 2))
    assert found.bias == pytest.approx(np.mean(predictions - residues))
    assert found.prediction_sd == pytest.approx(np.std(predictions))
    assert found.answer_sd == pytest.approx(np.std(residues))
    assert found.exact_match == np.mean(np.round(predictions) == residues)


def test_verdicts(residues):
    noise = np.random.default_rng(3).normal(0, 1, 2000)
    mean = residues.mean()
    constant = judged(mean + 4 * noise, residues, mean)
    assert constant.verdict == "NOT LEARNED"
    assert constant.reason.startswith("predicts the mean: skill -0.02 [")
    wild = judged(mean + 60 * noise, residues, mean)
    assert wild.verdict == "NOT LEARNED"
    assert wild.reason.startswith("worse than predicting the mean: skill -")
    coarse = judged(residues + 5 * noise, residues, mean)
    assert coarse.verdict == "PARTLY LEARNED"
    assert (
        coarse.reason
        == f"coarse: R2 {coarse.r2:.3f}, RMSE {coarse.rmse:.3g}, {coarse.exact_match:.1%} of answers exact"
    )
    exact = judged(residues + 0.1 * noise, residues, mean)
    assert exact.verdict == "LEARNED"
    few = judged(residues[:4] + 20 * noise[:4], residues[:4], mean)
    assert few.verdict == "NOT LEARNED"
    assert few.reason.startswith("cannot be told: too few rows (4)")


def test_wording_follows_the_interval(residues):
    noise = np.random.default_rng(5).normal(0, 1, 100_000)
    assert judged(np.full(2000, 5000.0), residues, 48.0).reason.startswith("worse than predicting the mean: skill -")
    many = np.random.default_rng(6).integers(0, 97, 100_000)
    barely = judged(many.mean() + 0.04 * (many - many.mean()) + 0 * noise, many, many.mean())
    assert barely.verdict == "PARTLY LEARNED" or barely.reason.startswith("barely better than predicting the mean")
    elsewhere = judged(np.full(2000, 948.0) + noise[:2000], residues + 900, 48.0)
    assert elsewhere.skill > 0.9
    assert elsewhere.verdict == "NOT LEARNED"
    assert "differ from the training answers" in elsewhere.reason
    assert judged(residues[:5] + 0.1, residues[:5], 48.0).verdict == "NOT LEARNED"


def test_shuffled_answers_of_a_good_model_are_not_learned(residues):
    assert judged(residues, residues, 48.0).verdict == "LEARNED"
    assert judged(np.random.default_rng(4).permutation(residues), residues, 48.0).verdict == "NOT LEARNED"


def test_what_is_no_number_is_not_learned_and_valid_json(residues):
    for predictions, answers in ((np.full(2000, np.nan), residues), (np.full(9, 5.0), np.full(9, 5))):
        found = judged(predictions, answers, 5.0)
        assert found.verdict == "NOT LEARNED"
        assert found.reason.startswith("cannot be told")
        assert json.loads(to_json(vars(found)))["skill"] is None


def test_no_rows_are_refused():
    with pytest.raises(ArithprobeError, match="no rows"):
        judge(Errors.summed(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 10)))


def test_sums_of_ranks_are_the_sums_of_all(residues):
    predictions = torch.from_numpy(residues + 0.3)
    answers = torch.from_numpy(residues)
    whole, *ranks = (AnswerErrors(40.0) for _ in range(3))
    whole.update(predictions, answers)
    for rank, metric in enumerate(ranks):
        metric.update(predictions[rank::2], answers[rank::2])
    first, second = ranks
    first.group, first.sums = (
        torch.cat(first.group + second.group),
        torch.cat(first.sums + second.sums),
    )  # as "cat" does
    for name, merged, one in zip(Errors._fields, first.compute(), whole.compute(), strict=True):
        torch.testing.assert_close(merged, one, rtol=1e-14, atol=1e-12, msg=name)


@pytest.mark.parametrize("batches", [1, 7])
def test_the_circular_error_goes_the_shorter_way_round(residues, batches):
    predictions = residues + np.random.default_rng(1).normal(0, 30, 2000)  # some of them beyond the residues
    found = judged(predictions, residues, 48.0, batches, modulus=97)
    way = [min((p - a) % 97, (a - p) % 97) for p, a in zip(predictions, residues, strict=True)]
    assert found.circular_error == pytest.approx(np.mean(way))
    assert f"off by {found.circular_error:.3g} round the circle (a guess: 24.2)" in found.reason
    assert np.isnan(judged(predictions, residues, 48.0).circular_error)  # numbers have no circle
    assert "circle" not in judged(predictions, residues, 48.0).reason


def test_one_step_over_the_end_of_the_circle_is_a_small_circular_error(residues):
    """Its control is the RMSE, which calls 0 for 96 the largest error there is."""
    found = judged((residues + 1) % 97, residues, 48.0, modulus=97)
    assert found.circular_error == 1.0
    assert found.rmse > 5
    guess = np.random.default_rng(2).integers(0, 97, 2000)
    assert judged(guess, residues, 48.0, modulus=97).circular_error == pytest.approx(97 / 4, rel=0.05)


def of_residues(predictions, answers):
    group = torch.arange(len(answers))
    return judge_rows(
        torch.as_tensor(predictions).double(), torch.as_tensor(answers), 48.0, 97, residues=True, group=group
    )


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 1.0])
def test_of_a_model_that_knows_a_share_of_the_residues_and_guesses_the_rest_that_share_is_the_skill(residues, share):
    """Its control is the skill of a number, which calls a wrong residue worse than the mean."""
    generator = np.random.default_rng(3)
    known = generator.random(2000) < share
    predictions = np.where(known, residues, generator.integers(0, 97, 2000))
    found, as_number = of_residues(predictions, residues), judged(predictions, residues, 48.0)
    assert found.skill == pytest.approx(known.mean(), abs=0.04)
    assert found.verdict == ("LEARNED" if share == 1 else "PARTLY LEARNED")
    assert as_number.skill < found.skill - 0.2 or share == 1
    around = difference(torch.tensor(predictions), torch.tensor(residues), 97).double()
    assert found.rmse == pytest.approx(around.square().mean().sqrt().item())


@pytest.mark.parametrize(
    ("predict", "reason"),
    [
        (lambda answers: np.random.default_rng(4).integers(0, 97, len(answers)), "no better than a guess"),
        (lambda answers: np.full(len(answers), 12), "answers one residue"),
        (lambda answers: np.full(len(answers), 48), "answers one residue"),
        (lambda answers: (answers + 48) % 97, "worse than a guess"),
    ],
)
def test_a_guess_and_a_constant_residue_are_not_learned(residues, predict, reason):
    found = of_residues(predict(residues), residues)
    assert (found.verdict, found.reason.partition(":")[0]) == ("NOT LEARNED", reason)
    assert "(a guess: 24.2)" in found.reason


def test_a_constant_residue_near_to_uneven_answers_is_not_learned():
    """It has skill against the train mean; that it says always the same gives it away."""
    answers = np.random.default_rng(5).integers(0, 20, 2000)
    found = of_residues(np.full(2000, 10), answers)
    assert found.skill > 0.5 and found.verdict == "NOT LEARNED"
    assert of_residues(answers // 2 * 2, answers).verdict == "PARTLY LEARNED"  # the control
