"""Targets, tags and positions: names that mean one thing."""

import pytest
import torch

from arithprobe.errors import ArithprobeError
from arithprobe.probes.tags import Tag
from arithprobe.probes.targets import target_values
from arithprobe.probes.variables import variable_of
from arithprobe.problems.counterfactual import counterfactual
from arithprobe.problems.grammar import Layout
from arithprobe.problems.positions import position_table
from arithprobe.problems.quantities import Sums

X, Y = torch.tensor([57, 999, 0, 103]), torch.tensor([65, 999, 7, 40])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x", [57, 999, 0, 103]),
        ("sum", [122, 1998, 7, 143]),
        ("residue", [25, 58, 7, 46]),
        ("x10", [5, 9, 0, 0]),
        ("y1", [5, 9, 7, 0]),
        ("sum1000", [0, 1, 0, 0]),
        ("sum100", [1, 9, 0, 1]),
        ("carry1", [1, 1, 0, 0]),
        ("carry10", [1, 1, 0, 0]),
        ("carry100", [0, 1, 0, 0]),
    ],
)
def test_values_worked_out_by_hand(name, expected):
    assert target_values(name, Sums(X, Y, 97)).tolist() == expected


def test_every_name_offered_has_values():
    for name in Sums(X, Y, 97).names:
        assert target_values(name, Sums(X, Y, 97)).shape == X.shape


def test_unknown_constant_and_unfit_targets_are_refused():
    with pytest.raises(ArithprobeError, match=r"no target 'sun' in this data; did you mean 'sum'\?"):
        target_values("sun", Sums(X, Y, 97))
    with pytest.raises(ArithprobeError, match="target 'residue': k is unknown"):
        target_values("residue", Sums(X, Y, None))
    with pytest.raises(ArithprobeError, match="no target 'carry10000'"):
        target_values("carry10000", Sums(X, Y, 97))
    with pytest.raises(ArithprobeError, match=r"target 'carry1' is 0 in every row; a constant cannot be probed"):
        target_values("carry1", Sums(X[:1], Y[2:3] * 0, 97))


@pytest.mark.parametrize("site", ["embed", "resid_mid.0", "final"])
@pytest.mark.parametrize("position", ["last", "11", "mod_open", "x100"])
def test_tags_are_read_as_written(site, position):
    tag = Tag("ridge", "carry10", site, position, "null_high")
    assert Tag.parse(str(tag)) == tag


@pytest.mark.parametrize("text", ["val/loss", "ridge/final@last/r2", "ridge_sum/final/r2", "ridge_sum/final@last/r2/x"])
def test_other_names_are_no_tags(text):
    with pytest.raises(ArithprobeError, match="is not a tag"):
        Tag.parse(text)


def test_positions_point_at_the_characters_they_name():
    texts = ["103 + 40 = ?", "7 + 7 = ?"]
    roles = [Layout.of(text).roles for text in texts]
    table = position_table(["last", "index", "role"], torch.tensor([12, 9]), torch.tensor([0, 1]), roles)
    assert table.names[:3] == ("last", "0", "1")
    assert table.names[13:] == ("x100", "x10", "x1", "sp1", "plus", "sp2", "y10", "y1", "sp4", "equals", "sp5", "query")
    for row, text in enumerate(texts):
        found = {
            name: text[token]
            for name, token, valid in zip(table.names, table.token[row].tolist(), table.valid[row], strict=True)
            if valid
        }
        assert found["last"] == found["query"] == "?"
        assert found["x1"] + found["plus"] + found["y1"] == {0: "3+0", 1: "7+7"}[row]
        assert ("x100" in found, "9" in found) == (row == 0, row == 0)
    states = torch.arange(2 * 12 * 1.0).view(2, 12, 1)
    assert table.gather(states, torch.tensor([1]))[0, 0].item() == 8  # row 1 of the table, token 8


def test_periods_and_waves_of_any_quantity():
    for quantity, values in (("x", X), ("y", Y), ("sum", X + Y), ("residue", (X + Y) % 97)):
        assert target_values(f"{quantity}mod7", Sums(X, Y, 97)).tolist() == (values % 7).tolist()
        angle = 2 * torch.pi * 3 * values.double() / 7
        torch.testing.assert_close(target_values(f"{quantity}mod7cos3", Sums(X, Y, 97)), angle.cos())
        torch.testing.assert_close(target_values(f"{quantity}mod7sin3", Sums(X, Y, 97)), angle.sin())


def test_a_wave_without_swing_is_refused_although_its_values_differ_by_rounding():
    x = torch.arange(50)
    with pytest.raises(ArithprobeError, match="target 'xmod2sin1' is 0 in every row"):
        target_values("xmod2sin1", Sums(x, x, None))
    with pytest.raises(ArithprobeError, match="target 'xmod2cos2' is 1 in every row"):
        target_values("xmod2cos2", Sums(x, x, None))
    with pytest.raises(ArithprobeError, match="the period is 1; expected 2 to"):
        target_values("xmod1", Sums(x, x, None))
    with pytest.raises(ArithprobeError, match="target 'residuemod5': k is unknown"):
        target_values("residuemod5", Sums(x, x, None))


@pytest.mark.parametrize("digits", [17, 5000])
@pytest.mark.parametrize("name", ["xmod{}", "summod10cos{}", "summod{}f1", "summod10f{}", "summod10f2to{}"])
def test_a_number_in_a_name_that_is_too_long_is_said(name, digits):
    with pytest.raises(ArithprobeError, match=f"a number has {digits} digits; expected at most 16$") as raised:
        variable_of(name.format("1" * digits), Sums(X, Y))
    assert len(str(raised.value)) < 150


@pytest.mark.parametrize("digits", [17, 5000])
@pytest.mark.parametrize("name", ["xmod{}", "summod{}f1", "x{}", "sum{}", "carry{}"])
def test_of_such_a_name_there_is_no_counterfactual(name, digits):
    with pytest.raises(ArithprobeError, match=f"a number has {digits} digits; expected at most 16$"):
        counterfactual(name.format("1" + "0" * (digits - 1)), Sums(X, Y, None), Sums(Y, X, None))


def test_a_target_is_split_by_what_it_is_a_function_of():
    groups = {
        name: Sums.group_of(name) for name in ("x", "x10", "xmod5cos1", "y100", "sum", "sum10", "carry1", "residue")
    }
    assert groups == {
        "x": "x",
        "x10": "x",
        "xmod5cos1": "x",
        "y100": "y",
        "sum": "sum",
        "sum10": "sum",
        "carry1": "sum",
        "residue": "sum",
    }
