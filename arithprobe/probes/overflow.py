"""States that overflow: they have no fit, and must not stop those of other cells."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def broken(gram: Array) -> npt.NDArray[np.bool_]:
    """(C,) cells whose states overflow."""
    broken: npt.NDArray[np.bool_] = np.isnan(gram.diagonal(axis1=1, axis2=2).sum(axis=1) * 0)
    return broken


def mended(gram: Array, broken: npt.NDArray[np.bool_]) -> Array:
    """Matrices that can be factorised, whatever they hold."""
    return np.where(broken[:, None, None], np.eye(gram.shape[-1]), gram) if broken.any() else gram
