"""What leaves ``x + y`` alone leaves the answer of an adder alone, and not that of a model that reads x."""

import math

import pytest
import torch
from micro import GRID, adder, clock, dataset, dim, of_texts, one_thread, written  # noqa: F401
from test_ablation import transformer

from arithprobe.analysis.invariance import FEWEST, SHIFTS, invariance
from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.models.objectives import CircularMSE, ResidueCrossEntropy, ScaledMSE
from arithprobe.models.transformer import TinyTransformer
from arithprobe.planted import circuits
from arithprobe.problems.grammar import Layout, Problem, task_title
from arithprobe.tokenizer import encode

MIXED = [(x, y) for x in (0, 3, 7, 9, 10, 12, 40, 99, 998) for y in (5, 16, 9, 61, 99, 98, 997)]


def loaded(model, objective=None, modulus=None):
    objective = ScaledMSE(1.0) if objective is None else objective
    return LoadedModel("by hand", "by hand", model, objective, None, task_title(modulus))


def random_model(n_outputs=1, **more):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TinyTransformer(16, 2, 2, 32, dropout=0.0, n_outputs=n_outputs, **{"max_len": 32} | more)
    return model.double().eval().requires_grad_(False)


def answer(of, text):
    """One prompt, alone, without padding."""
    ids = encode(text)[None]
    return of.objective.decode(of.model(ids, torch.tensor([ids.shape[1]]))).item()


def apart(after, before, circle):
    change = after - before
    return change if circle is None else (change + circle / 2) % circle - circle / 2


@pytest.mark.parametrize(
    ("modulus", "objective", "digits"),
    [
        (None, ScaledMSE(50.0), 1),
        (7, ScaledMSE(5.0), 1),
        (7, ResidueCrossEntropy(7), 1),
        (7, CircularMSE(7, (1, 3)), 1),
        (None, ScaledMSE(50.0), 3),
        (7, ScaledMSE(5.0), 4),
    ],
)
def test_all_figures_are_those_of_a_plain_loop(modulus, objective, digits):
    """Of numbers as they are, and of numbers with leading zeros, which the shifted problems have too."""
    of, rows = loaded(random_model(objective.n_outputs), objective, modulus), dataset(MIXED, modulus, digits)
    found = invariance(of, rows, (-3, 0, 1, 40), batch_size=10)
    circle = modulus if objective.residues else None
    own = [answer(of, written(x, y, modulus, digits)) for x, y in MIXED]
    right = [x + y if modulus is None else (x + y) % modulus for x, y in MIXED]
    assert found.circle == circle and found.operands == (0, 998)
    for column, d in enumerate(found.shifts):
        errors, kept_errors, own_errors, distances, longer, outside = [], [], [], [], 0, 0
        for (x, y), before, truth in zip(MIXED, own, right, strict=True):
            before_text, text = written(x, y, modulus, digits), written(x + d, y - d, modulus, digits)
            after = answer(of, text)
            errors.append(apart(after, truth, circle) ** 2)
            longer += len(text) != len(before_text)
            inside = 0 <= x + d <= 998 and 0 <= y - d <= 998
            outside += not inside
            if inside and Layout.of(text) == Layout.of(before_text):
                kept_errors.append(errors[-1])
                own_errors.append(apart(before, truth, circle) ** 2)
                distances.append(abs(apart(after, before, circle)))
        assert (found.out_of_range[column], found.changed_length[column]) == (outside, longer)
        assert found.kept[column] == len(distances) >= FEWEST
        assert found.mse[column].item() == pytest.approx(sum(errors) / len(errors), abs=1e-9)
        assert found.kept_mse[column].item() == pytest.approx(sum(kept_errors) / len(kept_errors), abs=1e-9)
        assert found.kept_own_mse[column].item() == pytest.approx(sum(own_errors) / len(own_errors), abs=1e-9)
        index = found.index[column].item() * found.unrelated
        assert index == pytest.approx(sum(distances) / len(distances), abs=1e-9)
    assert max(found.out_of_range) > 0 and max(found.changed_length) > 0 and found.kept[1] == len(MIXED)
    assert found.own_mse == found.mse[1].item() == found.kept_mse[1].item()


