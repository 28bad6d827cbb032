"""Analysis of the attention heads of a checkpoint: their attention, and the loss of the answers without them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from arithprobe.analysis.forward import check_rows, chosen_options, fidelity_of, random_init_twin, run_over
from arithprobe.analysis.heads.options import HeadOptions
from arithprobe.analysis.progress import Progress, ProgressOption
from arithprobe.attention.heads import HeadStatistics, HeadSums, operand_mass, ov_copying
from arithprobe.behaviour import Behaviour
from arithprobe.errors import ArithprobeError
from arithprobe.interventions.bench import Bench
from arithprobe.interventions.direct import DirectContributions, direct_contributions
from arithprobe.interventions.heads import HeadAblation, HeadPatching, ablate_heads, patch_heads
from arithprobe.interventions.patching import FEWEST, has_partner
from arithprobe.models.checkpoints import LoadedModel, weights_hash
from arithprobe.models.fidelity import Fidelity
from arithprobe.models.network import HeadedNetwork, require_heads
from arithprobe.probes.rank import Agreement, rank_correlation
from arithprobe.problems.rows import Rows
from arithprobe.said.content import Said
from arithprobe.said.notebook import Score, Spoken

_SHOWN = 3  # rows, where none were asked for


class Sample(NamedTuple):
    """The attention of one prompt."""

    row: int
    """Its row, from 0."""
    text: str
    """The prompt, T characters."""
    patterns: Tensor
    """(L, H, T, T) attention from query to key."""


class Untrained(NamedTuple):
    """An untrained network of the same architecture."""

    statistics: HeadStatistics
    """What its heads look at."""
    copying: Tensor
    """(L, H) OV copying scores."""


class Causal(NamedTuple):
    """The causal effects of heads, measured by the model's own answers."""

    ablations: tuple[HeadAblation, ...]
    """What the answers lose without each head."""
    main: HeadAblation
    """The one that stands beside random subspaces."""
    patching: HeadPatching | None
    """What one head brings from another problem; None where no two rows have a partner of one layout."""
    direct: DirectContributions
    """What each part of the model writes to the output by itself."""
    agreements: tuple[Agreement, ...]
    """Attention, over all rows, against the increase of the RMSE under the main ablation."""


@dataclass(frozen=True, repr=False)
class HeadReport(Spoken):
    """The results for the attention heads of a checkpoint."""

    checkpoint: str
    """The model: path of the checkpoint, or what a model in memory is called."""
    weights: str
    """Hash of its weights."""
    options: HeadOptions
    """What was asked for."""
    data: str
    """The rows: path of their file, or what made them."""
    rows: int
    """Number N of rows that everything is computed on."""
    behaviour: Behaviour
    """Has the model learned the task: what every number below stands behind."""
    statistics: HeadStatistics
    """What each head looks at, over all rows."""
    copying: Tensor
    """(L, H) OV copying scores."""
    untrained: tuple[Untrained, ...]
    """The same of networks that were never trained; empty where none were asked for."""
    causal: Causal | None
    """What the heads do; None where it was not asked for."""
    samples: tuple[Sample, ...]
    """The attention of the rows asked for."""
    left_out: tuple[str, ...]
    """What these rows do not allow, with the reason."""
    fidelity: Fidelity | None
    """Whether the network keeps its promises on these rows; None for this library's own, whose tests say so."""

    @property
    def said(self) -> Said:
        """The findings: a line per head, the loss without each, and how attention agrees with it."""
        from arithprobe.analysis.heads.said import said_of

        return said_of(self)

    def scores(self) -> Iterator[Score]:
        """The attention of each head from the last token, and the loss of the answers without it."""
        from arithprobe.analysis.heads.scores import scores_of

        return scores_of(self)


