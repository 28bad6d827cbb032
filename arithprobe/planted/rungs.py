"""How far the evidence for each planted variable must reach; :mod:`arithprobe.planted.circuits` says why.

The rungs: *none* (the task is not learned), *behaviour* (it is), *decodable*, *selective* (above a control task and
untrained networks), *geometric* (a line or a circle, which it is not with its values renamed), *necessary* (without it
the skill is gone), *sufficient* (moving it moves the answer as much).
"""

from collections.abc import Callable
from typing import NamedTuple

from arithprobe.planted.circuits import Case, adder, clock


class Planted(NamedTuple):
    """A variable of a model, and the rung that it must end at."""

    case: Callable[[], Case]
    """Makes the model and its rows."""
    variable: str
    """Name of the claimed variable, as in a ladder."""
    rung: str
    """Name of the highest rung that it must reach."""


def backed_up() -> Case:
    """The adder that keeps half of its answer elsewhere."""
    return adder(share=0.5)


def overshooting() -> Case:
    """The adder that answers one and a half times what its last token says, less half of what ``=`` says."""
    return adder(share=1.5)


def many_handed_clock() -> Case:
    """The clock with three circles, any one of which is enough."""
    return clock((1, 3, 5))


def untrained() -> Case:
    """A network of the adder's architecture as it was initialised: it has learned nothing, so everything is *none*."""
    loaded, rows = adder()
    return loaded._replace(path="random initialisation", kind="random", model=loaded.model.untrained(0)), rows


PLANTED = (
    Planted(untrained, "sum", "none"),
    Planted(adder, "summod7f1", "behaviour"),
    Planted(adder, "x", "decodable"),
    Planted(adder, "y1", "selective"),
    Planted(adder, "x1", "geometric"),
    Planted(adder, "summod10f1", "geometric"),
    Planted(adder, "sum", "sufficient"),
    Planted(backed_up, "sum", "geometric"),
    Planted(overshooting, "sum", "necessary"),
    Planted(clock, "y1", "selective"),
    Planted(clock, "x1", "geometric"),
    Planted(clock, "residue", "sufficient"),
    Planted(clock, "residuemod13f1", "sufficient"),
    Planted(many_handed_clock, "residuemod13f3", "geometric"),
    Planted(many_handed_clock, "residuemod13f1+3+5", "sufficient"),
    Planted(many_handed_clock, "residue", "sufficient"),
)
"""Models and variables, from the lowest rung up."""
