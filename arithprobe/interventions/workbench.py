"""One unedited pass over some rows, and the model's own answers under any number of edits of it."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.behaviour import difference, judge_rows
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.errors import ArithprobeError
from arithprobe.limits import require_memory
from arithprobe.models.finite import require_finite
from arithprobe.models.objective import Objective
from arithprobe.models.resume import run_from
from arithprobe.models.transformer import TinyTransformer
from arithprobe.probes.positions import PositionTable

_ROWS, _EDITS = 128, 16  # rows, and edits of each, whose states are formed at a time
_BYTES = 4.0  # of a number
Cells = Callable[[slice, slice], Tensor]
"""Makes the (m, n, P, D) new states of a slice of the M edits and a slice of the N rows."""


class Scores(NamedTuple):
    """How good M sets of answers are; (M,) float64 each."""

    rmse: Tensor
    """Root mean squared error, in answer units."""
    loss: Tensor
    """The model's own loss, in the units it was trained with."""
    skill: Tensor
    """``1 - MSE / MSE of the constant``."""
    exact_match: Tensor
    """Share of rows whose rounded answer is right."""


class Computed(NamedTuple):
    """What a pass over some rows has already found."""

    states: dict[str, Tensor]
    """(N, T, D) by site; other sites cannot be edited."""
    outputs: Tensor
    """(N, K)."""


class Workbench:
    """What a model computes on some rows, and what it answers when its states are edited.

    Args:
        model: The model, in evaluation mode; its weights are not touched.
        objective: The way from its outputs to answers.
        dataset: Where the rows are.
        rows: (N,) int64 row numbers.
        constant: The constant predictor that skill is measured against, in answer units.
        computed: What the model computes on these rows, where that is known.

    Raises:
        ArithprobeError: If there are no rows, or a state is not finite.

    Attributes:
        rows: (N,) row numbers.
        x: (N,) first operands.
        y: (N,) second operands.
        answers: (N,) right answers.
        lengths: (N,) real tokens.
        states: (N, T, D) of every site, unedited; or of those computed.
        outputs: (N, K) outputs, unedited.
        predictions: (N,) float64 answers, unedited.
        intact: How good they are, as (1,) scores.
        behaviour: Has the model learned the task, on these rows.
    """

    def __init__(
        self,
        model: TinyTransformer,
        objective: Objective,
        dataset: ArithmeticDataset,
        rows: Tensor,
        constant: float,
        computed: Computed | None = None,
    ) -> None:
        if not len(rows):
            raise ArithprobeError(f"no rows of {dataset.path} to intervene on")
        self.model, self.objective, self.constant = model, objective, constant
        self.dataset, self.rows, self.modulus = dataset, rows, dataset.modulus
        self.circle = dataset.modulus if objective.residues else None
        self.x, self.y, self.answers = dataset.x[rows], dataset.y[rows], dataset.answers[rows]
        self.lengths = dataset.lengths[rows]
        self.states, self.outputs = computed or self._computed()
        self.intact = self.scores(self.outputs[None])
        self.predictions = self.answers_of(self.outputs[None])[0]
        self.behaviour = judge_rows(self.predictions, self.answers, constant, self.modulus, residues=objective.residues)

    def __len__(self) -> int:
        """N."""
        return len(self.rows)

    def _computed(self) -> Computed:
        """One pass over the rows."""
        ids = self.dataset.ids[self.rows].long()
        sites, wide = len(self.model.site_modules), self.model.d_model
        require_memory(f"max_examples: the states of {len(self)} rows", _BYTES * ids.numel() * sites * wide)
        device = next(self.model.parameters()).device
        states: dict[str, list[Tensor]] = {}
        outputs = []
        with torch.no_grad():
            for part in torch.split(torch.arange(len(self)), 2 * _ROWS):
                lengths = self.lengths[part].to(device)
                found, cache = self.model.run_with_cache(ids[part].to(device), lengths)
                require_finite(cache.states, lengths, self.rows[part], self.dataset.path)
                outputs.append(found)
                for site, state in cache.states.items():
                    states.setdefault(site, []).append(state)
        return Computed({site: torch.cat(parts) for site, parts in states.items()}, torch.cat(outputs))

    def at(self, table: PositionTable) -> PositionTable:
        """The positions of these rows, from those of the data set."""
        return PositionTable(table.names, table.token[self.rows], table.valid[self.rows])

    def cells(self, site: str, table: PositionTable) -> Tensor:
        """(N, P, D) unedited states at the positions of these rows."""
        return table.gather(self.states[site], torch.arange(len(self)))

    def run(self, site: str, table: PositionTable, count: int, cells: Cells) -> Tensor:
        """The outputs under M edits of one site.

        Args:
            site: The site.
            table: (N, P) positions of these rows.
            count: M.
            cells: Makes the new states.

        Returns:
            (M, N, K) outputs.
        """
        outputs = self.outputs.new_empty(count, *self.outputs.shape)
        device = self.outputs.device
        with torch.no_grad():
            for start in range(0, len(self), _ROWS):
                rows = slice(start, min(start + _ROWS, len(self)))
                states = {name: state[rows] for name, state in self.states.items()}
                where = (table.token[rows].to(device), table.valid[rows].to(device))
                for first in range(0, count, _EDITS):
                    edits = slice(first, min(first + _EDITS, count))
                    new = cells(edits, rows)
                    outputs[edits, rows] = run_from(
                        self.model, site, new, *where, states, self.lengths[rows].to(device)
                    )
        return outputs

    def answers_of(self, outputs: Tensor) -> Tensor:
        """(M, N) float64 answers, from (M, N, K) outputs, on the CPU."""
        return self.objective.decode(outputs.flatten(0, 1)).view(outputs.shape[:2]).cpu()

    def scores(self, outputs: Tensor) -> Scores:
        """How good the answers of (M, N, K) outputs are."""
        answers, truth = self.answers_of(outputs), self.answers.double()
        mse = difference(answers, truth, self.circle).square().mean(dim=1)
        of_constant = difference(truth, self.constant, self.circle).square().mean()
        own = self.answers.to(outputs.device)
        loss = [float(self.objective.loss(one, own)) for one in outputs]
        return Scores(
            mse.sqrt(),
            torch.tensor(loss, dtype=torch.float64),
            1 - mse / of_constant,
            (answers.round() == truth).double().mean(dim=1),
        )
