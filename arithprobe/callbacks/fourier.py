"""Live Fourier probes: is the residue laid out on a circle, and from when on?"""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from arithprobe.callbacks.base import ValidationProbe, probed_module
from arithprobe.callbacks.trainers import moment, sum_over_ranks
from arithprobe.data.dataset import Batch
from arithprobe.errors import ArithprobeError, require_at_least, several
from arithprobe.limits import require_within
from arithprobe.logic import FEWEST_DRAWS
from arithprobe.plotting.frequencies import frequency_step_map
from arithprobe.probes.circles import FourierScores
from arithprobe.probes.decode import AngleDecoding, decode_angles
from arithprobe.probes.fourier import FourierSurvey
from arithprobe.probes.moments import ALPHAS, penalties
from arithprobe.probes.neighbours import grouped_waves
from arithprobe.probes.sample import StateSample
from arithprobe.probes.survey import Split
from arithprobe.probes.tags import Tag
from arithprobe.problems.circles import Circle
from arithprobe.problems.rows import Rows
from arithprobe.training.probed import ProbedModule, ValidationOutput

_METRICS = ("r2", "null_low", "null_high", "r2_max", "null_max", "neighbour", "accuracy")


class FourierProbing(ValidationProbe):
    """Ridge probes of ``cos`` and ``sin`` of ``2 pi n q / k`` at the last token, fitted anew at every validation.

    For every residual site it logs ``fourier_<q>mod<k>/<site>@last/``: ``r2`` (mean over frequencies of the held-out
    R2 of cosine and sine together) with ``null_low`` and ``null_high`` (5 and 95 % quantile of the mean on permuted
    labels), ``r2_max`` (the best frequency) with ``null_max`` (95 % quantile of the largest null score) and
    ``neighbour`` (the best wave of a neighbouring period beside it: a key frequency is above both, by more than
    chance), and ``accuracy`` (share of values decoded right). Every frequency goes to
    ``probes/fourier.jsonl``, and into a frequency x step heatmap, in TensorBoard (IMAGES) and
    ``figures/fourier_<q>mod<k>.png``.

    Args:
        quantity: What goes around: ``residue``, ``sum``, ``x`` or ``y``; the answer by default.
        period: Its period k; the data's modulus by default.
        frequencies: The largest frequency N, for 1 to N; or a list. Half the period is the end.
        folds: Folds of groups; one of them is held out.
        cross_validate: Hold out every fold in turn, not only the first.
        permutations: Label permutations of the null, at least 19.
        alphas: Ridge penalties, of states of unit variance in each dimension; of several, generalised cross-validation
            chooses.
        max_examples: Rows kept to decode values.
        figure_site: Site of the heatmap; the last by default.
        figure_every: Draw the heatmap at the first validation, at every n-th, and at the end of the fit.
        seed: Seed of permutations and relabellings.

    Raises:
        ArithprobeError: If an option is out of range, k is unknown, the site does not exist, or a fold is empty.
    """

    analysis = "fourier"
    remembered = ("_steps", "_history", "_drawn", "_decoding")

    def __init__(
        self,
        quantity: str | None = None,
        period: int | None = None,
        frequencies: int | Sequence[int] = 12,
        folds: int = 5,
        cross_validate: bool = False,
        permutations: int = 20,
        alphas: float | Sequence[float] = ALPHAS,
        max_examples: int = 2000,
        figure_site: str | None = None,
        figure_every: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        largest = frequencies if isinstance(frequencies, int) else 0
        wanted = () if isinstance(frequencies, int) else several("FourierProbing: frequencies", frequencies, int)
        require_within(
            "FourierProbing: ",
            frequencies=max(largest, *wanted, 0),
            folds=folds,
            permutations=permutations,
            max_examples=max_examples,
            figure_every=figure_every,
            seed=seed,
        )
        self.frequencies = wanted or tuple(range(1, largest + 1))
        require_at_least(
            "FourierProbing: ",
            folds=(folds, 2),
            permutations=(permutations, FEWEST_DRAWS),
            max_examples=(max_examples, 100),
            figure_every=(figure_every, 1),
            seed=(seed, 0),
            frequencies=(min(self.frequencies, default=0), 1),
            period=(2 if period is None else period, 2),
        )
        self.quantity, self.period, self.max_examples = quantity, period, max_examples
        self.split = Split(
            "sum",
            folds,
            None if cross_validate else (0,),
            permutations,
            seed,
            penalties("FourierProbing: alphas", alphas),
        )
        self.figure_site, self.figure_every = figure_site, figure_every
        self._survey: FourierSurvey | None = None
        self._sample: StateSample | None = None
        self._decoding: AngleDecoding | None = None
        self._steps: list[int | None] = []
        self._history: list[FourierScores] = []
        self._drawn = 0

    def forget(self) -> None:
        """Forget earlier runs."""
        self._steps, self._history, self._drawn, self._decoding = [], [], 0, None

    def prepare(self, module: ProbedModule, dataset: Rows) -> None:
        """Fix folds, angles and permutations."""
        period, sites = self.period or dataset.circle, module.model.residual_sites
        if period is None:
            raise ArithprobeError(
                f"FourierProbing: k is unknown, the answers of {dataset.path} ({dataset.task}) do not wrap around; "
                f"give a quantity ({', '.join(dataset.quantities)}) and a period"
            )
        if self.figure_site is not None and self.figure_site not in sites:
            raise ArithprobeError(f"FourierProbing: no site {self.figure_site!r} (sites: {', '.join(sites)})")
        positions = dataset.positions(["last"])
        circle = Circle(self.quantity or dataset.answer, period, self.frequencies)
        self._survey = FourierSurvey(dataset, sites, positions, [circle], self.split, module.model.d_model)

    def begin(self, module: ProbedModule) -> None:
        """Start with empty moments."""
        if self._survey is not None:
            ridge = self._survey.ridge
            self._survey.start()
            self._sample = StateSample(ridge.rows.lengths, ridge.sites, module.model.d_model, self.max_examples)

    def observe(self, output: ValidationOutput, batch: Batch) -> None:
        """Add a batch to the moments and the sample."""
        if self._survey is not None and self._sample is not None:
            self._survey.update(output["states"], batch.rows)
            self._sample.update(output["states"], batch.rows)

    def finish(self, trainer: Trainer, module: ProbedModule) -> Mapping[str, float]:
        """Merge the ranks, fit, score."""
        if self._survey is None or self._sample is None:
            return {}
        sum_over_ranks(trainer, (*self._survey.state, *self._sample.state))
        (scores,), _ = self._survey.scores()
        self._decoding, self._sample = decode_angles(self._survey, self._sample), None
        self._history.append(scores)
        self._steps.append(moment(trainer)["step"])
        found: dict[str, float] = {}
        for row, site in enumerate(scores.sites):
            values = (
                scores.macro[row, 0],
                *(scores.macro_null[row, 0].quantile(q) for q in (0.05, 0.95)),
                scores.r2[:, row, 0].max(),
                scores.max_null[row, 0].quantile(0.95),
                scores.neighbour[scores.r2[:, row, 0].argmax(), row, 0],
                self._decoding.accuracy[row],
            )
            tags = (self._tag(site, metric) for metric in _METRICS)
            found |= {tag: float(value) for tag, value in zip(tags, values, strict=True)}
        return found

    def tags(self) -> list[str]:
        """The tags it will log, once prepared."""
        sites = self._survey.ridge.sites if self._survey is not None else ()
        return [self._tag(site, metric) for site in sites for metric in _METRICS]

    def report(self, trainer: Trainer, module: ProbedModule) -> None:
        """Write the record of all frequencies, and now and then the figure."""
        count = len(self._history)
        if count == 1 or count % self.figure_every == 0:
            self._draw(trainer, module)
        with self.timed("files"):
            self.append_line(trainer, self.gate(module) | self._record())

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last state."""
        if trainer.is_global_zero and self._drawn < len(self._history):
            self._draw(trainer, probed_module(pl_module))
        super().on_fit_end(trainer, pl_module)

    def findings(self) -> list[str]:
        """What the last validation found at the readout, one line each."""
        if not self._history or self._decoding is None:
            return []
        scores, decoding = self._history[-1], self._decoding
        row, site = len(scores.sites) - 1, scores.sites[-1]
        key = ", ".join(map(str, scores.key_frequencies(site))) or "none"
        others = "".join(f"; {one}" for one in grouped_waves(scores.other_waves(site)))
        return [
            f"fourier probes of {scores.circle.quantity!r} mod {scores.circle.period} at {site}@last: mean R2 "
            f"{float(scores.macro[row, 0]):.3f} (null below {float(scores.macro_null[row, 0].quantile(0.95)):.3f}), "
            f"key frequencies: {key}{others}; {float(decoding.accuracy[row]):.1%} decoded "
            f"(chance {decoding.chance:.1%}, {decoding.n} held-out rows)"
        ]

    def _tag(self, site: str, metric: str) -> str:
        circle = self._survey.parts[0].circle.name if self._survey is not None else ""
        return str(Tag(self.analysis, circle, site, "last", metric))

    def _record(self) -> dict[str, Any]:
        scores, decoding = self._history[-1], self._decoding
        rows = range(len(scores.sites)) if decoding is not None else ()
        return {
            "quantity": scores.circle.quantity,
            "period": scores.circle.period,
            "refused": scores.refused,
            "folds": self.split.folds,
            "held_out": self.split.held_out,
            "permutations": self.split.permutations,
            "key_frequencies": {site: scores.key_frequencies(site) for site in scores.sites},
            "other_waves": {site: scores.other_waves(site) for site in scores.sites},
            "decoding": {
                scores.sites[row]: {
                    "accuracy": float(decoding.accuracy[row]),
                    "low": float(decoding.low[row]),
                    "high": float(decoding.high[row]),
                    "circular_error": float(decoding.error[row]),
                    "n": decoding.n,
                }
                for row in rows
                if decoding is not None
            },
            "cells": [{"site": site} | cell for site in scores.sites for cell in scores.at(site)],
        }

    def _draw(self, trainer: Trainer, module: ProbedModule) -> None:
        self._drawn = len(self._history)
        with self.timed("figure"):
            figure = frequency_step_map(
                self._steps, self._history, self.figure_site or self._history[0].sites[-1], module.behaviour
            )
            self.show(trainer, figure, self._history[0].circle.name, "frequency x step", self._steps[-1])
