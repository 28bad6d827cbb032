"""Has the model learned the task? The gate that every probe result stands behind.

A probe can find a quantity in a network that does nothing with it, or in one that was never trained. So the first
question is about behaviour: are the model's answers better than one constant, and are they right?

*Skill* is ``1 - MSE / MSE of the constant predictor``, the constant being the mean training answer; *exact match* is
the share of rows whose rounded prediction is the answer. Both have a 95 % interval over **groups** of rows, those that
one value of the answer's quantity has (rows of one sum): a model that is right or wrong about whole sums has seen as
many cases as there are sums, however many rows they have. Rows that are *all* problems of the task are a population:
what is counted on them needs no interval.

Of a model that answers residues, and not numbers, errors go round the circle the shorter way, -k/2 to k/2: a wrong
residue is then no further off than a guess, and of a model that knows a share of the answers and guesses the rest, that
share is the skill. A constant residue and a guess both have skill 0, about.
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
