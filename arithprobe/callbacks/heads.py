"""Live analysis of attention heads: what they attend to, and the effect of their ablation, while the model trains."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.attention.heads import HeadStatistics, HeadSums, operand_mass, ov_copying
from arithprobe.attention.records import head_records, uniform_record
from arithprobe.callbacks.base import ValidationProbe
from arithprobe.callbacks.watch import Observed, Watch
from arithprobe.errors import ArithprobeError, require_at_least
from arithprobe.interventions.bench import Bench
from arithprobe.interventions.heads import HeadAblation, ablate_heads
from arithprobe.interventions.kinds import AblationKind, require_kind
from arithprobe.interventions.words import costliest, costliest_words
from arithprobe.limits import require_within
from arithprobe.models.network import require_heads
from arithprobe.plotting.heads import head_scores
from arithprobe.probes.tags import Tag
from arithprobe.problems.rows import Rows
from arithprobe.said.content import Chart, Picture, Said, Words
from arithprobe.training.probed import ProbedModule


class LiveHeads(NamedTuple):
    """The result of one validation for the heads."""

    statistics: HeadStatistics
    """What each head looks at, over the rows validated."""
    copying: Tensor
    """(L, H) OV copying scores."""
    ablation: HeadAblation
    """What the answers lose without each head."""


class HeadAnalysis(ValidationProbe[LiveHeads]):
    """Sums attention from the last token over the validation rows, and ablates every head.

    It runs at every n-th validation of a fit, and at every validation outside one. Patterns are computed from the
    states of the validation pass itself; for the ablation a bounded number of rows is run again, and the rest of the
    model once for each head.

    For every head h of layer l it logs ``heads_operandmass/pattern.<l>@last/h<h>`` (attention to the digits of x and
    y), ``heads_entropy/pattern.<l>@last/h<h>`` (over tokens, nats) and ``heads_<ablation>ablation/z.<l>@all/h<h>``
    (increase of the RMSE without the head, in answer units). All results go to ``probes/heads.jsonl``, beside uniform
    attention, and layer x head heatmaps to TensorBoard (IMAGES) and ``figures/heads_scores.png``.

    Args:
        ablation: ``mean`` (by role), ``zero`` or ``resample``: what takes the place of a head's output.
        every: Look at validation n, 2 n, ... of a fit.
        max_examples: At most so many rows are ablated, the first of those validated; the attention is of all of these.
        seed: Seed of the donors of ``resample``.
        name: First word of its tags and files; two of a run need two names.

    Raises:
        ArithprobeError: If an option is out of range.
    """

    name = "heads"
    keeps = 1

    def __init__(
        self,
        ablation: AblationKind = "mean",
        every: int = 5,
        max_examples: int = 500,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        require_at_least("HeadAnalysis: ", every=(every, 1), max_examples=(max_examples, 2), seed=(seed, 0))
        require_within("HeadAnalysis: ", every=every, max_examples=max_examples, seed=seed)
        require_kind(ablation, AblationKind, "ablation")
        self.ablation, self.every, self.max_examples, self.seed = ablation, every, max_examples, seed

    def prepare(self, module: ProbedModule, dataset: Rows) -> "_HeadWatch":
        """Note the rows and the heads."""
        return _HeadWatch(self, module, dataset)

    def said(self, history: Sequence[Observed[LiveHeads]]) -> Said:
        """The head whose ablation costs most, and all scores in a picture."""
        step, (statistics, copying, ablation) = history[-1]
        scores = (operand_mass(statistics.mass), statistics.entropy, ablation.delta_rmse)
        heads = tuple(f"h{head}" for head in range(copying.shape[1]))
        return Said(
            name=self.name,
            title="Attention heads over training",
            behaviour=self.behaviour,
            blocks=(
                Words(_words(statistics, ablation)),
                *self._charts(heads),
                Picture(
                    f"{self.name}_scores",
                    lambda: head_scores(statistics, copying, ablation, None, self.behaviour, step),
                    f"{costliest_words(ablation)[0].upper()}{costliest_words(ablation)[1:]}.",
                    "Scores of the heads by layer",
                ),
            ),
            shows="What the heads look at from the last token, and what the answers lose without each.",
            does_not_show="Attention is no explanation: heads that look at the operands need not matter.",
            rank=51,
            scalars=dict(zip(self.head_tags(*copying.shape), torch.stack(scores).flatten().tolist(), strict=True)),
            line={
                "rows": statistics.n,
                "ablation": vars(ablation),
                "uniform": uniform_record(statistics),
                "heads": head_records(statistics, copying),
            },
        )

    def _headings(self) -> dict[str, str]:
        return {
            "operandmass": "attention from the last token to the digits of x and y",
            "entropy": "entropy of the attention over tokens, in nats",
            f"{self.ablation}ablation": "rise of the RMSE without the head, in answer units",
        }

    def _charts(self, heads: tuple[str, ...]) -> Iterator[Chart]:
        """A chart of each score; the board shows what heads cost."""
        for target, heading in self._headings().items():
            yield Chart(target, heading, heads, board="all" if target.endswith("ablation") else "none")

    def head_tags(self, layers: int, heads: int) -> tuple[str, ...]:
        """The tags of all heads, for a number of layers and heads."""
        places = (("pattern", "last"), ("pattern", "last"), ("z", "all"))
        return tuple(
            str(Tag(self.name, target, f"{site}.{layer}", position, f"h{head}"))
            for target, (site, position) in zip(self._headings(), places, strict=True)
            for layer in range(layers)
            for head in range(heads)
        )


class _HeadWatch(Watch[LiveHeads]):
    """Sums of the attention from the last token; then a bounded number of rows runs again without each head.

    Args:
        options: Which ablation, and how many rows.
        module: The module that trains.
        dataset: Its validation rows.
    """

    def __init__(self, options: HeadAnalysis, module: ProbedModule, dataset: Rows) -> None:
        self._options, self._module, self._dataset = options, module, dataset
        network = require_heads(module.model, "HeadAnalysis")
        self.tags = options.head_tags(network.n_layers, network.n_heads)
        self._sums, self._seen = HeadSums.of(network, dataset), torch.zeros(len(dataset))

    def start(self) -> None:
        """Begin with empty sums."""
        self._sums = HeadSums.of(require_heads(self._module.model, "HeadAnalysis"), self._dataset)
        self._seen = torch.zeros(len(self._dataset))

    def update(self, states: Mapping[str, Tensor], rows: Tensor) -> None:
        """Add the patterns of a batch."""
        self._sums.update(require_heads(self._module.model, "HeadAnalysis"), states, rows)
        self._seen[rows.cpu()] = 1.0

    @property
    def state(self) -> Iterable[Tensor]:
        """The sums, and which rows were seen."""
        return [*self._sums.state, self._seen]

    def result(self) -> LiveHeads | None:
        """Ablate the heads; None of a model that has diverged."""
        if not all(bool(part.isfinite().all()) for part in self._sums.state):
            return None
        module, options = self._module, self._options
        rows = self._seen.nonzero()[: options.max_examples, 0]
        constant = self._dataset.constant(module.train_mean)
        try:
            bench = Bench(module.model, module.objective, self._dataset, constant, rows, seed=options.seed)
        except ArithprobeError:  # a state after the last attention is not finite
            return None
        ablation = ablate_heads(bench.held, options.ablation, bench.donors)
        return LiveHeads(self._sums.fit(), ov_copying(require_heads(module.model, "HeadAnalysis")), ablation)


def _words(statistics: HeadStatistics, ablation: HeadAblation) -> str:
    """Which head costs most, and how much of its attention is on the operands."""
    found, words = costliest(ablation), f"{costliest_words(ablation)} ({ablation.n} rows)"
    if found is None:
        return words
    mass, uniform = operand_mass(statistics.mass)[found.layer, found.head], operand_mass(statistics.uniform_mass)
    return (
        f"{words}; its attention from '?' to the operands is {float(mass):.2f} (uniform attention {float(uniform):.2f})"
        if found.cost > 0
        else words
    )
