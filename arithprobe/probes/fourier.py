r"""Fourier probes: whether a quantity is laid out on a circle.

A quantity q with period k goes around ``n`` times per period as ``theta_n = 2 pi n q / k``. For each frequency n

* *decode*: held-out R2 of ridge probes for cosine and sine together, ``1 - (SSE_cos + SSE_sin) / (SST_cos + SST_sin)``;
* *encode*: the share of the variance of the states that cosine and sine explain (fraction of variance explained, FVE),
  by a regression fitted on the other groups: it is below 0 if they explain nothing. Decode can be 1 while encode is a
  thousandth;
* the *relabelled circle*: the same probes for ``pi(q mod k)`` with a random permutation pi. It keeps the differences of
  values and destroys the circle, so a score that it shares is no evidence of a circle;
* *neighbouring periods*: waves that go round a little faster or slower, see :mod:`arithprobe.probes.neighbours`.

The null of a frequency is the same fit on permuted labels. All frequencies share the permutations, so the largest null
score over frequencies, each in its own standard deviations, gives family-wise p-values (max statistic; Westfall and
Young 1993).
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError
from arithprobe.logic import LEVEL
from arithprobe.probes.circles import FourierScores
from arithprobe.probes.metrics import false_discovery, permutation_p
from arithprobe.probes.neighbours import Neighbours, neighbours_of
from arithprobe.probes.repeated import Repeated, narrow
from arithprobe.probes.scores import CellScores
from arithprobe.probes.survey import RidgeSurvey, Split, Target
from arithprobe.probes.targets import angle_columns, distinct_angle_columns, target_values
from arithprobe.problems.circles import Circle
from arithprobe.problems.positions import PositionTable
from arithprobe.problems.rows import Rows

_ROUNDING = 1e-12  # variance of states relative to their squares, below which they do not vary
_FEWEST_VALUES = 4  # of fewer, every relabelling is a rotation or a reflection


class CirclePart(NamedTuple):
    """One circle of a survey."""

    circle: Circle
    """With the F frequencies that are not degenerate."""
    refused: tuple[str, ...]
    """Columns left out by name, with the reason."""
    first: int
    """Number of its first target; the others follow."""
    waves: tuple[int, ...]
    """F + 1 offsets: the columns of its frequency f are those from ``waves[f]`` to ``waves[f + 1]``."""
    neighbours: Neighbours
    """Waves of neighbouring periods; none without permutations, where nothing is called a key frequency."""


class FourierSurvey:
    """Folds the states of one pass into moments, then scores the frequencies of some circles in every cell.

    Args:
        rows: The data set.
        sites: The S sites.
        positions: The P positions of every row.
        circles: The circles to look for; all have one group.
        split: How rows are held out; its group is that of the quantities.
        d_model: Width D of the states.
        relabellings: Number of relabelled circles.

    Raises:
        ArithprobeError: If a circle has only degenerate frequencies, k is unknown, or a fold is too small.

    Attributes:
        ridge: The moments of all columns: the waves of the circles, then the controls.
        parts: The circles.
    """

    def __init__(
        self,
        rows: Rows,
        sites: Sequence[str],
        positions: PositionTable,
        circles: Sequence[Circle],
        split: Split,
        d_model: int,
        relabellings: int = 3,
    ) -> None:
        self.rows = rows
        targets: list[Target] = []
        controls: list[Target] = []
        self.parts: list[CirclePart] = []
        width = 0
        for circle in circles:
            columns, refused, place = distinct_angle_columns(*circle, rows.values(circle.quantity))
            place = narrow(place, circle.period)
            if not columns:
                reasons = ", ".join(refused) or "none is named"
                raise ArithprobeError(f"{circle.name}: no frequency can be probed: {reasons}")
            circle = circle._replace(frequencies=tuple(columns))
            offsets = tuple(itertools.accumulate(map(len, columns.values()), initial=width))
            neighbours = neighbours_of(circle, rows) if split.permutations else Neighbours((), ())
            self.parts.append(CirclePart(circle, tuple(refused), len(targets), offsets, neighbours))
            targets += [_target(f"{circle.name}f{n}", waves, place) for n, waves in columns.items()]
            controls += [*_relabelled(circle, rows, relabellings, split.seed), *neighbours.targets]
            width = offsets[-1]
        split = split._replace(group=rows.group_of(circles[0].quantity))
        self.ridge = RidgeSurvey(rows, sites, positions, [*targets, *controls], split, d_model)
        self._count, self._relabellings, self._width = len(targets), relabellings, width
        self._waves = self.ridge.columns.leading(width)
        self.start()

    def start(self) -> None:
        """Begin a pass with empty moments."""
        self.ridge.start()
        width, positions = 1 + self._width, len(self.ridge.positions.names)
        self._products = torch.zeros(len(self.ridge.fitter.gram), positions, width, width, dtype=torch.float64)

    @property
    def state(self) -> tuple[Tensor, ...]:
        """All tensors that it holds; they are sums over rows, to be added over ranks."""
        return (*self.ridge.fitter.state, self._products)

    def update(self, states: Mapping[str, Tensor], rows: Tensor) -> None:
        """Add a batch: states (B, T, D) by site, and (B,) row numbers."""
        self.ridge.update(states, rows)
        rows = rows.cpu()
        waves = self._waves[rows]
        waves = torch.cat([waves.new_ones(len(waves), 1), waves], dim=1)
        fold = self.ridge.fold[rows]
        for block, products in enumerate(self._products):
            for own, valid in zip(products, self.ridge.valid[rows].T, strict=True):
                chosen = waves[valid & (fold == block)]
                own.addmm_(chosen.T, chosen)

    def scores(self) -> tuple[list[FourierScores], str]:
        """Fit and score, with one result per circle; see :meth:`RidgeSurvey.scores`."""
        scores, cost = self.ridge.scores("fourier")
        controls = {one.target: one.r2 for one in scores[self._count :]}
        found = []
        for part in self.parts:
            own = scores[part.first : part.first + len(part.circle.frequencies)]
            names = [[f"{one.target}relabelled{number}" for number in range(self._relabellings)] for one in own]
            others = [[controls[name] for name in of_one if name in controls] for of_one in names]
            beside = [controls[one.name] for one in part.neighbours.targets]
            found.append(self._read(part, own, others, beside))
        return found, cost

    def _read(
        self, part: CirclePart, own: Sequence[CellScores], others: Sequence[Sequence[Tensor]], beside: Sequence[Tensor]
    ) -> FourierScores:
        r2 = torch.stack([one.r2 for one in own])
        null = torch.stack([one.null for one in own])  # (F, S, P, permutations)
        relabelled = [torch.stack(list(some)).mean(dim=0) if some else r2[0] * torch.nan for some in others]
        # a single wave, renamed, can be a linear function of a circle's two: of 4 values it always is
        two = [some for some, n in zip(others, part.circle.frequencies, strict=True) if 2 * n != part.circle.period]
        every = [one for some in two or others for one in some]
        high = torch.stack(every).nan_to_num(nan=-torch.inf).amax(dim=0) if every else r2[0] * torch.nan
        height, null_height = _heights(torch.stack([one.skill for one in own]), null)
        p = torch.stack([permutation_p(one, null_height.permute(1, 2, 0, 3).flatten(2)) for one in height])
        highest = null_height.amax(dim=0)
        neighbour, lead = part.neighbours.compare(r2, beside, self.ridge.held_out_groups)
        return FourierScores(
            circle=part.circle,
            refused=part.refused,
            frequencies=tuple(own),
            r2=r2,
            macro=r2.mean(dim=0),
            macro_null=null.mean(dim=0),
            max_null=null.amax(dim=0),
            p=p,
            p_max=torch.stack([permutation_p(one, highest) for one in height]),
            height=height,
            highest_null=highest,
            discovered=false_discovery(p.flatten(1).T, LEVEL).T.reshape(p.shape),
            encode_fve=self._encoded(part),
            relabelled=torch.stack(relabelled),
            relabelled_high=high,
            neighbour=neighbour,
            lead=lead,
        )

    def _encoded(self, part: CirclePart) -> Tensor:
        """(F, S, P) share of the variance of the states of held-out groups that each frequency's waves explain."""
        fitter, shape = self.ridge.fitter, (len(self.ridge.sites), len(self.ridge.positions.names))
        gram, cross = (whole.unflatten(1, shape) for whole in (fitter.gram, fitter.cross))  # type: ignore[no-untyped-call]
        constant = gram[..., 0, 1:, None]  # (blocks, S, P, D, 1)
        squares = gram.diagonal(dim1=-2, dim2=-1)[..., 1:].sum(dim=-1)  # (blocks, S, P)
        shares = []
        for first, last in itertools.pairwise(part.waves):
            own = torch.tensor([0, *range(1 + first, 1 + last)])
            inner = self._products[:, None][..., own, :][..., own]  # (blocks, 1, P, 1 + w, 1 + w)
            outer = torch.cat([constant, cross[..., 1:, first:last]], dim=-1)  # (blocks, S, P, D, 1 + w)
            wave = _left_over(squares, inner, outer, self.ridge.held_out)
            mean = _left_over(squares, inner[..., :1, :1], outer[..., :1], self.ridge.held_out)
            size = squares[list(self.ridge.held_out)].sum(dim=0)
            shares.append(torch.where(mean > _ROUNDING * size, 1 - wave / mean, torch.nan))
        return torch.stack(shares)


