"""Excluded and restricted performance: the model without the planes of some frequencies, and with only those.

For each frequency, its plane (cosine and sine of the residue's angle) is removed from the residual stream at one site's
last token, and the rest of the model runs on (*excluded*, after Nanda et al. 2023, https://arxiv.org/abs/2301.05217,
who project logits); or everything except the planes is replaced by its mean (*restricted*). LEACE gives the planes, so
that no linear probe finds the frequency afterwards. Loss and answers are measured on rows of sums that no plane was
fitted on.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from arithprobe.analysis.ladder.causal import CausalRungs
from arithprobe.interventions.cell import Cell
from arithprobe.interventions.round_cell import round_cell
from arithprobe.linalg import random_subspaces
from arithprobe.probes.circles import FourierScores
from arithprobe.probes.concentration import gini, participation_ratio
from arithprobe.problems.circles import planes_name


@dataclass(frozen=True)
class AnswerScores:
    """The quality of the answers of one run."""

    loss: float
    """The model's own loss."""
    skill: float
    """``1 - MSE / MSE of the constant``; where there are key frequencies, errors are angles round their circle
    (:mod:`arithprobe.interventions.naming`)."""
    exact: float
    """Share of exact answers."""


@dataclass(frozen=True)
class PlaneEffects:
    """The effects of the planes of F frequencies at one site's last token."""

    site: str
    """Name of the site, such as ``resid_post.1``."""
    n: int
    """Number of rows that the answers below are of."""
    frequencies: tuple[int, ...]
    """The F frequencies."""
    key: tuple[int, ...]
    """Those above the largest null, best first."""
    gini: float
    """Gini coefficient of the frequencies' amplitudes, the roots of their encode FVE."""
    participation: float
    """Inverse participation ratio of them; 1 over it is how many frequencies carry the variance."""
    intact: AnswerScores
    """The answers of the model as it is."""
    excluded: tuple[AnswerScores, ...]
    """The answers without each frequency's plane."""
    without_key: AnswerScores | None
    """Without the planes of all key frequencies; None where there are none."""
    only_key: AnswerScores | None
    """With nothing but the planes of all key frequencies; None where there are none."""
    rank: int
    """Dimensions of the planes of all key frequencies."""
    without_random: tuple[AnswerScores, ...]
    """Without as many random dimensions, draw by draw."""
    without_shuffled: tuple[AnswerScores, ...]
    """Without what LEACE takes out for those planes' labels permuted between sums, draw by draw."""
    excluded_shuffled: tuple[AnswerScores, ...]
    """The same for a single plane: what ``excluded`` has to be compared with."""


def plane_targets(scores: FourierScores) -> list[str]:
    """All planes that will be removed: each frequency's plane, and those of the key frequencies of each site."""
    circle = scores.circle
    sets = [(n,) for n in circle.frequencies] + [tuple(scores.key_frequencies(site)) for site in scores.sites]
    return list(dict.fromkeys(planes_name(circle.quantity, circle.period, some) for some in sets if some))


def plane_effects(rungs: CausalRungs, scores: FourierScores, site: str) -> PlaneEffects:
    """Exclude every plane of a circle at a site, and restrict the site to the key ones.

    Args:
        rungs: Rows and model, with all of :func:`plane_targets`.
        scores: Fourier scores of the circle.
        site: The site.
    """
    circle, draws, seed, key = scores.circle, rungs.draws, rungs.seed, scores.key_frequencies(site)
    cell = round_cell(rungs.cell(site), circle._replace(frequencies=tuple(key)) if key else None)
    planes = [cell.eraser(planes_name(circle.quantity, circle.period, [n]), "leace") for n in circle.frequencies]
    fve = scores.encode_fve[:, scores.sites.index(site), scores.positions.index("last")]
    without = only = None
    rank, random, shuffled = 0, list[AnswerScores](), list[AnswerScores]()
    if key:
        eraser = cell.eraser(planes_name(circle.quantity, circle.period, key), "leace")
        rank = eraser.rank
        without, only = _answers(cell, cell.without_each([eraser]))[0], _answers(cell, cell.only(eraser))[0]
        random = _answers(cell, _without_random(cell, rank, draws, seed))
        shuffled = _answers(cell, cell.shuffled(eraser.target, draws, seed))
    return PlaneEffects(
        site=site,
        n=len(cell.part),
        frequencies=circle.frequencies,
        key=tuple(key),
        gini=gini(fve.clamp(min=0).sqrt()),
        participation=participation_ratio(fve),
        intact=_answers(cell, cell.part.outputs[None])[0],
        excluded=tuple(_answers(cell, cell.without_each(planes))),
        without_key=without,
        only_key=only,
        rank=rank,
        without_random=tuple(random),
        without_shuffled=tuple(shuffled),
        excluded_shuffled=tuple(_answers(cell, cell.shuffled(planes[0].target, draws, seed))),
    )


def _without_random(cell: Cell, rank: int, draws: int, seed: int) -> Tensor:
    """(M, N, K) outputs without random subspaces of a rank."""
    d = cell.states.shape[-1]
    bases = torch.from_numpy(random_subspaces(d, rank, draws, np.random.default_rng(seed)))[:, None]
    return cell.without("mean", bases, bases)


def _answers(cell: Cell, outputs: Tensor) -> list[AnswerScores]:
    scores = cell.part.scores(outputs)
    return [
        AnswerScores(*scored)
        for scored in zip(scores.loss.tolist(), scores.skill.tolist(), scores.exact_match.tolist(), strict=True)
    ]
