"""One site and set of positions: what can be taken out there, put in, moved, and what the answers make of it."""

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from arithprobe.errors import ArithprobeError
from arithprobe.interventions.ablation import (
    AblationRun,
    changes_of,
    effect_of,
    family_of,
    moved_within,
    replacement,
)
from arithprobe.interventions.certificate import linear_r2
from arithprobe.interventions.directions import filter_and_pattern
from arithprobe.interventions.erasure import Eraser, fit_erasers, shuffled_erasers
from arithprobe.interventions.halves import Halves
from arithprobe.interventions.interchange import Interchange, RowSpace, interchange, row_space_of
from arithprobe.interventions.kinds import AblationKind, ErasureKind, FamilyName, require_kind
from arithprobe.interventions.patching import whole_state_answers
from arithprobe.interventions.random_family import draw_beside, overlap_of, size_of
from arithprobe.interventions.steering import SteeringCurve, steer_circle, steer_line
from arithprobe.linalg import Array
from arithprobe.probes.moments import ALPHAS, Moments, alpha_choice
from arithprobe.probes.variables import Variable
from arithprobe.problems.positions import PositionTable

_STEERABLE = 0.25  # held-out R2 below which a variable is not steered: its pattern would be mostly noise


class Cell:
    """A site and set of positions of a bench, edited together; made by ``bench.cell(site, where)``.

    Args:
        bench: The network and both parts of the rows.
        site: The site.
        where: The positions, as they are called in the ledger.
        table: (N, P) positions of all rows.
        fit: Moments of the P cells, over the rows that means and covariances come from.
        held: The same over the rows held out, if they were folded.

    Raises:
        ArithprobeError: If there are fewer than two examples on either side.

    Attributes:
        table: (N, P) positions of the rows held out.
        states: (N, P, D) their unedited states.
    """

    def __init__(
        self, bench: Halves, site: str, where: str, table: PositionTable, fit: Moments, held: Moments | None
    ) -> None:
        self.bench, self.part, self.site, self.where, self.fit = bench, bench.held, site, where, fit
        self._of_all, self._held = table, held
        self.table = self.part.at(table)
        names = table.names
        self._filled = torch.from_numpy(fit.n >= 2) & (self.table.valid.sum(dim=0) >= 2)
        if not bool(self._filled.any()):
            shown = "+".join(names) if len(names) < 4 else f"{len(names)} positions"
            raise ArithprobeError(
                f"{site}@{shown}: {int(fit.n.max())} rows to fit on and {int(self.table.valid.sum(dim=0).max())} to "
                "ablate; mean and resample ablation need two or more of each"
            )
        self.states = self.part.cells(site, self.table)
        self._mean = torch.from_numpy(fit.mean_states).to(self.states)
        self._isotropic: dict[str, Tensor] = {}

    @property
    def held(self) -> Moments:
        """Moments of the P cells over the rows held out.

        Raises:
            ArithprobeError: If the bench has none.
        """
        if self._held is None:
            raise ArithprobeError(
                "the moments of the rows held out were not folded: they are without moments of one's own"
            )
        return self._held

    @cached_property
    def row_space(self) -> RowSpace:
        """What the rest of the network sees here."""
        return row_space_of(self.part, self.site, self.table)

    def eraser(
        self,
        variable: str,
        kind: ErasureKind,
        *,
        rank: int | None = None,
        alphas: float | Sequence[float] = ALPHAS,
        relative: bool = True,
    ) -> Eraser:
        """An eraser fitted on the rows to fit on, see :func:`~arithprobe.interventions.erasure.fit_erasers`."""
        return fit_erasers(
            kind, self.fit.columns(self.bench.columns_of(variable)), target=variable, site=self.site,
            positions=self.table.names, rank=rank if kind == "inlp" else None, alphas=alphas, relative=relative,
            checkpoint=self.bench.weights,
        )  # fmt: skip

    def ablate(
        self,
        eraser: Eraser,
        kind: AblationKind = "mean",
        families: Sequence[FamilyName] = (),
        draws: int = 0,
        seed: int = 0,
    ) -> AblationRun:
        """Take a subspace out, beside random subspaces.

        Args:
            eraser: The subspace.
            kind: What takes the place of what is taken out.
            families: How random subspaces are drawn.
            draws: Random subspaces of each family.
            seed: Seed of them.

        Raises:
            ArithprobeError: If the kind or a family is unknown, or the eraser is for other states.
        """
        require_kind(kind, AblationKind, "ablation")
        eraser.require_width(self.states)
        left, right = eraser.left.numpy() * self._kept, eraser.right.numpy() * self._kept
        toward, taken = self._toward(kind, eraser.mean), (torch.from_numpy(part)[None] for part in (left, right))
        spread = changes_of(toward, self.table.valid)
        own = self.part.run(self.site, self.table, 1, moved_within(self.states, toward, *taken))
        scores, size = self.part.scores(own), float(size_of(left, right, *spread))
        outputs, found, chance = {}, [], left.shape[-1] / self.states.shape[-1]
        for name in families:
            basis, note = draw_beside(name, left, right, spread[0], draws, seed, self.table.names)
            outputs[name] = self._random_outputs(name, kind, basis, eraser.mean)
            removed = size_of(basis, basis, *spread) / size if size else np.full(len(basis), np.nan)
            beside = (float(scores.rmse[0]), removed, overlap_of(basis, left), chance, note)
            found.append(family_of(self.part, name, outputs[name], *beside))
        return AblationRun(effect_of(self.part, kind, scores, size, tuple(found)), own[0], outputs)

    def without(self, kind: AblationKind, left: Tensor, right: Tensor, mean: Tensor | None = None) -> Tensor:
        """(M, N, K) outputs with the subspaces ``left``, ``right`` (M, P, D, R) ablated.

        The (P, D) mean is that of the moments, if not given.
        """
        ablated = moved_within(self.states, self._toward(kind, mean), left, right)
        return self.part.run(self.site, self.table, len(left), ablated)

    def without_each(self, erasers: Sequence[Eraser]) -> Tensor:
        """(M, N, K) outputs without each of M subspaces, their part replaced by its mean."""
        width = max(one.rank for one in erasers)
        left, right = (
            torch.stack([F.pad(getattr(one, side), (0, width - one.rank)) for one in erasers])
            for side in ("left", "right")
        )
        return self.without("mean", left, right)

    def only(self, eraser: Eraser) -> Tensor:
        """(1, N, K) outputs when all but what an eraser takes out is replaced by its mean."""
        identity = torch.eye(eraser.left.shape[1], dtype=torch.float64)
        rest = identity - eraser.left @ eraser.right.transpose(1, 2)  # (P, D, D)
        return self.without("mean", rest[None], identity.expand_as(rest)[None], eraser.mean)

    def shuffled(self, variable: str, draws: int, seed: int) -> Tensor:
        """(M, N, K) outputs without what LEACE takes out for M permutations of a variable's labels, at its rank.

        Labels are permuted between groups (sums; for what is a function of x, x), as in the null of the probes: a label
        that is one function of the sum has far larger chance covariances with states that are another than labels drawn
        row by row.

        Raises:
            ArithprobeError: If the bench has no rows to fit on.
        """
        part = self.bench.fit
        if part is None:
            raise ArithprobeError("this bench was made without rows to fit on, so nothing can be fitted on them")
        group = self.bench.rows.group(variable)[part.rows]
        labels = self.bench.labels[part.rows][:, self.bench.columns_of(variable)]  # (n, k)
        table = part.at(self._of_all)
        erasers = shuffled_erasers(part.cells(self.site, table), table.valid, labels, group, draws, seed)
        return self.without_each(erasers)

    def swap(self, eraser: Eraser, draws: int, seed: int, done: AblationRun | None = None) -> Interchange | None:
        """The interchange of a subspace with the donors, from a resample ablation that is done, or done here."""
        if done is None or "isotropic" not in done.random:
            done = self.ablate(eraser, "resample", ["isotropic"], draws, seed)
        random = done.random["isotropic"]
        return interchange(self.part, eraser, self.table, self.bench.donors, done.outputs, random, self.row_space)

    def patch(self) -> Tensor:
        """(N,) answers with the whole state of each row's donor here."""
        return whole_state_answers(self.part, self.site, self.table, self.bench.donors)

    def r2_of(self, variable: str) -> Array:
        """(P,) R2 of ridge probes of a variable, fitted on the rows to fit on, on the rows held out."""
        own = self.bench.columns_of(variable)
        return linear_r2(self.fit.columns(own), self.held.columns(own))

    def steer(self, variable: Variable, draws: int, seed: int, r2: Array | None = None) -> SteeringCurve | None:
        """The response to moving a variable at every position from which it is readable.

        Args:
            variable: The variable.
            draws: Random patterns beside it.
            seed: Seed of them.
            r2: (P,) R2 of it, where that is known.

        Returns:
            The curve, or None where it is hardly readable, or nobody knows what the answer would be.
        """
        part, r2 = self.part, self.r2_of(variable.name) if r2 is None else r2
        expected = self.bench.rows.per_unit(variable.name)
        circle = variable.circle if variable.circle is not None and variable.circle.period == part.modulus else None
        readable = np.flatnonzero(np.nan_to_num(r2, nan=0.0) >= _STEERABLE).tolist()
        if not readable or (expected is None and circle is None):
            return None
        fit, choice = (
            self.fit.columns(self.bench.columns_of(variable.name)),
            alpha_choice(ALPHAS, "gcv", 1, relative=True),
        )
        parts = [filter_and_pattern(fit.cell(position), choice) for position in readable]
        slope, intercept, pattern = (torch.from_numpy(np.stack(one)) for one in zip(*parts, strict=True))
        table = PositionTable(
            tuple(self.table.names[position] for position in readable),
            self.table.token[:, readable], self.table.valid[:, readable],
        )  # fmt: skip
        if circle is not None:
            weights, turned = (slope, intercept, pattern), (circle.period, circle.frequencies)
            return steer_circle(part, self.site, table, variable.name, weights, *turned, draws=draws, seed=seed)
        spread, per_unit = float(variable.columns[part.rows].std(correction=0)), float(expected or 0.0)
        line = pattern[..., 0]
        return steer_line(part, self.site, table, variable.name, line, spread, per_unit, draws=draws, seed=seed)

    def _random_outputs(self, name: FamilyName, kind: AblationKind, basis: Array, mean: Tensor) -> Tensor:
        """(M, N, K) outputs; those of isotropic subspaces are kept, they do not depend on what they stand beside."""
        bases = torch.from_numpy(basis)
        if name != "isotropic":
            return self.without(kind, bases, bases, mean)
        content = kind.encode() + basis.tobytes() + (mean.numpy().tobytes() if kind == "mean" else b"")
        key = hashlib.sha256(content).hexdigest()
        if key not in self._isotropic:
            self._isotropic[key] = self.without(kind, bases, bases, mean)
        return self._isotropic[key]

    @property
    def _kept(self) -> Array:
        """(P, 1, 1) 1 at the positions that have enough rows; nothing is ablated at the others."""
        return self._filled.double().numpy()[:, None, None]

    def _toward(self, kind: AblationKind, mean: Tensor | None) -> Tensor:
        """(N, P, D) from each state to what replaces it."""
        mean = self._mean if mean is None else mean.to(self._mean)
        return replacement(kind, self.states, mean, self.bench.donors) - self.states
