"""The leading principal axes of states, from their moments."""

import numpy as np

from arithprobe.probes.moments import Array, Moments
from arithprobe.probes.overflow import broken, mended


def leading_axes(moments: Moments, count: int) -> Array:
    """(C, 1 + D, 1 + count) map from ``[1, h]`` to ``[1, projections on the leading principal axes]``.

    States that overflow have no axes; theirs are those of the coordinates, and what is fitted on them is NaN as before.
    """
    gram = moments.centred_gram
    vectors = np.linalg.eigh(mended(gram, broken(gram)))[1][..., ::-1][..., :count]
    axes = np.zeros((len(gram), 1 + gram.shape[1], 1 + count))
    axes[:, 0, 0] = 1.0
    axes[:, 1:, 1:] = vectors
    return axes
