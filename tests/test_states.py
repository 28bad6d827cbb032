"""Any states in one call: what is planted is found, noise is not, and memory of groups is no score."""

import numpy as np
import pandas as pd
import pytest
import torch
from scikit_ridge import by_gcv, ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from arithprobe import ArithprobeError, ProbeOptions, capture, probe, probe_states
from arithprobe.analysis.states.given import labels_of
from arithprobe.planted.states import directions, planted_states
from arithprobe.probes.splits import fold_of

N, D = 1200, 8


def planted(seed, share, n=N):
    """States with a direction that says a share of the variance of a target, and the target."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 400, (n,), generator=generator)
    y = (target - target.float().mean()) / target.float().std()
    states = torch.randn(n, D, generator=generator, dtype=torch.float64)
    states[:, 0] += (share / (1 - share)) ** 0.5 * y
    rotation = torch.linalg.qr(torch.randn(D, D, generator=generator, dtype=torch.float64))[0]
    return states @ rotation, target


def test_a_planted_direction_is_found_and_its_interval_holds_its_share():
    for share in (0.3, 0.9):
        cells = [probe_states(*planted(seed, share)).ridge[0].at("states") for seed in range(20)]
        assert sum(cell["low"] < share < cell["high"] for cell in cells) >= 17  # of 20; 19 are expected
        assert all(cell["high"] - cell["low"] < 0.2 and cell["p"] == pytest.approx(0.05) for cell in cells)
        assert all(cell["r2"] > cell["null_high"] + 0.2 for cell in cells)


def test_noise_is_seldom_above_its_null():
    found = probe_states({str(seed): planted(seed, 0.0, 300)[0] for seed in range(40)}, planted(50, 0.0, 300)[1])
    p = found.ridge[0].p[:, 0]
    assert int((p <= 0.05).sum()) <= 6  # of 40; 2 are expected
    assert float(found.ridge[0].r2.max()) < 0.05


def test_memory_of_groups_is_no_score_unless_groups_are_in_both_parts():
    """Each group has a direction and a value of its own, drawn at random: there is nothing to be read of a new one."""
    generator = np.random.default_rng(0)
    group = np.arange(600) % 60
    states = generator.normal(size=(60, 80))[group] + 0.1 * generator.normal(size=(600, 80))
    target = generator.normal(size=60)[group]
    held_out, by_value, leaking = (
        probe_states(states, target, groups).ridge[0].at("states") for groups in (group, None, range(600))
    )
    assert held_out["r2"] < 0.1 and held_out["p"] > 0.05
    assert by_value["r2"] < 0.1  # equal values are one group
    assert leaking["r2"] > 0.9 and leaking["r2_in_sample"] > 0.9


@pytest.mark.parametrize("alpha", [0.01, 300.0, None])
def test_scores_are_those_of_scikit_learn_on_the_same_split(alpha):
    states, target = planted(1, 0.5, 400)
    h, y = (states * torch.logspace(-2, 2, D)).numpy(), target.double().numpy()
    found = probe_states(h, target, **({} if alpha is None else {"alphas": alpha})).ridge[0].at("states")
    fold = fold_of(target, 5).numpy()
    if alpha is None:
        predicted = np.empty(len(y))
        for index in range(5):
            test = fold == index
            predicted[test] = by_gcv(h[~test], y[~test, None], h[test])[:, 0]
    else:
        predicted = cross_val_predict(ridge(alpha), h, y, cv=PredefinedSplit(fold))
    assert found["r2"] == pytest.approx(r2_score(y, predicted), abs=1e-9)


def test_it_is_the_probe_of_the_library_on_the_same_states():
    x, y = torch.cartesian_prod(torch.arange(30), torch.arange(30)).T
    u, turns = directions(1, 8)[0], torch.arange(1, 9).double()
    loaded, rows = planted_states(x, y, lambda x, y: torch.outer(x + y, u) + 20 * torch.outer(x * y, turns).sin(), u)
    report = probe(
        loaded, rows, ProbeOptions(["sum"], positions=["last"], small_periods=[2], twins=0, no_mlp=True, no_ladder=True)
    )
    with capture(loaded.model, "resid_post.0") as states, torch.no_grad():
        loaded.model(*rows.inputs(torch.arange(len(rows))))
    found = probe_states(states["resid_post.0"][:, -1], {"sum": rows.answers}).ridge[0].at("states")
    own = report.ridge[0].at("resid_post.0")
    assert found == pytest.approx(own, rel=1e-7, abs=1e-9)


def test_any_type_is_read_as_it_is_and_nothing_is_changed():
    states, target = planted(2, 0.5)
    rough = states.bfloat16().requires_grad_()
    before, random = rough.detach().clone(), torch.get_rng_state()
    found = probe_states({"bf16": rough, "float": rough.detach().float(), "narrow": rough[:, :3]}, target)
    assert found.ridge[0].at("bf16") == found.ridge[0].at("float") != found.ridge[0].at("narrow")
    assert torch.equal(rough.detach(), before) and rough.grad is None
    assert torch.equal(torch.get_rng_state(), random)
    whole = (100 * states).long()
    assert probe_states(whole, target).ridge[0].at("states") == probe_states(whole.double(), target).ridge[0].at(
        "states"
    )


def test_the_same_states_in_other_forms_score_the_same():
    (first, target), (second, _) = planted(3, 0.5, 300), planted(4, 0.5, 300)
    frame = pd.DataFrame({"a column": target.numpy(), "half": target.numpy() / 2})
    by_name = probe_states({"0": first, "1": second}, frame)
    stacked = probe_states(torch.stack([first, second], dim=1).numpy(), dict(frame))
    assert [one.target for one in by_name.ridge] == ["a column", "half"]
    for one, other in zip(by_name.ridge, stacked.ridge, strict=True):
        assert list(one.cells()) == list(other.cells())
    assert probe_states(first, frame["half"]).ridge[0].at("states")["r2"] == pytest.approx(
        by_name.ridge[1].at("0")["r2"], abs=1e-9
    )


def test_few_groups_are_dealt_out_to_all_folds_and_many_keep_the_hash():
    for count in (5, 8, 12):
        group = np.repeat(np.arange(count), 3 + np.arange(count))
        assert int(torch.bincount(fold_of(torch.from_numpy(group), 5), minlength=5).min()) == 0  # by hash alone
        labels = labels_of(group.astype(str), len(group), 5)
        sizes = torch.bincount(fold_of(labels, 5), minlength=5)
        assert int(sizes.min()) * 10 >= len(group)
        assert len(torch.unique(labels)) == count
        assert [len(torch.unique(labels[group == one])) for one in range(count)] == [1] * count
    many = torch.arange(300) * 7 % 150
    assert torch.equal(labels_of(many.float(), 300, 5), many)


@pytest.mark.usefixtures("white")
def test_it_shows_itself():
    states, target = planted(5, 0.9, 300)
    one, several = probe_states(states, target), probe_states({"read": states, "other": states[:, :2]}, {"y": target})
    assert "y at read: held-out R2 0." in repr(several) and "pictures, .show(name): held_out" in repr(several)
    assert "held_out" not in repr(one)  # a picture of one dot
    html = several._repr_html_()
    assert all(part in html for part in ("<td>read</td>", "held-out R2 [95 %]", "<img", "This does not show: that the"))
    frame = several.to_frame()
    assert set(frame["score"]) == {"r2", "p", "r2_in_sample"} and list(frame["site"].unique()) == ["read", "other"]
    few = probe_states(states, target, torch.arange(300) % 9)
    assert "fewer than 15 groups" in few._repr_html_()


H = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
Y = torch.arange(60)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            (H[:, 0], Y),
            r"states have shape \(60,\); expected \(n, d\) or \(n, sites, d\); of one number .* states\[:, N",
        ),
        (({"a": H[:, None]}, Y), r"states\['a'\] have shape \(60, 1, 3\); expected \(n, d\); choose a token first"),
        (({"a": H, "b": H[:9]}, Y), "states have different numbers of rows: {'a': 60, 'b': 9}; expected one number"),
        ((H[:0], Y[:0]), r"states have shape \(0, 3\); expected at least one row"),
        (({}, Y), "states are empty"),
        ((H.where(H[7, 2] != H, torch.nan), Y), "states 'states': nan in row 7, dimension 2; expected finite numbers"),
        ((H.where(H[7, 2] != H, torch.inf).bfloat16(), Y), "states 'states': inf in row 7, dimension 2"),
        ((H + 0j, Y), "states are torch.complex64; expected real numbers"),
        (([["a"]] * 60, Y), "states: of type <U1; expected real numbers"),
        ((H.double() + 1e12, Y), "states 'states': .* subtract a constant first"),
        ((H, Y[:9]), r"targets: shape \(9,\); expected \(60,\), one a row of the states"),
        ((H, {"y": Y[:, None]}), r"target 'y': shape \(60, 1\); expected \(60,\)"),
        ((H, {}), "targets are empty"),
        (({1: H, "1": H}, Y), "states: two of them are named '1'"),
        ((H, {1: Y, "1": Y}), "targets: two of them are named '1'"),
        ((np.ma.masked_less(H.numpy(), 0), Y), "states are a masked array; leave the masked rows out"),
        ((list(H.clone().requires_grad_()), Y), "states cannot be made an array of numbers: a list"),
        ((H.double() * 1e200, Y), "states 'states': .* expected finite numbers below 1e\\+100"),
        ((H, Y.double() * 1e300), "targets: 1e\\+300 in row 1; expected finite numbers below 1e\\+100"),
        ((H, Y.double() * 1e-300), "targets: values differ by less than 1e-100; scale them up"),
        ((H, {"y": Y * 0 + 3}), "target 'y': 3 in every row; a constant cannot be probed"),
        ((H, {"y": Y.double().where(Y != 4, torch.nan)}), "target 'y': nan in row 4; expected finite numbers"),
        ((H, {"y": ["odd", "even"] * 30}), "target 'y': of type <U4; expected real numbers; .* a target of 0 and 1"),
        ((H, Y % 2), "target 'target': 2 different values, fewer than the 5 folds; .* groups= of more values"),
        ((H, Y, Y % 4), "groups: 4 different values, fewer than the 5 folds"),
        ((H, Y, Y[:9]), r"groups: shape \(9,\); expected \(60,\)"),
        ((H, Y, Y.double().where(Y != 4, torch.nan)), "groups: nan in row 4; expected a label a row"),
        ((H, Y, ["a", None] * 30), "groups hold values that cannot be compared"),
    ],
)
def test_what_cannot_be_probed_is_one_line(given, message):
    with pytest.raises(ArithprobeError, match=f"^{message}") as raised:
        probe_states(*given)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"folds": 1}, "folds is 1; expected 2 or more"),
        ({"folds": 2.5}, "folds: expected whole numbers, got 2.5"),
        ({"permutations": 3}, "permutations is 3; expected 19 or more"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"alphas": -1.0}, "alphas is -1.0; expected a positive penalty"),
    ],
)
def test_options_out_of_range_are_one_line(option, message):
    with pytest.raises(ArithprobeError, match=f"^{message}"):
        probe_states(H, Y, **option)
