"""Probes of claimed variables at the last token, with the controls that could explain their scores away.

A claim is that a variable lies on a line or round a circle. The held-out R2 of its probe is compared with

* the *null*: permuted labels (for a circle, the largest over its frequencies);
* the *control task*: a probe that memorises (:mod:`arithprobe.probes.selectivity`);
* the *relabelled* line or circle: the same values, renamed at random 19 times. A probe that scores as well on one of
  them, at any frequency, tells values apart whatever their order: there is no line and no circle;
* for a circle, *neighbouring periods* (:mod:`arithprobe.probes.neighbours`).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError
from arithprobe.logic import FEWEST_DRAWS
from arithprobe.probes.fourier import FourierSurvey
from arithprobe.probes.neighbours import is_key_frequency
from arithprobe.probes.selectivity import SelectivitySurvey
from arithprobe.probes.survey import RidgeSurvey, Split, Target
from arithprobe.probes.targets import target_values
from arithprobe.problems.circles import MOST_FREQUENCIES, Circle, planes_name, planes_of
from arithprobe.problems.positions import PositionTable
from arithprobe.problems.rows import Rows

_RELABELLINGS = FEWEST_DRAWS  # so that being above all of them is below 5 % of chance
_FEWEST_VALUES = 3  # two values lie on a line in any order


class Claim(NamedTuple):
    """A variable, and the shape on which it is claimed to lie."""

    name: str
    """As asked for: a target, planes of a circle (then all of them are claimed), or ``residue`` (at any frequency)."""
    circle: Circle | None
    """The circle it goes round, with the frequencies to look for; None for a line."""

    @property
    def shape(self) -> Literal["line", "circle"]:
        """The shape on which the variable is claimed to lie."""
        return "line" if self.circle is None else "circle"


def claim_of(name: str, rows: Rows, most: int = MOST_FREQUENCIES) -> Claim:
    """Return a claim by name.

    The residue is claimed to go round a circle of its modulus at any frequency up to ``most``; planes such as
    ``summod10f1+2`` are claimed at all of their frequencies; any other target is claimed to lie on a line.

    Raises:
        ArithprobeError: If the data has no such variable, it does not vary, or its planes have a shorter period.
    """
    if name == "residue":
        target_values(name, rows)
        period = rows.circle or 2
        return Claim(name, Circle("residue", period, tuple(range(1, min(period // 2, most) + 1))))
    circle = planes_of(name)
    if circle is None:
        target_values(name, rows)
    elif (shared := math.gcd(circle.period, *circle.frequencies)) > 1:
        shorter = planes_name(circle.quantity, circle.period // shared, [n // shared for n in circle.frequencies])
        raise ArithprobeError(f"claim {name!r}: goes round {circle.period // shared}, its name is {shorter!r}")
    return Claim(name, circle)


class ClaimScores(NamedTuple):
    """Scores of a claim at the last token of S sites; (F, S) each, for F frequencies of a circle, or 1."""

    claim: Claim
    """With the frequencies that are not degenerate."""
    sites: tuple[str, ...]
    """The S sites, from the embedding up."""
    r2: Tensor
    """Held-out R2; of cosine and sine together."""
    low: Tensor
    """Lower end of its 95 % interval."""
    high: Tensor
    """Upper end."""
    p: Tensor
    """p-value against permuted labels; of a circle, against the largest over its frequencies."""
    null_high: Tensor
    """95 % quantile of the scores on permuted labels."""
    task_on_pairs: Tensor
    """R2 of the variable under the split of the control task."""
    control_on_pairs: Tensor
    """R2 of the control task."""
    relabelled: Tensor
    """R2 of the relabelled variable, the highest over relabellings and frequencies; NaN where there are too few values
    for a renaming that changes more than a reflection or a turn."""
    neighbour: Tensor
    """R2 of the best wave of a neighbouring period; NaN for a line, or where none varies."""
    lead: Tensor
    """By how many standard errors R2 is above that of every neighbouring period; NaN as there."""

    @property
    def key(self) -> Tensor:
        """Whether each is a key frequency; False everywhere for a line."""
        return is_key_frequency(self.r2, self.p, self.lead)

    def deciding(self, site: str) -> int:
        """The frequency that decides at a site: the best of the residue's, the worst of planes claimed by name."""
        r2 = self.r2[:, self.sites.index(site)].nan_to_num(nan=-torch.inf)
        return int(r2.argmin() if planes_of(self.claim.name) is not None else r2.argmax())


