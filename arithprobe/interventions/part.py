"""One unedited pass over some rows, and the network's own answers under any number of edits of it."""

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.behaviour import difference, judge_rows
from arithprobe.errors import ArithprobeError
from arithprobe.interventions.naming import chords, named_frequencies, step_of
from arithprobe.limits import require_memory
from arithprobe.models.finite import require_finite
from arithprobe.models.network import Network, device_of, require_evaluation
from arithprobe.models.objective import Objective
from arithprobe.problems.circles import Circle
from arithprobe.problems.positions import PositionTable
from arithprobe.problems.rows import Inputs, Rows, population_of

_ROWS, _EDITS = 128, 16  # rows, and edits of each, whose states are formed at a time
_BYTES = 4.0  # of a number
Cells = Callable[[slice, slice], Tensor]
"""Makes the (m, n, P, D) new states of a slice of the M edits and a slice of the N rows."""


class Scores(NamedTuple):
    """The quality of M sets of answers; (M,) float64 each."""

    rmse: Tensor
    """Root mean squared error, in answer units."""
    loss: Tensor
    """The model's own loss, in the units it was trained with."""
    skill: Tensor
    """``1 - MSE / MSE of the constant``."""
    exact_match: Tensor
    """Share of rows whose rounded answer is right."""


class Computed(NamedTuple):
    """The results of a pass over some rows that was already made."""

    states: dict[str, Tensor]
    """(N, T, D) by site; other sites cannot be edited."""
    outputs: Tensor
    """(N, K)."""


