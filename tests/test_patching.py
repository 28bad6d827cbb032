"""Patching puts in what another run had, interchange what arithmetic demands, and an illusion is called one."""

import math

import numpy as np
import pytest
import torch
from micro import GRID, HANDFUL, Residues, ablator, adder, axes, clock, dim, moments, one_thread, positions, workbench  # noqa: F401
from scipy.stats import t as student
from test_ablation import SHORT, SITES, D, direction, transformer

from arithprobe.behaviour import difference
from arithprobe.errors import ArithprobeError
from arithprobe.interventions.erasure import Eraser, fit_erasers
from arithprobe.interventions.interchange import interchange, row_space_of
from arithprobe.interventions.patching import (
    answer_gap,
    paired_rows,
    patching_map,
    recovered_fraction,
    same_layout_donors,
    whole_state_answers,
)
from arithprobe.linalg import random_subspaces
from arithprobe.models.hooks import edit
from arithprobe.models.objectives import ScaledMSE
from arithprobe.probes.splits import blocks_of
from arithprobe.problems.counterfactual import answer_per_unit, counterfactual
from arithprobe.problems.grammar import Problem
from arithprobe.problems.positions import PositionTable
from arithprobe.problems.quantities import Sums

BASE_LINE = ["embed", *(f"resid_{end}.{layer}" for layer in (0, 1) for end in ("mid", "post")), "final"]


@pytest.fixture(scope="module")
def bench():
    return workbench(transformer(), SHORT, constant=40.0)


def slope_of(change, gap, group):
    """Slope through the origin and its interval, block by block."""
    block = blocks_of(group)
    left = [float((change * gap)[block != one].sum() / (gap * gap)[block != one].sum()) for one in block.unique()]
    g = len(left)
    margin = student.ppf(0.975, g - 1) * math.sqrt((g - 1) / g * sum((one - sum(left) / g) ** 2 for one in left))
    slope = float((change * gap).sum() / (gap * gap).sum())
    return slope, slope - margin, slope + margin


@pytest.mark.parametrize("site", BASE_LINE)
def test_the_whole_state_at_all_positions_gives_the_answer_of_the_source(bench, site):
    donors = same_layout_donors(bench, 0)
    before, every = bench.outputs[:, 0], positions(bench, "role")
    after = whole_state_answers(bench, site, every, donors)
    torch.testing.assert_close(after, before[donors], atol=1e-10, rtol=0)
    assert recovered_fraction(after - before, before[donors] - before, bench.dataset.x[bench.rows])[0] == pytest.approx(
        1
    )
    if site != "final":  # the control: less than the whole state gives another answer
        some = positions(bench, "x1", "x10")
        assert (whole_state_answers(bench, site, some, donors) - before[donors]).abs().max() > 1e-6


@pytest.mark.parametrize("site", ["attn_out.0", "mlp_out.0", "attn_out.1", "mlp_out.1"])
def test_the_output_of_one_part_is_not_the_whole_state(bench, site):
    donors = same_layout_donors(bench, 0)
    after = whole_state_answers(bench, site, positions(bench, "role"), donors)
    assert (after - bench.outputs[donors, 0]).abs().max() > 1e-3


@pytest.mark.parametrize("site", SITES)
def test_a_cell_of_the_map_is_the_patch_of_a_hook(bench, site):
    """Position by position, in all four layouts; what a row has not is not counted."""
    donors, names = same_layout_donors(bench, 0), ("x10", "plus", "y10", "query")
    table = positions(bench, *names)
    found = patching_map(bench, [site], table, donors)
    before = bench.outputs[:, 0]
    for column, name in enumerate(names):
        has = table.valid[:, column]
        rows, token = has.nonzero()[:, 0], table.token[has, column]
        source = bench.states[site][donors[rows], token]
        with torch.no_grad(), edit(bench.network, site, lambda state, source=source: source, token):
            after = bench.network(bench.dataset.ids[rows].long(), bench.inputs.lengths[rows])[:, 0]
        gap, group = (before[donors] - before)[rows], (bench.group)[rows]
        expected = slope_of(after - before[rows], gap, group)
        cell = found.recovered[0, column], found.low[0, column], found.high[0, column]
        assert torch.stack(cell).tolist() == pytest.approx(expected, abs=1e-9), name
        assert found.n[column] == len(rows)
    assert found.gap == pytest.approx((before[donors] - before).square().mean().sqrt().item())


