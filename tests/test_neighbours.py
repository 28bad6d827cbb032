"""Key frequencies beside neighbouring periods: a circle of the modulus keeps them, waves of other periods have none."""

import math

import pytest
import torch
from random_problems import RandomProblems

from arithprobe.analysis.ladder.rules import CARRIED
from arithprobe.analysis.ladder.run import climb
from arithprobe.analysis.probe.planes import plane_targets
from arithprobe.behaviour import Behaviour
from arithprobe.logic import CANNOT_BE_TOLD, FAILS, HOLDS, LEVEL
from arithprobe.probes.circles import best_periods
from arithprobe.probes.claims import Claim, ClaimSurvey
from arithprobe.probes.emergence_survey import EmergenceSurvey, Watched
from arithprobe.probes.fourier import FourierSurvey
from arithprobe.probes.neighbours import Neighbours, is_key_frequency, neighbours_of, state_of_lead
from arithprobe.probes.selective import beside_untrained
from arithprobe.probes.survey import Split
from arithprobe.problems.circles import Circle
from arithprobe.problems.positions import PositionTable

N, D = 1500, 6
LAST = PositionTable(("last",), torch.zeros(N, 1, dtype=torch.int64), torch.ones(N, 1, dtype=torch.bool))
LIVE = Split("sum", 5, (0,), 19)
ALL_FOLDS = Split("sum", 5, None, 19)


def rows_of(modulus, largest=99):
    rows = RandomProblems(N, modulus)
    generator = torch.Generator().manual_seed(1)
    rows.x, rows.y = (torch.randint(0, largest + 1, (N,), generator=generator) for _ in range(2))
    return rows


def waves(rows, period, *frequencies):
    turns = (rows.x + rows.y).double()[:, None] * torch.tensor(frequencies) / period
    return torch.cat([(2 * torch.pi * turns).cos(), (2 * torch.pi * turns).sin()], dim=1)


