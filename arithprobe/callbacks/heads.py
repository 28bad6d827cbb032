"""Live attention heads: what they look at, and what the answers lose without them, while the model trains."""

from collections.abc import Mapping

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from arithprobe.attention.heads import HeadStatistics, HeadSums, operand_mass, ov_copying
from arithprobe.attention.records import head_name, head_records, uniform_record
from arithprobe.callbacks.base import ValidationProbe
from arithprobe.callbacks.trainers import is_turn, moment, sum_over_ranks
from arithprobe.data.dataset import Batch
from arithprobe.errors import ArithprobeError, require_at_least
from arithprobe.interventions.bench import Bench
from arithprobe.interventions.heads import HeadAblation, ablate_heads
from arithprobe.interventions.kinds import AblationKind, require_kind
from arithprobe.limits import require_within
from arithprobe.models.network import HeadedNetwork, require_heads
from arithprobe.plotting.heads import head_scores
from arithprobe.probes.tags import Tag
from arithprobe.problems.rows import Rows
from arithprobe.training.probed import ProbedModule, ValidationOutput


class HeadAnalysis(ValidationProbe):
    """Attention from the last token, summed over the validation rows, and the ablation of every head.

    At every n-th validation of a fit, and at every validation outside one. Patterns are computed from the states of
    the validation pass itself; for the ablation a bounded number of rows is run again, and the rest of the model once
    for each head.

    Logs for every head h of layer l ``heads_operandmass/pattern.<l>@last/h<h>`` (attention to the digits of x and y),
    ``heads_entropy/pattern.<l>@last/h<h>`` (over tokens, nats) and ``heads_<ablation>ablation/z.<l>@all/h<h>``
    (increase of the RMSE without the head, in answer units). Everything goes to ``probes/heads.jsonl``, beside uniform
    attention, and layer x head heatmaps into TensorBoard (IMAGES) and ``figures/heads_scores.png``.

    Args:
        ablation: ``mean`` (by role), ``zero`` or ``resample``: what takes the place of a head's output.
        every: Look at validation n, 2 n, ... of a fit.
        max_examples: At most so many rows are ablated, the first of those validated; the attention is of all of these.
        seed: Seed of the donors of ``resample``.

    Raises:
        ArithprobeError: If an option is out of range.
    """

    analysis = "heads"
    remembered = ("_found", "_count", "_step")

    def __init__(self, ablation: AblationKind = "mean", every: int = 5, max_examples: int = 500, seed: int = 0) -> None:
        super().__init__()
        require_at_least("HeadAnalysis: ", every=(every, 1), max_examples=(max_examples, 2), seed=(seed, 0))
        require_within("HeadAnalysis: ", every=every, max_examples=max_examples, seed=seed)
        require_kind(ablation, AblationKind, "ablation")
        self.ablation, self.every, self.max_examples, self.seed = ablation, every, max_examples, seed
        self._dataset: Rows | None = None
        self._heads = (0, 0)
        self._seen = torch.zeros(0)
        self._model: HeadedNetwork | None = None
        self._sums: HeadSums | None = None
        self._found: tuple[HeadStatistics, Tensor, HeadAblation] | None = None
        self._count = 0
        self._step: int | None = None

    def forget(self) -> None:
        """Forget earlier runs."""
        self._found, self._count, self._step = None, 0, None

    def prepare(self, module: ProbedModule, dataset: Rows) -> None:
        """Note the rows, and the heads there are."""
        self._dataset = dataset
        network = require_heads(module.model, "HeadAnalysis")
        self._heads = network.n_layers, network.n_heads

    def begin(self, module: ProbedModule) -> None:
        """Start with empty sums, if it is this validation's turn."""
        self._count += 1
        self._model, self._sums = require_heads(module.model, "HeadAnalysis"), None
        if self._dataset is not None and is_turn(module, self._count, self.every):
            self._sums = HeadSums.of(self._model, self._dataset)
            self._seen = torch.zeros(len(self._dataset))

    def observe(self, output: ValidationOutput, batch: Batch) -> None:
        """Add the patterns of a batch."""
        if self._sums is not None and self._model is not None:
            self._sums.update(self._model, output["states"], batch.rows)
            self._seen[batch.rows.cpu()] = 1.0

    def finish(self, trainer: Trainer, module: ProbedModule) -> Mapping[str, float]:
        """Merge the ranks, and ablate the heads; on every rank alike."""
        sums, dataset = self._sums, self._dataset
        self._found = self._model = self._sums = None
        if sums is None or dataset is None:
            return {}
        sum_over_ranks(trainer, [*sums.state, self._seen])
        if not all(bool(part.isfinite().all()) for part in sums.state):  # the model has diverged
            return {}
        rows = self._seen.nonzero()[: self.max_examples, 0]
        try:
            constant = dataset.constant(module.train_mean)
            bench = Bench(module.model, module.objective, dataset, constant, rows, seed=self.seed)
        except ArithprobeError:  # a state after the last attention is not finite
            return {}
        ablation = ablate_heads(bench.held, self.ablation, bench.donors)
        statistics = sums.fit()
        self._found = statistics, ov_copying(require_heads(module.model, "HeadAnalysis")), ablation
        self._step = moment(trainer)["step"]
        figures = (operand_mass(statistics.mass), statistics.entropy, ablation.delta_rmse)
        return dict(zip(self.tags(), torch.stack(figures).flatten().tolist(), strict=True))

    def tags(self) -> list[str]:
        """The tags it will log, once prepared."""
        layers, heads = self._heads
        logged = (
            ("operandmass", "pattern", "last"),
            ("entropy", "pattern", "last"),
            (f"{self.ablation}ablation", "z", "all"),
        )
        return [
            str(Tag(self.analysis, figure, f"{site}.{layer}", position, f"h{head}"))
            for figure, site, position in logged
            for layer in range(layers)
            for head in range(heads)
        ]

    def report(self, trainer: Trainer, module: ProbedModule) -> None:
        """Write the record and the figure."""
        if self._found is None:
            return
        statistics, copying, ablation = self._found
        with self.timed("figure"):
            figure = head_scores(statistics, copying, ablation, None, module.behaviour, self._step)
            self.show(trainer, figure, "scores", "layer x head", self._step)
        with self.timed("files"):
            self.append_line(
                trainer,
                self.gate(module)
                | {
                    "rows": statistics.n,
                    "ablation": vars(ablation),
                    "uniform": uniform_record(statistics),
                    "heads": head_records(statistics, copying),
                },
            )

    def findings(self) -> list[str]:
        """Which head costs most, and how much of its attention is on the operands."""
        if self._found is None:
            return []
        statistics, _, ablation = self._found
        costs = ablation.delta_rmse.nan_to_num(nan=0.0)
        layer, head = divmod(int(costs.argmax()), self._heads[1])
        mass, uniform = operand_mass(statistics.mass)[layer, head], operand_mass(statistics.uniform_mass)
        return [
            f"{ablation.kind} ablation of one head costs most for {head_name(layer, head)}: RMSE "
            f"{float(costs[layer, head]):+.3g} ({ablation.n} rows); its attention from '?' to the "
            f"operands is {float(mass):.2f} (uniform attention {float(uniform):.2f})"
        ]