def test_rows_without_a_partner_and_positions_that_hardly_any_row_has_are_left_out():
    bench = workbench(transformer(), [(1, 2), (3, 4), (5, 6), (50, 6)])
    donors = same_layout_donors(bench, 0)
    found = patching_map(bench, ["embed", "final"], positions(bench, "x10", "x1"), donors)
    assert found.n == (0, 3)
    assert bool(found.recovered[:, 0].isnan().all()) and bool(found.recovered[:, 1].isfinite().all())
    three = workbench(transformer(), [(1, 2), (3, 4), (5, 6)])
    alone = patching_map(three, ["embed", "final"], positions(three, "x1"), donors[:3])
    for name in ("recovered", "low", "high"):  # the intervals too: nothing of a row without a partner
        torch.testing.assert_close(getattr(found, name)[:, 1:], getattr(alone, name))
    assert found.gap == pytest.approx(alone.gap)


def test_nobody_is_patched_with_himself():
    bench = workbench(adder(), HANDFUL)
    itself, table = torch.arange(4), positions(bench, "last")
    with pytest.raises(
        ArithprobeError, match="4 rows, and 0 of them have another of the same layout; patching needs two"
    ):
        patching_map(bench, ["embed"], table, itself)
    with pytest.raises(ArithprobeError, match="and 1 of them have another"):
        patching_map(bench, ["embed"], table, torch.tensor([1, 1, 2, 3]))
    assert paired_rows(torch.tensor([1, 0, 2, 3])).tolist() == [True, True, False, False]
    eraser, none = axes(bench, "embed", table, "sum", "digit"), bench.outputs
    with pytest.raises(ArithprobeError, match="patching needs two or more"):
        interchange(bench, eraser, table, itself, none, none[None])


def test_recovered_fraction_is_a_slope_through_the_origin_with_a_jackknife_over_sums():
    generator = torch.Generator().manual_seed(0)
    gap, noise = (torch.randn(200, generator=generator, dtype=torch.float64) for _ in range(2))
    group = torch.randint(0, 40, (200,), generator=generator)
    found = recovered_fraction(0.7 * gap + 0.3 * noise, gap, group)
    assert found == pytest.approx(slope_of(0.7 * gap + 0.3 * noise, gap, group), rel=1e-12)
    assert found.low < 0.7 < found.high < 1  # 1 and 0 are ruled out
    exact = recovered_fraction(0.7 * gap, gap, group)
    assert exact == pytest.approx((0.7, 0.7, 0.7))
    assert recovered_fraction(-gap, gap, group).fraction == pytest.approx(-1)


def test_a_fraction_of_no_gap_or_of_one_block_has_no_interval():
    one = torch.ones(5, dtype=torch.float64)
    fraction, low, high = recovered_fraction(one, one, torch.zeros(5, dtype=torch.int64))
    assert fraction == 1 and math.isnan(low) and math.isnan(high)
    assert all(math.isnan(part) for part in recovered_fraction(one, 0 * one, torch.arange(5)))


def by_hand(target, base, source, modulus):
    """The answer with one quantity swapped, by adding in columns with one digit or carry overwritten."""
    (x, y), (u, v) = base, source
    digits = [list(map(int, reversed(f"{number:04d}"))) for number in (x, y, u, v, x + y, u + v)]
    if target in ("x", "y", "sum", "residue"):
        answer = {"x": u + y, "y": x + v}.get(target, u + v)
    elif target.startswith(("x", "y")):
        place = len(target) - 2
        own, other = (0, 2) if target[0] == "x" else (1, 3)
        digits[own][place] = digits[other][place]
        answer = sum(10**power * (digits[0][power] + digits[1][power]) for power in range(4))
    elif target.startswith("sum"):
        place = len(target) - 4
        digits[4][place] = digits[5][place]
        answer = sum(10**power * one for power, one in enumerate(digits[4]))
    else:
        place = len(target) - 6

        def carries(one, other):
            out, into = [], 0
            for power in range(4):
                into = int(one[power] + other[power] + into >= 10)
                out.append(into)
            return out

        answer = (
            x + y + 10 ** (place + 1) * (carries(digits[2], digits[3])[place] - carries(digits[0], digits[1])[place])
        )
    return answer if modulus is None else answer % modulus


