"""A transformer whose weights were written by hand, so that every number in it can be worked out on paper.

``adder()`` adds two one-digit numbers, ``3 + 9 = ?``, in column arithmetic. It is a TinyTransformer of two layers and
two heads in float64 whose LayerNorms are the identity. A state has 16 dimensions, each with a name (``DIMS``); what is
not in the diagram is 0. ``S`` is ``x + y``.

==============  =========================================  ========================================================
site            what it holds, at every token              how
==============  =========================================  ========================================================
``embed``       digit: the digit, 0 at other characters    embeddings of characters
                spare: 5; a 1 in at_x, at_y, at_equals:    embeddings of positions
                only at the token of x, of y, and of ``=``
``attn_out.0``  x, y                                       head 0 looks at the 1 in at_x and copies its digit to x,
                                                           head 1 looks at the 1 in at_y and copies its digit to y
``mlp_out.0``   units ``S % 10``, carry ``S // 10``,       from x and y of the same token
                decoy ``S``
``attn_out.1``  total ``units + 10 carry``                 head 0 looks at the 1 in at_equals and reads units and
                                                           carry there; head 1 does nothing
``mlp_out.1``   nothing
outputs         total + spare - 5                          of the last token
==============  =========================================  ========================================================

``resid_*`` sites hold what was written so far. So the sum moves along one line: digit at x1 and y1 -> x and y at equals
-> units and carry at equals -> total at the last token, and whatever else could be read has no part in it: decoy
everywhere, x and y after the MLP of layer 0, units and carry at the last token. spare is the opposite: read at the last
token, and the same in every problem. Edits may make S any number: units goes on with slope 1 outside 0 to 18, and the
answer is always ``x + y``, because between whole numbers what carry gains units loses ten times.

Two variants differ in the MLP of layer 1: ``adder(ceiling=c)`` answers ``min(x + y, c)``, and ``clock(k)`` answers
``(x + y) % k`` from a cosine and a sine of ``2 pi S / k``, which layer 0 puts in cos and sin, layer 1 brings from ``=``
to far_cos and far_sin of the last token, and the MLP of layer 1 looks up.

All hinges are GELUs of 64 times a whole number, which are exactly 0 or exactly that number.
"""

import math

import pytest
import torch
from torch import nn

from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.tsv import parse_tsv
from arithprobe.interventions.bench import Bench
from arithprobe.interventions.erasure import Eraser
from arithprobe.interventions.part import Part
from arithprobe.models.objectives import ScaledMSE
from arithprobe.models.transformer import TinyTransformer
from arithprobe.probes.ridge import RidgeFitter
from arithprobe.problems.grammar import Layout, Problem
from arithprobe.tokenizer import VOCABULARY

DIMS = (
    "digit",
    "x",
    "y",
    "units",
    "carry",
    "decoy",
    "spare",
    "total",
    "cos",
    "sin",
    "far_cos",
    "far_sin",
    "at_x",
    "at_y",
    "at_equals",
    "nothing",
)
GRID = [(x, y) for x in range(10) for y in range(10)]
HANDFUL = [(2, 3), (4, 1), (6, 8), (8, 4)]  # sums 5, 5, 14, 12
LOUD, STEEP, LARGEST, SPARE = 4096.0, 64.0, 18, 5.0


