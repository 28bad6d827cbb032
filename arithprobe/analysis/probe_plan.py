"""What ``arithprobe probe`` looks for where, settled before any pass over the rows."""

from collections.abc import Sequence
from typing import get_args

import torch

from arithprobe.analysis.forward import check_rows, chosen_sites
from arithprobe.analysis.ladder_causal import CausalRungs, require_rows
from arithprobe.analysis.probe_options import FEWEST_PERMUTATIONS, ProbeOptions
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.errors import ArithprobeError
from arithprobe.limits import require_memory
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.probes.circles import MOST_FREQUENCIES, Circle
from arithprobe.probes.claims import Claim, ClaimSurvey, claim_of
from arithprobe.probes.controls import surface_scores
from arithprobe.probes.mlp import MLPSettings
from arithprobe.probes.mlp_scores import Kind, MLPScores
from arithprobe.probes.nonlinear import MOST_CLASSES, check_task, mlp_scores
from arithprobe.probes.positions import position_table
from arithprobe.probes.sample import StateSample
from arithprobe.probes.scores import CellScores
from arithprobe.probes.survey import Split, Target, folds_of, targets_by_group
from arithprobe.probes.targets import (
    Group,
    Quantity,
    angle_columns,
    chosen_targets,
    group_values,
    pair_of,
    target_group,
    target_values,
)

_REMOVED = 12  # frequencies whose waves are taken out before the readout is refitted, as in the notebook


_BYTES_OF_A_ROW = 500.0  # ids, positions, groups, folds; measured
_COPIES = 3  # of the labels made together, at most, before equal ones are kept once; measured