def surveyed(rows, planted, split, circles=None, noise=0.02):
    """Scores of states that hold some columns each, one a site."""
    generator = torch.Generator().manual_seed(2)
    width = max(D, *(columns.shape[1] for columns in planted))
    states = {}
    for number, columns in enumerate(planted):
        states[f"s{number}"] = noise * torch.randn(N, 1, width, generator=generator, dtype=torch.float64)
        states[f"s{number}"][:, 0, : columns.shape[1]] += columns
    circles = circles or [Circle("residue", rows.circle, tuple(range(1, rows.circle // 2 + 1)))]
    survey = FourierSurvey(rows, list(states), LAST, circles, split, width, relabellings=0)
    survey.update(states, torch.arange(N))
    return survey.scores()[0]


@pytest.mark.parametrize("split", [LIVE, ALL_FOLDS], ids=["live", "all folds"])
@pytest.mark.parametrize("modulus", [97, *(pytest.param(k, marks=pytest.mark.long) for k in (13, 59, 113))])
def test_every_frequency_of_the_modulus_is_a_key_frequency_alone_and_with_others(modulus, split):
    rows = rows_of(modulus)
    sets = [(n,) for n in range(1, modulus // 2 + 1)]
    sets += [(1, 2, 3), (1, 5, modulus // 3), tuple(range(1, modulus // 2 + 1, 5))]
    (scores,) = surveyed(rows, [waves(rows, modulus, *some) for some in sets], split)
    assert [sorted(scores.key_frequencies(site)) for site in scores.sites] == [sorted(some) for some in sets]


def others_of(modulus):
    near = range(max(modulus - 7, 2), modulus + 14)
    periods = [period for period in (*near, modulus // 2, 2 * modulus, 200, 1000) if period % modulus]
    return [(period, n) for period in periods for n in (1, 2, 7, period // 3) if 0 < 2 * n <= period]


@pytest.mark.parametrize("split", [LIVE, ALL_FOLDS], ids=["live", "all folds"])
@pytest.mark.parametrize("modulus", [97, *(pytest.param(k, marks=pytest.mark.long) for k in (13, 59, 113))])
@pytest.mark.parametrize("largest", [99, pytest.param(999, marks=pytest.mark.long)])
def test_waves_of_other_periods_and_the_line_have_no_key_frequency(modulus, largest, split):
    """By permuted labels alone nearly all have one: that is the control."""
    rows = rows_of(modulus, largest)
    planted = [waves(rows, *one) for one in others_of(modulus) if (modulus * one[1]) % one[0]]
    total = (rows.x + rows.y).double()[:, None] / largest
    bumps = torch.exp(-(((total - torch.linspace(0, 2, 6)) / 0.3) ** 2))
    (scores,) = surveyed(rows, [*planted, total, bumps], split)
    assert [scores.key_frequencies(site) for site in scores.sites] == [[] for _ in scores.sites]
    above = sum(bool(scores.other_waves(site)) for site in scores.sites)
    assert above > len(scores.sites) / 2 or modulus == 13 or largest == 999


def test_a_circle_of_period_100_is_a_slow_wave_and_said_to_be():
    rows = rows_of(97, 999)
    (scores,) = surveyed(rows, [waves(rows, 100, 1), waves(rows, 97, 1)], LIVE)
    assert scores.r2[0, 0, 0] > 0.3 and scores.p_max[0, 0, 0] <= 0.05
    assert scores.other_waves("s0")[1] == "a slow wave, not of period 97" and scores.key_frequencies("s0") == []
    assert scores.at("s0")[0]["of_period"] == FAILS
    assert scores.key_frequencies("s1") == [1] and scores.at("s1")[0]["of_period"] == HOLDS  # the control


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_noise_makes_a_circle_that_cannot_be_told_and_none_of_another_period(noise):
    rows = rows_of(97)
    (scores,) = surveyed(rows, [waves(rows, 97, n) for n in range(1, 49)], ALL_FOLDS, noise=noise)
    said = [scores.other_waves(f"s{n - 1}").get(n, "") for n in range(1, 49)]
    assert not any("not of period" in words for words in said)
    assert sum(CANNOT_BE_TOLD in words for words in said) >= 1


def test_small_periods_are_compared_too():
    """Of x + y modulo 7, from states that hold it modulo 97 at the frequency nearest to it, and from a circle of 7."""
    rows = rows_of(97)
    circles = [Circle("sum", 7, (1, 2, 3)), Circle("sum", 10, (1, 2, 3, 4, 5))]
    small = surveyed(rows, [waves(rows, 97, 14), waves(rows, 7, 1)], ALL_FOLDS, circles)
    other, own = (best_periods(small, site)[0] for site in ("s0", "s1"))
    assert other.r2 > 0.3 and other.above_null and not other.found and other.of_period == FAILS
    assert other.other_wave == "a wave near it, not of period 7"
    assert own.found and own.other_wave == "" and own.neighbour < own.r2


def test_the_waves_compared_with_are_those_of_the_periods_beside_and_of_the_span():
    """Of sums to 198: beside frequency 1 of 97 those of 96 and 98; beside 40 a quarter of a turn, which is nearer."""
    rows = rows_of(97)
    total = rows.x + rows.y
    span = float(total.max() - total.min())
    found = neighbours_of(Circle("residue", 97, (1, 40)), rows)
    turns = [
        [
            float(one.name.split("beside")[1])
            for one, wave in zip(found.targets, found.waves, strict=True)
            if wave.beside == index and wave.must_be_worse
        ]
        for index in (0, 1)
    ]
    expected = [
        [1 / 98, 1 / 96, 1 / 97 - 1 / span, 1 / 97 + 1 / span],
        [40 / 97 - 0.25 / span, 40 / 97 + 0.25 / span, 40 / 97 - 1 / span, 40 / 97 + 1 / span],
    ]
    assert [sorted(some) for some in turns] == [pytest.approx(sorted(some), abs=1e-6) for some in expected]


def test_where_no_neighbour_varies_it_cannot_be_told():
    best, lead = Neighbours((), ()).compare(torch.ones(2, 1, 1), [], 40)
    assert best.isnan().all() and lead.isnan().all() and state_of_lead(float(lead[0])) == CANNOT_BE_TOLD


# one function says what a key frequency is, wherever frequencies are named

CIRCLE = Circle("residue", 97, (1, 2, 3, 4, 5, 6))


def seen(survey, columns):
    """A survey, after states at one site that hold some columns."""
    states = 0.02 * torch.randn(N, 1, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    states[:, 0, : columns.shape[1]] += columns
    survey.update({"s0": states}, torch.arange(N))
    return survey


def named_everywhere(columns):
    """The key frequencies of states that hold some columns, as each analysis names them, and the Fourier scores."""
    rows, where = rows_of(97), (["s0"], LAST)
    rows.positions = lambda names: LAST
    circled = seen(FourierSurvey(rows, *where, [CIRCLE], ALL_FOLDS, 8, relabellings=0), columns)
    (scores,), _ = circled.scores()
    claim = seen(ClaimSurvey(Claim("residue", CIRCLE), rows, *where, ALL_FOLDS, 8), columns).scores()
    unlearned = Behaviour("NOT LEARNED", "of no matter", N, *[math.nan] * 11)
    (ladder,) = climb(unlearned, [claim], beside_untrained([claim.r2], [[]]), None)
    watched = seen(EmergenceSurvey(rows, ["s0"], Watched((), CIRCLE, ()), ALL_FOLDS, 8), columns)
    cleared = watched.readings(0).cleared[:, 0]
    planes = {name for name in plane_targets(scores) if "+" in name}
    return scores, {
        "fourier": sorted(scores.key_frequencies("s0")),
        "cells": [cell["frequency"] for cell in scores.cells() if cell["key"]],
        "planes": sorted(int(n) for name in planes for n in name.rpartition("f")[2].split("+")),
        "ladder": list(ladder.own.frequencies),
        "emergence": [n for n, kept in zip(CIRCLE.frequencies, cleared.tolist(), strict=True) if kept],
    }


@pytest.mark.slow
def test_no_analysis_names_a_wave_above_its_null_that_a_neighbouring_period_reads_as_well():
    """A circle of 100 is read as frequency 1 of 97, with more than half of the variance; 3 and 5 are the control."""
    rows = rows_of(97)
    scores, found = named_everywhere(torch.cat([waves(rows, 100, 1), waves(rows, 97, 3, 5)], dim=1))
    assert scores.r2[0, 0, 0] > CARRIED and scores.p_max[0, 0, 0] <= LEVEL and not scores.key[0, 0, 0]
    assert found == {name: [3, 5] for name in found}


@pytest.mark.slow
def test_every_analysis_names_the_frequencies_that_are_of_the_period():
    _, found = named_everywhere(waves(rows_of(97), 97, 1, 3, 5))
    assert found == {name: [1, 3, 5] for name in found}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, True),
        ({"r2": 0.0}, False),
        ({"p": 0.051}, False),
        ({"lead": 1.95}, False),
        ({"lead": -5.0}, False),
        *(({name: math.nan}, False) for name in ("r2", "p", "lead")),
    ],
)
def test_a_key_frequency_is_above_its_null_and_its_neighbours_as_a_number_and_as_a_tensor(changed, expected):
    given = {"r2": 0.3, "p": 0.05, "lead": 2.0} | changed
    assert is_key_frequency(**given) is expected
    assert bool(is_key_frequency(**{name: torch.tensor(value) for name, value in given.items()})) is expected
