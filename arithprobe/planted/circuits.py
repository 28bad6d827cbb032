"""Transformers wired by hand: what can be read from them is known, and what they use.

All are pre-norm, of two layers, in float64, with weights that nothing was trained for; their LayerNorms take the mean
off and divide by the same number whatever the state. A state is a sum of orthonormal *directions*, each with a name
(``NAMES``), none along an axis, all orthogonal to ``(1, ..., 1)``: they have no mean. This is what the last token,
``?``, holds, each direction with a variance of 1 or a little more:

================  ==========================================  =====================================================
site              :func:`adder`: plain sums of three digits   :func:`clock`: residues of sums of two digits
================  ==========================================  =====================================================
``embed``         0, in every problem                         0
``resid_mid.0``   sum ``x + y``, and x1, on lines; y1, every  sum, x1 and y1 likewise
                  value of it in a direction of its own
``resid_post.0``  besides, cos10 and sin10 of the sum         cos and sin of ``2 pi f (x + y) / k`` for each f, x1
                                                              and y1; sum is gone
``resid_mid.1``   besides, backup: half the sum, from ``=``   the same
outputs           ``share`` of the answer from sum, the rest  the residue whose points on the circles fit best
                  from backup
================  ==========================================  =====================================================

Every head of layer 0 looks at one digit, by its position; the MLP of layer 0 looks things up, with hinges at whole
numbers; layer 1 fetches the backup, and does nothing else. :data:`~arithprobe.planted.rungs.PLANTED` says how far
the evidence for each variable must reach.
"""

import functools
import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.tsv import format_tsv, parse_tsv
from arithprobe.models.blocks import Block
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.models.objective import Objective
from arithprobe.models.objectives import ResidueCrossEntropy, ScaledMSE
from arithprobe.models.transformer import TinyTransformer
from arithprobe.problems.grammar import Layout, Problem, task_title
from arithprobe.tokenizer import VOCABULARY

MODULUS, FREQUENCIES = 13, range(1, 7)
LOOKED_AT = ("x100", "x10", "x1", "y100", "y10", "y1")  # by one head each
NAMES = (
    "digit",
    *(f"digit{d}" for d in range(10)),
    *(f"at_{role}" for role in (*LOOKED_AT, "equals")),
    "sum",
    "x1",
    *(f"y1_{d}" for d in range(10)),
    "cos10",
    "sin10",
    "backup",
    *(f"{wave}{f}" for f in FREQUENCIES for wave in ("cos", "sin")),
)
WIDTH = 96
LONG = 1e6  # what a LayerNorm divides by, whatever the state
FAR = 100.0  # a head sees e^-100 of the tokens that it does not look at
STEEP = 64.0  # of the hinges: a GELU of 64 times a whole number is 0 or that number
MIDDLE, SPREAD = 4.5, math.sqrt(8.25)  # mean and standard deviation of a digit
ON_X1, ON_Y1, ROUND = math.sqrt(1.2), 4.0, math.sqrt(2.0)  # variances 1.2, 1.6 in nine dimensions, and 1

Case = tuple[LoadedModel, ArithmeticDataset]


def adder(share: float = 1.0, rows: int = 1000) -> Case:
    """The sum: ``share`` of the answer comes from the last token's own sum, the rest from that of ``=``.

    Built for: ``sum`` is all that is used with ``share`` 1, and must end at *sufficient*. With 0.5 the backup saves
    three quarters of the skill from an erasure at the last token: *geometric*. With 1.5 the backup counts backwards:
    without the sum the answers are worse than the mean, but moving it by 1 moves them by 1.5: *necessary*. From
    ``resid_mid.1`` on, where the last token holds both, the two together are *sufficient*.

    Nothing reads the rest. ``x1`` is on a line, ``summod10f1`` (from ``resid_post.0`` on) on a circle: *geometric*.
    Every value of ``y1`` has its own direction, so that it is read just as well with its values renamed: *selective*.
    ``x`` is read with R2 0.5, because it is half of the sum, and better from untrained networks: *decodable*.
    ``summod7f1`` cannot be read: *behaviour*.

    By arithmetic alone the sum rises by 1 where x1 does. Who moves x1 the way states move with it moves the sum as
    well, and the answers with it, although nothing reads x1.
    """
    problems = _problems(3, None, rows)
    model, unit = _gather(problems[0], 1, 18)
    ones = direction("x1") * SPREAD / ON_X1 + sum(d * direction(f"y1_{d}") / ON_Y1 for d in range(10))
    turns = [2 * math.pi * ones_digits / 10 for ones_digits in range(19)]
    waves = {"cos10": [ROUND * math.cos(a) for a in turns], "sin10": [ROUND * math.sin(a) for a in turns]}
    _look_up(model.enc.blocks[0], ones, MIDDLE, 0, waves)
    _look(model.enc.blocks[1], 0, "at_equals", [("sum", direction("backup") / 2)])
    model.readout.weight[0] = share * direction("sum") + 2 * (1 - share) * direction("backup")
    return _loaded(model, ScaledMSE(unit, 2 * 111 * MIDDLE), problems)


