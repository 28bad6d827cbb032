"""Probes of many variables at the last token, whose scores tell when each emerges."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError
from arithprobe.probes.emergence import Readings
from arithprobe.probes.fourier import FourierSurvey
from arithprobe.probes.interval import FEWEST_GROUPS, groups_of
from arithprobe.probes.neighbours import told_apart
from arithprobe.probes.survey import RidgeSurvey, Split, folds_of, targets_by_group
from arithprobe.probes.targets import angle_columns, chosen_targets
from arithprobe.problems.circles import MOST_FREQUENCIES, Circle
from arithprobe.problems.rows import Rows


class Watched(NamedTuple):
    """The variables that are probed in some rows."""

    targets: tuple[str, ...]
    """Targets of one column."""
    circle: Circle | None
    """The residue's circle and its frequencies; None without a modulus, or where none are wanted."""
    left_out: tuple[str, ...]
    """What nobody named and these rows do not allow, with the reason."""


def watched(rows: Rows, targets: Sequence[str], frequencies: int | Sequence[int] | None, split: Split) -> Watched:
    """Choose the variables to look for.

    Args:
        rows: The data set.
        targets: Names; ``all`` is every target of the data that varies.
        frequencies: The largest frequency of the residue's circle, or a list, or 0 for none; by default all up to half
            the modulus and 48, or none where there is no modulus.
        split: How rows are held out, whatever the group.

    Raises:
        ArithprobeError: If a named variable does not exist, does not vary, or has too small folds or too few groups for
            an interval; or if nothing is left.
    """
    named = [name for name in targets if name != "all"]
    chosen, circle, left_out = chosen_targets(targets, rows), _circle(rows, frequencies), []
    for group in rows.groups:
        try:
            _check_groups(rows, split._replace(group=group))
        except ArithprobeError as error:
            of_circle = circle is not None and rows.group_of(circle.quantity) == group
            if any(rows.group_of(name) == group for name in named) or (of_circle and frequencies is not None):
                raise
            left_out.append(f"everything of {group}: {error}")
            chosen = [name for name in chosen if rows.group_of(name) != group]
            circle = None if of_circle else circle
    if not chosen and circle is None:
        raise ArithprobeError(f"nothing can be probed in {rows.path}: {'; '.join(left_out) or 'no target varies'}")
    return Watched(tuple(chosen), circle, tuple(left_out))


class EmergenceSurvey:
    """Folds the states of one pass into moments, then reads every variable at the last token of every site.

    Args:
        rows: The data set.
        sites: The S sites.
        what: The variables to look for.
        split: How rows are held out, all folds in turn; without permutations there are no p-values.
        d_model: Width D of the states.

    Attributes:
        variables: The V variables: targets by their group, then frequencies.
    """

    def __init__(self, rows: Rows, sites: Sequence[str], what: Watched, split: Split, d_model: int) -> None:
        self.rows, self.sites, self._targets = rows, tuple(sites), what.targets
        last = rows.positions(["last"])
        self._ridge = [
            RidgeSurvey(rows, sites, last, targets, split._replace(group=group), d_model)
            for group, targets in targets_by_group(what.targets, rows).items()
        ]
        self._fourier = (
            []
            if what.circle is None
            else [FourierSurvey(rows, sites, last, [what.circle], split, d_model, relabellings=0)]
        )
        self._surveys: list[RidgeSurvey | FourierSurvey] = [*self._ridge, *self._fourier]
        circles = [part.circle for survey in self._fourier for part in survey.parts]
        self.variables = (*what.targets, *(f"{one.name}f{n}" for one in circles for n in one.frequencies))

    def start(self) -> None:
        """Begin a pass with empty moments."""
        for survey in self._surveys:
            survey.start()

    def update(self, states: Mapping[str, Tensor], rows: Tensor) -> None:
        """Add a batch: states (B, T, D) by site, and (B,) row numbers."""
        for survey in self._surveys:
            survey.update(states, rows)

    @property
    def state(self) -> tuple[Tensor, ...]:
        """All tensors that it holds; they are sums over rows, to be added over ranks."""
        ridge = (part for survey in self._ridge for part in survey.fitter.state)
        return (*ridge, *(part for survey in self._fourier for part in survey.state))

    def readings(self, step: int | None, untrained: Tensor | None = None) -> Readings:
        """Fit and score.

        Args:
            step: Training step.
            untrained: (V, S) R2 of untrained networks, if there are any.
        """
        ridge = [scores for survey in self._ridge for scores in survey.scores("emergence")[0]]
        ridge.sort(key=lambda scores: self._targets.index(scores.target))
        circles = [circle for survey in self._fourier for circle in survey.scores()[0]]
        probes = [*ridge, *(scores for circle in circles for scores in circle.frequencies)]
        r2, low = (torch.stack([getattr(one, name)[:, 0] for one in probes]) for name in ("r2", "low"))
        p = torch.cat([*(one.p[None, :, 0] for one in ridge), *(circle.p_max[:, :, 0] for circle in circles)])
        untrained = torch.full_like(r2, -torch.inf) if untrained is None else untrained
        of_period = torch.ones_like(r2, dtype=torch.bool)
        if circles:
            of_period[len(ridge) :] = torch.cat([told_apart(circle.lead[:, :, 0]) for circle in circles])
        return Readings(step, self.variables, self.sites, r2, low, p, untrained, of_period)


def _check_groups(rows: Rows, split: Split) -> None:
    group = rows.group(split.group)
    folds_of(group, split, rows.path)
    if (count := round(groups_of(group).item())) < FEWEST_GROUPS:
        raise ArithprobeError(
            f"{rows.path}: the values of {split.group!r} are worth {count} groups of one size; expected "
            f"{FEWEST_GROUPS} or more, or R2 has no interval and nothing can be told to emerge"
        )


def _circle(rows: Rows, frequencies: int | Sequence[int] | None) -> Circle | None:
    """The circle of the residue."""
    modulus = rows.circle
    if modulus is None:
        if frequencies:
            raise ArithprobeError(
                f"frequencies of the residue: k is unknown, the answers of {rows.path} ({rows.task}) do not wrap around"
            )
        return None
    largest = min(modulus // 2, MOST_FREQUENCIES) if frequencies is None else frequencies
    circle = Circle(rows.answer, modulus, tuple(range(1, largest + 1) if isinstance(largest, int) else largest))
    columns, refused = angle_columns(*circle, rows.values(circle.quantity))
    if frequencies and not columns:
        raise ArithprobeError(f"{circle.name}: no frequency can be probed: {', '.join(refused)}")
    return circle if columns else None