class Part:
    """The states and answers of a network on some rows, and its answers when states are edited.

    Args:
        network: The network, in evaluation mode; its weights are not touched.
        objective: The objective that decodes its outputs to answers.
        dataset: The data set of the rows.
        rows: (N,) int64 row numbers.
        constant: The constant predictor of skill, in answer units.
        sites: Sites whose states are kept, besides those of the residual stream; all by default.
        computed: The results of the network on these rows, if known.

    Raises:
        ArithprobeError: If there are no rows, the network is in training mode, or a state is not finite.

    Attributes:
        rows: (N,) row numbers.
        answers: (N,) right answers.
        inputs: The N prompts.
        group: (N,) labels of the rows for intervals, and by which they are held out.
        circle: k where the network answers residues, so that differences of answers go round a circle; else None. A
            network that answers numbers is off by 90 where it says 5 instead of 95, whatever the modulus of the rows.
        states: (N, T, D) of every site kept, unedited; or of those computed.
        outputs: (N, K) outputs, unedited.
        predictions: (N,) float64 answers, unedited.
        intact: The (1,) scores of the unedited answers.
        behaviour: The verdict on whether the network has learned the task, on these rows.
        step: What residues are multiplied by, and
        turns: the frequencies at which errors are angles; 1 and none but for what :meth:`round` makes.
    """

    step: int = 1
    turns: tuple[int, ...] = ()

    def __init__(
        self,
        network: Network,
        objective: Objective,
        dataset: Rows,
        rows: Tensor,
        constant: float,
        sites: Sequence[str] | None = None,
        computed: Computed | None = None,
    ) -> None:
        if not len(rows):
            raise ArithprobeError(f"no rows of {dataset.path} to intervene on")
        require_evaluation(network)
        self.network, self.objective, self.constant = network, objective, constant
        self.dataset, self.rows = dataset, rows
        self.modulus = dataset.circle
        self.circle = dataset.circle if objective.residues else None
        self.answers, self.inputs = dataset.answers[rows], dataset.inputs(rows)
        self.group = dataset.group(dataset.answer)[rows]
        self.states, self.outputs = computed or self._computed(sites)
        objective.require_outputs(self.outputs, len(rows))
        self.intact = self.scores(self.outputs[None])
        self.predictions = self.answers_of(self.outputs[None])[0]
        self.behaviour = judge_rows(
            self.predictions,
            self.answers,
            constant,
            self.modulus,
            residues=objective.residues,
            group=self.group,
            population=population_of(dataset, len(torch.unique(rows))),
        )

    def __len__(self) -> int:
        """N."""
        return len(self.rows)

    def round(self, circle: Circle | None) -> "Part":
        """Return the same rows, with answers judged round a claimed circle, see :mod:`~.naming`.

        Without a circle, or if the network does not answer residues of its period, this part itself is returned.
        """
        if circle is None or circle.period != self.circle:
            return self
        found = copy.copy(self)
        found.step = step_of(circle.frequencies, circle.period)
        found.turns = named_frequencies(circle.frequencies, circle.period, found.step)
        found.answers = found.named(self.dataset.answers[self.rows])
        found.intact = found.scores(found.outputs[None])
        found.predictions = found.answers_of(found.outputs[None])[0]
        return found

    def named(self, residues: Tensor) -> Tensor:
        """Return residues under the names that are used here."""
        return residues if self.step == 1 else self.step * residues % (self.circle or 1)

    def _computed(self, sites: Sequence[str] | None) -> Computed:
        """One pass over the rows."""
        known = self.network.sites
        kept = dict.fromkeys(known if sites is None else [*self.network.residual_sites, *sites])
        wide = sum(self.network.width(site) for site in kept)
        require_memory(f"max_examples: the states of {len(self)} rows", _BYTES * self.inputs.ids.numel() * wide)
        device = device_of(self.network)
        states: dict[str, list[Tensor]] = {site: [] for site in kept}
        outputs = []
        with torch.no_grad():
            for some in torch.split(torch.arange(len(self)), 2 * _ROWS):
                inputs = Inputs(*(one[some].to(device) for one in self.inputs))
                found, cache = self.network.run_with_cache(inputs)
                require_finite(cache.states, inputs.lengths, self.rows[some], self.dataset.path)
                outputs.append(found)
                for site, parts in states.items():
                    parts.append(cache.states[site])
        return Computed({site: torch.cat(parts) for site, parts in states.items()}, torch.cat(outputs))

    def at(self, table: PositionTable) -> PositionTable:
        """Return the positions of these rows, from those of the data set."""
        return PositionTable(table.names, table.token[self.rows], table.valid[self.rows])

    def at_last(self, site: str) -> Tensor:
        """Return the (N, D) float64 unedited states at the last token."""
        return self.states[site][torch.arange(len(self)), self.inputs.lengths - 1].double()

    def cells(self, site: str, table: PositionTable) -> Tensor:
        """Return the (N, P, D) unedited states at the positions of these rows."""
        return table.gather(self.states[site], torch.arange(len(self)))

    def run(self, site: str, table: PositionTable, count: int, cells: Cells) -> Tensor:
        """Return the outputs under M edits of one site.

        Args:
            site: The site.
            table: (N, P) positions of these rows.
            count: The number M.
            cells: Makes the new states.

        Returns:
            (M, N, K) outputs.
        """
        outputs = self.outputs.new_empty(count, *self.outputs.shape)
        with torch.no_grad():
            for start in range(0, len(self), _ROWS):
                rows = slice(start, min(start + _ROWS, len(self)))
                for first in range(0, count, _EDITS):
                    edits = slice(first, min(first + _EDITS, count))
                    outputs[edits, rows] = self.network.run_from(site, cells(edits, rows), *self.unedited(table, rows))
        return outputs

    def unedited(self, table: PositionTable, rows: slice) -> tuple[Tensor, Tensor, dict[str, Tensor], Inputs]:
        """Return the other arguments of ``run_from`` for a slice of the rows: tokens, valid, states, prompts."""
        device = self.outputs.device
        states = {name: state[rows] for name, state in self.states.items()}
        inputs = Inputs(*(one[rows].to(device) for one in self.inputs))
        return table.token[rows].to(device), table.valid[rows].to(device), states, inputs

    def answers_of(self, outputs: Tensor) -> Tensor:
        """Return the (M, N) float64 answers of (M, N, K) outputs, on the CPU."""
        return self.named(self.objective.decode(outputs.flatten(0, 1)).view(outputs.shape[:2]).cpu())

    def squared_errors(self, answers: Tensor) -> Tensor:
        """Return the (M, N) squared errors in answer units; round a claimed circle, squared chords in steps."""
        error = difference(answers, self.answers.double(), self.circle)
        return chords(error, self.turns, self.circle) if self.circle and self.turns else error.square()

    def guess_error(self) -> Tensor:
        """The mean squared error of a guess, for skill: of the constant; round a circle, of another row's answer.

        The latter is the mean over all pairs of different rows, so that no row guesses better than chance.
        """
        truth, n = self.answers.double(), len(self)
        if not (self.circle and self.turns):
            return difference(truth, self.constant, self.circle).square().mean()
        values, counts = torch.unique(truth, return_counts=True)
        pairs = counts.double()[:, None] * counts.double()
        total: Tensor = (pairs * chords(values[:, None] - values, self.turns, self.circle)).sum()
        return total / (n * (n - 1))

    def scores(self, outputs: Tensor) -> Scores:
        """Return the scores of the answers of (M, N, K) outputs."""
        answers, truth = self.answers_of(outputs), self.answers.double()
        mse = self.squared_errors(answers).mean(dim=1)
        own = self.dataset.answers[self.rows].to(outputs.device)
        loss = [float(self.objective.loss(one, own)) for one in outputs]
        return Scores(
            mse.sqrt(),
            torch.tensor(loss, dtype=torch.float64),
            1 - mse / self.guess_error(),
            (answers.round() == truth).double().mean(dim=1),
        )
