"""An answer read from a circle reaches the same rung at every frequency: errors are angles, not gaps of residues."""

import functools
import math

import pytest
import torch
from micro import one_thread  # noqa: F401

from arithprobe.analysis.intervene.ledger import ledger_row
from arithprobe.analysis.intervene.options import InterveneOptions
from arithprobe.analysis.ladder.causal import CausalRungs
from arithprobe.analysis.ladder.causal_rules import necessary, sufficient
from arithprobe.interventions.naming import named_frequencies, step_of
from arithprobe.interventions.round_cell import round_cell
from arithprobe.models.objectives import ResidueCrossEntropy
from arithprobe.planted import directions, noise, planted_states
from arithprobe.problems.circles import Circle, planes_name

pytestmark = pytest.mark.slow
SITE, BOTH = "resid_post.0", ("holds", "holds")


def wheel(frequencies, k=97, d=24, decoys=6, rows=1000, seed=0, read=None):
    """The residue whose points on the circles fit best, those of ``read`` alone; decoys, which nothing reads."""
    read = frequencies if read is None else read
    pairs = torch.randperm(k * k, generator=torch.Generator().manual_seed(seed))[:rows]
    frame = directions(2 * len(frequencies) + decoys, d, seed)
    turns = 2 * math.pi / k * torch.tensor(frequencies, dtype=torch.float64)

    def waves(values):
        angles = values.double()[:, None] * turns
        return torch.stack([angles.cos(), angles.sin()], dim=2).flatten(1)

    def states(x, y):
        held = math.sqrt(2) * waves(x + y) @ frame[: 2 * len(frequencies)]
        return held + noise(x, y, decoys, seed) @ frame[2 * len(frequencies) :]

    seen = torch.tensor([f in read for f in frequencies]).double().repeat_interleave(2)
    reader = 20 * (seen[:, None] * frame[: 2 * len(frequencies)]).T @ waves(torch.arange(k)).T
    return planted_states(pairs // k, pairs % k, states, reader, modulus=k, objective=ResidueCrossEntropy(k))


@functools.cache
def found(*frequencies, k=97, **more):
    """Rungs, and what was found, of the planes that the answer is read from."""
    name = planes_name("residue", k, frequencies)
    rungs = CausalRungs(*wheel(frequencies, k, **more), [name], [SITE], 19, 1000, 0)
    return rungs, rungs.at(name, SITE)


def isotropic(one):
    return next(cost for cost in one.random if cost.family == "isotropic")


def blind_cost(rungs, circle):
    """Mean share of the skill that two blind dimensions cost, judged round a circle or by distance of residues."""
    cell = round_cell(rungs.cell(SITE), circle)
    bases = torch.linalg.qr(torch.randn(19, 1, 24, 2, generator=torch.Generator().manual_seed(0)).double())[0]
    return 1 - float(cell.part.scores(cell.without("mean", bases, bases)).skill.mean())


@pytest.mark.parametrize("f", [1, 2, 37, 48])
def test_two_blind_dimensions_cost_little_at_every_frequency_and_by_distance_of_residues_much(f):
    rungs, one = found(f)
    assert blind_cost(rungs, Circle("residue", 97, (f,))) < 0.03
    assert isotropic(one).skill_lost < 0.03
    by_distance = blind_cost(rungs, None)  # the control
    assert by_distance < 0.03 if f in (1, 48) else by_distance > 0.5


@pytest.mark.parametrize("f", [1, 37, *(pytest.param(f, marks=pytest.mark.long) for f in range(2, 49) if f != 37)])
def test_every_frequency_reaches_the_same_rungs(f):
    _, one = found(f)
    assert (necessary(one).state, sufficient(one).state) == BOTH
    assert one.skill_left < 0.1 and one.intact_exact == 1
    assert one.steering.slope.fraction == pytest.approx(1, abs=0.01)
    assert float(one.steering.random_slopes.abs().max()) < 0.5
    assert one.interchange.recovered.fraction == pytest.approx(1, abs=0.01)


@pytest.mark.long
@pytest.mark.parametrize("more", [{"seed": 1}, {"seed": 2}, {"d": 16}, {"d": 32}, {"k": 113}])
@pytest.mark.parametrize("f", [1, 7, 11, 37])
def test_seeds_widths_and_moduli_make_no_difference_between_frequencies(f, more):
    _, one = found(f, **more)
    assert isotropic(one).skill_lost < 0.05 and one.skill_left < 0.1
    assert sufficient(one).state == "holds"


@pytest.mark.parametrize("frequencies", [(1, 37), pytest.param((37, 14, 9), marks=pytest.mark.long)])
def test_several_frequencies_are_judged_together(frequencies):
    _, one = found(*frequencies)
    assert isotropic(one).skill_lost < 0.05 and one.skill_left < 0.1
    assert sufficient(one).state == "holds"


def test_a_circle_that_nothing_reads_is_not_necessary_at_its_own_frequency():
    names = [planes_name("residue", 97, [f]) for f in (5, 37)]
    rungs = CausalRungs(*wheel((5, 37), read=(37,)), names, [SITE], 19, 1000, 0)
    unread, used = (rungs.at(name, SITE) for name in names)
    assert (necessary(unread).state, sufficient(unread).state) == ("does not hold", "does not hold")
    assert unread.held_out_r2 > 0.99 and unread.skill_left > 0.5
    assert sufficient(used).state == "holds" and used.skill_left < 0.1  # the control


@pytest.mark.parametrize(("k", "frequencies"), [(97, (37,)), (97, (1, 3, 5)), (30, (7,)), (6, (2, 3)), (13, (4, 5))])
def test_steps_are_a_name_for_each_residue_and_keep_the_circle(k, frequencies):
    step = step_of(frequencies, k)
    named = step * torch.arange(k) % k
    assert sorted(named.tolist()) == list(range(k))
    slow = torch.tensor(named_frequencies(frequencies, k, step))
    assert torch.equal(slow * named[:, None] % k, torch.tensor(frequencies) * torch.arange(k)[:, None] % k)
    assert int(slow.abs().min()) == 1 or math.gcd(*frequencies, k) > 1 or k == 6


def test_a_part_judged_round_a_circle_has_the_same_loss_and_exact_answers_and_errors_that_are_angles():
    rungs, _ = found(37)
    plain = rungs.cell(SITE).part
    part = plain.round(Circle("residue", 97, (37,)))
    outputs = plain.outputs.flip(0)[None]  # answers of other rows
    before, after = plain.scores(outputs), part.scores(outputs)
    assert torch.equal(before.loss, after.loss) and torch.equal(before.exact_match, after.exact_match)
    off = plain.answers_of(outputs)[0] - plain.answers.double()
    others = (plain.answers[:, None] - plain.answers).double()[~torch.eye(len(plain), dtype=torch.bool)]
    own, guess = (float((2 * math.pi * 37 * one / 97).cos().mean()) for one in (off, others))
    assert float(after.skill) == pytest.approx(1 - (1 - own) / (1 - guess), abs=1e-9)
    assert abs(float(after.skill) - float(before.skill)) > 0.01  # the control
    near = part.squared_errors(part.answers.double()[None] + 1)  # one step
    assert float(near.mean()) == pytest.approx(1, abs=0.01)
    for other in (None, Circle("residue", 10, (3,))):  # nothing to go round, or another circle than that of the answers
        assert plain.round(other) is plain


def test_the_ledger_judges_by_the_circle_that_it_takes_out():
    rungs, one = found(37)
    cell = rungs.cell(SITE)
    options = InterveneOptions(targets=(one.target,), sites=(SITE,), positions=("last",), draws=19, no_mlp=True)
    row = ledger_row(cell, cell.eraser(one.target, "leace"), options, cell.r2_of(one.target), None)
    (blind,) = (family for family in row.effect("mean").families if family.name == "isotropic")
    assert float(blind.skill_lost.mean()) < 0.03
    plain = cell.ablate(cell.eraser(one.target, "leace"), "mean", ["isotropic"], 19, 0)  # the control
    assert float(plain.effect.families[0].skill_lost.mean()) > 0.5