def clock(frequencies: Sequence[int] = (1,), rows: int = 1000) -> Case:
    """The residue modulo 13, by way of one circle for each frequency; the sum is gone where they are written.

    Built for: the circles are all that is used. With one frequency, ``residue`` and ``residuemod13f<f>`` must end at
    *sufficient*; with several, so must ``residue`` and all their planes together, and a single plane at *geometric*.
    ``x1`` (*geometric*) and ``y1`` (*selective*) are as in :func:`adder`. ``sum`` is not planted: at ``resid_mid.0`` it
    is all that is used, but a fortieth of its spread is the next residue, so that blind random subspaces cost skill.
    """
    problems = _problems(2, MODULUS, rows)
    model, unit = _gather(problems[0], MODULUS, 178)
    middle, sums = 2 * 11 * MIDDLE, range(20, 199)
    columns = {"sum": [-(s - middle) / unit for s in sums]}
    for f in frequencies:
        turn = 2 * math.pi * f / MODULUS
        columns |= {f"cos{f}": [ROUND * math.cos(turn * s) for s in sums]}
        columns |= {f"sin{f}": [ROUND * math.sin(turn * s) for s in sums]}
        for residue in range(MODULUS):
            at = turn * residue
            model.readout.weight[residue] += 8 * (math.cos(at) * direction(f"cos{f}"))
            model.readout.weight[residue] += 8 * (math.sin(at) * direction(f"sin{f}"))
    _look_up(model.enc.blocks[0], unit * direction("sum"), middle, sums[0], columns)
    return _loaded(model, ResidueCrossEntropy(MODULUS), problems)


def direction(name: str) -> Tensor:
    """(D,) of length 1."""
    return _frame()[NAMES.index(name)]


@functools.cache
def _frame() -> Tensor:
    """(names, D) orthonormal, and orthogonal to (1, ..., 1)."""
    columns = torch.randn(WIDTH, 1 + len(NAMES), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    columns[:, 0] = 1.0
    frame: Tensor = torch.linalg.qr(columns)[0].T[1:].contiguous()
    return frame


def _problems(digits: int, modulus: int | None, rows: int) -> list[Problem]:
    """Different pairs of numbers of so many digits, drawn without order."""
    low, count = 10 ** (digits - 1), 9 * 10 ** (digits - 1)
    drawn = torch.randperm(count**2, generator=torch.Generator().manual_seed(0))[:rows].tolist()
    return [Problem(low + pair // count, low + pair % count, modulus) for pair in drawn]


def _loaded(model: TinyTransformer, objective: Objective, problems: Sequence[Problem]) -> Case:
    rows = dataset_of(problems)
    mean = float(rows.answers.double().mean())
    return LoadedModel("planted", "wired by hand", model, objective, mean, task_title(rows.modulus)), rows


def dataset_of(problems: Iterable[Problem]) -> ArithmeticDataset:
    """Rows of some problems."""
    return ArithmeticDataset(parse_tsv(format_tsv(problems).encode(), "planted"))


def _gather(problem: Problem, n_outputs: int, hinges: int) -> tuple[TinyTransformer, float]:
    """Embeddings and the attention of layer 0, which bring sum, x1 and y1 to every token; and the unit of the sum."""
    with torch.random.fork_rng(devices=[]):
        model = TinyTransformer(
            d_model=WIDTH,
            n_layers=2,
            n_heads=len(LOOKED_AT),
            d_ff=hinges,
            max_len=32,
            n_outputs=n_outputs,
            dropout=0.0,
            norm="pre",
        )
    model = model.double().eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.zero_()
    for norm in (model.ln, *(norm for block in model.enc.blocks for norm in (block.norm1, block.norm2))):
        norm.weight.fill_(LONG)
        norm.eps = LONG**2
    roles, digits = Layout.of(str(problem)).roles, len(str(problem.x))
    for d in range(10):
        model.tok.weight[VOCABULARY.index(str(d)) + 1] += (d - MIDDLE) / SPREAD * direction("digit")
        model.tok.weight[VOCABULARY.index(str(d)) + 1] += ON_Y1 * direction(f"digit{d}")
    unit = math.sqrt(((9 * 10 ** (digits - 1)) ** 2 - 1) / 6)  # the standard deviation of the sum
    for head, role in enumerate(LOOKED_AT):
        if role not in roles:
            continue
        moves = [("digit", int(role[1:]) * SPREAD / unit * direction("sum"))]
        if role == "x1":
            moves.append(("digit", ON_X1 * direction("x1")))
        if role == "y1":
            moves += [(f"digit{d}", direction(f"y1_{d}")) for d in range(10)]
        _look(model.enc.blocks[0], head, f"at_{role}", moves)
    for role in (*LOOKED_AT, "equals"):
        if role in roles:
            model.pos.weight[roles.index(role)] += direction(f"at_{role}")
    return model, unit


def _look(block: Block, head: int, marker: str, moves: Sequence[tuple[str, Tensor]]) -> None:
    """Every token attends, with one head, to the token marked, and adds what it finds there to itself."""
    attention = block.self_attn
    first, width = head * (WIDTH // attention.n_heads), WIDTH // attention.n_heads
    attention.in_proj_bias[first] = FAR * math.sqrt(width)  # a query that is the same everywhere
    attention.in_proj_weight[WIDTH + first] = direction(marker)
    for slot, (source, target) in enumerate(moves, start=first):
        attention.in_proj_weight[2 * WIDTH + slot] = direction(source)
        attention.out_proj.weight[:, slot] = target


def _look_up(block: Block, reading: Tensor, middle: float, lowest: int, columns: Mapping[str, Sequence[float]]) -> None:
    """Functions of a whole number from ``lowest`` on, linear between, constant below: ``reading @ state + middle``."""
    for name, values in columns.items():
        slopes = torch.tensor(values, dtype=torch.float64).diff()
        block.linear2.bias[:] += values[0] * direction(name)
        bends = torch.cat([slopes[:1], slopes.diff()]) / STEEP
        block.linear2.weight[:, : len(bends)] += torch.outer(direction(name), bends)
    hinges = torch.arange(len(bends), dtype=torch.float64)
    block.linear1.weight[: len(bends)] = STEEP * reading
    block.linear1.bias[: len(bends)] = STEEP * (middle - lowest - hinges)