TARGETS = [
    "x",
    "y",
    "sum",
    "x1",
    "x10",
    "x100",
    "y1",
    "y10",
    "y100",
    "sum1",
    "sum10",
    "sum100",
    "sum1000",
    "carry1",
    "carry10",
    "carry100",
]


@pytest.mark.parametrize("modulus", [None, 97, 10])
@pytest.mark.parametrize("target", [*TARGETS, "residue"])
def test_the_answer_that_arithmetic_demands_is_that_of_column_addition(target, modulus):
    generator = torch.Generator().manual_seed(1)
    x, y, u, v = torch.randint(0, 1000, (4, 300), generator=generator)
    found = counterfactual(target, Sums(x, y, modulus), Sums(u, v, modulus))
    rows = zip(x.tolist(), y.tolist(), u.tolist(), v.tolist(), strict=True)
    assert found.tolist() == [by_hand(target, (a, b), (c, d), modulus) for a, b, c, d in rows]
    same = counterfactual(target, Sums(x, y, modulus), Sums(x, y, modulus))  # from itself: nothing new
    assert same.tolist() == [Problem(a, b, modulus).answer for a, b in zip(x.tolist(), y.tolist(), strict=True)]


def test_a_circle_of_the_residue_says_what_the_answer_is_another_period_does_not():
    base, source = (Sums(torch.tensor(x), torch.tensor(y), 97) for x, y in (([57, 90], [65, 9]), ([12, 80], [30, 44])))
    for target in ("residuemod97", "residuemod97f1", "summod97f3to12", "residue"):
        assert counterfactual(target, base, source).tolist() == [42, 27]
    for target, modulus in [("summod10", 97), ("residuemod10f1", 97), ("summod97", None), ("xmod10", None)]:
        assert counterfactual(target, *(Sums(one.x, one.y, modulus) for one in (base, source))) is None


@pytest.mark.parametrize("modulus", [97, 10])
def test_a_circle_of_x_that_tells_its_residues_apart_says_what_the_answer_is(modulus):
    """Whatever x is swapped for, the answer is that of the other x, as far as the modulus sees."""
    x, y, u, v = torch.randint(0, 1000, (4, 300), generator=torch.Generator().manual_seed(2))
    for name in (f"mod{modulus}", f"mod{modulus}f1", f"mod{modulus}f2+3"):
        assert (
            counterfactual(f"x{name}", Sums(x, y, modulus), Sums(u, v, modulus)).tolist()
            == ((u + y) % modulus).tolist()
        )
        assert (
            counterfactual(f"y{name}", Sums(x, y, modulus), Sums(u, v, modulus)).tolist()
            == ((x + v) % modulus).tolist()
        )
        for target in (f"x{name}", f"y{name}"):  # without that modulus it is not told
            assert counterfactual(target, Sums(x, y, None), Sums(u, v, None)) is None
            assert counterfactual(target, Sums(x, y, modulus + 1), Sums(u, v, modulus + 1)) is None
    for target in ("xmod10f2", "xmod10f2+4", "ymod10f5", "summod10f2"):  # these tell less than the residue
        assert counterfactual(target, Sums(x, y, 10), Sums(u, v, 10)) is None


