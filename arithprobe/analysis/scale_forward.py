"""What a trial of a sweep loses in its own forward pass, from states that were computed once."""

from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.analysis.intervene_plan import rows_by_sum
from arithprobe.analysis.ladder_causal import FAMILIES, require_rows
from arithprobe.analysis.scale_probes import SITE, ScalePlan
from arithprobe.analysis.scale_record import Cost
from arithprobe.analysis.shuffled import shuffled_erasers
from arithprobe.errors import ArithprobeError
from arithprobe.interventions.ablation import Ablator, skill_lost
from arithprobe.interventions.erasure import fit_erasers
from arithprobe.interventions.workbench import Computed, Workbench
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.probes.positions import PositionTable
from arithprobe.probes.ridge import RidgeFitter


class ReadoutStates:
    """The states at the readout of some rows, for whatever needs the rows themselves.

    Args:
        rows: (n,) row numbers, ascending.
        last: The last token of each row of the data set.

    Attributes:
        rows: The same.
    """

    def __init__(self, rows: Tensor, last: PositionTable) -> None:
        self.rows, self._last = rows, last
        self._parts: list[Tensor] = []

    def update(self, states: dict[str, Tensor], rows: Tensor) -> None:
        """Keep what is asked for of a batch; batches come in order."""
        rows = rows.cpu()
        chosen = torch.isin(rows, self.rows)
        self._parts.append(self._last.gather(states[SITE], rows)[chosen.to(states[SITE].device), 0].cpu())

    def states(self) -> Tensor:
        """(n, D)."""
        return torch.cat(self._parts)


class ForwardCosts(NamedTuple):
    """What the model's own answers lose."""

    cost: Cost
    """Without the subspace, and without isotropic random ones."""
    shuffled: float
    """Without what LEACE takes out for labels permuted between sums, mean: what the same fit costs that erases
    nothing."""
    matched: float | None
    """Without random ones outside of it that change the states as much, mean; None where there are none."""


def forward_costs(loaded: LoadedModel, plan: ScalePlan, kept: ReadoutStates) -> ForwardCosts:
    """Take the subspace of a plan out of the states that the readout reads, as ``arithprobe intervene`` does.

    LEACE is fitted on three in five of the rows, by sum, and the part it takes out is replaced by its mean over them;
    the answers are those of the other rows.

    Args:
        loaded: The model.
        plan: What is taken out.
        kept: States of the rows of the plan that are used.

    Raises:
        ArithprobeError: If there are too few rows, or the model has no skill to lose on them.
    """
    dataset, options = plan.dataset, plan.options
    require_rows(dataset, loaded.model.d_model, options.max_examples)
    fit, rows = rows_by_sum(dataset, options.max_examples)
    states, constant = kept.states(), dataset.constant(loaded.train_mean)
    held, fitted = (states[torch.isin(kept.rows, part)] for part in (rows, fit))
    with torch.no_grad():
        outputs = loaded.model.readout(held)
    every = held[:, None].expand(-1, dataset.max_length, -1)  # at the readout the last token is all that is read
    bench = Workbench(loaded.model, loaded.objective, dataset, rows, constant, Computed({SITE: every}, outputs))
    if bench.behaviour.verdict == "NOT LEARNED":
        raise ArithprobeError(f"these {len(bench)} rows alone say NOT LEARNED: there is no skill to lose")
    labels = plan.taken_out()[fit]
    fitter = RidgeFitter(1, held.shape[1], labels.shape[1], folds=2)
    moments = fitter.update(fitted[:, None], labels, torch.zeros(len(fit), dtype=torch.int64)).moments()[0]
    eraser = fit_erasers("leace", moments, target=plan.ablated, site=SITE, positions=plan.last.names)
    no_donors = torch.arange(len(bench))  # a mean needs none
    ablator = Ablator(bench, SITE, bench.at(plan.last), moments, no_donors)
    effect = ablator.effect(eraser, "mean", FAMILIES, options.draws, options.seed).effect
    isotropic, outside = effect.families
    if outside.note:
        plan.left_out.append(f"forward_matched: {outside.note}")
    lost = outside.skill_lost
    group = (dataset.x + dataset.y)[fit]
    valid = torch.ones(len(fit), 1, dtype=torch.bool)
    null = ablator.without(shuffled_erasers(fitted[:, None], valid, labels, group, options.draws, options.seed))
    return ForwardCosts(
        Cost.of(effect.skill_lost, isotropic.skill_lost.tolist()),
        float(skill_lost(bench, bench.scores(null).skill).mean()), float(lost.mean()) if len(lost) else None,
    )  # fmt: skip
