"""The notebook's ablation beside the causal one: one direction, scored by a refitted readout and the model's own."""

from dataclasses import dataclass, replace

import torch

from arithprobe.interventions.bench import Bench
from arithprobe.interventions.certificate import erased_moments, linear_r2
from arithprobe.probes.moments import alpha_choice

_ALPHA = 1.0  # the notebook's, on raw states
_LAST = slice(-1, None)  # the answer's column


@dataclass(frozen=True)
class NotebookRemoval:
    """R2 of the answers after the ridge direction of the sum (alpha 1) is projected out at ``final@last``."""

    refit_intact: float
    """Of a readout fitted on intact states, on rows it was not fitted on."""
    refit: float
    """Of a readout refitted without the direction: what the notebook reports."""
    own_intact: float
    """Of the model's own head."""
    own: float
    """Of the model's own head without the direction."""
    n: int
    """Number of rows held out."""


def notebook_removal(bench: Bench) -> NotebookRemoval:
    """Remove the notebook's rank-1 direction, and score both readouts."""
    cell, part = bench.cell(bench.network.residual_sites[-1], "last"), bench.held
    eraser = cell.eraser("sum", "probe", choice=alpha_choice(_ALPHA, unit="none"))
    projected = replace(eraser, mean=torch.zeros_like(eraser.mean))
    parts = [(cell.fit, cell.held), tuple(erased_moments(projected, part) for part in (cell.fit, cell.held))]
    refit = [float(linear_r2(fit.columns(_LAST), held.columns(_LAST))[0]) for fit, held in parts]
    run = cell.ablate(eraser, "zero")
    answers = part.answers.double()
    spread = (answers - answers.mean()).square().sum()
    without = part.answers_of(run.outputs[None])[0]
    own = [float(1 - (found - answers).square().sum() / spread) for found in (part.predictions, without)]
    return NotebookRemoval(refit[0], refit[1], own[0], own[1], len(part))