def test_what_a_unit_is_worth_is_what_arithmetic_demands():
    """Whether of x, of a tens digit, or of a carry: the difference of two demanded answers."""
    x, y = torch.tensor([220]), torch.tensor([310])
    for target, (u, v) in {
        "x": (221, 310),
        "y": (220, 311),
        "sum": (220, 311),
        "x10": (230, 310),
        "y100": (220, 410),
        "sum1": (221, 310),
        "carry1": (225, 315),
        "carry10": (290, 310),
    }.items():
        moved = counterfactual(target, Sums(x, y), Sums(torch.tensor([u]), torch.tensor([v])))
        assert float(moved - x - y) == answer_per_unit(target), target
    assert answer_per_unit("residue") == 1 and answer_per_unit("summod10") is None


def test_shifts_go_the_shorter_way_round():
    after, before = torch.tensor([96.0, 1.0, 50.0, 60.0]), torch.tensor([1.0, 96.0, 1.0, 50.0])
    assert difference(after, before, 97).tolist() == [-2, 2, -48, 10]
    assert difference(after, before, None).tolist() == [95, -95, 49, 10]


def swap(bench, eraser, table, donors, draws=19):
    run = ablator(bench, eraser.site, table, donors)
    swapped = run.without("resample", eraser.left[None], eraser.right[None])[0]
    generator, width = np.random.default_rng(0), run.states.shape[-1]
    random = torch.from_numpy(np.stack([random_subspaces(width, 1, draws, generator) for _ in table.names], axis=1))
    return interchange(bench, eraser, table, donors, swapped, run.without("resample", random, random))


def along(bench, site, table, **weights):
    """Eraser of one direction, given by its components."""
    column = torch.zeros(len(table.names), D, 1, dtype=torch.float64)
    for name, weight in weights.items():
        column[:, dim(name), 0] = weight
    column = column / column.norm(dim=1, keepdim=True)
    return Eraser("sum", "probe", site, table.names, column, column, torch.zeros(len(table.names), D).double())


def test_half_of_a_shift_is_half_of_it_on_the_line_of_numbers_and_round_the_circle_of_residues():
    """Answers halfway to what is demanded: a model of numbers is judged on its line, whatever the modulus of the rows.

    Round the circle halfway from 6 to 0 is a quarter turn away from both, the other way round. The other kind of model
    beside each is the control.
    """
    numbers, residues = (workbench(clock(7), GRID, 7, objective=kind) for kind in (ScaledMSE, Residues))
    table, donors = positions(numbers, "last"), same_layout_donors(numbers, 0)
    eraser = axes(numbers, "final", table, "residue", "total")
    before, wanted = (numbers.answers[rows].double() for rows in (torch.arange(100), donors))
    on_the_line = before + (wanted - before) / 2
    round_it = before + difference(wanted, before, 7) / 2
    none = torch.zeros(1, 100, 1, dtype=torch.float64)

    def share(bench, answers):
        return interchange(bench, eraser, table, donors, answers[:, None], none).recovered.fraction

    assert share(numbers, on_the_line) == pytest.approx(0.5) != pytest.approx(share(residues, on_the_line))
    assert share(residues, round_it) == pytest.approx(0.5) != pytest.approx(share(numbers, round_it))
    for bench in (numbers, residues):
        assert share(bench, wanted) == pytest.approx(1) and share(bench, before) == pytest.approx(0, abs=1e-9)
        assert swap(bench, eraser, table, donors).exact_match == 1
    gap = answer_gap(numbers, donors)
    torch.testing.assert_close(gap, wanted - before)
    assert gap.abs().max() > answer_gap(residues, donors).abs().max()


def test_an_illusion_recovers_and_the_part_that_is_seen_exposes_it():
    """The decoy says the sum and does nothing; spare does something and says nothing: half of each reads and writes.

    After layer 0 the sum is not at the last token yet, in nothing that is read. Still, swapping the diagonal moves the
    answer: by what the decoy says, written with 1/sqrt 2 twice, to spare.
    """
    bench = workbench(adder(), GRID)
    table, donors = positions(bench, "last"), same_layout_donors(bench, 0)
    found = swap(bench, along(bench, "resid_post.0", table, decoy=1, spare=1), table, donors)
    assert found.recovered.fraction == pytest.approx(0.5)
    assert found.recovered.low > 0.4
    assert (found.row_space, found.null_space) == pytest.approx((0, 0), abs=1e-9)
    assert found.whole_state == 0  # the control that calls it an illusion without a look at gradients
    strong = swap(bench, along(bench, "resid_post.0", table, decoy=1, spare=3), table, donors)
    assert strong.recovered.fraction == pytest.approx(0.3)  # 1 * 3 / 10
    assert strong.row_space == pytest.approx(0, abs=1e-9)


