r"""How much more a network reads than another on the same rows and folds, with a clustered interval.

For row i the probes of both networks, fitted on the other folds, err by ``e_i`` and ``e'_i``. The difference of their
R2 is ``sum(e'_i^2 - e_i^2) / SST``. Rows of one group share labels, so groups are what varies: with ``d_g`` the sum of
a group's differences, ``s_g`` its part of SST, and R the ratio of their totals,

.. math:: se^2 = \frac{G}{G - 1} \sum_g (d_g - R s_g)^2 / (\sum_g s_g)^2

and the interval is R plus and minus the t quantile with G - 1 degrees of freedom (linearised ratio of cluster totals;
Cochran 1977, Sampling Techniques, section 6.3). It is of these fitted probes: the fits stay.
"""

from typing import NamedTuple

import torch
from scipy.special import stdtrit
from torch import Tensor

from arithprobe.probes.sample import StateSample
from arithprobe.probes.survey import RidgeSurvey

FEWEST_GROUPS = 20
"""Groups without which there is no interval."""


class PairedDifference(NamedTuple):
    """A target at the last token of S sites, read from a network and from another; (S,) each."""

    target: str
    """Name of the target, such as ``sum``."""
    sites: tuple[str, ...]
    """The sites."""
    n: int
    """Number of rows scored."""
    groups: int
    """Number of groups that the interval is over."""
    r2: Tensor
    """Held-out R2 of the network."""
    other: Tensor
    """Held-out R2 of the other network, on the same rows."""
    difference: Tensor
    """``r2 - other``."""
    low: Tensor
    """Lower end of the 95 % interval of the difference, over groups; NaN with fewer than 20 groups."""
    high: Tensor
    """Upper end."""


def paired_differences(
    own: tuple[RidgeSurvey, StateSample], other: tuple[RidgeSurvey, StateSample]
) -> list[PairedDifference]:
    """How much more each target of one column can be read from a network than from another.

    Args:
        own: Moments of the network at ``last`` first, and states of rows, at the same sites.
        other: Those of the other network, from the same rows, targets and folds.
    """
    survey, rows = own[0], own[1].kept()[1]
    usual = survey.valid[rows, survey.positions.names.index("last")]  # rows of rare layouts count nowhere
    rows = rows[usual]
    squared, others = (_squared_errors(*one)[usual] for one in (own, other))  # (n, S, T)
    labels = survey.columns[rows][:, : len(survey.targets)]
    around = (labels - labels.mean(dim=0)).square()[:, None]  # (n, 1, T)
    groups, index = torch.unique(survey.rows.group(survey.split.group)[rows], return_inverse=True)
    total = around.sum(dim=0)
    difference = (others - squared).sum(dim=0) / total  # (S, T)
    influence = (others - squared) - difference * around
    by_group = influence.new_zeros(len(groups), *difference.shape).index_add_(0, index, influence)
    count = len(groups)
    margin = (by_group.square().sum(dim=0) * (count / max(count - 1, 1))).sqrt() / total
    margin *= float(stdtrit(count - 1, 0.975)) if count >= FEWEST_GROUPS else torch.nan
    r2, other_r2 = (1 - one.sum(dim=0) / total for one in (squared, others))
    scores = torch.stack([r2, other_r2, difference, difference - margin, difference + margin])  # (5, S, T)
    return [
        PairedDifference(target.name, own[1].sites, len(rows), count, *scores[..., number].unbind())
        for number, target in enumerate(survey.targets)
    ]


def _squared_errors(survey: RidgeSurvey, sample: StateSample) -> Tensor:
    """(n, S, T) squared held-out errors of the rows of a sample, on the scale of the labels."""
    states, rows = sample.kept()
    every = len(survey.positions.names)
    cells = [survey.sites.index(site) * every + survey.positions.names.index("last") for site in sample.sites]
    fitter = survey.fitter.select(cells, len(survey.targets))
    labels, fold = survey.columns[rows][:, : len(survey.targets)], survey.fold[rows]
    errors = labels.new_zeros(len(rows), len(cells), len(survey.targets))
    for held_out in survey.held_out:
        chosen = (fold == held_out).nonzero()[:, 0]
        probe = fitter.fit(survey.split.alphas, survey.split.choose, held_out)
        predicted = probe.predict(states[:, chosen].transpose(0, 1))
        errors[chosen] = (labels[chosen][:, None] - predicted).square()
    return errors