def memory_of(dataset: ArithmeticDataset, options: ProbeOptions) -> float:
    """Bytes that a probe takes of rows, about; nothing but their labels grows with them."""
    period = options.period or dataset.modulus or max(options.small_periods, default=2)
    together = 2 * min(options.frequencies, period // 2)
    return len(dataset) * (_BYTES_OF_A_ROW + 8.0 * _COPIES * together)


class ProbePlan:
    """What is probed for where: the options, checked against model and rows.

    Args:
        loaded: The model.
        dataset: The rows.
        options: What was asked for.

    Raises:
        ArithprobeError: If rows, targets, sites or positions do not fit.
    """

    def __init__(self, loaded: LoadedModel, dataset: ArithmeticDataset, options: ProbeOptions) -> None:
        check_rows(loaded, dataset)
        require_memory(f"{dataset.path}: to probe {len(dataset)} rows", memory_of(dataset, options))
        self.loaded, self.dataset, self.options, self.d_model = loaded, dataset, options, loaded.model.d_model
        self.problems = (dataset.x, dataset.y, dataset.modulus)
        self.sites = chosen_sites(loaded, [*options.sites, "final"])
        self.residual = loaded.model.residual_sites
        where = (dataset.lengths, dataset.layout, dataset.layouts)
        self.alpha = (options.alphas, options.alpha_by)
        self.positions = position_table(list(dict.fromkeys(["last", *options.positions])), *where)
        self.last = position_table(["last"], *where)
        self.targets = chosen_targets(options.targets, *self.problems)
        self.answer = "sum" if dataset.modulus is None else "residue"
        period = options.period or dataset.modulus
        quantity: Quantity = "sum" if dataset.modulus is None or options.period is not None else "residue"
        frequencies = tuple(range(1, options.frequencies + 1))
        self.circle = None if period is None else Circle(quantity, period, frequencies)
        quantities: tuple[Quantity, ...] = (
            ("sum", "x", "y") if dataset.modulus is None else ("sum", "x", "y", "residue")
        )
        self.small = [
            Circle(one, small, tuple(range(1, small // 2 + 1))) for one in quantities for small in options.small_periods
        ]
        self.left_out = self._leave_out()
        self.claims = [] if options.no_ladder else self._claims()
        self.left_out += ["the ladder of evidence: no_ladder"] if options.no_ladder else []
        self.mlp_kinds = self._mlp_kinds()

    def _leave_out(self) -> list[str]:
        """Drop what was not asked for by name and cannot be probed in these rows, and say so."""
        dropped = []
        for group in get_args(Group):
            try:
                folds_of(group_values(group, *self.problems[:2]), self.split(group), self.dataset.path)
            except ArithprobeError as error:
                named = [name for name in self.options.targets if name != "all" and target_group(name) == group]
                if named or group == "sum":
                    raise
                dropped.append(f"everything of {group}: {error}")
                self.targets = [name for name in self.targets if target_group(name) != group]
                self.small = [circle for circle in self.small if target_group(circle.quantity) != group]
        for circle in list(self.small):
            if not angle_columns(*circle, *self.problems)[0]:
                dropped.append(f"{circle.name}: constant")
                self.small.remove(circle)
        return dropped

    def _claims(self) -> list[Claim]:
        """What the ladder is climbed with; where it is not asked for by name and these rows are too few, nothing."""
        every = ["sum"] if self.dataset.modulus is None else ["sum", "residue"]
        names = [name for one in self.options.claims for name in (every if one == "all" else [one])]
        claims = [
            claim_of(name, self.dataset, max(MOST_FREQUENCIES, self.options.frequencies))
            for name in dict.fromkeys(names)
        ]
        try:
            require_rows(self.dataset, self.d_model, self.options.max_examples)
        except ArithprobeError as error:
            if tuple(self.options.claims) != ProbeOptions.claims:
                raise
            self.left_out.append(f"the ladder of evidence: {error}")
            return []
        return claims

    def claim_surveys(self, *, controls: bool) -> list[ClaimSurvey]:
        """What reads the claims at the last token of the residual sites."""
        split = self.split(permutations=self.options.fourier_permutations if controls else 0)
        return [
            ClaimSurvey(claim, self.dataset, self.residual, self.last, split, self.d_model) for claim in self.claims
        ]

    @property
    def has_planes(self) -> bool:
        """Whether the circle is that of the answers, and these rows are enough to intervene on its planes."""
        circle = self.circle
        return bool(self.claims) and circle is not None and circle.period == self.dataset.modulus

    def interventions(self, targets: list[str], sites: list[str]) -> CausalRungs:
        """What climbs the causal rungs."""
        draws, options = max(self.options.subspace_draws, FEWEST_PERMUTATIONS), self.options
        return CausalRungs(self.loaded, self.dataset, targets, sites, draws, options.max_examples, options.seed)

    def _mlp_kinds(self) -> list[Kind]:
        """The MLP probes that these rows allow; of the others says why not."""
        kinds: list[Kind] = [] if self.options.no_mlp else ["regression"]
        if kinds and self.dataset.modulus is not None and self.dataset.modulus <= MOST_CLASSES:
            kinds.append("classification")
        x, y = (one[: self.options.max_examples] for one in self.problems[:2])
        values = target_values(self.answer, x, y, self.dataset.modulus)
        for kind in list(kinds):
            try:
                check_task(self.answer, values, x + y, pair_of(x, y), kind)
            except ArithprobeError as error:
                self.left_out.append(str(error))
                kinds.remove(kind)
        return kinds

    def circles(self, *, with_small: bool) -> list[list[Circle]]:
        """Circles by their group, that of the Fourier probes first."""
        groups: dict[Group, list[Circle]] = {}
        for circle in ([] if self.circle is None else [self.circle]) + (self.small if with_small else []):
            groups.setdefault(target_group(circle.quantity), []).append(circle)
        return list(groups.values())

    def split(self, group: Group = "sum", permutations: int = 0) -> Split:
        """The folds, by a group."""
        return Split(group, self.options.folds, None, permutations, self.options.seed)

    def by_group(self) -> dict[Group, list[Target]]:
        """The ridge targets, by their group."""
        return targets_by_group(self.targets, self.dataset)

    def target(self, name: str) -> Target:
        """A target of one column."""
        return Target(name, target_values(name, *self.problems)[:, None])

    def ordered(self, scores: Sequence[CellScores]) -> list[CellScores]:
        """In the order of the targets."""
        return sorted(scores, key=lambda one: self.targets.index(one.target))

    def surface(self) -> dict[str, tuple[CellScores, ...]]:
        """The ridge targets from the text alone."""
        found: dict[str, list[CellScores]] = {}
        for group, targets in self.by_group().items():
            for kind, scores in surface_scores(self.dataset, targets, self.split(group)).items():
                found.setdefault(kind, []).extend(scores)
        return {kind: tuple(self.ordered(scores)) for kind, scores in found.items()}

    def mlp(self, sample: StateSample, kind: Kind) -> MLPScores:
        """MLP probes of the answer at the last token."""
        options, (states, rows) = self.options, sample.kept()
        x, y = self.dataset.x[rows], self.dataset.y[rows]
        settings = MLPSettings(hidden=options.mlp_hidden, depth=options.mlp_depth, seed=options.seed)
        return mlp_scores(
            states, sample.sites, self.answer, target_values(self.answer, x, y, self.dataset.modulus),
            x + y, pair_of(x, y), kind, modulus=self.dataset.modulus, settings=settings,
            shuffles=options.mlp_shuffles, tolerance=options.mlp_within, seed=options.seed,
        )  # fmt: skip

    def removed(self) -> tuple[list[Target], list[int]]:
        """What is removed before the readout is refitted: the circle's waves, growing, or the sum's direction."""
        if self.circle is None:
            return [Target("removed", self.target("sum").columns)], [1]
        columns, _ = angle_columns(
            self.circle.quantity, self.circle.period, self.circle.frequencies[:_REMOVED], *self.problems
        )
        targets = [Target(f"removed{n}", torch.stack(list(waves.values()), dim=1)) for n, waves in columns.items()]
        widths = [target.width for target in targets]
        return targets, [sum(widths[: index + 1]) for index in range(len(widths))]
