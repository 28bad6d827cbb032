"""The causal rungs of a claim at one site: ablation of the variable, steering, and interchange."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from arithprobe.analysis.ladder.given import given_tests
from arithprobe.errors import ArithprobeError
from arithprobe.interventions.ablation import AblationRun
from arithprobe.interventions.bench import Bench, halves_of
from arithprobe.interventions.cell import Cell
from arithprobe.interventions.interchange import Interchange
from arithprobe.interventions.kinds import FamilyName
from arithprobe.interventions.part import Part
from arithprobe.interventions.partial import GivenTests
from arithprobe.interventions.round_cell import round_cell
from arithprobe.interventions.steering_curve import SteeringCurve
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.probes.moments import ALPHAS
from arithprobe.probes.variables import variable_of
from arithprobe.problems.rows import Rows

FAMILIES: tuple[FamilyName, ...] = ("isotropic", "outside")
SHUFFLED = "shuffled"
"""Name of what LEACE takes out for permuted labels."""
FEWEST_ROWS = 100
"""Rows to intervene on, without which a share of the answers cannot be told within 5 points."""
_FIT_SHARE = 0.6  # of the rows, by sum


@dataclass(frozen=True)
class RandomCost:
    """The cost of random subspaces of one family."""

    family: str
    """How they were drawn: isotropic, outside, or shuffled."""
    skill_lost: float
    """Mean share of the intact skill that is lost; NaN where there are none."""
    exact_lost: float
    """Mean loss of exact answers, as a share of all answers."""
    p: float
    """How often one of them costs as much as what they stand beside; NaN where they cannot be compared."""
    note: str
    """Why there are no subspaces, or why they give no p, in words; empty where there is nothing to say."""
    most: float = float("nan")
    """What the draw that changes the states most changes them, as a multiple of what the variable's eraser does; NaN
    where there are none."""


@dataclass(frozen=True)
class CausalEvidence:
    """The results of interventions on a variable at one site's last token."""

    target: str
    """What was taken out and moved: the variable, or planes of a circle."""
    site: str
    """Name of the site, such as ``resid_post.1``."""
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
    given: GivenTests | None = None
    """The same given what it may stand for; None where no causal rung is reached without."""

    @property
    def skill_left(self) -> float:
        """The share of the intact skill that is left without the variable."""
        return self.skill / self.intact_skill