def test_an_exact_adder_does_not_care():
    found = invariance(loaded(adder()), dataset(GRID))
    assert found.shifts == SHIFTS and found.own_mse == 0
    assert found.index.tolist() == found.kept_mse.tolist() == found.kept_own_mse.tolist() == [0.0] * len(SHIFTS)
    assert found.kept == tuple((10 - abs(d)) ** 2 for d in SHIFTS)
    assert found.unrelated > 3
    # the control: it reads characters by their place, so that all problems tell another story
    assert all((error > 1) == (d != 0) for d, error in zip(SHIFTS, found.mse.tolist(), strict=True))


def test_an_exact_adder_of_three_digits_does_not_care():
    found = invariance(*circuits.adder(rows=200))
    assert found.index.max() < 1e-9 and found.kept_mse.max() < 1e-9 and found.mse.max() > 1


def test_leading_zeros_are_digits_like_others():
    """The same adder on the same pairs, once each number 300 higher, which has three digits anyway."""
    model, _ = circuits.adder()
    pairs = [(17 * row % 600, 101 * row % 600) for row in range(200)]
    padded, plain = (
        invariance(model, dataset([(x + more, y + more) for x, y in pairs], digits=3), (-50, -1, 0, 1, 50))
        for more in (0, 300)
    )
    assert (padded.kept, padded.out_of_range) == (plain.kept, plain.out_of_range)
    assert min(padded.kept) > 150 and padded.index.max() < 1e-9 and plain.index.max() < 1e-9
    below = [sum(min(x + d, y - d) < 0 for x, y in pairs) for d in padded.shifts]  # a sign is one character more
    assert padded.changed_length == tuple(below) and plain.changed_length == (0, 0, 0, 0, 0)


def test_a_file_may_have_rows_with_leading_zeros_and_rows_without():
    """They are told by their layouts: "8 + 8" loses no room by "08 + 08", of which "10 + 09" may become "09 + 10"."""
    texts = [*["8 + 8 = ?", "08 + 08 = ?", "10 + 09 = ?", "10 + 9 = ?"] * 10, "00 + 20 = ?"]
    found = invariance(loaded(random_model()), of_texts(texts), (-2, -1, 0, 1, 2))
    assert found.kept == (20, 30, 41, 41, 31)
    assert found.changed_length == (11, 1, 0, 0, 10)


def test_a_model_of_x_alone_moves_as_far_as_x_does():
    model = adder()
    model.enc.blocks[0].self_attn.out_proj.weight[dim("y")] = 0
    found = invariance(loaded(model), dataset(GRID), shifts=(-5, -2, -1, 0, 1, 2, 5))
    assert (found.index * found.unrelated).tolist() == pytest.approx([5, 2, 1, 0, 1, 2, 5])
    assert found.index[-1] > 1  # further than to the x of another problem
    assert (found.kept_mse - found.kept_own_mse).abs().max() > 0.5
    assert 2 < found.unrelated < 5  # about a third of 10, x being 0 to 9


def test_distances_go_round_the_circle_of_a_model_that_answers_residues():
    """The clock answers numbers here, or, by another objective that decodes them alike, residues of 7."""

    class Residues(ScaledMSE):
        residues = True

    plain = adder()
    plain.enc.blocks[0].self_attn.out_proj.weight[dim("y")] = 0
    line, circle = (invariance(loaded(plain, of(1.0), 7), dataset(GRID, 7), (5,)) for of in (ScaledMSE, Residues))
    assert (line.index * line.unrelated).item() == pytest.approx(5)
    assert (circle.index * circle.unrelated).item() == pytest.approx(2)  # the shorter way
    assert circle.unrelated < 7 / 2 and circle.mse.max() <= 3.5**2 < line.mse.max()
    exact = invariance(loaded(clock(7), Residues(1.0), 7), dataset(GRID, 7), (-2, 3))
    assert exact.index.tolist() == pytest.approx([0, 0], abs=1e-9)


