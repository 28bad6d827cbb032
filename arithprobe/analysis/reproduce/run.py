"""The numbers that the original notebook prints, beside those of a held-out protocol on the same rows.

*Held out*: every fit (probe, standardisation, head) is made on four of five folds of sums and scored on the fifth; MLPs
are scored by :func:`~arithprobe.probes.nonlinear.mlp_scores`. *Null*: the notebook's number on labels permuted between
sums. *Random init*: the notebook's number on untrained networks of the same architecture.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arithprobe.analysis.forward import chosen_options, random_init_twin
from arithprobe.analysis.progress import Progress, ProgressOption
from arithprobe.analysis.reproduce.columns import Protocols, by_protocol, null_of, over, shown_rows
from arithprobe.analysis.reproduce.meaning import AttentionControls, meanings
from arithprobe.analysis.reproduce.nonlinear import held_out_mlps, nonlinear_ridge, nonlinear_split, notebook_mlps
from arithprobe.analysis.reproduce.notebook import (
    ALPHA,
    PATCH_ROWS,
    PROBE_ROWS,
    Examples,
    NotebookValues,
    residues,
    run_multidim_modk,
    run_multidim_sum,
    run_patching,
    run_probes,
)
from arithprobe.analysis.reproduce.options import NotebookTask, ReproduceOptions
from arithprobe.analysis.reproduce.published import PUBLISHED
from arithprobe.analysis.reproduce.rows import examine, require_notebook_rows
from arithprobe.attention.heads import operand_mass
from arithprobe.attention.records import notebook_record, notebook_records
from arithprobe.behaviour import Behaviour
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.models.checkpoints import LoadedModel, weights_hash
from arithprobe.probes.mlp import MLPSettings
from arithprobe.probes.parallel import one_thread_each
from arithprobe.probes.splits import fold_of, permuted_rows
from arithprobe.problems.rows import Rows
from arithprobe.said.content import Said
from arithprobe.said.notebook import Score, Spoken

_FOLDS = 5


@dataclass(frozen=True, repr=False)
class Reproduction(Spoken):
    """The results of a reproduction; the numbers have the notebook's names."""

    checkpoint: str
    """Where the model comes from."""
    weights: str
    """Hash of its weights."""
    task: NotebookTask
    """REG-SUM or REG-MODK."""
    rows: int
    """Rows of the file."""
    behaviour: Behaviour
    """Has the model learned the task."""
    columns: Protocols
    """Each number by the notebook's protocol, held out, on permuted labels and of untrained networks."""
    uniform_attention: dict[str, float]
    """The numbers of ``per_head`` for attention spread evenly over the tokens of each prompt."""
    meaning: dict[str, str]
    """What each number means, a sentence or two."""
    rows_used: NotebookValues
    """Rows behind each block of the notebook."""
    draws: dict[str, int]
    """Permutations and untrained networks behind the controls."""
    published: NotebookValues
    """What the notebook printed, for its own checkpoint."""

    def to_dict(self) -> dict[str, Any]:
        """The content of ``reproduction.json``."""
        whole = asdict(self)
        columns: dict[str, Any] = whole.pop("columns")._asdict()
        return (
            {name: whole.pop(name) for name in ("checkpoint", "weights", "task", "rows", "behaviour")} | columns | whole
        )

    @property
    def said(self) -> Said:
        """The findings: the table of the numbers, and what each means."""
        from arithprobe.analysis.reproduce.said import said_of

        return said_of(self)

    def scores(self) -> Iterator[Score]:
        """Each number by the notebook's protocol and held out; its null is permuted labels."""
        for label, keys in shown_rows(self.columns):
            one = by_protocol(self.columns, *keys)
            for name, value in (("notebook's protocol", one.notebook), ("held out", one.held_out)):
                if value is not None:
                    null = math.nan if one.null_high is None else one.null_high
                    yield Score("", "", label, name, value, null_high=null, n=self.rows)


def reproduce(
    loaded: LoadedModel, rows: Rows, options: ReproduceOptions | None = None, progress: ProgressOption = None
) -> Reproduction:
    """Compute the notebook's numbers, with held-out values and controls.

    Args:
        loaded: The model.
        rows: The validation rows.
        options: Task, controls and networks; the defaults if None.
        progress: True shows the steps as they start; a function is called with the name of each.

    Raises:
        ArithprobeError: See :func:`require_notebook_rows`.
    """
    options = chosen_options(ReproduceOptions, options)
    dataset, task = require_notebook_rows(loaded, rows, options)
    progress = Progress.by_name(progress)
    progress.expect(1 + options.twins)
    progress("states")
    examples, behaviour, heads = examine(loaded, dataset)
    work = _Work(task, examples, options, progress)
    twins = []
    for number in range(options.twins):
        progress(f"untrained network {number + 1}")
        twins.append(examine(random_init_twin(loaded, options.seed + number), dataset))
    states = [twin.examples for twin in twins]
    with one_thread_each():
        columns = work.columns(states)
    if not options.no_mlp:
        work.add_mlps(columns, states, dataset)
    columns.notebook_protocol["per_head"] = notebook_records(heads.mass)
    untrained = torch.stack([twin.heads.mass for twin in twins])
    of_layer = untrained.mean(dim=(0, 2))[:, None].expand_as(heads.mass)  # heads of two networks are not the same ones
    columns.random_init["per_head"] = notebook_records(of_layer)
    uniform = notebook_record(heads.uniform_mass)
    low, high = operand_mass(untrained).aminmax()
    attention = AttentionControls(uniform["copy_score"], float(low), float(high))
    rows_used = work.rows_used()
    lengths = examples.lengths[: rows_used["run_probes"]]
    padding = (int((lengths < lengths.max()).sum()), len(lengths))
    return Reproduction(
        checkpoint=loaded.path,
        weights=weights_hash(loaded.model),
        task=task,
        rows=len(dataset),
        behaviour=behaviour,
        columns=columns,
        uniform_attention=uniform,
        meaning=meanings(behaviour, columns, attention, dataset.modulus, *padding),
        rows_used=rows_used,
        draws={"shuffles": options.shuffles, "mlp_shuffles": options.mlp_shuffles, "twins": options.twins},
        published=PUBLISHED[task],
    )


