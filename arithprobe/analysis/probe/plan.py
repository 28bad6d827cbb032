"""The plan of ``arithprobe probe``: targets, sites and controls, settled before any pass over the rows."""

from collections.abc import Sequence

import torch

from arithprobe.analysis.forward import check_rows, chosen_sites, fidelity_of, random_init_twin
from arithprobe.analysis.intervene.plan import chosen_variables
from arithprobe.analysis.ladder.causal import CausalRungs, require_rows
from arithprobe.analysis.probe.options import ProbeOptions
from arithprobe.errors import ArithprobeError
from arithprobe.limits import require_memory
from arithprobe.logic import FEWEST_DRAWS
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.probes.claims import Claim, ClaimSurvey, claim_of
from arithprobe.probes.controls import surface_scores
from arithprobe.probes.function_rows import rows_with
from arithprobe.probes.mlp import MLPSettings
from arithprobe.probes.mlp_scores import Kind, MLPScores
from arithprobe.probes.nonlinear import MOST_CLASSES, mlp_scores, require_mlp_rows
from arithprobe.probes.rare_layouts import said_of
from arithprobe.probes.sample import StateSample
from arithprobe.probes.scores import CellScores
from arithprobe.probes.survey import Split, Target, folds_of, targets_by_group
from arithprobe.probes.targets import angle_columns, chosen_targets, target_values
from arithprobe.probes.wanted import wanted_targets
from arithprobe.problems.circles import MOST_FREQUENCIES, Circle
from arithprobe.problems.rows import Rows

_REMOVED = 12  # frequencies whose waves are taken out before the readout is refitted, as in the notebook


_BYTES_OF_A_ROW = 500.0  # ids, positions, groups, folds; measured
_COPIES = 3  # of the labels made together, at most, before equal ones are kept once; measured


