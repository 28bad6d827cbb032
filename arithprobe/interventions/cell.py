"""Cells: erasure, patching and steering at one site and set of positions, and the effect on the answers."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from arithprobe.errors import ArithprobeError
from arithprobe.interventions.ablation import AblationRun, changes_of, effect_of, moved_within, replacement
from arithprobe.interventions.certificate import linear_r2
from arithprobe.interventions.controls import Draws, Taken, drawn_beside, family_of
from arithprobe.interventions.erasure import Eraser, fit_erasers
from arithprobe.interventions.halves import Halves
from arithprobe.interventions.interchange import Interchange, RowSpace, interchange, row_space_of
from arithprobe.interventions.kinds import AblationKind, ErasureKind, FamilyName, require_kind
from arithprobe.interventions.patching import whole_state_answers
from arithprobe.interventions.permuted import PermutedFits
from arithprobe.interventions.refitted import refit_erasers, stacked
from arithprobe.interventions.steered import steer
from arithprobe.interventions.steering_curve import SteeringCurve
from arithprobe.linalg import Array
from arithprobe.probes.moments import AlphaChoice, Moments
from arithprobe.probes.variables import Variable
from arithprobe.problems.positions import PositionTable


class Cell:
    """A site and set of positions of a bench, which are edited together; ``bench.cell(site, where)`` makes one.

    Args:
        bench: The network and both parts of the rows.
        site: The site.
        where: The positions, as the ledger names them.
        table: (N, P) positions of all rows.
        fit: Moments of the P cells, over the rows for means and covariances.
        held: The same over the held-out rows, if they were folded.
        null: Moments with permuted labels, by variable; by default labels are permuted on the rows to fit on.

    Raises:
        ArithprobeError: If there are fewer than two examples on either side.

    Attributes:
        table: (N, P) positions of the held-out rows.
        states: (N, P, D) unedited states of these rows.
        permuted: Erasers fitted here on permuted labels.
    """

    def __init__(
        self,
        bench: Halves,
        site: str,
        where: str,
        table: PositionTable,
        fit: Moments,
        held: Moments | None,
        null: Mapping[str, Moments] | None = None,
    ) -> None:
        self.bench, self.part, self.site, self.where, self.fit = bench, bench.held, site, where, fit
        self._of_all, self._held, self.permuted = table, held, PermutedFits(bench, site, table, null)
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
        """Moments of the P cells over the held-out rows.

        Raises:
            ArithprobeError: If the bench has no such moments.
        """
        if self._held is None:
            raise ArithprobeError(
                "the moments of the rows held out were not folded: they are without moments of one's own"
            )
        return self._held

    @cached_property
    def row_space(self) -> RowSpace:
        """The row space of the rest of the network at this cell."""
        return row_space_of(self.part, self.site, self.table)

    def eraser(
        self, variable: str, kind: ErasureKind, *, rank: int | None = None, choice: AlphaChoice | None = None
    ) -> Eraser:
        """Fit an eraser on the rows to fit on, see :func:`~arithprobe.interventions.erasure.fit_erasers`."""
        return fit_erasers(
            kind,
            self.fit.columns(self.bench.columns_of(variable)),
            target=variable,
            site=self.site,
            positions=self.table.names,
            rank=rank if kind == "inlp" else None,
            choice=choice or self.bench.choice,
            checkpoint=self.bench.weights,
        )

    def refits(self, eraser: Eraser, *, choice: AlphaChoice | None = None) -> tuple[Eraser, ...]:
        """Fit :meth:`eraser` again without each block of the rows to fit on; none if moments were given."""
        own = self.bench.columns_of(eraser.target)
        return refit_erasers(eraser, [one.columns(own) for one in self._without_blocks], choice or self.bench.choice)

    def ablate(
        self,
        eraser: Eraser,
        kind: AblationKind = "mean",
        families: Sequence[FamilyName] = (),
        draws: int = 0,
        seed: int = 0,
        refits: Sequence[Eraser] = (),
        *,
        choice: AlphaChoice | None = None,
    ) -> AblationRun:
        """Ablate a subspace, with the controls of :mod:`~arithprobe.interventions.controls`.

        Args:
            eraser: The subspace.
            kind: The replacement of the erased part.
            families: The families of control subspaces.
            draws: Draws of each family that is a null of the eraser; at most 20 of other families.
            seed: Seed of the draws.
            refits: The result of :meth:`refits` for the eraser; with it, the intervals include the fit.
            choice: Ridge penalties of the fits on permuted labels: those that the eraser was fitted with.

        Raises:
            ArithprobeError: If the kind or a family is unknown, or the eraser is for other states.
        """
        require_kind(kind, AblationKind, "ablation")
        eraser.require_width(self.states)
        left, right = eraser.left.numpy() * self._kept, eraser.right.numpy() * self._kept
        toward, taken = self._toward(kind, eraser.mean), (torch.from_numpy(part)[None] for part in (left, right))
        gone = Taken(eraser, left, right, *changes_of(toward, self.table.valid & self._usual[:, None]))
        outputs = self.part.run(self.site, self.table, 1, moved_within(self.states, toward, *taken))
        scores, own = self.part.scores(outputs), gone.size(left, right)
        random, found = {}, []
        for name in families:
            drawn = drawn_beside(name, gone, self.fit, self.permuted, draws, seed, choice)
            random[name] = self._random_outputs(name, kind, drawn, eraser.mean)
            found.append(family_of(self.part, name, random[name], float(scores.rmse[0]), gone, drawn))
        again = self._refitted(kind, eraser, refits) if refits else None
        effect = effect_of(self.part, kind, outputs, scores, float(own), gone.share, tuple(found), again)
        return AblationRun(effect, outputs[0], random, again)

    def without(self, kind: AblationKind, left: Tensor, right: Tensor, mean: Tensor | None = None) -> Tensor:
        """Return the (M, N, K) outputs with the subspaces ``left``, ``right`` (M, P, D, R) ablated.

        The (P, D) mean is that of the moments by default.
        """
        ablated = moved_within(self.states, self._toward(kind, mean), left, right)
        return self.part.run(self.site, self.table, len(left), ablated)

    def without_each(self, erasers: Sequence[Eraser]) -> Tensor:
        """Return the (M, N, K) outputs with each of M subspaces replaced by its mean."""
        return self.without("mean", *stacked(erasers))

    def only(self, eraser: Eraser) -> Tensor:
        """Return the (1, N, K) outputs with all but the erased part replaced by its mean."""
        identity = torch.eye(eraser.left.shape[1], dtype=torch.float64)
        rest = identity - eraser.left @ eraser.right.transpose(1, 2)  # (P, D, D)
        return self.without("mean", rest[None], identity.expand_as(rest)[None], eraser.mean)

    def shuffled(self, variable: str, draws: int, seed: int) -> Tensor:
        """Return the (M, N, K) outputs under LEACE of M permutations of a variable's labels, at its rank.

        Raises:
            ArithprobeError: If the bench has no rows to fit on.
        """
        return self.without("mean", *map(torch.from_numpy, self.permuted.pairs(variable, "leace", draws, seed)))

    def swap(
        self, eraser: Eraser, draws: int, seed: int, done: AblationRun | None = None, refits: Sequence[Eraser] = ()
    ) -> Interchange | None:
        """Score the interchange of a subspace with the donors, from a resample ablation, given or made here."""
        if done is None or "isotropic" not in done.random:
            done = self.ablate(eraser, "resample", ["isotropic"], draws, seed, refits)
        random, where = done.random["isotropic"], (self.table, self.bench.donors)
        return interchange(self.part, eraser, *where, done.outputs, random, self.row_space, done.refitted)

    def patch(self) -> Tensor:
        """Return the (N,) answers with the whole state of each row's donor patched in here."""
        return whole_state_answers(self.part, self.site, self.table, self.bench.donors)

    def r2_of(self, variable: str) -> Array:
        """The (P,) R2 of ridge probes of a variable on the held-out rows, fitted on the rows to fit on."""
        own = self.bench.columns_of(variable)
        return linear_r2(self.fit.columns(own), self.held.columns(own), self.bench.choice)

    def steer(self, variable: Variable, draws: int, seed: int, r2: Array | None = None) -> SteeringCurve | None:
        """Return the response to moving a variable at every position from which it is readable.

        Args:
            variable: The variable.
            draws: Random patterns as controls.
            seed: Seed of the random patterns.
            r2: (P,) R2 of the variable, if known.

        Returns:
            The curve, or None if the variable is hardly readable, or the expected answer is unknown.
        """
        own, r2 = self.bench.columns_of(variable.name), self.r2_of(variable.name) if r2 is None else r2
        fits = [one.columns(own) for one in (self.fit, *self._without_blocks)]
        expected = self.bench.rows.per_unit(variable.name)
        return steer(
            self.part, self.site, self.table, variable, expected, r2, fits, self.bench.choice, draws=draws, seed=seed
        )

    @property
    def _without_blocks(self) -> Sequence[Moments]:
        """The moments without each block of the rows to fit on; none where moments were given."""
        return self.bench.without_blocks(self.site, self._of_all) if self._held is not None else ()

    def _refitted(self, kind: AblationKind, eraser: Eraser, refits: Sequence[Eraser]) -> Tensor:
        """(G, N, K) outputs without each refit of an eraser, each by its own mean."""
        left, right = (side * torch.from_numpy(self._kept) for side in stacked(refits))
        means = torch.stack([one.mean for one in refits]) - eraser.mean if kind == "mean" else None
        moved = moved_within(self.states, self._toward(kind, eraser.mean), left, right, means)
        return self.part.run(self.site, self.table, len(refits), moved)

    def _random_outputs(self, name: FamilyName, kind: AblationKind, drawn: Draws, mean: Tensor) -> Tensor:
        """(M, N, K) outputs; those of isotropic subspaces are kept, they do not depend on what they stand beside."""
        left, right = torch.from_numpy(drawn.left), torch.from_numpy(drawn.right)
        if name != "isotropic":
            return self.without(kind, left, right, mean)
        content = kind.encode() + drawn.left.tobytes() + (mean.numpy().tobytes() if kind == "mean" else b"")
        key = hashlib.sha256(content).hexdigest()
        if key not in self._isotropic:
            self._isotropic[key] = self.without(kind, left, right, mean)
        return self._isotropic[key]

    @property
    def _usual(self) -> Tensor:
        """(N,) False for rows of rare layouts: no eraser was fitted on such rows, and none is applied to them."""
        return self.bench.usual[self.part.rows]

    @property
    def _kept(self) -> Array:
        """(P, 1, 1) 1 at the positions that have enough rows; nothing is ablated at the others."""
        return self._filled.double().numpy()[:, None, None]

    def _toward(self, kind: AblationKind, mean: Tensor | None) -> Tensor:
        """(N, P, D) from each state to what replaces it."""
        mean = self._mean if mean is None else mean.to(self._mean)
        toward = replacement(kind, self.states, mean, self.bench.donors) - self.states
        return toward * self._usual.to(toward)[:, None, None]