def test_a_genuine_direction_keeps_its_effect_in_the_part_that_is_seen():
    """The other side: one layer on, where the sum is in total."""
    bench = workbench(adder(), GRID)
    table, donors = positions(bench, "last"), same_layout_donors(bench, 0)
    for direction_of in ({"total": 1}, {"total": 1, "nothing": 0.5}):
        found = swap(bench, along(bench, "resid_mid.1", table, **direction_of), table, donors)
        share = 1 / sum(weight**2 for weight in direction_of.values())
        assert found.recovered.fraction == pytest.approx(share)
        assert found.row_space == pytest.approx(1)
        assert found.null_space == pytest.approx(0, abs=1e-9)
        assert found.whole_state == pytest.approx(1)


def turned(model, seed=0):
    """The same model with the axes of its residual stream turned at random: no dimension has a meaning any more."""
    turn = torch.from_numpy(np.linalg.qr(np.random.default_rng(seed).standard_normal((D, D)))[0])
    for table in (model.tok, model.pos):
        table.weight.copy_(table.weight @ turn.T)
    readers = [part for one in model.enc.blocks for part in (one.self_attn.in_proj_weight, one.linear1.weight)]
    for reader in (*readers, model.readout.weight):
        reader.copy_(reader @ turn.T)
    for block in model.enc.blocks:
        for writer in (block.self_attn.out_proj, block.linear2):
            writer.weight.copy_(turn @ writer.weight)
            writer.bias.copy_(turn @ writer.bias)
    return model, turn


@pytest.mark.parametrize("precision", [torch.float64, torch.float32])
def test_illusion_and_genuine_direction_are_told_apart_in_any_basis(precision):
    model, turn = turned(adder())
    bench = workbench(model.to(precision), GRID)
    table, donors = positions(bench, "last"), same_layout_donors(bench, 0)
    assert (bench.outputs[:, 0] - bench.answers).abs().max() < 1e-3
    seen = row_space_of(bench, "resid_post.0", table)
    read = (turn[:, dim("total")] + turn[:, dim("spare")]) / 2**0.5
    torch.testing.assert_close(seen.projector[0], torch.outer(read, read), atol=1e-5, rtol=0)
    assert seen.null_dimensions == 15
    expected = {
        ("resid_post.0", "decoy", "spare"): (0.5, 0, 0),
        ("resid_mid.1", "total", "total"): (1, 1, 0),
        ("resid_mid.1", "decoy", "decoy"): (0, 0, 0),
        ("resid_post.0", "decoy", "decoy"): (0, 0, 0),
    }
    for (site, one, other), figures in expected.items():
        plain = along(bench, site, table, **{one: 1, other: 1})
        eraser = Eraser("sum", "probe", site, table.names, turn @ plain.left, turn @ plain.right, plain.mean)
        found = swap(bench, eraser, table, donors)
        found = (found.recovered.fraction, found.row_space, found.null_space)
        assert found == pytest.approx(figures, abs=1e-4 if precision == torch.float32 else 1e-9), (site, one, other)


@pytest.mark.parametrize("site", SITES)
def test_the_part_that_is_not_seen_does_nothing_in_any_model(bench, site):
    """Also where all is seen: then there is no such part, and rounding is not made one."""
    table, donors = positions(bench, "last"), same_layout_donors(bench, 0)
    run = ablator(bench, site, table, donors)
    width = bench.network.width(site)
    for seed in range(5):
        line = random_subspaces(width, 1, 1, np.random.default_rng(seed))
        found = swap(bench, direction(run, line), table, donors)
        assert found.null_space == pytest.approx(0, abs=1e-12)
        if found.null_dimensions == 0:
            assert found.row_space == pytest.approx(found.recovered.fraction, rel=1e-6)