def memory_of(dataset: Rows, options: ProbeOptions) -> float:
    """The approximate bytes that a probe needs for rows; only their labels grow with the number of rows."""
    period = options.period or dataset.circle or max(options.small_periods, default=2)
    together = 2 * min(options.frequencies, period // 2)
    return len(dataset) * (_BYTES_OF_A_ROW + 8.0 * _COPIES * together)


class ProbePlan:
    """The plan of the probes: the options, checked against model and rows.

    Args:
        loaded: The model.
        dataset: The rows.
        options: The options of the analysis.

    Raises:
        ArithprobeError: If rows, targets, sites or positions do not fit.
    """

    def __init__(self, loaded: LoadedModel, dataset: Rows, options: ProbeOptions) -> None:
        check_rows(loaded, dataset)
        wanted = wanted_targets("targets", options.targets)
        dataset = rows_with(dataset, wanted.functions)
        self.fidelity = fidelity_of(loaded.model, dataset)
        require_memory(f"{dataset.path}: to probe {len(dataset)} rows", memory_of(dataset, options))
        self.loaded, self.dataset, self.options, self.d_model = loaded, dataset, options, loaded.model.d_model
        self.residual = loaded.model.residual_sites
        self.readout = self.residual[-1]
        width, chosen = loaded.model.width, chosen_sites(loaded, [*options.sites, self.readout])
        self.sites = tuple(site for site in chosen if width(site) == self.d_model)
        self.wide: dict[int, list[str]] = {}  # ridge probes alone read sites of another width, such as neurons
        for site in chosen:
            if width(site) != self.d_model:
                self.wide.setdefault(width(site), []).append(site)
        self.positions = dataset.positions(list(dict.fromkeys(["last", *options.positions])))
        self.last = dataset.positions(["last"])
        self.named = [name for name in wanted.names if name != "all"]
        self.targets = chosen_targets(wanted.names, dataset)
        self.answer = dataset.answer
        period = options.period or dataset.circle
        # of answers that go round a circle another period says nothing, so it is looked for in what they come from
        quantity = dataset.quantities[0] if options.period is not None else dataset.answer
        frequencies = tuple(range(1, options.frequencies + 1))
        self.circle = None if period is None else Circle(quantity, period, frequencies)
        self.small = [
            Circle(one, small, tuple(range(1, small // 2 + 1)))
            for one in dataset.quantities
            for small in options.small_periods
        ]
        self.left_out = [*self._leave_out(), *said_of(dataset.layout)]
        self.left_out += [
            f"Fourier and MLP probes at {', '.join(sites)}: of width {wide}, the residual stream's is {self.d_model}"
            for wide, sites in self.wide.items()
        ]
        self.claims = [] if options.no_ladder else self._claims()
        self.left_out += ["the ladder of evidence, as no_ladder asks"] if options.no_ladder else []
        self.mlp_kinds = self._mlp_kinds()

    def _leave_out(self) -> list[str]:
        """Drop what was not asked for by name and cannot be probed in these rows, and say so."""
        dropped, group_of = [], self.dataset.group_of
        for group in self.dataset.groups:
            try:
                folds_of(self.dataset.group(group), self.split(group), self.dataset.path)
            except ArithprobeError as error:
                if group in map(group_of, self.named) or group == group_of(self.answer):
                    raise
                dropped.append(f"everything of {group}: {error}")
                self.targets = [name for name in self.targets if group_of(name) != group]
                self.small = [circle for circle in self.small if group_of(circle.quantity) != group]
        for circle in list(self.small):
            if not angle_columns(*circle, self.dataset.values(circle.quantity))[0]:
                dropped.append(f"{circle.name}: constant")
                self.small.remove(circle)
        return dropped

    def _claims(self) -> list[Claim]:
        """What the ladder is climbed with; where it is not asked for by name and these rows are too few, nothing."""
        claims = [
            claim_of(name, self.dataset, max(MOST_FREQUENCIES, self.options.frequencies))
            for name in chosen_variables(self.options.claims, self.dataset)
        ]
        try:
            require_rows(self.dataset, self.d_model, self.options.max_examples)
        except ArithprobeError as error:
            if tuple(self.options.claims) != ProbeOptions.claims:
                raise
            self.left_out.append(f"the ladder of evidence: {error}")
            return []
        return claims

    def claim_surveys(self) -> list[ClaimSurvey]:
        """The surveys that read the claims at the last token of the residual sites."""
        split = self.split(permutations=self.options.fourier_permutations)
        return [
            ClaimSurvey(claim, self.dataset, self.residual, self.last, split, self.d_model) for claim in self.claims
        ]

    def untrained(self, number: int) -> LoadedModel | None:
        """Return an untrained network; or None, with the reason, if none can be made."""
        try:
            return random_init_twin(self.loaded, self.options.seed + number)
        except ArithprobeError as error:
            self.left_out.append(f"untrained networks: {error}")
        return None

    @property
    def has_planes(self) -> bool:
        """Whether the circle is that of the answers, and these rows are enough to intervene on its planes."""
        circle = self.circle
        return bool(self.claims) and circle is not None and circle.period == self.dataset.circle

    def interventions(self, targets: list[str], sites: list[str]) -> CausalRungs:
        """Make the interventions for the causal rungs."""
        draws, options = max(self.options.subspace_draws, FEWEST_DRAWS), self.options
        several = (draws, options.max_examples, options.seed, options.alphas)
        return CausalRungs(self.loaded, self.dataset, targets, sites, *several)

    def _mlp_kinds(self) -> list[Kind]:
        """The MLP probes that these rows allow; of the others says why not."""
        kinds: list[Kind] = [] if self.options.no_mlp else ["regression"]
        if kinds and self.dataset.circle is not None and self.dataset.circle <= MOST_CLASSES:
            kinds.append("classification")
        some = self.dataset.at(slice(self.options.max_examples))
        values = target_values(self.answer, some)
        for kind in list(kinds):
            try:
                require_mlp_rows(self.answer, values, some.group(self.answer), some.group("pair"), kind)
            except ArithprobeError as error:
                self.left_out.append(str(error))
                kinds.remove(kind)
        return kinds

    def circles(self, *, with_small: bool) -> list[list[Circle]]:
        """Circles by their group, that of the Fourier probes first."""
        groups: dict[str, list[Circle]] = {}
        for circle in ([] if self.circle is None else [self.circle]) + (self.small if with_small else []):
            groups.setdefault(self.dataset.group_of(circle.quantity), []).append(circle)
        return list(groups.values())

    def split(self, group: str | None = None, permutations: int = 0) -> Split:
        """The folds, by a group; that of the answer by default."""
        group = self.dataset.group_of(self.answer) if group is None else group
        options = self.options
        return Split(group, options.folds, None, permutations, options.seed, options.alphas, options.alpha_by)

    def by_group(self) -> dict[str, list[Target]]:
        """The ridge targets, by their group."""
        return targets_by_group(self.targets, self.dataset)

    def target(self, name: str) -> Target:
        """Return a target of one column."""
        return Target(name, target_values(name, self.dataset)[:, None])

    def ordered(self, scores: Sequence[CellScores]) -> list[CellScores]:
        """Return the scores in the order of the targets."""
        return sorted(scores, key=lambda one: self.targets.index(one.target))

    def surface(self) -> dict[str, tuple[CellScores, ...]]:
        """The ridge targets from the text alone."""
        found: dict[str, list[CellScores]] = {}
        for group, targets in self.by_group().items():
            for kind, scores in surface_scores(self.dataset, targets, self.split(group)).items():
                found.setdefault(kind, []).extend(scores)
        return {kind: tuple(self.ordered(scores)) for kind, scores in found.items()}

    def mlp(self, sample: StateSample, kind: Kind) -> MLPScores:
        """Fit MLP probes of the answer at the last token."""
        options, (states, rows) = self.options, sample.kept()
        some = self.dataset.at(rows)
        settings = MLPSettings(hidden=options.mlp_hidden, depth=options.mlp_depth, seed=options.seed)
        return mlp_scores(
            states,
            sample.sites,
            self.answer,
            target_values(self.answer, some),
            some.group(self.answer),
            some.group("pair"),
            kind,
            modulus=self.dataset.circle,
            settings=settings,
            shuffles=options.mlp_shuffles,
            tolerance=options.mlp_within,
            seed=options.seed,
        )

    def removed(self) -> tuple[list[Target], list[int]]:
        """The columns removed before the readout is refitted: growing sets of the circle's waves, or the sum."""
        if self.circle is None:
            return [Target("removed", self.target(self.answer).columns)], [1]
        some = self.circle._replace(frequencies=self.circle.frequencies[:_REMOVED])
        columns, _ = angle_columns(*some, self.dataset.values(some.quantity))
        targets = [Target(f"removed{n}", torch.stack(list(waves.values()), dim=1)) for n, waves in columns.items()]
        widths = [target.width for target in targets]
        return targets, [sum(widths[: index + 1]) for index in range(len(widths))]
