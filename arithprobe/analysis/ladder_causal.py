"""The causal rungs of a claim at one site: what the answers lose without it, and whether they follow when it moves."""

from dataclasses import dataclass

import torch
from torch import Tensor

from arithprobe.analysis.intervene_options import InterveneOptions
from arithprobe.analysis.intervene_plan import IntervenePlan, rows_by_sum
from arithprobe.analysis.ledger import Cell
from arithprobe.analysis.material import Material
from arithprobe.analysis.shuffled import without_shuffled
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.errors import ArithprobeError
from arithprobe.interventions.ablation import ROUNDING, AblationRun, skill_lost
from arithprobe.interventions.erasure import Eraser
from arithprobe.interventions.interchange import Interchange
from arithprobe.interventions.kinds import FamilyName
from arithprobe.interventions.steering import SteeringCurve
from arithprobe.interventions.workbench import Scores, Workbench
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.models.resume import only_head_remains
from arithprobe.probes.metrics import permutation_p

FAMILIES: tuple[FamilyName, ...] = ("isotropic", "outside")
SHUFFLED = "shuffled"
"""Name of what LEACE takes out for permuted labels."""
FEWEST_ROWS = 100
"""Rows to intervene on, without which a share of the answers cannot be told within 5 points."""
_FIT_SHARE = 0.6  # of the rows, by sum


@dataclass(frozen=True)
class RandomCost:
    """What random subspaces of one family cost."""

    family: str
    """How they were drawn: isotropic, outside, or shuffled."""
    skill_lost: float
    """Mean share of the intact skill that is lost; NaN where there are none."""
    exact_lost: float
    """Mean loss of exact answers, as a share of all answers."""
    p: float
    """How often one of them costs as much as what they stand beside; NaN where they cannot be compared."""
    note: str
    """Why there are none, or empty."""


@dataclass(frozen=True)
class CausalEvidence:
    """What interventions on a variable at one site's last token found."""

    target: str
    """What was taken out and moved: the variable, or planes of a circle."""
    site: str
    """Where."""
    n: int
    """Rows intervened on."""
    learned: bool
    """Whether they alone say that the task is learned, at least in part; without skill there is none to lose."""
    rank: int
    """Dimensions that LEACE takes out."""
    held_out_r2: float
    """R2 of a ridge probe of it on these rows."""
    variance: float
    """Share of the variance of the states that is taken out."""
    intact_skill: float
    """Skill of the model on these rows."""
    intact_exact: float
    """Share of exact answers."""
    skill: float
    """Skill without the variable."""
    exact: float
    """Share of exact answers without it."""
    chance: float
    """Exact answers of a guess: the chance that two of these rows have one answer."""
    kept_skill: float
    """Skill when all else is taken out, and only the variable kept."""
    kept_exact: float
    """Share of exact answers then."""
    random: tuple[RandomCost, ...]
    """What random subspaces of the same rank cost."""
    steering: SteeringCurve | None
    """Response to moving it; None where it is hardly readable, or arithmetic does not say what the answer would be."""
    interchange: Interchange | None
    """Response to swapping it between problems; None where arithmetic does not say what the answer would be."""
    only_head_remains: bool
    """Whether only the last LayerNorm and the readout come after."""

    @property
    def skill_left(self) -> float:
        """Share of the intact skill that is left without the variable."""
        return self.skill / self.intact_skill