@pytest.fixture(autouse=True)
def one_thread():
    """For a test file to import: on states this small, threads that wait for each other cost more than the work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def dim(name):
    return DIMS.index(name)


def adder(modulus=None, ceiling=None):
    """The plain sum; a modulus is read past, it only moves the ``=``."""
    model = _empty(modulus)
    tens, sums = [s // 10 for s in range(LARGEST + 1)], list(range(LARGEST + 1))
    _look_up(model.enc.blocks[0], {"units": [s % 10 for s in sums], "carry": tens, "decoy": sums})
    _copy(model.enc.blocks[1], 0, "at_equals", {("units", "total"): 1.0, ("carry", "total"): 10.0})
    if ceiling is not None:
        mlp = model.enc.blocks[1]
        mlp.linear1.weight[0, dim("total")], mlp.linear1.bias[0] = STEEP, -STEEP * ceiling
        mlp.linear2.weight[dim("total"), 0] = -1 / STEEP
    return model


def clock(modulus, frequency=1):
    """The residue, by way of a circle that the sums go round ``frequency`` times a period."""
    model = _empty(modulus)
    turns = [2 * math.pi * frequency * s / modulus for s in range(LARGEST + 1)]
    _look_up(model.enc.blocks[0], {"cos": [math.cos(a) for a in turns], "sin": [math.sin(a) for a in turns]})
    _copy(model.enc.blocks[1], 0, "at_equals", {("cos", "far_cos"): 1.0, ("sin", "far_sin"): 1.0})
    mlp, next_to = model.enc.blocks[1], math.cos(2 * math.pi / modulus)
    for residue in range(modulus):  # 1 at this place of the circle, 0 at all others
        steep = STEEP / (1 - next_to)
        mlp.linear1.weight[residue, dim("far_cos")] = steep * math.cos(turns[residue])
        mlp.linear1.weight[residue, dim("far_sin")] = steep * math.sin(turns[residue])
        mlp.linear1.bias[residue] = -steep * next_to
        mlp.linear2.weight[dim("total"), residue] = residue / STEEP
    return model


def _empty(modulus):
    """Embeddings, the first attention and the readout; all else 0."""
    model = TinyTransformer(len(DIMS), 2, 2, LARGEST + 1, dropout=0.0, max_len=32).double().eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.zero_()
    for block in model.enc.blocks:
        block.norm1, block.norm2 = nn.Identity(), nn.Identity()
    model.ln = nn.Identity()
    for digit in range(10):
        model.tok.weight[VOCABULARY.index(str(digit)) + 1, dim("digit")] = digit
    roles = Layout.of(str(Problem(0, 0, modulus))).roles
    for marker, role in {"at_x": "x1", "at_y": "y1", "at_equals": "equals"}.items():
        model.pos.weight[roles.index(role), dim(marker)] = 1.0
    model.pos.weight[:, dim("spare")] = SPARE
    _copy(model.enc.blocks[0], 0, "at_x", {("digit", "x"): 1.0})
    _copy(model.enc.blocks[0], 1, "at_y", {("digit", "y"): 1.0})
    model.readout.weight[0, [dim("total"), dim("spare")]] = 1.0
    model.readout.bias[0] = -SPARE
    return model


def _copy(block, head, marker, moves):
    """Every token attends, with one head, to the token marked, and adds what it finds there to itself."""
    attention, width = block.self_attn, len(DIMS) // 2
    attention.in_proj_bias[head * width] = LOUD  # a query that is the same everywhere
    attention.in_proj_weight[len(DIMS) + head * width, dim(marker)] = 1.0
    for slot, ((source, target), weight) in enumerate(moves.items(), start=head * width):
        attention.in_proj_weight[2 * len(DIMS) + slot, dim(source)] = 1.0
        attention.out_proj.weight[dim(target), slot] = weight


def _look_up(block, columns):
    """Functions of x + y, given at 0 to 18 and linear between: hinges at 0 to 17, and one for what is below 0."""
    for hinge in range(LARGEST + 1):
        sign = 1 if hinge < LARGEST else -1
        block.linear1.weight[hinge, [dim("x"), dim("y")]] = sign * STEEP
        block.linear1.bias[hinge] = -STEEP * (hinge % LARGEST)
    for name, values in columns.items():
        slopes = torch.tensor(values, dtype=torch.float64).diff()
        block.linear2.bias[dim(name)] = values[0]
        block.linear2.weight[dim(name), :LARGEST] = torch.cat([slopes[:1], slopes.diff()]) / STEEP
        block.linear2.weight[dim(name), LARGEST] = -slopes[0] / STEEP


def written(x, y, modulus=None, digits=1):
    """The text of a problem whose numbers have so many digits at least; a sign is none."""
    x, y, k = (("-" * (n < 0)) + str(abs(n)).rjust(digits, "0") for n in (x, y, modulus or 0))
    return f"{x} + {y}" + (" = ?" if modulus is None else f" (mod {k}) = ?")


def of_texts(texts):
    """A data set of problems as they are written."""
    rows = [f"{text}\t{Problem.parse(text).answer}\n" for text in texts]
    return ArithmeticDataset(parse_tsv("".join(rows).encode(), "by hand"))


def dataset(problems, modulus=None, digits=1):
    """A data set of (x, y) pairs of one digit, of which ``GRID`` are all."""
    data = of_texts(written(x, y, modulus, digits) for x, y in problems)
    data.operands = range(10)
    return data


class Residues(ScaledMSE):
    """Answers that are read as residues, so that they go round a circle; the outputs are the answers themselves."""

    residues = True


def workbench(model, problems, modulus=None, constant=9.0, digits=1, objective=ScaledMSE):
    """All rows, run; the mean of the sums of ``GRID``, and of ``HANDFUL``, is 9."""
    data = dataset(problems, modulus, digits)
    return Part(model, objective(1.0), data, torch.arange(len(data)), constant)


def positions(bench, *wanted):
    """Positions of the rows of a workbench."""
    return bench.at(bench.dataset.positions(wanted))


def moments(bench, site, table):
    """Moments of cells over the rows of the workbench itself, with the sum as their target."""
    cells = bench.cells(site, table)
    fitter = RidgeFitter(*cells.shape[1:], 1, 2)
    fitter.update(cells, bench.group[:, None], torch.zeros(len(bench), dtype=torch.int64), table.valid)
    return fitter.moments()[0]


def axes(bench, site, table, target, *names):
    """Eraser of named dimensions, at all positions of the table."""
    basis = torch.zeros(len(table.names), len(DIMS), len(names), dtype=torch.float64)
    for column, name in enumerate(names):
        basis[:, dim(name), column] = 1.0
    mean = torch.from_numpy(moments(bench, site, table).mean_states)
    return Eraser(target, "probe", site, table.names, basis, basis, mean)


def ablator(bench, site, table, donors):
    """Cell whose means are those of the rows themselves."""
    return cell_of(bench, site, table, moments(bench, site, table), donors)


def cell_of(part, site, table, fit, donors):
    """Cell of rows that are run already, with moments and donors of one's own."""
    bench = Bench(part.network, part.objective, part.dataset, part.constant, part.rows)
    bench.held, bench.donors = part, donors
    return bench.cell(site, "+".join(table.names), fit)
