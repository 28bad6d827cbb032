"""Shares of right answers, against scipy."""

import math

import pytest
import torch
from scipy.stats import binomtest

from arithprobe.probes.accuracy import binomial_interval, circular_error, within
from arithprobe.probes.controls import control_labels


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 30), (30, 30), (7, 30), (1, 2000), (1234, 2000)])
@pytest.mark.parametrize("level", [0.95, 0.999])
def test_the_interval_is_scipys(successes, n, level):
    expected = binomtest(successes, n).proportion_ci(level, method="exact")
    assert binomial_interval(successes, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_no_rows_have_no_interval():
    assert all(math.isnan(end) for end in binomial_interval(0, 0))


def test_near_is_near_round_the_circle_only_where_there_is_one():
    predicted, true = torch.tensor([0.0, 96.0, 50.0, -1.0]), torch.tensor([96.0, 0.0, 2.0, 0.0])
    assert within(predicted, true, 1, modulus=97).item() == 0.75
    assert within(predicted, true, 1).item() == 0.25
    assert circular_error(predicted, true, 97).item() == (1 + 1 + 48 + 1) / 4


def test_a_guess_is_a_quarter_of_the_circle_off():
    generator = torch.Generator().manual_seed(0)
    guess, true = (torch.randint(97, (20000,), generator=generator) for _ in range(2))
    assert circular_error(guess, true, 97).item() == pytest.approx(97 / 4, rel=0.03)


def test_control_labels_belong_to_types_and_to_nothing_else():
    kind = torch.arange(4000) % 500
    values = (torch.arange(4000) // 500).double()  # within a type, every label once
    labels = control_labels(values, kind, seed=1)
    assert all(len(labels[kind == one].unique()) == 1 for one in range(500))
    assert set(labels.tolist()) == set(values.tolist())
    assert (labels == values).double().mean() == pytest.approx(1 / 8, abs=0.001)
    assert not torch.equal(labels, control_labels(values, kind, seed=2))
    assert torch.equal(labels, control_labels(values, kind, seed=1))
