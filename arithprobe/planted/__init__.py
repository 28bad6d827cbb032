"""Networks with known answers: what an instrument must find, and what it must not fall for.

``circuits`` has whole transformers, wired by hand, ``rungs`` how far the evidence for each of their variables must
reach, and ``states`` a network of any state and reader that you write down.
"""

from arithprobe.planted.circuits import adder as adder
from arithprobe.planted.circuits import clock as clock
from arithprobe.planted.rungs import PLANTED as PLANTED
from arithprobe.planted.states import directions as directions
from arithprobe.planted.states import noise as noise
from arithprobe.planted.states import planted_states as planted_states