def test_an_oblique_subspace_keeps_its_effect_too():
    """LEACE of the sum where it is written: its two sides differ, and swapping it is swapping the sum."""
    bench = workbench(adder(), GRID)
    table, donors = positions(bench, "equals"), same_layout_donors(bench, 0)
    here = moments(bench, "resid_post.0", table)
    eraser = fit_erasers("leace", here, target="sum", site="resid_post.0", positions=table.names)
    assert (eraser.left - eraser.right).abs().max() > 0.1
    found = swap(bench, eraser, table, donors)
    figures = (found.recovered.fraction, found.exact_match, found.row_space, found.whole_state)
    assert figures == pytest.approx((1, 1, 1, 1))
    assert found.null_space == pytest.approx(0, abs=1e-9)


def test_a_residue_is_swapped_round_its_circle():
    """Cosine and sine together give the residue of the other problem; one of them alone is no point of the circle."""
    bench = workbench(clock(7), GRID, 7)
    table, donors = positions(bench, "equals"), same_layout_donors(bench, 0)
    for names, share, exact in [(("cos", "sin"), 1.0, 1.0), (("units", "carry"), 0.0, 0.0)]:
        eraser = axes(bench, "resid_post.0", table, "residuemod7f1", *names)
        found = swap(bench, eraser, table, donors)
        assert found.recovered.fraction == pytest.approx(share) and found.exact_match == exact
        assert found.n == int((bench.answers[donors] != bench.answers).sum())
    eraser = axes(bench, "resid_post.0", table, "residuemod7f1", "cos")
    assert swap(bench, eraser, table, donors).exact_match < 0.6


def test_a_target_that_does_not_say_what_the_answer_would_be_is_not_scored():
    bench = workbench(adder(), HANDFUL)
    table, donors = positions(bench, "last"), same_layout_donors(bench, 0)
    assert swap(bench, axes(bench, "final", table, "summod7", "total"), table, donors) is None


def test_donors_with_the_same_quantity_tell_nothing():
    bench = workbench(adder(), [(2, 3), (2, 6), (2, 5)])
    table, donors = positions(bench, "x1"), torch.tensor([1, 2, 0])
    assert swap(bench, axes(bench, "embed", table, "x", "digit"), table, donors) is None
    table = positions(bench, "y1")  # the control
    assert swap(bench, axes(bench, "embed", table, "y", "digit"), table, donors) is not None


def test_several_positions_are_swapped_together():
    """The digit at one token and at the other: the sum of the donor, and the part that is seen is all of it."""
    bench = workbench(adder(), GRID)
    table, donors = positions(bench, "x1", "y1"), same_layout_donors(bench, 0)
    found = swap(bench, axes(bench, "embed", table, "sum", "digit"), table, donors)
    assert (found.exact_match, found.recovered.fraction, found.row_space) == pytest.approx((1, 1, 1))
    assert found.null_space == pytest.approx(0, abs=1e-9)


def test_a_position_that_a_row_has_not_is_not_swapped(bench):
    donors, names = same_layout_donors(bench, 0), ("x10", "y1")
    table = positions(bench, *names)
    eraser = direction(ablator(bench, "embed", table, donors), random_subspaces(D, 1, 2, np.random.default_rng(0)))
    seen = row_space_of(bench, "embed", table)
    rows = table.valid[:, 0]
    short = PositionTable(("x10",), table.token[rows][:, :1], table.valid[rows][:, :1])
    part = workbench(transformer(), [pair for pair, kept in zip(SHORT, rows.tolist(), strict=True) if kept])
    torch.testing.assert_close(row_space_of(part, "embed", short).projector[0], seen.projector[0], atol=1e-6, rtol=0)
    assert swap(bench, eraser, table, donors).n == len(SHORT)
