"""Problems that arithmetic treats alike, and others: what the hand-made models do with them is known."""

import math

import pytest
import torch
from micro import GRID, HANDFUL, Residues, adder, clock, dataset, dim, one_thread, workbench, written  # noqa: F401
from test_ablation import transformer

from arithprobe.interventions.part import Part
from arithprobe.interventions.patching import same_layout_donors
from arithprobe.interventions.symmetry import symmetry_tests
from arithprobe.planted import circuits
from arithprobe.problems.grammar import Layout

MIXED = [(x, y) for x in (0, 3, 7, 9, 10, 12, 40, 99) for y in (5, 16, 9, 61, 99, 98)]
TRADE, RAISE, ROUND = "x + d, y - d", "x + d, y", "x + k, y"


def responses(bench, steps=None, donors=None):
    donors = same_layout_donors(bench, 0) if donors is None else donors
    return {(one.change, one.d): one for one in symmetry_tests(bench, donors, steps)}


@pytest.fixture(scope="module")
def of_the_adder():
    return responses(workbench(adder(), GRID))


def test_what_leaves_the_sum_alone_leaves_the_adders_answer_alone_exactly(of_the_adder):
    found = [one for (change, _), one in of_the_adder.items() if change == TRADE]
    assert [one.d for one in found] == [-5, -2, -1, 1, 2, 5]
    for one in found:
        assert one.response == (0, 0, 0)
        assert (one.demanded, one.distance) == (0, 0)
        assert one.unrelated > 3  # the control: other problems do have other answers
        assert one.n == (10 - abs(one.d)) ** 2


def test_what_raises_the_sum_raises_the_adders_answer_by_exactly_as_much(of_the_adder):
    found = [one for (change, _), one in of_the_adder.items() if change == RAISE]
    assert [one.d for one in found] == [-5, -2, -1, 1, 2, 5]
    for one in found:
        assert one.response == (1, 1, 1)
        assert (one.demanded, one.distance) == (one.d, 0)
        assert one.n == 10 * (10 - abs(one.d))


def test_an_adder_that_stops_counting_is_found_out():
    """It counts to 12: 28 problems have that sum or more; in 7 of them x is 9, the other 21 do not move with x."""
    found = responses(workbench(adder(ceiling=12), GRID), steps=(1,))
    assert found[RAISE, 1].response.fraction == pytest.approx(69 / 90)
    assert found[RAISE, 1].distance == pytest.approx(21 / 90)
    assert found[TRADE, 1].response.fraction == 0  # and yet it treats equal sums alike


@pytest.mark.parametrize(("modulus", "digits"), [(None, 1), (7, 1), (None, 3), (7, 2)])
def test_only_problems_that_stay_in_range_and_keep_their_layout_are_compared(modulus, digits):
    """Counted problem by problem: no digit more or less, nothing below 0 or beyond the largest operand."""
    bench = workbench(transformer(), MIXED, modulus, digits=digits, objective=Residues)
    steps = (1, 2, 5, 10, 50)
    found = responses(bench, steps)
    expected = {}
    for d in sorted([*steps, *(-step for step in steps)]):
        for change, (dx, dy) in {TRADE: (d, -d), RAISE: (d, 0)}.items():
            expected[change, d] = moved(dx, dy, modulus, digits)
    if modulus is not None:
        expected |= {(ROUND, d): moved(d, 0, modulus, digits) for d in (-modulus, modulus)}
    assert {key: one.n for key, one in found.items()} == {key: n for key, n in expected.items() if n >= 2}
    # the control: some are left out, only by the range where there are leading zeros
    assert min(expected.values()) < (2 if digits == 1 else len(MIXED))


def moved(dx, dy, modulus, digits):
    kept = 0
    for x, y in MIXED:
        if 0 <= x + dx <= 99 and 0 <= y + dy <= 99:
            before, after = (written(*pair, modulus, digits) for pair in ((x, y), (x + dx, y + dy)))
            kept += Layout.of(before) == Layout.of(after)
    return kept


def test_leading_zeros_are_digits_like_others():
    """The adder of three digits on the same pairs, once each number 300 higher, which has three digits anyway."""
    of, pairs, found = circuits.adder()[0], [(17 * row % 600, 101 * row % 600) for row in range(60)], []
    for more in (0, 300):
        rows = dataset([(x + more, y + more) for x, y in pairs], digits=3)
        bench = Part(of.model, of.objective, rows, torch.arange(len(rows)), 600.0)
        found.append(responses(bench, steps=(1, 50), donors=torch.arange(len(rows)).roll(1)))
    padded, plain = found
    assert padded.keys() == plain.keys()
    for key, one in padded.items():
        assert one.n == plain[key].n > 40
        assert one.distance < 1e-9 and one.unrelated == pytest.approx(plain[key].unrelated)
        assert one.response.fraction == pytest.approx(int(key[0] == RAISE))


