"""Live Fourier probes: whether, and from which step on, the residue is laid out on a circle."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from arithprobe.callbacks.base import ValidationProbe
from arithprobe.callbacks.fourier_watch import METRICS, FourierFound, FourierWatch
from arithprobe.callbacks.watch import Observed
from arithprobe.errors import ArithprobeError, require_at_least, several
from arithprobe.limits import require_within
from arithprobe.logic import FEWEST_DRAWS
from arithprobe.plotting.frequencies import frequency_step_map
from arithprobe.probes.fourier import FourierSurvey
from arithprobe.probes.moments import ALPHAS, penalties
from arithprobe.probes.neighbours import grouped_waves
from arithprobe.probes.steps import after_steps
from arithprobe.probes.survey import Split
from arithprobe.probes.tags import Tag
from arithprobe.problems.circles import Circle
from arithprobe.problems.rows import Rows
from arithprobe.said.content import CellMap, Chart, Content, Picture, Said, Words
from arithprobe.training.probed import ProbedModule


class FourierProbing(ValidationProbe[FourierFound]):
    """Fits ridge probes of ``cos`` and ``sin`` of ``2 pi n q / k`` at the last token, anew at every validation.

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
        name: First word of its tags and files; two of a run need two names.

    Raises:
        ArithprobeError: If an option is out of range, k is unknown, the site does not exist, or a fold is empty.
    """

    name = "fourier"

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
        name: str | None = None,
    ) -> None:
        super().__init__(name)
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

    def prepare(self, module: ProbedModule, dataset: Rows) -> FourierWatch:
        """Fix folds, angles and permutations."""
        period, sites = self.period or dataset.circle, module.model.residual_sites
        if period is None:
            raise ArithprobeError(
                f"FourierProbing: k is unknown, the answers of {dataset.path} ({dataset.task}) do not wrap around; "
                f"give a quantity ({', '.join(dataset.quantities)}) and a period"
            )
        if self.figure_site is not None and self.figure_site not in sites:
            raise ArithprobeError(f"FourierProbing: no site {self.figure_site!r} (sites: {', '.join(sites)})")
        circle, width = Circle(self.quantity or dataset.answer, period, self.frequencies), module.model.d_model
        survey = FourierSurvey(dataset, sites, dataset.positions(["last"]), [circle], self.split, width)
        return FourierWatch(survey, self.name, width, self.max_examples)

    def said(self, history: Sequence[Observed[FourierFound]]) -> Said:
        """The mean over frequencies, the key frequencies and the decoding at the last site; all frequencies in maps."""
        found = history[-1].result
        scores = found.scores
        return Said(
            name=self.name,
            title="Frequencies",
            behaviour=self.behaviour,
            blocks=tuple(self._blocks(history)),
            shows="Held-out R2 of cosine and sine of each frequency, by site.",
            does_not_show="That the model turns on that circle: that takes ablation and steering.",
            rank=41,
            scalars={
                str(Tag(self.name, scores.circle.name, site, "last", metric)): value
                for site, values in zip(scores.sites, found.logged, strict=True)
                for metric, value in zip(METRICS, values, strict=True)
            },
            line=self._line(found),
        )

    def _blocks(self, history: Sequence[Observed[FourierFound]]) -> Iterator[Content]:
        target = history[-1].result.scores.circle.name
        yield Words(self._finding(history[-1].result))
        yield Chart(
            target,
            "mean R2 over frequencies; the band is 5 to 95 % of shuffled labels",
            ("r2", "null_low", "null_high"),
            is_band=True,
            score="held-out R2",
            null="permuted labels",
            board="none",
        )
        yield Chart(
            target,
            "R2 of the best frequency, of its neighbouring periods, and 95 % of the largest of shuffled labels",
            ("r2_max", "neighbour", "null_max"),
            headlines=("r2_max", "null_max"),
        )
        caption = f"Held-out R2: Fourier probes of {target}"
        yield CellMap(caption, "frequency", "frequency", "key", marked="a key frequency")
        yield self._picture(history)

    def _finding(self, found: FourierFound) -> str:
        """What the validation found at the readout."""
        scores, decoding = found
        row, site = len(scores.sites) - 1, scores.sites[-1]
        key = ", ".join(map(str, scores.key_frequencies(site))) or "none"
        others = "".join(f"; {one}" for one in grouped_waves(scores.other_waves(site)))
        return (
            f"{self.name} probes of {scores.circle.quantity!r} mod {scores.circle.period} at {site}@last: mean R2 "
            f"{float(scores.macro[row, 0]):.3f} (null below {float(scores.macro_null[row, 0].quantile(0.95)):.3f}), "
            f"key frequencies: {key}{others}; {float(decoding.accuracy[row]):.1%} decoded "
            f"(chance {decoding.chance:.1%}, {decoding.n} held-out rows)"
        )

    def _picture(self, history: Sequence[Observed[FourierFound]]) -> Picture:
        steps, every = [one.step for one in history], [one.result.scores for one in history]
        last, step = every[-1], steps[-1]
        site = self.figure_site or last.sites[-1]
        key = ", ".join(map(str, sorted(last.key_frequencies(site)))) or "none"
        others = "".join(f"; {one}" for one in grouped_waves(last.other_waves(site)))
        return Picture(
            f"{self.name}_{last.circle.name}",
            lambda: frequency_step_map(steps, every, site, self.behaviour),
            f"Key frequencies at {site} {after_steps(step)}: {key}{others}.",
            f"Frequency by step, {last.circle.name}",
            "A circle, where a cross is: that frequency is of another period, or not told from one.",
        )

    def _line(self, found: FourierFound) -> Mapping[str, Any]:
        scores, decoding = found
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
                site: {
                    "accuracy": float(decoding.accuracy[row]),
                    "low": float(decoding.low[row]),
                    "high": float(decoding.high[row]),
                    "circular_error": float(decoding.error[row]),
                    "n": decoding.n,
                }
                for row, site in enumerate(scores.sites)
            },
            "cells": list(scores.cells()),
        }
