"""The result of Fourier probes of one circle."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from arithprobe.logic import State
from arithprobe.probes.metrics import permutation_p
from arithprobe.probes.neighbours import is_above_null, is_key_frequency, said_of, state_of_lead
from arithprobe.probes.scores import CellScores
from arithprobe.problems.circles import Circle


@dataclass(frozen=True)
class FourierScores:
    """Scores of one circle: F frequencies x S sites x P positions, (F, S, P) unless said otherwise."""

    circle: Circle
    """What was probed for, the degenerate frequencies left out."""
    refused: tuple[str, ...]
    """Columns left out by name, with the reason."""
    frequencies: tuple[CellScores, ...]
    """The F probes, one a frequency, with intervals and nulls."""
    r2: Tensor
    """Decode R2, held out."""
    macro: Tensor
    """(S, P) its mean over frequencies."""
    macro_null: Tensor
    """(S, P, permutations) null of the mean."""
    max_null: Tensor
    """(S, P, permutations) largest null score over frequencies, as a threshold to show; p_max is what decides."""
    p: Tensor
    """p-value of each frequency, against the null scores of all frequencies, standardised and pooled."""
    p_max: Tensor
    """Family-wise p-value, against the largest standardised null score."""
    height: Tensor
    """Skill in standard deviations above the mean of its frequency's null."""
    highest_null: Tensor
    """(S, P, permutations) largest height of the null over frequencies."""
    discovered: Tensor
    """Whether it is rejected with the false discovery rate held at 5 % over the frequencies of the cell."""
    encode_fve: Tensor
    """Share of the variance of the states explained, on held-out groups; NaN where the states do not vary."""
    relabelled: Tensor
    """R2 of the relabelled circle, mean over relabellings; NaN for periods below 4, which have none."""
    relabelled_high: Tensor
    """(S, P) the highest over relabellings and frequencies: what the best frequency has to be compared with. Half the
    period is left out where there are others."""
    neighbour: Tensor
    """The highest R2 of a wave of a neighbouring period (:mod:`arithprobe.probes.neighbours`); NaN where none is."""
    lead: Tensor
    """By how many standard errors R2 is above that of every neighbouring period; NaN where none varies."""

    @property
    def above_null(self) -> Tensor:
        """Whether each frequency is read better than a constant, and above the max-statistic null at 5 %."""
        return is_above_null(self.r2, self.p_max)

    @property
    def key(self) -> Tensor:
        """Whether each is a key frequency: above the null, and of this period rather than of a neighbouring one."""
        return is_key_frequency(self.r2, self.p_max, self.lead)

    def key_frequencies(self, site: str, position: str = "last") -> list[int]:
        """The key frequencies of a cell, best first."""
        return [self.circle.frequencies[f] for f in self._best_first(self.key, site, position)]

    def other_waves(self, site: str, position: str = "last") -> dict[int, str]:
        """The frequencies above the null that are not key frequencies, best first, and what they are, in words."""
        row, column = self._cell(site, position)
        found = self._best_first(self.above_null & ~self.key, site, position)
        return {
            (n := self.circle.frequencies[f]): said_of(state_of_lead(float(self.lead[f, row, column])), self.circle, n)
            for f in found
        }

    def _best_first(self, chosen: Tensor, site: str, position: str) -> list[int]:
        """Indices of the chosen frequencies of a cell."""
        row, column = self._cell(site, position)
        found = [f for f in range(len(chosen)) if chosen[f, row, column]]
        return sorted(found, key=lambda f: float(self.r2[f, row, column]), reverse=True)

    def of_full_period(self) -> list[int]:
        """Indices of the frequencies that share no divisor with the period; the others have a shorter period."""
        return [f for f, n in enumerate(self.circle.frequencies) if math.gcd(n, self.circle.period) == 1]

    def at(self, site: str, position: str = "last") -> list[dict[str, Any]]:
        """The scores of one cell, one record per frequency."""
        row, column = self._cell(site, position)
        names = ("p", "p_max", "discovered", "encode_fve", "relabelled", "neighbour", "lead")
        return [
            {"frequency": n}
            | self.frequencies[f].at(site, position)
            | {name: float(getattr(self, name)[f, row, column]) for name in names}
            | {"of_period": state_of_lead(float(self.lead[f, row, column]))}
            for f, n in enumerate(self.circle.frequencies)
        ]

    def cells(self, position: str = "last") -> Iterator[dict[str, Any]]:
        """One flat record per site and frequency; ``key`` says whether it is a key frequency there."""
        for site in self.sites:
            key = self.key_frequencies(site, position)
            for cell in self.at(site, position):
                yield {"site": site} | cell | {"key": cell["frequency"] in key}

    @property
    def sites(self) -> tuple[str, ...]:
        """The S sites."""
        return self.frequencies[0].sites

    @property
    def positions(self) -> tuple[str, ...]:
        """The P positions."""
        return self.frequencies[0].positions

    def _cell(self, site: str, position: str) -> tuple[int, int]:
        return self.sites.index(site), self.positions.index(position)


class PeriodScore(NamedTuple):
    """The best frequency of one small circle at one site's last token."""

    circle: Circle
    """The circle."""
    frequency: int
    """Its best frequency of full period; the others have a shorter period, and count there."""
    r2: float
    """Held-out R2 of the circle at that frequency."""
    relabelled: float
    """That of the relabelled circle: as high means that values are told apart, not that there is a circle."""
    p: float
    """Family-wise over all small circles of the group of rows (sums, x, or y), by the largest null."""
    neighbour: float
    """R2 of the best wave of a neighbouring period; NaN where none varies."""
    lead: float
    """By how many standard errors R2 is above that of every neighbouring period; NaN where none varies."""

    @property
    def of_period(self) -> State:
        """Whether the frequency is of this period rather than of a neighbouring one."""
        return state_of_lead(self.lead)

    @property
    def above_null(self) -> bool:
        """Whether it is read better than a constant, and than permuted labels at any small period of the group."""
        return is_above_null(self.r2, self.p)

    @property
    def found(self) -> bool:
        """Whether it is a key frequency of the circle: above the null, and of this period."""
        return is_key_frequency(self.r2, self.p, self.lead)

    @property
    def other_wave(self) -> str:
        """What the frequency is, in words, if it is above the null but not found; else empty."""
        return said_of(self.of_period, self.circle, self.frequency) if self.above_null else ""


def best_periods(small: Sequence[FourierScores], site: str) -> list[PeriodScore]:
    """Return the best frequency of each small circle, tested over all circles that share its permutations."""
    groups = [one.frequencies[0].group for one in small]
    cell = (small[0].sites.index(site), small[0].positions.index("last")) if small else (0, 0)
    highest: dict[str, Tensor] = {}
    for one, group in zip(small, groups, strict=True):
        own = one.highest_null[cell]
        highest[group] = torch.maximum(own, highest.get(group, own))
    found = []
    for one, group in zip(small, groups, strict=True):
        best = max(one.of_full_period(), key=lambda f: float(one.r2[f][cell].nan_to_num(nan=-torch.inf)), default=None)
        if best is not None:
            scores = (float(one.r2[best][cell]), float(one.relabelled[best][cell]))
            p = float(permutation_p(one.height[best][cell], highest[group]))
            neighbour, lead = float(one.neighbour[best][cell]), float(one.lead[best][cell])
            frequency = one.circle.frequencies[best]
            found.append(PeriodScore(one.circle, frequency, *scores, p, neighbour, lead))
    return found