def test_the_range_is_that_of_the_data():
    """Operands 3 to 6: nothing moves out of them though digits would allow it; of (3, 6) and (6, 3) there is one."""
    bench = workbench(adder(), [(x, y) for x in range(3, 7) for y in range(3, 7)])
    found = responses(bench, steps=(1, 3, 4))
    expected = {(TRADE, -1): 9, (TRADE, 1): 9, (RAISE, -3): 4, (RAISE, -1): 12, (RAISE, 1): 12, (RAISE, 3): 4}
    assert {key: one.n for key, one in found.items()} == expected


@pytest.mark.parametrize("digits", [1, 3])
def test_figures_are_those_of_a_model_run_twice(digits):
    """Random weights, and every number again from the answers to both problems of each pair."""
    bench = workbench(transformer(), MIXED, digits=digits)
    donors = same_layout_donors(bench, 0)
    found = {(one.change, one.d): one for one in symmetry_tests(bench, donors)}
    for change, d in [(TRADE, 1), (TRADE, -10), (RAISE, 5)]:
        pairs = [
            (row, (x + d, y - d if change == TRADE else y))
            for row, (x, y) in enumerate(MIXED)
            if 0 <= x + d <= 99 and (change == RAISE or 0 <= y - d <= 99)
        ]
        layouts = [[Layout.of(written(*of, None, digits)) for of in (one, MIXED[row])] for row, one in pairs]
        pairs = [pair for pair, (after, before) in zip(pairs, layouts, strict=True) if after == before]
        rows = torch.tensor([row for row, _ in pairs])
        other = workbench(bench.network, [one for _, one in pairs], digits=digits)
        shift = other.outputs[:, 0] - bench.outputs[rows, 0]
        one = found[change, d]
        assert one.n == len(rows)
        assert one.demanded == (0 if change == TRADE else d)
        assert one.response.fraction == pytest.approx(shift.mean().item() / d)
        assert one.distance == pytest.approx((shift - one.demanded).abs().mean().item())
        away = (donors != torch.arange(len(donors))).nonzero()[:, 0]
        gap = bench.outputs[donors[away], 0] - bench.outputs[away, 0]
        assert one.unrelated == pytest.approx(gap.abs().mean().item())
        for site in bench.network.residual_sites:
            before, after = (b.states[site][torch.arange(len(b)), b.inputs.lengths - 1] for b in (bench, other))
            unrelated = (before[donors[away]] - before[away]).square().sum(dim=1).mean()
            if unrelated > 1e-20:
                expected = (after - before[rows]).square().sum(dim=1).mean() / unrelated
                assert one.hidden[site] == pytest.approx(expected.item())
            else:
                assert site == "embed" and not one.hidden[site] > 0  # the same "?" in every problem of a layout


def test_a_full_turn_leaves_the_clock_alone_and_not_a_model_of_the_plain_sum():
    round_, plain = (responses(workbench(model, GRID, 7), steps=(1,)) for model in (clock(7), adder(7)))
    for d in (-7, 7):
        one = round_[ROUND, d]
        assert (one.n, one.demanded) == (30, 0)
        assert one.distance == pytest.approx(0, abs=1e-9)
        assert one.response.fraction == pytest.approx(0, abs=1e-9)
        assert 1 < one.unrelated < 7
        other = plain[ROUND, d]
        assert (other.n, other.demanded, other.distance) == (30, 0, 7)
        assert other.response == (1, 1, 1)  # all of k
    assert plain[RAISE, 1].response == (1, 1, 1)  # the control: by one step alone nobody could tell
    assert round_[RAISE, 1].response.fraction == pytest.approx(1)
    assert not any(change == ROUND for change, _ in responses(workbench(adder(), GRID)))


def test_a_shift_is_demanded_round_the_circle_the_shorter_way():
    found = responses(workbench(clock(7), GRID, 7, objective=Residues), steps=(1, 2, 5))
    assert {d: found[RAISE, d].demanded for d in (-5, -2, -1, 1, 2, 5)} == {-5: 2, -2: -2, -1: -1, 1: 1, 2: 2, 5: -2}
    for d in (-5, -2, -1, 1, 2, 5):
        assert found[RAISE, d].distance == pytest.approx(0, abs=1e-9)
        assert found[RAISE, d].response.fraction == pytest.approx(found[RAISE, d].demanded / d)
        assert found[TRADE, d].response.fraction == pytest.approx(0, abs=1e-9)