class _Work:
    """The rows of one reproduction, and what is done to them."""

    def __init__(self, task: NotebookTask, examples: Examples, options: ReproduceOptions, progress: Progress) -> None:
        self.task, self.examples, self.options, self.progress = task, examples, options, progress
        self.modular = task == "REG-MODK"
        self.k = residues(examples)
        self.fold = fold_of(torch.from_numpy(examples.total), _FOLDS).numpy()
        self.split = nonlinear_split(examples.answer, stratify=self.modular)
        progress.expect(2 + options.shuffles + (0 if options.no_mlp else 2 * len(options.mlp_settings)))

    def values(self, examples: Examples) -> NotebookValues:
        """All of the ridge probes' numbers."""
        found: NotebookValues = {"alpha": ALPHA} | ({"k": self.k} if self.modular else {})
        found |= run_probes(examples.rows(slice(PROBE_ROWS)) if self.modular else examples)
        found |= run_patching(examples.rows(slice(PATCH_ROWS)))
        found |= run_multidim_modk(examples, self.k) if self.modular else run_multidim_sum(examples)
        key = "ridge_r2_numeric_residue" if self.modular else "ridge_r2"
        return found | {key: nonlinear_ridge(examples, self.split)}

    def columns(self, twins: list[Examples]) -> Protocols:
        """The numbers of the ridge probes, and their controls."""
        self.progress("the notebook's protocol")
        notebook = self.values(self.examples)
        self.progress("held out")
        held_out = self.values(self.examples._replace(fold=self.fold))
        nulls = []
        for number, donor in enumerate(self._donors(self.options.shuffles).T.numpy()):
            self.progress(f"shuffled labels {number + 1}")
            labels = {"total": self.examples.total[donor], "answer": self.examples.answer[donor]}
            nulls.append(self.values(self.examples._replace(**labels)))
        untrained = [self.values(twin) for twin in twins]
        untrained_held_out = [self.values(twin._replace(fold=self.fold)) for twin in twins]
        return Protocols(
            notebook, held_out, *null_of(nulls), over(np.mean, untrained), over(np.mean, untrained_held_out)
        )

    def add_mlps(self, columns: Protocols, twins: list[Examples], dataset: ArithmeticDataset) -> None:
        """Add the MLP probes' numbers to the columns; those of several settings as a list."""
        states = torch.from_numpy(np.stack([one.pooled for one in (self.examples, *twins)]))
        k = self.k if self.modular else None
        donors = self._donors(self.options.mlp_shuffles)
        by_setting: list[Protocols] = []
        for hidden, depth in self.options.layers():
            settings = MLPSettings(hidden=hidden, depth=depth, max_epochs=self.options.mlp_epochs)
            self.progress(f"MLP {hidden}x{depth}")
            found, nulls = notebook_mlps(states, dataset.answers, k, donors, self.split, settings)
            self.progress(f"MLP {hidden}x{depth}, stopped on rows of its own")
            honest = held_out_mlps(states, dataset, settings, self.options.seed)
            untrained = (over(np.mean, found[1:]), over(np.mean, honest[1:]))
            by_setting.append(Protocols(found[0], honest[0], *null_of(nulls), *untrained))
        shapes = [{"hidden": hidden, "depth": depth} for hidden, depth in self.options.layers()]
        for index, column in enumerate(columns):
            column |= by_setting[0][index]
            if len(by_setting) > 1:
                of_all = zip(shapes, by_setting, strict=True)
                column["nonlinear_settings"] = [shape | setting[index] for shape, setting in of_all]

    def rows_used(self) -> NotebookValues:
        """Rows behind each block."""
        n = len(self.examples.total)
        return {
            "run_probes": min(n, PROBE_ROWS) if self.modular else n,
            "run_patching": min(n, PATCH_ROWS),
            "run_multidim_probes": n,
            "run_nonlinear_probes": {"train": len(self.split[0]), "test": len(self.split[1])},
            "run_head_analysis": n,
        }

    def _donors(self, count: int) -> Tensor:
        return permuted_rows(torch.from_numpy(self.examples.total), count, self.options.seed)