class CausalRungs:
    """Intervenes on claims at the last token, on rows whose sums no subspace was fitted on.

    Args:
        loaded: The model.
        dataset: The rows, three in five to fit on, by sum.
        targets: Everything that will be asked for, as :func:`~arithprobe.probes.variables.variable_of` names it.
        sites: Where.
        draws: Random subspaces of each family, random patterns, and random interchanges.
        max_examples: At most so many rows are used.
        seed: Seed of them.

    Raises:
        ArithprobeError: If there are too few rows to say what a random subspace costs.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        dataset: ArithmeticDataset,
        targets: list[str],
        sites: list[str],
        draws: int = 20,
        max_examples: int = 2000,
        seed: int = 0,
    ) -> None:
        options = InterveneOptions(
            targets=targets, sites=sites, positions=("last",), draws=draws, variable_draws=draws,
            max_examples=max_examples, no_patching=True, no_mlp=True, seed=seed,
        )  # fmt: skip
        require_rows(dataset, loaded.model.d_model, options.max_examples)
        self.plan = IntervenePlan(loaded, dataset, options)
        self.material = Material(self.plan)
        self.bench: Workbench = self.material.bench
        self._where = self.plan.position_set("last")
        self._cells: dict[str, Cell] = {}
        self._told: dict[tuple[str, str], CausalEvidence] = {}

    def cell(self, site: str) -> Cell:
        """The last token of a site."""
        if site not in self._cells:
            self._cells[site] = Cell(self.material, site, self._where)
        return self._cells[site]

    def at(self, target: str, site: str) -> CausalEvidence:
        """The evidence for a target at a site; of claims that are one target, found once."""
        if (target, site) not in self._told:
            self._told[target, site] = self._at(target, site)
        return self._told[target, site]

    def _at(self, target: str, site: str) -> CausalEvidence:
        cell, options, bench = self.cell(site), self.plan.options, self.bench
        eraser = cell.eraser(target, "leace")
        run = cell.ablator.effect(eraser, "mean", FAMILIES, options.draws, options.seed)
        r2 = cell.r2_of(target)
        kept = bench.scores(only_kept(cell, eraser))
        spread = cell.fit.centred_gram[0].trace() / cell.fit.n[0]
        return CausalEvidence(
            target=target, site=site, n=len(bench), learned=bench.behaviour.verdict != "NOT LEARNED",
            rank=eraser.rank, held_out_r2=float(r2[0]), variance=run.effect.removed / float(spread),
            intact_skill=float(bench.intact.skill), intact_exact=float(bench.intact.exact_match),
            skill=run.effect.skill, exact=run.effect.exact_match, chance=chance_of(bench.answers),
            kept_skill=float(kept.skill[0]), kept_exact=float(kept.exact_match[0]),
            random=(*(self._random(run, name) for name in FAMILIES), self._shuffled(cell, target, run)),
            steering=cell.steering(self.plan.fitted[target], r2), interchange=cell.swap(eraser, options.draws),
            only_head_remains=only_head_remains(bench.model, site),
        )  # fmt: skip

    def _random(self, run: AblationRun, name: FamilyName) -> RandomCost:
        family = next(one for one in run.effect.families if one.name == name)
        outputs = run.random[name]
        if not len(outputs):
            return RandomCost(name, float("nan"), float("nan"), float("nan"), family.note)
        return self._cost(name, self.bench.scores(outputs), family.p, family.note)

    def _shuffled(self, cell: Cell, target: str, run: AblationRun) -> RandomCost:
        """The same of erasers of labels permuted between sums."""
        options = self.plan.options
        scores = self.bench.scores(without_shuffled(cell, target, options.draws, options.seed))
        least = run.effect.rmse - ROUNDING * float(self.bench.intact.rmse)
        p = permutation_p(torch.tensor(least, dtype=torch.float64), scores.rmse)
        return self._cost(SHUFFLED, scores, float(p), "")

    def _cost(self, name: str, scores: Scores, p: float, note: str) -> RandomCost:
        lost, exact = skill_lost(self.bench, scores.skill).mean(), self.bench.intact.exact_match - scores.exact_match
        if torch.isnan(lost):
            note = f"these {len(self.bench)} rows alone say NOT LEARNED"
        return RandomCost(name, float(lost), float(exact.mean()), p, note)


def only_kept(cell: Cell, eraser: Eraser) -> Tensor:
    """(1, N, K) outputs when all but what an eraser takes out is replaced by its mean."""
    identity = torch.eye(eraser.left.shape[1], dtype=torch.float64)
    rest = identity - eraser.left @ eraser.right.transpose(1, 2)  # (P, D, D)
    return cell.ablator.outputs("mean", rest[None], identity.expand_as(rest)[None], eraser.mean)


def chance_of(answers: Tensor) -> float:
    """How often two different rows have one answer: the exact match of answers that say nothing of their problem.

    >>> round(chance_of(torch.arange(97).repeat(20)), 5)
    0.0098
    """
    counts = torch.unique(answers, return_counts=True)[1].double()
    n = len(answers)
    return float((counts * (counts - 1)).sum()) / (n * (n - 1))


def require_rows(dataset: ArithmeticDataset, d_model: int, most: int) -> None:
    """Refuse too few rows for the random subspaces.

    Args:
        dataset: The rows.
        d_model: Width D of the states.
        most: At most so many rows are used.

    Raises:
        ArithprobeError: Saying how many are needed.
    """
    fit, rows = (len(part) for part in rows_by_sum(dataset, most))
    if fit > d_model and rows >= FEWEST_ROWS:
        return
    needed = max((d_model + 1) / _FIT_SHARE, FEWEST_ROWS / (1 - _FIT_SHARE))
    what = f"max_examples is {most}, raise it to" if most < len(dataset) else "give"
    raise ArithprobeError(
        f"{dataset.path}: {fit} rows to fit on and {rows} to intervene on (by sum); random subspaces that change "
        f"states of {d_model} dimensions as much need {d_model + 1} and {FEWEST_ROWS}: {what} about {needed:.0f} rows "
        "or more, of different sums"
    )