def test_of_numbers_modulo_k_problems_whose_answer_wraps_around_are_left_out():
    """The same clock, whose outputs are taken as numbers: it moves by d where the right answer does not wrap."""
    found = responses(workbench(clock(7), GRID, 7), steps=(1, 2, 5))
    every = responses(workbench(clock(7), GRID, 7, objective=Residues), steps=(1, 2, 5))
    for d in (-5, -2, -1, 1, 2, 5):
        answers = torch.tensor([(x + y) % 7 for x, y in GRID if 0 <= x + d <= 9])
        assert found[RAISE, d].n == int(((answers + d >= 0) & (answers + d < 7)).sum()) < every[RAISE, d].n
        assert found[RAISE, d].demanded == d and found[RAISE, d].distance == pytest.approx(0, abs=1e-9)
        assert found[RAISE, d].response.fraction == pytest.approx(1)
        assert found[TRADE, d].n == every[TRADE, d].n and found[TRADE, d].response.fraction == pytest.approx(
            0, abs=1e-9
        )
    assert found[ROUND, 7].response.fraction == pytest.approx(0, abs=1e-9) and found[ROUND, 7].n == every[ROUND, 7].n


def test_steps_are_those_asked_for_whatever_the_modulus():
    """50 is a step of the default and the modulus too."""
    part = workbench(adder(50), GRID, 50)
    found = responses(part, steps=(1,))
    assert {d for change, d in found if change != ROUND} == {-1, 1}


def test_states_are_apart_by_what_they_keep_of_the_operands():
    """At the last token x and y move by 1 each, and nothing else: the rest depends on the sum.

    HANDFUL and the next of it: x and y are apart by 2 and 2, 2 and 7, 2 and 4, 6 and 1; units by 0, 1, 2 and 3; carry
    in the second and the last; decoy and total by 0, 9, 2 and 7.
    """
    bench = workbench(adder(), HANDFUL)
    found = {(one.change, one.d): one for one in symmetry_tests(bench, torch.tensor([1, 2, 3, 0]), steps=(1,))}
    operands = (4 + 4) + (4 + 49) + (4 + 16) + (36 + 1)
    after_layer_0 = operands + (0 + 1 + 4 + 9) + 2 + (0 + 81 + 4 + 49)
    total = after_layer_0 + (0 + 81 + 4 + 49)
    hidden = found[TRADE, 1].hidden
    assert math.isnan(hidden.pop("embed"))  # the same "?" everywhere
    expected = {
        "resid_mid.0": operands,
        "resid_post.0": after_layer_0,
        "resid_mid.1": total,
        "resid_post.1": total,
        "final": total,
    }
    assert hidden == pytest.approx({site: 4 * 2 / apart for site, apart in expected.items()})
    assert found[TRADE, 1].unrelated == (0 + 9 + 2 + 7) / 4


def test_states_that_hold_the_sum_alone_are_not_apart():
    """The adder whose heads both write to x: it holds x + y, and neither of them."""
    model = adder()
    weights = model.enc.blocks[0].self_attn.out_proj.weight
    weights[dim("x")] += weights[dim("y")]
    weights[dim("y")] = 0
    found = responses(workbench(model, GRID), steps=(2,))
    for d in (-2, 2):
        apart = {site: one for site, one in found[TRADE, d].hidden.items() if site != "embed"}
        assert set(apart.values()) == {0.0}
        assert found[TRADE, d].response.fraction == 0
        assert all(one > 0.05 for site, one in found[RAISE, d].hidden.items() if site != "embed")


def test_a_row_that_is_alone_does_not_make_the_others_look_alike():
    """Its distance to itself is no distance between unrelated problems."""
    three, donors, model = [(2, 3), (4, 1), (6, 8)], torch.tensor([1, 2, 0, 3]), transformer()
    for change in (TRADE, RAISE):
        one, other = (
            next(
                one
                for one in symmetry_tests(workbench(model, rows), donors[: len(rows)], (1,))
                if one.d == 1 and one.change == change
            )
            for rows in (three, [*three, (10, 10)])
        )
        assert one.n == other.n and one.unrelated == pytest.approx(other.unrelated)
        assert one.hidden == pytest.approx(other.hidden, nan_ok=True)


def test_nothing_is_said_of_fewer_than_two_pairs():
    assert symmetry_tests(workbench(adder(), [(9, 9), (9, 9)]), torch.tensor([1, 0])) == []
    found = symmetry_tests(workbench(adder(), HANDFUL), torch.tensor([1, 0, 3, 2]), steps=(1, 50))
    assert {abs(one.d) for one in found} == {1}
    assert all(one.n >= 2 for one in found)
