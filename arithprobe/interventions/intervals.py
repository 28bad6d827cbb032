r"""Intervals for the effect of something fitted; the rows that it was fitted on are a sample, too.

An effect is measured on some rows, of an eraser or a pattern that was fitted on others. Another sample of either would
give another effect. What is asked for, the *estimand*, is the effect on all problems like these of what would be fitted
on all problems like these; of a quantity that can be read, has nothing to do with what is used, and is not used, it is
0, although every pattern fitted on a sample has a chance covariance with what is used and moves the answer by it. The
two samples share no sum, so their variances add:

.. math:: v = v_{\mathrm{scored}} + v_{\mathrm{fit}}, \quad
    \nu = v^2 / (v_{\mathrm{scored}}^2 / (H - 1) + v_{\mathrm{fit}}^2 / (G - 1))

each a delete-a-group jackknife: the effect without each of H blocks of the sums scored (nothing refitted), and that on
all of them of what was fitted without each of G blocks of the sums fitted on. The interval is the effect plus and minus
the quantile of Student's t with :math:`\nu` degrees of freedom (Kott 2001, The delete-a-group jackknife, Journal of
Official Statistics 17; Satterthwaite 1946, https://doi.org/10.2307/3002019).

It covers in 92 to 98 % of samples, from about 20 sums to be scored on. It is too wide where the rows hold every sum
that there is, since blocks are of whole sums, taken as drawn from many; and, at an effect of 0, for what cannot be
negative: the share of the skill that is lost, and the increase of the RMSE of a model that is not exact.
"""

import math
from collections.abc import Iterable

import torch
from scipy.special import stdtrit
from torch import Tensor

from arithprobe.probes.metrics import jackknife_variance


def margin_of(scored: Tensor, refitted: Tensor | None = None) -> Tensor:
    """Return half the width of the 95 % interval of an effect.

    Args:
        scored: (H, ...) the effect without each of H blocks of the rows that it is measured on.
        refitted: (G, ...) the effect of the fit without each of G blocks of the rows to fit on; None if nothing is
            refitted, and the interval is that of the effect of this very fit.

    Returns:
        (...) margins; NaN with fewer than two blocks on a given side.
    """
    parts = [scored] if refitted is None else [scored, refitted]
    if min(map(len, parts)) < 2:
        return scored.new_full(scored.shape[1:], math.nan)
    variances = [jackknife_variance(part) for part in parts]
    total = torch.stack(variances).sum(dim=0)
    by_freedom = sum((v.square() / (len(part) - 1) for v, part in zip(variances, parts, strict=True)), start=0 * total)
    freedom = torch.where(total > 0, total.square() / by_freedom, 1.0)
    return torch.as_tensor(stdtrit(freedom.numpy(), 0.975)) * total.sqrt()


def fit_words(blocks: Iterable[int]) -> str:
    """Say whether intervals include the fit, from the number of refits of each.

    >>> fit_words([10, 9]), fit_words([0]), fit_words([10, 0])
    ('fit included', 'this fit only', 'fit included where it was made here')
    """
    known = {count > 0 for count in blocks}
    if known == {True, False}:
        return "fit included where it was made here"
    return "fit included" if True in known else "this fit only"