def _left_over(squares: Tensor, inner: Tensor, outer: Tensor, held_out: Sequence[int]) -> Tensor:
    """(S, P) squared error of states of held-out blocks, by a regression on waves fitted on the other blocks."""
    error = torch.zeros_like(squares[0])
    for index in held_out:
        inverse = torch.linalg.pinv(inner.sum(dim=0) - inner[index], hermitian=True)
        slope = (outer.sum(dim=0) - outer[index]) @ inverse  # (S, P, D, w)
        error += squares[index] - 2 * (slope * outer[index]).sum(dim=(-1, -2))
        error += ((slope @ inner[index]) * slope).sum(dim=(-1, -2))
    return error.clamp(min=0)


def _heights(skill: Tensor, null: Tensor) -> tuple[Tensor, Tensor]:
    """Skills in standard deviations above their frequency's mean, so that frequencies compare.

    A frequency with one wave has a wider null than one with two. Mean and deviation are those of the true and the
    permuted labels together, so that under the null all of them remain exchangeable.

    Args:
        skill: (F, S, P) skill on true labels.
        null: (F, S, P, permutations) skill on permuted labels.
    """
    both = torch.cat([skill[..., None], null], dim=-1)
    scale = both.std(dim=-1, correction=0, keepdim=True)
    heights = (both - both.mean(dim=-1, keepdim=True)) / torch.where(scale > 0, scale, 1.0)
    return heights[..., 0], heights[..., 1:]