class ClaimSurvey:
    """Folds states into moments for one claim and its controls.

    Args:
        claim: The claim.
        rows: The data set.
        sites: The S sites.
        last: (N, 1) the last token of every row.
        split: How rows are held out; without permutations no controls are computed, as for an untrained network.
        d_model: Width D of the states.

    Raises:
        ArithprobeError: If the claim has only degenerate frequencies, or a fold is too small.

    Attributes:
        own: The survey of the claim itself, frequency by frequency, without controls.
        split: How rows are held out, by the claim's group.
    """

    def __init__(
        self, claim: Claim, rows: Rows, sites: Sequence[str], last: PositionTable, split: Split, d_model: int
    ) -> None:
        self.controlled = split.permutations > 0
        self._selectivity: SelectivitySurvey | None = None
        self._fourier: FourierSurvey | None = None
        where = (rows, sites, last)
        if claim.circle is None:
            values = target_values(claim.name, rows)
            own = [Target(claim.name, values[:, None])]
            split = split._replace(group=rows.group_of(claim.name))
            others = _relabelled(own[0], split.seed) if self.controlled else []
            self._ridge = RidgeSurvey(*where, [*own, *others], split, d_model)
        else:
            relabellings = _RELABELLINGS if self.controlled else 0
            self._fourier = FourierSurvey(*where, [claim.circle], split, d_model, relabellings)
            self._ridge = self._fourier.ridge
            claim = claim._replace(circle=self._fourier.parts[0].circle)
            own = self._ridge.targets[: len(self._fourier.parts[0].circle.frequencies)]
        if self.controlled:
            group = self._ridge.split.group
            self._selectivity = SelectivitySurvey(
                *where, own, group, d_model, split.folds, seed=split.seed, alphas=split.alphas
            )
        self.claim, self.own, self.split = claim, own, self._ridge.split
        self.rows, self.sites, self.positions, self.d_model = *where, d_model

    def update(self, states: Mapping[str, Tensor], rows: Tensor) -> None:
        """Add a batch: states (B, T, D) by site, and (B,) row numbers."""
        for survey in (self._fourier or self._ridge, self._selectivity):
            if survey is not None:
                survey.update(states, rows)

    def r2(self) -> Tensor:
        """The (F, S) held-out R2 alone, as for an untrained network."""
        count = 1 if self.claim.circle is None else len(self.claim.circle.frequencies)
        return torch.stack([one.r2[:, 0] for one in self._ridge.scores("claim")[0][:count]])

    def scores(self) -> ClaimScores:
        """Fit and score."""
        if self._fourier is None:
            own, *others = self._ridge.scores("claim")[0]
            cells, p = [own], own.p[None]
            every = [one.r2.nan_to_num(nan=-torch.inf) for one in others]
            relabelled = (torch.stack(every).amax(dim=0) if every else own.r2 * torch.nan)[None]
            neighbour = lead = torch.full_like(p, torch.nan)
        else:
            (circle,), _ = self._fourier.scores()
            cells, p = list(circle.frequencies), circle.p_max
            relabelled = circle.relabelled_high.expand_as(p)
            neighbour, lead = circle.neighbour, circle.lead
        task = control = torch.full_like(p, torch.nan)
        if self._selectivity is not None:
            task, control, _ = self._selectivity.scores()
        fields = (
            *(torch.stack([getattr(one, name) for one in cells]) for name in ("r2", "low", "high")),
            p,
            torch.stack([one.null_high for one in cells]),
            task,
            control,
            relabelled,
            neighbour,
            lead,
        )
        return ClaimScores(self.claim, self._ridge.sites, *(one[..., 0] for one in fields))


def _relabelled(target: Target, seed: int) -> list[Target]:
    """Its values renamed at random, renaming by renaming; none where there are two values."""
    values, index = torch.unique(target.columns[:, 0], return_inverse=True)
    if len(values) < _FEWEST_VALUES:
        return []
    generator = torch.Generator().manual_seed(seed)
    order = torch.arange(len(values))
    found: list[Target] = []
    while len(found) < _RELABELLINGS:
        other = torch.randperm(len(values), generator=generator)
        if not (torch.equal(other, order) or torch.equal(other, order.flip(0))):  # a reflection is still the line
            found.append(Target(f"{target.name}relabelled{len(found)}", values[other][index, None], False, target))
    return found
