"""Planted states are what was written down: read as given, standard normal where it is noise, tame when changed."""

import pytest
import torch
from scipy.stats import kstest

from arithprobe.analysis.intervene.options import InterveneOptions
from arithprobe.analysis.intervene.run import intervene
from arithprobe.errors import ArithprobeError
from arithprobe.models.check import check
from arithprobe.planted import directions, noise, planted_states

X, Y = torch.cartesian_prod(torch.arange(30), torch.arange(30)).T
U, V = directions(2, 12)


def sum_and_decoy(x, y):
    return torch.outer((x + y - 29) / 12, U) + torch.outer(noise(x, y, 1, 5)[:, 0], V)


def test_noise_is_standard_normal_and_of_each_seed_another():
    drawn = torch.stack([noise(X, Y, 8, seed) for seed in range(20)])
    assert kstest(drawn.flatten().numpy(), "norm").pvalue > 0.001
    assert kstest(2 * drawn[0].flatten().numpy(), "norm").pvalue < 0.001  # the control
    columns = drawn.permute(0, 2, 1).flatten(0, 1)
    assert float(torch.corrcoef(columns).fill_diagonal_(0).abs().max()) < 5 / 30


def test_noise_is_of_the_pair_not_of_the_row():
    order = torch.randperm(len(X))
    assert torch.equal(noise(X, Y, 4)[order], noise(X[order], Y[order], 4))
    assert not torch.equal(noise(X, Y, 4), noise(Y, X, 4))


def test_directions_are_orthonormal_and_have_no_mean():
    frame = directions(7, 8, seed=3)
    assert torch.allclose(frame @ frame.T, torch.eye(7, dtype=torch.float64))
    assert float(frame.sum(dim=1).abs().max()) < 1e-12
    with pytest.raises(ArithprobeError, match=r"there are 7 such directions in 8 dimensions; got 8"):
        directions(8, 8)


@pytest.mark.parametrize("norm", [False, True])
def test_a_planted_network_keeps_its_promises(norm):
    loaded, rows = planted_states(X, Y, sum_and_decoy, U, norm=norm)
    check(loaded.model, rows).required()
    assert loaded.model.residual_sites == ("resid_post.0", "final")[: 1 + norm]


def test_the_reader_reads_its_direction_and_not_the_decoy():
    loaded, rows = planted_states(X, Y, sum_and_decoy, 12 * U)
    outputs = loaded.model(*rows.inputs(torch.arange(len(rows))))[:, 0]
    assert torch.allclose(outputs + 29, rows.answers.double())
    report = intervene(loaded, rows, InterveneOptions(no_mlp=True, no_patching=True, positions=("last",), draws=19))
    assert report.ledger[0].held_out_r2 > 0.99


def test_states_of_another_kind_are_refused_by_name():
    with pytest.raises(ArithprobeError, match=r"states gave torch.float32 \(2, 12\); expected float64 \(N, D\)"):
        planted_states(X, Y, lambda x, y: sum_and_decoy(x, y).float(), U)