def _relabelled(circle: Circle, rows: Rows, count: int, seed: int) -> list[Target]:
    """Waves of the values under random permutations, relabelling by relabelling; those that vary.

    A permutation ``r -> a r + b`` only turns the circle or renames its frequencies, so it is drawn again; of two or
    three values there are no others.
    """
    if circle.period < _FEWEST_VALUES:
        return []
    values = target_values(f"{circle.quantity}mod{circle.period}", rows).long()
    residue, place = torch.unique(values, return_inverse=True)
    place = narrow(place, circle.period)
    generator = torch.Generator().manual_seed(seed)
    found = []
    for number in range(count):
        permutation = torch.randperm(circle.period, generator=generator)
        while len(torch.unique((permutation.roll(-1) - permutation) % circle.period)) == 1:
            permutation = torch.randperm(circle.period, generator=generator)
        other = permutation[residue]
        for n, waves in angle_columns("x", circle.period, circle.frequencies, other)[0].items():
            found.append(_target(f"{circle.name}f{n}relabelled{number}", waves, place, has_null=False))
    return found


def _target(name: str, waves: Mapping[str, Tensor], place: Tensor, *, has_null: bool = True) -> Target:
    """The waves of a frequency, of each place on the circle, and the place of each row."""
    return Target(name, Repeated(torch.stack(list(waves.values()), dim=1), place), has_null)