def analyse_heads(
    loaded: LoadedModel, dataset: Rows, options: HeadOptions | None = None, progress: ProgressOption = None
) -> HeadReport:
    """Read the attention heads of a checkpoint, ablate them, and patch them.

    Args:
        loaded: The model.
        dataset: The rows, preferably ones that it was not trained on.
        options: Which rows to show, which ablations, and which controls.
        progress: True shows the steps as they start; a function is called with the name of each.

    Raises:
        ArithprobeError: If the rows do not fit the model, or a row to show does not exist.
    """
    options = chosen_options(HeadOptions, options)
    check_rows(loaded, dataset)
    _headed(loaded)
    fidelity = fidelity_of(loaded.model, dataset)
    _require_rows(dataset, options)
    progress = Progress.by_name(progress)
    progress.expect(1 + options.twins)
    progress.expect(0 if options.no_causal else 3 + len(dict.fromkeys(options.ablations)))
    progress("attention")
    behaviour, statistics = _examined(loaded, dataset)
    untrained = []
    for number in range(options.twins):
        progress(f"untrained network {number + 1}")
        twin = random_init_twin(loaded, options.seed + number)
        untrained.append(Untrained(_examined(twin, dataset)[1], ov_copying(_headed(twin))))
    causal = None if options.no_causal else _causal(loaded, dataset, options, statistics, progress)
    left_out = []
    if causal is not None and causal.patching is None:
        left_out.append(f"patching and resample ablation: fewer than {FEWEST} rows have another of the same layout")
    if causal is not None and options.draws and not causal.main.random.shape[1]:
        left_out.append("random dimensions of z: one head is all of them")
    return HeadReport(
        checkpoint=loaded.path,
        weights=weights_hash(loaded.model),
        options=options,
        data=dataset.path,
        rows=len(dataset),
        behaviour=behaviour,
        statistics=statistics,
        copying=ov_copying(_headed(loaded)),
        untrained=tuple(untrained),
        causal=causal,
        samples=_samples(loaded, dataset, options),
        left_out=tuple(left_out),
        fidelity=fidelity,
    )


def _headed(loaded: LoadedModel) -> HeadedNetwork:
    return require_heads(loaded.model, "attention heads")


def _require_rows(dataset: Rows, options: HeadOptions) -> None:
    """Check the rows to show.

    Raises:
        ArithprobeError: Naming the row that is not there.
    """
    for row in options.sample_idx or ():
        if not 0 <= row < len(dataset):
            raise ArithprobeError(
                f"sample_idx has {row}; {dataset.path} has {len(dataset)} rows, expected 0 to {len(dataset) - 1}"
            )


def _examined(loaded: LoadedModel, dataset: Rows) -> tuple[Behaviour, HeadStatistics]:
    """One pass over all rows."""
    model = _headed(loaded)
    sums = HeadSums.of(model, dataset)
    behaviour = run_over(loaded, dataset, [lambda states, rows: sums.update(model, states, rows)]).behaviour
    return behaviour, sums.fit()


def _causal(
    loaded: LoadedModel, dataset: Rows, options: HeadOptions, statistics: HeadStatistics, progress: Progress
) -> Causal:
    """Ablation, patching and direct contributions."""
    progress("states")
    rows = torch.arange(min(len(dataset), options.max_examples))
    constant = dataset.constant(loaded.train_mean)
    bench = Bench(loaded.model, loaded.objective, dataset, constant, rows, seed=options.seed)
    part, donors = bench.held, bench.donors
    ablations = {}
    for kind in dict.fromkeys(options.ablations):
        progress(f"{kind} ablation")
        draws = options.draws if kind == options.main else 0
        ablations[kind] = ablate_heads(part, kind, donors, draws, options.seed)
    progress("patching")
    patching = patch_heads(part, donors) if int(has_partner(donors).sum()) >= FEWEST else None
    progress("direct contributions")
    main = ablations[options.main]
    return Causal(
        ablations=tuple(ablations.values()),
        main=main,
        patching=patching,
        direct=direct_contributions(part),
        agreements=_agreements(statistics, main.delta_rmse, options.seed),
    )


def _agreements(statistics: HeadStatistics, effect: Tensor, seed: int) -> tuple[Agreement, ...]:
    """Attention on the operands, plain and value-weighted, against the effect."""
    uniform = float(operand_mass(statistics.uniform_mass))
    measures = (
        ("attention from '?' to the operands", operand_mass(statistics.mass), uniform),
        ("value-weighted norm from '?' to the operands", operand_mass(statistics.norm), None),
    )
    return tuple(
        Agreement(name, values, even, rank_correlation(values.flatten(), effect.flatten(), seed))
        for name, values, even in measures
    )


def _samples(loaded: LoadedModel, dataset: Rows, options: HeadOptions) -> tuple[Sample, ...]:
    """The patterns of the rows asked for, each without padding."""
    wanted = range(min(len(dataset), _SHOWN)) if options.sample_idx is None else dict.fromkeys(options.sample_idx)
    rows = torch.tensor(list(wanted), dtype=torch.int64)
    if not len(rows):
        return ()
    inputs = dataset.inputs(rows)
    with torch.no_grad():
        _, cache = loaded.model.run_with_cache(inputs, patterns=True)
    patterns = torch.stack(list(cache.patterns.values()), dim=1)  # (B, L, H, T, T)
    return tuple(
        Sample(row, text, one[..., :length, :length])
        for row, text, one, length in zip(
            rows.tolist(), dataset.texts(rows), patterns, inputs.lengths.tolist(), strict=True
        )
    )
