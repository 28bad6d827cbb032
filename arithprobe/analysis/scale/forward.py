"""What a trial of a sweep loses in its own forward pass, from states that were computed once."""

from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.analysis.ladder.causal import FAMILIES, require_rows
from arithprobe.analysis.scale.probes import SITE, ScalePlan
from arithprobe.analysis.scale.record import Cost
from arithprobe.errors import ArithprobeError
from arithprobe.interventions.ablation import skill_lost
from arithprobe.interventions.bench import Bench, halves_of
from arithprobe.interventions.part import Computed
from arithprobe.interventions.round_cell import round_cell
from arithprobe.models.checkpoints import LoadedModel
from arithprobe.models.network import Network
from arithprobe.problems.circles import planes_of
from arithprobe.problems.positions import PositionTable
from arithprobe.problems.rows import Rows


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
    fit, held = halves_of(dataset, options.max_examples)
    states, labels = kept.states(), plan.taken_out()
    bench = Bench(
        loaded.model,
        loaded.objective,
        dataset,
        dataset.constant(loaded.train_mean),
        held,
        fit,
        columns={plan.ablated: labels},
        sites=[SITE],
        computed=[_read(loaded.model, dataset, rows, states[torch.isin(kept.rows, rows)]) for rows in (held, fit)],
    )
    if bench.held.behaviour.verdict == "NOT LEARNED":
        raise ArithprobeError(f"these {len(held)} rows alone say NOT LEARNED: there is no skill to lose")
    cell = round_cell(bench.cell(SITE, "last"), planes_of(plan.ablated))
    effect = cell.ablate(cell.eraser(plan.ablated, "leace"), "mean", FAMILIES, options.draws, options.seed).effect
    isotropic, outside = effect.families
    if not len(outside.delta_rmse):
        plan.left_out.append(f"forward_matched: {outside.note}")
    lost = outside.skill_lost
    null = skill_lost(cell.part, cell.part.scores(cell.shuffled(plan.ablated, options.draws, options.seed)).skill)
    return ForwardCosts(
        Cost.of(effect.skill_lost, isotropic.skill_lost.tolist()),
        float(null.mean()),
        float(lost.mean()) if len(lost) else None,
    )


def _read(network: Network, rows: Rows, some: Tensor, states: Tensor) -> Computed:
    """(n, D) states of some rows at the readout, put at every token, since the last alone is read; and the outputs."""
    inputs = rows.inputs(some)
    every = {SITE: states[:, None].expand(-1, inputs.ids.shape[1], -1)}
    last = inputs.lengths[:, None] - 1
    with torch.no_grad():
        outputs = network.run_from(SITE, states[None, :, None], last, torch.ones_like(last).bool(), every, inputs)[0]
    return Computed(every, outputs)