class CausalRungs:
    """Intervenes on claims at the last token, on rows whose sums no subspace was fitted on.

    Args:
        loaded: The model.
        dataset: The rows; three in five, by sum, are used to fit.
        targets: All targets that will be tested, as :func:`~arithprobe.probes.variables.variable_of` names them.
        sites: The sites.
        draws: Number of random subspaces of each family, of random patterns, and of random interchanges.
        max_examples: The largest number of rows that are used.
        seed: Seed of the draws.
        alphas: Ridge penalties to choose from.

    Raises:
        ArithprobeError: If there are too few rows to measure the cost of a random subspace.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        dataset: Rows,
        targets: list[str],
        sites: list[str],
        draws: int = 20,
        max_examples: int = 2000,
        seed: int = 0,
        alphas: Sequence[float] = ALPHAS,
    ) -> None:
        require_rows(dataset, loaded.model.d_model, max_examples)
        fit, held = halves_of(dataset, max_examples)
        self.draws, self.seed = draws, seed
        self.variables = {name: variable_of(name, dataset) for name in targets}
        columns = {name: one.columns for name, one in self.variables.items()}
        self.bench = Bench(
            loaded.model,
            loaded.objective,
            dataset,
            dataset.constant(loaded.train_mean),
            held,
            fit,
            columns=columns,
            sites=sites,
            seed=seed,
            alphas=alphas,
        )
        self._told: dict[tuple[str, str], CausalEvidence] = {}

    def cell(self, site: str) -> Cell:
        """Return the cell of the last token of a site."""
        return self.bench.cell(site, "last")

    def at(self, target: str, site: str) -> CausalEvidence:
        """Return the evidence for a target at a site; claims of the same target share it."""
        if (target, site) not in self._told:
            self._told[target, site] = self._at(target, site)
        return self._told[target, site]

    def given(self, target: str, site: str, others: Sequence[str]) -> GivenTests:
        """Test a target at a site given each of the others and the answer."""
        variable = self.variables[target]
        cell = round_cell(self.cell(site), variable.circle)
        return given_tests(cell, variable, [*others, self.bench.rows.answer])

    def _at(self, target: str, site: str) -> CausalEvidence:
        cell = round_cell(self.cell(site), self.variables[target].circle)
        part = cell.part
        eraser = cell.eraser(target, "leace")
        run = cell.ablate(eraser, "mean", (*FAMILIES, "permuted"), self.draws, self.seed)
        r2 = cell.r2_of(target)
        kept = part.scores(cell.only(eraser))
        spread = cell.fit.centred_gram[0].trace() / cell.fit.n[0]
        return CausalEvidence(
            target=target,
            site=site,
            n=len(part),
            learned=part.behaviour.verdict != "NOT LEARNED",
            rank=eraser.rank,
            held_out_r2=float(r2[0]),
            variance=run.effect.removed / float(spread),
            intact_skill=float(part.intact.skill),
            intact_exact=float(part.intact.exact_match),
            skill=run.effect.skill,
            exact=run.effect.exact_match,
            chance=chance_of(part.answers),
            kept_skill=float(kept.skill[0]),
            kept_exact=float(kept.exact_match[0]),
            random=tuple(self._random(part, run, name) for name in (*FAMILIES, "permuted")),
            steering=cell.steer(self.variables[target], self.draws, self.seed, r2),
            interchange=cell.swap(eraser, self.draws, self.seed, refits=cell.refits(eraser)),
            only_head_remains=self.bench.network.only_readout_remains(site),
        )

    def _random(self, part: Part, run: AblationRun, name: FamilyName) -> RandomCost:
        family = next(one for one in run.effect.families if one.name == name)
        shown, note = SHUFFLED if name == "permuted" else name, family.note
        if not len(run.random[name]):
            return RandomCost(shown, float("nan"), float("nan"), float("nan"), note)
        exact = part.intact.exact_match - part.scores(run.random[name]).exact_match
        lost, most = family.skill_lost.mean(), float(family.removed.max())
        if torch.isnan(lost):
            note = f"these {len(part)} rows alone do not say that the task is learned"
        return RandomCost(shown, float(lost), float(exact.mean()), family.p, note, most)


def chance_of(answers: Tensor) -> float:
    """The probability that two different rows have the same answer: the exact match of unrelated answers.

    >>> round(chance_of(torch.arange(97).repeat(20)), 5)
    0.0098
    """
    counts = torch.unique(answers, return_counts=True)[1].double()
    n = len(answers)
    return float((counts * (counts - 1)).sum()) / (n * (n - 1))


def require_rows(dataset: Rows, d_model: int, most: int) -> None:
    """Refuse too few rows for the random subspaces.

    Args:
        dataset: The rows.
        d_model: Width D of the states.
        most: The largest number of rows that are used.

    Raises:
        ArithprobeError: If there are too few; the text says how many are needed.
    """
    fit, rows = (len(part) for part in halves_of(dataset, most))
    if fit > d_model and rows >= FEWEST_ROWS:
        return
    needed = max((d_model + 1) / _FIT_SHARE, FEWEST_ROWS / (1 - _FIT_SHARE))
    what = f"max_examples is {most}, raise it to" if most < len(dataset) else "give"
    raise ArithprobeError(
        f"{dataset.path}: {fit} rows to fit on and {rows} to intervene on (by {dataset.answer}); random subspaces that "
        f"change states of {d_model} dimensions as much need {d_model + 1} and {FEWEST_ROWS}: {what} about "
        f"{needed:.0f} rows or more, of different values of {dataset.answer}"
    )
