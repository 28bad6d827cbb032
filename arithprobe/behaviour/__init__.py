"""The behaviour gate: whether the model has learned the task; every probe result is shown behind it.

A probe can find a quantity in a network that makes no use of it, or in one that was never trained. So the first
question is about behaviour: are the model's answers better than a constant, and are they right?

*Skill* is ``1 - MSE / MSE of the constant predictor``, where the constant is the mean training answer; *exact match* is
the share of rows whose rounded prediction is the answer. Both have a 95 % interval over **groups** of rows. A group is
the rows that share one value of the answer's quantity (one sum): a model that is right or wrong about whole sums gives
as many independent cases as there are sums, however many rows they have. Rows that are *all* problems of the task are a
population, and counts over a population need no interval.

If a model answers residues rather than numbers, its errors go round the circle the shorter way, from -k/2 to k/2. A
wrong residue is then no further off than a guess, and a model that knows a share of the answers and guesses the rest
has that share as its skill. A constant residue and a guess both have a skill of about 0.
"""

from arithprobe.behaviour.errors import Errors as Errors
from arithprobe.behaviour.errors import difference as difference
from arithprobe.behaviour.errors import errors_of as errors_of
from arithprobe.behaviour.exact import share_interval as share_interval
from arithprobe.behaviour.exact import to_settle as to_settle
from arithprobe.behaviour.judging import judge as judge
from arithprobe.behaviour.judging import judge_rows as judge_rows
from arithprobe.behaviour.skill import ratio_interval as ratio_interval
from arithprobe.behaviour.verdict import EXACT_MATCH_LEARNED as EXACT_MATCH_LEARNED
from arithprobe.behaviour.verdict import EXACT_MATCH_LOW as EXACT_MATCH_LOW
from arithprobe.behaviour.verdict import MIN_GROUPS as MIN_GROUPS
from arithprobe.behaviour.verdict import MIN_ROWS as MIN_ROWS
from arithprobe.behaviour.verdict import NOT_LEARNED_WARNING as NOT_LEARNED_WARNING
from arithprobe.behaviour.verdict import SKILL_FLOOR as SKILL_FLOOR
from arithprobe.behaviour.verdict import Behaviour as Behaviour
from arithprobe.behaviour.verdict import Verdict as Verdict