@pytest.mark.parametrize("rest", [0.0, 1e-8])
def test_of_a_model_that_answers_everything_alike_nothing_can_be_told(rest):
    """Alike, or but for what rounding leaves."""
    model = random_model()
    model.readout.bias[:] = 3.0
    control = invariance(loaded(model), dataset(GRID))
    assert control.index.isfinite().all() and control.index.max() > 0.05
    model.readout.weight *= rest
    found = invariance(loaded(model), dataset(GRID))
    assert found.index.isnan().all() and found.unrelated < 1e-6
    assert found.kept_mse.isfinite().all()


@pytest.mark.parametrize("modulus", [None, 97])
def test_problems_kept_are_in_range_and_keep_every_character_where_it_is(modulus):
    """Counted problem by problem, by their layouts."""
    shifts = (-50, -9, -1, 1, 9, 50)
    found = invariance(loaded(random_model(), modulus=modulus), dataset(MIXED, modulus), shifts)
    expected = []
    for d in shifts:
        moved = [((x, y), (x + d, y - d)) for x, y in MIXED if min(x + d, y - d) >= 0 and max(x + d, y - d) <= 998]
        layouts = [[Layout.of(str(Problem(*pair, modulus))) for pair in pairs] for pairs in moved]
        expected.append(sum(before == after for before, after in layouts))
    assert found.kept == tuple(expected) and min(expected) < len(MIXED) - max(found.out_of_range)


def test_the_range_is_that_of_the_data_and_not_that_of_the_digits():
    of = loaded(random_model())
    narrow = invariance(of, dataset([(x, y) for x in range(3, 7) for y in range(3, 7)]), (1,))
    assert (narrow.operands, narrow.kept, narrow.out_of_range, narrow.changed_length) == ((3, 6), (9,), (7,), (0,))


def test_nothing_is_said_of_fewer_than_ten_problems():
    of, pairs = loaded(random_model()), [(x, 5) for x in range(9)]
    few, enough = (invariance(of, dataset(some), (0, 1)) for some in ([*pairs, (9, 6)], [*pairs, (0, 6), (9, 6)]))
    assert (few.kept, enough.kept) == ((10, 9), (11, 10))
    for name in ("kept_mse", "kept_own_mse", "index"):
        assert getattr(few, name).isnan().tolist() == [False, True]
        assert getattr(enough, name).isfinite().all()
    alone = invariance(of, dataset([(1, 2)]), (1,))
    assert math.isnan(alone.unrelated) and alone.index.isnan().all() and alone.mse.isfinite().all()


def test_prompts_that_do_not_fit_have_no_answer_and_no_error():
    rows = dataset([(x, y) for x in range(10) for y in range(10)])
    tight, roomy = (invariance(loaded(random_model(max_len=n)), rows, (0, 1)) for n in (9, 32))
    assert tight.mse.isnan().tolist() == [False, True] and roomy.mse.isfinite().all()
    assert tight.kept_mse.isfinite().all() and tight.kept == roomy.kept


def test_unrelated_pairs_come_from_the_seed_and_are_never_a_row_with_itself():
    of, rows = loaded(adder()), dataset([(0, 0), (9, 9)])
    assert {invariance(of, rows, (0,), seed=seed).unrelated for seed in range(5)} == {18.0}
    rows = dataset(GRID)
    first, again, other = (invariance(of, rows, (0,), seed=seed).unrelated for seed in (0, 0, 1))
    assert first == again != other


def test_batches_and_the_random_state_do_not_matter():
    of, rows, state = loaded(transformer()), dataset(MIXED), torch.get_rng_state()
    one, two = (invariance(of, rows, (-2, 5), batch_size=size) for size in (7, 1000))
    torch.testing.assert_close(one.mse, two.mse)
    torch.testing.assert_close(one.index, two.index)
    assert torch.equal(torch.get_rng_state(), state)


def test_wrong_shifts_and_wrong_tasks_are_refused():
    of, rows = loaded(adder()), dataset(GRID)
    for shifts in ((), (1, 2, 1)):
        with pytest.raises(ArithprobeError, match="expected at least one, and each once"):
            invariance(of, rows, shifts)
    with pytest.raises(ArithprobeError, match="was trained on 'x \\+ y'"):
        invariance(of, dataset(GRID, 7), (1,))
